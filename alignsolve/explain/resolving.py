"""What changes cost, settled by solving the whole problem again with the change, within a time.

A pair is forbidden by its value, and forced by taking it out: its client has a slot less, and
every bound and target is less what the pair uses.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from alignsolve.errors import BackendError, UnsupportedProblemError
from alignsolve.model.problem import AlignmentProblem
from alignsolve.relaxation import bounds_beside
from alignsolve.result import Result
from alignsolve.solve.solve import solve_within
from alignsolve.status import Limits, Status

#: Differences up to this share of the values are rounding.
ROUNDING = 1e-9

#: Least seconds that are left for a question to be asked at all.
LEAST_SECONDS = 0.01

#: Seconds that a question gets at least, while there are any: an equal share of a short time may
#: be too little for the smallest problem, so that nothing would be settled.
ENOUGH_SECONDS = 0.25


def moved(bound: Any, at: Any, by: float) -> Any:
    """Return a bound with one entry moved."""
    changed = np.array(bound)
    changed[at] += by
    return changed


@dataclass(frozen=True)
class Known:
    """A number of which bounds are proved.

    Attributes
    ----------
    low, high : float
        It is between these; they are equal where it is known.
    answer : Result or None
        An answer worth `low`, where the number is an optimum.
    """

    low: float
    high: float
    answer: Result | None = field(default=None, repr=False)

    @property
    def exact(self) -> bool:
        """Whether it is known."""
        return self.low == self.high

    def less(self, other: Known) -> Known:
        """Return this less another number, at least 0."""
        if self.high == -math.inf or other.low == math.inf:
            return Known(0.0, 0.0)
        if other.high == -math.inf:
            return Known(math.inf, math.inf)
        return Known(max(0.0, self.low - other.high), max(0.0, self.high - other.low))


class Resolver:
    """Optima of a problem with changes, max sense.

    Parameters
    ----------
    problem : AlignmentProblem
        A problem that has an answer.
    result : Result
        The answer, with what is proved of it.
    seconds : float
        Time for all questions together.

    Attributes
    ----------
    value : Known
        What the answer is worth: known.
    optimum : Known
        What the best answer is worth.
    left : int
        Questions still to come, about; they share the time that is left.
    """

    def __init__(self, problem: AlignmentProblem, result: Result, seconds: float) -> None:
        self.problem, self.result = problem, result
        self.deadline = time.perf_counter() + seconds
        value = problem.sign * result.objective_value
        bound = value if result.status is Status.OPTIMAL else problem.sign * result.dual_bound
        self.value, self.optimum = Known(value, value), Known(value, bound)
        self.left = 1
        #: Up to which amounts count as rounding.
        self.rounding = ROUNDING * max(1.0, abs(value), problem.largest)

    def held(self, client: int, answer: Result | None = None) -> set[int]:
        """Return the experts that a client holds in the answer, or in another one."""
        of = answer or self.result
        return set(of.col_ind[of.row_ind == client].tolist())

    def worth(self, client: int, experts: set[int]) -> float:
        """Return what some experts are worth to a client, max sense."""
        cols = np.array(sorted(experts), dtype=np.int64)
        return float(self.problem.pair_values(np.full(cols.size, client), cols).sum())

    def best_of(self, client: int, experts: set[int]) -> int | None:
        """Return which of some experts is worth most to a client; None of none."""
        return max(sorted(experts), key=lambda one: self.worth(client, {one}), default=None)

    def without(self, client: int, expert: int) -> Known | None:
        """Return the optimum without a pair; None where it was not asked for want of time."""
        return self._optimum(self.problem.replace(fitness=self._barred(client, expert)))

    def with_pair(self, client: int, expert: int, **changes: Any) -> Known | None:
        """Return the optimum with a pair, and some arguments changed; see `without`."""
        problem = self.problem.replace(**changes) if changes else self.problem
        pair = (np.array([client]), np.array([expert]))
        places: dict[str, Any] = {"max_experts": client}
        needs: dict[str, Any] = {"min_experts": client}
        if problem.expert_group is not None:
            places["group_max"] = needs["group_min"] = client, problem.expert_group[expert]
        if any(getattr(problem, name)[at] < 1 for name, at in places.items()):
            return Known(-math.inf, -math.inf)
        taken = {name: np.maximum(moved(getattr(problem, name), at, -1), 0)
                 for name, at in (places | needs).items()}
        beside = bounds_beside(problem, *pair)
        changed = problem.replace(fitness=self._barred(client, expert), **taken, **beside)
        rest = self._optimum(changed)
        own = float(problem.pair_values(*pair)[0])
        return None if rest is None else replace(rest, low=rest.low + own, high=rest.high + own)

    def changed(self, **changes: Any) -> Known | None:
        """Return the optimum with some arguments changed; see `without`."""
        return self._optimum(self.problem.replace(**changes))

    def _barred(self, client: int, expert: int) -> Any:
        """Return the fitness with a pair forbidden."""
        fitness = np.array(self.problem.fitness)
        if fitness.dtype.kind != "f":
            fitness = fitness.astype(np.float64)
        fitness[client, expert] = -np.inf
        return fitness

    def _optimum(self, problem: AlignmentProblem) -> Known | None:
        now = time.perf_counter()
        if self.deadline - now < LEAST_SECONDS:
            return None
        share = max((self.deadline - now) / max(1, self.left), ENOUGH_SECONDS)
        self.left -= 1
        limits = Limits(deadline=min(now + share, self.deadline), with_conflict=False)
        try:
            found = solve_within(problem, limits)
        except (BackendError, UnsupportedProblemError):
            return None
        if found.status is Status.INFEASIBLE:
            return Known(-math.inf, -math.inf)
        bound = problem.sign * found.dual_bound
        if not found.has_answer:
            return Known(-math.inf, bound)
        value = problem.sign * found.objective_value
        return Known(value, value if found.status is Status.OPTIMAL else bound, found)
