"""The minimum-cost flow network of a problem, for any solver of such networks.

Nodes, in this order: clients, experts, one hub, and a node for every pair of a
client and a layer group whose bounds can bind. Units start at the clients and
end at the experts (as many as their lower load bounds) and at the hub::

    client i --(pair)--------> expert j --(load above its minimum)--> hub
    client i --> group (i, g) --(pair)--> expert j
    client i --(unused slot)-----------------------------------------> hub

Lower bounds are all in the supplies: a client sends out all its slots, and only
those above its minimum may go to the hub unused; an expert keeps its minimum; a
group node starts with its minimum, which its client sends out less. So every
arc has lower bound 0, and nothing rests on a penalty being large enough.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from alignsolve.backends.min_cost_flow.scaling import (
    Scaling,
    ValueRange,
    choose_scaling,
    cost_bits,
)
from alignsolve.errors import UnsupportedProblemError
from alignsolve.model.arrays import (
    BoolArray,
    Float64Array,
    IntArray,
    concatenated_ranges,
    row_blocks,
)
from alignsolve.model.contradictions import contradictions, group_ranges
from alignsolve.model.problem import AlignmentProblem
from alignsolve.standard_form import penalty_step

Int32Array = npt.NDArray[np.int32]


@dataclass(frozen=True, eq=False)
class FlowNetwork:
    """A minimum-cost flow problem: least cost, all supplies met exactly.

    Attributes
    ----------
    tail, head : int32 array, shape (n_arcs,)
        Nodes of each arc, numbered from 0. The arcs of client-expert pairs come
        first, by client and then expert.
    capacity, cost : int64 array, shape (n_arcs,)
        Most flow, > 0, and cost of a unit; every lower bound is 0.
    supply : int64 array, shape (n_nodes,)
        Units that start (> 0) or end (< 0) at each node; they sum to 0.
    node_client : int32 array, shape (n_nodes,)
        Client of each client and group node; -1 for experts and the hub.
    n_clients, n_pair_arcs : int
        Expert j is node ``n_clients + j``; arcs before `n_pair_arcs` are pairs.
    scaling : Scaling
        What costs mean.
    contradiction : str or None
        Why some bounds contradict each other at sight; the network is then two
        nodes without an arc, infeasible too.
    """

    tail: Int32Array
    head: Int32Array
    capacity: IntArray
    cost: IntArray
    supply: IntArray
    node_client: Int32Array
    n_clients: int
    n_pair_arcs: int
    scaling: Scaling
    contradiction: str | None = None

    @property
    def n_nodes(self) -> int:
        """Number of nodes."""
        return int(self.supply.size)

    @property
    def n_arcs(self) -> int:
        """Number of arcs."""
        return int(self.tail.size)

    def pairs(self, flow: npt.ArrayLike) -> tuple[IntArray, IntArray]:
        """Return the assignment that a flow stands for.

        Parameters
        ----------
        flow : array_like of int, shape (n_arcs,) or (n_pair_arcs,)
            Flow of each arc, or of the pair arcs alone.

        Returns
        -------
        row_ind, col_ind : int64 array, shape (n_pairs,)
            Clients and experts, sorted by (row, col).
        """
        used = np.flatnonzero(np.asarray(flow)[: self.n_pair_arcs])
        rows = self.node_client[self.tail[used]]
        return rows.astype(np.int64), self.head[used].astype(np.int64) - self.n_clients


@dataclass(frozen=True, eq=False)
class _Bounds:
    """Whole bounds of a problem: slots, holders, and groups of clients that can bind."""

    slots_min: IntArray
    slots_max: IntArray
    load_min: IntArray
    load_max: IntArray
    group_client: IntArray
    group: IntArray
    group_min: IntArray
    group_max: IntArray

    @classmethod
    def of(cls, problem: AlignmentProblem, allowed: IntArray) -> _Bounds:
        """Collect the bounds; `allowed` counts the clients that may hold each expert."""
        slots_min, slots_max = problem.slot_bounds()
        load_min, load_max = problem.holder_bounds()
        load_max = np.minimum(load_max, allowed)
        if problem.expert_group is None:
            none = np.empty(0, dtype=np.int64)
            return cls(slots_min, slots_max, load_min, load_max, none, none, none, none)
        low, high, size = group_ranges(problem)
        client, group = np.nonzero((low > 0) | (high < np.minimum(slots_max[:, None], size)))
        return cls(slots_min, slots_max, load_min, load_max, client, group, low[client, group],
                   high[client, group])

    @property
    def forced(self) -> IntArray:
        """Slots of each client that its groups' minima take."""
        taken = np.zeros_like(self.slots_max)
        np.add.at(taken, self.group_client, self.group_min)
        return taken


