"""What a run leaves in its folder, when that is written, and how it goes on from there."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from alignsolve.errors import ProblemError
from alignsolve.interrupts import Call
from alignsolve.io.files import append_text
from fedloop.checkpoint import ANEW, NAME, load_checkpoint, save_checkpoint
from fedloop.config import Config
from fedloop.errors import CheckpointError
from fedloop.models.layout import Params

if TYPE_CHECKING:
    from fedloop.world import Record, State, World

#: Tensors of a state: the server's by name, and by client what each has.
SERVERS, CLIENTS = ("model", "velocity", "square"), ("received", "lost")


class Saving:
    """The files of a run; a context manager around its rounds.

    Parameters
    ----------
    folder : Path or None
        The run's folder, of which ``rounds.jsonl`` gets every round; None writes nothing.
    every : int
        After how many rounds the checkpoint is written; after each one outside the main
        thread, which alone hears of Ctrl-C and SIGTERM.

    Notes
    -----
    Where an exception ends the run in the middle of a round, KeyboardInterrupt included,
    the last whole round is written first. Where that is not possible the file stays as
    it was.
    """

    def __init__(self, folder: Path | None, every: int) -> None:
        self._folder = folder
        self._every = every if threading.current_thread() is threading.main_thread() else 1
        self._unsaved: Mapping[str, Any] | None = None

    def take(
        self, record: Record, contents: Callable[[], Mapping[str, Any]], is_last: bool
    ) -> None:
        """Take the record of a round, and what it has left, which nothing changes any more."""
        if self._folder is None:
            return
        self._unsaved = contents()
        append_text(self._folder / "rounds.jsonl", json_line(record))
        if is_last or record["round"] % self._every == 0:
            self._save()

    def _save(self) -> None:
        if self._folder is not None and self._unsaved is not None:
            with Call("finish"):
                save_checkpoint(self._folder / NAME, self._unsaved)
                self._unsaved = None

    def __enter__(self) -> Saving:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        with nullcontext() if kind is None else suppress(OSError, ProblemError):
            self._save()


def contents(world: World, state: State) -> dict[str, Any]:
    """Return what a checkpoint holds; tensors of the model are replaced, never changed."""
    return {
        "config": identity_of(world.config),
        **{kind: arrays_of(getattr(state, kind)) for kind in SERVERS},
        **{kind: {client: arrays_of(pieces) for client, pieces in getattr(state, kind).items()}
           for kind in CLIENTS},
        "aligner": state.aligner.state_dict(),
        "holders": state.holders.copy(), "held": state.held.copy(),
        "records": list(state.records),
    }


def arrays_of(params: Mapping[str, torch.Tensor]) -> dict[str, np.ndarray]:
    """Return arrays of tensors; half precision, which numpy lacks, as what holds it exactly."""
    return {name: (value.float() if value.dtype == torch.bfloat16 else value).cpu().numpy()
            for name, value in params.items()}


def tensors_of(arrays: Mapping[str, np.ndarray], like: Mapping[str, torch.Tensor]) -> Params:
    """Return what `arrays_of` made arrays of, in the type and on the device of the like."""
    return {name: torch.from_numpy(value).to(like[name]) for name, value in arrays.items()}


def restore(world: World, state: State, folder: Path) -> None:
    """Put a folder's checkpoint into a state.

    Raises
    ------
    CheckpointError
        If it is damaged, of a run with other settings, or of rounded payloads in the layout of
        an older version.
    """
    path = folder / NAME
    saved = load_checkpoint(path, "config", *SERVERS, *CLIENTS, "aligner", "holders", "held",
                            "records")
    if any(not client.isdecimal() for kind in CLIENTS for client in saved[kind]):
        raise CheckpointError(f"{path}: has int8 payloads of an older fedloop, by "
                              f"parameter in place of client; {ANEW}")
    mine, theirs = identity_of(world.config), saved["config"]
    if mine != theirs:
        name = next(key for key in {**mine, **theirs} if mine.get(key) != theirs.get(key))
        raise CheckpointError(f"{path}: made with another {name}: {theirs.get(name)}, not "
                              f"{mine.get(name)}; choose another folder, or remove this one")
    shapes = {name: tuple(value.shape) for name, value in state.model.items()}
    if {name: value.shape for name, value in saved["model"].items()} != shapes:
        raise CheckpointError(f"{path}: made with another model; choose another folder, or remove "
                              "this one")
    for kind in SERVERS:
        setattr(state, kind, tensors_of(saved[kind], state.model))
    for kind in CLIENTS:
        setattr(state, kind, {
            int(client): {name: torch.from_numpy(value) for name, value in pieces.items()}
            for client, pieces in saved[kind].items()})
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
