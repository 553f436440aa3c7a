"""Compiled steps of the feasible flow: a blocking flow on a network without stored arcs.

The network is source -> client -> (client, group) -> expert -> sink. Its arcs
into the experts are the entries of one byte matrix, so that 1,000,000 x 64
pairs take 64 MB and not the gigabytes of an arc list. A unit that an expert
needs is looked for backwards: some client that may hold the expert and does
not has room for one more, or gives up another expert, which then takes over
the need, unless it has more holders than it needs. As Dinic does, `search`
labels nodes by distance and `augment` fills along shortest paths.

With ``free`` and ``held``, and room and back, exchanged, the same kernels take
holders away from experts that have too many.

Shapes: ``state`` (n, m) uint8; ``client_*`` (n,) and ``need`` (m,) int64;
``group_*`` (n, G) int32; levels int32, -1 for not reached, -2 for exhausted.
``room`` is how much more a client or group may take, ``back`` how much a group
may give up; ``need`` is what an expert lacks, negative for what it can spare.

References
----------
E A Dinic, Algorithm for solution of a problem of maximum flow in a network with
power estimation, Soviet Mathematics Doklady 11, 1970, 1277-1280.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from alignsolve.kernels import kernel

#: Entries of a state matrix.
FORBIDDEN, FREE, HELD = 0, 1, 2

#: Where at most so many units are missing, a search stops once it saw enough sources.
FEW_UNITS = 1024

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
def search(
    state: Any, free: int, held: int, group: Any, client_room: Any, group_room: Any,
    group_back: Any, need: Any, expert_level: Any, client_level: Any, group_level: Any,
) -> int:
    """Label nodes by their distance from the experts in need.

    Returns
    -------
    distance : int
        Distance of the source, or -1: then no unit more can be met, and the
        labelled experts are a cut.

    Notes
    -----
    One pass over the clients per distance, O(n m) labelling work in all.
    """
    n, m = state.shape
    expert_level[:] = -1
    client_level[:] = -1
    group_level[:] = -1
    missing = 0
    for k in range(m):
        if need[k] > 0:
            expert_level[k] = 0
            missing += need[k]
    frontier = np.empty(m, np.int64)
    distance, best = 0, -1
    while best < 0 or distance + 3 <= best:
        size, seen = 0, False
        for k in range(m):
            if expert_level[k] == distance:
                frontier[size] = k
                size += 1
            seen |= expert_level[k] > distance
        if size == 0 and not seen:
            break
        found = 0
        for i in range(n):
            if not _reach_groups(
                state, free, group, i, distance, frontier[:size], group_level
            ):
                continue
            has_room = _reach_client(
                i, distance, client_room, group_room, group_back, client_level, group_level
            )
            reaches = _reach_experts(
                state, held, group, i, distance, need, expert_level, group_level
            )
            # A client stands for one unit at least: one expert may have much to spare.
            if has_room or reaches:
                found += 1
            if found >= missing and missing <= FEW_UNITS:
                break
        best = _source_distance(best, distance, client_room, client_level, need, expert_level)
        distance += 2
    return best


@kernel
def _reach_groups(
    state: Any, free: int, group: Any, i: int, distance: int, frontier: Any, group_level: Any
) -> bool:
    """Label the groups of client i that can take an expert of the frontier."""
    reached = False
    for k in frontier:
        if state[i, k] == free and group_level[i, group[k]] == -1:
            group_level[i, group[k]] = distance + 1
            reached = True
    return reached


@kernel
def _reach_client(
    i: int, distance: int, client_room: Any, group_room: Any, group_back: Any,
    client_level: Any, group_level: Any,
) -> bool:
    """Label client i and the groups that it can reduce; tell whether it has room itself."""
    if client_level[i] != -1:
        return False
    for g in range(group_level.shape[1]):
        if group_level[i, g] == distance + 1 and group_room[i, g] > 0:
            client_level[i] = distance + 2
    if client_level[i] == -1:
        return False
    for g in range(group_level.shape[1]):
        if group_level[i, g] == -1 and group_back[i, g] > 0:
            group_level[i, g] = distance + 3
    return bool(client_room[i] > 0)


@kernel
def _reach_experts(
    state: Any, held: int, group: Any, i: int, distance: int, need: Any,
    expert_level: Any, group_level: Any,
) -> bool:
    """Label the experts that client i can give up; tell whether one can be spared."""
    reaches = False
    for j in range(state.shape[1]):
        if state[i, j] == held:
            level = group_level[i, group[j]]
            if level == distance + 1 or level == distance + 3:
                reaches |= need[j] < 0
                if expert_level[j] == -1 or expert_level[j] > level + 1:
                    expert_level[j] = level + 1
    return reaches


@kernel
def _source_distance(
    best: int, distance: int, client_room: Any, client_level: Any, need: Any, expert_level: Any
) -> int:
    """Return the least distance of the source known after a pass."""
    for j in range(need.size):
        if need[j] < 0 and expert_level[j] >= 0 and (best < 0 or expert_level[j] + 1 < best):
            best = expert_level[j] + 1
    if best < 0 or distance + 3 < best:
        for i in range(client_level.size):
            if client_level[i] == distance + 2 and client_room[i] > 0:
                return distance + 3
    return best


@kernel
def augment(
    state: Any, free: int, held: int, group: Any, client_room: Any, group_room: Any,
    group_back: Any, need: Any, expert_level: Any, client_level: Any, group_level: Any, best: int,
) -> int:
    """Meet needs along paths of the labelled distance until there are no more.

    Returns
    -------
    met : int
        Units met; at least 1 after a search that found the source.
    """
    m = state.shape[1]
    pointer = np.zeros(m, np.int64)
    # A path alternates experts and the clients between them.
    experts, clients = np.empty(m + 2, np.int64), np.empty(m + 2, np.int64)
    met = 0
    for start in range(m):
        while need[start] > 0 and expert_level[start] == 0:
            experts[0] = start
            depth = 0
            while depth >= 0:
                k = experts[depth]
                if k == SOURCE or (depth and need[k] < 0 and expert_level[k] + 1 == best):
                    break
                i, j = _next_hop(
                    state, free, held, group, client_room, group_room, group_back, need, k,
                    pointer, expert_level, client_level, group_level, best,
                )
                if i < 0:
                    expert_level[k] = EXHAUSTED
                    depth -= 1
                else:
                    clients[depth] = i
                    depth += 1
                    experts[depth] = j
            if depth > 0:
                _apply(
                    state, free, held, group, client_room, group_room, group_back, need, experts,
                    clients, depth,
                )
                met += 1
    return met


@kernel
def _next_hop(
    state: Any, free: int, held: int, group: Any, client_room: Any, group_room: Any,
    group_back: Any, need: Any, k: int, pointer: Any, expert_level: Any, client_level: Any,
    group_level: Any, best: int,
) -> tuple[int, int]:
    """Return a client that can take expert k, and what it gives up (SOURCE: nothing)."""
    level = expert_level[k]
    g = group[k]
    if level + 3 > best:
        return -1, -1
    for i in range(pointer[k], state.shape[0]):
        if group_level[i, g] != level + 1 or state[i, k] != free:
            continue
        pointer[k] = i
        through = group_room[i, g] > 0 and client_level[i] == level + 2
        if through and client_room[i] > 0 and level + 3 == best:
            return i, SOURCE
        for j in range(state.shape[1]):
            if state[i, j] != held or expert_level[j] < 0:
                continue
            h = group[j]
            if h == g and expert_level[j] == level + 2:
                return i, j
            if (
                through and h != g and expert_level[j] == level + 4
                and group_level[i, h] == level + 3 and group_back[i, h] > 0
            ):
                return i, j
        group_level[i, g] = EXHAUSTED
    pointer[k] = state.shape[0]
    return -1, -1


@kernel
def _apply(
    state: Any, free: int, held: int, group: Any, client_room: Any, group_room: Any,
    group_back: Any, need: Any, experts: Any, clients: Any, depth: int,
) -> None:
    """Move one unit along a path of `depth` clients."""
    for at in range(depth):
        k, i, j = experts[at], clients[at], experts[at + 1]
        g = group[k]
        state[i, k] = held
        if j == SOURCE:
            client_room[i] -= 1
        else:
            state[i, j] = free
        if j == SOURCE or group[j] != g:
            group_room[i, g] -= 1
            group_back[i, g] += 1
            if j != SOURCE:
                group_room[i, group[j]] += 1
                group_back[i, group[j]] -= 1
    need[experts[0]] -= 1
    if experts[depth] != SOURCE:
        need[experts[depth]] += 1
