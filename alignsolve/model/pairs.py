"""A set of client-expert pairs, stored by rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from alignsolve.errors import ProblemError
from alignsolve.model.arrays import (
    BoolArray,
    IntArray,
    concatenated_ranges,
    numeric,
    read_only,
    row_starts,
)


@dataclass(frozen=True, eq=False)
class Pairs:
    """Distinct client-expert pairs in row order (CSR without data).

    Parameters
    ----------
    indptr : int64 array, shape (n_rows + 1,)
        Where each row starts in `indices`.
    indices : int64 array, shape (n_pairs,)
        Columns, ascending within a row.
    n_cols : int
        Number of columns.
    """

    indptr: IntArray
    indices: IntArray
    n_cols: int

    def __len__(self) -> int:
        return int(self.indices.size)

    @property
    def rows(self) -> IntArray:
        """Row of each pair, int64, ascending."""
        return np.repeat(np.arange(self.indptr.size - 1), np.diff(self.indptr))

    @classmethod
    def from_any(cls, name: str, value: Any, n_rows: int, n_cols: int) -> Pairs:
        """Build from a sparse matrix, a bool matrix, ``(rows, cols)`` or `Pairs`.

        Raises
        ------
        ProblemError
            If the shape, an index or the type is wrong.
        """
        if isinstance(value, Pairs):
            if (value.indptr.size - 1, value.n_cols) != (n_rows, n_cols):
                raise ProblemError(f"{name} is for {value.indptr.size - 1} x {value.n_cols} pairs; "
                                   f"give {n_rows} x {n_cols}")
            return value
        if hasattr(value, "tocoo"):
            coo = value.tocoo()
            _check_shape(name, coo.shape, n_rows, n_cols)
            stored = np.asarray(coo.data) != 0
            return cls.from_indices(name, coo.row[stored], coo.col[stored], n_rows, n_cols)
        # A list is a matrix: only a tuple can be told from two clients of two experts.
        if isinstance(value, tuple) and len(value) == 2:
            rows, cols = numeric(f"{name} rows", value[0]), numeric(f"{name} cols", value[1])
            # Two rows of booleans are a matrix of two clients, not indices.
            if rows.dtype != np.bool_ or cols.dtype != np.bool_:
                return cls.from_indices(name, rows, cols, n_rows, n_cols)
        matrix = numeric(name, value)
        _check_shape(name, matrix.shape, n_rows, n_cols)
        if matrix.dtype != np.bool_ and not np.isin(matrix, (0, 1)).all():
            raise ProblemError(f"{name} has entries other than 0 and 1; give a bool matrix")
        rows, cols = np.nonzero(matrix)
        return cls.from_indices(name, rows, cols, n_rows, n_cols)

    @classmethod
    def from_indices(cls, name: str, rows: Any, cols: Any, n_rows: int, n_cols: int) -> Pairs:
        """Build from index arrays, in any order, duplicates merged.

        Raises
        ------
        ProblemError
            If the lengths differ or an index is out of range.
        """
        rows, cols = np.asarray(rows), np.asarray(cols)
        if rows.shape != cols.shape or rows.ndim != 1:
            raise ProblemError(f"{name} has {rows.shape} rows and {cols.shape} cols; give two "
                               f"index arrays of one length")
        for axis, index, size in (("row", rows, n_rows), ("column", cols, n_cols)):
            if index.dtype.kind not in "iu" and not (np.floor(index) == index).all():
                raise ProblemError(f"{name} has a fractional {axis} index; give integers")
            bad = (index < 0) | (index >= size)
            if bad.any():
                position = int(np.argmax(bad))
                raise ProblemError(f"{name} {axis} [{position}] is {index[position]}; "
                                   f"give 0 to {size - 1}")
        keys = rows.astype(np.int64) * n_cols + cols.astype(np.int64)
        if not (keys[1:] > keys[:-1]).all():
            keys = np.unique(keys)
        indptr = row_starts(keys // max(1, n_cols), n_rows)
        return cls(read_only(indptr), read_only(keys % max(1, n_cols)), n_cols)

    def contains(self, rows: IntArray, cols: IntArray) -> BoolArray:
        """Tell for each pair whether it is in the set."""
        keys = self.rows * self.n_cols + self.indices
        wanted = np.asarray(rows, dtype=np.int64) * self.n_cols + cols
        at = np.minimum(np.searchsorted(keys, wanted), max(0, keys.size - 1))
        return keys[at] == wanted if keys.size else np.zeros(wanted.shape, dtype=np.bool_)

    def mask(self, rows: slice | IntArray) -> BoolArray:
        """Return membership of some rows as a dense bool block (len(rows), n_cols)."""
        if isinstance(rows, slice):
            start, stop, _ = rows.indices(self.indptr.size - 1)
            rows = np.arange(start, max(start, stop))
        block = np.zeros((rows.size, self.n_cols), dtype=np.bool_)
        places, row = concatenated_ranges(self.indptr[rows], self.indptr[rows + 1])
        block[row, self.indices[places]] = True
        return block


def _check_shape(name: str, shape: tuple[int, ...], n_rows: int, n_cols: int) -> None:
    if shape != (n_rows, n_cols):
        raise ProblemError(f"{name} has shape {shape}; give ({n_rows}, {n_cols})")