def build_network(problem: AlignmentProblem, most_bits: int | None = None) -> FlowNetwork:
    """Build the network of a problem of the flow class.

    Parameters
    ----------
    problem : AlignmentProblem
        At least one client and one expert.
    most_bits : int, optional
        Costs stay below this power of two; as large as solvers allow by default, see
        `alignsolve.backends.min_cost_flow.scaling.cost_bits`.

    Raises
    ------
    UnsupportedProblemError
        If the problem is not of the flow class, or its penalties overflow.

    Notes
    -----
    Two passes over the matrix in row blocks, and 24 bytes an arc. A penalty
    takes an arc of capacity 1 per holder that its expert may have.
    """
    if problem.problem_class != "flow":
        raise UnsupportedProblemError(f"no flow network: the problem is {problem.class_reason}")
    values = ValueRange.of(problem)
    contradiction = next(contradictions(problem, by_expert=values.allowed), None)
    if contradiction is not None:
        return _infeasible_network(problem, contradiction)
    bounds = _Bounds.of(problem, values.allowed)
    n, m = problem.n_clients, problem.n_experts
    n_nodes = n + m + 1 + bounds.group.size
    expert, room, steps = _load_steps(problem, bounds)
    scaling = choose_scaling(
        values, steps, bounds.slots_min < bounds.slots_max,
        int(min(bounds.slots_max.sum(), bounds.load_max.sum())),
        cost_bits(n, m, n_nodes) if most_bits is None else most_bits,
    )
    hub, unused = n + m, bounds.slots_max - bounds.slots_min
    clients, groups = np.arange(n), n + m + 1 + np.arange(bounds.group.size)
    n_pairs = int(values.allowed.sum())
    others: list[tuple[IntArray, npt.ArrayLike, IntArray, npt.ArrayLike]] = [
        (clients, hub, unused, scaling.client_offset - scaling.common_offset),
        (bounds.group_client, groups, bounds.group_max - bounds.group_min, 0),
        (n + expert, hub, room, scaling.rounded(steps)),
    ]
    arcs = _Arcs(n_pairs + sum(capacity.size for _, _, capacity, _ in others))
    _add_pairs(arcs, problem, n_pairs, scaling, _pair_tails(problem, bounds, groups))
    for tail, head, capacity, cost in others:
        arcs.add(tail, head, capacity, cost, capacity > 0)
    supply = np.concatenate([
        bounds.slots_max - bounds.forced, -bounds.load_min,
        [bounds.load_min.sum() - bounds.slots_max.sum()], bounds.group_min,
    ])
    node_client = np.concatenate([clients, np.full(m + 1, -1), bounds.group_client])
    return FlowNetwork(*arcs.filled(), supply, node_client.astype(np.int32), n, n_pairs, scaling)


def count_arcs(problem: AlignmentProblem) -> tuple[int, int]:
    """Return about how many nodes and arcs the network of a problem has, without building it.

    Neither is too small; groups that cannot bind and forbidden pairs count too.
    """
    n, m = problem.n_clients, problem.n_experts
    low, high = problem.holder_bounds()
    unit_arcs = np.maximum(high - low, 0)[problem.load_penalty > 0].sum()
    groups = n * problem.n_groups
    return n + m + 1 + groups, n * m + n + m + groups + int(unit_arcs)


