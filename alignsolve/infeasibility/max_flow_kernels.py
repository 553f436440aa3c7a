"""Compiled steps of the feasible flow: a blocking flow on a network without stored arcs.

The network is source -> client -> (client, group) -> expert -> sink. Its arcs
into the experts are the entries of one byte matrix, so that 1,000,000 x 64
pairs take 64 MB and not the gigabytes of an arc list. A unit that an expert
needs is looked for backwards: some client that may hold the expert and does
not has room for one more, or gives up another expert, which then takes over
the need, unless it has more holders than it needs. As Dinic does, `search`
labels experts by distance and `augment` fills along shortest paths. A distance
counts the clients on the way: those that give up an expert of the same group, and
those that also need room in one group and must spare one of another. No shortest
path passes a client of the second sort twice, since a shorter one would leave out
what lies between; so steps that are possible one by one are so together.

With ``free`` and ``held``, and room and back, exchanged, the same kernels take
holders away from experts that have too many.

References
----------
E A Dinic, Algorithm for solution of a problem of maximum flow in a network with
power estimation, Soviet Mathematics Doklady 11, 1970, 1277-1280.
"""

from __future__ import annotations

from collections import namedtuple
from typing import Any

import numpy as np

from alignsolve.kernels import kernel

#: Entries of a state matrix.
FORBIDDEN, FREE, HELD = 0, 1, 2

#: Where at most so many units are missing, a search stops once it saw enough sources.
FEW_UNITS = 1024

#: What moves and what limits it. state (n, m) uint8, with the codes of pairs that may be taken,
#: free, and of those taken, held; group (m,), of each expert; room: how much more a client (n,)
#: or a group (n, G) may take; group_back (n, G): how much it may give up; need (m,): what an
#: expert lacks, negative for what it can spare; level (m,) int32: distance of an expert from those
#: in need, -1 for not reached, -2 for exhausted.
Network = namedtuple(
    "Network", "state free held group client_room group_room group_back need level"
)

#: Level of a node without a path on, and the expert that stands for the source.
EXHAUSTED, SOURCE = -2, -1


@kernel
def count_pairs(state: Any, least: int, group: Any, count: Any, load: Any) -> None:
    """Count the entries of at least a code, by client and group and by expert.

    Parameters
    ----------
    state : uint8 array, shape (n, m)
        Codes of the pairs.
    least : int
        FREE for allowed pairs, HELD for held ones.
    group : int64 array, shape (m,)
        Group of each expert.
    count : int32 array, shape (n, G)
        Set to the counts of each client and group.
    load : int64 array, shape (m,)
        Set to the counts of each expert.
    """
    load[:] = 0
    for i in range(state.shape[0]):
        count[i] = 0
        for j in range(state.shape[1]):
            if state[i, j] >= least:
                count[i, group[j]] += 1
                load[j] += 1


@kernel
def seed_clients(
    state: Any, group: Any, client_low: Any, group_low: Any, group_high: Any, low: Any, high: Any
) -> None:
    """Give every client its own minima, from the experts with the greatest need.

    Parameters
    ----------
    state : uint8 array, shape (n, m)
        FREE entries become HELD.
    group : int64 array, shape (m,)
        Group of each expert.
    client_low : int64 array, shape (n,)
        Fewest experts of each client.
    group_low, group_high : int32 array, shape (n, G)
        Bounds on its experts of each group.
    low, high : int64 array, shape (m,)
        Bounds on the holders of each expert, for the choice only.
    """
    load = np.zeros(state.shape[1], np.int64)
    count = np.zeros(group_low.shape[1], np.int64)
    for i in range(state.shape[0]):
        count[:] = 0
        total = 0
        for g in range(count.size):
            while count[g] < group_low[i, g]:
                if not _take_neediest(state, group, i, g, count, group_high, load, low, high):
                    break
                total += 1
        while total < client_low[i]:
            if not _take_neediest(state, group, i, -1, count, group_high, load, low, high):
                break
            total += 1


@kernel
def _take_neediest(
    state: Any, group: Any, i: int, wanted: int, count: Any, group_high: Any, load: Any,
    low: Any, high: Any,
) -> bool:
    """Let client i hold the free expert that needs it most; of one group, or of any (-1)."""
    best, best_key = -1, 0
    for j in range(state.shape[1]):
        g = group[j]
        if state[i, j] == FREE and (g == wanted or wanted == -1) and count[g] < group_high[i, g]:
            # First what is missing, then the room left.
            key = max(low[j] - load[j], 0) * (state.shape[0] + 1) + high[j] - load[j]
            if best < 0 or key > best_key:
                best, best_key = j, key
    if best < 0:
        return False
    state[i, best] = HELD
    load[best] += 1
    count[group[best]] += 1
    return True


