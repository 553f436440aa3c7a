"""The solver as a function of arrays."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from alignsolve.backends.exchange.outcome import (
    ExchangeAnswer,
    Floats,
    Ints,
    Stop,
    answer_of,
    cores,
    finite_prices,
    obvious_conflict,
    warm_start,
)

if TYPE_CHECKING:
    from alignsolve.backends.exchange.subproblem import Matrix, Subproblem


def _spread(matrix: Matrix) -> float:
    """Return by how much two values may differ at most."""
    low, high = 0.0, 0.0
    for start in range(0, matrix.fitness.shape[0], 65536):
        block = matrix.fitness[start : start + 65536]
        block = block[np.isfinite(block)]
        if block.size:
            low, high = min(low, float(block.min())), max(high, float(block.max()))
    return high - low + max(0.0, float(matrix.cost.max(initial=0.0)))


def solve_exchange(
    fitness: npt.NDArray[Any],
    slot_min: Any,
    slot_max: Any,
    load_min: Any,
    load_max: Any,
    *,
    penalty: tuple[Any, Any] | None = None,
    switch: tuple[Any, Ints, Ints] | None = None,
    warm_prices: Floats | None = None,
    warm_rows: Ints | None = None,
    warm_cols: Ints | None = None,
    threads: int | None = None,
    seed: int = 0,
    deadline: float | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> ExchangeAnswer:
    """Maximise the value of an assignment within slots and load bounds, exactly.

    Parameters
    ----------
    fitness : float32 or float64 array, shape (n, m)
        Values; -inf forbids a pair, NaN and +inf are not allowed. Only read; not
        copied unless its rows are not contiguous.
    slot_min, slot_max : array_like of int, scalar or shape (n,)
        Experts that each client holds at least and at most.
    load_min, load_max : array_like of int, scalar or shape (m,)
        Holders of each expert.
    penalty : (weight, goal), optional
        ``weight * (load - goal)**2`` is paid for each expert; scalars or shape
        (m,), weight >= 0 in units of fitness.
    switch : (cost, indptr, indices), optional
        Cost, broadcastable to (n, m), of each held pair that is not among those
        held before, given as CSR.
    warm_prices : float64 array, shape (m,), optional
        Prices of an earlier answer.
    warm_rows, warm_cols : int64 arrays, shape (n_pairs,), optional
        An earlier answer, sorted by row: ties are settled in its favour.
    threads : int, optional
        Threads of the passes over the matrix; default all cores. The answer
        does not depend on it.
    seed : int, default 0
        Seed of the samples: it decides which of several optimal answers is found.
    deadline : float, optional
        Value of ``time.perf_counter()`` at which to stop.
    should_stop : callable, optional
        Asked between phases; true stops.

    Returns
    -------
    ExchangeAnswer

    Notes
    -----
    Reads the matrix about twice, then O(m^2) time for each of the last few
    shortest paths. Values are compared as float64 and rounding is of the order
    of 1e-15 of the largest value and price; whole numbers below 2**49 are exact.
    """
    from alignsolve import kernels

    kernels.prepare()
    from alignsolve.backends.exchange import algorithm, heaps, paths, sampling
    from alignsolve.backends.exchange import row_kernels as rows
    from alignsolve.backends.exchange.inputs import bounds_of, matrix_of
    from alignsolve.backends.exchange.subproblem import Blocks, Stats

    started = time.perf_counter()
    n, m = fitness.shape
    stats = Stats()
    matrix = matrix_of(fitness, slot_min, slot_max, switch)
    bounds = bounds_of(n, m, load_min, load_max, penalty)
    if obvious_conflict(matrix.slot_min, matrix.slot_max, bounds):
        return ExchangeAnswer("infeasible", stats=stats.as_dict())
    kernels.announce(
        (rows.response_rows, heaps.list_clients, paths.augment), fitness.dtype.name
    )
    stop = Stop(deadline, should_stop)
    whole = sampling.looks_whole(matrix, bounds)
    warm = warm_start(warm_prices, warm_rows, warm_cols, bounds)
    workers = threads or cores()
    pool = ThreadPoolExecutor(workers) if workers > 1 and Blocks.pay(n) else None
    latest: list[Subproblem] = []
    try:
        run = Blocks(pool)
        try:
            code, level, bad = algorithm.solve_all(
                matrix, bounds, whole, run, stats, stop, seed, warm, latest
            )
        except KeyboardInterrupt:
            # Whatever was under way may be half done: respond anew at the prices so far.
            stop.stopped = True
            prices = latest[0].price if latest else np.where(bounds.load_max > 0, 0.0, np.inf)
            warm = np.append(prices[:m], 0.0), None
            code, level, bad = algorithm.solve_all(
                matrix, bounds, whole, Blocks(None), stats, stop, seed, warm, latest
            )
        if code == paths.MORE:
            code = algorithm.move_excess(level, stop.last_chance())
        feasible = code == paths.DONE or (code != paths.INFEASIBLE and level.repair())
    finally:
        if pool is not None:
            pool.shutdown(cancel_futures=True)
    stats.seconds["total"] = time.perf_counter() - started
    prices = finite_prices(level.price, lambda: _spread(matrix))
    return answer_of(code, level, bad, feasible, stop.stopped, prices, stats.as_dict())
