"""What a run leaves in its folder, and how it goes on from there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from fedloop.checkpoint import NAME, load_checkpoint, save_checkpoint
from fedloop.config import Config
from fedloop.errors import CheckpointError

if TYPE_CHECKING:
    from fedloop.train import Record, State, World


def save(world: World, state: State, folder: Path) -> None:
    """Write a checkpoint, replacing the last one in one step."""
    save_checkpoint(folder / NAME, {
        "config": identity_of(world.config),
        "model": {name: value.cpu().numpy() for name, value in state.model.items()},
        "velocity": {name: value.cpu().numpy() for name, value in state.velocity.items()},
        "aligner": state.aligner.state_dict(),
        "holders": state.holders, "held": state.held, "records": state.records,
    })


def restore(world: World, state: State, folder: Path) -> None:
    """Put a folder's checkpoint into a state.

    Raises
    ------
    CheckpointError
        If it is damaged or of a run with other settings.
    """
    path = folder / NAME
    saved = load_checkpoint(path, "config", "model", "velocity", "aligner", "holders", "held",
                            "records")
    mine, theirs = identity_of(world.config), saved["config"]
    if mine != theirs:
        name = next(key for key in {**mine, **theirs} if mine.get(key) != theirs.get(key))
        raise CheckpointError(f"{path}: made with another {name}: {theirs.get(name)}, not "
                              f"{mine.get(name)}; choose another folder, or remove this one")
    device = world.config.device
    state.model = {name: torch.from_numpy(value).to(device)
                   for name, value in saved["model"].items()}
    state.velocity = {name: torch.from_numpy(value).to(device)
                      for name, value in saved["velocity"].items()}
    state.aligner.load_state_dict(saved["aligner"])
    state.holders, state.held = saved["holders"], saved["held"]
    # Runs of older versions may hold infinite losses.
    state.records = json.loads(json.dumps(saved["records"]), parse_constant=lambda _: None)


def identity_of(config: Config) -> dict[str, Any]:
    """Return the settings that a run's numbers depend on."""
    ignored = {"rounds", "checkpoint_every", "targets", "device"}
    found: dict[str, Any] = config.model_dump(mode="json", exclude=ignored)
    found["data"].pop("dir")
    return found


def json_line(record: Record) -> str:
    """Return a round as a line of JSON, which knows no infinity."""
    return json.dumps(record, allow_nan=False) + "\n"
