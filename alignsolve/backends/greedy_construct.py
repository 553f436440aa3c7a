"""Greedy construction by client: each its best expert in turn, the experts by regret.

Only moves are made that break no further bound. What is left undone, `mend_clients`
and `alignsolve.backends.greedy_fill` mend in bulk, and the search in
`alignsolve.backends.greedy_search` move by move.
"""

from __future__ import annotations

import numpy as np

from alignsolve.arrays import BoolArray, Float64Array, IntArray
from alignsolve.backends.greedy_arcs import Effort
from alignsolve.backends.greedy_state import ALL, State

#: Rounds in which clients mend their own bounds.
MEND_ROUNDS = 20


# -- by client ------------------------------------------------------------------


def add_by_client(
    state: State,
    clients: IntArray,
    prices: Float64Array,
    effort: Effort,
    most: Float64Array | None = None,
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
    effort : Effort
        Charged; ends the work early.
    most : float64 array, shape (n_loads, n_experts), optional
        Loads up to which experts take clients; None for no end.

    Notes
    -----
    A round proposes to every client its best expert, first those that its own
    minima need. An expert with more proposals than room takes those whose
    regret, the loss by the second best, is largest; the others try again.
    """
    active = clients[state.slot_high[clients] > 0]
    while active.size and not effort.is_spent():
        expert, regret = _proposals(state, active, prices, most, effort)
        wants = expert >= 0
        active, expert, regret = active[wants], expert[wants], regret[wants]
        if most is None:
            state.apply(active, None, expert)
        else:
            taken = _accepted(state, active, expert, regret, most)
            state.apply(active[taken], None, expert[taken])
        active = active[state.count[active] < state.slot_high[active]]


def _proposals(
    state: State,
    clients: IntArray,
    prices: Float64Array,
    most: Float64Array | None,
    effort: Effort,
) -> tuple[IntArray, Float64Array]:
    """Return each client's best expert, or -1, and what the second best would lose."""
    best, regret = np.full(clients.size, -1), np.zeros(clients.size)
    for block in effort.blocks(clients.size, state.n_experts):
        rows = clients[block]
        score = state.values[rows] - _priced(state, rows, prices)
        fits, change = addable(state, rows, most)
        score = _by_share(state, rows, score)
        # What mends most of the client's minima comes first.
        mended = np.where(fits, change, 0.0).min(axis=1)
        needy = mended < 0
        fits &= change <= 0.999 * mended[:, None]
        score[~fits] = -np.inf
        first = score.argmax(axis=1)
        at = np.arange(rows.size)
        top = score[at, first]
        score[at, first] = -np.inf
        second = score.max(axis=1)
        # Who needs nothing may also stay without.
        second = np.where(needy, second, np.maximum(second, 0.0))
        wants = (top > -np.inf) & (needy | (top > 0))
        best[block] = np.where(wants, first, -1)
        with np.errstate(invalid="ignore"):
            regret[block] = top - second
    return best, regret


def _priced(state: State, clients: IntArray, prices: Float64Array) -> Float64Array:
    """Return what the loads of each pair cost, (k, n_experts) or (n_experts,)."""
    if len(prices) == 1:
        return np.asarray(prices[0])
    return np.asarray(state.weight[:, clients].T @ prices)


def addable(
    state: State, clients: IntArray, most: Float64Array | None
) -> tuple[BoolArray, Float64Array]:
    """Tell which experts clients can add without harm, and what that mends.

    Returns
    -------
    fits : bool array, shape (k, n_experts)
        No bound is broken (further) by the addition.
    change : float64 array, shape (k, n_experts)
        How the excess of the client changes: below 0 where a minimum is mended.
    """
    fits = ~state.held[clients]
    fits &= state.values[clients] > -np.inf
    total = np.zeros(fits.shape)
    for _, change in state.client_changes(clients, None, ALL):
        fits &= change <= 0
        total += change
    if most is not None:
        for amount, high, weight in zip(state.amount, most, state.weight, strict=True):
            fits &= amount + weight[clients, None] <= high
    mends = total < 0
    if mends.any():
        fits &= ~mends | leaves_room(state, clients)
    return fits, total


def leaves_room(state: State, clients: IntArray) -> BoolArray:
    """Tell which additions leave every budget the least that other minima need.

    Returns
    -------
    leaves : bool array, shape (k, n_experts), or (1, 1) where nothing is at stake
    """
    leaves = np.ones((1, 1), dtype=np.bool_)
    problem = state.problem
    for entries, sums, high in zip(state.entries, state.sums, state.sum_high, strict=True):
        if not np.isfinite(high).any():
            continue
        size = np.where(state.values[clients] > -np.inf, entries[clients], np.inf)
        size[state.held[clients]] = np.inf
        missing = np.maximum(state.slot_low[clients] - state.count[clients], 0)
        rest = np.zeros(clients.size)
        spared = np.zeros(size.shape)
        if problem.group_min is not None and state.group is not None:
            lacking = np.maximum(problem.group_min[clients] - state.in_group[clients], 0)
            for g in range(problem.n_groups):
                columns = np.flatnonzero(state.group == g)
                least = size[:, columns].min(axis=1)
                least[~np.isfinite(least)] = 0.0
                rest += lacking[:, g] * least
                spared[:, columns] = np.where(lacking[:, g] > 0, least, 0.0)[:, None]
            missing = np.maximum(missing - lacking.sum(axis=1), 0)
        least = size.min(axis=1)
        least[~np.isfinite(least)] = 0.0
        rest += missing * least
        spared = np.maximum(spared, np.where(missing > 0, least, 0.0)[:, None])
        free = (high[clients] - sums[clients] - rest)[:, None]
        leaves = leaves & (size - spared <= free)
    return leaves


def _by_share(state: State, clients: IntArray, score: Float64Array) -> Float64Array:
    """Return scores per share of the client's free budgets, where it has budgets."""
    share = budget_share(state, clients)
    if share is None:
        return score
    return np.where(score > 0, score / share, score * share)


def budget_share(state: State, clients: IntArray) -> Float64Array | None:
    """Return the share of a client that each expert takes: of its slots and its budgets.

    Returns
    -------
    share : float64 array, shape (k, n_experts), or None without budgets
    """
    bounded = [k for k in range(len(state.entries)) if np.isfinite(state.sum_high[k]).any()]
    if not bounded:
        return None
    share = np.tile(1.0 / np.maximum(state.slot_high[clients], 1)[:, None], (1, state.n_experts))
    for k in bounded:
        high = np.maximum(state.sum_high[k][clients], 1e-300)
        share += np.abs(state.entries[k][clients]) / high[:, None]
    return share


def _accepted(
    state: State,
    clients: IntArray,
    experts: IntArray,
    regret: Float64Array,
    most: Float64Array,
) -> BoolArray:
    """Tell which proposals the experts take: by regret, while the load bounds hold."""
    order = np.lexsort((-regret, experts))
    sorted_experts = experts[order]
    first = np.r_[True, sorted_experts[1:] != sorted_experts[:-1]][: order.size]
    starts = np.flatnonzero(first)
    lengths = np.diff(np.r_[starts, order.size])
    fits = np.ones(order.size, dtype=np.bool_)
    for amount, high, weight in zip(state.amount, most, state.weight, strict=True):
        running = np.cumsum(weight[clients[order]])
        before = np.repeat(running[starts] - weight[clients[order[starts]]], lengths)
        fits &= amount[sorted_experts] + running - before <= high[sorted_experts]
    # Sums in another order may differ in the last digit: the first alone was checked to fit.
    fits[starts] = True
    accepted = np.zeros(order.size, dtype=np.bool_)
    accepted[order] = fits
    return accepted


def mend_clients(
    state: State, prices: Float64Array, most: Float64Array, effort: Effort
) -> None:
    """Let clients that break a bound of their own swap experts, all at once, in rounds.

    Parameters
    ----------
    state : State
        Changed in place.
    prices, most : float64 array, shape (n_loads, n_experts)
        Prices of the loads, and up to where experts take clients.
    effort : Effort
        Charged; ends the work early.
    """
    for _ in range(MEND_ROUNDS):
        clients = np.flatnonzero(state.broken_clients().any(axis=0) & (state.count > 0))
        if not clients.size or effort.is_spent():
            return
        drop, add, loss = _mending_swaps(state, clients, prices, most, effort)
        helps = add >= 0
        clients, drop, add, loss = clients[helps], drop[helps], add[helps], loss[helps]
        taken = _accepted(state, clients, add, -loss, most)
        if not taken.any():
            return
        state.apply(clients[taken], drop[taken], add[taken])


def _mending_swaps(
    state: State, clients: IntArray, prices: Float64Array, most: Float64Array, effort: Effort
) -> tuple[IntArray, IntArray, Float64Array]:
    """Return the swap of each client that mends most, with its loss; -1 for none."""
    drop, add = np.full(clients.size, -1), np.full(clients.size, -1)
    loss = np.full(clients.size, np.inf)
    width = state.n_experts * max(1, int(state.count[clients].max()))
    for block in effort.blocks(clients.size, width):
        local, given = np.nonzero(state.held[clients[block]])
        rows = clients[block][local]
        change = state.client_change(rows, given, ALL)
        value = state.values[rows] - _priced(state, rows, prices)
        lost = value[np.arange(rows.size), given][:, None] - value + change
        barred = state.held[rows] | ~(change < 0)
        for amount, high, weight in zip(state.amount, most, state.weight, strict=True):
            barred |= amount + weight[rows, None] > high
        lost[barred] = np.inf
        lost[np.isnan(lost)] = np.inf
        best = lost.argmin(axis=1)
        least = lost[np.arange(rows.size), best]
        # The pairs of a client are neighbours: the first of the least losses of each.
        order = np.lexsort((least, local))
        chosen = order[np.flatnonzero(np.r_[True, local[order][1:] != local[order][:-1]])]
        chosen = chosen[least[chosen] < np.inf]
        at = block.start + local[chosen]
        drop[at], add[at], loss[at] = given[chosen], best[chosen], least[chosen]
    return drop, add, loss