def _infeasible_network(problem: AlignmentProblem, contradiction: str) -> FlowNetwork:
    """Return two nodes, one with a unit that the other wants, and no arc."""
    scaling = Scaling(0, 0.0, 0, np.zeros(problem.n_clients, dtype=np.int64))
    return FlowNetwork(
        *_Arcs(0).filled(), np.array([1, -1]), np.array([-1, -1], dtype=np.int32),
        problem.n_clients, 0, scaling, contradiction,
    )


def _load_steps(
    problem: AlignmentProblem, bounds: _Bounds
) -> tuple[IntArray, IntArray, Float64Array]:
    """Return expert, capacity and cost (float) of the arcs from experts to the hub.

    The penalty is convex, so that its steps rise and a cheapest flow fills them
    in order.
    """
    room = bounds.load_max - bounds.load_min
    stepped = problem.load_penalty > 0
    last = np.where(stepped, bounds.load_max, bounds.load_min + 1)
    holders, expert = concatenated_ranges(bounds.load_min, last)
    with np.errstate(over="ignore", invalid="ignore"):
        steps = penalty_step(problem.load_penalty[expert], problem.load_target[expert], holders)
    if not np.isfinite(steps).all():
        at = int(np.argmin(np.isfinite(steps)))
        raise UnsupportedProblemError(
            f"the penalty of {problem.expert_name(int(expert[at]))} at {holders[at] + 1} holders "
            f"overflows float64; give a smaller load_penalty"
        )
    return expert, np.where(stepped, 1, room)[expert], steps


def _pair_tails(
    problem: AlignmentProblem, bounds: _Bounds, group_nodes: IntArray
) -> Int32Array | None:
    """Return where units for each group start, (n_clients, n_groups); None: at the client."""
    if not group_nodes.size:
        return None
    tails = np.repeat(np.arange(problem.n_clients, dtype=np.int32)[:, None], problem.n_groups, 1)
    tails[bounds.group_client, bounds.group] = group_nodes
    return tails


class _Arcs:
    """Arc arrays that are filled in order."""

    def __init__(self, most: int) -> None:
        self.tail = np.empty(most, dtype=np.int32)
        self.head = np.empty(most, dtype=np.int32)
        self.capacity = np.empty(most, dtype=np.int64)
        self.cost = np.empty(most, dtype=np.int64)
        self.size = 0

    def add(
        self, tail: npt.ArrayLike, head: npt.ArrayLike, capacity: npt.ArrayLike,
        cost: npt.ArrayLike, wanted: BoolArray,
    ) -> None:
        """Append the wanted ones of some arcs; the others broadcast to its shape."""
        everything = bool(wanted.all())
        end = self.size + (wanted.size if everything else int(np.count_nonzero(wanted)))
        for array, part in (
            (self.tail, tail), (self.head, head), (self.capacity, capacity), (self.cost, cost)
        ):
            if everything:
                array[self.size : end].reshape(wanted.shape)[...] = part
            else:
                array[self.size : end] = np.broadcast_to(part, wanted.shape)[wanted]
        self.size = end

    def filled(self) -> tuple[Int32Array, Int32Array, IntArray, IntArray]:
        """Return the arrays, cut to what was filled."""
        end = self.size
        return self.tail[:end], self.head[:end], self.capacity[:end], self.cost[:end]


def _add_pairs(
    arcs: _Arcs, problem: AlignmentProblem, n_pairs: int, scaling: Scaling, tails: Int32Array | None
) -> None:
    """Append the arcs of the allowed pairs."""
    n, m = problem.n_clients, problem.n_experts
    heads = np.arange(n, n + m, dtype=np.int32)
    for rows in row_blocks(n, m):
        values = problem.values(rows)
        wanted = np.ones(values.shape, dtype=np.bool_)
        if n_pairs < n * m:
            wanted = values > -np.inf
            values[~wanted] = 0.0
        cost = scaling.client_offset[rows, None] - scaling.rounded(values)
        if tails is None:
            tail = np.arange(rows.start, rows.stop, dtype=np.int32)[:, None]
        else:
            assert problem.expert_group is not None
            tail = tails[rows][:, problem.expert_group]
        arcs.add(tail, heads, 1, cost, wanted)
