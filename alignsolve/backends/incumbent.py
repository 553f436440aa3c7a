"""The best answer and bound so far: of one search, or of all threads of a solve."""

from __future__ import annotations

import math
import threading
import time

import numpy as np

from alignsolve.backends.row_units import row_units
from alignsolve.model.arrays import IntArray, row_blocks
from alignsolve.model.feasibility import is_feasible
from alignsolve.model.offsets import has_large_offsets
from alignsolve.model.problem import AlignmentProblem, Feature
from alignsolve.status import Limits

#: Finest unit of values that objectives are told apart by.
FINEST_UNIT = 1e-6


class Incumbent:
    """The best answer and the least bound of one search, both max sense.

    Parameters
    ----------
    problem : AlignmentProblem
        The problem.

    Attributes
    ----------
    value : float
        Value of the best answer; -inf for none.
    pairs : tuple of int64 array, or None
        The best answer.
    bound : float
        No answer is better.
    source : str
        Name of the solver that the bound comes from; empty for whoever keeps the incumbent.
    infeasible : bool
        Whether there is no answer at all.
    """

    def __init__(self, problem: AlignmentProblem) -> None:
        self.problem = problem
        self.value, self.bound, self.source = -math.inf, math.inf, ""
        self.pairs: tuple[IntArray, IntArray] | None = None
        self.infeasible = False

    def offer(self, rows: IntArray, cols: IntArray) -> bool:
        """Keep an answer if it is feasible and the best so far; tell whether it is feasible."""
        if not is_feasible(self.problem, rows, cols):
            return False
        self._take(self.problem.sign * self.problem.objective(rows, cols), rows, cols)
        return True

    def _take(self, value: float, rows: IntArray, cols: IntArray) -> None:
        if value > self.value:
            self.value, self.pairs = value, (rows, cols)

    def lower(self, bound: float, source: str = "") -> None:
        """Take a valid bound into account, and who vouches for it where others do."""
        if bound < self.bound:
            self.bound, self.source = bound, source


class SharedIncumbent(Incumbent):
    """The best answer and bound of all threads of a solve, and what ends them.

    Parameters
    ----------
    problem : AlignmentProblem
        The problem.
    limits : Limits
        Limits, and a warm start, which is taken where it is feasible.

    Attributes
    ----------
    unit : float
        Values of answers differ by multiples of this; 0 where not known.
    rounding : float
        What a search loses to rounding: no value is told apart any finer.
    interrupted : bool
        Whether the caller ended the search.
    """

    def __init__(self, problem: AlignmentProblem, limits: Limits) -> None:
        super().__init__(problem)
        self.limits, self.interrupted = limits, False
        self.unit, self.rounding = _unit(problem), 0.0
        # A large offset of all values would hide what tells answers apart.
        self._stake = _spread(problem) if has_large_offsets(problem) else math.inf
        self._lock = threading.Lock()
        self._stop = threading.Event()
        if limits.warm_start is not None:
            self.offer(*limits.warm_start)

    def _take(self, value: float, rows: IntArray, cols: IntArray) -> None:
        with self._lock:
            super()._take(value, rows, cols)

    def lower(self, bound: float, source: str = "") -> None:
        """Take a valid bound into account, rounded to the unit of values."""
        with self._lock:
            if self.unit > 0 and math.isfinite(bound):
                # Values are multiples of the unit; rounding errors are far below a half.
                bound = math.floor(bound / self.unit + 1e-6) * self.unit
            super().lower(bound, source)

    @property
    def tolerance(self) -> float:
        """Distance of bound and value that counts as none."""
        least = 0.5 * self.unit
        if not least:
            least = 1e-9 * min(abs(self.value), self._stake)
        return max(least, 2 * self.rounding)

    @property
    def proved(self) -> bool:
        """Whether the answer is optimal, or there is none."""
        return self.infeasible or self.bound <= self.value + self.tolerance

    @property
    def good_enough(self) -> bool:
        """Whether the relative gap asked for is reached."""
        # Without an answer the gap is infinite, whatever share of infinity was asked for.
        return (
            self.value > -np.inf
            and self.bound - self.value <= self.limits.rel_gap * abs(self.value)
        )

    def report(self) -> None:
        """Tell the caller how far the search is; end it where the caller says so."""
        call = self.limits.report
        if call is not None and call(self.value, self.bound):
            self.interrupted = True
            self._stop.set()

    def stop(self) -> None:
        """Ask all threads to end."""
        self._stop.set()

    @property
    def is_over(self) -> bool:
        """Whether the search shall end."""
        return (
            self._stop.is_set()
            or self.proved
            or self.good_enough
            or time.perf_counter() >= self.limits.deadline
        )


def _spread(problem: AlignmentProblem) -> float:
    """Return the sum of differences of the clients' largest and least values."""
    total = 0.0
    for rows in row_blocks(problem.n_clients, problem.n_experts):
        values = problem.values(rows)
        top = values.max(axis=1, initial=-np.inf)
        some = top > -np.inf
        least = np.where(values > -np.inf, values, np.inf).min(axis=1, initial=np.inf)
        total += float((top[some] - least[some]).sum())
    return total


def _unit(problem: AlignmentProblem) -> float:
    """Return the unit of which all objective values are multiples, or 0."""
    if {Feature.LOAD_PENALTY, Feature.NAMED_LOAD_PENALTY} & problem.features:
        return 0.0
    if problem.n_clients * problem.n_experts > 1 << 22:
        return 0.0
    values = problem.values(slice(0, problem.n_clients))
    finite = values[np.isfinite(values)]
    if not finite.size:
        return 0.0
    per_unit = float(row_units(finite, np.array([0, finite.size]))[1][0])
    unit = 1 / per_unit if per_unit > 0 else 0.0
    largest = float(np.abs(finite).sum())
    return unit if unit >= FINEST_UNIT and largest * per_unit < 2.0**50 else 0.0
