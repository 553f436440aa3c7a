"""`train`, as documented since 0.1; `fedloop.experiment` has the loop."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from fedloop.config import Config
from fedloop.experiment import Trainer, play_round, run_training, train_here
from fedloop.world import Record, State, World, build_world, load_data, start

__all__ = ["Record", "State", "Trainer", "World", "build_world", "load_data", "play_round",
           "start", "train", "train_here"]


def train(
    config: Config, folder: Path | None = None, *, data: Any = None,
    on_round: Callable[[Record], None] | None = None, stop_after: int | None = None,
    trainer: Trainer | None = None,
) -> tuple[World, State]:
    """Run, or resume, a federated training; as `fedloop.run_training`, with the folder second."""
    return run_training(config, None, data, folder, on_round=on_round, stop_after=stop_after,
                        trainer=trainer)
