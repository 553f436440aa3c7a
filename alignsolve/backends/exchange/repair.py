"""Compiled repair of an answer that was stopped before its loads were right."""

from __future__ import annotations

import numpy as np

from alignsolve.backends.exchange.row_values import read_reduced
from alignsolve.kernels import kernel


@kernel
def keep_loads(fitness, cost, cost_row, cost_col, held_ptr, held_ind, slot_min, slot_max, price,
               ptr, held, count, load, load_min, load_max):  # fmt: skip
    """Move holders, client by client, until every load is within its bounds.

    Each client makes the least lossy swap at the prices that repairs a bound and
    breaks none. One sweep over the clients repairs loads that are too large, a
    second those that are too small.

    Parameters
    ----------
    load : int64 array, shape (m + 1,)
        Holders of each expert. Updated, as is the answer in `held` and `count`.
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
    m = fitness.shape[1]
    reduced = np.empty(m, np.float64)
    wrong = 0
    for j in range(m):
        wrong += max(0, load[j] - load_max[j]) + max(0, load_min[j] - load[j])
    for sweep in range(2):
        for k in range(count.size):
            if wrong == 0:
                return 0
            if slot_max[k] <= 0:
                continue
            known = False
            for place in range(slot_max[k]):
                unused = place >= count[k]
                if unused and (sweep == 0 or place > count[k]):
                    break
                h = -1 if unused else held[ptr[k] + place]
                if sweep == 0 and load[h] <= load_max[h]:
                    continue
                if sweep == 1 and h >= 0 and load[h] <= load_min[h]:
                    continue
                if not known:
                    read_reduced(fitness, k, cost, cost_row, cost_col, held_ptr, held_ind,
                                 price, reduced)  # fmt: skip
                    known = True
                    # What is held, or given away below, is not taken.
                    for q in range(ptr[k], ptr[k] + count[k]):
                        reduced[held[q]] = -np.inf
                best = -np.inf
                pick = -1
                for u in range(m):
                    limit = load_max[u] if sweep == 0 else load_min[u]
                    if load[u] < limit and reduced[u] > best:
                        best = reduced[u]
                        pick = u
                drop = sweep == 0 and count[k] > slot_min[k] and best < 0.0
                if pick < 0 and not drop:
                    continue
                if h >= 0:
                    wrong -= 1 if load[h] > load_max[h] else 0
                    load[h] -= 1
                if drop:
                    held[ptr[k] + place] = held[ptr[k] + count[k] - 1]
                    count[k] -= 1
                    continue
                wrong -= 1 if load[pick] < load_min[pick] else 0
                load[pick] += 1
                held[ptr[k] + place] = pick
                reduced[pick] = -np.inf
                if unused:
                    count[k] += 1
    return wrong
