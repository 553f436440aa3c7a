"""What a set of clients takes at prices: each its best expert in turn, in rounds.

For clients whose minima are met, only upper bounds are left, so that what once fits
no more never does again: a table of scores is made once, and entries only leave it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from alignsolve.arrays import BoolArray, Float64Array, IntArray
from alignsolve.backends.greedy_arcs import Effort
from alignsolve.backends.greedy_state import State


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
        #: Sizes with what is bounded from above, and entries with what is from below.
        self.sizes = [
            (k, entries[clients], np.isfinite(state.sum_high[k]).any())
            for k, entries in enumerate(state.entries)
        ]

    def take(self, prices: Float64Array, most: Float64Array | None, effort: Effort) -> None:
        """Let the clients take what they gain by, in rounds.

        Parameters
        ----------
        prices : float64 array, shape (n_loads, n_experts)
            Prices of the loads.
        most : float64 array, shape (n_loads, n_experts), or None
            Loads up to which experts take clients; None for no end. Of more clients
            than fit, an expert takes those that lose most by their second best.
        effort : Effort
            Charged; ends the work early.
        """
        state = self.state
        at = np.flatnonzero(state.count[self.clients] < state.slot_high[self.clients])
        score = self._scores(at, prices)
        sizes = [(k, size[at], upper) for k, size, upper in self.sizes]
        while at.size and not effort.is_spent():
            effort.work -= score.size
            clients = self.clients[at]
            self._strike(clients, score, sizes, most)
            best = score.argmax(axis=1)
            wants = score[np.arange(at.size), best] > 0
            taken = wants.copy()
            if most is not None:
                taken[wants] = _taken(state, clients[wants], best[wants], score, wants, most)
            state.apply(clients[taken], None, best[taken])
            score[taken, best[taken]] = -np.inf
            stays = wants & (state.count[clients] < state.slot_high[clients])
            if not stays.all():
                at, score = at[stays], score[stays]
                sizes = [(k, size[stays], upper) for k, size, upper in sizes]

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
        sizes: list[tuple[int, npt.NDArray[Any], bool]],
        most: Float64Array | None,
    ) -> None:
        """Strike from the scores what a bound leaves no room for."""
        state = self.state
        for k, size, upper in sizes:
            now = state.sums[k][clients]
            if upper:
                score[size > (state.sum_high[k][clients] - now)[:, None]] = -np.inf
            else:
                score[(size < 0) & (size < (state.sum_low[k][clients] - now)[:, None])] = -np.inf
        if state.group is not None:
            assert state.problem.group_max is not None
            full = state.in_group[clients] >= state.problem.group_max[clients]
            score[full[:, state.group]] = -np.inf
        if most is None:
            return
        for amount, high, weight in zip(state.amount, most, state.weight, strict=True):
            weight = weight[clients]
            room = high - amount
            tight = np.flatnonzero(room < weight.max())
            score[:, tight] = np.where(weight[:, None] > room[tight], -np.inf, score[:, tight])


def _taken(
    state: State,
    clients: IntArray,
    experts: IntArray,
    score: Float64Array,
    wants: BoolArray,
    most: Float64Array,
) -> BoolArray:
    """Tell which proposals the experts take: all, or where they lack room by regret."""
    crowded = np.zeros(state.n_experts, dtype=np.bool_)
    for amount, high, weight in zip(state.amount, most, state.weight, strict=True):
        asked = np.bincount(experts, weights=weight[clients], minlength=state.n_experts)
        crowded |= amount + asked > high
    among = crowded[experts]
    taken = ~among
    if among.any():
        rows, columns = np.flatnonzero(wants)[among], experts[among]
        others = score[rows]
        top = others[np.arange(rows.size), columns]
        others[np.arange(rows.size), columns] = -np.inf
        # Who takes nothing else stays without.
        regret = top - np.maximum(others.max(axis=1), 0.0)
        taken[among] = accepted(state, clients[among], columns, regret, most)
    return taken


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


def priced(weight: Float64Array, prices: Float64Array) -> Float64Array:
    """Return what the loads of each pair cost, (k, n_experts) or (n_experts,)."""
    return np.asarray(prices[0] if len(prices) == 1 else weight.T @ prices)


def accepted(
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
