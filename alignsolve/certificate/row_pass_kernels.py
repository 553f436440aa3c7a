"""Compiled pass over the matrix for `alignsolve.certificate.duality_gap`: one read, no temporary.

The numpy version in `alignsolve.certificate.duality_gap` is the reference; the tests compare them.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from alignsolve.kernels import kernel
from alignsolve.kernels.values import by_type, entry, read_row
from alignsolve.model.arrays import Float64Array, FloatArray, IntArray, read_only

#: Partial sums are kept per chunk of rows, a fixed number of them, so that
#: every result is the same bits whatever the number of threads.
N_CHUNKS = 64

#: Entries below which starting threads costs more than it saves.
SERIAL_SIZE = 1 << 20

#: Relative error of a difference of two floats, and of a comparison of two such.
ROUNDINGS = 4 * np.finfo(np.float64).eps

@kernel(called=False)
def insert(sorted_values, size, value):
    """Insert a value into the first `size` ones, which fall, where it belongs."""
    at = size
    while at > 0 and sorted_values[at - 1] < value:
        sorted_values[at] = sorted_values[at - 1]
        at -= 1
    sorted_values[at] = value


@kernel
def _best_of_row(row, prices, value, price, most, best):
    """Fill `best` with the largest `most` relative reduced values of a row, descending."""
    found = 0
    for j in range(row.size):
        reduced = (row[j] - value) - (prices[j] - price)
        if reduced == -np.inf or (found == most and reduced <= best[most - 1]):
            continue
        insert(best, found if found < most else most - 1, reduced)
        found = min(found + 1, most)
    return found


@kernel
def _row_residual(best, n_best, held, n_held, empty):
    """Return what held values lack to the best ones, both descending; an empty slot has a value.

    Compared rank by rank: equal values cancel exactly, and no term is negative.
    """
    residual = 0.0
    for t in range(max(n_best, n_held)):
        if t >= n_held:
            residual += max(best[t] - empty, 0.0)
        elif t >= n_best:
            residual += max(empty - held[t], 0.0)
        else:
            residual += max(best[t] - held[t], 0.0)
    return residual


@kernel
def residual_rows(values, prices, indptr, cols, slot_min, slot_max, out, start, stop, sums):
    """Add the residuals of some rows to ``sums[0]``; write their held values to `out`.

    ``sums[1]`` is raised to the largest difference in a row that has a residual, of values and
    of prices, between a held expert and one that is held or better.
    Where rounding could matter, values and prices are taken relative to those of one held pair:
    what is common to a client's values, or to all prices, then cancels exactly.
    """
    single, double = values
    is_single, m = single.size > 0, prices.size
    row, best, held = np.empty(m), np.empty(max(m, 1)), np.empty(m)
    for i in range(start, stop):
        first, n_held = indptr[i], indptr[i + 1] - indptr[i]
        most = min(slot_max[i], m)
        if n_held < slot_min[i] or n_held > most:
            sums[0] = np.inf
            continue
        lowest = np.inf
        for t in range(n_held):
            j = cols[first + t]
            out[first + t] = entry(values, i, j)
            held[t] = out[first + t] - prices[j]
            lowest = min(lowest, held[t])
        # The common case: nothing not held beats anything held, or is worth a free slot.
        # Counting vectorises, where a maximum of floats does not; and a call would cost more.
        limit = lowest if n_held == most else min(lowest, 0.0)
        if limit < np.inf:
            limit -= ROUNDINGS * abs(limit)
        beyond = np.int64(0)
        # Written so that NaN counts as beyond.
        if is_single:
            for j in range(m):
                beyond += np.int64(not (np.float64(single[i, j]) - prices[j] <= limit))
        else:
            for j in range(m):
                beyond += np.int64(not (double[i, j] - prices[j] <= limit))
        for t in range(n_held):
            beyond -= np.int64(not (held[t] <= limit))
        if beyond == 0 and (lowest > 0 or n_held == slot_min[i]):
            continue
        read_row(values, i, row)
        value, price = 0.0, 0.0
        if n_held > 0 and out[first] > -np.inf:
            value, price = out[first], prices[cols[first]]
        empty = price - value
        for t in range(n_held):
            insert(held, t, (out[first + t] - value) - (prices[cols[first + t]] - price))
        for j in range(m):
            if np.isnan(row[j]):
                sums[0] = np.nan
        if np.isnan(sums[0]):
            continue
        found = _best_of_row(row, prices, value, price, most, best)
        if found < slot_min[i]:
            sums[0] = np.inf
            continue
        while found > slot_min[i] and best[found - 1] <= empty:
            found -= 1
        residual = _row_residual(best, found, held, n_held, empty)
        if residual > 0:
            sums[0] += residual
            least = held[n_held - 1] if n_held > 0 else empty
            for j in range(m):
                own, paid = row[j] - value, prices[j] - price
                if own - paid >= least:
                    sums[1] = max(sums[1], abs(own) + abs(paid))


@kernel
def regret_rows(values, prices, indptr, cols, slot_max, start, stop, sums):
    """Add the regrets of some rows to ``sums[0]``; raise ``sums[1]`` to their largest difference.

    The regret is the largest value less price, less the least held one; an empty slot lacks the
    largest one that is not held, where that is above 0. Differences are those of values and of
    prices, between what is held and what is wanted.
    """
    m = prices.size
    row, reduced = np.empty(m), np.empty(m)
    for i in range(start, stop):
        read_row(values, i, row)
        first, stop_held = indptr[i], indptr[i + 1]
        value, price = 0.0, 0.0
        if stop_held > first:
            value, price = row[cols[first]], prices[cols[first]]
        for j in range(m):
            reduced[j] = (row[j] - value) - (prices[j] - price)
        least, top, wanted = np.inf, -np.inf, -np.inf
        for t in range(first, stop_held):
            j = cols[t]
            least, top = min(least, reduced[j]), max(top, reduced[j])
            sums[1] = max(sums[1], abs(row[j] - value) + abs(prices[j] - price))
        for t in range(first, stop_held):
            reduced[cols[t]] = -np.inf
        for j in range(m):
            wanted = max(wanted, reduced[j])
        if wanted > -np.inf and (wanted > least or stop_held == first):
            at = 0
            while reduced[at] != wanted:
                at += 1
            sums[1] = max(sums[1], abs(row[at] - value) + abs(prices[at] - price))
        if stop_held > first:
            sums[0] += max(top, wanted) - least
        if wanted > -np.inf and stop_held - first < min(slot_max[i], m):
            sums[0] += max(0.0, wanted - (price - value))


def residual_sum(
    values: FloatArray,
    prices: Float64Array,
    indptr: IntArray,
    cols: IntArray,
    slot_min: IntArray,
    slot_max: IntArray,
    out: Float64Array,
) -> tuple[float, float]:
    """Sum the clients' residuals at given prices, and write down what their pairs are worth.

    Parameters
    ----------
    values : float32 or float64 array, shape (n, m)
        Values in C order; ``-inf`` forbids.
    prices : float64 array, shape (m,)
        Prices, max sense.
    indptr : int64 array, shape (n + 1,)
        Where each client's pairs start in `cols`.
    cols : int64 array, shape (n_pairs,)
        Held experts.
    slot_min, slot_max : int64 array, shape (n,)
        Bounds on a client's number of experts, at most m (+ 1).
    out : float64 array, shape (n_pairs,)
        Values of the held pairs are written here, ``-inf`` where one is forbidden; not
        those of a client whose number of experts is out of bounds.

    Returns
    -------
    residual : float
        Sum of what held sets lack to best responses, >= 0; infinite where a client's number
        of experts is out of bounds, or it has no response but holds an allowed pair. Forbidden
        pairs that are held are seen from `out`.
    largest : float
        The largest difference in a row with a residual; see `residual_rows`.
    """
    read = values, prices, indptr, cols, slot_min, slot_max
    sums = chunk_sums(residual_rows, read, out)
    return float(sums[:, 0].sum()), float(sums[:, 1].max())


def regret_sums(
    values: FloatArray, prices: Float64Array, indptr: IntArray, cols: IntArray, slot_max: IntArray
) -> tuple[float, float]:
    """Return the sum of the clients' regrets, and the largest difference; see `regret_rows`.

    Parameters are those of `residual_sum`.
    """
    sums = chunk_sums(regret_rows, (values, prices, indptr, cols, slot_max))
    return float(sums[:, 0].sum()), float(sums[:, 1].max())


def chunk_sums(
    kernel: Callable[..., None], read: tuple[Any, ...], *written: Float64Array
) -> Float64Array:
    """Run a kernel over all rows, in threads where it pays; return each chunk's sums."""
    # The compiler makes a version for each mix of writable, read-only and strided arrays.
    values, *others = read
    contiguous = map(np.ascontiguousarray, others)
    arrays = [by_type(values), *map(read_only, contiguous), *written]
    n = values.shape[0]
    if values.size < SERIAL_SIZE:
        sums = np.zeros((1, 2))
        kernel(*arrays, 0, n, sums[0])
        return sums
    sums = np.zeros((N_CHUNKS, 2))
    cuts = [chunk * n // N_CHUNKS for chunk in range(N_CHUNKS + 1)]
    # Threads of our own: unlike numba's, they do not spin when there is nothing to do.
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(lambda a, b, s: kernel(*arrays, a, b, s), cuts, cuts[1:], sums))
    return sums
