"""Compiled heaps and shortest paths of clients whose slots several layer groups share.

As in `alignsolve.backends.exchange.heaps` and `paths`, with two differences. Whether a client may
swap one expert for another depends on how many it holds of each group, so that a swap can make
others of its swaps possible that were not. And paths have as few arcs as possible: on such a path
a client that makes several swaps can make all of them (K Murota, Discrete Convex Analysis, 2003,
doi:10.1137/1.9780898718508, theorem 9.22 and section 10.4).
"""

from __future__ import annotations

import numpy as np

from alignsolve.backends.exchange.heaps import (
    FREE,
    FRESH,
    PATHS,
    SEARCHES,
    SWAPS,
    push,
    without_root,
)
from alignsolve.backends.exchange.paths import (
    DONE,
    INFEASIBLE,
    LOAD_ARC,
    MORE,
    POOL_FULL,
    SWAP_ARC,
    UNLISTED_ARC,
    WIDEN,
    clip,
    is_free,
    load_arc,
)
from alignsolve.backends.exchange.row_values import read_values
from alignsolve.kernels import kernel


@kernel(called=False)
def read_held(k, ptr, held, count, group, size, is_held):
    """Write which experts client k of the level holds, and how many of each group."""
    is_held[:] = False
    size[:] = 0
    for q in range(ptr[k], ptr[k] + count[k]):
        is_held[held[q]] = True
        size[group[held[q]]] += 1


@kernel(called=False)
def may_swap(i, h, u, m, total, slot_min, slot_max, group, low, high, size, is_held):
    """Tell whether client i, which holds `total` experts, may give h for u; m for an unused slot.

    Parameters
    ----------
    group : int32 array, shape (m,)
    size : int64 array, shape (n_groups,)
        How many experts of each group it holds.
    is_held : bool array, shape (m + 1,)
    """
    if h == u:
        return False
    if h < m and not is_held[h]:
        return False
    if u < m and is_held[u]:
        return False
    if h == m:
        return total < slot_max[i] and size[group[u]] < high[i, group[u]]
    spare = size[group[h]] > low[i, group[h]]
    if u == m:
        return total > slot_min[i] and spare
    return group[h] == group[u] or (spare and size[group[u]] < high[i, group[u]])


@kernel
def _clean(h, u, m, rows, slot_min, slot_max, group, low, high, ptr, held, count,
           head, loss_top, arc, sentinel, pool, meta, size, is_held):  # fmt: skip
    """Drop entries from the top of a heap until one applies."""
    x = head[h, u]
    while x >= 0:
        k = pool[x].who
        i = rows[k] if rows.size > 0 else k
        read_held(k, ptr, held, count, group, size, is_held)
        if may_swap(i, h, u, m, count[k], slot_min, slot_max, group, low, high, size, is_held):
            break
        new = without_root(x, pool)
        pool[x].sibling = meta[FREE]
        meta[FREE] = x
        x = new
    head[h, u] = x
    loss_top[h, u] = pool[x].key if x >= 0 else np.inf
    arc[h, u] = min(loss_top[h, u], sentinel[h, u])


@kernel
def list_in_groups(fitness, cost, cost_row, cost_col, held_ptr, held_ind, rows, slot_min, slot_max,
                   group, low, high, chosen, first, price, wanted, cap, listed, ptr, held, count,
                   head, loss_top, arc, sentinel, pool, meta):  # fmt: skip
    """Fill the heaps of the wanted pairs, as `heaps.list_clients` does without groups.

    Parameters
    ----------
    group : int32 array, shape (m,)
        Group of each expert.
    low, high : int32 arrays, shape (n, n_groups)
    """
    m = fitness.shape[1]
    value = np.empty(m + 1, np.float64)
    is_held = np.zeros(m + 1, np.bool_)
    size = np.empty(low.shape[1], np.int64)
    for c in range(first, chosen.size):
        k = chosen[c]
        i = rows[k] if rows.size > 0 else k
        if slot_max[i] <= 0:
            continue
        if meta[FRESH] + (count[k] + 1) * (m + 1) > pool.size:
            return c
        read_values(fitness, i, cost, cost_row, cost_col, held_ptr, held_ind, value)
        value[m] = 0.0
        read_held(k, ptr, held, count, group, size, is_held)
        for q in range(ptr[k] - 1, ptr[k] + count[k]):
            h = np.int64(m) if q < ptr[k] else np.int64(held[q])
            for u in range(m + 1):
                loss = value[h] - value[u]
                if loss <= sentinel[h, u] and wanted[h, u] and loss < np.inf:
                    if price[u] == np.inf or not may_swap(
                        i, h, u, m, count[k], slot_min, slot_max, group, low, high, size, is_held
                    ):
                        continue
                    if listed[h, u] == cap[h, u]:
                        # What is turned away lowers what the pair is complete up to.
                        sentinel[h, u] = min(sentinel[h, u], loss)
                        arc[h, u] = min(loss_top[h, u], sentinel[h, u])
                        continue
                    listed[h, u] += 1
                    push(h, u, loss, k, head, loss_top, arc, sentinel, pool, meta)
    return chosen.size


