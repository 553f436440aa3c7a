"""Conflicts of the flow class: a set of experts and the clients' bounds around it.

Where every client can keep its own bounds, an answer exists exactly when for
every set S of experts the clients can hold ``load_min(S)`` of them and need not
hold more than ``load_max(S)`` (see `alignsolve.infeasibility.max_flow`). The second
condition is the first one on the pairs left out, so both are treated as one: a
*shortage* of the bounds, or of their complement.

A shortage of S is reduced in three steps. Experts leave S while counting shows
the others still short. Bounds of clients go while S stays short by one unit,
which needs only counting, too. Then flows look for a smaller short set under
the bounds left; where there is one, it takes the place of S, and the second
step is repeated. What is left is irreducible: without a load bound, a flow has
met the others; without a bound of a client S is not short, and no smaller set
was short with it.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from alignsolve.infeasibility.hall_thinning import supplies, thinned_clients
from alignsolve.infeasibility.max_flow import (
    CountArray,
    FeasibleFlow,
    FlowBounds,
    StateArray,
    allowed_state,
    expert_groups,
    flow_bounds,
)
from alignsolve.model.arrays import BoolArray, IntArray
from alignsolve.model.bounds import BoundSet, Key
from alignsolve.model.problem import AlignmentProblem

#: Names of the bounds that a shortage uses, of the problem and of its complement.
_NAMES = {
    False: ("load_min", "max_experts", "group_min", "group_max"),
    True: ("load_max", "min_experts", "group_max", "group_min"),
}


@dataclass(frozen=True, eq=False)
class FlowConflict:
    """Bounds of the flow class that cannot hold together.

    Attributes
    ----------
    kept : BoundSet
        The bounds.
    irreducible : bool
        Whether the reduction was completed.
    crowded : bool or None
        Whether the clients must hold more than the experts may take (True), or
        the experts need more than the clients can hold (False). None for a
        conflict within one client or one expert.
    needed, possible : int or None
        Both sides of the broken inequality, under the listed bounds alone.
    in_all : int or None
        The side that depends on the clients, `possible`, or `needed` of a
        crowd, under all bounds of the problem.
    one_each : bool
        Whether no client can hold more than one of the experts.
    """

    kept: BoundSet
    irreducible: bool = True
    crowded: bool | None = None
    needed: int | None = None
    possible: int | None = None
    in_all: int | None = None
    one_each: bool = False


def find_flow_conflict(
    problem: AlignmentProblem, deadline: float = math.inf, hint: npt.ArrayLike | None = None
) -> FlowConflict | None:
    """Return bounds of the flow class that cannot hold together.

    Parameters
    ----------
    problem : AlignmentProblem
        The problem; its named loads, resources and fairness floors are left
        out.
    deadline : float
        Value of ``time.perf_counter()`` at which to stop.
    hint : array_like of int, optional
        Experts whose load bounds may be in conflict; checked, not believed.

    Returns
    -------
    FlowConflict or None
        None where the bounds can hold together.

    Raises
    ------
    TimeoutError
        If the deadline passed before either was known.

    Notes
    -----
    Looks in this order for a client whose own bounds conflict, for one expert,
    for the hint, for all experts, and then for a cut of a maximum flow. A few
    passes over the matrix, then one flow per expert of the set found, each
    from where the last one ended.
    """
    from alignsolve.infeasibility.hall_kernels import single_supply

    state = allowed_state(problem)
    bounds, group = flow_bounds(problem, state), expert_groups(problem)
    alone = np.flatnonzero(bounds.impossible_clients())
    if alone.size:
        return _client_conflict(bounds, int(alone[0]))
    sides = [_Side(crowded, state, group, bounds, deadline) for crowded in (False, True)]
    for side in sides:
        short = side.bounds.load_low - single_supply(state, group, *side.clients)
        if (short > 0).any():
            return side.reduced(np.arange(short.size) == np.argmax(short))
    empty = np.flatnonzero(bounds.load_low > bounds.load_high)
    if empty.size:
        keys: list[Key] = [("load_min", None, None), ("load_max", None, None)]
        return FlowConflict(BoundSet(experts=dict.fromkeys(keys, empty[:1])))
    guesses = [np.ones(group.size, dtype=np.bool_)]
    if hint is not None:
        guesses.insert(0, np.isin(np.arange(group.size), np.asarray(hint)))
    for within in guesses:
        for side in sides:
            if side.shortage(within, side.bounds) > 0:
                return side.reduced(within)
    return _flow_cut(state, group, bounds, deadline)


def _flow_cut(
    state: StateArray, group: IntArray, bounds: FlowBounds, deadline: float
) -> FlowConflict | None:
    """Return the conflict that a maximum flow shows, or None where it is feasible."""
    flow = FeasibleFlow(state, group, bounds)
    flow.seed()
    done = flow.run(deadline)
    if done is None:
        raise TimeoutError("no conflict found in time")
    if done:
        return None
    return _Side(flow.crowded, state, group, bounds, deadline).reduced(flow.cut)


class _Side:
    """One side of the bounds: experts that need more holders than the clients can give.

    Parameters
    ----------
    crowded : bool
        Whether to look at the complement: experts with more holders than they
        may have.
    state : uint8 array, shape (n_clients, n_experts)
        As in `FeasibleFlow`; changed in place.
    group : int64 array, shape (n_experts,)
        Group of each expert.
    bounds : FlowBounds
        Bounds of the problem.
    deadline : float
        When to stop.
    """

    def __init__(
        self, crowded: bool, state: StateArray, group: IntArray, bounds: FlowBounds, deadline: float
    ) -> None:
        self.crowded, self.state, self.group, self.deadline = crowded, state, group, deadline
        side = bounds.complement() if crowded else bounds
        # The bounds of the other direction take no part in a shortage.
        self.bounds = replace(
            side, client_low=np.zeros_like(side.client_low), load_high=side.load_size
        )
        self.clients = (side.client_high, side.group_low, side.group_high)
        self._stated = bounds
        self.complete = True

    def count(self, within: BoolArray) -> CountArray:
        """Return each client's allowed experts of a set, int32 (n_clients, n_groups)."""
        from alignsolve.infeasibility.hall_kernels import count_within

        count = np.empty_like(self.bounds.group_size)
        count_within(self.state, self.group, within, count)
        return count

    def shortage(self, within: BoolArray, bounds: FlowBounds) -> int:
        """Return by how many holders a set of experts is short under some bounds of clients."""
        supply = supplies(bounds, self.count(within)).sum()
        return int(self.bounds.load_low[within].sum()) - int(supply)

    def reduced(self, within: BoolArray) -> FlowConflict:
        """Return an irreducible conflict inside the bounds of a short set of experts."""
        within = within & (self.bounds.load_low > 0)
        if within.sum() > 1:
            within = self._swept(within)
        kept, spare = self._thinned(within, self.bounds)
        if within.sum() > 1:
            smaller = self._without_idle_experts(within, kept)
            if not np.array_equal(smaller, within):
                within = smaller
                kept, spare = self._thinned(within, kept)
        needed = int(self.bounds.load_low[within].sum())
        possible = needed - 1 - spare
        supply_in_all = supplies(self.bounds, self.count(within))
        in_all, one_each = int(supply_in_all.sum()), bool((supply_in_all <= 1).all())
        if self.crowded:
            # What cannot be left out must be held.
            allowed = int(self.bounds.load_size[within].sum())
            needed, possible, in_all = allowed - possible, allowed - needed, allowed - in_all
        return FlowConflict(
            self._bound_set(within, kept), self.complete, self.crowded, needed, possible, in_all,
            one_each,
        )

    def _swept(self, within: BoolArray) -> BoolArray:
        """Drop experts one by one, those with most choice first, where the others stay short."""
        from alignsolve.infeasibility.hall_kernels import put_back, supply_without

        within = within.copy()
        short, count = self.shortage(within, self.bounds), self.count(within)
        low = self.bounds.load_low
        choice = self.bounds.load_size - low
        for j in sorted(np.flatnonzero(within).tolist(), key=lambda j: (-choice[j], -j)):
            if time.perf_counter() > self.deadline:
                break
            column, g = self.state[:, j], int(self.group[j])
            without = short - int(low[j]) + int(supply_without(column, g, count, *self.clients))
            if without > 0:
                short, within[j] = without, False
            else:
                put_back(column, g, count)
        return within

    def _thinned(self, within: BoolArray, bounds: FlowBounds) -> tuple[FlowBounds, int]:
        """Leave out bounds of clients, see `thinned_clients`."""
        return thinned_clients(bounds, self.count(within), self.shortage(within, bounds) - 1)

    def _without_idle_experts(self, within: BoolArray, bounds: FlowBounds) -> BoolArray:
        """Drop experts until a flow shows that without any other the rest can be met.

        An expert's bound is lowered by the shortage only, and not to 0: if the
        rest can be met then, it can be met without the bound, and few units
        have to move; if not, a smaller set is short, with or without it.
        """
        low = self.bounds.load_low
        if not (self.state > 1).any():
            FeasibleFlow(self.state, self.group, self._stated).seed()
        if self.crowded:
            np.subtract(3, self.state, out=self.state, where=self.state > 0)
        flow = FeasibleFlow(self.state, self.group, bounds)
        needed = np.zeros_like(within)
        short, wanted = self.shortage(within, bounds), np.where(within, low, 0)
        j = -1
        while True:
            flow.bounds = replace(bounds, load_low=wanted)
            done = flow.run(self.deadline)
            if done is None:
                self.complete = False
                return within
            if done:
                needed[j] = True
            else:
                within = flow.cut & (wanted > 0)
                short = self.shortage(within, bounds)
            untested = within & ~needed
            # The cut lies inside every shortest set: short by 1, it has no short part.
            if short == 1 or not untested.any():
                return within
            j = int(np.argmax(untested))
            wanted = np.where(within, low, 0)
            wanted[j] = max(0, wanted[j] - short)

    def _bound_set(self, within: BoolArray, kept: FlowBounds) -> BoundSet:
        """Name the bounds of a set of experts and the clients' bounds that can bind."""
        load, slots, low, high = _NAMES[self.crowded]
        found = BoundSet(experts={(load, None, None): np.flatnonzero(within)})
        binding: dict[Key, BoolArray] = {(slots, None, None): kept.client_high < kept.client_size}
        for g in range(kept.group_size.shape[1]):
            binding[low, None, g] = kept.group_low[:, g] > 0
            binding[high, None, g] = kept.group_high[:, g] < kept.group_size[:, g]
        for key, mask in binding.items():
            if mask.any():
                found.clients[key] = np.flatnonzero(mask)
        return found


