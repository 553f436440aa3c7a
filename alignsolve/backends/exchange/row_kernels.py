"""Compiled passes over rows of the fitness matrix: best responses and their slack.

Names used by all kernels of this package: n clients, m experts, s clients of a
level (the whole problem, or a sample of its clients). Node m, the *null* expert,
stands for an unused slot: value 0, price 0, as many copies as a client's slots
beyond its minimum. With it every client holds exactly ``slot_max`` places, and
every change of an answer is a swap of one place for another.

A response's *slack* is the least loss, at the prices, of swapping one held place
for one not held: prices may move by that much against each other before the
response changes.
"""

from __future__ import annotations

import numpy as np

from alignsolve.backends.exchange.row_values import read_reduced
from alignsolve.kernels import kernel

_SIGN = np.int64(0x7FFFFFFFFFFFFFFF)
_LOWEST = np.int64(-(2**63))
#: Key of -inf: every key of a number is greater.
_LOWEST_FINITE = np.int64(-0x7FF0000000000001)
#: Two reduced values closer than this, relative to what they were computed from,
#: differ by rounding only. Below 1 for whole numbers up to 2**49: those stay exact.
TIE = 8e-16
#: Keeps a slack stored as float32 below the float64 slack it stands for (from 1e-38 on, where
#: float32 has all its digits).
_SHRINK = 1.0 - 2.0**-22


@kernel(called=False)
def largest_price(price):
    """Return the largest finite magnitude among prices: what rounding is relative to."""
    top = 0.0
    for j in range(price.size):
        if abs(price[j]) < np.inf:
            top = max(top, abs(price[j]))
    return top


@kernel
def _neediest(reduced, near, share, seen, load, m):
    """Return the expert worth `near` or more that lags its share of the block most, or -1."""
    pick = -1
    lag = -np.inf
    for j in range(m):
        if reduced[j] >= near:
            d = share[j] * seen - load[j]
            if d > lag:
                lag = d
                pick = j
    return pick


@kernel
def _near_best(reduced, tol, kept, share, seen, load, m):
    """Choose among the best values, to within `tol` of the best; return it and the gap after it.

    The gap is 0 where several are that good: then the expert `kept` stays if it is
    one of them (-1: none is kept), else the one that lags its share most is chosen.
    """
    top = -np.inf
    pick = 0
    for j in range(m):
        if reduced[j] > top:
            top = reduced[j]
            pick = j
    n_near = 0
    second = -np.inf
    for j in range(m):
        if reduced[j] >= top - tol:
            n_near += 1
        else:
            second = max(second, reduced[j])
    if n_near == 1:
        return pick, top - second
    if kept >= 0 and reduced[kept] >= top - tol:
        return kept, 0.0
    return _neediest(reduced, top - tol, share, seen, load, m), 0.0


