"""Time to quality: when a run had an answer within a share of the best bound.

* The *bound* of an instance is the tightest that is listed or that a run proved, and the
  optimum where that is proved. Nobody gets below its distance from the optimum: where the
  bound is poor, no run reaches a small gap.
* An answer counts from the moment a callback told of it; of a run that says nothing on the
  way, and of results kept before the bench looked, from the end of the run.
* Runs that failed (killed, crashed, late, wrong) handed over nothing, and reach nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from alignsolve.bench.records import Instance, Row

#: Gaps to the best bound to which time is taken, by the name that tables give them.
GAPS = {"1%": 1e-2, "0.1%": 1e-3, "0.02%": 2e-4}

#: What the figures are called in files.
FIELDS = (*(f"within_{name.removesuffix('%')}_percent_seconds" for name in GAPS),
          "primal_integral_seconds")


@dataclass(frozen=True)
class Quality:
    """How soon answers were good: of a run, or means over instances.

    Attributes
    ----------
    seconds : dict of str to float
        For each of `GAPS`, seconds to the first answer within it; +inf where there was
        none, NaN where no bound is known, or the instance has no answer.
    primal_integral : float
        Primal gap integrated over the time limit, in seconds; NaN where no value is known.
    """

    seconds: dict[str, float]
    primal_integral: float

    def figures(self) -> dict[str, float]:
        """Return the figures by their names in files, `FIELDS`."""
        return dict(zip(FIELDS, (*self.seconds.values(), self.primal_integral), strict=True))


def best_bound(instance: Instance, rows: Iterable[Row]) -> float | None:
    """Return the tightest bound that is listed for an instance or stated by some rows of it."""
    stated = [instance.reference.best_bound, *(row.bound for row in rows)]
    bounds = [instance.sign * bound for bound in stated if bound is not None]
    return instance.sign * min(bounds) if bounds else None


def quality_of(
    instance: Instance, row: Row, bound: float | None, best: float | None, limit: float,
    failed: bool = False,
) -> Quality:
    """Return how soon the answers of a run were good.

    Parameters
    ----------
    instance : Instance
        Its instance.
    row : Row
        The run.
    bound, best : float or None
        Best bound, and best value, of the instance.
    limit : float
        Seconds over which the primal gap is integrated.
    failed : bool
        Whether the run failed, and so reaches nothing.

    Notes
    -----
    The gap to the bound is ``|bound - value| / max(1, |value|)``, as everywhere in the package.
    The primal gap is ``|best - value| / max(|best|, |value|)``, 1 before the first answer and
    where the signs differ; its integral is small for searches that are good early.

    References
    ----------
    T. Berthold, Measuring the impact of primal heuristics, Operations Research Letters 41(6),
    611-614, 2013, doi:10.1016/j.orl.2013.08.007.
    """
    # What comes within the grace counts at the limit.
    answers = [] if failed else [(min(at, limit), value)
                                 for at, value in _answers(instance.sign, row)]
    seconds = dict.fromkeys(GAPS, math.nan)
    if bound is not None and best is not None:
        seconds = {
            name: next((at for at, value in answers
                        if instance.sign * (bound - value) <= gap * max(1.0, abs(value))), math.inf)
            for name, gap in GAPS.items()
        }
    integral = math.nan if best is None else primal_integral(answers, best, limit)
    return Quality(seconds, integral)


def _answers(sign: float, row: Row) -> list[tuple[float, float]]:
    """Return seconds and value of the answers of a run, the last of which was checked.

    What is better than that one was told on the way, and not kept: no answer.
    """
    value = row.value
    if value is None:
        return []
    known = [one for one in row.incumbents if sign * (one[1] - value) <= 0]
    if not known or known[-1][1] != value:
        known.append((row.total_seconds or 0.0, value))
    return known


def primal_integral(answers: Iterable[tuple[float, float]], best: float, limit: float) -> float:
    """Return the primal gap integrated over time, in seconds.

    Parameters
    ----------
    answers : iterable of (float, float)
        Seconds, ascending to at most `limit`, and value of each answer.
    best : float
        Best value known, or a bound in place of it.
    limit : float
        Seconds over which to integrate.
    """
    area, since, gap = 0.0, 0.0, 1.0
    for at, value in answers:
        area += gap * (at - since)
        since, gap = at, _primal_gap(value, best)
    return area + gap * (limit - since)


def _primal_gap(value: float, best: float) -> float:
    if value * best < 0 or not math.isfinite(best):
        return 1.0
    return abs(value - best) / max(abs(value), abs(best), math.ulp(0.0))
