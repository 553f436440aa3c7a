"""What a fitness source is: rows of a matrix, block by block, never the whole."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any, NoReturn, TypeVar

import numpy as np
import numpy.typing as npt

from alignsolve.errors import ProblemError, UnsupportedProblemError
from alignsolve.kernels import cores
from alignsolve.model.arrays import FloatArray, IntArray

#: Entries of a block where a source may choose: 2 MiB of float32, about a core's cache.
BLOCK_ENTRIES = 2**19

T = TypeVar("T")


class FitnessSource(ABC):
    """A fitness matrix that is read in blocks of rows and never held as a whole.

    `AlignmentProblem` takes one in place of an array. Subclasses call
    ``super().__init__`` and implement `block`; the others override `rows`,
    `pairs` and `part` where they can do better than by whole blocks.

    Parameters
    ----------
    shape : tuple of int
        Clients and experts.
    dtype : dtype
        float32 or float64.
    edges : int64 array, shape (n_blocks + 1,), optional
        First row of each block, and the number of rows. None for blocks of
        `block_rows` rows.
    block_rows : int, optional
        Rows of a block; None for as many as have about `BLOCK_ENTRIES` entries.

    Raises
    ------
    ProblemError
        If the shape, the type or the number of rows is wrong.

    Notes
    -----
    Blocks are fixed, and reading a row twice must give the same bits: answers
    and certificates compare values for equality. A source is read by several
    threads at once.

    Examples
    --------
    A source of one's own, whose rows come from anywhere:

    >>> import numpy as np
    >>> import alignsolve as al
    >>> class Nearness(al.FitnessSource):
    ...     def __init__(self, places):
    ...         super().__init__((len(places), 3), np.float64)
    ...         self.places = np.asarray(places, dtype=float)
    ...     def block(self, k):
    ...         start, stop = self.edges[k : k + 2]
    ...         return 2 - abs(self.places[start:stop, None] - np.arange(3.0))
    >>> problem = al.AlignmentProblem(Nearness([0.1, 1.8, 1.2]), max_experts=1, load_max=1)
    >>> al.solve(problem).col_ind.tolist()
    [0, 2, 1]
    """

    #: Whether single rows cost no more than their share of a block.
    random_access: bool = False
    #: Whether any pair is forbidden, and the largest finite absolute value; None before a
    #: problem has looked through the source, which it does only once.
    facts: tuple[bool, float] | None = None
    #: Whether pairs may be left out, and what then stands for them; see `as_cost`.
    leaves_out: bool = False
    absent: float = -np.inf

    def __init__(
        self, shape: tuple[int, int], dtype: npt.DTypeLike, edges: IntArray | None = None,
        block_rows: int | None = None,
    ) -> None:
        n, m = (int(size) for size in shape)
        self.shape = n, m
        self.dtype = np.dtype(dtype)
        if self.dtype not in (np.float32, np.float64):
            raise ProblemError(f"fitness source has dtype {self.dtype}; give float32 or float64")
        if block_rows is None:
            block_rows = max(1, BLOCK_ENTRIES // max(1, m))
        if block_rows < 1:
            raise ProblemError(f"block_rows is {block_rows}; give a whole number >= 1")
        if edges is None:
            edges = np.append(np.arange(0, n, block_rows), n)
        self.block_rows = block_rows
        self.edges = np.asarray(edges, dtype=np.int64)
        self._latest: tuple[int, FloatArray] | None = None

    @abstractmethod
    def block(self, k: int) -> FloatArray:
        """Return block k, shape ``(edges[k + 1] - edges[k], n_experts)``, in C order.

        ``-inf`` forbids a pair. The array may be a view; it is only read.
        """

    def rows(self, index: IntArray) -> FloatArray:
        """Return some rows, shape (len(index), n_experts), best in ascending order."""
        out = np.empty((index.size, self.shape[1]), self.dtype)
        for k, some in self.by_block(index):
            out[some] = self._kept(k)[index[some] - self.edges[k]]
        return out

    def pairs(self, row_ind: IntArray, col_ind: IntArray) -> FloatArray:
        """Return single entries, shape (len(row_ind),), best in ascending order of rows."""
        out = np.empty(row_ind.size, self.dtype)
        for k, some in self.by_block(row_ind):
            out[some] = self._kept(k)[row_ind[some] - self.edges[k], col_ind[some]]
        return out

    def part(self, first: int, last: int) -> FitnessSource:
        """Return blocks ``first`` to ``last - 1`` as a source that can be sent elsewhere."""
        return _View(self, first, last)

    def of_experts(self, experts: IntArray) -> FitnessSource:
        """Return a source of some of the experts, whose blocks are read from this one's."""
        return _View(self, 0, self.n_blocks, experts)

    def in_memory(self) -> FloatArray:
        """Return the whole matrix, read into memory."""
        matrix = np.empty(self.shape, self.dtype)
        for k in range(self.n_blocks):
            matrix[self.edges[k] : self.edges[k + 1]] = checked_block(self, k)
        return matrix

    def as_cost(self) -> FitnessSource:
        """Return the source as one of costs: pairs that it leaves out are forbidden there too."""
        if not self.leaves_out:
            return self
        costs = copy.copy(self)
        costs.absent, costs.facts, costs._latest = np.inf, None, None
        return costs

    # -- what makes it read like an array, by rows --------------------------

    @property
    def ndim(self) -> int:
        """Number of dimensions: 2."""
        return 2

    @property
    def size(self) -> int:
        """Number of entries."""
        return self.shape[0] * self.shape[1]

    @property
    def n_blocks(self) -> int:
        """Number of blocks."""
        return int(self.edges.size) - 1

    def by_block(self, index: IntArray) -> list[tuple[int, slice]]:
        """Return runs of an index that lie in one block each: the block, and where."""
        if not index.size:
            return []
        home = np.searchsorted(self.edges, index, side="right") - 1
        cuts = [0, *(np.flatnonzero(np.diff(home)) + 1).tolist(), index.size]
        return [(int(home[a]), slice(a, b)) for a, b in pairwise(cuts)]

    def _kept(self, k: int) -> FloatArray:
        """Return a block; the latest one is kept, as callers read on from where they were."""
        latest = self._latest
        if latest is None or latest[0] != k:
            latest = k, self.block(k)
            self._latest = latest
        return latest[1]

    def __getitem__(self, key: Any) -> FloatArray:
        n = self.shape[0]
        if isinstance(key, tuple):
            rows, cols = np.broadcast_arrays(*(np.asarray(k, dtype=np.int64) for k in key))
            flat = self.pairs(rows.ravel(), cols.ravel())
            return flat.reshape(rows.shape)
        if isinstance(key, slice):
            start, stop, step = key.indices(n)
            return self.rows(np.arange(start, stop, step))
        index = np.asarray(key)
        if index.dtype == np.bool_:
            index = np.flatnonzero(index)
        found = self.rows(index.astype(np.int64).reshape(-1))
        return found[0] if index.ndim == 0 else found

    def __len__(self) -> int:
        return self.shape[0]

    def __array__(self, *_: Any, **__: Any) -> NoReturn:
        raise UnsupportedProblemError(
            f"this needs the whole matrix of {self.shape[0]:,} x {self.shape[1]:,} in memory, "
            f"which a fitness source does not give; use the backend 'exchange', or give an array"
        )

    def __getstate__(self) -> dict[str, Any]:
        return vars(self) | {"_latest": None}

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.shape[0]} x {self.shape[1]}, {self.dtype})"


