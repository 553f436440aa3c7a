"""Capture the alignment problems of real training runs in `captured/`.

    python instances/capture.py

Plays `fedloop` on scikit-learn's digits, which need no files, and writes the problem
that the Aligner solves before some rounds. Needs the extra ``fed``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from alignsolve.aligner.policy import round_problem
from alignsolve.io import write_instance
from alignsolve.model.problem import AlignmentProblem
from fedloop.config import build_config
from fedloop.train import State, build_world, play_round, start

FOLDER = Path(__file__).resolve().parent / "captured"

#: Name -> settings of the run.
RUNS: dict[str, dict[str, Any]] = {
    "rotation": {},
    "permuted-labels": {"partition": {"kind": "permuted-labels"}, "model": {"gate": "personal"}},
    "two-layers": {"model": {"layers": 2}},
}

#: Rounds before which the problem is written: hardly anything known, much, and all settled.
ROUNDS = (3, 20, 60)


def next_problem(state: State) -> AlignmentProblem:
    """Return the problem of the next round with all clients."""
    aligner = state.aligner
    clients = np.arange(len(state.held))
    return round_problem(aligner.tables.inputs(aligner.round + 1, clients))


def main() -> None:
    """Play every run and write its problems."""
    FOLDER.mkdir(exist_ok=True)
    for name, settings in RUNS.items():
        config = build_config(settings)
        torch.set_num_threads(config.threads)
        world = build_world(config)
        state = start(world)
        for number in range(1, max(ROUNDS) + 1):
            if number in ROUNDS:
                write_instance(next_problem(state), FOLDER / f"{name}-{number}.json")
            play_round(world, state)


if __name__ == "__main__":
    main()
