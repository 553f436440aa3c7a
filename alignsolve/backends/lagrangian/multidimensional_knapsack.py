"""Compiled search for a client's best set: budgets, slots, groups, minima, a floor, all as rows.

The linear relaxation (`simplex`) prices the rows. A set's value is at most the
relaxation's bound less what each departure from the prices costs: an expert left out
that they would take, or taken that they would leave. Depth first in order of adjusted
value, the sets within reach of the best known are few (E. Balas and E. Zemel, An
algorithm for large zero-one knapsack problems, 1980, doi:10.1287/opre.28.5.1130, for
one row; S. Martello and P. Toth, An exact algorithm for the two-constraint 0-1 knapsack
problem, 2003, doi:10.1287/opre.51.5.826.12757, for two).
"""

from __future__ import annotations

from collections import namedtuple

import numpy as np

from alignsolve.backends.lagrangian.set_search import arrange, find_segments, search
from alignsolve.backends.lagrangian.simplex import (
    EMPTY,
    SOLVED,
    STUCK,
    UPPER,
    enter,
    is_contradiction,
    new_tableau,
    optimise,
    price_rows,
    settle,
    start,
)
from alignsolve.kernels import kernel

#: What a client's rows are: sizes with budgets, minima beside them, or with entries below 0.
PLAIN, MINIMA, MIXED = 2, 1, 0
#: Sets are told apart down to this share of the largest value.
TIE = 1e-12
#: How far below the relaxation's bound a set with minima is sought first, as a share of what all
#: experts cost or gain, and by what factor farther from search to search.
FIRST_WIDTH, WIDER = 2.0**-14, 2.0
#: Nodes of each search for any set, once those given to find the best one are used up.
DIVE = 1000

#: Scratch space of one client after the other; see `new_work`. The client's rows and
#: experts that matter: `rows` (d, k), `cap`, `room` (d,), `value`, `adjusted` (k,), and
#: the experts' numbers `item` and segments `segment` (k,). `root`: a tableau. The search:
#: experts in `order`, where the segment after theirs begins `after`, their rows as columns
#: `size` (k, d), with `worth` and `gain` (k,), the least that those after each take of a row
#: `least` (k, d), the most that those from each on do `most` (k, d), the sum of their gains
#: `rest` (k,); the path's places `path` (k,), what it takes `use` (k, d), values `total` and
#: bounds `reach` (k,).
Work = namedtuple(
    "Work",
    "rows cap room value adjusted item segment root order after size worth gain least most rest "
    "path use total reach",
)


@kernel(called=False)
def new_work(m, d):
    """Return scratch space for m experts and d rows."""
    k = m + d
    return Work(
        np.empty((d, k)), np.empty(d), np.empty(d), np.empty(k), np.empty(k),
        np.empty(k, np.int64), np.zeros(k, np.int64), new_tableau(d, k), np.empty(k, np.int64),
        np.empty(k, np.int64), np.empty((k, d)), np.empty(k), np.empty(k), np.empty((k, d)),
        np.empty((k + 1, d)), np.empty(k + 1), np.empty(k + 1, np.int64), np.empty((k + 1, d)),
        np.empty(k + 1), np.empty(k + 1),
    )  # fmt: skip


@kernel
def _collect(reduced, sizes, cap, room, plain, work):
    """List the experts and rows that matter, scaled; return how many of both.

    The number of experts is -1 where a row cannot hold.

    Without minima, experts of no value or too large for a budget do not matter; a row
    does not that no set breaks.
    """
    m, items = reduced.size, 0
    for j in range(m):
        fits = reduced[j] > (0.0 if plain else -np.inf)
        if plain:
            for i in range(cap.size):
                fits = fits and sizes[i, j] <= cap[i]
        if fits:
            work.item[items] = j
            work.value[items] = reduced[j]
            items += 1
    d = 0
    for i in range(cap.size):
        most, least, largest = 0.0, 0.0, 0.0
        for t in range(items):
            a = sizes[i, work.item[t]]
            largest = max(largest, abs(a))
            if a > 0.0:
                most += a
            else:
                least += a
        low = -np.inf if plain or room[i] == np.inf else cap[i] - room[i]
        if most <= cap[i] and least >= low:
            continue
        if least > cap[i] or most < low:
            return -1, d
        # A power of two rounds nothing; the largest entry is from 1 to 2 then.
        scale = 2.0 ** -np.floor(np.log2(largest))
        work.cap[d], work.room[d] = cap[i] * scale, np.inf if plain else room[i] * scale
        for t in range(items):
            work.rows[d, t] = sizes[i, work.item[t]] * scale
        d += 1
    return items, d


@kernel
def _place_of(j, item, items):
    """Return where an expert is listed, or -1; `np.searchsorted` takes 1 s to compile."""
    low, high = 0, items
    while low < high:
        middle = (low + high) // 2
        if item[middle] < j:
            low = middle + 1
        else:
            high = middle
    return low if low < items and item[low] == j else -1


@kernel
def _relax(work, known, m, items, d):
    """Solve the linear relaxation, from a known basis where it serves.

    Returns a status, and the row that it ended with.

    `known` (n_rows,) holds an expert, or m plus a row, for each row; it is updated.
    """
    k = items + d
    root = work.root
    start(root, work.rows, work.cap, work.room, work.value, d, k)
    entered = False
    for r in range(known.size):
        if 0 <= known[r] < m:
            t = _place_of(known[r], work.item, items)
            if t >= 0:
                enter(root, t, d, k)
                entered = True
    serves = not entered or settle(root, work.cap, d, k)
    status, p = optimise(root, d, k) if serves else (STUCK, -1)
    if status != SOLVED and entered:
        start(root, work.rows, work.cap, work.room, work.value, d, k)
        status, p = optimise(root, d, k)
    known[:] = -1
    if status == SOLVED:
        for i in range(d):
            t = root.basis[i]
            known[i] = work.item[t] if t < items else -1
    return status, p


