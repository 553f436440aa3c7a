"""What a set of clients takes at prices: each its best expert in turn, in rounds.

For clients whose minima are met, what once fits no more hardly ever does again: a table
of scores is made once, and entries only leave it.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from alignsolve.backends.greedy.params import WorkBudget
from alignsolve.backends.greedy.proposals import (
    accepted,
    best_swaps,
    budget_share,
    priced,
    still_spared,
)
from alignsolve.backends.greedy.state import State
from alignsolve.model.arrays import Float64Array, IntArray


class Takers:
    """Clients that take experts, time and again at other prices.

    Parameters
    ----------
    state : State
        Changed by `take`.
    clients : int64 array, shape (k,)
        Who takes.

    Notes
    -----
    Experts rank by value less price, per share of the client's slots and budgets.
    O(k n_experts) time per round, and one round per slot where the experts have room.
    """

    def __init__(self, state: State, clients: IntArray) -> None:
        self.state, self.clients = state, clients
        self.values = state.values[clients].astype(np.float64)
        self.weight = state.weight[:, clients]
        share = budget_share(state, clients)
        self.per_share = None if share is None else 1.0 / share
        self.sizes = [entries[clients] for entries in state.entries]

    def take(self, prices: Float64Array, most: Float64Array | None, budget: WorkBudget) -> None:
        """Let the clients take what they gain by, in rounds.

        Parameters
        ----------
        prices : float64 array, shape (n_loads, n_experts)
            Prices of the loads.
        most : float64 array, shape (n_loads, n_experts), or None
            Loads up to which experts take clients; None for no end. Of more clients
            than fit, an expert takes those that lose most by their second best.
        budget : WorkBudget
            Charged; ends the work early.
        """
        state = self.state
        at = np.flatnonzero(state.count[self.clients] < state.slot_high[self.clients])
        score = self._scores(at, prices)
        sizes = [size[at] for size in self.sizes]
        while at.size and not budget.is_spent():
            budget.work -= score.size
            clients = self.clients[at]
            self._strike(clients, score, sizes, most)
            best = score.argmax(axis=1)
            wants = score[np.arange(at.size), best] > 0
            rows = np.flatnonzero(wants)
            regret = partial(_regret, score, best, rows)
            taken = rows[accepted(state, clients[rows], best[rows], regret, most)]
            state.apply(clients[taken], None, best[taken])
            score[taken, best[taken]] = -np.inf
            stays = wants & (state.count[clients] < state.slot_high[clients])
            if not stays.all():
                at, score = at[stays], score[stays]
                sizes = [size[stays] for size in sizes]

    def swap(
        self, prices: Float64Array, most: Float64Array | None, budget: WorkBudget,
        spare: bool = False,
    ) -> None:
        """Let the clients swap an expert for one that they gain by, in rounds.

        Parameters
        ----------
        prices, most, budget :
            As in `take`.
        spare : bool
            Whether experts keep their minima.
        """
        state, active = self.state, np.arange(self.clients.size)

        def losses(at: IntArray, drop: IntArray) -> Float64Array:
            return self._losses(active[at], drop, prices, most)

        for _ in range(state.params.swap_rounds):
            active = active[state.count[self.clients[active]] > 0]
            if not active.size or budget.is_spent():
                return
            at, drop, add, loss = best_swaps(
                state, self.clients[active], budget, losses, -state.noise, spare
            )
            active = active[at]
            clients = self.clients[active]
            taken = accepted(state, clients, add, (-loss).__getitem__, most)
            if spare:
                taken[taken] = still_spared(state, clients[taken], drop[taken])
            state.apply(clients[taken], drop[taken], add[taken])

    def _losses(
        self, at: IntArray, drop: IntArray, prices: Float64Array, most: Float64Array | None
    ) -> Float64Array:
        """Return what clients lose by swaps at prices; infinite where a bound forbids them."""
        state, clients, each = self.state, self.clients[at], np.arange(at.size)
        loss = np.asarray(priced(self.weight[:, at], prices) - self.values[at])
        loss -= loss[each, drop][:, None]
        for k, size in enumerate(self.sizes):
            now = state.sums[k][clients] - size[at, drop]
            if k in state.budgets:
                loss[size[at] > (state.sum_high[k][clients] - now)[:, None]] = np.inf
            else:
                low = np.minimum(state.sum_low[k][clients], state.sums[k][clients])
                loss[size[at] < (low - now)[:, None]] = np.inf
        if state.group is not None:
            own = state.group[drop]
            at_least = state.in_group[clients, own] <= state.group_low[clients, own]
            barred = (state.in_group[clients] >= state.group_high[clients]) | at_least[:, None]
            barred[each, own] = False
            loss[barred[:, state.group]] = np.inf
        state.bar_full(loss, clients, most, np.inf)
        loss[state.held[clients]] = np.inf
        return loss

    def _scores(self, at: IntArray, prices: Float64Array) -> Float64Array:
        """Return the scores of some of the clients; -inf for what they hold or may not."""
        state = self.state
        score = self.values[at] - priced(self.weight[:, at], prices)
        if self.per_share is not None:
            score *= self.per_share[at]
        score[state.held[self.clients[at]] | ~(score > 0)] = -np.inf
        return score

    def _strike(
        self,
        clients: IntArray,
        score: Float64Array,
        sizes: list[npt.NDArray[Any]],
        most: Float64Array | None,
    ) -> None:
        """Strike from the scores what a bound leaves no room for."""
        state = self.state
        for k, size in enumerate(sizes):
            now = state.sums[k][clients]
            if k in state.budgets:
                score[size > (state.sum_high[k][clients] - now)[:, None]] = -np.inf
            else:
                score[(size < 0) & (size < (state.sum_low[k][clients] - now)[:, None])] = -np.inf
        if state.group is not None:
            full = state.in_group[clients] >= state.group_high[clients]
            score[full[:, state.group]] = -np.inf
        state.bar_full(score, clients, most, -np.inf)


def _regret(
    score: Float64Array, best: IntArray, rows: IntArray, some: IntArray
) -> Float64Array:
    """Return what some of the rows lose by their second best; who takes nothing else, by none."""
    rows = rows[some]
    each, others = np.arange(rows.size), score[rows]
    top = others[each, best[rows]]
    others[each, best[rows]] = -np.inf
    return np.asarray(top - np.maximum(others.max(axis=1), 0.0))
