"""Write a run's rounds as events for TensorBoard."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
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


@contextmanager
def open_events(folder: Path) -> Iterator[Callable[[dict[str, Any]], None]]:
    """Give what writes a round's record as events.

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
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise ConfigError("--tensorboard needs a package: pip install tensorboard") from None
    place, writer, failed = folder / "tensorboard", None, False

    @contextmanager
    def unless_failed() -> Iterator[None]:
        nonlocal failed
        try:
            yield
        except OSError as error:
            failed = True
            logger.warning("events in %s cannot be written: %s; the run goes on without them",
                           place, error.strerror or error)

    def add(record: dict[str, Any]) -> None:
        nonlocal writer
        if failed:
            return
        with unless_failed():
            if writer is None:
                writer = SummaryWriter(str(place), purge_step=record["round"])
            figures = {title: record[key] for key, title in FIGURES.items()}
            figures |= {f"load/expert {number}": count
                        for number, count in enumerate(record["holders"])}
            for title, value in figures.items():
                if value is not None:  # there is no loss where nobody answered
                    writer.add_scalar(title.replace(" ", "_"), value, record["round"])

    try:
        yield add
    finally:
        if writer is not None and not failed:
            with unless_failed():
                writer.close()
