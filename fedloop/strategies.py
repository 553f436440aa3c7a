"""Build the Aligner of a run, and put what clients saw into its words.

Every strategy has the same fitness tracker, load monitor and settings; they differ
only in how they choose.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

import alignsolve as al
from fedloop.config import Config
from fedloop.errors import ConfigError
from fedloop.fleet import MEGA, Device, Times
from fedloop.local.client import SEEN, Training
from fedloop.models.expert_model import ExpertModel

#: By how much a share summed in float32 may exceed 1.
ROUNDING = 1e-4


def build_aligner(
    config: Config, spec: ExpertModel, expert_bytes: Sequence[int], fleet: Sequence[Device]
) -> al.Aligner:
    """Return the Aligner of a run, with every client's device declared.

    Parameters
    ----------
    config : Config
        Settings.
    spec : ExpertModel
        Numbers of experts and layers.
    expert_bytes : sequence of int
        Bytes of each expert, its row of a shared gate included.
    fleet : sequence of Device
        The clients' devices; client i is called i.

    Raises
    ------
    ConfigError
        If the strategy is "oracle", and there are fewer experts than domains.
    """
    settings = config.alignment
    if config.strategy == "oracle" and spec.n_experts < config.partition.domains:
        raise ConfigError(f"strategy is 'oracle', which knows an expert for every domain, and the "
                          f"model has {spec.n_experts} experts for {config.partition.domains} "
                          "domains: take more experts, or another strategy")
    layers = np.repeat(np.arange(spec.n_layers), spec.n_experts)
    aligner = al.Aligner(
        spec.total_experts,
        expert_group=layers if spec.n_layers > 1 else None,
        group_min=1 if spec.n_layers > 1 else None,
        group_max=spec.n_experts if spec.n_layers > 1 else None,
        expert_mb=np.array(expert_bytes) / MEGA,
        strategy="optimal" if config.strategy == "oracle" or config.strategy == "everything"
        else config.strategy,
        fitness=al.FitnessSettings(
            score=fit_score(settings.alpha) if settings.score == "fit" else settings.score,
            alpha=settings.alpha, smoothing=settings.smoothing, half_life=settings.half_life,
            prior_weight=settings.prior_weight, exploration=settings.exploration,
            kernel_width=settings.kernel_width,
        ),
        load=al.LoadSettings(slack=settings.slack, carry=settings.deficits),
        policy=al.PolicySettings(
            min_experts=spec.n_layers, switch_cost=settings.switch_cost,
        ),
        seed=config.seed,
    )
    for client, device in enumerate(fleet):
        aligner.declare(
            client, max_experts=device.slots * spec.n_layers, memory_mb=device.memory_mb,
            down_mbps=device.down_mbps, up_mbps=device.up_mbps,
            seconds_per_sample=device.seconds_per_sample,
            samples=config.local.steps * config.local.batch_size,
        )
    return aligner


def known_fitness(config: Config, spec: ExpertModel, clients: Sequence[int]) -> np.ndarray | None:
    """Return the fitness that the oracle knows, (clients, experts); None for other strategies.

    Of every layer, experts are dealt to domains in turn.
    """
    if config.strategy != "oracle":
        return None
    domain = np.array(clients)[:, None] % config.partition.domains
    expert = np.tile(np.arange(spec.n_experts), spec.n_layers) % config.partition.domains
    suits: np.ndarray = (expert == domain).astype(np.float64)
    return suits


def fit_score(alpha: float) -> al.aligner.fitness.Score:
    """Return exp(-alpha * loss) of an expert as the client received it, alone in its layer.

    After training every expert fits its client; before, only one that was trained
    on images like the client's.
    """

    def score(report: al.ExpertReport) -> float | None:
        return None if report.loss_before is None else math.exp(-alpha * report.loss_before)

    return score


def make_reports(
    training: Training, plan: al.Plan, accepted: np.ndarray, images: int,
    times: dict[int, Times], spec: ExpertModel,
) -> list[al.ClientReport]:
    """Return the reports of the clients whose updates were accepted.

    Parameters
    ----------
    training : Training
        What the participants saw.
    plan : Plan
        The round's plan.
    accepted : ndarray
        bool, shape (N,): whose updates count.
    images : int
        Images that each client trained on.
    times : dict of int to Times
        Simulated seconds, and bytes moved, by client.
    spec : ExpertModel
        Numbers of experts and layers.

    Notes
    -----
    All images of a step pass through every expert held, whatever weight the gate
    gives it, so each is reported with all of them; `gate_usage` tells the weight.
    """
    experts = expert_reports(training, images, spec.n_experts)
    return [
        al.ClientReport(
            client, plan.round, samples=images, seconds=times[client].train / max(1, len(seen)),
            down_mb=times[client].down_bytes / MEGA, up_mb=times[client].up_bytes / MEGA,
            down_seconds=times[client].down, up_seconds=times[client].up, experts=seen,
        )
        for client, seen, counts in zip(training.clients, experts, accepted, strict=True)
        if counts
    ]


def expert_reports(
    training: Training, images: int, n_experts: int
) -> list[dict[int, al.ExpertReport]]:
    """Return what every participant saw of its experts, ascending through all layers."""
    found: list[dict[int, al.ExpertReport]] = [{} for _ in training.clients]
    for layer, (pair, seen) in enumerate(zip(training.pairs, training.seen, strict=True)):
        for client, expert, row in zip(pair.client.tolist(), pair.expert.tolist(), seen.tolist(),
                                       strict=True):
            if 1.0 < row[0] < 1.0 + ROUNDING:
                row[0] = 1.0
            found[client][layer * n_experts + expert] = al.ExpertReport(
                samples=images, **dict(zip(SEEN, row, strict=True)))
    return found
