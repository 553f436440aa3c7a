"""The dual bound D(p): best responses to prices, and what an answer lacks to them.

Given prices, a client's best response is its best set by value less price, within
its slots and groups, and an expert's best response is its best load. The sum of
what the answer lacks to all these responses, none of them negative, bounds its
distance from the optimum. It is never taken as a difference of two totals,
because a common offset would hide any error.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from alignsolve.certificate.best_responses import Multipliers, best_responses, reduced_values
from alignsolve.certificate.row_pass import CHANGED, Proof, Stakes, all_regrets, prove_all
from alignsolve.errors import ProblemError
from alignsolve.model.arrays import BoolArray, Float64Array, IntArray, row_blocks
from alignsolve.model.feasibility import Assignment, client_fitness, resource_use
from alignsolve.model.pairs import Pairs
from alignsolve.model.problem import AlignmentProblem, Feature
from alignsolve.standard_form import best_load, penalty_step

#: A gap counts as zero up to this, times what the clients' answers could have lost.
OPTIMALITY_TOLERANCE = 1e-9


@dataclass(frozen=True)
class DualGap:
    """What an answer lacks to the best responses at given prices.

    Attributes
    ----------
    gap_abs : float
        Sum of the residuals, >= 0; infinite where no response exists.
    tolerance : float
        0 where the gap is 0. Otherwise the gap that counts as zero where values
        are not whole numbers: 1e-9 times the sum of the clients' regrets (largest
        value less price, less the least held one), plus a few roundings of the
        largest difference of values and of prices between what a client holds and
        wants, and of the penalties' steps. What is common to a client's values, and
        a value that nobody holds or wants, such as -1e20 in place of a forbidden
        pair, have no part in it.
    whole : bool or None
        Whether all values are whole numbers; None where that was not looked at.
    """

    gap_abs: float
    tolerance: float
    whole: bool | None = None


def dual_gap(
    problem: AlignmentProblem, row_ind: IntArray, col_ind: IntArray, multipliers: Multipliers
) -> DualGap:
    """Return how far a feasible answer can be from the optimum, by the given prices.

    Parameters
    ----------
    problem : AlignmentProblem
        The problem.
    row_ind, col_ind : int64 array, shape (n_pairs,)
        A feasible answer, sorted by (row, col).
    multipliers : Multipliers
        Prices in max sense.

    Returns
    -------
    DualGap
        ``objective + gap_abs`` bounds the optimum (max sense).

    Notes
    -----
    One pass over the matrix, compiled where only the experts are
    priced. Resource budgets and fairness floors enter by their prices alone, so
    for the mip class the bound is that of the linear relaxation at best.
    """
    plain = not (multipliers.loads or multipliers.budgets) and multipliers.fairness is None
    if not plain:
        sums, _ = client_sums(problem, row_ind, col_ind, multipliers)
        return total_gap(problem, row_ind, col_ind, multipliers, sums)
    held = Assignment.of(problem, row_ind, col_ind)
    proof = prove_all(problem, held.indptr, held.cols, multipliers.experts)
    return proof_gap(problem, held, multipliers, proof)


def total_gap(
    problem: AlignmentProblem, row_ind: IntArray, col_ind: IntArray, multipliers: Multipliers,
    sums: tuple[float, float, float],
) -> DualGap:
    """Add the experts' and the relaxed bounds' residuals to the clients' sums."""
    residual, regret, largest = sums
    held = Assignment.of(problem, row_ind, col_ind)
    relaxed = _relaxed_residuals(problem, held.rows, held.cols, multipliers)
    stakes = Stakes(regret, largest)
    return gap_of_sums(problem, held.load, multipliers.experts, residual, stakes, relaxed)


def proof_gap(
    problem: AlignmentProblem, held: Assignment, multipliers: Multipliers, proof: Proof
) -> DualGap:
    """Return what a pass over the clients' values shows; a gap of values in memory takes another.

    Parameters
    ----------
    problem : AlignmentProblem
        The problem.
    held : Assignment
        The answer.
    multipliers : Multipliers
        Prices in max sense, at most those of experts above 0.
    proof : Proof
        What `prove_all` returned at these prices.
    """
    relaxed = _relaxed_residuals(problem, held.rows, held.cols, multipliers)

    def stakes() -> Stakes:
        return proof.stakes or Stakes(
            *all_regrets(problem, held.indptr, held.cols, multipliers.experts)
        )

    at_least = 0.0 if proof.stakes else proof.largest
    return gap_of_sums(
        problem, held.load, multipliers.experts, proof.residual, stakes, relaxed, at_least
    )


