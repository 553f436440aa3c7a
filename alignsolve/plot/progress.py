"""Pictures of a solve: its value and bound over time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from alignsolve.errors import ProblemError
from alignsolve.plot.style import COLOURS, axes_or_new
from alignsolve.progress import Progress

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def gap(trace: Sequence[Progress], axes: Axes | None = None) -> Axes:
    """Draw the best value and the bound of a solve over its time.

    Parameters
    ----------
    trace : sequence of Progress
        What a callback was told: ``trace = []; al.solve(problem, callback=trace.append)``.
    axes : matplotlib Axes, optional
        Where to draw; by default a new figure.

    Returns
    -------
    Axes
        The shaded area between both is the gap.

    Raises
    ------
    ProblemError
        If nothing was told.

    Examples
    --------
    >>> import alignsolve as al
    >>> problem = al.AlignmentProblem([[3, 1], [2, 2.5]], max_experts=1, load_max=1)
    >>> trace = []
    >>> result = al.solve(problem, callback=trace.append)
    >>> al.plot.gap(trace).get_xlabel()
    'seconds'
    """
    if not trace:
        raise ProblemError("the trace is empty; fill it by solve(problem, callback=trace.append)")
    axes = axes_or_new(axes)
    seconds = [state.seconds for state in trace]
    values = [state.objective_value for state in trace]
    bounds = [state.dual_bound if math.isfinite(state.dual_bound) else math.nan for state in trace]
    axes.step(seconds, bounds, where="post", color=COLOURS[1], linestyle="--", label="bound")
    axes.step(seconds, values, where="post", color=COLOURS[0], label="best value")
    axes.fill_between(seconds, values, bounds, step="post", color=COLOURS[1], alpha=0.12,
                      linewidth=0)
    last = trace[-1]
    axes.plot(last.seconds, last.objective_value, "o", color=COLOURS[0], markersize=4)
    ended = "no bound" if math.isinf(last.gap) else f"gap {last.gap:.3g}"
    axes.set(xlabel="seconds", ylabel="objective",
             title=f"{last.backend}: {ended} after {last.seconds:.3g} s")
    axes.legend()
    axes.grid(alpha=0.25, linewidth=0.6)
    return axes
