"""Sharpen a dual bound by subgradient steps on the prices."""

from __future__ import annotations

import math
import time

import numpy as np

from alignsolve.certificate.best_responses import Multipliers
from alignsolve.certificate.duality_gap import DualGap, client_sums, total_gap
from alignsolve.model.arrays import Float64Array, IntArray
from alignsolve.model.problem import AlignmentProblem
from alignsolve.standard_form import best_load

#: Updates of the prices by which a refuted answer's bound is sharpened.
PRICE_UPDATES = 50


def improved_prices(
    problem: AlignmentProblem, row_ind: IntArray, col_ind: IntArray, prices: Float64Array,
    updates: int = PRICE_UPDATES, deadline: float = math.inf,
) -> tuple[Float64Array, DualGap]:
    """Sharpen the bound of a flow problem's answer by subgradient steps on the prices.

    Parameters
    ----------
    problem : AlignmentProblem
        A problem of the flow class.
    row_ind, col_ind : int64 array, shape (n_pairs,)
        A feasible answer.
    prices : float64 array, shape (n_experts,)
        Where to start.
    updates : int
        Number of steps, each one pass over the matrix.
    deadline : float
        Value of ``time.perf_counter()`` at which to stop early.

    Returns
    -------
    prices, gap
        The best prices met, and their gap.

    Notes
    -----
    Polyak's step ``(D(p) - objective) / |g|^2`` with the answer's objective as
    the target, which is right up to the answer's own gap (B T Polyak,
    Minimization of unsmooth functionals, 1969,
    doi:10.1016/0041-5553(69)90061-5).
    """
    best_prices, best = prices, DualGap(np.inf, 0.0)
    current = prices
    for update in range(updates + 1):
        multipliers = Multipliers(current)
        sums, demand = client_sums(problem, row_ind, col_ind, multipliers)
        gap = total_gap(problem, row_ind, col_ind, multipliers, sums)
        if gap.gap_abs < best.gap_abs or update == 0:
            best_prices, best = current, gap
        # Where the responses give an expert more than it takes, its price must rise.
        direction = (demand - _supply(problem, current)).astype(np.float64)
        length = float(direction @ direction)
        if length == 0 or not np.isfinite(gap.gap_abs) or time.perf_counter() > deadline:
            break
        current = current + gap.gap_abs / length * direction
    return best_prices, best


def _supply(problem: AlignmentProblem, prices: Float64Array) -> Float64Array:
    """Return the load that each expert would take at the given prices."""
    low, high = problem.holder_bounds()
    best = best_load(prices, problem.load_penalty, problem.load_target, low, high)
    return np.round(best)
