"""Samples of the clients, growing, from which starting prices are learnt."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from alignsolve.backends.exchange.subproblem import Bounds, Matrix

#: Clients of the smallest sample per expert, and its entries; both are kept. Each
#: sample is `GROWTH` times larger than the one before.
SMALLEST = 2
FIRST_ENTRIES = 8192
GROWTH = 8
#: Rows looked at to tell whether all values are whole numbers.
WHOLE_ROWS = 256


def sample_sizes(n: int, m: int) -> list[int]:
    """Return the sizes of the samples, growing; empty for a problem as small as one."""
    least = max(SMALLEST * m, FIRST_ENTRIES // m)
    sizes = []
    size = n // GROWTH
    while size > least:
        sizes.append(size)
        size //= GROWTH
    if n > 4 * least and (not sizes or sizes[-1] > 4 * least):
        sizes.append(least)
    return sizes[::-1]


def _scaled(bound: npt.NDArray[np.int64], factor: float) -> npt.NDArray[np.int64]:
    """Return bounds times a factor, rounded so that their sums are right."""
    edges = np.floor(np.cumsum(bound, dtype=np.float64) * factor + 0.5)
    return np.diff(edges, prepend=0.0).astype(np.int64)


def draw(
    slot_max: npt.NDArray[np.int64], bounds: Bounds, size: int, generator: np.random.Generator
) -> tuple[npt.NDArray[np.int64], Bounds]:
    """Draw one client from each of `size` equal stretches; scale the loads to them.

    Stretches keep the sample fair where clients are sorted, drawing keeps it fair
    where they are periodic.
    """
    n = slot_max.size
    edges = np.arange(size + 1) * n // size
    rows = edges[:-1] + (generator.random(size) * np.diff(edges)).astype(np.int64)
    slots = max(1, int(slot_max.sum()))
    factor = max(1e-9, int(slot_max[rows].sum()) / slots)
    load_max = _scaled(bounds.load_max, factor)
    load_max = np.where(bounds.load_max > 0, np.maximum(load_max, 1), 0)
    load_min = np.minimum(_scaled(bounds.load_min, factor), load_max)
    return rows, Bounds(load_min, load_max, bounds.penalty / factor, bounds.goal * factor)


def first_prices(
    matrix: Matrix, rows: npt.NDArray[np.int64], bounds: Bounds
) -> npt.NDArray[np.float64]:
    """Guess prices from each expert's values alone, shape (m + 1,).

    At its guess an expert would be wanted by as many of the clients `rows` (empty
    for all) as it may hold, if they had to choose between it and nothing. The
    least guess is taken for the level of nothing.
    """
    values = (matrix.fitness[rows] if rows.size else matrix.fitness).astype(np.float64)
    size, m = values.shape
    at = np.clip(size - bounds.load_max, 0, size - 1)
    # Where loads are bounded alike, no more than one place has to be right.
    values.partition(np.unique(at), axis=0)
    guess = values[at, np.arange(m)]
    price = np.zeros(m + 1)
    sure = np.isfinite(guess) & (bounds.load_max > 0)
    if sure.any():
        price[:-1][sure] = guess[sure] - guess[sure].min()
    price[:-1][bounds.load_max == 0] = np.inf
    return price


def looks_whole(matrix: Matrix, bounds: Bounds) -> bool:
    """Say whether values seem to be whole numbers: then prices are kept whole, and exact."""
    n = matrix.fitness.shape[0]
    some = matrix.fitness[:: max(1, n // WHOLE_ROWS)]
    some = some[np.isfinite(some)]
    whole = bool((np.rint(some) == some).all()) and not bounds.penalty.any()
    return whole and bool((np.rint(matrix.cost) == matrix.cost).all())
