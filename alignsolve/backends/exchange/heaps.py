"""Compiled heaps of the clients that could swap one node for another.

For each ordered pair of nodes (experts and the null expert m) a pairing heap
(Fredman, Sedgewick, Sleator, Tarjan 1986, doi:10.1007/BF01840439) holds the
clients that could swap the first for the second, by the value they would lose.
That loss does not depend on prices, so a heap stays in order while prices move.
Entries are deleted lazily, when they come to the top and no longer apply.

Heaps are complete only up to ``sentinel[h, u]``: every client not listed there
would lose at least that much.

Where groups share slots, whether a client may swap depends on how many it holds of each
group, so that a swap can make others of its swaps possible that were not.
"""

from __future__ import annotations

from collections import namedtuple

import numpy as np

from alignsolve.backends.exchange.row_values import read_allowed
from alignsolve.kernels import kernel

#: An entry: what the client would lose, the client of the level, and the places in
#: the pool of its first child and next sibling, or -1.
ENTRY = np.dtype((np.record, np.dtype(
    [("key", np.float64), ("who", np.int32), ("child", np.int32), ("sibling", np.int32)],
    align=True,
)))

# Slots of `meta`: entries made, first entry free for use again; counts of searches,
# swaps and paths.
FRESH, FREE, SEARCHES, SWAPS, PATHS = range(5)

#: What a client may take: `open` (m + 1,) marks what it may for some node, `full` (m + 1,) what of
#: that for an expert of the same group alone, `takes` (m + 1,) what for a certain node; `size`
#: (n_groups,) counts what it holds of each group. Without groups `open` is all there is.
Room = namedtuple("Room", "open full takes size")


@kernel
def _meld(a, b, pool):
    """Join two heaps given by their roots; return the root."""
    if pool[b].key < pool[a].key:
        a, b = b, a
    pool[b].sibling = pool[a].child
    pool[a].child = b
    return a


@kernel(called=False)
def without_root(root, pool):
    """Return the heap without its root, melding children in pairs, then from the right."""
    c = pool[root].child
    stack = np.int32(-1)
    while c != -1:
        a = c
        b = pool[a].sibling
        if b == -1:
            pool[a].sibling = stack
            stack = a
            break
        c = pool[b].sibling
        a = _meld(a, b, pool)
        pool[a].sibling = stack
        stack = a
    new = np.int32(-1)
    while stack != -1:
        c = pool[stack].sibling
        pool[stack].sibling = -1
        new = stack if new == -1 else _meld(new, stack, pool)
        stack = c
    return new


@kernel(called=False)
def push(h, u, loss, k, lists):
    """List client k under the swap of h for u."""
    head, loss_top, arc, sentinel, pool, meta = lists
    x = meta[FREE]
    if x >= 0:
        meta[FREE] = pool[x].sibling
    else:
        x = meta[FRESH]
        meta[FRESH] += 1
    pool[x].key = loss
    pool[x].who = k
    pool[x].child = -1
    pool[x].sibling = -1
    root = head[h, u]
    root = _meld(root, np.int32(x), pool) if root >= 0 else np.int32(x)
    head[h, u] = root
    loss_top[h, u] = pool[root].key
    arc[h, u] = min(pool[root].key, sentinel[h, u])


@kernel(called=False)
def may_swap(k, h, u, m, limits, answer):
    """Say whether slots and groups let client k of the level swap h for u.

    Parameters
    ----------
    h, u : int
        Nodes; m stands for an unused slot.
    """
    rows, slot_min, slot_max, group, _, low, high = limits
    ptr, held, count = answer
    i = rows[k] if rows.size > 0 else k
    holds = h == m and count[k] < slot_max[i]
    if u == m and (h == m or count[k] <= slot_min[i]):
        return False
    for q in range(ptr[k], ptr[k] + count[k]):
        if held[q] == u:
            return False
        if held[q] == h:
            holds = True
    if not holds or group.size == 0 or (h < m and u < m and group[h] == group[u]):
        return holds
    given, taken = 0, 0
    for q in range(ptr[k], ptr[k] + count[k]):
        given += h < m and group[held[q]] == group[h]
        taken += u < m and group[held[q]] == group[u]
    return (h == m or given > low[i, group[h]]) and (u == m or taken < high[i, group[u]])


@kernel(called=False)
def new_room(m, n_groups):
    """Return room for what `read_room` writes."""
    return Room(np.zeros(m + 1, np.bool_), np.zeros(m + 1, np.bool_), np.zeros(m + 1, np.bool_),
                np.empty(n_groups, np.int64))  # fmt: skip


@kernel(called=False)
def read_room(k, limits, answer, room):
    """Write what client k of the level may take."""
    rows, slot_min, _, group, _, _, high = limits
    ptr, held, count = answer
    i = rows[k] if rows.size > 0 else k
    m = room.open.size - 1
    for u in range(m):
        room.open[u] = True
    for q in range(ptr[k], ptr[k] + count[k]):
        room.open[held[q]] = False
    room.open[m] = count[k] > slot_min[i]
    room.size[:] = 0
    if group.size == 0:
        return
    for q in range(ptr[k], ptr[k] + count[k]):
        room.size[group[held[q]]] += 1
    for u in range(group.size):
        room.full[u] = room.size[group[u]] >= high[i, group[u]]


@kernel(called=False)
def read_takes(h, i, group, low, room):
    """Write what client i, whose room was read, may take for another node h that it can give."""
    m = room.open.size - 1
    spare = h == m or room.size[group[h]] > low[i, group[h]]
    for u in range(m + 1):
        across = h == m or u == m or group[u] != group[h]
        room.takes[u] = room.open[u] and not (across and (room.full[u] or not spare))


