"""Compiled heaps of the clients that could swap one node for another.

For each ordered pair of nodes (experts and the null expert m) a pairing heap
(Fredman, Sedgewick, Sleator, Tarjan 1986, doi:10.1007/BF01840439) holds the
clients that could swap the first for the second, by the value they would lose.
That loss does not depend on prices, so a heap stays in order while prices move.
Entries are deleted lazily, when they come to the top and no longer apply.

Heaps are complete only up to ``sentinel[h, u]``: every client not listed there
would lose at least that much.
"""

from __future__ import annotations

import numpy as np

from alignsolve.backends.exchange.row_values import read_values
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
def push(h, u, loss, k, head, loss_top, arc, sentinel, pool, meta):
    """List client k under the swap of h for u."""
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


@kernel
def _applies(k, i, h, u, m, slot_min, slot_max, ptr, held, count):
    """Say whether client k of the level, client i of the problem, can still swap h for u."""
    holds = False
    if h == m:
        holds = count[k] < slot_max[i]
    if u == m and count[k] <= slot_min[i]:
        return False
    for q in range(ptr[k], ptr[k] + count[k]):
        if held[q] == u:
            return False
        if held[q] == h:
            holds = True
    return holds


@kernel
def _clean(h, u, m, rows, slot_min, slot_max, ptr, held, count,
           head, loss_top, arc, sentinel, pool, meta):  # fmt: skip
    """Drop entries from the top of a heap until one applies."""
    x = head[h, u]
    while x >= 0:
        k = pool[x].who
        i = rows[k] if rows.size > 0 else k
        if _applies(k, i, h, u, m, slot_min, slot_max, ptr, held, count):
            break
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
def list_clients(fitness, cost, cost_row, cost_col, held_ptr, held_ind, rows, slot_min, slot_max,
                 chosen, first, price, wanted, cap, listed, ptr, held, count,
                 head, loss_top, arc, sentinel, pool, meta):  # fmt: skip
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
    m = fitness.shape[1]
    value = np.empty(m + 1, np.float64)
    is_held = np.zeros(m + 1, np.bool_)
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
        read_values(fitness, i, cost, cost_row, cost_col, held_ptr, held_ind, value)
        value[m] = 0.0
        for q in range(ptr[k], ptr[k] + count[k]):
            is_held[held[q]] = True
        is_held[m] = count[k] <= slot_min[i]
        for q in range(n_mine):
            h = mine[q]
            v = value[h]
            for u in range(m + 1):
                loss = v - value[u]
                if loss <= sentinel[h, u] and wanted[h, u] and loss < np.inf:
                    if is_held[u] or u == h or price[u] == np.inf:
                        continue
                    if listed[h, u] >= cap[h, u]:
                        sentinel[h, u] = loss
                        arc[h, u] = min(loss_top[h, u], loss)
                        continue
                    listed[h, u] += 1
                    push(h, u, loss, k, head, loss_top, arc, sentinel,
                          pool, meta)  # fmt: skip
        for q in range(ptr[k], ptr[k] + count[k]):
            is_held[held[q]] = False
        is_held[m] = False
    return chosen.size


@kernel
def swap_exists(fitness, rows, slot_min, slot_max, lo, hi, price, ptr, held, count, exists):
    """Mark the ordered pairs of nodes that some client ``lo..hi`` could swap at any loss.

    Parameters
    ----------
    exists : bool array, shape (m + 1, m + 1)
        Marked, never cleared.
    """
    m = fitness.shape[1]
    is_held = np.zeros(m + 1, np.bool_)
    for k in range(lo, hi):
        i = rows[k] if rows.size > 0 else k
        for q in range(ptr[k], ptr[k] + count[k]):
            is_held[held[q]] = True
        takes_null = count[k] > slot_min[i]
        for q in range(ptr[k] - 1, ptr[k] + count[k]):
            if q < ptr[k]:
                if count[k] >= slot_max[i]:
                    continue
                h = np.int64(m)
            else:
                h = np.int64(held[q])
                if takes_null:
                    exists[h, m] = True
            for u in range(m):
                if not is_held[u] and fitness[i, u] > -np.inf and price[u] < np.inf:
                    exists[h, u] = True
        for q in range(ptr[k], ptr[k] + count[k]):
            is_held[held[q]] = False


@kernel(called=False)
def swap(h, u, fitness, cost, cost_row, cost_col, held_ptr, held_ind, rows, slot_min, slot_max,
          price, ptr, held, count, slack, value, is_held,
          head, loss_top, arc, sentinel, pool, meta):  # fmt: skip
    """Let the first client listed for it swap h for u, and bring the heaps up to date."""
    m = fitness.shape[1]
    k = pool[head[h, u]].who
    i = rows[k] if rows.size > 0 else k
    a = slot_min[i]
    b = slot_max[i]
    start = ptr[k]
    before = count[k]
    after = before
    if h == m:
        held[start + before] = u
        after += 1
    else:
        after -= np.int64(u == m)
        for q in range(start, start + before):
            if held[q] == h:
                held[q] = held[start + after] if u == m else u
                break
    count[k] = after
    slack[k] = 0.0
    read_values(fitness, i, cost, cost_row, cost_col, held_ptr, held_ind, value)
    value[m] = 0.0
    for j in range(m):
        if price[j] == np.inf:
            value[j] = -np.inf
    # Entries of this client that stopped applying, where they are on top.
    for t in range(m + 1):
        for g in (h, m):
            x = head[g, t]
            if x >= 0 and pool[x].who == k:
                _clean(g, t, m, rows, slot_min, slot_max, ptr, held, count,
                       head, loss_top, arc, sentinel, pool, meta)  # fmt: skip
    for w in range(after):
        g = np.int64(held[start + w])
        for t in (u, m):
            x = head[g, t]
            if x >= 0 and pool[x].who == k:
                _clean(g, t, m, rows, slot_min, slot_max, ptr, held, count,
                       head, loss_top, arc, sentinel, pool, meta)  # fmt: skip
    for w in range(after):
        is_held[held[start + w]] = True
    has_null = after < b
    takes_null = after > a
    # Entries that are new: swaps of u, swaps for h, and the null expert's when it changed side.
    for w in range(-1, after):
        if w == -1:
            if not has_null:
                continue
            g = m
        else:
            g = np.int64(held[start + w])
        all_new = g == u or (g == m and before == b)
        null_new = takes_null and before <= a and g != m
        for t in range(m + 1):
            if t == m:
                wanted = takes_null and g != m and (all_new or null_new or h == m)
            else:
                wanted = not is_held[t] and (all_new or t == h)
            if wanted:
                loss = value[g] - value[t]
                if loss <= sentinel[g, t] and loss < np.inf:
                    push(g, t, loss, k, head, loss_top, arc, sentinel,
                          pool, meta)  # fmt: skip
    for w in range(after):
        is_held[held[start + w]] = False
