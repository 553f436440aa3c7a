"""Judge an answer of the flow class by its exchange graph: prices that prove it, or a cycle."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from alignsolve.certificate.best_responses import Multipliers
from alignsolve.certificate.duality_gap import DualGap, dual_gap
from alignsolve.certificate.exchange_graph import (
    ImprovingCycle,
    bellman_ford,
    exchange_graph,
    improving_exchange,
)
from alignsolve.certificate.numbers import Numbers, is_small
from alignsolve.model.arrays import Float64Array, IntArray
from alignsolve.model.problem import AlignmentProblem


@dataclass(frozen=True, eq=False)
class Judgement:
    """What the exchange graph says of an answer.

    Attributes
    ----------
    prices : float64 array, shape (n_experts,)
        Prices, max sense; of a refuted answer a start for better ones.
    gap : DualGap
        The gap at these prices; exactly 0 where whole numbers prove the answer.
    improving : ImprovingCycle or None
        An exchange that improves a refuted answer.
    refuted : bool
        Whether the graph has a negative cycle.
    """

    prices: Float64Array
    gap: DualGap
    improving: ImprovingCycle | None
    refuted: bool


def judge(
    problem: AlignmentProblem, row_ind: IntArray, col_ind: IntArray, rounding: float = 0.0
) -> Judgement:
    """Judge a feasible answer of the flow class.

    Parameters
    ----------
    row_ind, col_ind : int64 array, shape (n_pairs,)
        The answer, sorted by (row, col).
    rounding : float
        Exchanges that gain no more than this per client are not looked for, in units of fitness.

    Notes
    -----
    Small problems are judged in whole numbers of a common unit, without any rounding; see
    `alignsolve.certificate.numbers.is_small`. O(n_pairs n_experts + n_experts**3).
    """
    numbers = Numbers.of(problem) if is_small(problem) else None
    graph = exchange_graph(problem, row_ind, col_ind, numbers)
    weight = graph.weight if numbers is not None else graph.weight + rounding
    distance, cycle = bellman_ford(weight)
    found = distance[-1] - distance[:-1]
    if numbers is None:
        prices = found
    else:
        prices = np.array([float(price * numbers.unit) for price in found])
    if numbers is not None and cycle is None:
        gap = DualGap(0.0, 0.0)
    else:
        gap = dual_gap(problem, row_ind, col_ind, Multipliers(prices))
    improving = None
    if cycle is not None:
        improving = improving_exchange(problem, row_ind, col_ind, graph, cycle)
    return Judgement(prices, gap, improving, cycle is not None)
