"""Compiled 0-1 knapsacks of one budget in whole units: best sets, and sets beside an item.

Bounding by the linear relaxation leaves a core of undecided items (D. Pisinger,
A minimal algorithm for the 0-1 knapsack problem, 1997,
doi:10.1287/opre.45.5.758, is the method's fullest form); dynamic programming
over capacities decides the core.

The search of `multidimensional_knapsack` takes about as long for one budget, with
prices of generalized assignment from 0.4 to 3 times, but five times as long to compile.
"""

from __future__ import annotations

from collections import namedtuple

import numpy as np

from alignsolve.kernels import kernel

# An item is listed where it is met: to hand these arrays over takes longer than to fill them.

#: One client's items, of positive value and within the capacity, then scratch space, for at most
#: k items and capacities below w. `count` (1,): how many there are; `number`, `value` and `size`
#: (k,): which expert each is, and what it is; `chosen` (k,): the best set. `before` and
#: `after` (k + 1, w): best values by capacity of the items before each, and from each on.
Items = namedtuple("Items", "count number value size chosen before after")


def new_items(k: int, cap: int, *, tabulated: bool) -> Items:
    """Return room for k items and capacities up to `cap`, and for tables where asked for."""
    w, rows = max(0, cap) + 1, k + 1 if tabulated else 0
    return Items(
        np.zeros(1, dtype=np.int64), np.empty(k, dtype=np.int64), np.empty(k),
        np.empty(k, dtype=np.int64), np.empty(k, dtype=np.bool_), np.empty((rows, w)),
        np.empty((rows, w)),
    )  # fmt: skip


@kernel
def best_knapsacks(reduced, size, cap, items, best, value):
    """Find the best set of every client of a block.

    Parameters
    ----------
    reduced : float64 array, shape (n, m)
        Values less prices; -inf forbids.
    size, cap : int64 array, shape (n, m) and (n,)
        Sizes and capacities, in units.
    items : Items
        Room for m items, and the capacities.
    best : bool array, shape (n, m)
        The sets, on return.
    value : float64 array, shape (n,)
        Their values, on return; -inf where the capacity is negative.
    """
    n, m = reduced.shape
    number, gain, need = items.number, items.value, items.size
    best[:] = False
    for i in range(n):
        value[i] = -np.inf
        if cap[i] < 0:
            continue
        count = 0
        for j in range(m):
            if reduced[i, j] > 0.0 and size[i, j] <= cap[i]:
                number[count], gain[count], need[count] = j, reduced[i, j], size[i, j]
                count += 1
        items.count[0] = count
        value[i] = best_knapsack(items, cap[i])
        for t in range(count):
            best[i, number[t]] = items.chosen[t]


@kernel(called=False)
def best_knapsack(items, cap):
    """Mark the best set of the listed items; return its value."""
    count, value, size, chosen = items.count[0], items.value, items.size, items.chosen
    ratio = np.empty(count)
    for t in range(count):
        ratio[t] = -np.inf if size[t] == 0 else -value[t] / size[t]
    order = _ascending(ratio)
    # The relaxation, and the greedy set beside it.
    left, bound, greedy, greedy_left, u = cap, 0.0, 0.0, cap, 0.0
    broken = count
    for at in range(count):
        t = order[at]
        chosen[t] = False
        if broken == count:
            if size[t] <= left:
                left -= size[t]
                bound += value[t]
            else:
                broken = at
                u = value[t] / size[t]
                bound += u * left
        if size[t] <= greedy_left:
            greedy_left -= size[t]
            greedy += value[t]
    # Undecided items go to the front of `order`.
    left, total, n_core = cap, 0.0, 0
    for at in range(count):
        t = order[at]
        loss = value[t] - u * size[t] if at < broken else u * size[t] - value[t]
        # Loose by a rounding: what ties with the greedy set stays in the core.
        if bound - loss >= greedy - 1e-12 * bound:
            order[n_core] = t
            n_core += 1
        elif at < broken:
            chosen[t] = True
            left -= size[t]
            total += value[t]
    return total + _by_capacity(items, order[:n_core], left)


@kernel
def _ascending(key):
    """Return the order of keys; equal ones stay in theirs. Merges runs, and compiles soon."""
    n = key.size
    order, merged = np.empty(n, np.int64), np.empty(n, np.int64)
    for t in range(n):
        order[t] = t
    width = 1
    while width < n:
        for start in range(0, n, 2 * width):
            a, middle = start, min(start + width, n)
            b, end = middle, min(start + 2 * width, n)
            for at in range(start, end):
                if b >= end or (a < middle and key[order[a]] <= key[order[b]]):
                    merged[at] = order[a]
                    a += 1
                else:
                    merged[at] = order[b]
                    b += 1
        order, merged = merged, order
        width *= 2
    return order


@kernel
def _by_capacity(items, core, cap):
    """Decide some items by dynamic programming; mark the best set, and return its value."""
    # Fresh arrays: the compiler then knows that nothing else lies in their memory.
    table = np.zeros(cap + 1)
    taken = np.zeros((core.size, cap + 1), np.bool_)
    for q in range(core.size):
        size, value = items.size[core[q]], items.value[core[q]]
        for c in range(cap, size - 1, -1):
            with_it = table[c - size] + value
            if with_it > table[c]:
                table[c] = with_it
                taken[q, c] = True
    left, total = cap, 0.0
    for q in range(core.size - 1, -1, -1):
        if taken[q, left]:
            items.chosen[core[q]] = True
            total += items.value[core[q]]
            left -= items.size[core[q]]
    return total


@kernel(called=False)
def tabulate(items, cap):
    """Write best values by capacity; return those of all items. O(count cap) time."""
    count = items.count[0]
    items.before[0, : cap + 1] = 0.0
    items.after[count, : cap + 1] = 0.0
    for t in range(count):
        _with_one_more(items, t, items.before[t], items.before[t + 1], cap)
    for t in range(count - 1, -1, -1):
        _with_one_more(items, t, items.after[t + 1], items.after[t], cap)
    return items.before[count]


@kernel
def _with_one_more(items, t, table, result, cap):
    """Write the table of best values by capacity with item t more."""
    size, value = items.size[t], items.value[t]
    for c in range(size):
        result[c] = table[c]
    for c in range(size, cap + 1):
        result[c] = max(table[c], table[c - size] + value)


@kernel(called=False)
def best_beside(items, t, cap):
    """Return the best value of all tabulated items but t: the best split of a capacity."""
    best = 0.0
    for c in range(cap + 1):
        best = max(best, items.before[t, c] + items.after[t + 1, cap - c])
    return best
