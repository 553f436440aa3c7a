"""Fitness as a product of two factors, computed block by block."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from alignsolve.errors import ProblemError
from alignsolve.model.arrays import FloatArray, IntArray, numeric, read_only
from alignsolve.model.sources.arrays import ArraySource
from alignsolve.model.sources.base import FitnessSource


class FactorSource(FitnessSource):
    """Client features times expert embeddings: ``fitness[i, j] = sum_k f[i, k] e[j, k]``.

    Parameters
    ----------
    features : array_like or FitnessSource, shape (n_clients, rank)
        One row per client, float32 or float64: an array, a mapped one, or a
        source of rows.
    embeddings : array_like, shape (n_experts, rank)
        One row per expert; taken in the features' type.
    block_rows : int, optional
        Rows of a block; default about 2**19 entries.

    Raises
    ------
    ProblemError
        If the shapes do not fit, or `block_rows` is below 1.

    Notes
    -----
    Products are summed in the order of k, in the features' type, without fused
    operations: an entry has the same bits however many rows are computed
    together, on any number of threads and on any machine.

    Examples
    --------
    >>> import alignsolve as al
    >>> source = al.FactorSource([[1.0, 0.0], [0.5, 0.5]], [[3.0, 1.0], [1.0, 4.0]])
    >>> source.block(0).tolist()
    [[3.0, 1.0], [2.0, 2.5]]
    """

    random_access = True

    def __init__(
        self, features: FitnessSource | npt.ArrayLike, embeddings: npt.ArrayLike,
        block_rows: int | None = None,
    ) -> None:
        if not isinstance(features, FitnessSource):
            features = ArraySource(numeric("features", features))
        self.features = features
        self.random_access = self.features.random_access
        other = numeric("embeddings", embeddings)
        n, rank = self.features.shape
        if other.ndim != 2 or other.shape[1] != rank:
            raise ProblemError(f"embeddings has shape {other.shape}; give one row of {rank} "
                               f"numbers per expert, as many as a client has features")
        dtype = self.features.dtype
        # By feature, so that the experts of a row are computed side by side.
        self.weights: FloatArray = read_only(np.array(other.T, dtype=dtype, order="C"))
        super().__init__((n, other.shape[0]), dtype, block_rows=block_rows)

    def block(self, k: int) -> FloatArray:
        """Return block k of the product."""
        start, stop = int(self.edges[k]), int(self.edges[k + 1])
        if isinstance(self.features, ArraySource):
            return self._product(self.features.array[start:stop])
        return self._product(self.features[start:stop])

    def rows(self, index: IntArray) -> FloatArray:
        """Return some rows of the product."""
        return self._product(self.features.rows(index))

    def pairs(self, row_ind: IntArray, col_ind: IntArray) -> FloatArray:
        """Return some entries of the product."""
        out = np.empty(row_ind.size, self.dtype)
        for _, some in self.by_block(row_ind):
            features = np.ascontiguousarray(self.features.rows(row_ind[some]))
            kernels().entries(
                read_only(features), self.weights, read_only(col_ind[some]), out[some]
            )
        return out

    def _product(self, features: FloatArray) -> FloatArray:
        out = np.empty((features.shape[0], self.shape[1]), self.dtype)
        kernels().product(read_only(np.ascontiguousarray(features)), self.weights, out)
        return out

    def part(self, first: int, last: int) -> FitnessSource:
        """Return some blocks, with only their clients' features where those are in memory."""
        if type(self.features) is not ArraySource:
            return super().part(first, last)
        start, stop = self.edges[[first, last]]
        return FactorSource(self.features.array[start:stop], self.weights.T, self.block_rows)

    def of_experts(self, experts: IntArray) -> FitnessSource:
        """Return the products for some of the experts alone."""
        return FactorSource(self.features, self.weights.T[experts], self.block_rows)


def kernels() -> Any:
    """Return the compiled part; numba is slow to import."""
    from alignsolve.model.sources import factor_kernels

    return factor_kernels
