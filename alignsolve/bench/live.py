"""A progress bar, on a terminal only."""

from __future__ import annotations

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn


class Live(Progress):
    """Shows how far a bench is; does nothing without a terminal.

    Parameters
    ----------
    console : rich.console.Console or None
        Where to draw.
    """

    def __init__(self, console: Console | None) -> None:
        drawn = console is not None and console.is_terminal
        super().__init__(
            TextColumn("{task.description}"), BarColumn(bar_width=24), MofNCompleteColumn(),
            TimeElapsedColumn(), TextColumn("{task.fields[doing]}", markup=False),
            console=console if drawn else Console(quiet=True), transient=True, disable=not drawn,
        )
        self._only = self.add_task("", total=None, doing="")

    def phase(self, description: str, total: int, done: int = 0) -> None:
        """Begin a phase of so many steps."""
        self.reset(self._only, description=description, total=total, completed=done, doing="")

    def doing(self, text: str) -> None:
        """Say what was begun last."""
        self.update(self._only, doing=text)

    def step(self) -> None:
        """Count a step as done."""
        self.advance(self._only)
