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
    pair_counts,
)
from alignsolve.model.arrays import BoolArray, IntArray, row_blocks
from alignsolve.model.bounds import BoundSet, Key
from alignsolve.model.problem import AlignmentProblem


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
    state = allowed_state(problem)
    bounds, group = flow_bounds(problem, state), expert_groups(problem)
    alone = np.flatnonzero(bounds.impossible_clients())
    if alone.size:
        return _client_conflict(bounds, int(alone[0]))
    sides = [_Side(crowded, state, group, bounds, deadline) for crowded in (False, True)]
    for side in sides:
        short = side.bounds.load_low - side.single_supply()
        if (short > 0).any():
            return side.reduced(np.arange(short.size) == np.argmax(short))
    empty = np.flatnonzero(bounds.impossible_experts())
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
        self._stated = bounds
        self.complete = True

    def count(self, within: BoolArray) -> CountArray:
        """Return each client's allowed experts of a set, int32 (n_clients, n_groups)."""
        # The other experts are counted in a group of their own: no masked matrix is made.
        n_groups = self.bounds.group_size.shape[1]
        count, _ = pair_counts(self.state, 1, np.where(within, self.group, n_groups))
        return np.ascontiguousarray(count[:, :n_groups])

    def single_supply(self) -> IntArray:
        """Return for each expert how many clients can hold it, int64 (n_experts,)."""
        low, high = self.bounds.group_low, self.bounds.group_high
        # Holding the expert itself counts towards the minimum of its group.
        claimed = low.sum(axis=1, keepdims=True) - np.minimum(low, 1)
        may_hold = (high > 0) & (self.bounds.client_high[:, None] > claimed)
        supply = np.zeros(self.group.size, dtype=np.int64)
        for rows in row_blocks(*self.state.shape):
            held = self.state[rows] * may_hold[rows][:, self.group]
            supply += pair_counts(held, 1, self.group)[1]
        return supply

    def needed(self, within: BoolArray) -> int:
        """Return how many holders a set of experts needs."""
        return int(self.bounds.load_low[within].sum())

    def shortage(self, within: BoolArray, bounds: FlowBounds) -> int:
        """Return by how many holders a set of experts is short under some bounds of clients."""
        return self.needed(within) - int(supplies(bounds, self.count(within)).sum())

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
        needed = self.needed(within)
        possible = needed - 1 - spare
        supply_in_all = supplies(self.bounds, self.count(within))
        in_all, one_each = int(supply_in_all.sum()), bool((supply_in_all <= 1).all())
        if self.crowded:
            # What cannot be left out must be held.
            allowed = int(self.bounds.load_size[within].sum())
            needed, possible, in_all = allowed - possible, allowed - needed, allowed - in_all
        kept = replace(kept, load_low=np.where(within, self.bounds.load_low, 0))
        return FlowConflict(
            (kept.complement() if self.crowded else kept).binding(), self.complete, self.crowded,
            needed, possible, in_all, one_each,
        )

    def _swept(self, within: BoolArray) -> BoolArray:
        """Drop experts one by one, those with most choice first, where the others stay short."""
        within, low = within.copy(), self.bounds.load_low
        needed, count = self.needed(within), self.count(within)
        choice = self.bounds.load_size - low
        for j in sorted(np.flatnonzero(within).tolist(), key=lambda j: (-choice[j], -j)):
            if time.perf_counter() > self.deadline:
                break
            others = count.copy()
            others[:, self.group[j]] -= self.state[:, j] > 0
            if needed - int(low[j]) > supplies(self.bounds, others).sum():
                within[j], needed, count = False, needed - int(low[j]), others
        return within

    def _thinned(self, within: BoolArray, bounds: FlowBounds) -> tuple[FlowBounds, int]:
        """Leave out bounds of clients, see `thinned_clients`."""
        count = self.count(within)
        spare = self.needed(within) - int(supplies(bounds, count).sum()) - 1
        return thinned_clients(bounds, count, spare)

    def _without_idle_experts(self, within: BoolArray, bounds: FlowBounds) -> BoolArray:
        """Drop experts until a flow shows that without any other the rest can be met.

        An expert's bound is lowered by the shortage only, and not to 0: if the
        rest can be met then, it can be met without the bound, and few units
        have to move; if not, a smaller set is short, with or without it.
        """
        low = self.bounds.load_low
        if not pair_counts(self.state, 2, self.group)[1].any():
            FeasibleFlow(self.state, self.group, self._stated).seed()
        if self.crowded:
            for rows in row_blocks(*self.state.shape):
                part = self.state[rows]
                np.subtract(3, part, out=part, where=part > 0)
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


def _client_conflict(bounds: FlowBounds, client: int) -> FlowConflict:
    """Return an irreducible conflict among one client's own bounds, one bound where that is one.

    Else others are left out.
    """
    own = bounds.of_clients(np.array([client]))
    free, kept = own.free(), own.binding().clients

    def order(key: Key) -> tuple[bool, int]:
        """Leave out bounds on groups first, and of these those that limit least."""
        return key[2] is None, int(abs(own.of_kind(key) - free.of_kind(key))[0])

    for key, index in kept.items():
        if own.only(BoundSet({key: index})).impossible_clients().any():
            kept = {key: index}
            break
    for key in sorted(kept, key=order):
        rest = {other: index for other, index in kept.items() if other != key}
        if own.only(BoundSet(rest)).impossible_clients().any():
            kept = rest
    return FlowConflict(BoundSet(dict.fromkeys(kept, np.array([client]))))
