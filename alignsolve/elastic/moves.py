"""Compiled small moves: one client adds, drops or swaps an expert, or two exchange theirs.

What is missed of bounds, times its price, comes first, and value second. Shapes: a
block of n clients, m experts, L loads (holders and named ones), R rows that never give
way (budgets and slots), S rows that may, from below (minima and floors).
"""

from __future__ import annotations

from collections import namedtuple

import numpy as np

from alignsolve.kernels import kernel

#: Bounds of the loads, each (L, m), and the loads now, changed in place.
Loads = namedtuple("Loads", "low high price amount")

#: A block of clients: value (n, m), -inf forbids; weight (L, n); rows that are never relaxed,
#: hard (R, n, m) with their cap (R, n); of rows that may, soft (S, n, m), the floor (S, n)
#: and its price (S, n).
Block = namedtuple("Block", "value weight hard cap soft floor price")


@kernel
def _missed(loads, k, j, amount):
    """Return what a load of an expert costs."""
    low, high = loads.low[k, j], loads.high[k, j]
    over = 0.0
    if amount < low:
        over = low - amount
    if amount > high:
        over = max(over, 0.0) + amount - high
    return loads.price[k, j] * over


@kernel
def _shift(loads, j, change, sign):
    """Return what changes if the loads of an expert change by (L,) times a sign."""
    total = 0.0
    for k in range(change.size):
        now = loads.amount[k, j]
        total += _missed(loads, k, j, now + sign * change[k]) - _missed(loads, k, j, now)
    return total


@kernel
def _sums(rows, i, held):
    """Return what the held experts of a client sum up to in each row, (rows,)."""
    total = np.zeros(rows.shape[0])
    for j in range(held.size):
        if held[j]:
            for r in range(total.size):
                total[r] += rows[r, i, j]
    return total


@kernel
def _own(block, i, used, has, drop, add):
    """Return what a move changes of the client's own misses; inf where it is not allowed.

    `drop` and `add` are experts, or -1; `used` and `has` are the sums of its rows.
    """
    for r in range(used.size):
        after = used[r]
        if drop >= 0:
            after -= block.hard[r, i, drop]
        if add >= 0:
            after += block.hard[r, i, add]
        # Dropping an expert is always allowed, whatever it leaves.
        if after > block.cap[r, i] and add >= 0:
            return np.inf
    total = 0.0
    for s in range(has.size):
        after = has[s]
        if drop >= 0:
            after -= block.soft[s, i, drop]
        if add >= 0:
            after += block.soft[s, i, add]
        floor = block.floor[s, i]
        total += block.price[s, i] * (max(floor - after, 0.0) - max(floor - has[s], 0.0))
    return total


@kernel
def _put(block, loads, held, i, drop, add):
    """Make a move."""
    for k in range(loads.amount.shape[0]):
        if drop >= 0:
            loads.amount[k, drop] -= block.weight[k, i]
        if add >= 0:
            loads.amount[k, add] += block.weight[k, i]
    if drop >= 0:
        held[i, drop] = False
    if add >= 0:
        held[i, add] = True


@kernel
def improve(block, loads, held, slack, least):
    """Let every client in turn make its best move.

    Parameters
    ----------
    block, loads
        See `Block` and `Loads`.
    held : bool array, shape (n, m)
        The assignment, changed in place.
    slack : float
        Changes of the priced misses that count as none.
    least : float
        Changes of value that count.

    Returns
    -------
    int
        Clients that moved.
    """
    n, m = block.value.shape
    moved = 0
    adding, taken, weight = np.empty(m), np.empty(m, np.int64), np.empty(loads.amount.shape[0])
    for i in range(n):
        used, has = _sums(block.hard, i, held[i]), _sums(block.soft, i, held[i])
        for k in range(weight.size):
            weight[k] = block.weight[k, i]
        n_taken = 0
        for j in range(m):
            adding[j] = _shift(loads, j, weight, 1.0) if block.value[i, j] > -np.inf else np.inf
            if held[i, j]:
                taken[n_taken] = j
                n_taken += 1
        best, gain, best_drop, best_add = np.inf, -np.inf, -1, -1
        for d in range(-1, n_taken):
            drop = taken[d] if d >= 0 else -1
            dropping = _shift(loads, drop, weight, -1.0) if d >= 0 else 0.0
            lost = block.value[i, drop] if d >= 0 else 0.0
            for add in range(-1, m):
                if add >= 0 and (held[i, add] or adding[add] == np.inf):
                    continue
                if drop < 0 and add < 0:
                    continue
                change = dropping + (adding[add] if add >= 0 else 0.0)
                if change > min(best, 0.0) + slack and block.soft.shape[0] == 0:
                    continue
                change += _own(block, i, used, has, drop, add)
                value = (block.value[i, add] if add >= 0 else 0.0) - lost
                if change < best - slack or (change <= best + slack and value > gain):
                    best, gain, best_drop, best_add = min(best, change), value, drop, add
        if best < -slack or (best <= slack and gain > least):
            _put(block, loads, held, i, best_drop, best_add)
            moved += 1
    return moved


@kernel
def exchange(block, loads, held, slack, most):
    """Let clients exchange an expert that misses a bound for one of another client.

    Parameters
    ----------
    block, loads, held, slack
        As for `improve`; the block must hold all clients.
    most : int
        Exchanges looked at at most.

    Returns
    -------
    moved, left : int
        Exchanges made, and what is left of `most`.
    """
    n, m = held.shape
    moved = 0
    change = np.empty(loads.amount.shape[0])
    for j in range(m):
        for a in range(n):
            misses = 0.0
            for k in range(change.size):
                misses += _missed(loads, k, j, loads.amount[k, j])
            if misses <= slack:
                break
            if not held[a, j]:
                continue
            used, has = _sums(block.hard, a, held[a]), _sums(block.soft, a, held[a])
            best, gain, best_b, best_t = -slack, -np.inf, -1, -1
            for b in range(n):
                if held[b, j] or block.value[b, j] == -np.inf:
                    continue
                for k in range(change.size):
                    change[k] = block.weight[k, b] - block.weight[k, a]
                here = _shift(loads, j, change, 1.0)
                if here >= -slack:
                    continue
                for t in range(m):
                    if not held[b, t] or held[a, t] or block.value[a, t] == -np.inf:
                        continue
                    most -= 1
                    both = here + _shift(loads, t, change, -1.0)
                    if both > best:
                        continue
                    both += _own(block, a, used, has, j, t)
                    if both > best:
                        continue
                    both += _own(block, b, _sums(block.hard, b, held[b]),
                                 _sums(block.soft, b, held[b]), t, j)  # fmt: skip
                    value = (block.value[a, t] + block.value[b, j]
                             - block.value[a, j] - block.value[b, t])  # fmt: skip
                    if both < best - slack or (both <= best and value > gain):
                        best, gain, best_b, best_t = min(best, both), value, b, t
            if best_b >= 0:
                _put(block, loads, held, a, j, best_t)
                _put(block, loads, held, best_b, best_t, j)
                moved += 1
            if most <= 0:
                return moved, most
    return moved, most