@kernel
def _whole_set(reduced, work, items, best):
    """Take every expert of positive value; return the value."""
    total = 0.0
    for t in range(items):
        j = work.item[t]
        best[j] = reduced[j] > 0.0
        if best[j]:
            total += reduced[j]
    return total


@kernel(called=False)
def best_set(reduced, sizes, cap, room, known, kind, nodes, gap, least, best, work):
    """Find a client's best set.

    Parameters
    ----------
    reduced : float64 array, shape (m,)
        Values less prices; -inf forbids.
    sizes : float64 array, shape (n_rows, m)
        Rows of sizes.
    cap, room : float64 array, shape (n_rows,)
        Their upper bounds, and how far below these they may stay; +inf for any far.
    known : int16 array, shape (n_rows,)
        Basis to start from; updated.
    kind : int
        `PLAIN`, `MINIMA` or `MIXED`.
    nodes : int
        Nodes after which the search stops.
    gap : float
        Gap that may stay open, in units of value.
    least : float
        Sets of no more value than this are of no interest.
    best : bool array, shape (m,)
        The set found, on return.
    work : Work
        Scratch space.

    Returns
    -------
    value, upper : float
        Value of the set (-inf for none found), and a bound on every set's value, or
        `least` where that is more.
    """
    plain = kind != MIXED
    while True:
        best[:] = False
        items, d, upper = _bound(reduced, sizes, cap, room, known, plain, best, work)
        tie = TIE * abs(upper) + gap
        if upper == -np.inf or (d > 0 and upper <= least + tie):
            return -np.inf, upper
        value = upper
        if d > 0 and not plain:
            return _widen(work, items, d, upper, nodes, tie, best, least)
        if d > 0:
            work.segment[:items] = 0
            base = _base(work, items, upper)
            floor = max(least, _rounded(work, items))
            count = arrange(work, items, d, upper - floor + tie)
            value, left, _ = search(work, count, d, base, nodes, tie, True, False, best, least)
            # What is out of reach of the floor was left out.
            upper = min(upper, max(left, floor))
        if not plain or kind == PLAIN or value == -np.inf or _reaches(sizes, cap, room, best):
            return value, upper
        if upper <= least:
            return -np.inf, upper
        if upper <= 0.0:
            value = _single(reduced, sizes, cap, room, best)
            if value > -np.inf:
                return value, value
        # Without its minima the client would choose too little.
        plain = False


@kernel
def _reaches(sizes, cap, room, best):
    """Tell whether a set keeps the minima."""
    for i in range(cap.size):
        if room[i] < np.inf:
            total = 0.0
            for j in range(best.size):
                if best[j]:
                    total += sizes[i, j]
            if total < cap[i] - room[i]:
                return False
    return True


@kernel
def _single(reduced, sizes, cap, room, best):
    """Mark the best single expert, where no set is worth more; return its value, else -inf."""
    best[:] = False
    at, value = -1, -np.inf
    for j in range(best.size):
        if reduced[j] > value:
            fits = True
            for i in range(cap.size):
                fits = fits and sizes[i, j] <= cap[i]
            if fits:
                at, value = j, reduced[j]
    if at >= 0:
        best[at] = True
        if _reaches(sizes, cap, room, best):
            return value
    return -np.inf


@kernel
def _bound(reduced, sizes, cap, room, known, plain, best, work):
    """Return how many experts and rows matter, and the relaxation's bound: -inf for no set.

    Where no row matters, the best set is marked, and the bound is its value.
    """
    items, d = _collect(reduced, sizes, cap, room, plain, work)
    if items < 0:
        return items, d, -np.inf
    if d == 0:
        return items, d, _whole_set(reduced, work, items, best)
    root, k = work.root, items + d
    status, p = _relax(work, known, reduced.size, items, d)
    if status == EMPTY and is_contradiction(root, p, work.rows, work.cap, work.room, d, k):
        return items, d, -np.inf
    return items, d, price_rows(root, work.rows, work.cap, work.room, work.value, d, k,
                                work.adjusted)  # fmt: skip


@kernel
def _base(work, items, upper):
    """Return the bound less the gains of all that the prices take."""
    for t in range(items):
        upper -= max(0.0, work.adjusted[t])
    return upper


@kernel
def _widen(work, items, d, upper, nodes, tie, best, least):
    """Search for a set ever farther below the bound, where there is none in hand to prune by.

    Returns its value and a bound on all sets. Where the nodes end before there is one, any set is
    better than none: what is left out then are the sets that are least likely.
    """
    find_segments(work, items, d)
    base, total = _base(work, items, upper), 0.0
    for t in range(items):
        total += abs(work.adjusted[t])
    width, value, bound, lean = FIRST_WIDTH * total, -np.inf, upper, False
    while True:
        floor = max(least, upper - width) if width < total else least
        count = arrange(work, items, d, upper - floor + tie)
        value, left, rest = search(work, count, d, base, DIVE if lean else nodes, tie, False, lean,
                                   best, floor)  # fmt: skip
        if not lean:
            bound, nodes, lean = min(bound, max(left, floor)), rest, rest <= 0
        if value > -np.inf or floor == least:
            return value, bound
        width *= WIDER


@kernel
def _rounded(work, items):
    """Return the value of what the relaxation takes whole, for a client without minima."""
    total = 0.0
    for t in range(items):
        if work.root.at[t] == UPPER:
            total += work.value[t]
    return total
