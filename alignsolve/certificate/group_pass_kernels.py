"""Compiled pass over the matrix of a problem with layer groups; see `row_pass_kernels`.

Groups are ranges ``start[g]`` to ``start[g + 1] - 1`` of the columns.
"""

from __future__ import annotations

import numpy as np

from alignsolve.certificate.row_pass_kernels import ROUNDINGS, chunk_sums, insert
from alignsolve.kernels import kernel
from alignsolve.kernels.values import read_row
from alignsolve.model.arrays import Float64Array, FloatArray, IntArray


@kernel
def _pick(reduced, is_held, taken, first, last):
    """Return the best column of a range that is not taken, a held one of equals; -1 for none."""
    top, found = -np.inf, -1
    for j in range(first, last):
        if taken[j] or reduced[j] == -np.inf:
            continue
        if reduced[j] > top or (reduced[j] == top and is_held[j] and not is_held[found]):
            top, found = reduced[j], j
    return found


@kernel
def _best_set(reduced, is_held, start, low, high, fewest, most, empty, taken, size, best):
    """Mark a client's best set in `taken`; return whether it has any.

    Of equally good sets it is the one that shares most with what is held.

    Parameters
    ----------
    reduced : float64 array, shape (m,)
        Value less price; -inf forbids.
    low, high : int64 array, shape (n_groups,)
        Fewest and most of each group.
    fewest, most : int
        Fewest and most of all.
    empty : float
        What an empty slot is worth.
    size, best : int64 array, shape (n_groups,)
        Room for what is taken of each group, and its best column left.
    """
    taken[:] = False
    total = 0
    for g in range(size.size):
        size[g] = 0
        best[g] = _pick(reduced, is_held, taken, start[g], start[g + 1])
        while size[g] < low[g]:
            if best[g] < 0:
                return False
            taken[best[g]] = True
            size[g] += 1
            total += 1
            best[g] = _pick(reduced, is_held, taken, start[g], start[g + 1])
    while total < most:
        of = -1
        for g in range(size.size):
            j = best[g]
            if j < 0 or size[g] >= high[g]:
                continue
            if of < 0 or reduced[j] > reduced[best[of]] or (
                reduced[j] == reduced[best[of]] and is_held[j] and not is_held[best[of]]
            ):
                of = g
        if of < 0 or (total >= fewest and reduced[best[of]] <= empty):
            break
        taken[best[of]] = True
        size[of] += 1
        total += 1
        best[of] = _pick(reduced, is_held, taken, start[of], start[of + 1])
    return fewest <= total <= most


@kernel
def _difference(reduced, is_held, taken, empty, gained, lost):
    """Return what the best set is worth more than the held one: what both have cancels."""
    n_gained, n_lost = 0, 0
    for j in range(reduced.size):
        if taken[j] and not is_held[j]:
            insert(gained, n_gained, reduced[j])
            n_gained += 1
        elif is_held[j] and not taken[j]:
            insert(lost, n_lost, reduced[j])
            n_lost += 1
    total = 0.0
    for t in range(max(n_gained, n_lost)):
        more = gained[t] if t < n_gained else empty
        total += more - (lost[t] if t < n_lost else empty)
    return max(total, 0.0)


