"""Greedy construction by expert: one pair at a time, the largest regret first.

For problems of few clients and many experts that need holders, such as generalized
assignment. Only moves are made that break no further bound.
"""

from __future__ import annotations

import numpy as np

from alignsolve.arrays import Float64Array, IntArray
from alignsolve.backends.greedy_arcs import Effort
from alignsolve.backends.greedy_construct import addable
from alignsolve.backends.greedy_state import State
from alignsolve.backends.greedy_take import budget_share

#: Rounds in which prices of the budgets are sought; the first step, as a share of the
#: spread of values; by how much steps grow while their direction holds, and shrink else.
PRICE_ROUNDS, FIRST_STEP, GROWTH, SHRINKAGE = 120, 0.1, 1.2, 0.7


def scores_by_expert(state: State, way: str, effort: Effort) -> Float64Array:
    """Return by what experts rank clients, float64 of shape (n_clients, n_experts).

    Parameters
    ----------
    state : State
        Empty.
    way : {"value", "share", "price"}
        By value; by the share of the client's budgets that is taken, for where
        little fits; or by value less what the budgets cost.
    effort : Effort
        Charged; ends the work early.
    """
    share = budget_share(state, np.arange(state.n_clients)) if way == "share" else None
    if share is not None:
        return -share
    score = state.values.astype(np.float64)
    return _priced(state, score, effort) if way == "price" else score


def _priced(state: State, score: Float64Array, effort: Effort) -> Float64Array:
    """Return scores less the price of what is taken of each budget.

    Every expert asks its best clients, as many as it needs; the price of a budget
    rises while more is asked for than there is and falls while there is less. The
    prices at which both differ least, summed over the clients, are kept. Each
    budget has a step of its own (M. Riedmiller and H. Braun, A direct adaptive method
    for faster backpropagation learning, 1993, doi:10.1109/ICNN.1993.298623).
    """
    bounded = [k for k in range(len(state.entries)) if np.isfinite(state.sum_high[k]).any()]
    sizes = [np.where(np.isfinite(state.sum_high[k])[:, None], state.entries[k], 0)
             for k in bounded]
    highs = [np.maximum(state.sum_high[k], state.sum_unit[k]) for k in bounded]
    needs = np.ceil((state.low / state.load_unit[:, None]).max(axis=0)).astype(np.int64)
    needs = np.clip(needs, 1, state.n_clients)
    finite = score[np.isfinite(score)]
    spread = float(finite.std()) if finite.size else 0.0
    prices = [np.zeros(state.n_clients) for _ in bounded]
    steps = [np.full(state.n_clients, FIRST_STEP * spread / state.sum_unit[k]) for k in bounded]
    signs = [np.zeros(state.n_clients) for _ in bounded]
    current = best = score
    least = np.inf
    for number in range(PRICE_ROUNDS):
        # In the second half steps only shrink, so that prices settle.
        growth = GROWTH if 2 * number < PRICE_ROUNDS else 1.0
        if effort.is_spent():
            break
        effort.work -= score.size
        rows, columns = _asked(current, needs)
        priced, current, apart = current, score.copy(), 0.0
        for size, high, price, step, sign in zip(
            sizes, highs, prices, steps, signs, strict=True
        ):
            use = np.bincount(rows, weights=size[rows, columns], minlength=state.n_clients)
            # What nobody pays for may be left over.
            apart += float(np.where((use > high) | (price > 0), np.abs(use / high - 1), 0).sum())
            now = np.sign(use - high)
            step *= np.where(now * sign > 0, growth, np.where(now * sign < 0, SHRINKAGE, 1.0))
            sign[:] = now
            np.maximum(price + step * now, 0.0, out=price)
            current -= price[:, None] * size
        if apart < least:
            best, least = priced, apart
    return best.copy()


def _asked(score: Float64Array, needs: IntArray) -> tuple[IntArray, IntArray]:
    """Return each expert's best clients, as many as it needs."""
    if needs.max() == 1:
        return score.argmax(axis=0), np.arange(score.shape[1])
    order = np.argsort(-score, axis=0)
    rank, columns = np.nonzero(np.arange(score.shape[0])[:, None] < needs)
    return order[rank, columns], columns


def add_by_expert(state: State, score: Float64Array, effort: Effort) -> None:
    """Fill the experts' minima one pair at a time, the largest regret first.

    Parameters
    ----------
    state : State
        Changed in place.
    score : float64 array, shape (n_clients, n_experts)
        By what clients are ranked; changed in place.
    effort : Effort
        Charged; ends the work early.

    Notes
    -----
    The rule of Martello and Toth for generalized assignment (Knapsack Problems,
    1990, section 7.4): assign next the expert that would lose most by its
    second best client. O(n_clients n_experts) per pair.
    """
    fits, _ = addable(state, np.arange(state.n_clients), state.high)
    score[~fits] = -np.inf
    best, top, second = _two_best(score)
    while not effort.is_spent():
        lacking = (state.amount < state.low).any(axis=0) & (top > -np.inf)
        if not lacking.any():
            return
        with np.errstate(invalid="ignore"):
            regret = np.where(lacking, top - second, -np.inf)
        expert = int(regret.argmax())
        client = best[expert : expert + 1]
        state.apply(client, None, np.array([expert]))
        # Only this client's row and this expert's column can have changed.
        row, _ = addable(state, client, state.high)
        stale = ~row[0] & (score[client[0]] > -np.inf)
        stale[expert] = True
        score[client[0], stale] = -np.inf
        for amount, high, weight in zip(state.amount, state.high, state.weight, strict=True):
            score[amount[expert] + weight > high[expert], expert] = -np.inf
        columns = np.flatnonzero(stale)
        best[columns], top[columns], second[columns] = _two_best(score[:, columns])
        effort.work -= score.shape[0] * columns.size + score.shape[1]


def _two_best(score: Float64Array) -> tuple[IntArray, Float64Array, Float64Array]:
    """Return each column's best client, its score, and the second largest score."""
    columns = np.arange(score.shape[1])
    best = score.argmax(axis=0)
    top = score[best, columns]
    if score.shape[0] == 1:
        return best, top, np.full(columns.size, -np.inf)
    score = score.copy()
    score[best, columns] = -np.inf
    return best, top, score.max(axis=0)