@kernel
def response_ones(matrix, limits, chosen, lo, hi, widest, price, share, keep, answer, slack,
                  runner_up, load):  # fmt: skip
    """Respond as `response_manys` for clients of at most one slot: its fast case.

    Floats are compared through integer keys of the same order, because compilers
    turn maxima of integers, not of floats, into vector instructions. The last bits
    of a key are the expert's number, so that a maximum tells where it is; where the
    best two differ in those bits alone, the row is looked at again without keys. No
    function is called on the common path: a call costs more than reading a row.
    """
    rows, slot_min, slot_max = limits[:3]
    ptr, held, count = answer
    m = price.size - 1
    reduced = np.empty(m, np.float64)
    bits = reduced.view(np.int64)
    keys = np.empty(m, np.int64)
    word = np.empty(1, np.float64)
    word_bits = word.view(np.int64)
    number = np.int64(1)
    while number < m:
        number *= 2
    number -= 1
    p_max = largest_price(price)
    (single, double), cost = matrix[:2]
    is_single, costly = single.size > 0, cost.size > 0
    some = chosen.size > 0
    sampled = rows.size > 0
    bad = -1
    for c in range(lo, hi):
        k = chosen[c] if some else c
        i = rows[k] if sampled else k
        runner_up[k] = m + 1
        slack[k] = np.inf
        least = slot_min[i]
        if slot_max[i] <= 0:
            count[k] = 0
            if least > 0:
                bad = k
            continue
        if costly:
            read_reduced(matrix, i, price, reduced)
        elif is_single:
            for j in range(m):
                reduced[j] = np.float64(single[i, j]) - price[j]
        else:
            for j in range(m):
                reduced[j] = double[i, j] - price[j]
        best = _LOWEST
        for j in range(m):
            b = bits[j]
            key = ((b ^ ((b >> np.int64(63)) & _SIGN)) & ~number) | np.int64(j)
            keys[j] = key
            best = max(best, key)
        pick = best & number
        top = reduced[pick]
        if top == -np.inf:
            count[k] = 0
            if least > 0:
                bad = k
            continue
        second = _LOWEST
        for j in range(m):
            key = keys[j]
            second = max(second, key if key != best else _LOWEST)
        # No value but the best is greater than this.
        rest = second | number
        gap = np.inf
        if rest > _LOWEST_FINITE:
            word_bits[0] = rest ^ ((rest >> np.int64(63)) & _SIGN)
            gap = top - word[0]
            runner_up[k] = second & number
            tol = TIE * (p_max + abs(top))
            if gap <= tol:
                kept = np.int64(held[ptr[k]]) if keep and count[k] == 1 else np.int64(-1)
                pick, gap = _near_best(reduced, tol, kept, share, c - lo + 1, load, m)
                top = reduced[pick]
                if gap == 0.0:
                    runner_up[k] = m + 1
                elif runner_up[k] == pick:
                    runner_up[k] = best & number
        if least == 0 and top <= max(gap, TIE * p_max):
            tied = abs(top) <= TIE * p_max
            if tied:
                gap = 0.0
                none = count[k] == 0 if keep else share[pick] * (c - lo + 1) <= load[pick]
            else:
                none = top < 0.0
            if none:
                count[k] = 0
                runner_up[k] = -1 - pick
                slack[k] = 0.0 if tied else np.float32(-top * _SHRINK)
                continue
            gap = 0.0 if tied else top
            runner_up[k] = m
        held[ptr[k]] = pick
        count[k] = 1
        load[pick] += 1
        slack[k] = np.float32(gap * _SHRINK)
    return bad


