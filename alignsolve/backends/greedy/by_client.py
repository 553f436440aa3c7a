"""Greedy construction by client: each its best expert in turn, the experts by regret.

Only moves are made that break no further bound. What is left undone, `repair_clients`
and `alignsolve.backends.greedy.fill` repair in bulk, and the search in
`alignsolve.backends.greedy.local_search` move by move.
"""

from __future__ import annotations

import numpy as np

from alignsolve.backends.greedy.params import WorkBudget
from alignsolve.backends.greedy.proposals import (
    Swaps,
    accepted,
    best_swaps,
    budget_share,
    priced,
)
from alignsolve.backends.greedy.state import ALL, State
from alignsolve.backends.greedy.take import Takers
from alignsolve.model.arrays import BoolArray, Float64Array, IntArray, row_blocks


def add_by_client(
    state: State,
    clients: IntArray,
    prices: Float64Array,
    budget: WorkBudget,
    most: Float64Array | None,
    swap: bool = False,
) -> None:
    """Let clients add experts in rounds, each its best; experts choose by regret.

    Parameters
    ----------
    state : State
        Changed in place.
    clients : int64 array
        Who may add.
    prices : float64 array, shape (n_loads, n_experts)
        Prices of the loads.
    budget : WorkBudget
        Charged; ends the work early.
    most : float64 array, shape (n_loads, n_experts), or None
        Loads up to which experts take clients; None for no end.
    swap : bool
        Whether clients first swap experts for what they gain by, within all bounds.

    Notes
    -----
    Those whose own minima lack something come first, in rounds of one expert each,
    then all take what they gain by; see `Takers`.
    """
    for block in row_blocks(clients.size, state.n_experts, state.params.block_bytes):
        if budget.is_spent():
            return
        takers = Takers(state, clients[block])
        if swap:
            takers.swap(prices, most, budget, spare=True)
        else:
            meet_minima(state, clients[block], prices, most, budget)
        takers.take(prices, most, budget)


def meet_minima(
    state: State,
    clients: IntArray,
    prices: Float64Array,
    most: Float64Array | None,
    budget: WorkBudget,
) -> None:
    """Let clients that lack something add what repairs most of it, the best of that."""
    needy = clients[_lacks(state, clients)]
    while needy.size and not budget.is_spent():
        budget.work -= needy.size * state.n_experts
        score = state.values[needy] - priced(state.weight[:, needy], prices)
        fits, change = addable(state, needy, most)
        share = budget_share(state, needy)
        if share is not None:
            score = np.where(score > 0, score / share, score * share)
        # What repairs most comes first.
        repaired = np.where(fits, change, 0.0).min(axis=1)
        fits &= (change < 0) & (change <= 0.999 * repaired[:, None])
        score[~fits] = -np.inf
        each, best = np.arange(needy.size), score.argmax(axis=1)
        top = score[each, best]
        score[each, best] = -np.inf
        with np.errstate(invalid="ignore"):
            regret = top - score.max(axis=1)
        wants = top > -np.inf
        needy, expert, regret = needy[wants], best[wants], regret[wants]
        taken = accepted(state, needy, expert, regret, most)
        state.apply(needy[taken], None, expert[taken])
        needy = needy[_lacks(state, needy)]


def _lacks(state: State, clients: IntArray) -> BoolArray:
    """Tell which clients are below a minimum of their own and have a free slot."""
    lacks = state.count[clients] < state.slot_low[clients]
    lacks |= (state.in_group[clients] < state.group_low[clients]).any(axis=1)
    for now, low in zip(state.sums, state.sum_low, strict=True):
        lacks |= now[clients] < low[clients]
    return np.asarray(lacks & (state.count[clients] < state.slot_high[clients]))


def addable(
    state: State, clients: IntArray, most: Float64Array | None
) -> tuple[BoolArray, Float64Array]:
    """Tell which experts clients can add without harm, and what that repairs.

    Returns
    -------
    fits : bool array, shape (k, n_experts)
        No bound is broken (further) by the addition.
    change : float64 array, shape (k, n_experts)
        How the excess of the client changes: below 0 where a minimum is repaired.
    """
    fits = ~state.held[clients]
    fits &= state.values[clients] > -np.inf
    total = np.zeros(fits.shape)
    for _, change in state.client_changes(clients, None, ALL):
        fits &= change <= 0
        total += change
    state.bar_full(fits, clients, most, False)
    repairs = total < 0
    if repairs.any():
        fits &= ~repairs | leaves_room(state, clients)
    return fits, total


def leaves_room(state: State, clients: IntArray) -> BoolArray:
    """Tell which additions leave every budget the least that other minima need.

    Returns
    -------
    leaves : bool array, shape (k, n_experts), or (1, 1) where nothing is at stake
    """
    leaves = np.ones((1, 1), dtype=np.bool_)
    lacking = np.maximum(state.group_low[clients] - state.in_group[clients], 0)
    missing = np.maximum(state.slot_low[clients] - state.count[clients], 0)
    missing = np.maximum(missing - lacking.sum(axis=1), 0)
    for k in state.budgets:
        size = np.where(state.values[clients] > -np.inf, state.entries[k][clients], np.inf)
        size[state.held[clients]] = np.inf
        least = size.min(axis=1)
        least[~np.isfinite(least)] = 0.0
        rest = missing * least
        spared = np.tile(np.where(missing > 0, least, 0.0)[:, None], (1, state.n_experts))
        for g in range(lacking.shape[1]):
            columns = np.flatnonzero(state.group == g)
            least = size[:, columns].min(axis=1)
            least[~np.isfinite(least)] = 0.0
            rest += lacking[:, g] * least
            own = np.where(lacking[:, g] > 0, least, 0.0)[:, None]
            spared[:, columns] = np.maximum(spared[:, columns], own)
        free = (state.sum_high[k][clients] - state.sums[k][clients] - rest)[:, None]
        leaves = leaves & (size - spared <= free)
    return leaves


def repair_clients(
    state: State, prices: Float64Array, most: Float64Array, budget: WorkBudget
) -> None:
    """Let clients that break a bound of their own swap experts, all at once, in rounds.

    Parameters
    ----------
    state : State
        Changed in place.
    prices, most : float64 array, shape (n_loads, n_experts)
        Prices of the loads, and up to where experts take clients.
    budget : WorkBudget
        Charged; ends the work early.
    """
    for _ in range(state.params.repair_rounds):
        clients = np.flatnonzero(state.broken_clients().any(axis=0) & (state.count > 0))
        if not clients.size or budget.is_spent():
            return
        at, drop, add, loss = _repairing_swaps(state, clients, prices, most, budget)
        clients = clients[at]
        taken = accepted(state, clients, add, -loss, most)
        if not taken.any():
            return
        state.apply(clients[taken], drop[taken], add[taken])


def _repairing_swaps(
    state: State, clients: IntArray, prices: Float64Array, most: Float64Array, budget: WorkBudget
) -> Swaps:
    """Return the cheapest swap of each client among those that repair something."""

    def losses(at: IntArray, drop: IntArray) -> Float64Array:
        rows = clients[at]
        change = state.client_change(rows, drop, ALL)
        value = state.values[rows] - priced(state.weight[:, rows], prices)
        loss = value[np.arange(rows.size), drop][:, None] - value + change
        loss[state.held[rows] | ~(change < 0) | np.isnan(loss)] = np.inf
        state.bar_full(loss, rows, most, np.inf)
        return np.asarray(loss)

    return best_swaps(state, clients, budget, losses)