@kernel
def swap_exists_in_groups(fitness, rows, slot_min, slot_max, group, low, high, lo, hi, price, ptr,
                          held, count, exists):  # fmt: skip
    """Mark swaps that some client ``lo..hi`` could make at any loss; see `heaps.swap_exists`."""
    m = fitness.shape[1]
    is_held = np.zeros(m + 1, np.bool_)
    size = np.empty(low.shape[1], np.int64)
    for k in range(lo, hi):
        i = rows[k] if rows.size > 0 else k
        read_held(k, ptr, held, count, group, size, is_held)
        for q in range(ptr[k] - 1, ptr[k] + count[k]):
            h = np.int64(m) if q < ptr[k] else np.int64(held[q])
            for u in range(m + 1):
                if u < m and not (fitness[i, u] > -np.inf and price[u] < np.inf):
                    continue
                if may_swap(i, h, u, m, count[k], slot_min, slot_max, group, low, high, size,
                            is_held):  # fmt: skip
                    exists[h, u] = True


@kernel(called=False)
def swap_in_groups(h, u, fitness, cost, cost_row, cost_col, held_ptr, held_ind, rows, slot_min,
                   slot_max, group, low, high, price, ptr, held, count, slack, value, is_held,
                   was_held, size, was_size, head, loss_top, arc, sentinel, pool,
                   meta):  # fmt: skip
    """Let the first client listed for it swap h for u, and bring the heaps up to date."""
    m = fitness.shape[1]
    k = pool[head[h, u]].who
    i = rows[k] if rows.size > 0 else k
    before = count[k]
    read_held(k, ptr, held, count, group, was_size, was_held)
    first, last = ptr[k], ptr[k] + before
    if h == m:
        held[last] = u
        last += 1
    else:
        last -= np.int64(u == m)
        for q in range(first, first + before):
            if held[q] == h:
                held[q] = held[last] if u == m else u
                break
    after = last - first
    count[k] = after
    slack[k] = 0.0
    # Entries of this client that stopped applying, where they are on top.
    for q in range(first - 2, last):
        g = h if q < first - 1 else np.int64(m) if q < first else np.int64(held[q])
        for t in range(m + 1):
            x = head[g, t]
            if x >= 0 and pool[x].who == k:
                _clean(g, t, m, rows, slot_min, slot_max, group, low, high, ptr, held, count,
                       head, loss_top, arc, sentinel, pool, meta, size, is_held)  # fmt: skip
    read_held(k, ptr, held, count, group, size, is_held)
    read_values(fitness, i, cost, cost_row, cost_col, held_ptr, held_ind, value)
    value[m] = 0.0
    # Entries that are new: swaps that are possible now, and were not before.
    for q in range(first - 1, last):
        g = np.int64(m) if q < first else np.int64(held[q])
        for t in range(m + 1):
            loss = value[g] - value[t]
            if not (loss <= sentinel[g, t] and loss < np.inf) or (t < m and price[t] == np.inf):
                continue
            if not may_swap(i, g, t, m, after, slot_min, slot_max, group, low, high, size, is_held):
                continue
            if may_swap(i, g, t, m, before, slot_min, slot_max, group, low, high, was_size,
                        was_held):  # fmt: skip
                continue
            push(g, t, loss, k, head, loss_top, arc, sentinel, pool, meta)


@kernel
def _search(m, price, arc, loss_top, load, load_min, load_max, penalty, goal, excess,
            dist, hops, parent, kind, done, order):  # fmt: skip
    """Do as `paths.search`, along as few arcs as possible."""
    sinks = 0
    for j in range(m + 1):
        dist[j] = 0.0 if excess[j] > 0 else np.inf
        hops[j] = 0
        parent[j] = -1
        kind[j] = SWAP_ARC
        done[j] = False
        if excess[j] < 0:
            sinks += 1
    settled, found, reach = 0, 0, 0.0
    while True:
        h, near, arcs = -1, np.inf, 0
        for j in range(m + 1):
            if not done[j] and (dist[j] < near or (dist[j] == near and h >= 0 and hops[j] < arcs)):
                h, near, arcs = j, dist[j], hops[j]
        if h < 0:
            return settled, found, reach, False
        if kind[h] == UNLISTED_ARC:
            return settled, found, near, True
        done[h] = True
        order[settled] = h
        settled += 1
        if excess[h] < 0:
            found += 1
            reach = near
            if found == sinks:
                return settled, found, reach, False
        p = price[h]
        for u in range(m + 1):
            if done[u]:
                continue
            w = arc[h, u]
            if w < np.inf:
                d = near + clip(w - p + price[u], w, p, price[u])
                if d < dist[u] or (d == dist[u] and arcs + 1 < hops[u]):
                    dist[u], hops[u], parent[u] = d, arcs + 1, h
                    kind[u] = SWAP_ARC if loss_top[h, u] <= w else UNLISTED_ARC
        # Load bounds have slack between an expert and the null expert only, whose price is 0.
        for u in range(m if h < m else 0, m + 1 if h < m else m):
            w = load_arc(h, u, m, load, load_min, load_max, penalty, goal)
            if w < np.inf and not done[u]:
                d = near + clip(w - p + price[u], w, p, price[u])
                tied = d == dist[u] and (
                    arcs + 1 < hops[u] or (kind[u] == UNLISTED_ARC and arcs + 1 == hops[u])
                )
                if d < dist[u] or tied:
                    dist[u], hops[u], parent[u], kind[u] = d, arcs + 1, h, LOAD_ARC