def _client_conflict(bounds: FlowBounds, i: int) -> FlowConflict:
    """Return an irreducible conflict among one client's own bounds."""
    low, high, total = int(bounds.client_low[i]), int(bounds.client_high[i]), bounds.client_size[i]
    group_low, group_high = bounds.group_low[i], bounds.group_high[i]
    size, capped = bounds.group_size[i], np.minimum(bounds.group_high[i], bounds.group_size[i])
    scarce, empty = np.flatnonzero(group_low > size), np.flatnonzero(group_low > group_high)
    if low > total:
        keys = [("min_experts", -1)]
    elif scarce.size:
        keys = [("group_min", int(scarce[0]))]
    elif low > high:
        keys = [("min_experts", -1), ("max_experts", -1)]
    elif empty.size:
        keys = [("group_min", int(empty[0])), ("group_max", int(empty[0]))]
    elif group_low.sum() > high:
        keys = [("max_experts", -1)]
        keys += [("group_min", g) for g in _fewest(group_low, int(group_low.sum()) - high)]
    else:
        keys = [("min_experts", -1)]
        keys += [("group_max", g) for g in _fewest(size - capped, int(low - capped.sum()))]
    here = np.array([i])
    return FlowConflict(BoundSet({(kind, None, None if g < 0 else g): here for kind, g in keys}))


def _fewest(amounts: npt.NDArray[np.integer], excess: int) -> list[int]:
    """Return the groups left when the smallest amounts go that leave some excess."""
    order = np.argsort(amounts, kind="stable")
    gone = np.cumsum(amounts[order]) < excess
    return sorted(order[~gone].tolist())
