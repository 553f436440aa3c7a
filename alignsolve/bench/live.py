"""A progress bar, on a terminal only."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console


class Live:
    """Shows how far a bench is; does nothing without a terminal.

    Parameters
    ----------
    console : rich.console.Console or None
        Where to draw.
    """

    def __init__(self, console: Console | None) -> None:
        self._progress: Any = None
        if console is not None and console.is_terminal:
            from rich.progress import (
                BarColumn,
                MofNCompleteColumn,
                Progress,
                TextColumn,
                TimeElapsedColumn,
            )

            self._progress = Progress(
                TextColumn("{task.description}"), BarColumn(bar_width=24), MofNCompleteColumn(),
                TimeElapsedColumn(), TextColumn("{task.fields[doing]}", markup=False),
                console=console, transient=True,
            )
            self._task = self._progress.add_task("", total=None, doing="")

    def __enter__(self) -> Live:
        if self._progress is not None:
            self._progress.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self._progress is not None:
            self._progress.stop()

    def phase(self, description: str, total: int, done: int = 0) -> None:
        """Begin a phase of so many steps."""
        if self._progress is not None:
            self._progress.reset(
                self._task, description=description, total=total, completed=done, doing=""
            )

    def doing(self, text: str) -> None:
        """Say what was begun last."""
        if self._progress is not None:
            self._progress.update(self._task, doing=text)

    def step(self) -> None:
        """Count a step as done."""
        if self._progress is not None:
            self._progress.advance(self._task)
