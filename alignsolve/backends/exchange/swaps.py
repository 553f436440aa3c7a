"""Compiled swaps of a client on a path, and what they change in the heaps.

Two kernels: the one for groups looks at all that a client holds and may take, which would make
swaps without groups 1.5 times as long.
"""

from __future__ import annotations

import numpy as np

from alignsolve.backends.exchange.heaps import clean, push, read_room, read_takes
from alignsolve.backends.exchange.row_values import read_allowed
from alignsolve.kernels import kernel


@kernel(called=False)
def exchange(k, h, u, m, answer):
    """Let client k of the level hold u in place of h; either may be the unused slot m."""
    ptr, held, count = answer
    last = ptr[k] + count[k]
    if h == m:
        held[last] = u
        count[k] += 1
        return
    count[k] -= u == m
    for q in range(ptr[k], last):
        if held[q] == h:
            held[q] = held[last - 1] if u == m else u
            return


@kernel(called=False)
def swap(h, u, matrix, limits, price, answer, slack, value, is_held, lists):
    """Let the first client listed for it swap h for u, and bring the heaps up to date.

    Without groups only swaps of what is given, taken or unused begin or cease to apply.

    Parameters
    ----------
    value : float64 array, shape (m + 1,)
        Written.
    is_held : bool array, shape (m + 1,)
        All False, before and after.
    """
    rows, slot_min, slot_max = limits[:3]
    ptr, held, count = answer
    head, _, _, sentinel, pool, _ = lists
    m, k = price.size - 1, np.int64(pool[head[h, u]].who)
    i = rows[k] if rows.size > 0 else k
    was_full = count[k] == slot_max[i]
    exchange(k, h, u, m, answer)
    slack[k] = 0.0
    read_allowed(matrix, i, price, value)
    first, last = ptr[k], ptr[k] + count[k]
    # Entries of this client that stopped applying, where they are on top.
    for t in range(m + 1):
        for g in (h, m):
            if head[g, t] >= 0 and pool[head[g, t]].who == k:
                clean(g, t, m, limits, answer, lists)
    for q in range(first, last):
        is_held[held[q]] = True
        g = np.int64(held[q])
        for t in (u, m):
            if head[g, t] >= 0 and pool[head[g, t]].who == k:
                clean(g, t, m, limits, answer, lists)
    takes_null = count[k] > slot_min[i]
    # Entries that are new: swaps of u, swaps for h, and the null expert's when it changed side.
    for q in range(first if count[k] == slot_max[i] else first - 1, last):
        g = np.int64(held[q]) if q >= first else m
        all_new = g == u or (g == m and was_full)
        for t in range(m + 1):
            if t == m:
                wanted = takes_null and g != m and (all_new or h == m)
            else:
                wanted = not is_held[t] and (all_new or t == h)
            if wanted:
                loss = value[g] - value[t]
                if loss <= sentinel[g, t] and loss < np.inf:
                    push(g, t, loss, k, lists)
    for q in range(first, last):
        is_held[held[q]] = False


@kernel(called=False)
def swap_in_groups(h, u, matrix, limits, price, answer, slack, value, room, before, lists):
    """Do as `swap` where groups share slots; `room` and `before` are written, as `value` is."""
    rows, _, slot_max, group, _, low, _ = limits
    ptr, held, count = answer
    head, _, _, sentinel, pool, _ = lists
    m, k = price.size - 1, np.int64(pool[head[h, u]].who)
    i = rows[k] if rows.size > 0 else k
    read_room(k, limits, answer, before)
    had_null = count[k] < slot_max[i]
    exchange(k, h, u, m, answer)
    slack[k] = 0.0
    read_allowed(matrix, i, price, value)
    first, last = ptr[k], ptr[k] + count[k]
    # Entries of this client that may have stopped applying, where they are on top.
    for q in range(first - 2, last):
        g = h if q < first - 1 else m if q < first else np.int64(held[q])
        for t in range(m + 1):
            if head[g, t] >= 0 and pool[head[g, t]].who == k:
                clean(g, t, m, limits, answer, lists)
    read_room(k, limits, answer, room)
    # Entries that are new: swaps that are possible now, and were not before.
    for q in range(first if count[k] == slot_max[i] else first - 1, last):
        g = np.int64(held[q]) if q >= first else m
        had = had_null if g == m else g != u
        read_takes(g, i, group, low, room)
        read_takes(g, i, group, low, before)
        for t in range(m + 1):
            if room.takes[t] and t != g and not (had and before.takes[t]):
                loss = value[g] - value[t]
                if loss <= sentinel[g, t] and loss < np.inf:
                    push(g, t, loss, k, lists)
