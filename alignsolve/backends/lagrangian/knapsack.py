"""Compiled 0-1 knapsacks of one budget in whole units, with few clients and many experts.

Bounding by the linear relaxation leaves a core of undecided items (D. Pisinger,
A minimal algorithm for the 0-1 knapsack problem, 1997,
doi:10.1287/opre.45.5.758, is the method's fullest form); dynamic programming
over capacities decides the core.
"""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
def _relaxation(reduced, size, items, cap, state):
    """Solve the linear relaxation over items in order of ratio.

    Marks in `state` what it takes (1) or not (0); returns the bound, the value of
    the greedy set, and the multiplier of the capacity.
    """
    left, bound, greedy, left_greedy, u = cap, 0.0, 0.0, cap, 0.0
    broken = False
    for t in range(items.size):
        j = items[t]
        state[t] = 0
        if not broken:
            if size[j] <= left:
                state[t] = 1
                left -= size[j]
                bound += reduced[j]
            else:
                broken = True
                u = reduced[j] / size[j]
                bound += u * left
        if size[j] <= left_greedy:
            left_greedy -= size[j]
            greedy += reduced[j]
    return bound, greedy, u


@njit(cache=True, nogil=True)
def best_knapsack(reduced, size, cap, best):
    """Find the best set of one client; return its value.

    Parameters
    ----------
    reduced : float64 array, shape (m,)
        Values less prices; -inf forbids.
    size : int64 array, shape (m,)
        Sizes in units.
    cap : int64
        Capacity in units, >= 0.
    best : bool array, shape (m,)
        The set, on return.
    """
    best[:] = False
    count = 0
    for j in range(reduced.size):
        if reduced[j] > 0.0 and size[j] <= cap:
            count += 1
    items, ratio = np.empty(count, np.int64), np.empty(count)
    t = 0
    for j in range(reduced.size):
        if reduced[j] > 0.0 and size[j] <= cap:
            items[t] = j
            ratio[t] = -np.inf if size[j] == 0 else -reduced[j] / size[j]
            t += 1
    items = items[np.argsort(ratio)]
    state = np.empty(count, np.int8)
    bound, greedy, u = _relaxation(reduced, size, items, cap, state)
    left, value = cap, 0.0
    core = np.empty(count, np.int64)
    n_core = 0
    for t in range(count):
        j = items[t]
        loss = reduced[j] - u * size[j] if state[t] == 1 else u * size[j] - reduced[j]
        # Loose by a rounding: what ties with the greedy set stays in the core.
        if bound - loss >= greedy - 1e-12 * bound:
            core[n_core] = j
            n_core += 1
        elif state[t] == 1:
            best[j] = True
            left -= size[j]
            value += reduced[j]
    return value + _by_capacity(reduced, size, core[:n_core], left, best)


@njit(cache=True, nogil=True)
def _by_capacity(reduced, size, core, cap, best):
    """Decide the core by dynamic programming; mark the best set, and return its value."""
    table = np.zeros(cap + 1)
    taken = np.zeros((core.size, cap + 1), np.bool_)
    for t in range(core.size):
        j = core[t]
        s, r = size[j], reduced[j]
        for c in range(cap, s - 1, -1):
            with_it = table[c - s] + r
            if with_it > table[c]:
                table[c] = with_it
                taken[t, c] = True
    c = cap
    value = 0.0
    for t in range(core.size - 1, -1, -1):
        if taken[t, c]:
            j = core[t]
            best[j] = True
            value += reduced[j]
            c -= size[j]
    return value


@njit(cache=True, nogil=True)
def best_knapsacks(reduced, size, cap, best, value):
    """Find the best set of every client of a block; see `best_knapsack`."""
    for i in range(reduced.shape[0]):
        value[i] = best_knapsack(reduced[i], size[i], cap[i], best[i]) if cap[i] >= 0 else -np.inf


@njit(cache=True, nogil=True)
def forced_values(reduced, size, cap, out):
    """Write each client's best value when a pair's state is the opposite of the best set's.

    Parameters
    ----------
    reduced : float64 array, shape (n, m)
        Values less prices; -inf forbids.
    size, cap : int64 array, shape (n, m) and (n,)
        Sizes and capacities, in units.
    out : float64 array, shape (2, n, m)
        ``out[0]``: best value without the pair, ``out[1]``: with it.

    Notes
    -----
    Dynamic programming from both ends over the items of positive value: what the
    others are worth beside a forced one is the best split of the capacity.
    O(n m + n p c) time for p such items and capacity c.
    """
    n, m = reduced.shape
    for i in range(n):
        c = cap[i]
        items = np.empty(m, np.int64)
        p = 0
        for j in range(m):
            if reduced[i, j] > 0.0 and size[i, j] <= c:
                items[p] = j
                p += 1
        before = np.zeros((p + 1, c + 1))
        after = np.zeros((p + 1, c + 1))
        for t in range(p):
            _add_item(before[t], before[t + 1], size[i, items[t]], reduced[i, items[t]])
        for t in range(p - 1, -1, -1):
            _add_item(after[t + 1], after[t], size[i, items[t]], reduced[i, items[t]])
        best = before[p]
        for j in range(m):
            out[0, i, j] = best[c]
            fits = reduced[i, j] > -np.inf and size[i, j] <= c
            out[1, i, j] = best[c - size[i, j]] + reduced[i, j] if fits else -np.inf
        for t in range(p):
            j = items[t]
            out[0, i, j] = _best_split(before[t], after[t + 1], c)
            rest = _best_split(before[t], after[t + 1], c - size[i, j])
            out[1, i, j] = rest + reduced[i, j]


@njit(cache=True, nogil=True)
def _add_item(table, result, size, value):
    """Write the table of best values by capacity with one item more."""
    for c in range(table.size):
        result[c] = table[c]
        if c >= size and table[c - size] + value > result[c]:
            result[c] = table[c - size] + value


@njit(cache=True, nogil=True)
def _best_split(first, second, cap):
    """Return the best sum of two tables over all splits of a capacity."""
    best = 0.0
    for c in range(cap + 1):
        best = max(best, first[c] + second[cap - c])
    return best
