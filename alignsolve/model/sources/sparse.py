"""A SciPy sparse matrix as a source: pairs that are not stored are forbidden."""

from __future__ import annotations

from typing import Any

import numpy as np

from alignsolve.errors import ProblemError
from alignsolve.model.arrays import FloatArray, IntArray
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
        self.matrix = csr.astype(dtype, copy=False)
        super().__init__(csr.shape, dtype, block_rows=block_rows)

    def block(self, k: int) -> FloatArray:
        """Return block k, dense."""
        ends = self.matrix.indptr[self.edges[k] : self.edges[k + 1] + 1]
        inner = slice(ends[0], ends[-1])  # of which a slice of the matrix would be a copy
        return self._dense(ends, self.matrix.indices[inner], self.matrix.data[inner])

    def rows(self, index: IntArray) -> FloatArray:
        """Return some rows, dense."""
        some = self.matrix[index]
        return self._dense(some.indptr, some.indices, some.data)

    def _dense(self, indptr: IntArray, indices: IntArray, data: FloatArray) -> FloatArray:
        out = np.full((indptr.size - 1, self.shape[1]), self.absent, self.dtype)
        out[_row_of_each(indptr), indices] = data
        return out

    def pairs(self, row_ind: IntArray, col_ind: IntArray) -> FloatArray:
        """Return some entries, found by bisection in their rows, block by block."""
        m = self.shape[1]
        out = np.full(row_ind.size, self.absent, self.dtype)
        for _, some in self.by_block(row_ind):
            rows, row = np.unique(row_ind[some], return_inverse=True)
            part = self.matrix[rows]
            if not part.nnz:
                continue
            stored = _row_of_each(part.indptr) * m + part.indices
            wanted = row * m + col_ind[some]
            at = np.minimum(np.searchsorted(stored, wanted), stored.size - 1)
            out[some] = np.where(stored[at] == wanted, part.data[at], self.absent)
        return out

    def part(self, first: int, last: int) -> FitnessSource:
        """Return the rows of some blocks; only they are sent elsewhere."""
        part = SparseSource(self.matrix[self.edges[first] : self.edges[last]], self.block_rows)
        part.absent = self.absent
        return part

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take the state of a pickle; an older one holds the three arrays of the matrix."""
        if "matrix" not in state:
            import scipy.sparse as sp

            state = dict(state)
            arrays = tuple(state.pop(name) for name in ("data", "indices", "indptr"))
            state["matrix"] = sp.csr_array(arrays, shape=state["shape"])
        vars(self).update(state)


def _row_of_each(indptr: IntArray) -> IntArray:
    """Return the row of each stored entry."""
    return np.repeat(np.arange(indptr.size - 1), np.diff(indptr))