@kernel
def residual_rows_in_groups(values, prices, indptr, cols, slot_min, slot_max, start, group, low,
                            high, out, begin, stop, sums):  # fmt: skip
    """Do as `row_pass_kernels.residual_rows` within groups.

    Parameters
    ----------
    start : int64 array, shape (n_groups + 1,)
    group : int64 array, shape (m,)
        Group of each column.
    low, high : int64 arrays, shape (n, n_groups)
        Fewest and most experts of each group.
    """
    m, n_groups = prices.size, start.size - 1
    row, reduced, worth = np.empty(m), np.empty(m), np.empty(m)
    gained, lost = np.empty(m), np.empty(m)
    is_held, taken = np.zeros(m, np.bool_), np.zeros(m, np.bool_)
    lowest = np.empty(n_groups)
    size, best = np.empty(n_groups, np.int64), np.empty(n_groups, np.int64)
    for i in range(begin, stop):
        first, n_held = indptr[i], indptr[i + 1] - indptr[i]
        most = min(slot_max[i], m)
        size[:] = 0
        lowest[:] = np.inf
        read_row(values, i, row)
        for t in range(n_held):
            j = cols[first + t]
            out[first + t] = row[j]
            worth[t] = row[j] - prices[j]
            size[group[j]] += 1
            lowest[group[j]] = min(lowest[group[j]], worth[t])
        kept = slot_min[i] <= n_held <= most
        spare = np.inf
        for g in range(n_groups):
            kept = kept and low[i, g] <= size[g] <= high[i, g]
            if size[g] > low[i, g]:
                spare = min(spare, lowest[g])
        if not kept:
            sums[0] = np.inf
            continue
        # The common case: nothing not held beats what it could take the place of.
        beyond = np.int64(0)
        for g in range(n_groups):
            if size[g] < high[i, g]:
                lowest[g] = min(lowest[g], spare)
                if n_held < most:
                    lowest[g] = min(lowest[g], 0.0)
            limit = lowest[g]
            if limit < np.inf:
                limit -= ROUNDINGS * abs(limit)
            lowest[g] = limit
            for j in range(start[g], start[g + 1]):
                # Written so that NaN counts as beyond.
                beyond += np.int64(not (row[j] - prices[j] <= limit))
        for t in range(n_held):
            beyond -= np.int64(not (worth[t] <= lowest[group[cols[first + t]]]))
        if beyond == 0 and (spare > 0 or n_held == slot_min[i]):
            continue
        value, price = 0.0, 0.0
        if n_held > 0 and out[first] > -np.inf:
            value, price = out[first], prices[cols[first]]
        empty = price - value
        for j in range(m):
            reduced[j] = (row[j] - value) - (prices[j] - price)
            if np.isnan(row[j]):
                sums[0] = np.nan
        if np.isnan(sums[0]):
            continue
        least = np.inf if n_held > 0 else empty
        for t in range(n_held):
            is_held[cols[first + t]] = True
            least = min(least, reduced[cols[first + t]])
        if _best_set(reduced, is_held, start, low[i], high[i], slot_min[i], most, empty,
                     taken, size, best):  # fmt: skip
            residual = _difference(reduced, is_held, taken, empty, gained, lost)
        else:
            residual = np.inf
        sums[0] += residual
        for j in range(m):
            is_held[j] = False
            own, paid = row[j] - value, prices[j] - price
            if residual > 0 and own - paid >= least:
                sums[1] = max(sums[1], abs(own) + abs(paid))


def residual_sum_in_groups(
    values: FloatArray, prices: Float64Array, indptr: IntArray, cols: IntArray,
    slots: tuple[IntArray, IntArray], of_column: IntArray, bounds: tuple[IntArray, IntArray],
    out: Float64Array,
) -> tuple[float, float]:
    """Do as `row_pass_kernels.residual_sum` within groups, whose columns stand side by side.

    Parameters
    ----------
    slots : tuple of int64 array, shape (n,)
        Bounds on a client's number of experts.
    of_column : int64 array, shape (m,)
        Group of each column, ascending.
    bounds : tuple of int64 array, shape (n, n_groups)
        Bounds on a client's number of experts of each group.
    values, prices, indptr, cols, out
        As `row_pass_kernels.residual_sum`.
    """
    start = np.searchsorted(of_column, np.arange(bounds[0].shape[1] + 1))
    read = values, prices, indptr, cols, *slots, start, of_column, *bounds
    sums = chunk_sums(residual_rows_in_groups, read, out)
    return float(sums[:, 0].sum()), float(sums[:, 1].max())
