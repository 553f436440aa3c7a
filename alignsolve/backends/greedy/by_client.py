"""Greedy construction by client: each its best expert in turn, the experts by regret.

Only moves are made that break no further bound. What is left undone,
`alignsolve.backends.greedy.fill` repairs in bulk, and the search in
`alignsolve.backends.greedy.local_search` move by move.
"""

from __future__ import annotations

import numpy as np

from alignsolve.backends.greedy.params import WorkBudget
from alignsolve.backends.greedy.proposals import accepted, budget_share, priced
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
        taken = accepted(state, needy, expert, regret.__getitem__, most)
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
    return fits, total
