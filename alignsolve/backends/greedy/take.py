"""What a set of clients takes at prices: each its best expert in turn, in rounds.

For clients whose minima are met, what once fits no more hardly ever does again: a table
of scores is made once, and entries only leave it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from alignsolve.backends.greedy.exchanges import WorkBudget
from alignsolve.backends.greedy.state import State
from alignsolve.model.arrays import BoolArray, Float64Array, IntArray

#: Rounds in which clients swap an expert each.
SWAP_ROUNDS = 3


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

    def take(self, prices: Float64Array, most: Float64Array | None, effort: WorkBudget) -> None:
        """Let the clients take what they gain by, in rounds.

        Parameters
        ----------
        prices : float64 array, shape (n_loads, n_experts)
            Prices of the loads.
        most : float64 array, shape (n_loads, n_experts), or None
            Loads up to which experts take clients; None for no end. Of more clients
            than fit, an expert takes those that lose most by their second best.
        effort : WorkBudget
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

    def swap(
        self, prices: Float64Array, most: Float64Array | None, effort: WorkBudget,
        spare: bool = False,
    ) -> None:
        """Let the clients swap an expert for one that they gain by, in rounds.

        Parameters
        ----------
        prices, most, effort :
            As in `take`.
        spare : bool
            Whether experts keep their minima.
        """
        state, active = self.state, np.arange(self.clients.size)
        for _ in range(SWAP_ROUNDS):
            active = active[state.count[self.clients[active]] > 0]
            if not active.size or effort.is_spent():
                return
            at, drop, add, gain = self._swaps(active, prices, most, effort, spare)
            clients = self.clients[at]
            taken = np.ones(at.size, dtype=np.bool_)
            if most is not None:
                taken = accepted(state, clients, add, gain, most)
            if spare:
                taken[taken] = still_spared(state, clients[taken], drop[taken])
            state.apply(clients[taken], drop[taken], add[taken])
            active = at

    def _swaps(
        self,
        active: IntArray,
        prices: Float64Array,
        most: Float64Array | None,
        effort: WorkBudget,
        spare: bool,
    ) -> tuple[IntArray, IntArray, IntArray, Float64Array]:
        """Return the best swap of each client that gains by one: who, drop, add, gain."""
        state, found = self.state, []
        width = state.n_experts * max(1, int(state.count[self.clients[active]].max()))
        for block in effort.blocks(active.size, width):
            at = active[block]
            local, given = np.nonzero(state.held[self.clients[at]])
            rows = at[local]
            if spare:
                keep = still_spared(state, self.clients[rows], given, each=True)
                rows, given = rows[keep], given[keep]
            clients = self.clients[rows]
            gain = self.values[rows] - priced(self.weight[:, rows], prices)
            own = gain[np.arange(rows.size), given]
            gain -= own[:, None]
            for k, size, upper in self.sizes:
                now = state.sums[k][clients] - size[rows, given]
                if upper:
                    gain[size[rows] > (state.sum_high[k][clients] - now)[:, None]] = -np.inf
                else:
                    low = np.minimum(state.sum_low[k][clients], state.sums[k][clients])
                    gain[size[rows] < (low - now)[:, None]] = -np.inf
            self._strike_groups(clients, given, gain)
            self._strike_full(clients, gain, most)
            gain[state.held[clients]] = -np.inf
            best = gain.argmax(axis=1)
            top = gain[np.arange(rows.size), best]
            # The pairs of a client are neighbours: the first of the best of each.
            order = np.lexsort((-top, rows))
            chosen = order[np.r_[True, rows[order][1:] != rows[order][:-1]][: order.size]]
            chosen = chosen[top[chosen] > state.noise]
            found.append((rows[chosen], given[chosen], best[chosen], top[chosen]))
        if not found:
            none = np.empty(0, dtype=np.int64)
            return none, none, none, np.empty(0)
        at, drop, add, gains = (np.concatenate(part) for part in zip(*found, strict=True))
        return at, drop, add, gains

    def _strike_groups(self, clients: IntArray, given: IntArray, gain: Float64Array) -> None:
        """Strike swaps between groups that a group's bound forbids."""
        state, problem = self.state, self.state.problem
        if state.group is None:
            return
        assert problem.group_max is not None and problem.group_min is not None
        own = state.group[given]
        at_least = state.in_group[clients, own] <= problem.group_min[clients, own]
        barred = (state.in_group[clients] >= problem.group_max[clients]) | at_least[:, None]
        barred[np.arange(clients.size), own] = False
        gain[barred[:, state.group]] = -np.inf

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
        self._strike_full(clients, score, most)

    def _strike_full(
        self, clients: IntArray, score: Float64Array, most: Float64Array | None
    ) -> None:
        """Strike experts whose loads leave no room for a client."""
        state = self.state
        if most is None or not clients.size:
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


def still_spared(
    state: State, clients: IntArray, experts: IntArray, each: bool = False
) -> BoolArray:
    """Tell, in order or each alone, which drops leave their expert its minima."""
    spared = np.ones(clients.size, dtype=np.bool_)
    for amount, low, weight in zip(state.amount, state.low, state.weight, strict=True):
        after = amount[experts] - weight[clients]
        if not each:
            after -= running(experts, weight[clients])
        spared &= (low[experts] <= 0) | (after >= low[experts])
    return spared


def running(experts: IntArray, weights: Float64Array) -> Float64Array:
    """Return the sum of the weights of the entries before with the same expert."""
    order = np.argsort(experts, kind="stable")
    total = np.cumsum(weights[order]) - weights[order]
    first = np.r_[True, experts[order][1:] != experts[order][:-1]][: order.size]
    starts = np.flatnonzero(first)
    lengths = np.diff(np.r_[starts, order.size])
    before = np.empty(order.size)
    before[order] = total - np.repeat(total[starts], lengths)
    return before
