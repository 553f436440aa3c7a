"""Pictures of an answer: who holds what, loads with their bounds, prices."""

from __future__ import annotations

import itertools
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from alignsolve.errors import ProblemError
from alignsolve.model.arrays import Float64Array, IntArray
from alignsolve.model.problem import AlignmentProblem
from alignsolve.model.text import counted
from alignsolve.plot.style import COLOURS, axes_or_new, heat_map
from alignsolve.result import Result

if TYPE_CHECKING:
    import numpy.typing as npt
    from matplotlib.axes import Axes

#: Rows of a heat map up to which each client has one; more clients share rows.
MOST_ROWS = 40

#: Experts up to which each is named on its axis.
MOST_NAMES = 30


def assignment(
    result: Result, axes: Axes | None = None, *, groups: Sequence[object] | None = None
) -> Axes:
    """Draw who holds what, as a heat map of clients by experts.

    Parameters
    ----------
    result : Result
        An answer.
    axes : matplotlib Axes, optional
        Where to draw; by default a new figure.
    groups : sequence, shape (n_clients,), optional
        A label for each client, such as its domain or region: a row is then a group, in the
        order of first appearance. By default clients that hold alike stand together, and
        share `MOST_ROWS` rows evenly where they are more.

    Returns
    -------
    Axes
        Colours are shares of a row's clients that hold the expert, from 0 to 1.

    Raises
    ------
    ProblemError
        If there is no answer, or not a label for each client.

    Examples
    --------
    >>> import alignsolve as al
    >>> problem = al.AlignmentProblem([[3, 1], [2, 2.5], [1, 2]], max_experts=1, load_max=2)
    >>> axes = al.plot.assignment(al.solve(problem), groups=["hospital", "phone", "phone"])
    >>> [label.get_text() for label in axes.get_yticklabels()]
    ['hospital (1)', 'phone (2)']
    """
    problem, title = _problem(result), _title("assignment", result, axes)
    axes = axes_or_new(axes)
    row, names = _rows(result, groups)
    size = np.bincount(row, minlength=len(names))
    held = np.zeros((len(names), problem.n_experts))
    np.add.at(held, (row[result.row_ind], result.col_ind), 1.0)
    share = held / np.maximum(size, 1)[:, None]
    heat_map(axes, share, "share of the clients that hold it", 1.0)
    shown = [at for at, name in enumerate(names) if name]
    axes.set_yticks(shown, [names[at] for at in shown])
    if groups is None and len(names) == problem.n_clients:
        axes.tick_params(axis="y", labelsize=6 if len(names) > 20 else 8)
    _name_experts(axes, result)
    alike = "" if groups is not None else ", those that hold alike together"
    axes.set(ylabel=f"clients{alike}", title=title)
    return axes


def _rows(result: Result, groups: Sequence[object] | None) -> tuple[IntArray, list[str]]:
    """Return the row of each client, int64 (n_clients,), and the rows' names."""
    problem, n = result.problem, result.problem.n_clients
    if groups is not None:
        if len(groups) != n:
            raise ProblemError(f"groups has {len(groups)} labels; give {n}, one for each client")
        number: dict[object, int] = {}
        row = np.array([number.setdefault(label, len(number)) for label in groups], np.int64)
        size = np.bincount(row, minlength=len(number)).tolist()
        return row, [_plain(f"{label} ({count:,})")
                     for label, count in zip(number, size, strict=True)]
    # By the first experts that they hold: those that hold alike are neighbours.
    held = result.matrix().astype(np.int64)
    first = np.full(n, problem.n_experts)
    np.minimum.at(first, result.row_ind, result.col_ind)
    weight = np.asarray(held @ np.arange(1, problem.n_experts + 1))
    order = np.lexsort((np.arange(n), weight, first))
    n_rows = min(n, MOST_ROWS)
    row = np.empty(n, dtype=np.int64)
    row[order] = np.arange(n) * n_rows // max(1, n)
    if n_rows == n:
        return row, [_short(problem.client_name(int(i))) for i in order]
    bounds = np.searchsorted(np.sort(row), np.arange(n_rows + 1))
    return row, [f"{low + 1:,} - {high:,}" if at % 5 == 0 else ""
                 for at, (low, high) in enumerate(itertools.pairwise(bounds))]