def gap_of_sums(
    problem: AlignmentProblem, load: IntArray, prices: Float64Array, residual: float,
    stakes: Stakes | Callable[[], Stakes], relaxed: float = 0.0, at_least: float = 0.0,
) -> DualGap:
    """Return the gap that sums over the clients make with what the experts lack.

    Parameters
    ----------
    problem : AlignmentProblem
        The problem; its fitness is not read.
    load : int64 array, shape (n_experts,)
        Holders of each expert.
    prices : float64 array, shape (n_experts,)
        Prices, max sense.
    residual : float
        What the clients' held sets lack to best responses.
    stakes : Stakes, or callable
        What decides whether a gap counts as zero; a callable is asked only where there is one.
    relaxed : float
        What the relaxed bounds lack.
    at_least : float
        `Stakes.largest` is no less than this: a gap of a few roundings of it counts as zero
        whatever else is at stake.
    """
    gap = residual + (float(holder_residuals(problem, prices, load).sum()) + relaxed)
    if gap == 0:
        return DualGap(0.0, 0.0)
    rounding = optimality_tolerance(problem, load, 0.0, at_least)
    if gap <= rounding:
        return DualGap(gap, rounding)
    at_stake = stakes() if callable(stakes) else stakes
    tolerance = optimality_tolerance(problem, load, at_stake.regret, at_stake.largest)
    return DualGap(gap, tolerance, at_stake.whole)


def optimality_tolerance(
    problem: AlignmentProblem, holders: IntArray, regret: float, largest: float
) -> float:
    """Return the gap that counts as zero; see `DualGap`.

    Parameters
    ----------
    holders : int64 array, shape (n_experts,)
        Load of each expert.
    regret, largest : float
        Sum of the clients' regrets, and the largest of their differences.
    """
    step = 0.0
    if Feature.LOAD_PENALTY in problem.features:
        step = float(np.abs(penalty_steps(problem, holders)).max(initial=0.0))
    rounding = 8 * np.finfo(np.float64).eps * max(largest, step)
    return float(OPTIMALITY_TOLERANCE * regret + rounding)


def client_sums(
    problem: AlignmentProblem, row_ind: IntArray, col_ind: IntArray, multipliers: Multipliers
) -> tuple[tuple[float, float, float], IntArray]:
    """Return the same for any prices and groups, and the responses' demand by expert."""
    held = Pairs.from_indices("answer", row_ind, col_ind, problem.n_clients, problem.n_experts)
    gap = scale = largest = 0.0
    demand = np.zeros(problem.n_experts, dtype=np.int64)
    smax = problem.slot_bounds()[1]
    for rows in row_blocks(problem.n_clients, problem.n_experts):
        values, mask = problem.values(rows), held.mask(rows)
        if np.isnan(values).any():
            raise ProblemError(CHANGED)
        paid = -reduced_values(problem, rows, multipliers, np.zeros_like(values))
        # Relative to one held pair: what is common to all then cancels exactly.
        first = mask.argmax(axis=1, keepdims=True)
        some = mask.any(axis=1, keepdims=True)
        value_first = np.where(some, np.take_along_axis(values, first, axis=1), 0.0)
        own = values - value_first
        paid_first = np.where(some, np.take_along_axis(paid, first, axis=1), 0.0)
        empty = (paid_first - value_first)[:, 0]
        paid = paid - paid_first
        chosen, possible = best_responses(problem, rows, own - paid, empty)
        # The symmetric difference alone: equal sets must give exactly zero.
        gained = np.where(chosen & ~mask, own - paid, 0.0).sum(axis=1)
        lost = np.where(mask & ~chosen, own - paid, 0.0).sum(axis=1)
        more = chosen.sum(axis=1) - mask.sum(axis=1)
        lacks = gained - lost - np.where(more == 0, 0.0, more * empty)
        gap += float(np.where(possible, np.maximum(lacks, 0.0), np.inf).sum())
        demand += chosen.sum(axis=0)
        regret, difference = _regrets(own, paid, empty, mask, smax[rows])
        scale, largest = scale + regret, max(largest, difference)
    return (gap, scale, largest), demand


