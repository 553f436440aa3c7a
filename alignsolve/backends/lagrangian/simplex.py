"""Compiled dual simplex for one client's linear relaxation: few rows, boxed columns.

``max value x`` subject to ``rows x + s = cap``, ``0 <= x <= 1`` and ``0 <= s <= room``:
a budget has room for ever, slots with a minimum have room for their difference.
With every column boxed any basis whose unboxed slacks have prices of the right sign
is dual feasible, so that the basis of the pass before is a warm start for all prices.
A ratio test that flips columns past their breakpoints keeps pivots few (I. Maros, A
generalized dual phase-2 simplex algorithm, 2003, doi:10.1016/S0377-2217(02)00487-1).

The tableau is dense: with d rows and k columns a pivot takes O(d k) time, and d is
small. Rounding costs sharpness only, as bounds are recomputed from the rows' prices.
"""

from __future__ import annotations

from collections import namedtuple

import numpy as np

from alignsolve.kernels import kernel

#: Where a column is: at a bound, or in the basis.
LOWER, UPPER, BASIC = 0, 1, 2
#: What a run of pivots ends with.
SOLVED, EMPTY, STUCK = 0, 1, 2
#: Least pivot, and violation that counts, with rows scaled to a largest entry of 1 to 2.
PIVOT, VIOLATION = 1e-9, 1e-9
#: Pivots of a run, per row and in any case.
PIVOTS_PER_ROW, PIVOTS = 20, 40

#: A tableau, d rows and k columns, the last d of which are slacks. `table` (d, k) and
#: `gain` (k,): what the basis makes of the rows and of the values; `at` and `span`
#: (k,): place and length of each column; `basis` and `level` (d,): the basic column
#: of each row, and how much of it is taken.
Tableau = namedtuple("Tableau", "table gain at span basis level")


@kernel(called=False)
def new_tableau(d, k):
    """Return an empty tableau of d rows and k columns."""
    return Tableau(
        np.empty((d, k)), np.empty(k), np.empty(k, np.int8), np.empty(k),
        np.empty(d, np.int64), np.empty(d),
    )  # fmt: skip


@kernel(called=False)
def pivot(tableau, p, q, d, k):
    """Let column q enter the basis in row p; only `table` and `gain` change."""
    table, gain = tableau.table, tableau.gain
    inverse = 1.0 / table[p, q]
    for t in range(k):
        table[p, t] *= inverse
    table[p, q] = 1.0
    for i in range(d):
        factor = table[i, q]
        if i != p and factor != 0.0:
            for t in range(k):
                table[i, t] -= factor * table[p, t]
            table[i, q] = 0.0
    factor = gain[q]
    for t in range(k):
        gain[t] -= factor * table[p, t]
    gain[q] = 0.0


@kernel(called=False)
def drive_out(tableau, p, goal, d, k):
    """Bring the basic column of row p to a bound, another one entering; return a status.

    `EMPTY` where no column can make room: the rows contradict each other.
    """
    table, gain, at, span = tableau.table, tableau.gain, tableau.at, tableau.span
    level = tableau.level
    excess = level[p] - goal
    sign = 1.0 if excess > 0.0 else -1.0
    slope = abs(excess)
    while True:
        q, best, size = -1, np.inf, 0.0
        for t in range(k):
            if at[t] == BASIC:
                continue
            a, g = sign * table[p, t], -gain[t]
            if at[t] == UPPER:
                a, g = -a, -g
            if a > PIVOT:
                ratio = max(0.0, g) / a
                if ratio < best or (ratio == best and a > size):
                    q, best, size = t, ratio, a
        if q < 0:
            return EMPTY if slope > 1e-7 else STUCK
        rest = slope - size * span[q]
        if rest < 0.0:
            break
        change = span[q] if at[q] == LOWER else -span[q]
        for i in range(d):
            level[i] -= table[i, q] * change
        at[q] = UPPER if at[q] == LOWER else LOWER
        slope = rest
    change = (level[p] - goal) / table[p, q]
    amount = change + (span[q] if at[q] == UPPER else 0.0)
    for i in range(d):
        level[i] -= table[i, q] * change
    level[p] = amount
    at[tableau.basis[p]] = LOWER if goal == 0.0 else UPPER
    tableau.basis[p] = q
    at[q] = BASIC
    pivot(tableau, p, q, d, k)
    return SOLVED