class _View(FitnessSource):
    """Some consecutive blocks of another source, of all experts or of some."""

    def __init__(
        self, whole: FitnessSource, first: int, last: int, experts: IntArray | None = None
    ) -> None:
        edges = whole.edges[first : last + 1]
        self.whole, self.first, self.start, self.experts = whole, first, int(edges[0]), experts
        width = whole.shape[1] if experts is None else experts.size
        super().__init__((int(edges[-1]) - self.start, width), whole.dtype, edges - self.start)
        self.random_access = whole.random_access

    def block(self, k: int) -> FloatArray:
        return self._picked(self.whole.block(self.first + k))

    def rows(self, index: IntArray) -> FloatArray:
        return self._picked(self.whole.rows(index + self.start))

    def _picked(self, rows: FloatArray) -> FloatArray:
        return rows if self.experts is None else rows.take(self.experts, axis=1)

    def pairs(self, row_ind: IntArray, col_ind: IntArray) -> FloatArray:
        cols = col_ind if self.experts is None else self.experts[col_ind]
        return self.whole.pairs(row_ind + self.start, cols)


class Negated(_View):
    """A source of costs as one of fitness: every entry times -1."""

    def __init__(self, cost: FitnessSource) -> None:
        super().__init__(cost, 0, cost.n_blocks)
        self.cost = cost

    # 0 - x and not -x: a cost of 0 must not become -0.
    def _picked(self, rows: FloatArray) -> FloatArray:
        return np.subtract(0, rows, dtype=self.dtype)

    def pairs(self, row_ind: IntArray, col_ind: IntArray) -> FloatArray:
        """Return entries of the costs, negated."""
        return np.subtract(0, self.cost.pairs(row_ind, col_ind), dtype=self.dtype)

    def part(self, first: int, last: int) -> FitnessSource:
        """Return some blocks, negated."""
        return Negated(self.cost.part(first, last))

    def of_experts(self, experts: IntArray) -> FitnessSource:
        """Return some experts, negated."""
        return Negated(self.cost.of_experts(experts))

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take the state of a pickle; an older one holds the costs and is no view of them."""
        view = {"whole": state["cost"], "first": 0, "start": 0, "experts": None}
        vars(self).update(view | state)


def map_blocks(
    source: FitnessSource, work: Callable[[int, FloatArray], T], threads: int | None = None
) -> list[T]:
    """Return ``work(k, block)`` of every block, in order, in threads.

    Parameters
    ----------
    source : FitnessSource
        What to read, each block once.
    work : callable
        Gets the number of a block and the block, which it must not keep.
    threads : int, optional
        Threads, each of which holds one block; default all cores.
    """

    def one(k: int) -> T:
        return work(k, checked_block(source, k))

    workers = min(threads or cores(), source.n_blocks)
    if workers <= 1:
        return [one(k) for k in range(source.n_blocks)]
    with ThreadPoolExecutor(workers) as pool:
        return list(pool.map(one, range(source.n_blocks)))


def checked_block(source: FitnessSource, k: int) -> FloatArray:
    """Return a block in C order, after a look at its shape and type.

    Raises
    ------
    ProblemError
        If the source broke its word.
    """
    block = np.asarray(source.block(k))
    start, stop = int(source.edges[k]), int(source.edges[k + 1])
    if block.shape != (stop - start, source.shape[1]) or block.dtype != source.dtype:
        raise ProblemError(
            f"fitness source gave clients {start} to {stop - 1} as {block.dtype} of shape "
            f"{block.shape}; give {source.dtype} of shape {(stop - start, source.shape[1])}"
        )
    return np.ascontiguousarray(block)
