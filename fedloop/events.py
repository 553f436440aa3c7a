"""Write a run's rounds as events for TensorBoard."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

from fedloop.errors import ConfigError

logger = logging.getLogger(__name__)

#: Figures of a record that are drawn: its key -> title.
FIGURES = {
    "accuracy": "accuracy/as served", "accuracy_all": "accuracy/all experts",
    "worst_decile": "accuracy/worst tenth of the clients", "loss": "loss",
    "load_cv": "load/cv", "finished": "clients/finished", "down_bytes": "bytes/down",
    "up_bytes": "bytes/up", "seconds": "seconds",
}


class Events:
    """A folder of events; used in a ``with`` statement.

    Parameters
    ----------
    folder : Path
        The run's folder; events go to ``tensorboard`` in it.

    Raises
    ------
    ConfigError
        If TensorBoard is not installed.

    Notes
    -----
    A run that goes on from a checkpoint writes its rounds after it anew; what was
    written of them before is purged. Events that cannot be written stop no run: there are
    none from then on, after one warning.
    """

    def __init__(self, folder: Path) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            raise ConfigError("--tensorboard needs a package: pip install tensorboard") from None
        self._open: Callable[..., Any] = SummaryWriter
        self._folder = folder / "tensorboard"
        self._writer: Any = None
        self._failed = False

    def __enter__(self) -> Events:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._writer is not None:
            self._unless_failed(self._writer.close)

    def add(self, record: dict[str, Any]) -> None:
        """Write a round."""
        self._unless_failed(lambda: self._add(record))

    def _unless_failed(self, write: Callable[[], None]) -> None:
        if self._failed:
            return
        try:
            write()
        except OSError as error:
            self._failed = True
            logger.warning("events in %s cannot be written: %s; the run goes on without them",
                           self._folder, error.strerror or error)

    def _add(self, record: dict[str, Any]) -> None:
        round_ = record["round"]
        if self._writer is None:
            self._writer = self._open(str(self._folder), purge_step=round_)
        figures = {title: record[key] for key, title in FIGURES.items()}
        figures |= {f"load/expert {number}": count
                    for number, count in enumerate(record["holders"])}
        for title, value in figures.items():
            if value is not None:  # there is no loss where nobody answered
                self._writer.add_scalar(title.replace(" ", "_"), value, round_)
