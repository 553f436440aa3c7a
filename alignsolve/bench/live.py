"""A progress bar, on a terminal only."""

from __future__ import annotations

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn


class Live:
    """Shows how far a bench is; does nothing without a terminal.

    Parameters
    ----------
    console : rich.console.Console or None
        Where to draw.
    """

    def __init__(self, console: Console | None) -> None:
        drawn = console is not None and console.is_terminal
        self._progress = Progress(
            TextColumn("{task.description}"), BarColumn(bar_width=24), MofNCompleteColumn(),
            TimeElapsedColumn(), TextColumn("{task.fields[doing]}", markup=False),
            console=console if drawn else Console(quiet=True), transient=True, disable=not drawn,
        )
        self._task = self._progress.add_task("", total=None, doing="")

    def __enter__(self) -> Live:
        self._progress.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._progress.stop()

    def phase(self, description: str, total: int, done: int = 0) -> None:
        """Begin a phase of so many steps."""
        self._progress.reset(
            self._task, description=description, total=total, completed=done, doing=""
        )

    def doing(self, text: str) -> None:
        """Say what was begun last."""
        self._progress.update(self._task, doing=text)

    def step(self) -> None:
        """Count a step as done."""
        self._progress.advance(self._task)
