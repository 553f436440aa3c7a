"""Compiled annealing for generalized assignment: chains of shifts that may break budgets at a cost.

Experts are jobs and clients agents here, as in the literature.
"""

from __future__ import annotations

import numpy as np

from alignsolve.kernels import kernel
from alignsolve.kernels.values import copy_entries


@kernel
def _cost(left, over, under):
    """Return what a budget costs of which so much is left."""
    return -over * left if left < 0 else under * left


@kernel
def _shift(j, k, owner, held, count, place):
    """Take a job from its agent's list and put it on another's."""
    i = owner[j]
    count[i] -= 1
    last = held[i, count[i]]
    held[i, place[j]], place[last] = last, place[j]
    held[k, count[k]], place[j] = j, count[k]
    count[k] += 1
    owner[j] = k


@kernel(exact=False)
def anneal(loss, values, size, cap, over, under, likely, temperature, chained, moves, seed,
           owner, least, best):  # fmt: skip
    """Shift jobs from agent to agent, and back the job that suits best.

    A random job goes to a likely agent, which may hand a random one of its jobs on. The last
    agent gives whichever of its jobs suits best to the first one, or none: ejection chains (M.
    Yagiura, T. Ibaraki and F. Glover, An ejection chain approach for the generalized
    assignment problem, 2004, doi:10.1287/ijoc.1030.0036) of up to three agents.

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
    chained : float
        Probability that the second agent hands a job on.
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
    if broken == 0 and total > least:
        least = total
        copy_entries(owner, best)
    for _ in range(moves):
        j = int(np.random.random() * m)  # noqa: NPY002
        i, k = owner[j], likely[j, int(np.random.random() ** 2 * likely.shape[1])]  # noqa: NPY002
        if k == i:
            continue
        accepted = -temperature * np.log(np.random.random())  # noqa: NPY002
        # The change so far, without what the first and the last budget cost afterwards.
        change = loss[k, j] - loss[i, j]
        change -= _cost(left[i], over[i], under[i]) + _cost(left[k], over[k], under[k])
        left_i, left_e = left[i] + size[i, j], left[k] - size[k, j]
        # The last agent, and the job that the second one hands on to it.
        e, passed = k, -1
        if np.random.random() < chained and count[k] > 0:  # noqa: NPY002
            passed = held[k, int(np.random.random() * count[k])]  # noqa: NPY002
            e = likely[passed, int(np.random.random() ** 2 * likely.shape[1])]  # noqa: NPY002
            if e in (i, k):
                continue
            change += loss[e, passed] - loss[k, passed] - _cost(left[e], over[e], under[e])
            change += _cost(left_e + size[k, passed], over[k], under[k])
            left_e = left[e] - size[e, passed]
        base = change
        lowest = base + _cost(left_i, over[i], under[i]) + _cost(left_e, over[e], under[e])
        limit, back = min(lowest, accepted), -1
        for t in range(count[e]):
            other = held[e, t]
            change = base + loss[i, other] - loss[e, other]
            if change < limit:
                change += _cost(left_i - size[i, other], over[i], under[i])
                change += _cost(left_e + size[e, other], over[e], under[e])
                if change < limit:
                    lowest, limit, back = change, change, other
        if lowest > accepted:
            continue
        broken -= (left[i] < 0) + (left[k] < 0) + (e != k and left[e] < 0)
        total += values[k, j] - values[i, j]
        left[i] += size[i, j]
        left[k] -= size[k, j]
        if back >= 0:
            total += values[i, back] - values[e, back]
            left[i] -= size[i, back]
            left[e] += size[e, back]
            _shift(back, i, owner, held, count, place)
        _shift(j, k, owner, held, count, place)
        if passed >= 0:
            total += values[e, passed] - values[k, passed]
            left[k] += size[k, passed]
            left[e] -= size[e, passed]
            _shift(passed, e, owner, held, count, place)
        broken += (left[i] < 0) + (left[k] < 0) + (e != k and left[e] < 0)
        if broken == 0 and total > least:
            least = total
            copy_entries(owner, best)
    return least
