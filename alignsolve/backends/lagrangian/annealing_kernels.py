"""Compiled annealing for generalized assignment: shifts and swaps that may break budgets at a cost.

Experts are jobs and clients agents here, as in the literature.
"""

from __future__ import annotations

import numpy as np

from alignsolve.kernels import kernel


@kernel
def _cost(left, over, under):
    """Return what a budget costs of which so much is left."""
    return -over * left if left < 0 else under * left


@kernel(exact=False)
def anneal(loss, values, size, cap, over, under, likely, temperature, moves, seed, owner,
           least, best):  # fmt: skip
    """Shift jobs, or swap them with whichever job of their new agent suits best.

    Parameters
    ----------
    loss : float64 array, shape (n, m)
        What a job costs an agent: the price of its size less its value; inf forbids.
    values : float64 array, shape (n, m)
        Values, max sense.
    size, cap : int64 array, shape (n, m) and (n,)
        Sizes and capacities, in units.
    over, under : float64 array, shape (n,)
        What a unit above the budget costs, and a unit that is left.
    likely : int64 array, shape (m, k)
        Agents that jobs are moved to, the best first.
    temperature : float
        Loss that is accepted: exponentially distributed, with this mean.
    moves : int
        Moves tried, each of O(m / n) time.
    seed : int
        Seed of the moves.
    owner : int64 array, shape (m,)
        Agent of each job; changed in place.
    least : float
        Answers of greater value are wanted.
    best : int64 array, shape (m,)
        The best of them that was met, on return.

    Returns
    -------
    float
        Its value, or `least` where none was met.
    """
    # Numba compiles numpy's old generator only.
    np.random.seed(seed)  # noqa: NPY002
    n, m = loss.shape
    held, count, place = np.empty((n, m), np.int64), np.zeros(n, np.int64), np.empty(m, np.int64)
    left, total, broken = cap.copy(), 0.0, 0
    for j in range(m):
        i = owner[j]
        held[i, count[i]], place[j] = j, count[i]
        count[i] += 1
        left[i] -= size[i, j]
        total += values[i, j]
    for i in range(n):
        broken += left[i] < 0
    for _ in range(moves):
        j = int(np.random.random() * m)  # noqa: NPY002
        i, k = owner[j], likely[j, int(np.random.random() ** 2 * likely.shape[1])]  # noqa: NPY002
        if k == i:
            continue
        accepted = -temperature * np.log(np.random.random())  # noqa: NPY002
        base = loss[k, j] - loss[i, j]
        base -= _cost(left[i], over[i], under[i]) + _cost(left[k], over[k], under[k])
        left_i, left_k = left[i] + size[i, j], left[k] - size[k, j]
        # The shift alone, then swaps.
        change = base + _cost(left_i, over[i], under[i]) + _cost(left_k, over[k], under[k])
        lowest, back = change, -1
        limit = min(change, accepted)
        for t in range(count[k]):
            other = held[k, t]
            change = base + loss[i, other] - loss[k, other]
            if change < limit:
                change += _cost(left_i - size[i, other], over[i], under[i])
                change += _cost(left_k + size[k, other], over[k], under[k])
                if change < limit:
                    lowest, limit, back = change, change, other
        if lowest > accepted:
            continue
        broken -= (left[i] < 0) + (left[k] < 0)
        total += values[k, j] - values[i, j]
        if back >= 0:
            total += values[i, back] - values[k, back]
            left_i -= size[i, back]
            left_k += size[k, back]
            owner[back] = i
            held[i, place[j]], held[k, place[back]] = back, j
            place[j], place[back] = place[back], place[j]
        else:
            count[i] -= 1
            last = held[i, count[i]]
            held[i, place[j]], place[last] = last, place[j]
            held[k, count[k]], place[j] = j, count[k]
            count[k] += 1
        owner[j] = k
        left[i], left[k] = left_i, left_k
        broken += (left_i < 0) + (left_k < 0)
        if broken == 0 and total > least:
            least = total
            best[:] = owner
    return least
