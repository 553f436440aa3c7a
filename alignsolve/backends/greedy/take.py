"""What a block of clients takes at prices: each its best expert in turn, the experts by regret.

Only moves are made that break no further bound. What is left undone,
`alignsolve.backends.greedy.fill` repairs in bulk, and the search in
`alignsolve.backends.greedy.local_search` move by move.
"""

from __future__ import annotations

import numpy as np

from alignsolve.backends.greedy.params import WorkBudget
from alignsolve.backends.greedy.proposals import (
    COUNTS,
    accepted,
    best_swaps,
    budget_share,
    regrets,
)
from alignsolve.backends.greedy.state import ALL, State
from alignsolve.model.arrays import Float64Array, IntArray, row_blocks


class Takers:
    """Clients that take experts, time and again at other prices.

    Parameters
    ----------
    state : State
        Changed by all methods; meanwhile nobody else changes what these clients hold.
    clients : int64 array, shape (k,)
        Who takes.

    Notes
    -----
    Experts rank by value less price, per share of the client's slots and budgets.
    The other parameters of the methods are these:

    prices : float64 array, shape (n_loads, n_experts)
        Prices of the loads.
    most : float64 array, shape (n_loads, n_experts)
        Loads up to which experts take clients. Of more clients
        than fit, an expert takes those that lose most by their second best.
    budget : WorkBudget
        Charged; ends the work early.

    O(k n_experts) time per round, and one round per slot where the experts have room.
    """

    def __init__(self, state: State, clients: IntArray) -> None:
        self.state, self.clients = state, clients
        self.values = state.values[clients].astype(np.float64)
        self.weight = state.weight[:, clients]
        self.share = budget_share(state, clients)

    def _meet_minima(self, prices: Float64Array, most: Float64Array, budget: WorkBudget) -> None:
        """Let clients that lack something add what repairs most of it, the best of that."""
        at = self._lacking(np.arange(self.clients.size))
        while at.size and not budget.is_spent():
            budget.work -= at.size * self.state.n_experts
            score = self._worth(at, prices)
            if self.share is not None:
                share = self.share[at]
                score = np.where(score > 0, score / share, score * share)
            change = self.state.client_change(self.clients[at], None, ALL)
            fits = self.state.allows(self.clients[at], None, ALL, most)
            fits &= ~self.state.held[self.clients[at]] & (score > -np.inf)
            # What repairs most comes first.
            repaired = np.where(fits, change, 0.0).min(axis=1)
            fits &= (change < 0) & (change <= 0.999 * repaired[:, None])
            score[~fits] = -np.inf
            best = score.argmax(axis=1)
            wants = score[np.arange(at.size), best] > -np.inf
            at, best = at[wants], best[wants]
            regret = regrets(score[wants], best, -np.inf)
            taken = accepted(self.state, self.clients[at], best, regret.__getitem__, most)
            self.state.apply(self.clients[at[taken]], None, best[taken])
            at = self._lacking(at)

    def take(self, prices: Float64Array, most: Float64Array, budget: WorkBudget) -> None:
        """Let the clients take what they lack, then what they gain by, in rounds."""
        self._meet_minima(prices, most, budget)
        state = self.state
        at = self._open(np.arange(self.clients.size))
        score = self._worth(at, prices)
        if self.share is not None:
            score /= self.share[at]
        score += COUNTS.take((score > 0) & ~state.held[self.clients[at]])

        def struck(rows: IntArray) -> Float64Array:
            fits = state.allows(self.clients[at[rows]], None, ALL, most)
            return np.asarray(score[rows] + COUNTS.take(fits))

        def regret(proposals: IntArray) -> Float64Array:
            some = rows[proposals]
            return regrets(struck(some), best[some], 0.0)

        while at.size and not budget.is_spent():
            budget.work -= score.size
            each, best = np.arange(at.size), score.argmax(axis=1)
            rows = np.flatnonzero(score[each, best] > 0)
            # What once fits no more hardly ever does again: entries only leave the table.
            misfit = rows[~state.allows(self.clients[at[rows]], None, best[rows], most)]
            if misfit.size:
                score[misfit] = struck(misfit)
                best[misfit] = score[misfit].argmax(axis=1)
                rows = np.flatnonzero(score[each, best] > 0)
            clients = self.clients[at[rows]]
            taken = rows[accepted(state, clients, best[rows], regret, most)]
            state.apply(self.clients[at[taken]], None, best[taken])
            score[taken, best[taken]] = -np.inf
            stays = rows[state.count[clients] < state.slot_high[clients]]
            if stays.size < at.size:
                at, score = at[stays], score[stays]

    def swap(self, prices: Float64Array, most: Float64Array, budget: WorkBudget) -> None:
        """Let the clients swap an expert for one that they gain by, in rounds."""
        state = self.state
        active = np.flatnonzero(state.count[self.clients] > 0)

        def gains(at: IntArray, drop: IntArray) -> Float64Array:
            return np.asarray(score[at] - worth[at, drop][:, None])

        for _ in range(state.params.swap_rounds):
            clients = self.clients[active]
            worth, held = self._worth(active, prices), state.held[clients]
            score = worth + COUNTS.take(~held & state.has_room(clients, ALL, most))
            # Bounds aside, there has to be something better.
            held &= worth < score.max(axis=1)[:, None]
            least = state.noise
            at, drop, add, gain = best_swaps(state, clients, held, budget, gains, least)
            if not at.size:
                return
            active, clients = active[at], clients[at]
            taken = accepted(state, clients, add, gain.__getitem__, most)
            state.apply(clients[taken], drop[taken], add[taken])

    def _worth(self, at: IntArray, prices: Float64Array) -> Float64Array:
        """Return the values of some of the clients less the prices of what they load."""
        cost = prices[0] if len(prices) == 1 else self.weight[:, at].T @ prices
        return np.asarray(self.values[at] - cost)

    def _open(self, at: IntArray) -> IntArray:
        """Return those that have a free slot."""
        clients = self.clients[at]
        return at[self.state.count[clients] < self.state.slot_high[clients]]

    def _lacking(self, at: IntArray) -> IntArray:
        """Return those below a minimum of their own that have a free slot."""
        at, state = self._open(at), self.state
        clients = self.clients[at]
        lacks = (state.sums[:, clients] > state.sum_high[:, clients]).any(axis=0)
        for _, count, low, _ in state.counted:
            lacks |= (count[clients] < low[clients]).any(axis=1)
        return at[lacks]


def add_by_client(
    state: State,
    clients: IntArray,
    prices: Float64Array,
    budget: WorkBudget,
    most: Float64Array,
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
    most : float64 array, shape (n_loads, n_experts)
        Loads up to which experts take clients.

    Notes
    -----
    Those whose own minima lack something come first, in rounds of one expert each,
    then all take what they gain by; see `Takers`.
    """
    for block in row_blocks(clients.size, state.n_experts, state.params.block_bytes):
        if budget.is_spent():
            return
        Takers(state, clients[block]).take(prices, most, budget)
