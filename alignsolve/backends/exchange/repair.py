"""Compiled repair of an answer that was stopped before its loads were right."""

from __future__ import annotations

import numpy as np

from alignsolve.backends.exchange.heaps import may_swap
from alignsolve.backends.exchange.row_values import read_reduced
from alignsolve.kernels import kernel


@kernel
def keep_loads(matrix, limits, price, answer, load, load_min, load_max):
    """Move holders, client by client, until every load is within its bounds.

    Each client makes the least lossy swap at the prices that repairs a bound and
    breaks none. One sweep over the clients repairs loads that are too large, a
    second those that are too small.

    Parameters
    ----------
    load : int64 array, shape (m + 1,)
        Holders of each expert. Updated, as is the answer.
    load_min, load_max : int64 arrays, shape (m,)
        Bounds of the loads.

    Returns
    -------
    int
        Holders too many or too few that are left.

    Notes
    -----
    Greedy: with forbidden pairs some may be left although an answer exists.
    """
    slot_max = limits[2]
    ptr, held, count = answer
    m = price.size - 1
    reduced = np.empty(m + 1, np.float64)
    wrong = 0
    for j in range(m):
        wrong += max(0, load[j] - load_max[j]) + max(0, load_min[j] - load[j])
    for sweep in range(2):
        for k in range(count.size):
            if wrong == 0:
                return 0
            known = False
            for place in range(slot_max[k]):
                if place > count[k]:
                    break
                h = np.int64(held[ptr[k] + place]) if place < count[k] else np.int64(m)
                if h == m and sweep == 0:
                    break
                if h < m and (load[h] <= load_max[h] if sweep == 0 else load[h] <= load_min[h]):
                    continue
                if not known:
                    read_reduced(matrix, k, price, reduced)
                    reduced[m] = 0.0
                    known = True
                best, pick = -np.inf, -1
                for u in range(m + 1 if sweep == 0 else m):
                    room = u == m or load[u] < (load_max[u] if sweep == 0 else load_min[u])
                    if not room or reduced[u] <= best:
                        continue
                    if may_swap(k, h, u, m, limits, answer):
                        best, pick = reduced[u], u
                if pick < 0:
                    continue
                if h < m:
                    wrong -= 1 if load[h] > load_max[h] else 0
                    load[h] -= 1
                if pick == m:
                    held[ptr[k] + place] = held[ptr[k] + count[k] - 1]
                    count[k] -= 1
                    continue
                wrong -= 1 if load[pick] < load_min[pick] else 0
                load[pick] += 1
                held[ptr[k] + place] = pick
                if h == m:
                    count[k] += 1
    return wrong
