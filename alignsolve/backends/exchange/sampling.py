"""Samples of the clients, growing, from which starting prices are learnt."""

from __future__ import annotations

import numpy as np

from alignsolve.backends.exchange.inputs import Bounds, Floats, Ints, Matrix
from alignsolve.backends.exchange.params import ExchangeParams

#: Rows looked at to tell whether all values are whole numbers.
WHOLE_ROWS = 256


def sample_sizes(n: int, m: int, params: ExchangeParams) -> list[int]:
    """Return the sizes of the samples, growing; empty for a problem as small as one."""
    if n * m <= params.small:
        return []
    least = max(params.smallest_sample * m, params.first_entries // m)
    sizes = []
    size = n // params.growth
    while size > least:
        sizes.append(size)
        size //= params.growth
    if n > 4 * least and (not sizes or sizes[-1] > 4 * least):
        sizes.append(least)
    return sizes[::-1]


def _scaled(bound: Ints, factor: float) -> Ints:
    """Return bounds times a factor, rounded so that their sums are right."""
    edges = np.floor(np.cumsum(bound, dtype=np.float64) * factor + 0.5)
    return np.diff(edges, prepend=0.0).astype(np.int64)


def draw(
    slot_max: Ints, bounds: Bounds, size: int, generator: np.random.Generator
) -> tuple[Ints, Bounds]:
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


def first_prices(matrix: Matrix, rows: Ints, bounds: Bounds) -> Floats:
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
    price = bounds.no_prices()
    sure = np.isfinite(guess) & (bounds.load_max > 0)
    if sure.any():
        price[:-1][sure] = guess[sure] - guess[sure].min()
    return price


def looks_whole(matrix: Matrix, bounds: Bounds) -> bool:
    """Say whether values seem to be whole numbers: then prices are kept whole, and exact."""
    n = matrix.fitness.shape[0]
    some = matrix.fitness[:: max(1, n // WHOLE_ROWS)]
    some = some[np.isfinite(some)]
    whole = bool((np.rint(some) == some).all()) and not bounds.penalty.any()
    return whole and bool((np.rint(matrix.switch.cost) == matrix.switch.cost).all())
