"""One line on a terminal that tells what takes its time."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

from alignsolve.progress import Callback, Progress


@contextmanager
def live_line(text: str, quiet: bool) -> Iterator[Callback | None]:
    """Show on a terminal what is done and for how long, and how far a solve is.

    Parameters
    ----------
    text : str
        What is being done.
    quiet : bool
        Whether to show nothing; nothing is shown either where standard error is
        no terminal.

    Yields
    ------
    Callback or None
        What `alignsolve.solve` shall call to show best value, bound and gap, if anything.
    """
    from rich.console import Console

    console = Console(stderr=True)
    if quiet or not console.is_terminal:
        yield None
        return
    # The elapsed time is drawn by a thread of rich's, so it runs on whatever the solver does.
    from rich import progress as bars

    columns = (
        bars.SpinnerColumn(), bars.TextColumn("{task.description}", markup=False),
        bars.TimeElapsedColumn(),
    )
    with bars.Progress(*columns, console=console, transient=True, redirect_stdout=False) as line:
        task = line.add_task(text, total=None)

        def show(state: Progress) -> None:
            line.update(task, description=f"{text}: {described(state)}")

        yield show


def described(state: Progress) -> str:
    """Return the state of a search in a few words."""
    words = [state.backend]
    if not math.isnan(state.objective_value):
        words.append(f"best {state.objective_value:.8g}")
    if math.isfinite(state.dual_bound):
        words.append(f"bound {state.dual_bound:.8g}")
    if math.isfinite(state.gap):
        words.append(f"gap {state.gap:.2%}")
    return ", ".join(words)
