"""Sources over arrays in memory, and over ``.npy`` files that are mapped."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from alignsolve.errors import ProblemError
from alignsolve.model.arrays import BoolArray, FloatArray, IntArray, float_matrix, numeric
from alignsolve.model.sources.base import FitnessSource


class ArraySource(FitnessSource):
    """An array in memory as a source.

    Parameters
    ----------
    array : array_like, shape (n_clients, n_experts)
        float32 or float64 is used in place; float16 becomes float32, other numbers
        float64. Masked pairs are forbidden.
    block_rows : int, optional
        Rows of a block; default about 2**19 entries.

    Raises
    ------
    ProblemError
        If it is not a matrix of numbers, or `block_rows` is below 1.

    Notes
    -----
    A problem takes the array itself, so that every backend solves it; the source
    matters where rows are spread over workers.

    Examples
    --------
    >>> import alignsolve as al
    >>> source = al.ArraySource([[3, 1], [2, 2.5]], block_rows=1)
    >>> source.shape, source.block(1).tolist()
    ((2, 2), [[2.0, 2.5]])
    """

    random_access = True

    def __init__(self, array: Any, block_rows: int | None = None) -> None:
        self.array = float_matrix(numeric("fitness", array))
        mask = np.ma.getmask(array)
        self.mask: BoolArray | None = None if mask is np.ma.nomask else mask
        super().__init__(self.array.shape, self.array.dtype, block_rows=block_rows)

    def block(self, k: int) -> FloatArray:
        """Return a view of block k."""
        return self.array[self.edges[k] : self.edges[k + 1]]

    def rows(self, index: IntArray) -> FloatArray:
        """Return a copy of some rows."""
        return self.array[index]

    def pairs(self, row_ind: IntArray, col_ind: IntArray) -> FloatArray:
        """Return some entries."""
        return self.array[row_ind, col_ind]

    def as_cost(self) -> FitnessSource:
        """Return the source as one of costs, +inf where the array was masked."""
        if self.mask is None:
            return self
        return ArraySource(np.where(self.mask, np.inf, self.array), self.block_rows)

    def part(self, first: int, last: int) -> FitnessSource:
        """Return the rows of some blocks as a source; only they are sent elsewhere."""
        return ArraySource(self.array[self.edges[first] : self.edges[last]], self.block_rows)


class MappedSource(ArraySource):
    """A ``.npy`` file, mapped into memory and read as it is needed.

    Parameters
    ----------
    path : path
        A file of `numpy.save`, shape (n_clients, n_experts). float32 and float64 of this
        machine's byte order stay in the file; other numbers are converted in memory, as
        `ArraySource` does.
    block_rows : int, optional
        Rows of a block; default about 2**19 entries.

    Raises
    ------
    ProblemError
        If the file cannot be mapped, or holds something else.

    Notes
    -----
    Pages that were read stay in the system's page cache as long as there is
    room; they are not memory of the process. Workers elsewhere open the file
    under the same path. A file in Fortran order, by columns, is read as it is: a
    block of rows then is a piece of every column.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> import numpy as np
    >>> import alignsolve as al
    >>> with TemporaryDirectory() as folder:
    ...     np.save(f"{folder}/fitness.npy", np.array([[3, 1], [2, 2.5]]))
    ...     problem = al.AlignmentProblem(al.MappedSource(f"{folder}/fitness.npy"), 1, load_max=1)
    ...     print(al.solve(problem).objective_value)
    5.5
    """

    def __init__(self, path: str | Path, block_rows: int | None = None) -> None:
        self.path = str(Path(path).absolute())
        super().__init__(_mapped(self.path), block_rows)

    def part(self, first: int, last: int) -> FitnessSource:
        """Return some blocks; the file is opened anew where they are sent."""
        return FitnessSource.part(self, first, last)

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path, "block_rows": self.block_rows}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)  # type: ignore[misc]


def _mapped(path: str) -> FloatArray:
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except Exception as error:  # a damaged header: from SyntaxError to MemoryError
        said = getattr(error, "strerror", None) or str(error).partition("\n")[0]
        reason = said.replace(path, "the file") or type(error).__name__
        raise ProblemError(f"{path}: not a .npy file that can be mapped: {reason}") from None
    if not isinstance(array, np.memmap) or array.dtype.kind not in "fiub":
        raise ProblemError(f"{path}: holds no plain array of numbers; write one with numpy.save")
    if array.ndim != 2:
        raise ProblemError(f"{path}: holds {array.ndim} dimensions; save a matrix of clients x "
                           f"experts")
    return float_matrix(array)
