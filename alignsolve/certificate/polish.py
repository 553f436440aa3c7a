"""Improve a nearly optimal answer of a flow problem until nothing improves it.

The exchange graph of an answer, computed in float64 from the original values,
either has a negative cycle, which is an exchange that improves the answer, or
gives prices that prove it optimal. So what rounding of the costs lost is won
back exactly.
"""

from __future__ import annotations

import time

from alignsolve.certificate.certificate import is_within_tolerance
from alignsolve.certificate.exchange_graph import apply_steps
from alignsolve.certificate.judgement import judge
from alignsolve.model.arrays import IntArray
from alignsolve.model.problem import AlignmentProblem
from alignsolve.status import Outcome, Termination


def polish(
    problem: AlignmentProblem, row_ind: IntArray, col_ind: IntArray, rounding: float,
    deadline: float, max_exchanges: int = 200,
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
        found = judge(problem, row_ind, col_ind, rounding)
        if rounding and not (found.gap.gap_abs == 0 or is_within_tolerance(problem, found.gap)):
            found = judge(problem, row_ind, col_ind)
        if not found.refuted:
            ended = Termination.PROVED
            break
        ended = Termination.TIME_LIMIT
        if time.perf_counter() > deadline:
            break
        ended = Termination.WORK_LIMIT
        if exchanges == max_exchanges or found.improving is None:
            break
        row_ind, col_ind = apply_steps(row_ind, col_ind, found.improving.steps, problem.n_experts)
        exchanges += 1
    prices = None if found.refuted else found.prices
    return Outcome(ended, row_ind, col_ind, prices=prices, stats={"polishing_exchanges": exchanges})