@kernel(called=False)
def clean(h, u, m, limits, answer, lists):
    """Drop entries from the top of a heap until one applies."""
    head, loss_top, arc, sentinel, pool, meta = lists
    x = head[h, u]
    while x >= 0 and not may_swap(np.int64(pool[x].who), h, u, m, limits, answer):
        new = without_root(x, pool)
        pool[x].sibling = meta[FREE]
        meta[FREE] = x
        x = new
    head[h, u] = x
    loss_top[h, u] = pool[x].key if x >= 0 else np.inf
    arc[h, u] = min(loss_top[h, u], sentinel[h, u])


@kernel
def clear_pairs(pairs, price, width, largest, head, loss_top, arc, sentinel, goal):
    """Empty the heaps of some pairs and set what they are to be listed up to."""
    nodes = sentinel.shape[0]
    for h in range(nodes):
        for u in range(nodes):
            if not pairs[h, u] or h == u or price[h] == np.inf or price[u] == np.inf:
                pairs[h, u] = False
                continue
            # Beyond the largest slack, everything is listed.
            w = width[h, u] if width[h, u] <= largest else np.inf
            goal[h, u] = w + (price[h] - price[u])
            sentinel[h, u] = goal[h, u]
            arc[h, u] = goal[h, u]
            head[h, u] = -1
            loss_top[h, u] = np.inf


@kernel
def list_clients(matrix, limits, chosen, first, price, wanted, cap, listed, answer, lists):
    """Fill the heaps of the wanted pairs from the chosen clients, up to each pair's sentinel.

    Parameters
    ----------
    chosen : int64 array, shape (c,)
        Clients of the level; all whose slack allows an entry.
    first : int
        Where in `chosen` to begin.
    wanted : bool array, shape (m + 1, m + 1)
        Pairs to list.
    cap : int64 array, shape (m + 1, m + 1)
        Most entries of a pair; what it turns away lowers the pair's sentinel.
    listed : int64 array, shape (m + 1, m + 1)
        Entries of each pair so far. Updated.

    Returns
    -------
    int
        Where in `chosen` the pool of entries was full, or its size.
    """
    rows, slot_min, slot_max, group, _, low, _ = limits
    ptr, held, count = answer
    _, loss_top, arc, sentinel, pool, meta = lists
    m = price.size - 1
    value = np.empty(m + 1, np.float64)
    room = new_room(m, low.shape[1])
    is_open, grouped = room.open, group.size > 0
    is_open[:] = True
    takes = room.takes if grouped else is_open
    # A call for each client would cost more than its row, here and below.
    (single, double), cost = matrix[:2]
    reads = cost.size > 0 or price.max() == np.inf
    value[m] = 0.0
    mine = np.empty(m + 1, np.int64)
    gives = np.zeros(m + 1, np.bool_)
    for h in range(m + 1):
        for u in range(m + 1):
            gives[h] |= wanted[h, u]
    for c in range(first, chosen.size):
        k = chosen[c]
        i = rows[k] if rows.size > 0 else k
        if slot_max[i] <= 0:
            continue
        n_mine = 0
        for q in range(ptr[k], ptr[k] + count[k]):
            if gives[held[q]]:
                mine[n_mine] = held[q]
                n_mine += 1
        if gives[m] and count[k] < slot_max[i]:
            mine[n_mine] = m
            n_mine += 1
        if n_mine == 0:
            continue
        if meta[FRESH] + n_mine * (m + 1) > pool.size:
            return c
        if reads:
            read_allowed(matrix, i, price, value)
        elif single.size > 0:
            for j in range(m):
                value[j] = single[i, j]
        else:
            for j in range(m):
                value[j] = double[i, j]
        if grouped:
            read_room(k, limits, answer, room)
        else:
            # As `read_room` does.
            for q in range(ptr[k], ptr[k] + count[k]):
                is_open[held[q]] = False
            is_open[m] = count[k] > slot_min[i]
        for q in range(n_mine):
            h = mine[q]
            v = value[h]
            if grouped:
                read_takes(h, i, group, low, room)
            for u in range(m + 1):
                loss = v - value[u]
                if loss <= sentinel[h, u] and wanted[h, u] and loss < np.inf:
                    if not takes[u] or u == h:
                        continue
                    if listed[h, u] >= cap[h, u]:
                        sentinel[h, u] = loss
                        arc[h, u] = min(loss_top[h, u], loss)
                        continue
                    listed[h, u] += 1
                    push(h, u, loss, k, lists)
        for q in range(ptr[k], ptr[k] + count[k]):
            is_open[held[q]] = True
    return chosen.size


@kernel
def swap_exists(matrix, limits, lo, hi, price, answer, exists):
    """Mark the ordered pairs of nodes that some client ``lo..hi`` could swap at any loss.

    Parameters
    ----------
    exists : bool array, shape (m + 1, m + 1)
        Marked, never cleared.
    """
    rows, _, slot_max, group, _, low, _ = limits
    ptr, held, count = answer
    m = price.size - 1
    value = np.empty(m + 1, np.float64)
    room = new_room(m, low.shape[1])
    takes = room.takes if group.size > 0 else room.open
    for k in range(lo, hi):
        i = rows[k] if rows.size > 0 else k
        read_allowed(matrix, i, price, value)
        read_room(k, limits, answer, room)
        for q in range(ptr[k] - 1, ptr[k] + count[k]):
            h = np.int64(m) if q < ptr[k] else np.int64(held[q])
            if h == m and count[k] >= slot_max[i]:
                continue
            if group.size > 0:
                read_takes(h, i, group, low, room)
            for u in range(m + 1):
                if value[u] > -np.inf and takes[u] and u != h:
                    exists[h, u] = True
