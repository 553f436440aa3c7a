"""A SciPy sparse matrix as a source: pairs that are not stored are forbidden."""

from __future__ import annotations

from typing import Any

import numpy as np

from alignsolve.errors import ProblemError
from alignsolve.model.arrays import FloatArray, IntArray, concatenated_ranges
from alignsolve.model.sources.base import FitnessSource


class SparseSource(FitnessSource):
    """A SciPy sparse matrix; absent pairs are forbidden, stored zeros are not.

    So they are as costs, in `AlignmentProblem.from_cost`.

    Parameters
    ----------
    matrix : sparse matrix or array, shape (n_clients, n_experts)
        Converted to CSR where it is none. float32 stays, other numbers become
        float64.
    block_rows : int, optional
        Rows of a block; default about 2**19 entries.

    Raises
    ------
    ProblemError
        If it is not sparse, or names a pair twice, or `block_rows` is below 1.

    Notes
    -----
    Memory is that of the matrix: 8 bytes a stored pair in float32, plus a dense
    block a thread.

    Examples
    --------
    >>> from scipy import sparse
    >>> import alignsolve as al
    >>> source = al.SparseSource(sparse.csr_array([[3.0, 0, 1], [0, 2, 0]]))
    >>> source.block(0).tolist()
    [[3.0, -inf, 1.0], [-inf, 2.0, -inf]]
    """

    random_access = True
    leaves_out = True

    def __init__(self, matrix: Any, block_rows: int | None = None) -> None:
        if not hasattr(matrix, "tocsr"):
            raise ProblemError(f"fitness is {type(matrix).__name__}; give a SciPy sparse matrix")
        csr = matrix.tocsr()
        if not csr.has_sorted_indices:
            csr = csr.sorted_indices()
        if not csr.has_canonical_format:
            raise ProblemError("fitness stores a pair twice; call sum_duplicates, or keep one")
        dtype = np.float32 if csr.dtype == np.float32 else np.float64
        self.indptr: IntArray = csr.indptr.astype(np.int64, copy=False)
        self.indices = csr.indices
        self.data: FloatArray = csr.data.astype(dtype, copy=False)
        super().__init__(csr.shape, dtype, block_rows=block_rows)

    def block(self, k: int) -> FloatArray:
        """Return block k, dense."""
        start, stop = int(self.edges[k]), int(self.edges[k + 1])
        row = np.repeat(np.arange(stop - start), np.diff(self.indptr[start : stop + 1]))
        return self._dense(stop - start, row, slice(*self.indptr[[start, stop]]))

    def rows(self, index: IntArray) -> FloatArray:
        """Return some rows, dense."""
        places, row = concatenated_ranges(self.indptr[index], self.indptr[index + 1])
        return self._dense(index.size, row, places)

    def _dense(self, n_rows: int, row: IntArray, places: slice | IntArray) -> FloatArray:
        out = np.full((n_rows, self.shape[1]), self.absent, self.dtype)
        out[row, self.indices[places]] = self.data[places]
        return out

    def pairs(self, row_ind: IntArray, col_ind: IntArray) -> FloatArray:
        """Return some entries, found by bisection block by block."""
        m = self.shape[1]
        out = np.full(row_ind.size, self.absent, self.dtype)
        for k, some in self.by_block(row_ind):
            start, stop = int(self.edges[k]), int(self.edges[k + 1])
            ends = self.indptr[start : stop + 1]
            if ends[0] == ends[-1]:
                continue
            stored = np.repeat(np.arange(stop - start), np.diff(ends)) * m
            stored += self.indices[ends[0] : ends[-1]]
            wanted = (row_ind[some] - start) * m + col_ind[some]
            at = np.minimum(np.searchsorted(stored, wanted), stored.size - 1)
            out[some] = np.where(stored[at] == wanted, self.data[ends[0] + at], self.absent)
        return out

    def part(self, first: int, last: int) -> FitnessSource:
        """Return the rows of some blocks; only they are sent elsewhere."""
        import scipy.sparse as sp

        start, stop = int(self.edges[first]), int(self.edges[last])
        ends = self.indptr[start : stop + 1]
        inner = slice(int(ends[0]), int(ends[-1]))
        shape = stop - start, self.shape[1]
        rows = sp.csr_array((self.data[inner], self.indices[inner], ends - ends[0]), shape=shape)
        part = SparseSource(rows, self.block_rows)
        part.absent = self.absent
        return part
