"""Compiled best responses and slack of clients whose slots several layer groups share.

What a client may hold within groups and slots is a laminar system: the best of each group up to its
minimum, then the best of all groups that are not full. A held set is best exactly if no single
swap, drop or addition within the bounds gains (K Murota, Discrete Convex Analysis, 2003,
doi:10.1137/1.9780898718508); the least loss of one is the slack. Names are those of
`alignsolve.backends.exchange.row_kernels`; groups are ranges ``start[g]`` to ``start[g + 1] - 1``
of experts, of which client i holds ``low[i, g]`` to ``high[i, g]``.
"""

from __future__ import annotations

import numpy as np

from alignsolve.backends.exchange.row_kernels import TIE, largest_price
from alignsolve.backends.exchange.row_values import read_reduced
from alignsolve.kernels import kernel
from alignsolve.kernels.values import holds_any

_SHRINK = 1.0 - 2.0**-22


@kernel
def _best_of(reduced, taken, first, last):
    """Return the best expert of a range that is not taken, or -1."""
    top, pick = -np.inf, -1
    for j in range(first, last):
        if reduced[j] > top and not taken[j]:
            top, pick = reduced[j], j
    return pick


@kernel
def _settled(pick, reduced, taken, first, last, tol, share, seen, load, kept):
    """Return which expert of a range, of those as good as the best, to take.

    Kept ones come first, then the one that lags its share of the block most.
    """
    lag, found = -np.inf, pick
    for j in range(first, last):
        if reduced[j] >= reduced[pick] - tol and not taken[j]:
            if kept[j]:
                return j
            if share[j] * seen - load[j] > lag:
                lag, found = share[j] * seen - load[j], j
    return found


@kernel
def _open_group(i, reduced, best, size, high):
    """Return the group that is not full whose best untaken expert is worth most, or -1."""
    top, found = -np.inf, -1
    for g in range(best.size):
        if best[g] >= 0 and size[g] < high[i, g] and reduced[best[g]] > top:
            top, found = reduced[best[g]], g
    return found


@kernel
def _take(i, limits, reduced, settle, tol, share, seen, load, kept, taken, size, best, last,
          order):  # fmt: skip
    """Take a client's best experts within slots and groups; return how many, or -1 for none.

    Parameters
    ----------
    settle : bool
        Settle ties, as `_settled`, and for experts that are worth nothing, keep what is held.
    tol : float
        Values this close differ by rounding.
    taken : bool array, shape (m,)
        Written, as are the following.
    size, best, last : int64 arrays, shape (n_groups,)
        Experts taken from each group, its best one left (-1: none), and its worst one taken.
    order : int64 array, shape (m,)
        What was taken, in order.
    """
    _, slot_min, slot_max, _, start, low, high = limits
    a, b = slot_min[i], slot_max[i]
    total = 0
    taken[:] = False
    for g in range(best.size):
        size[g] = 0
        last[g] = -1
        best[g] = _best_of(reduced, taken, start[g], start[g + 1])
    g = 0
    while True:
        while g < best.size and size[g] == low[i, g]:
            g += 1
        of = g
        if g == best.size:
            of = _open_group(i, reduced, best, size, high) if total < b else -1
            if of < 0:
                break
        elif best[g] < 0:
            return -1
        pick = best[of]
        worth = reduced[pick]
        if settle:
            if g < best.size:
                pick = _settled(pick, reduced, taken, start[g], start[g + 1], tol, share, seen,
                                load, kept)  # fmt: skip
            else:
                lag, found = -np.inf, -1
                for e in range(best.size):
                    if best[e] < 0 or size[e] >= high[i, e] or reduced[best[e]] < worth - tol:
                        continue
                    j = _settled(best[e], reduced, taken, start[e], start[e + 1], tol, share,
                                 seen, load, kept)  # fmt: skip
                    far = np.inf if kept[j] else share[j] * seen - load[j]
                    if far > lag or found < 0:
                        lag, found, of = far, j, e
                pick = found
        if g == best.size and total >= a:
            if worth < -tol:
                break
            if worth <= tol:
                if settle and not kept[pick] and holds_any(kept):
                    break
                if not (settle and kept[pick]) and share[pick] * seen <= load[pick]:
                    break
        taken[pick] = True
        order[total] = pick
        total += 1
        size[of] += 1
        if last[of] < 0 or reduced[pick] < reduced[last[of]]:
            last[of] = pick
        best[of] = _best_of(reduced, taken, start[of], start[of + 1])
    return total if total >= a else -1


