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
from typing import Any

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
    Float64Array,
    IntArray,
    concatenated_ranges,
    row_blocks,
)
from alignsolve.model.contradictions import contradictions, group_ranges
from alignsolve.model.offsets import common_amount
from alignsolve.model.problem import AlignmentProblem
from alignsolve.standard_form import penalty_step

Int32Array = npt.NDArray[np.int32]

#: Tail, head, capacity and cost of arcs, as OR-Tools takes them without a copy.
_Arcs = tuple[Int32Array, Int32Array, IntArray, IntArray]


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
        Why some bounds contradict each other, from the bounds alone; the network is then two
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
    n, m = problem.n_clients, problem.n_experts
    slots_min, slots_max = problem.slot_bounds()
    load_min, load_max = problem.holder_bounds()
    load_max = np.minimum(load_max, values.allowed)
    group_client, group, group_min, group_max = _binding_groups(problem)
    hub, n_nodes = n + m, n + m + 1 + group.size
    clients, group_nodes = np.arange(n), np.arange(n + m + 1, n_nodes)
    tails = np.repeat(clients.astype(np.int32)[:, None], max(1, problem.n_groups), axis=1)
    tails[group_client, group] = group_nodes
    expert, room, steps = _load_steps(problem, load_min, load_max)
    optional = slots_min < slots_max
    free = optional & (values.largest > -np.inf)
    scaling = choose_scaling(
        values, steps, optional, int(min(slots_max.sum(), load_max.sum())),
        cost_bits(n, m, n_nodes) if most_bits is None else most_bits,
        common_amount(problem, values.smallest, values.largest, free) if free.any() else (0.0, 0.0),
    )
    arcs = _arcs(problem, scaling, int(values.allowed.sum()), [
        (clients, hub, slots_max - slots_min, scaling.client_offset - scaling.common_offset),
        (group_client, group_nodes, group_max - group_min, 0),
        (n + expert, hub, room, scaling.rounded(steps)),
    ], tails)
    forced = np.bincount(group_client, weights=group_min, minlength=n).astype(np.int64)
    supply = np.concatenate([
        slots_max - forced, -load_min, [load_min.sum() - slots_max.sum()], group_min
    ])
    node_client = np.concatenate([clients, np.full(m + 1, -1), group_client]).astype(np.int32)
    return FlowNetwork(*arcs, supply, node_client, n, int(values.allowed.sum()), scaling)


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
        *_empty_arcs(0), np.array([1, -1]), np.array([-1, -1], dtype=np.int32),
        problem.n_clients, 0, scaling, contradiction,
    )


def _binding_groups(problem: AlignmentProblem) -> tuple[IntArray, IntArray, IntArray, IntArray]:
    """Return the groups of clients that can bind: client, group, fewest and most experts."""
    if problem.expert_group is None:
        none = np.empty(0, dtype=np.int64)
        return none, none, none, none
    low, high, size = group_ranges(problem)
    most = np.minimum(problem.slot_bounds()[1][:, None], size)
    client, group = np.nonzero((low > 0) | (high < most))
    return client, group, low[client, group], high[client, group]


def _load_steps(
    problem: AlignmentProblem, load_min: IntArray, load_max: IntArray
) -> tuple[IntArray, IntArray, Float64Array]:
    """Return expert, capacity and cost (float) of the arcs from experts to the hub.

    The penalty is convex, so that its steps rise and a cheapest flow fills them
    in order.
    """
    stepped = problem.load_penalty > 0
    holders, expert = concatenated_ranges(load_min, np.where(stepped, load_max, load_min + 1))
    steps = penalty_step(problem.load_penalty[expert], problem.load_target[expert], holders)
    return expert, np.where(stepped, 1, load_max - load_min)[expert], steps


def _arcs(
    problem: AlignmentProblem, scaling: Scaling, n_pairs: int,
    others: list[tuple[IntArray, npt.ArrayLike, IntArray, npt.ArrayLike]], tails: Int32Array,
) -> _Arcs:
    """Return tail, head, capacity and cost of the allowed pairs' arcs and those others with room.

    `tails` says where units for each group start, (n_clients, n_groups), or one column.
    """
    used = [[np.broadcast_to(part, arc[2].shape)[arc[2] > 0] for part in arc] for arc in others]
    rest = [np.concatenate(parts) for parts in zip(*used, strict=True)]
    arcs = _empty_arcs(n_pairs + rest[0].size)
    arrays: tuple[npt.NDArray[Any], ...] = arcs
    for array, last in zip(arrays, rest, strict=True):
        array[n_pairs:] = last
    n, m = problem.n_clients, problem.n_experts
    heads, end = np.arange(n, n + m, dtype=np.int32), 0
    for rows in row_blocks(n, m):
        values = problem.values(rows)
        allowed = None if n_pairs == n * m else values > -np.inf
        if allowed is not None:
            values[~allowed] = 0.0
        costs = scaling.client_offset[rows, None] - scaling.rounded(values)
        group = problem.expert_group
        starts = tails[rows] if group is None else tails[rows][:, group]
        begin, end = end, end + (values.size if allowed is None else int(allowed.sum()))
        parts: tuple[npt.ArrayLike, ...] = (starts, heads, 1, costs)
        for array, part in zip(arrays, parts, strict=True):
            if allowed is None:
                array[begin:end].reshape(values.shape)[...] = part
            else:
                array[begin:end] = np.broadcast_to(part, values.shape)[allowed]
    return arcs


def _empty_arcs(size: int) -> _Arcs:
    ends = np.empty(size, dtype=np.int32), np.empty(size, dtype=np.int32)
    return *ends, np.empty(size, dtype=np.int64), np.empty(size, dtype=np.int64)
