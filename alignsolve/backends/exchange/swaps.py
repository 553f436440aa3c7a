"""Compiled swaps of a client on a path, and what they change in the heaps.

Two kernels: the one for groups looks at all that a client holds and may take, which would make
swaps without groups 1.5 times as long.
"""

from __future__ import annotations

import numpy as np

from alignsolve.backends.exchange.heaps import clean, push, read_room, read_takes
from alignsolve.backends.exchange.row_values import read_values
from alignsolve.kernels import kernel


@kernel(called=False)
def swap(h, u, fitness, cost, cost_row, cost_col, held_ptr, held_ind, rows, slot_min, slot_max,
         group, low, high, price, ptr, held, count, slack, value, is_held,
         head, loss_top, arc, sentinel, pool, meta):  # fmt: skip
    """Let the first client listed for it swap h for u, and bring the heaps up to date.

    Without groups only swaps of what is given, taken or unused begin or cease to apply.

    Parameters
    ----------
    group, low, high
        Empty.
    value : float64 array, shape (m + 1,)
        Written.
    is_held : bool array, shape (m + 1,)
        All False, before and after.
    """
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
                clean(g, t, m, rows, slot_min, slot_max, group, low, high, ptr, held, count,
                      head, loss_top, arc, sentinel, pool, meta)  # fmt: skip
    for w in range(after):
        g = np.int64(held[start + w])
        for t in (u, m):
            x = head[g, t]
            if x >= 0 and pool[x].who == k:
                clean(g, t, m, rows, slot_min, slot_max, group, low, high, ptr, held, count,
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
        for t in range(m + 1):
            if t == m:
                wanted = takes_null and g != m and (all_new or h == m)
            else:
                wanted = not is_held[t] and (all_new or t == h)
            if wanted:
                loss = value[g] - value[t]
                if loss <= sentinel[g, t] and loss < np.inf:
                    push(g, t, loss, k, head, loss_top, arc, sentinel,
                          pool, meta)  # fmt: skip
    for w in range(after):
        is_held[held[start + w]] = False


@kernel(called=False)
def swap_in_groups(h, u, fitness, cost, cost_row, cost_col, held_ptr, held_ind, rows, slot_min,
                   slot_max, group, low, high, price, ptr, held, count, slack, value, room,
                   before, head, loss_top, arc, sentinel, pool, meta):  # fmt: skip
    """Do as `swap` where groups share slots; `room` and `before` are written, as `value` is."""
    m = fitness.shape[1]
    k = pool[head[h, u]].who
    i = rows[k] if rows.size > 0 else k
    read_room(k, i, slot_min, group, high, ptr, held, count, before)
    had_null = count[k] < slot_max[i]
    first, last = ptr[k], ptr[k] + count[k]
    if h == m:
        held[last] = u
        last += 1
    else:
        last -= np.int64(u == m)
        for q in range(first, ptr[k] + count[k]):
            if held[q] == h:
                held[q] = held[last] if u == m else u
                break
    count[k] = last - first
    slack[k] = 0.0
    read_values(fitness, i, cost, cost_row, cost_col, held_ptr, held_ind, value)
    value[m] = 0.0
    for j in range(m):
        if price[j] == np.inf:
            value[j] = -np.inf
    # Entries of this client that may have stopped applying, where they are on top.
    for q in range(first - 2, last):
        g = h if q < first - 1 else np.int64(m) if q < first else np.int64(held[q])
        for t in range(m + 1):
            x = head[g, t]
            if x >= 0 and pool[x].who == k:
                clean(g, t, m, rows, slot_min, slot_max, group, low, high, ptr, held, count,
                      head, loss_top, arc, sentinel, pool, meta)  # fmt: skip
    read_room(k, i, slot_min, group, high, ptr, held, count, room)
    # Entries that are new: swaps that are possible now, and were not before.
    for q in range(first - 1, last):
        g = np.int64(m) if q < first else np.int64(held[q])
        if g == m and count[k] >= slot_max[i]:
            continue
        had = had_null if g == m else g != u
        read_takes(g, i, group, low, room)
        read_takes(g, i, group, low, before)
        for t in range(m + 1):
            if room.takes[t] and t != g and not (had and before.takes[t]):
                loss = value[g] - value[t]
                if loss <= sentinel[g, t] and loss < np.inf:
                    push(g, t, loss, k, head, loss_top, arc, sentinel, pool, meta)