@kernel
def _least_swap(i, limits, total, reduced, size, best, last):
    """Return the least loss of a swap within the bounds, what it gives, and what it takes.

    Parameters
    ----------
    size, best, last : int64 arrays, shape (n_groups,)
        As `_take` writes them.

    Returns
    -------
    loss : float
        +inf for no swap at all.
    given, gained : int
        Experts; -1 stands for an unused slot.
    """
    _, slot_min, slot_max, _, _, low, high = limits
    least, given, gained = np.inf, -1, -1
    drop, add = -1, -1
    for g in range(best.size):
        h, u = last[g], best[g]
        if h >= 0 and u >= 0 and reduced[h] - reduced[u] < least:
            least, given, gained = reduced[h] - reduced[u], h, u
        if h >= 0 and size[g] > low[i, g] and (drop < 0 or reduced[h] < reduced[drop]):
            drop = h
        if u >= 0 and size[g] < high[i, g] and (add < 0 or reduced[u] > reduced[add]):
            add = u
    if drop >= 0 and add >= 0 and reduced[drop] - reduced[add] < least:
        least, given, gained = reduced[drop] - reduced[add], drop, add
    if drop >= 0 and total > slot_min[i] and reduced[drop] < least:
        least, given, gained = reduced[drop], drop, -1
    if add >= 0 and total < slot_max[i] and -reduced[add] < least:
        least, given, gained = -reduced[add], -1, add
    return least, given, gained


@kernel
def respond_in_groups(matrix, limits, chosen, lo, hi, widest, price, share, keep, answer, slack,
                      runner_up, load):  # fmt: skip
    """Give clients their best responses, as `row_kernels.response_manys` does without groups."""
    rows, start = limits[0], limits[4]
    ptr, held, count = answer
    m, n_groups = price.size - 1, start.size - 1
    reduced = np.empty(m, np.float64)
    taken, kept = np.zeros(m, np.bool_), np.zeros(m, np.bool_)
    order = np.empty(m, np.int64)
    size, best = np.empty(n_groups, np.int64), np.empty(n_groups, np.int64)
    last = np.empty(n_groups, np.int64)
    p_max = largest_price(price)
    bad = -1
    for c in range(lo, hi):
        k = chosen[c] if chosen.size > 0 else c
        i = rows[k] if rows.size > 0 else k
        read_reduced(matrix, i, price, reduced)
        total = _take(i, limits, reduced, False, TIE * p_max, share, c - lo + 1, load, kept, taken,
                      size, best, last, order)  # fmt: skip
        if total < 0:
            count[k] = 0
            slack[k] = np.inf
            runner_up[k] = m + 1
            bad = k
            continue
        least, given, gained = _least_swap(i, limits, total, reduced, size, best, last)
        at = given if given >= 0 else gained
        tol = TIE * (p_max + (abs(reduced[at]) if at >= 0 else 0.0))
        if least <= tol:
            if keep:
                for q in range(ptr[k], ptr[k] + count[k]):
                    kept[held[q]] = True
            total = _take(i, limits, reduced, True, tol, share, c - lo + 1, load, kept, taken, size,
                          best, last, order)  # fmt: skip
            kept[:] = False
            least, given, gained = 0.0, -1, -1
        for q in range(total):
            # What would be given up stands last.
            if order[q] == given:
                order[q], order[total - 1] = order[total - 1], given
        for q in range(total):
            held[ptr[k] + q] = order[q]
            load[order[q]] += 1
        count[k] = total
        slack[k] = np.float32(max(least, 0.0) * _SHRINK)
        runner_up[k] = m + 1
        if given >= 0:
            runner_up[k] = gained if gained >= 0 else m
        elif gained >= 0:
            runner_up[k] = -1 - gained
    return bad


@kernel
def slack_in_groups(matrix, limits, lo, hi, price, answer, slack):
    """Recompute the slack of what clients ``lo..hi`` of a level hold, at new prices."""
    rows, start = limits[0], limits[4]
    ptr, held, count = answer
    m, n_groups = price.size - 1, start.size - 1
    reduced = np.empty(m, np.float64)
    taken = np.zeros(m, np.bool_)
    size, best = np.empty(n_groups, np.int64), np.empty(n_groups, np.int64)
    last = np.empty(n_groups, np.int64)
    for k in range(lo, hi):
        i = rows[k] if rows.size > 0 else k
        read_reduced(matrix, i, price, reduced)
        for q in range(ptr[k], ptr[k] + count[k]):
            taken[held[q]] = True
        for g in range(n_groups):
            size[g] = 0
            last[g] = -1
            for j in range(start[g], start[g + 1]):
                if taken[j]:
                    size[g] += 1
                    if last[g] < 0 or reduced[j] < reduced[last[g]]:
                        last[g] = j
            best[g] = _best_of(reduced, taken, start[g], start[g + 1])
        least, _, _ = _least_swap(i, limits, count[k], reduced, size, best, last)
        slack[k] = np.float32(max(least, 0.0) * _SHRINK)
        for q in range(ptr[k], ptr[k] + count[k]):
            taken[held[q]] = False