def loads(result: Result, axes: Axes | None = None) -> Axes:
    """Draw the holders of each expert as bars, with their bounds and targets.

    Parameters
    ----------
    result : Result
        An answer.
    axes : matplotlib Axes, optional
        Where to draw; by default a new figure.

    Returns
    -------
    Axes
        Triangles are bounds, and dashes targets.

    Raises
    ------
    ProblemError
        If there is no answer.

    Examples
    --------
    >>> import alignsolve as al
    >>> result = al.solve(al.AlignmentProblem([[3, 1], [2, 2.5]], max_experts=1, load_max=1))
    >>> axes = al.plot.loads(result)
    >>> [int(bar.get_height()) for bar in axes.patches]
    [1, 1]
    """
    problem, title = _problem(result), _title("loads", result, axes)
    axes = axes_or_new(axes)
    at = np.arange(problem.n_experts)
    axes.bar(at, result.loads, color=COLOURS[5], label="holders")
    low, high = problem.holder_bounds()
    for bound, text, marker in ((low, "fewest allowed", "^"), (high, "most allowed", "v")):
        # A bound that all clients keep says nothing.
        binds = (bound > 0) & ((marker == "^") | (bound < problem.n_clients))
        if binds.any():
            axes.plot(at[binds], bound[binds], marker, color=COLOURS[6], markersize=5, label=text)
    aims = problem.load_penalty > 0
    if aims.any():
        axes.plot(at[aims], problem.load_target[aims], "_", color=COLOURS[1], markersize=12,
                  label="target")
    _name_experts(axes, result)
    axes.set(ylabel="holders")
    # Above the axes: below them are the names of the experts. The title stands above the legend,
    # whose rows are of 16 points.
    n_rows = -(-len(axes.get_legend_handles_labels()[0]) // 2)
    axes.set_title(title, pad=12 + 16 * n_rows)
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2, frameon=False)
    return axes


def prices(
    result: Result, axes: Axes | None = None, *, prices: npt.ArrayLike | None = None
) -> Axes:
    """Draw the price of a holder of each expert.

    Parameters
    ----------
    result : Result
        An answer.
    axes : matplotlib Axes, optional
        Where to draw; by default a new figure.
    prices : array_like, shape (n_experts,), optional
        In place of the result's; an answer of the mip class has none, and
        ``al.explain(problem, result).prices`` estimates some.

    Returns
    -------
    Axes
        In the problem's own sense, a bar for each expert.

    Raises
    ------
    ProblemError
        If there is no answer, or it has no prices and none are given.

    Examples
    --------
    >>> import alignsolve as al
    >>> result = al.solve(al.AlignmentProblem([[3, 1], [2, 1]], max_experts=1, load_max=1))
    >>> al.plot.prices(result).get_ylabel()
    'price of a holder (fitness)'
    """
    problem = _problem(result)
    shown: Float64Array | None = result.prices
    if prices is not None:
        shown = np.asarray(prices, dtype=np.float64)
    if shown is None:
        raise ProblemError("the answer has no prices; give those of al.explain(problem, "
                           "result).prices")
    if shown.shape != (problem.n_experts,):
        raise ProblemError(f"prices has shape {shown.shape}; give ({problem.n_experts},), one "
                           f"per expert")
    title = _title("prices", result, axes)
    axes = axes_or_new(axes)
    axes.bar(np.arange(problem.n_experts), shown, color=COLOURS[0])
    axes.axhline(0.0, color=COLOURS[6], linewidth=0.8)
    _name_experts(axes, result)
    unit = "fitness" if problem.sense == "max" else "cost"
    axes.set(ylabel=f"price of a holder ({unit})", title=title)
    return axes


def _problem(result: Result) -> AlignmentProblem:
    """Return the problem that an answer keeps, or raise `ProblemError` where there is none."""
    if not result.has_answer:
        raise ProblemError(f"there is no answer to draw, but status {result.status.value!r}")
    return result.relaxed_problem or result.problem


def _title(what: str, result: Result, axes: Axes | None) -> str:
    """Return a title: short for the caller's Axes, of which there may be several side by side."""
    if axes is not None:
        return f"{what}: {result.status.value}"
    problem = result.problem
    return textwrap.fill(
        f"{what}: {counted(problem.n_clients, 'client')} x "
        f"{counted(problem.n_experts, 'expert')}, {result.status.value}, {result.backend}", 56)


def _name_experts(axes: Axes, result: Result) -> None:
    """Label the axis of experts, with their names where there is room."""
    problem = result.problem
    axes.set_xlabel("expert")
    if problem.n_experts > MOST_NAMES:
        axes.locator_params(axis="x", integer=True)
        return
    names = [_short(problem.expert_name(j)) for j in range(problem.n_experts)]
    wide = max(map(len, names), default=0) > 2
    axes.set_xticks(range(problem.n_experts), names, rotation=90 if wide and len(names) > 8 else 0)


def _short(name: str) -> str:
    """Return an id or a number, without the word before it and the marks around it."""
    text = name.partition(" ")[2].strip("'\"")
    # In the middle: ids of one kind often begin alike.
    return _plain(text if len(text) <= 16 else f"{text[:6]}…{text[-9:]}")


def _plain(text: str) -> str:
    """Return text without markup of matplotlib's: a dollar stays a dollar."""
    return text.replace("$", r"\$")
