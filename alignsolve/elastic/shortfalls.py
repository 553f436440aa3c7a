"""By how much an assignment misses bounds, and the problem without them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from alignsolve.elastic.violation_weights import ViolationWeights
from alignsolve.model.arrays import Float64Array, IntArray
from alignsolve.model.feasibility import client_fitness, group_counts
from alignsolve.model.problem import AlignmentProblem, tolerance
from alignsolve.relaxation import Shortfall, whole_holder_bounds


def shortfalls(
    problem: AlignmentProblem, prices: ViolationWeights, rows: IntArray, cols: IntArray
) -> list[Shortfall]:
    """Return the elastic bounds that an assignment misses, by kind.

    Parameters
    ----------
    problem : AlignmentProblem
        The problem.
    prices : ViolationWeights
        What a unit costs.
    rows, cols : int64 array, shape (n_pairs,)
        The assignment.
    """
    return [part for part in _compared(problem, prices, rows, cols) if part.index.size]


def _compared(
    problem: AlignmentProblem, prices: ViolationWeights, rows: IntArray, cols: IntArray
) -> Iterator[Shortfall]:
    """Yield the shortfalls of every kind, empty or not."""
    holders = np.bincount(cols, minlength=problem.n_experts)
    low, high = whole_holder_bounds(problem)
    yield _missed("load_min", None, None, holders, low, 1.0, prices.load)
    yield _missed("load_max", None, None, holders, high, -1.0, prices.load)
    for name, load in problem.loads.items():
        amount, price = problem.load_amounts(name, rows, cols), prices.named_loads[name]
        yield _missed("load_min", name, None, amount, np.asarray(load.min), 1.0, price)
        yield _missed("load_max", name, None, amount, np.asarray(load.max), -1.0, price)
    count = np.bincount(rows, minlength=problem.n_clients)
    yield _missed("min_experts", None, None, count, problem.min_experts, 1.0, prices.min_experts)
    if problem.group_min is not None:
        counts = group_counts(problem, rows, cols)
        for g in range(problem.n_groups):
            yield _missed("group_min", None, g, counts[:, g], problem.group_min[:, g], 1.0,
                          prices.group[:, g])
    floor = problem.client_fitness_min
    if (floor > -np.inf).any():
        fitness = client_fitness(problem, rows, cols)
        yield _missed("client_fitness_min", None, None, fitness, floor, 1.0, prices.fitness_floor)


def _missed(
    kind: str, name: str | None, group: int | None, has: Any, bound: Any, sign: float,
    price: Float64Array,
) -> Shortfall:
    """Compare what an assignment has with lower bounds (`sign` 1) or upper bounds (-1)."""
    # An infinite bound that binds nothing minus a number must not warn.
    amount = np.where(np.isfinite(bound), sign * (bound - has), np.where(
        sign * bound > 0, np.inf, -np.inf))
    index = np.flatnonzero(amount > tolerance(bound))
    return Shortfall(kind, name, group, index, np.asarray(has, dtype=np.float64)[index],
                     amount[index], price[index])


def priced(parts: list[Shortfall]) -> float:
    """Return the priced violation of some shortfalls; infinite where a bound is."""
    return float(sum(float(part.amount @ part.price) for part in parts))


def without_bounds(
    problem: AlignmentProblem, *, keep_load_max: bool = False
) -> AlignmentProblem:
    """Return the problem without the bounds that may be relaxed.

    Parameters
    ----------
    problem : AlignmentProblem
        The problem.
    keep_load_max : bool
        Whether to keep the upper bounds of loads, raised to 0 where negative:
        holding nothing keeps them, too.
    """

    def upper(bound: Any) -> Any:
        return np.maximum(bound, 0) if keep_load_max else None

    return problem.replace(
        min_experts=0,
        load_min=None,
        load_max=upper(problem.load_max),
        loads={name: replace(load, min=None, max=upper(load.max))
               for name, load in problem.loads.items()},
        group_min=None,
        client_fitness_min=None,
    )


def of_flow_class(problem: AlignmentProblem) -> AlignmentProblem:
    """Return the problem without named loads, resources and fairness floors."""
    return problem.replace(loads=None, resources=None, client_fitness_min=None)
