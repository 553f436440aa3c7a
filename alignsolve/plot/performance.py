"""Performance profiles: how many instances each backend solves within a factor of the fastest."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from alignsolve.errors import ProblemError
from alignsolve.model.text import counted, listing
from alignsolve.plot.style import axes_or_new, line_styles

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Shortest time that a profile tells apart, in seconds.
CLOCK = 1e-3

#: Columns of the text below a profile.
RULE_COLUMNS = 62


def performance_profile(
    seconds: Mapping[str, Sequence[float]],
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Return the performance profile of each backend.

    Parameters
    ----------
    seconds : mapping of str to sequence of float
        Time of each backend on the same instances in the same order; +inf
        where it did not solve one.

    Returns
    -------
    profile : dict of str to (ratios, shares)
        Ascending ratios to the fastest, float64, from 1, and the share of
        instances solved within each, float64: the corners of a step function.
        Instances that nobody solved count in every share.

    References
    ----------
    E. D. Dolan, J. J. More, Benchmarking optimization software with
    performance profiles, Mathematical Programming 91, 201-213, 2002,
    doi:10.1007/s101070100263.
    """
    times = np.maximum(np.array(list(seconds.values()), dtype=np.float64), CLOCK)
    best = times.min(axis=0, initial=np.inf)
    profile = {}
    for name, row in zip(seconds, times, strict=True):
        solved = np.isfinite(row)
        ratios, counts = np.unique(row[solved] / best[solved], return_counts=True)
        shares = np.cumsum(counts) / max(1, row.size)
        if ratios.size == 0 or ratios[0] > 1.0:
            ratios, shares = np.insert(ratios, 0, 1.0), np.insert(shares, 0, 0.0)
        profile[name] = (ratios, shares)
    return profile


def drawable(seconds: Mapping[str, Sequence[float]]) -> bool:
    """Tell whether several backends have instances in common."""
    return len(seconds) > 1 and all(len(times) > 0 for times in seconds.values())


def profile(
    report: Any, axes: Axes | None = None, *, problem_class: str | None = None,
    styles: Mapping[str, Mapping[str, str]] | None = None, gap: str | None = None,
) -> Axes:  # fmt: skip
    """Draw the performance profile of a class of problems.

    Parameters
    ----------
    report : BenchReport
        What `alignsolve.bench.run_bench` returns; of it the scores are drawn, each an
        `alignsolve.bench.score.ClassScore`.
    axes : matplotlib Axes, optional
        Where to draw; by default a new figure.
    problem_class : {"flow", "mip"}, optional
        Which class; by default the first with instances that backends have in common.
    styles : mapping of str to mapping, optional
        Colour and dashes of each backend's line, where several pictures share them.
    gap : {"1%", "0.1%", "0.02%"}, optional
        Draw the time to an answer within this gap to the best bound; by default to the proof.

    Returns
    -------
    Axes
        Shown are the backends that are compared: those that support at least half of the
        class's instances. The text below names the others.

    Raises
    ------
    ProblemError
        If no class, or not the class asked for, has instances in common, or there is no such
        gap.

    Examples
    --------
    `alignsolve.bench.run_bench` measures. Here two backends prove two instances, in seconds:

    >>> from types import SimpleNamespace
    >>> import alignsolve as al
    >>> score = SimpleNamespace(problem_class="mip", instances=2, summaries=[],
    ...                         profile={"one": [1.0, 4.0], "two": [2.0, 2.0]})
    >>> axes = al.plot.profile(SimpleNamespace(scores=[score]))
    >>> [line.get_label() for line in axes.lines]
    ['one', 'two']
    """
    found = [(score, _seconds(score, gap)) for score in report.scores
             if problem_class in (None, score.problem_class)]
    found = [(score, seconds) for score, seconds in found if drawable(seconds)]
    if not found:
        of = "" if problem_class is None else f" of class {problem_class!r}"
        raise ProblemError(f"no two backends have instances{of} in common; there is no profile")
    score, seconds = found[0]
    axes = axes_or_new(axes)
    styles = styles or line_styles(seconds)
    steps = performance_profile(seconds)
    right = 2.0 * max(float(ratios[-1]) for ratios, _ in steps.values())
    for name, (ratios, shares) in steps.items():
        axes.step([*ratios, right], [*shares, shares[-1]], where="post", label=name,
                  linewidth=1.6, **styles[name])
    axes.set_xscale("log")
    axes.set_xlim(1.0, right)
    axes.set_ylim(-0.02, 1.02)
    _ticks(axes, right)
    common = len(next(iter(seconds.values())))
    reached, counted_as = ("proof", " solved") if gap is None else (f"a gap of {gap}", "")
    axes.set(xlabel=f"time to {reached} over the fastest backend's\n{_rule(score)}",
             ylabel=f"share of instances{counted_as}",
             title=f"{score.problem_class} class: {counted(common, 'common instance')}")
    axes.grid(alpha=0.25, linewidth=0.6)
    axes.legend(fontsize="small", loc="lower right")
    return axes


def _seconds(score: Any, gap: str | None) -> Any:
    """Return the times that are drawn of a class, by backend."""
    if gap is None:
        return score.profile
    if gap not in score.quality_profiles:
        raise ProblemError(f"gap is {gap!r}; give one of {', '.join(score.quality_profiles)}")
    return score.quality_profiles[gap]


def _rule(score: Any) -> str:
    """Say which backends are shown, and who is not."""
    others = [one.backend for one in score.summaries if one.backend not in score.profile]
    rule = f"shown: backends that support half of the {score.instances:,} instances or more"
    if not others:
        return rule
    return "\n".join([rule, *textwrap.wrap(f"not shown: {listing(others)}", RULE_COLUMNS)])


def _ticks(axes: Axes, right: float) -> None:
    """Mark round factors."""
    steps = (1, 2, 5) if right < 100 else (1,)
    decades = range(math.ceil(math.log10(right)) + 1)
    ticks = [step * 10**decade for decade in decades for step in steps]
    ticks = [tick for tick in ticks if tick <= right]
    axes.set_xticks(ticks, [f"{tick}×" for tick in ticks])
    axes.set_xticks([], minor=True)
