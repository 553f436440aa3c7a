"""When a run's files are written: records always, checkpoints now and then, and at any end."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any

from alignsolve.interrupts import Call
from fedloop.checkpoint import save_checkpoint


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
        self, record: Mapping[str, Any], contents: Callable[[], Mapping[str, Any]], is_last: bool
    ) -> None:
        """Take the record of a round, and what it has left, which nothing changes any more."""
        if self._folder is None:
            return
        self._unsaved = contents()
        with (self._folder / "rounds.jsonl").open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(record) + "\n")
        if is_last or record["round"] % self._every == 0:
            self._save()

    def _save(self) -> None:
        if self._folder is not None and self._unsaved is not None:
            with Call("finish"):
                save_checkpoint(self._folder / "checkpoint.safetensors", self._unsaved)
                self._unsaved = None

    def __enter__(self) -> Saving:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        with nullcontext() if kind is None else suppress(OSError):
            self._save()
