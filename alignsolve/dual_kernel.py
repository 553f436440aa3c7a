"""Compiled pass over the matrix for `alignsolve.dual`: one read, no temporary.

The numpy version in `alignsolve.dual` is the reference; the tests compare them.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numba import njit

from alignsolve.arrays import Float64Array, FloatArray, IntArray, read_only

#: Partial sums are kept per chunk of rows, a fixed number of them, so that
#: every result is the same bits whatever the number of threads.
N_CHUNKS = 64

#: Entries below which starting threads costs more than it saves.
SERIAL_SIZE = 1 << 20

#: Up to this many slots the best values are kept by insertion; beyond, the row is sorted.
INSERTION_LIMIT = 12


@njit(cache=True, nogil=True)
def _best_by_insertion(values, prices, row, most, best):
    """Fill `best` with the largest `most` reduced values of a row, descending."""
    found = 0
    for j in range(values.shape[1]):
        reduced = values[row, j] - prices[j]
        if reduced == -np.inf or (found == most and reduced <= best[most - 1]):
            continue
        at = found if found < most else most - 1
        while at > 0 and best[at - 1] < reduced:
            best[at] = best[at - 1]
            at -= 1
        best[at] = reduced
        found = min(found + 1, most)
    return found


@njit(cache=True, nogil=True)
def _best_by_sorting(values, prices, row, most, best, scratch):
    """Do the same by sorting the whole row."""
    for j in range(values.shape[1]):
        scratch[j] = prices[j] - values[row, j]
    scratch.sort()
    found = 0
    while found < most and scratch[found] < np.inf:
        best[found] = -scratch[found]
        found += 1
    return found


@njit(cache=True, nogil=True)
def _row_residual(best, n_best, held, n_held):
    """Return what held values lack to the best ones, both descending.

    Compared rank by rank: equal values cancel exactly, and no term is negative.
    """
    residual = 0.0
    for t in range(max(n_best, n_held)):
        if t >= n_held:
            residual += max(best[t], 0.0)
        elif t >= n_best:
            residual += max(-held[t], 0.0)
        else:
            residual += max(best[t] - held[t], 0.0)
    return residual


# No value is NaN (the problem checks), which lets the compiler use vector instructions.
@njit(cache=True, nogil=True, fastmath={"nnan", "nsz", "reassoc"})
def residual_rows(values, prices, indptr, cols, slot_min, slot_max, start, stop, sums):
    """Add residuals, regrets and the largest absolute value of some rows to `sums`."""
    m = values.shape[1]
    best, held, scratch = np.empty(max(m, 1)), np.empty(m), np.empty(m)
    for i in range(start, stop):
        n_held, most = indptr[i + 1] - indptr[i], min(slot_max[i], m)
        high, least, lowest, top = -np.inf, np.inf, np.inf, -np.inf
        for j in range(m):
            value = np.float64(values[i, j])
            high = max(high, value)
            scratch[j] = value - prices[j]
        for t in range(n_held):
            j = cols[indptr[i] + t]
            held[t] = -scratch[j]
            least, lowest = min(least, np.float64(values[i, j])), min(lowest, scratch[j])
            scratch[j] = -np.inf
        for j in range(m):
            top = max(top, scratch[j])
        if n_held:
            sums[1] += high - least
            sums[2] = max(sums[2], -least)
        if high > -np.inf:
            sums[2] = max(sums[2], abs(high))
        # The common case: nothing not held beats anything held, or would be worth a free slot.
        if (
            top <= lowest
            and (n_held == most or top <= 0)
            and (lowest >= 0 if n_held > slot_min[i] else n_held == slot_min[i])
        ):
            continue
        if most <= INSERTION_LIMIT:
            found = _best_by_insertion(values, prices, i, most, best)
        else:
            found = _best_by_sorting(values, prices, i, most, best, scratch)
        if found < slot_min[i]:
            sums[0] = np.inf
            continue
        while found > slot_min[i] and best[found - 1] <= 0:
            found -= 1
        held[:n_held].sort()
        for t in range(n_held):
            held[t] = -held[t]
        sums[0] += _row_residual(best, found, held, n_held)


def residual_sums(
    values: FloatArray,
    prices: Float64Array,
    indptr: IntArray,
    cols: IntArray,
    slot_min: IntArray,
    slot_max: IntArray,
) -> tuple[float, float, float]:
    """Sum the clients' residuals at given prices.

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

    Returns
    -------
    residual, regret, largest : float
        Sum of the residuals; sum over clients of the largest value less the
        least held one; and the largest absolute value among these.
    """
    # The compiler makes a version for each mix of writable and read-only arrays.
    arrays = [read_only(a) for a in (values, prices, indptr, cols, slot_min, slot_max)]
    n = values.shape[0]
    if values.size < SERIAL_SIZE:
        sums = np.zeros((1, 3))
        residual_rows(*arrays, 0, n, sums[0])
    else:
        sums = np.zeros((N_CHUNKS, 3))
        cuts = [chunk * n // N_CHUNKS for chunk in range(N_CHUNKS + 1)]
        # Threads of our own: unlike numba's, they do not spin when there is nothing to do.
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            list(pool.map(lambda a, b, s: residual_rows(*arrays, a, b, s), cuts, cuts[1:], sums))
    return float(sums[:, 0].sum()), float(sums[:, 1].sum()), float(sums[:, 2].max())
