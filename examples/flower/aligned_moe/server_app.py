"""The server: decides every round who trains which experts, and averages them."""

from __future__ import annotations

import json
import math
from pathlib import Path

import torch
from flwr.app import ArrayRecord, ConfigRecord, Context, MetricRecord
from flwr.serverapp import Grid, ServerApp

import alignsolve as al
from aligned_moe.data import held_out
from aligned_moe.model import EXPERT_NAME, N_EXPERTS, MoE
from fedloop.flower import AlignedStrategy, numbered

app = ServerApp()

#: Settings that clients are told.
FOR_CLIENTS = ("local-steps", "batch-size", "learning-rate", "noise-multiplier", "loss-bound")


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Train, or go on with the training that a checkpoint holds."""
    config = context.run_config
    aligner = al.Aligner(
        N_EXPERTS, fitness=al.FitnessSettings(score=fit, smoothing=0.8, exploration=0.3))
    strategy = AlignedStrategy(
        aligner, numbered(EXPERT_NAME), checkpoint=str(config["checkpoint"]) or None,
        evaluate_clients=False)
    n_nodes = int(config["min-nodes"])
    for client in strategy.nodes.wait(grid, n_nodes, patience=120.0):
        aligner.declare(client, max_experts=int(config["max-experts"]))

    torch.manual_seed(0)
    arrays = ArrayRecord(MoE().state_dict())
    if config["resume"]:
        arrays = strategy.resume(arrays)
    strategy.start(
        grid, arrays, num_rounds=int(config["num-server-rounds"]) - strategy.rounds_before,
        timeout=float(config["timeout"]),
        train_config=ConfigRecord({name: config[name] for name in FOR_CLIENTS}),
        evaluate_fn=Evaluation(strategy, str(config["history"])),
    )


def fit(report: al.ExpertReport) -> float | None:
    """Return how well an expert, as it was sent, suits the client: 1 at a loss of 0."""
    return None if report.loss_before is None else math.exp(-report.loss_before)


class Evaluation:
    """Accuracy of the whole model on held-out images, written down round by round."""

    def __init__(self, strategy: AlignedStrategy, history: str) -> None:
        self._strategy, self._history = strategy, Path(history) if history else None
        self._image, self._label = held_out()

    @torch.no_grad()
    def __call__(self, server_round: int, arrays: ArrayRecord) -> MetricRecord:
        """Return accuracy and loss of a model."""
        model = MoE()
        model.load_state_dict(arrays.to_torch_state_dict())
        logit = model(self._image)
        found = {
            "accuracy": (logit.argmax(1) == self._label).float().mean().item(),
            "loss": torch.nn.functional.cross_entropy(logit, self._label).item(),
        }
        if self._history is not None:
            number = self._strategy.rounds_before + server_round
            with self._history.open("a", encoding="utf-8") as stream:
                stream.write(json.dumps({"round": number, **found}) + "\n")
        return MetricRecord(found)
