"""Improve a nearly optimal answer of a flow problem until nothing improves it.

The exchange graph of an answer, computed in float64 from the original values,
either has a negative cycle, which is an exchange that improves the answer, or
gives prices that prove it optimal. So what rounding of the costs lost is won
back exactly.
"""

from __future__ import annotations

import time

from alignsolve.certificate.best_responses import Multipliers
from alignsolve.certificate.certificate import is_within_tolerance
from alignsolve.certificate.duality_gap import dual_gap
from alignsolve.certificate.exchange_graph import (
    ExchangeGraph,
    apply_steps,
    bellman_ford,
    exchange_graph,
    improving_exchange,
)
from alignsolve.model.arrays import Float64Array, IntArray
from alignsolve.model.problem import AlignmentProblem
from alignsolve.status import Outcome, Termination


def polish(
    problem: AlignmentProblem, row_ind: IntArray, col_ind: IntArray, rounding: float,
    deadline: float, max_exchanges: int,
) -> Outcome:
    """Make improving exchanges until the answer is proved optimal, or a limit is met.

    Parameters
    ----------
    problem : AlignmentProblem
        A problem of the flow class.
    row_ind, col_ind : int64 array, shape (n_pairs,)
        A feasible answer, sorted by (row, col).
    rounding : float
        By how much an exchange of one client may have looked worse than it is,
        in units of fitness. Exchanges gain no more than this per client at
        first, so that prices which allow for it may already be proof enough.
    deadline : float
        Value of ``time.perf_counter()`` after which no exchange is begun.
    max_exchanges : int
        Most exchanges.

    Returns
    -------
    Outcome
        The answer, with prices that prove it optimal, or with what ended the work early.

    Notes
    -----
    Each exchange costs O(n_pairs * n_experts + n_experts**3), so this suits
    answers that need few. Every exchange strictly improves the answer.
    """
    exchanges = 0
    while True:
        graph = exchange_graph(problem, row_ind, col_ind)
        prices, cycle = _proof(problem, row_ind, col_ind, graph, rounding)
        if cycle is None:
            ended = Termination.PROVED
            break
        ended = Termination.TIME_LIMIT
        if time.perf_counter() > deadline:
            break
        ended = Termination.WORK_LIMIT
        better = None
        if exchanges < max_exchanges:
            better = improving_exchange(problem, row_ind, col_ind, graph, cycle)
        if better is None:
            break
        row_ind, col_ind = apply_steps(row_ind, col_ind, better.steps, problem.n_experts)
        exchanges += 1
    return Outcome(ended, row_ind, col_ind, prices=prices, stats={"polishing_exchanges": exchanges})


def _proof(
    problem: AlignmentProblem, row_ind: IntArray, col_ind: IntArray, graph: ExchangeGraph,
    rounding: float,
) -> tuple[Float64Array | None, list[int] | None]:
    """Return prices that prove the answer optimal, or a cycle that refutes it."""
    distance, cycle = bellman_ford(graph.weight + rounding)
    if cycle is None:
        prices = distance[-1] - distance[:-1]
        gap = dual_gap(problem, row_ind, col_ind, Multipliers(prices))
        if is_within_tolerance(problem, gap):
            return prices, None
    distance, cycle = bellman_ford(graph.weight)
    return (distance[-1] - distance[:-1] if cycle is None else None), cycle
