"""Greedy construction by expert, the largest regrets first.

For problems of few clients and many experts that need holders, such as generalized
assignment. Only moves are made that break no further bound.
"""

from __future__ import annotations

import numpy as np

from alignsolve.backends.greedy.params import WorkBudget
from alignsolve.backends.greedy.proposals import budget_share, regrets, running
from alignsolve.backends.greedy.state import ALL, State
from alignsolve.model.arrays import Float64Array, IntArray


def scores_by_expert(state: State, way: str, budget: WorkBudget) -> Float64Array:
    """Return by what experts rank clients, float64 of shape (n_clients, n_experts).

    Parameters
    ----------
    state : State
        Empty.
    way : {"value", "share", "price"}
        By value; by the share of the client's budgets that is taken, for where
        little fits; or by value less what the budgets cost.
    budget : WorkBudget
        Charged; ends the work early.
    """
    share = budget_share(state, np.arange(state.n_clients)) if way == "share" else None
    if share is not None:
        return -share
    score = state.values.astype(np.float64)
    return _priced(state, score, budget) if way == "price" else score


def _priced(state: State, score: Float64Array, budget: WorkBudget) -> Float64Array:
    """Return scores less the price of what is taken of each budget.

    Every expert divides what it needs among its best clients, the more evenly the
    closer their scores are. The price of a budget moves by a Newton step of its
    own towards where as much is asked for as there is, while the experts tell ever
    finer differences. This is a descent on a smoothed dual of the linear relaxation
    (Y. Nesterov, Smooth minimization of non-smooth functions, 2005,
    doi:10.1007/s10107-004-0552-5).
    """
    params = state.params
    # Size, bound, unit and price of every budget.
    budgets = []
    for k in range(state.n_budgets):
        high = state.sum_high[k]
        size = np.where(np.isfinite(high)[:, None], state.entries[k], 0.0)
        score = np.where(size > high[:, None], -np.inf, score)
        budgets.append((size, high, state.sum_unit[k], np.zeros(state.n_clients)))
    needs = np.ceil((state.low / state.load_unit[:, None]).max(axis=0)).astype(np.int64)
    needs = np.clip(needs, 1, state.n_clients)
    finite = score[np.isfinite(score)]
    spread = float(finite.std()) if finite.size else 0.0
    current = score
    for number in range(params.price_rounds if budgets and spread > 0 else 0):
        if budget.is_spent():
            break
        budget.work -= score.size
        way = min(1.0, number / (params.blurred_part * params.price_rounds))
        blur = spread * params.first_blur ** (1 - way) * params.last_blur**way
        part = _parts(current, needs, blur)
        current = score.copy()
        for size, high, unit, price in budgets:
            use = part * size
            bend = (use * (size - use)).sum(axis=1) * (len(budgets) / blur)
            reach = params.price_reach * np.maximum(price, blur / unit)
            step = (use.sum(axis=1) - high) / np.maximum(bend, 1e-300)
            np.maximum(price + np.clip(step, -reach, reach), 0.0, out=price)
            current -= price[:, None] * size
    return current


def _parts(score: Float64Array, needs: IntArray, blur: float) -> Float64Array:
    """Return how every expert divides what it needs among the clients, at most 1 each."""
    if needs.max() == 1:
        last = score.max(axis=0)
    else:
        last = np.sort(score, axis=0)[score.shape[0] - needs, np.arange(score.shape[1])]
    last[~np.isfinite(last)] = 0.0
    part = np.exp(np.minimum((score - last) / blur, 0.0))
    part *= needs / np.maximum(part.sum(axis=0), 1e-300)
    return np.asarray(np.minimum(part, 1.0))


def add_by_expert(state: State, score: Float64Array, budget: WorkBudget, share: float) -> None:
    """Fill the experts' minima, the largest regrets first.

    Parameters
    ----------
    state : State
        Changed in place.
    score : float64 array, shape (n_clients, n_experts)
        By what clients are ranked; changed in place.
    budget : WorkBudget
        Charged; ends the work early.
    share : float
        Share of the experts that lack holders, those of the largest regrets, that take their
        best client in a round.

    Notes
    -----
    The rule of Martello and Toth for generalized assignment (Knapsack Problems,
    1990, section 7.4): assign next the expert that would lose most by its
    second best client. A `share` of 0 is this rule; more per round are quicker.
    O(n_clients n_experts) per round.
    """
    everyone = np.arange(state.n_clients)
    while not budget.is_spent():
        budget.work -= score.size
        score[state.held | ~state.allows(everyone, None, ALL, state.high)] = -np.inf
        best = score.argmax(axis=0)
        some = score[best, np.arange(best.size)] > -np.inf
        lacking = np.flatnonzero((state.amount < state.low).any(axis=0) & some)
        if not lacking.size:
            return
        regret = regrets(score.T[lacking], best[lacking], -np.inf)
        experts = lacking[np.argsort(-regret, kind="stable")]
        experts = experts[: max(1, int(share * experts.size))]
        turn = running(best[experts], np.ones(experts.size))
        for number in range(int(turn.max()) + 1):
            some = experts[turn == number]
            some = some[state.client_change(best[some], None, some) <= 0]
            state.apply(best[some], None, some)
