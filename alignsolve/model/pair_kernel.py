"""Compiled scan of an assignment; numpy does the same in `alignsolve.model.feasibility`."""

from __future__ import annotations

import numpy as np

from alignsolve.kernels import kernel
from alignsolve.model.arrays import IntArray, read_only

#: What a scan finds: pairs in order and distinct, in order with some twice, or neither
#: in order nor, perhaps, within the problem.
DISTINCT, REPEATED, OTHER = 0, 1, 2


@kernel(called=True)
def _scan(rows, cols, indptr, load):
    """Fill `indptr` and `load`, which is all zeros; return what the pairs are."""
    n, m = indptr.size - 1, load.size
    row, col, found = 0, -1, DISTINCT
    indptr[0] = 0
    for k in range(rows.size):
        i, j = rows[k], cols[k]
        if i < row or i >= n or j < 0 or j >= m:
            return OTHER
        if i > row:
            for client in range(row, i):
                indptr[client + 1] = k
            row, col = i, -1
        if j <= col:
            if j < col:
                return OTHER
            found = REPEATED
        col = j
        load[j] += 1
    for client in range(row, n):
        indptr[client + 1] = rows.size
    return found


def scan(rows: IntArray, cols: IntArray, n: int, m: int) -> tuple[IntArray, IntArray, bool] | None:
    """Return what an assignment's pairs add up to, or None if they have to be looked at again.

    Parameters
    ----------
    rows, cols : int64 array, shape (n_pairs,)
        Clients and experts.
    n, m : int
        Number of clients, at least 1, and of experts.

    Returns
    -------
    indptr : int64 array, shape (n + 1,)
        Where each client's pairs start.
    load : int64 array, shape (m,)
        Holders of each expert.
    distinct : bool
        Whether no pair comes twice.
    """
    indptr, load = np.empty(n + 1, np.int64), np.zeros(m, np.int64)
    # The compiler makes a version for each mix of writable and read-only, strided and dense.
    dense = (read_only(np.ascontiguousarray(index)) for index in (rows, cols))
    found = _scan(*dense, indptr, load)
    return None if found == OTHER else (indptr, load, found == DISTINCT)