def _regrets(
    own: Float64Array, paid: Float64Array, empty: Float64Array, held: BoolArray,
    slot_max: IntArray,
) -> tuple[float, float]:
    """Return what `alignsolve.certificate.row_pass_kernels.regret_rows` does."""
    if not own.shape[1]:
        return 0.0, 0.0
    reduced, holds = own - paid, held.any(axis=1)
    least = np.where(held, reduced, np.inf).min(axis=1)
    unheld = np.where(held, -np.inf, reduced)
    wanted = unheld.max(axis=1)
    top = np.maximum(wanted, np.where(held, reduced, -np.inf).max(axis=1))
    regret = (top[holds] - least[holds]).sum()
    free = (held.sum(axis=1) < slot_max) & (wanted > -np.inf)
    regret += np.maximum(wanted[free] - empty[free], 0.0).sum()
    size = np.abs(own) + np.abs(paid)
    difference = size[held].max(initial=0.0)
    at = np.flatnonzero((wanted > least) | (~holds & (wanted > -np.inf)))
    difference = max(difference, size[at, unheld[at].argmax(axis=1)].max(initial=0.0))
    return float(regret), float(difference)


def penalty_steps(
    problem: AlignmentProblem, holders: IntArray
) -> tuple[Float64Array, Float64Array]:
    """Return the change of each expert's penalty by one holder more, and one less.

    The square is expanded, so that integers stay exact.
    """
    slope, target = problem.load_penalty, problem.load_target
    return penalty_step(slope, target, holders), slope * (1 - 2 * (holders - target))


def holder_residuals(
    problem: AlignmentProblem, prices: Float64Array, holders: IntArray
) -> Float64Array:
    """Return what each expert's holders lack to its best load at the given prices."""
    low, high = problem.holder_bounds()
    if Feature.LOAD_PENALTY not in problem.features:
        gain = np.where(prices > 0, high - holders, low - holders) * prices
        return np.asarray(np.maximum(gain, 0.0))
    slope, target = problem.load_penalty, problem.load_target
    best = best_load(prices, slope, target, low, high)
    residual = np.zeros(problem.n_experts)
    for load in (np.floor(best), np.ceil(best)):
        change = load - holders
        # p (l - l0) - a ((l - t)^2 - (l0 - t)^2), factored: exactly 0 where l = l0.
        gain = change * (prices - slope * (load + holders - 2 * target))
        residual = np.maximum(residual, np.where(change == 0, 0.0, gain))
    return residual


def _relaxed_residuals(
    problem: AlignmentProblem, rows: IntArray, cols: IntArray, multipliers: Multipliers
) -> float:
    """Return the slack of named loads, budgets and floors times their prices."""
    gap = 0.0
    for name, load in problem.loads.items():
        # Without a price it is 0: the penalty still has a best load.
        price = np.asarray(multipliers.loads.get(name, np.zeros(problem.n_experts)))
        low, high = np.maximum(np.asarray(load.min), 0), np.asarray(load.max)
        most = float(np.asarray(load.weight).sum())
        slope, target = np.asarray(load.penalty), np.asarray(load.target)
        amount = problem.load_amounts(name, rows, cols)
        best = best_load(price, slope, target, low, np.minimum(high, most))
        change = best - amount
        gain = change * (price - slope * (best + amount - 2 * target))
        gap += float(np.maximum(np.where(change == 0, 0.0, gain), 0.0).sum())
    for name, price in multipliers.budgets.items():
        budget = np.asarray(problem.resources[name].budget)
        slack = budget - resource_use(problem, name, rows, cols)
        gap += _priced(price, slack)
    if multipliers.fairness is not None:
        slack = client_fitness(problem, rows, cols) - problem.client_fitness_min
        gap += _priced(multipliers.fairness, slack)
    return gap


def _priced(price: Float64Array, slack: Float64Array) -> float:
    """Return the sum of slacks times prices; an infinite slack must be free."""
    priced = price > 0
    return float(np.maximum(price[priced] * slack[priced], 0.0).sum())