@kernel
def augment_in_groups(fitness, cost, cost_row, cost_col, held_ptr, held_ind, rows, slot_min,
                      slot_max, group, low, high, price, load, load_min, load_max, penalty, goal,
                      excess, ptr, held, count, slack, head, loss_top, arc, sentinel, pool, meta,
                      widest, phases, frontier):  # fmt: skip
    """Move excess to deficits along shortest paths, as `paths.augment` does without groups.

    Parameters
    ----------
    group : int32 array, shape (m,)
        Group of each expert.
    low, high : int32 arrays, shape (n, n_groups)
    widest : int
        Most experts of any client.
    """
    m = fitness.shape[1]
    value = np.empty(m + 1, np.float64)
    is_held, was_held = np.zeros(m + 1, np.bool_), np.zeros(m + 1, np.bool_)
    size, was_size = np.empty(low.shape[1], np.int64), np.empty(low.shape[1], np.int64)
    dist, hops = np.empty(m + 1, np.float64), np.empty(m + 1, np.int64)
    parent, kind = np.empty(m + 1, np.int64), np.empty(m + 1, np.int64)
    done, order = np.empty(m + 1, np.bool_), np.empty(m + 1, np.int64)
    for _ in range(phases):
        if excess.max() <= 0:
            return DONE
        settled, found, reach, cut = _search(
            m, price, arc, loss_top, load, load_min, load_max, penalty, goal, excess,
            dist, hops, parent, kind, done, order)  # fmt: skip
        meta[SEARCHES] += 1
        if found == 0 and not cut:
            return INFEASIBLE
        shift = min(dist[m], reach) if done[m] else reach
        if reach > 0.0:
            for j in range(m):
                if price[j] < np.inf:
                    price[j] += shift - (min(dist[j], reach) if done[j] else reach)
        if found == 0:
            for j in range(m + 1):
                if not done[j] and parent[j] >= 0 and kind[j] == UNLISTED_ARC:
                    frontier[parent[j], j] = True
            return WIDEN
        moved = False
        for s in range(settled):
            sink = order[s]
            while excess[sink] < 0:
                x, length, free = sink, 0, True
                while free and parent[x] >= 0:
                    free = is_free(parent[x], x, kind[x] == LOAD_ARC, m, price, arc, loss_top,
                                   load, load_min, load_max, penalty, goal)  # fmt: skip
                    x = parent[x]
                    length += 1
                if not free or excess[x] <= 0:
                    break
                if meta[FRESH] + length * (widest + 1) * (m + 2) > pool.size:
                    return POOL_FULL
                x = sink
                while parent[x] >= 0:
                    h = parent[x]
                    # A client's other swaps on a path that is not the first may not apply any
                    # more: what was moved up to here stays moved.
                    if x != sink and not is_free(h, x, kind[x] == LOAD_ARC, m, price, arc, loss_top,
                                                 load, load_min, load_max, penalty,
                                                 goal):  # fmt: skip
                        break
                    excess[h] -= 1
                    excess[x] += 1
                    if kind[x] == LOAD_ARC:
                        if x == m:
                            load[h] += 1
                        else:
                            load[x] -= 1
                    else:
                        swap_in_groups(h, x, fitness, cost, cost_row, cost_col, held_ptr, held_ind,
                                       rows, slot_min, slot_max, group, low, high, price, ptr,
                                       held, count, slack, value, is_held, was_held, size,
                                       was_size, head, loss_top, arc, sentinel, pool,
                                       meta)  # fmt: skip
                        meta[SWAPS] += 1
                    x = h
                moved = moved or parent[x] < 0
                meta[PATHS] += 1
        if not moved:
            return WIDEN
    return MORE
