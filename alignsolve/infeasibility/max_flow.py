"""A feasible assignment of the flow class, or the experts whose bounds rule it out.

Fitness plays no part here. A client's feasible sets form a generalized
polymatroid, and so does their sum; an assignment exists exactly when every
client can keep its own bounds and for every set of experts the clients can
hold enough of them and need not hold too many (A Frank, E Tardos, Generalized
polymatroids and submodular flows, Mathematical Programming 42, 1988,
doi:10.1007/BF01589418). `FeasibleFlow` finds the one or the other.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from alignsolve.model.arrays import BoolArray, IntArray, row_blocks
from alignsolve.model.bounds import BoundSet, Key
from alignsolve.model.contradictions import impossible_clients
from alignsolve.model.problem import AlignmentProblem

StateArray = npt.NDArray[np.uint8]
CountArray = npt.NDArray[np.int32]

#: Where `FlowBounds` has each kind of bound.
FIELDS = {
    "load_min": "load_low", "load_max": "load_high", "min_experts": "client_low",
    "max_experts": "client_high", "group_min": "group_low", "group_max": "group_high",
}
GROUP_KINDS = ("group_min", "group_max")


@dataclass(frozen=True, eq=False)
class FlowBounds:
    """Whole bounds of the flow class; a bound that cannot bind is 0 or the size.

    Attributes
    ----------
    client_low, client_high : int64 array, shape (n_clients,)
        Fewest and most experts of a client.
    group_low, group_high : int32 array, shape (n_clients, n_groups)
        Fewest and most of its experts in a group; one group without groups.
    load_low, load_high : int64 array, shape (n_experts,)
        Fewest and most holders of an expert.
    group_size : int32 array, shape (n_clients, n_groups)
        Experts of a group that a client may hold.
    load_size : int64 array, shape (n_experts,)
        Clients that may hold an expert.
    """

    client_low: IntArray
    client_high: IntArray
    group_low: CountArray
    group_high: CountArray
    load_low: IntArray
    load_high: IntArray
    group_size: CountArray
    load_size: IntArray

    @property
    def client_size(self) -> IntArray:
        """Experts that each client may hold, int64 of shape (n_clients,)."""
        return np.asarray(self.group_size.sum(axis=1), dtype=np.int64)

    def of_clients(self, rows: IntArray) -> FlowBounds:
        """Return the bounds with those of some clients only."""
        return replace(
            self, client_low=self.client_low[rows], client_high=self.client_high[rows],
            group_low=self.group_low[rows], group_high=self.group_high[rows],
            group_size=self.group_size[rows],
        )

    def free(self) -> FlowBounds:
        """Return bounds none of which can bind."""
        return replace(
            self, client_low=np.zeros_like(self.client_low), client_high=self.client_size,
            group_low=np.zeros_like(self.group_low), group_high=self.group_size.copy(),
            load_low=np.zeros_like(self.load_low), load_high=self.load_size.copy(),
        )

    def only(self, kept: BoundSet) -> FlowBounds:
        """Return the bounds without all but some."""
        found = self.free()
        for key, index in kept.items():
            found.of_kind(key)[index] = self.of_kind(key)[index]
        return found

    def binding(self) -> BoundSet:
        """Return the bounds that can bind."""
        free, n_groups = self.free(), self.group_size.shape[1]
        keys: list[Key] = [(kind, None, None) for kind in FIELDS if kind not in GROUP_KINDS]
        keys += [(kind, None, g) for kind in GROUP_KINDS for g in range(n_groups)]
        return BoundSet.by_kind(
            (key, np.flatnonzero(self.of_kind(key) != free.of_kind(key))) for key in keys
        )

    def of_kind(self, key: Key) -> IntArray | CountArray:
        """Return a view of one kind of bound of all clients or experts."""
        kind, _, group = key
        bound: IntArray = getattr(self, FIELDS[kind])
        return bound if group is None else bound[:, group]

    def complement(self) -> FlowBounds:
        """Return the bounds on the allowed pairs left out."""
        size = self.client_size
        return replace(
            self, client_low=size - self.client_high, client_high=size - self.client_low,
            group_low=self.group_size - self.group_high,
            group_high=self.group_size - self.group_low, load_low=self.load_size - self.load_high,
            load_high=self.load_size - self.load_low,
        )

    def impossible_experts(self) -> BoolArray:
        """Tell which experts cannot keep their own bounds, bool of shape (n_experts,)."""
        return self.load_low > self.load_high

    def impossible_clients(self) -> BoolArray:
        """Tell which clients cannot keep their own bounds, bool of shape (n_clients,)."""
        groups = self.group_low, np.minimum(self.group_high, self.group_size)
        return impossible_clients((self.client_low, self.client_high), groups)


def expert_groups(problem: AlignmentProblem) -> IntArray:
    """Return the group of each expert; all are in group 0 without groups."""
    if problem.expert_group is None:
        return np.zeros(problem.n_experts, dtype=np.int64)
    return problem.expert_group


def allowed_state(problem: AlignmentProblem) -> StateArray:
    """Return 1 for allowed and 0 for forbidden pairs, uint8 (n_clients, n_experts)."""
    state = np.empty(problem.fitness.shape, dtype=np.uint8)
    for rows in row_blocks(problem.n_clients, problem.n_experts):
        np.greater(problem.fitness[rows], -np.inf, out=state[rows].view(np.bool_))
    return state


def pair_counts(state: StateArray, least: int, group: IntArray) -> tuple[CountArray, IntArray]:
    """Count pairs by client and group and by expert; `least` is 1 for allowed, 2 for held."""
    from alignsolve.infeasibility.max_flow_kernels import count_pairs

    count = np.empty((state.shape[0], int(group.max(initial=0)) + 1), dtype=np.int32)
    load = np.empty(state.shape[1], dtype=np.int64)
    count_pairs(state, least, group, count, load)
    return count, load


def flow_bounds(problem: AlignmentProblem, state: StateArray) -> FlowBounds:
    """Return the slots, groups and holder bounds of a problem, rounded and clipped.

    Lower bounds stop one above what is possible and upper bounds at what is
    possible, so that a bound that cannot bind is recognised by its value.
    """
    size, load_size = pair_counts(state, 1, expert_groups(problem))
    total = np.asarray(size.sum(axis=1), dtype=np.int64)
    group_low, group_high = np.zeros_like(size), size
    if problem.group_min is not None and problem.group_max is not None:
        group_low = np.minimum(problem.group_min, size + 1).astype(np.int32)
        group_high = np.minimum(problem.group_max, size).astype(np.int32)
    low, high = problem.holder_bounds()
    return FlowBounds(
        client_low=np.minimum(problem.min_experts, total + 1),
        client_high=np.minimum(problem.max_experts, total), group_low=group_low,
        group_high=group_high, load_low=np.minimum(low, load_size + 1),
        load_high=np.minimum(high, load_size), group_size=size, load_size=load_size,
    )


class FeasibleFlow:
    """A state within every client's own bounds, and its way to the experts' bounds.

    Parameters
    ----------
    state : uint8 array, shape (n_clients, n_experts)
        1 where the pair is allowed, 2 where it is held; changed in place.
    group : int64 array, shape (n_experts,)
        Group of each expert.
    bounds : FlowBounds
        Bounds under which no client is impossible. Replace them at any time by
        bounds that the clients' current sets keep.

    Notes
    -----
    Memory: the byte matrix, and some 30 bytes per client and per group of each
    client. Time: a few passes over the matrix per phase, and few phases in
    practice.
    """

    def __init__(self, state: StateArray, group: IntArray, bounds: FlowBounds) -> None:
        self.state, self.group, self.bounds = state, group, bounds
        self._count, self._load = pair_counts(state, 2, group)
        self._level = np.full(group.size, -1, dtype=np.int32)
        self.crowded = False

    def seed(self) -> None:
        """Give every client its own minima."""
        from alignsolve.infeasibility.max_flow_kernels import seed_clients

        bounds = self.bounds
        seed_clients(
            self.state, self.group, bounds.client_low, bounds.group_low, bounds.group_high,
            bounds.load_low, bounds.load_high,
        )
        self._count, self._load = pair_counts(self.state, 2, self.group)

    def run(self, deadline: float = math.inf) -> bool | None:
        """Move to the experts' bounds.

        Parameters
        ----------
        deadline : float
            Value of ``time.perf_counter()`` at which to stop between phases.

        Returns
        -------
        feasible : bool or None
            Whether `state` now keeps every bound; None where time ran out.
            After False, `cut` and `crowded` tell why.
        """
        for self.crowded in (True, False):
            done = self._move(deadline)
            if not done:
                return done
        return True

    @property
    def cut(self) -> BoolArray:
        """Experts whose bounds cannot hold, after `run` returned False.

        With `crowded` the clients must hold more of them than ``load_high``
        allows; else they cannot hold as many as ``load_low`` asks for.
        """
        return self._level >= 0

    def _move(self, deadline: float) -> bool | None:
        """Take holders away until no expert has too many, or add until none has too few."""
        from alignsolve.infeasibility.max_flow_kernels import FREE, HELD, Network, augment, search

        bounds, group, total = self.bounds, self.group, self._count.sum(axis=1)
        up, down = bounds.group_high - self._count, self._count - bounds.group_low
        if self.crowded:
            free, held, need = HELD, FREE, self._load - bounds.load_high
            client_room, group_room, group_back = total - bounds.client_low, down, up
        else:
            free, held, need = FREE, HELD, bounds.load_low - self._load
            client_room, group_room, group_back = bounds.client_high - total, up, down
        self._level = np.full(group.size, -1, dtype=np.int32)
        network = Network(self.state, free, held, group, client_room, group_room, group_back, need,
                          self._level)
        done: bool | None = True
        while (need > 0).any():
            if time.perf_counter() > deadline:
                done = None
                break
            best = search(network)
            if best < 0:
                done = False
                break
            met = augment(network, best)
            assert met > 0, "a labelled path could not be filled"
        self._count = bounds.group_high - up
        self._load = bounds.load_high + need if self.crowded else bounds.load_low - need
        return done


def feasible_assignment(
    problem: AlignmentProblem, deadline: float = math.inf
) -> tuple[IntArray, IntArray] | None:
    """Return an assignment within slots, holder bounds, groups and forbidden pairs.

    Parameters
    ----------
    problem : AlignmentProblem
        The problem. Its named loads, resources and fairness floors are not
        looked at: for the mip class the assignment may break them.
    deadline : float
        Value of ``time.perf_counter()`` at which to give up.

    Returns
    -------
    row_ind, col_ind : int64 array, shape (n_pairs,)
        The assignment, sorted by (row, col); or None where there is none, or
        none was found in time.

    Notes
    -----
    Fitness is ignored. Memory: one byte per pair, some 30 bytes per client and
    per group of each client, and 16 bytes per pair held.
    """
    state = allowed_state(problem)
    bounds = flow_bounds(problem, state)
    if bounds.impossible_clients().any() or bounds.impossible_experts().any():
        return None
    flow = FeasibleFlow(state, expert_groups(problem), bounds)
    flow.seed()
    if not flow.run(deadline):
        return None
    rows, cols = np.nonzero(state == 2)
    return rows, cols
