"""By how much an assignment misses bounds, and the problem without them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from alignsolve.elastic.violation_weights import ViolationWeights
from alignsolve.model.arrays import IntArray
from alignsolve.model.feasibility import client_fitness, group_counts
from alignsolve.model.problem import AlignmentProblem, Feature, tolerance
from alignsolve.relaxation import Shortfall, load_bounds


def shortfalls(
    problem: AlignmentProblem, weights: ViolationWeights, rows: IntArray, cols: IntArray
) -> list[Shortfall]:
    """Return the elastic bounds that an assignment misses, by kind.

    Parameters
    ----------
    problem : AlignmentProblem
        The problem.
    weights : ViolationWeights
        What a unit costs.
    rows, cols : int64 array, shape (n_pairs,)
        The assignment.
    """
    found: list[Shortfall] = []

    def compare(
        kind: str, has: Any, bound: Any, name: str | None = None, group: int | None = None
    ) -> None:
        sign = -1.0 if kind == "load_max" else 1.0
        amount = sign * (bound - has)
        index = np.flatnonzero(amount > tolerance(bound))
        if index.size:
            amounts = np.asarray(has, dtype=np.float64)[index], amount[index]
            price = weights.of(kind, name, group)[index]
            found.append(Shortfall(kind, name, group, index, *amounts, price))

    loads = {None: np.bincount(cols, minlength=problem.n_experts)} | {
        name: problem.load_amounts(name, rows, cols) for name in problem.loads
    }
    for name, amount in loads.items():
        low, high = load_bounds(problem, name)
        compare("load_min", amount, low, name)
        compare("load_max", amount, high, name)
    compare("min_experts", np.bincount(rows, minlength=problem.n_clients), problem.min_experts)
    if problem.group_min is not None:
        counts = group_counts(problem, rows, cols)
        for g in range(problem.n_groups):
            compare("group_min", counts[:, g], problem.group_min[:, g], group=g)
    if Feature.FAIRNESS in problem.features:
        fitness = client_fitness(problem, rows, cols)
        compare("client_fitness_min", fitness, problem.client_fitness_min)
    return found


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