@kernel
def _worst_row(tableau, d):
    """Return the row whose basic column is furthest out of bounds, else -1, and the bound."""
    p, worst, goal = -1, VIOLATION, 0.0
    for i in range(d):
        amount, span = tableau.level[i], tableau.span[tableau.basis[i]]
        if -amount > worst:
            p, worst, goal = i, -amount, 0.0
        elif amount - span > worst:
            p, worst, goal = i, amount - span, span
    return p, goal


@kernel(called=False)
def optimise(tableau, d, k):
    """Pivot until all basic columns are within their bounds; return a status, and the last row."""
    for _ in range(PIVOTS_PER_ROW * d + PIVOTS):
        p, goal = _worst_row(tableau, d)
        if p < 0:
            return SOLVED, p
        status = drive_out(tableau, p, goal, d, k)
        if status != SOLVED:
            return status, p
    return STUCK, -1


@kernel(called=False)
def start(tableau, rows, cap, room, value, d, k):
    """Set up the basis of slacks: every column of positive value at its upper bound."""
    items = k - d
    for t in range(items):
        tableau.gain[t] = value[t]
        tableau.span[t] = 1.0
    for i in range(d):
        tableau.gain[items + i] = 0.0
        tableau.span[items + i] = room[i]
        tableau.basis[i] = items + i
        for t in range(items):
            tableau.table[i, t] = rows[i, t]
        for t in range(d):
            tableau.table[i, items + t] = 1.0 if t == i else 0.0
    settle(tableau, cap, d, k)


@kernel(called=False)
def settle(tableau, cap, d, k):
    """Put columns at the bounds that their gains ask for; return whether that is possible."""
    items = k - d
    for t in range(k):
        tableau.at[t] = UPPER if tableau.gain[t] > 0.0 else LOWER
    for i in range(d):
        tableau.at[tableau.basis[i]] = BASIC
        # The slacks' columns are the inverse of the basis.
        tableau.level[i] = 0.0
        for t in range(d):
            tableau.level[i] += tableau.table[i, items + t] * cap[t]
    for t in range(k):
        if tableau.at[t] == UPPER:
            if tableau.span[t] == np.inf:
                return False
            for i in range(d):
                tableau.level[i] -= tableau.table[i, t] * tableau.span[t]
    return True


@kernel(called=False)
def enter(tableau, q, d, k):
    """Let a column enter the basis in place of a slack, where it is independent."""
    p, size = -1, 1e-6
    for i in range(d):
        if tableau.basis[i] >= k - d and abs(tableau.table[i, q]) > size:
            p, size = i, abs(tableau.table[i, q])
    if p >= 0:
        tableau.basis[p] = q
        pivot(tableau, p, q, d, k)


@kernel(called=False)
def price_rows(tableau, rows, cap, room, value, d, k, adjusted):
    """Write the values less the rows' prices; return the bound, safe from rounding.

    Any prices of the rows give a bound, negative ones where a row's room is finite.
    """
    items = k - d
    bound = 0.0
    for t in range(items):
        adjusted[t] = value[t]
    for i in range(d):
        price = -tableau.gain[items + i]
        if room[i] == np.inf:
            price = max(0.0, price)
        bound += price * cap[i]
        if price < 0.0:
            bound -= price * room[i]
        if price != 0.0:
            for t in range(items):
                adjusted[t] -= price * rows[i, t]
    for t in range(items):
        if adjusted[t] > 0.0:
            bound += adjusted[t]
    return bound


@kernel(called=False)
def is_contradiction(tableau, p, rows, cap, room, d, k):
    """Check from the original rows that row p, as the basis combines them, has no solution."""
    items = k - d
    largest = 0.0
    for i in range(d):
        largest = max(largest, abs(tableau.table[p, items + i]))
    goal, low, high, size = 0.0, 0.0, 0.0, 0.0
    for i in range(d):
        factor = tableau.table[p, items + i]
        if abs(factor) <= 1e-11 * largest:
            continue
        goal += factor * cap[i]
        size += abs(factor * cap[i])
        if factor > 0.0:
            high += factor * room[i]
        else:
            low += factor * room[i]
    for t in range(items):
        total = 0.0
        for i in range(d):
            factor = tableau.table[p, items + i]
            if abs(factor) > 1e-11 * largest:
                total += factor * rows[i, t]
        size += abs(total)
        high += max(0.0, total)
        low += min(0.0, total)
    return goal > high + 1e-10 * size or goal < low - 1e-10 * size