@kernel
def response_manys(matrix, limits, chosen, lo, hi, widest, price, share, keep, answer, slack,
                   runner_up, load):  # fmt: skip
    """Give clients of a level their best responses to the prices.

    Parameters
    ----------
    matrix : tuple
        Values, only read; see `alignsolve.backends.exchange.inputs.Matrix.read`.
    limits : tuple
        What bounds a client's experts; see `alignsolve.backends.exchange.inputs.Matrix.limits`.
    chosen : int64 array, shape (c,) or (0,)
        Clients of the level to work on; empty for all.
    lo, hi : int
        The part of `chosen`, or of the level, to work on.
    widest : int
        Most slots of a client of the level.
    price : float64 array, shape (m + 1,)
        Prices; 0 for the null expert, +inf for an expert that nobody may hold.
    share : float64 array, shape (m,)
        Wanted holders of each expert per client of the level; settles ties.
    keep : bool
        Settle ties for what is held already.
    answer : tuple of int64 (s + 1,), int32 (ptr[-1],), int32 (s,)
        The answer ``ptr, held, count``: client k holds ``held[ptr[k] : ptr[k] + count[k]]``,
        the least wanted last. Written.
    slack : float32 array, shape (s,)
        Slack of each response, rounded down. Written.
    runner-up : int32 array, shape (s,)
        The swap of least loss: expert u (m for the null expert) for the one held
        last; ``-1 - u`` for u instead of an unused slot; m + 1 for several or none.
        It is found to about 14 digits.
    load : int64 array, shape (m + 1,)
        Holders given out by this call are added.

    Returns
    -------
    int
        A client of the level without any response, or -1.
    """
    rows, slot_min, slot_max = limits[:3]
    ptr, held, count = answer
    m = price.size - 1
    reduced = np.empty(m, np.float64)
    bits = reduced.view(np.int64)
    keys = np.empty(m, np.int64)
    top_v = np.empty(widest + 1, np.float64)
    top_j = np.empty(widest + 1, np.int32)
    p_max = largest_price(price)
    tol0 = TIE * p_max
    (single, double), cost = matrix[:2]
    is_single, costly = single.size > 0, cost.size > 0
    some = chosen.size > 0
    sampled = rows.size > 0
    bad = -1
    for c in range(lo, hi):
        k = chosen[c] if some else c
        i = rows[k] if sampled else k
        a = slot_min[i]
        b = slot_max[i]
        runner_up[k] = m + 1
        slack[k] = np.inf
        if b <= 0:
            count[k] = 0
            if a > 0:
                bad = k
            continue
        if costly:
            read_reduced(matrix, i, price, reduced)
        elif is_single:
            for j in range(m):
                reduced[j] = np.float64(single[i, j]) - price[j]
        else:
            for j in range(m):
                reduced[j] = double[i, j] - price[j]
        for j in range(m):
            word = bits[j]
            keys[j] = word ^ ((word >> np.int64(63)) & _SIGN)
        # The best b, and the one after them, by one vectorised maximum each.
        size = 0
        while size <= b and size < m:
            best = _LOWEST
            for j in range(m):
                best = max(best, keys[j])
            if best <= _LOWEST_FINITE:
                break
            j = 0
            while keys[j] != best:
                j += 1
            keys[j] = _LOWEST
            top_v[size] = reduced[j]
            top_j[size] = j
            size += 1
        if size < a:
            count[k] = 0
            bad = k
            continue
        seen = c - lo + 1
        t = a
        least = np.inf
        while t < b and t < size:
            if abs(top_v[t]) <= tol0:
                least = 0.0
                if share[top_j[t]] * seen <= load[top_j[t]]:
                    break
            elif top_v[t] < 0.0:
                break
            t += 1
        if t > a and top_v[t - 1] < least:
            least = max(0.0, top_v[t - 1])
            runner_up[k] = m
        if t < b and t < size and -top_v[t] < least:
            least = max(0.0, -top_v[t])
            runner_up[k] = -1 - top_j[t]
        if t > 0 and t < size:
            tol = TIE * (p_max + abs(top_v[t - 1]))
            gap = top_v[t - 1] - top_v[t]
            if gap < least:
                least = gap if gap > tol else 0.0
                runner_up[k] = top_j[t]
            if gap <= tol:
                _settle_ties(k, t, reduced, top_v, top_j, tol, share, seen, keep,
                             ptr[k], held, count, load, m)  # fmt: skip
        for q in range(t):
            held[ptr[k] + q] = top_j[q]
            load[top_j[q]] += 1
        count[k] = t
        slack[k] = np.float32(least * _SHRINK)
    return bad


@kernel
def _settle_ties(k, c, reduced, top_v, top_j, tol, share, seen, keep,
                 start, held, count, load, m):  # fmt: skip
    """Choose among experts tied at the edge of the best c: first held ones, then needy ones."""
    edge = top_v[c - 1]
    q = c
    while q > 0 and top_v[q - 1] <= edge + tol:
        q -= 1
    # Those that are better than tied stay, and are not chosen once more.
    for w in range(q):
        reduced[top_j[w]] = -np.inf
    if keep:
        for w in range(count[k]):
            j = held[start + w]
            if q < c and abs(reduced[j] - edge) <= tol:
                top_j[q] = j
                q += 1
                reduced[j] = -np.inf
    while q < c:
        j = _neediest(reduced, edge - tol, share, seen, load, m)
        if j < 0:
            break
        top_j[q] = j
        q += 1
        reduced[j] = -np.inf


@kernel
def slack_rows(matrix, limits, lo, hi, price, answer, slack):
    """Recompute the slack of what clients ``lo..hi`` of a level hold, at new prices."""
    rows, slot_min, slot_max = limits[:3]
    ptr, held, count = answer
    m = price.size - 1
    reduced = np.empty(m, np.float64)
    for k in range(lo, hi):
        i = rows[k] if rows.size > 0 else k
        read_reduced(matrix, i, price, reduced)
        least = np.inf
        for q in range(ptr[k], ptr[k] + count[k]):
            least = min(least, reduced[held[q]])
            reduced[held[q]] = -np.inf
        best = -np.inf
        for j in range(m):
            best = max(best, reduced[j])
        s = np.inf
        if least < np.inf and best > -np.inf:
            s = least - best
        if count[k] > slot_min[i]:
            s = min(s, least)
        if count[k] < slot_max[i]:
            s = min(s, -best)
        slack[k] = np.float32(max(s, 0.0) * _SHRINK)
