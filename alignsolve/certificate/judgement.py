"""Judge an answer of the flow class by its exchange graph: prices that prove it, or a cycle."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt

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
from alignsolve.model.offsets import has_large_offsets
from alignsolve.model.problem import AlignmentProblem


@dataclass(frozen=True, eq=False)
class Judgement:
    """What the exchange graph says of an answer.

    Attributes
    ----------
    prices : float64 array, shape (n_experts,)
        Prices, max sense; of a refuted answer a start for better ones.
    gap : DualGap
        The gap at these prices, and what counts as zero. Whole numbers prove an answer with a
        gap of exactly 0, and refute it where a cycle gains more than a few roundings of its
        parts and, unless values have large offsets, of what the held pairs are worth.
    improving : ImprovingCycle or None
        An exchange that improves a refuted answer.
    refuted : bool
        Whether the graph has a negative cycle.
    gain : float
        What that cycle gains, of small problems: no more than the answer lacks.
    """

    prices: Float64Array
    gap: DualGap
    improving: ImprovingCycle | None
    refuted: bool
    gain: float = 0.0


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
        return Judgement(prices, DualGap(0.0, 0.0), None, False)
    gap = dual_gap(problem, row_ind, col_ind, Multipliers(prices))
    if cycle is None:
        return Judgement(prices, gap, None, False)
    if numbers is not None:
        gain, largest = _gain_and_largest(graph.weight, cycle, numbers)
        if not has_large_offsets(problem):
            paid = problem.pair_values(row_ind, col_ind) - prices[col_ind]
            largest = max(largest, float(np.abs(paid).max(initial=0.0)))
        least = 8 * np.finfo(np.float64).eps * largest
        is_rounding = bool(gain <= least)
        if is_rounding:
            # Another cycle may gain more: none does where arcs that cost as much more have none.
            distance, other = bellman_ford(graph.weight + math.ceil(Fraction(least) / numbers.unit))
            is_rounding = other is None
            cycle = other or cycle
            gain, _ = _gain_and_largest(graph.weight, cycle, numbers)
            found = distance[-1] - distance[:-1]
            prices = np.array([float(price * numbers.unit) for price in found])
            gap = dual_gap(problem, row_ind, col_ind, Multipliers(prices))
        gap_abs = max(gap.gap_abs, gain)
        gap = DualGap(gap_abs, gap_abs if is_rounding else 0.0, whole=gap.whole)
    improving = improving_exchange(problem, row_ind, col_ind, graph, cycle)
    return Judgement(prices, gap, improving, True, 0.0 if numbers is None else gain)


def _gain_and_largest(
    weight: npt.NDArray[Any], cycle: list[int], numbers: Numbers
) -> tuple[float, float]:
    """Return what a cycle gains, and the largest of its parts, in units of fitness.

    Its parts are swaps, and a drop together with an addition: what is common to both cancels.
    """
    null = weight.shape[0] - 1
    first = cycle.index(null) if null in cycle else 0
    nodes = cycle[first:] + cycle[:first]
    arcs = [weight[u, v] for u, v in zip(nodes, nodes[1:] + nodes[:1], strict=True)]
    if null in cycle:
        # The arcs out of, and into, the null expert.
        arcs = [arcs[0] + arcs[-1], *arcs[1:-1]]
    return float(-sum(arcs) * numbers.unit), float(max(map(abs, arcs)) * numbers.unit)
