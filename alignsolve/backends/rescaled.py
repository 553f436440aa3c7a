"""Problems of extreme values, times a power of two: the same answers within a solver's range."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from alignsolve.model.arrays import Float64Array
from alignsolve.model.problem import AlignmentProblem
from alignsolve.progress import Reporter
from alignsolve.status import Limits, Outcome

#: Values up to ``2**EXPONENT``, and not all below its inverse, are left as they are: their
#: squares and inverses are finite, and so are those of a million times as much.
EXPONENT = 200


def solve_rescaled(
    solve: Callable[[AlignmentProblem, Limits], Outcome], problem: AlignmentProblem, limits: Limits
) -> Outcome:
    """Let `solve` answer a problem with its values in range, and scale what it claims back.

    Notes
    -----
    Only fitness, costs, penalties and floors change, and only by a power of two: exactly,
    but for values that are less than ``2**-1000`` of the largest.
    """
    power = _power(problem)
    if power == 0:
        return solve(problem, limits)

    def scaled(values: npt.ArrayLike, by: int = power) -> Float64Array:
        return np.asarray(_times(np.asarray(values, dtype=np.float64), by))

    moved = problem.replace(
        fitness=scaled(problem.fitness), switch_cost=scaled(problem.switch_cost),
        load_penalty=scaled(problem.load_penalty),
        client_fitness_min=scaled(problem.client_fitness_min),
        loads={name: replace(load, penalty=scaled(load.penalty))
               for name, load in problem.loads.items()},
    )  # fmt: skip
    prices, report = limits.warm_prices, limits.report
    found = solve(moved, replace(
        limits, warm_prices=None if prices is None else scaled(prices),
        warm_load_prices={name: scaled(part) for name, part in limits.warm_load_prices.items()},
        report=None if report is None else _Unscaled(report, -power),
    ))  # fmt: skip
    return replace(
        found, bound=float(_times(np.float64(found.bound), -power)),
        prices=None if found.prices is None else scaled(found.prices, -power),
        load_prices={name: scaled(part, -power) for name, part in found.load_prices.items()},
    )


def _power(problem: AlignmentProblem) -> int:
    """Return the power of two that brings the largest value into range; 0 if it is there."""
    largest = [problem.largest, float(np.max(problem.switch_cost, initial=0))]
    floors = problem.client_fitness_min
    largest.append(float(np.abs(floors[np.isfinite(floors)]).max(initial=0)))
    parts = [(problem.load_penalty, problem.load_target, float(problem.n_clients))]
    for load in problem.loads.values():
        parts.append((np.asarray(load.penalty), np.asarray(load.target),
                      float(np.sum(load.weight))))  # fmt: skip
    with np.errstate(over="ignore"):
        for slope, target, total in parts:
            reach = np.maximum(np.abs(target), total) ** 2 + 1
            largest.append(float(np.max(slope * reach, initial=0)))
    size = max(largest)
    if size == 0 or math.isinf(size):
        return 0
    exponent = math.frexp(size)[1]
    return min(EXPONENT, max(-EXPONENT, exponent)) - exponent


class _Unscaled(Reporter):
    """Reports the values of a scaled problem as those of the caller's."""

    def __init__(self, caller: Reporter, power: int) -> None:
        super().__init__(caller.problem, caller.callback, caller.started, caller.call)
        self.caller, self.power = caller, power

    def __call__(self, value: float, bound: float) -> bool:
        stop = self.caller(*_times(np.array([value, bound]), self.power).tolist())
        self.stop_asked = self.caller.stop_asked
        return stop


def _times(values: Any, power: int) -> Any:
    # What overflows is infinite: a bound that says nothing, or the price of it.
    with np.errstate(over="ignore"):
        return np.ldexp(values, power)
