"""Compiled bookkeeping of a level: loads, excess, slack, and reading and writing an answer."""

from __future__ import annotations

import numpy as np

from alignsolve.kernels import kernel

#: Outweighs the rounding of a difference in float32.
_BELOW = np.float32(1.0 - 2.0**-23)


@kernel(called=False)
def wanted_loads(price, load, bounds, best):
    """Write each expert's best load at its price, the nearest one to ``load``, into ``best``.

    Parameters
    ----------
    price : float64 array, shape (m + 1,)
        +inf for an expert that cannot be held.
    load, best : int64 arrays, shape (m,)
    bounds : tuple
        As `alignsolve.backends.exchange.paths.augment`.
    """
    load_min, load_max, penalty, goal = bounds
    for j in range(best.size):
        p = price[j]
        low = load_max[j] if p > 0 else load_min[j]
        high = load_min[j] if p < 0 else load_max[j]
        if penalty[j] > 0:
            aim = goal[j] + (p / (2.0 * penalty[j]) if np.isfinite(p) else 0.0)
            aim = min(max(aim, -4e15), 4e15)
            low = min(max(np.int64(np.ceil(aim - 0.5)), load_min[j]), load_max[j])
            high = min(max(np.int64(np.floor(aim + 0.5)), load_min[j]), load_max[j])
        best[j] = min(max(load[j], low), high)


@kernel
def imbalance(price, clients_load, bounds, load, excess):
    """Write the loads wanted at the prices and the holders beyond them; return their excess.

    Parameters
    ----------
    price : float64 array, shape (m + 1,)
    clients_load : int64 array, shape (m + 1,)
        Holders.
    bounds : tuple
        As `alignsolve.backends.exchange.paths.augment`.
    load, excess : int64 arrays, shape (m + 1,)
        Written; the null expert's excess makes the sum 0.

    Returns
    -------
    int
        Half of the sum of all absolute excesses.
    """
    m = price.size - 1
    wanted_loads(price, clients_load, bounds, load[:m])
    load[m] = 0
    rest = 0
    total = 0
    for j in range(m):
        excess[j] = clients_load[j] - load[j]
        rest -= excess[j]
        total += abs(excess[j])
    excess[m] = rest
    return (total + abs(rest)) // 2


@kernel
def lower_slack(slack, limit, drop, near):
    """Subtract `drop` from all slack; write who had `limit` or less to `near`, return how many.

    Differences are rounded down: a drop may be less than a slack's last bit.

    Parameters
    ----------
    slack : float32 array, shape (s,)
    limit, drop : float32
    near : int64 array, shape (s,)
        Clients of the level, in order. Clients that have no other response at all
        (infinite slack) are never near.
    """
    found = np.int64(0)
    # Without a branch, which could not be foreseen; apart, so that differences vectorise.
    for k in range(slack.size):
        near[found] = k
        found += np.int64(slack[k] <= limit) & np.int64(slack[k] < np.inf)
    for k in range(slack.size):
        slack[k] = (slack[k] - drop) * _BELOW
    return found


@kernel
def chosen_load(chosen, answer, load):
    """Add what the chosen clients hold to ``load``, shape (m + 1,)."""
    ptr, held, count = answer
    for c in range(chosen.size):
        k = chosen[c]
        for q in range(ptr[k], ptr[k] + count[k]):
            load[held[q]] += 1


@kernel
def write_pairs(answer, row_ind, col_ind):
    """Write an answer as pairs sorted by row, then column; shape (n_pairs,) each."""
    ptr, held, count = answer
    at = 0
    for k in range(count.size):
        first = at
        for q in range(ptr[k], ptr[k] + count[k]):
            j = held[q]
            place = at
            while place > first and col_ind[place - 1] > j:
                col_ind[place] = col_ind[place - 1]
                place -= 1
            col_ind[place] = j
            row_ind[at] = k
            at += 1


@kernel
def read_pairs(row_ind, col_ind, answer):
    """Let clients hold pairs, in any order, as far as their slots allow."""
    ptr, held, count = answer
    for a in range(row_ind.size):
        k = row_ind[a]
        at = ptr[k] + count[k]
        if at < ptr[k + 1]:
            held[at] = col_ind[a]
            count[k] += 1
