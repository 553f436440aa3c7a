"""A problem's values as whole numbers of a unit: what rounding of floats cannot hide."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt

from alignsolve.model.arrays import IntArray
from alignsolve.model.offsets import least_step
from alignsolve.model.problem import AlignmentProblem, Feature

#: Entries of the matrix, and experts, up to which an answer is judged in whole numbers where
#: floats leave a doubt: some tens of milliseconds.
MOST_ENTRIES = 1 << 14
MOST_EXPERTS = 80

#: Values of a client that differ by less than this share of its largest difference are too close
#: for sums in float64.
CLOSE = 2.0**-40


@dataclass(frozen=True, eq=False)
class Numbers:
    """Values and penalties of a problem as Python integers, in a common unit.

    Attributes
    ----------
    values : object array, shape (n_clients, n_experts)
        Fitness less switching cost in units; ``-infinite`` where the pair is forbidden.
    slope, slope_target : object array, shape (n_experts,)
        ``load_penalty`` and ``load_penalty * load_target`` in units.
    unit : Fraction
        What a unit is worth, in units of fitness.
    infinite : int
        Larger than any sum along a path.
    """

    values: npt.NDArray[Any]
    slope: npt.NDArray[Any]
    slope_target: npt.NDArray[Any]
    unit: Fraction
    infinite: int

    @classmethod
    def of(cls, problem: AlignmentProblem) -> Numbers:
        """Read a small problem of the flow class."""
        fitness = np.asarray(problem.fitness, dtype=np.float64)
        allowed = np.isfinite(fitness)
        cost = np.zeros(1)
        if Feature.SWITCHING in problem.features:
            cost = np.array(problem.switch_cost)
            if problem.held is not None:
                cost[problem.held.mask(slice(0, problem.n_clients))] = 0.0
        gain, loss = _dyadic(np.where(allowed, fitness, 0.0)), _dyadic(cost)
        slope, target = _dyadic(problem.load_penalty), _dyadic(problem.load_target)
        at_target = slope[0] * target[0], slope[1] + target[1]
        parts = gain, loss, slope, at_target
        finest = min(int(exponent[digits != 0].min(initial=0)) for digits, exponent in parts)
        whole = [digits << (exponent - finest) * (digits != 0) for digits, exponent in parts]
        values = whole[0] - whole[1]
        largest = max(int(np.abs(part).max(initial=0)) for part in (values, *whole[2:]))
        n, m = fitness.shape
        infinite = 8 * (m + 2) ** 2 * (2 * n + 4) * (largest + 1)
        values[~allowed] = -infinite
        return cls(values, whole[2], whole[3], Fraction(2) ** finest, infinite)

    def penalty_steps(self, holders: IntArray) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
        """Return the change of each expert's penalty by one holder more, and one less."""
        twice = 2 * (self.slope * holders.astype(object) - self.slope_target)
        return twice + self.slope, self.slope - twice


def _dyadic(values: npt.NDArray[np.float64]) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Return floats as Python integers times powers of two: digits, and exponents."""
    mantissa, exponent = np.frexp(values)
    digits = np.ldexp(mantissa, 53).astype(np.int64).astype(object)
    return digits, (exponent.astype(np.int64) - 53).astype(object)


def is_small(problem: AlignmentProblem) -> bool:
    """Tell whether a problem of the flow class is small enough for `Numbers`."""
    n, m = problem.n_clients, problem.n_experts
    return not problem.streamed and n * m <= MOST_ENTRIES and m <= MOST_EXPERTS


def has_close_values(problem: AlignmentProblem) -> bool:
    """Tell whether values of a client, or penalties, differ by too little for sums in float64."""
    values = problem.values(slice(0, problem.n_clients))
    step = least_step(values)
    penalty = float(problem.load_penalty.max(initial=0.0))
    bare = Feature.SWITCHING not in problem.features
    if bare and step >= CLOSE * (2 * problem.largest + penalty):
        return False
    least = values.min(axis=1, where=values > -np.inf, initial=np.inf)
    spread = np.where(least < np.inf, values.max(axis=1, initial=-np.inf) - least, 0.0)
    return step < CLOSE * (float(spread.max(initial=0.0)) + penalty)
