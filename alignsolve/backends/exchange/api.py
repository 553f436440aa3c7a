"""The solver as a function of arrays."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy.typing as npt

from alignsolve.backends.exchange.inputs import Floats, Groups, Ints, matrix_of
from alignsolve.backends.exchange.outcome import ExchangeAnswer, obvious_conflict
from alignsolve.backends.exchange.params import DEFAULTS, ExchangeParams
from alignsolve.backends.exchange.task import Task


def solve_exchange(
    fitness: npt.NDArray[Any], slot_min: Any, slot_max: Any, load_min: Any, load_max: Any, *,
    penalty: tuple[Any, Any] | None = None, switch: tuple[Any, Ints, Ints] | None = None,
    groups: Groups | None = None, warm_prices: Floats | None = None, warm_rows: Ints | None = None,
    warm_cols: Ints | None = None, threads: int | None = None, seed: int = 0,
    deadline: float | None = None, should_stop: Callable[[], bool] | None = None,
    params: ExchangeParams = DEFAULTS,
) -> ExchangeAnswer:  # fmt: skip
    """Maximise the value of an assignment within slots and load bounds, exactly.

    Parameters
    ----------
    fitness : float32 or float64 array, shape (n, m)
        Values, only read; -inf forbids a pair, NaN and +inf are not allowed. Copied
        only where its rows are not contiguous.
    slot_min, slot_max : array_like of int, scalar or shape (n,)
        Experts that each client holds at least and at most.
    load_min, load_max : array_like of int, scalar or shape (m,)
        Holders of each expert.
    penalty : (weight, goal), optional
        ``weight * (load - goal)**2`` is paid for each expert; scalars or shape (m,),
        weight >= 0 in units of fitness.
    switch : (cost, indptr, indices), optional
        Cost, broadcastable to (n, m), of held pairs that were not held before (CSR).
    groups : Groups, optional
        Bounds on each client's experts of groups that share its slots.
    warm_prices : float64 array, shape (m,), optional
        Prices of an earlier answer.
    warm_rows, warm_cols : int64 array, shape (n_pairs,), optional
        Pairs of an earlier answer, sorted by row: ties are settled in its favour.
    threads : int, optional
        Threads of the passes; default all cores. The answer does not depend on it.
    seed : int, default 0
        Seed of the samples: it decides which of several optimal answers is found.
    deadline : float, optional
        Value of ``time.perf_counter()`` at which to stop.
    should_stop : callable, optional
        Asked between phases; true stops.
    params : ExchangeParams
        Thresholds and sizes.

    Returns
    -------
    ExchangeAnswer

    Notes
    -----
    Reads the matrix about twice, then takes O(m^2) time for each of the last few shortest
    paths. Values are compared as float64; rounding is of the order of 1e-15 of the largest
    value and price, and whole numbers below 2**49 are exact.
    """
    from alignsolve.backends.exchange import algorithm

    n, m = fitness.shape
    task = Task.of(
        n, m, load_min, load_max, penalty=penalty, warm_prices=warm_prices,
        warm_rows=warm_rows, warm_cols=warm_cols, seed=seed, deadline=deadline,
        should_stop=should_stop, params=params,
    )  # fmt: skip
    matrix = matrix_of(fitness, slot_min, slot_max, switch, groups)
    if obvious_conflict(matrix.slot_min, matrix.slot_max, task.bounds):
        return ExchangeAnswer("infeasible", stats=task.stats.as_dict())
    return algorithm.solve_matrix(matrix, task, threads)