@kernel
def search(net: Any) -> int:
    """Label experts by their distance, in clients passed, from the experts in need.

    Returns
    -------
    distance : int
        Distance of the nearest client with room, or expert with holders to spare; or -1:
        then no unit more can be met, and the labelled experts are a cut.

    Notes
    -----
    One pass over the clients per distance, O(n m) work each.
    """
    n, m = net.state.shape
    missing = 0
    for k in range(m):
        net.level[k] = 0 if net.need[k] > 0 else -1
        missing += max(0, net.need[k])
    frontier, takes = np.empty(m, np.int64), np.empty(net.group_room.shape[1], np.bool_)
    for distance in range(m + 1):
        size = 0
        for k in range(m):
            if net.level[k] == distance:
                frontier[size] = k
                size += 1
        if size == 0:
            break
        found = 0
        for i in range(n):
            # A client stands for one unit at least: one expert may have much to spare.
            found += _reach(net, i, distance, frontier[:size], takes)
            if found >= missing and missing <= FEW_UNITS:
                break
        if found:
            return distance + 1
    return -1


@kernel
def _reach(net: Any, i: int, distance: int, frontier: Any, takes: Any) -> int:
    """Label what client i can give up for an expert of the frontier; return 1 if that ends it.

    `takes` is room for a flag per group.
    """
    takes[:] = False
    through, reaches, any_taken = False, 0, False
    for k in frontier:
        if net.state[i, k] == net.free:
            g = net.group[k]
            takes[g] = any_taken = True
            through |= net.group_room[i, g] > 0
    if not any_taken:
        return 0
    if through and net.client_room[i] > 0:
        reaches = 1
    for j in range(net.state.shape[1]):
        if net.state[i, j] == net.held and (
            takes[net.group[j]] or (through and net.group_back[i, net.group[j]] > 0)
        ):
            if net.level[j] == -1:
                net.level[j] = distance + 1
            if net.need[j] < 0:
                reaches = 1
    return reaches


@kernel
def augment(net: Any, best: int) -> int:
    """Meet needs along paths of the labelled distance until there are no more.

    Returns
    -------
    met : int
        Units met; at least 1 after a search that found where they can come from.
    """
    m = net.level.size
    pointer = np.zeros(m, np.int64)
    # The level, plus 1, at which a client has nothing to give up for a group's experts.
    spent = np.zeros(net.group_room.shape, np.int32)
    # A path alternates experts and the clients between them.
    experts, clients = np.empty(m + 2, np.int64), np.empty(m + 2, np.int64)
    met = 0
    for start in range(m):
        while net.need[start] > 0 and net.level[start] == 0:
            experts[0] = start
            depth = 0
            while depth >= 0:
                k = experts[depth]
                if k == SOURCE or (depth == best and net.need[k] < 0):
                    break
                i, j = (-1, -1) if depth == best else _next_hop(net, k, pointer, best, spent)
                if i < 0:
                    net.level[k] = EXHAUSTED
                    depth -= 1
                else:
                    clients[depth] = i
                    depth += 1
                    experts[depth] = j
            if depth > 0:
                _apply(net, experts, clients, depth)
                met += 1
    return met


@kernel
def _next_hop(net: Any, k: int, pointer: Any, best: int, spent: Any) -> tuple[int, int]:
    """Return a client that can take expert k, and what it gives up (SOURCE: nothing)."""
    state, group, after = net.state, net.group, net.level[k] + 1
    g = group[k]
    for i in range(pointer[k], state.shape[0]):
        if state[i, k] != net.free or spent[i, g] == after:
            continue
        pointer[k] = i
        through = net.group_room[i, g] > 0
        if through and net.client_room[i] > 0 and after == best:
            return i, SOURCE
        for j in range(state.shape[1]):
            if state[i, j] == net.held and net.level[j] == after and (
                group[j] == g or (through and net.group_back[i, group[j]] > 0)
            ):
                return i, j
        spent[i, g] = after
    pointer[k] = state.shape[0]
    return -1, -1


@kernel
def _apply(net: Any, experts: Any, clients: Any, depth: int) -> None:
    """Move one unit along a path of `depth` clients."""
    for at in range(depth):
        k, i, j = experts[at], clients[at], experts[at + 1]
        net.state[i, k] = net.held
        net.group_room[i, net.group[k]] -= 1
        net.group_back[i, net.group[k]] += 1
        if j == SOURCE:
            net.client_room[i] -= 1
        else:
            net.state[i, j] = net.free
            net.group_room[i, net.group[j]] += 1
            net.group_back[i, net.group[j]] -= 1
    net.need[experts[0]] -= 1
    if experts[depth] != SOURCE:
        net.need[experts[depth]] += 1
