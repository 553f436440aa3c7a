"""The solver as a function of arrays."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from alignsolve.exchange.level import Bounds, Level, Matrix

#: Seconds that a stopped solve may take to make its answer feasible.
GRACE = 0.2

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class ExchangeAnswer:
    """What `solve_exchange` returns.

    Attributes
    ----------
    status : str
        "optimal"; "infeasible"; "stopped" (deadline, or asked to); "stalled"
        (the method does not suit the problem: use another solver).
    row_ind, col_ind : int64 arrays, shape (n_pairs,), or None
        Held pairs sorted by (row, col); None where no feasible assignment is known.
    prices : float64 array, shape (m,), or None
        Max-sense price of a holder of each expert: a client's best reply
        maximises value less price, an expert's price times load less penalty.
    conflict_experts : int64 array or None
        Experts whose bounds cannot hold together, where paths found that out.
    conflict_client : int
        A client that cannot fill its least slots, or -1.
    stats : dict
        Counts, and seconds of each phase.
    """

    status: str
    row_ind: Ints | None = None
    col_ind: Ints | None = None
    prices: Floats | None = None
    conflict_experts: Ints | None = None
    conflict_client: int = -1
    stats: dict[str, Any] = field(default_factory=dict)


def _plain(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return the same memory, marked writeable: kernels are compiled once for both kinds.

    Kernels only read it.
    """
    if array.flags.writeable or array.size == 0:
        return array if array.flags.writeable else array.copy()
    return np.asarray(_Memory(array))


class _Memory:
    """Array interface to another array's memory."""

    def __init__(self, array: npt.NDArray[Any]) -> None:
        self._array = array
        self.__array_interface__ = dict(array.__array_interface__)
        self.__array_interface__["data"] = (array.ctypes.data, False)


def _whole(value: Any, size: int) -> Ints:
    """Return int64 of one entry per client or expert; a view where it is that already."""
    return _plain(np.ascontiguousarray(np.broadcast_to(value, size), dtype=np.int64))


def _matrix(fitness: npt.NDArray[Any], slot_min: Any, slot_max: Any,
            switch: tuple[Any, Ints, Ints] | None) -> Matrix:  # fmt: skip
    """Bring the matrix and what belongs to its rows into the form the kernels take."""
    from alignsolve.exchange.level import Matrix

    if fitness.dtype not in (np.float32, np.float64):
        raise TypeError(f"fitness has dtype {fitness.dtype}; give float32 or float64")
    n, m = fitness.shape
    fitness = _plain(np.ascontiguousarray(fitness))
    cost, cost_row, cost_col = np.empty(0), 0, 0
    held_ptr, held_ind = np.zeros(1, np.int64), np.zeros(0, np.int64)
    if switch is not None:
        raw = np.asarray(switch[0], dtype=np.float64)
        # Strides of the broadcast say how far to step in the small array itself.
        base = raw.reshape((1,) * (2 - raw.ndim) + raw.shape)
        base = np.ascontiguousarray(base)
        cost_row = base.shape[1] if base.shape[0] > 1 else 0
        cost_col = 1 if base.shape[1] > 1 else 0
        cost = _plain(base.reshape(-1))
        held_ptr = _plain(np.ascontiguousarray(switch[1], dtype=np.int64))
        held_ind = _plain(np.ascontiguousarray(switch[2], dtype=np.int64))
    most = _whole(slot_max, n)
    if n and int(most.max()) > m:
        most = np.minimum(most, m)
    return Matrix(fitness, cost, cost_row, cost_col, held_ptr, held_ind, _whole(slot_min, n), most)


def _bounds(n: int, m: int, load_min: Any, load_max: Any,
            penalty: tuple[Any, Any] | None) -> Bounds:  # fmt: skip
    """Bring the experts' bounds into the form the kernels take; they are small and copied."""
    from alignsolve.exchange.level import Bounds

    low = np.maximum(np.broadcast_to(load_min, m), 0).astype(np.int64)
    high = np.minimum(np.broadcast_to(load_max, m), n).astype(np.int64)
    weight, goal = (0.0, 0.0) if penalty is None else penalty
    return Bounds(
        low, high,
        np.array(np.broadcast_to(weight, m), dtype=np.float64),
        np.array(np.broadcast_to(goal, m), dtype=np.float64),
    )  # fmt: skip


def _obvious_conflict(matrix: Matrix, bounds: Bounds) -> bool:
    """Say whether bounds alone, before any value is looked at, contradict each other."""
    if (bounds.load_min > bounds.load_max).any() or (matrix.slot_min > matrix.slot_max).any():
        return True
    least, most = int(matrix.slot_min.sum()), int(matrix.slot_max.sum())
    return least > int(bounds.load_max.sum()) or most < int(bounds.load_min.sum())


def _finite_prices(level: Level) -> Floats:
    """Return the prices; an expert that nobody may hold gets one at which nobody wants it."""
    price = level.price[:-1].copy()
    barred = np.flatnonzero(~np.isfinite(price))
    if barred.size:
        fitness = level.matrix.fitness
        low, high = 0.0, 0.0
        for start in range(0, fitness.shape[0], 65536):
            block = fitness[start : start + 65536]
            block = block[np.isfinite(block)]
            if block.size:
                low, high = min(low, float(block.min())), max(high, float(block.max()))
        dearest = level.matrix.cost.max() if level.matrix.cost.size else 0.0
        known = price[np.isfinite(price)]
        top = float(known.max()) if known.size else 0.0
        price[barred] = np.ceil(high - low + max(0.0, float(dearest)) + max(0.0, top))
    return price


def _warm(level_prices: Any, rows: Any, cols: Any, bounds: Bounds) -> tuple[Floats, Any] | None:
    """Return earlier prices, with +inf for experts that cannot be held, and the pairs."""
    if level_prices is None:
        return None
    price = np.zeros(bounds.load_max.size + 1)
    price[:-1] = level_prices
    price[~np.isfinite(price)] = 0.0
    price[:-1][bounds.load_max == 0] = np.inf
    pairs = None if rows is None else (np.asarray(rows, np.int64), np.asarray(cols, np.int64))
    return price, pairs


class _Stop:
    """Whether to stop: the deadline, or the caller's wish; with a grace period after it."""

    def __init__(self, deadline: float | None, wish: Callable[[], bool] | None) -> None:
        self.deadline = float("inf") if deadline is None else deadline
        self.wish = wish
        self.stopped = False

    def __call__(self) -> bool:
        if not self.stopped:
            late = time.perf_counter() > self.deadline
            self.stopped = late or (self.wish is not None and self.wish())
        return self.stopped

    def last_chance(self) -> Callable[[], bool]:
        """Return a stop for what has to follow a stop."""
        end = time.perf_counter() + GRACE
        return lambda: time.perf_counter() > end


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
    from alignsolve.exchange import compile_cache

    compile_cache.prepare()
    from alignsolve.exchange import algorithm, heaps, paths, rows, sampling
    from alignsolve.exchange.level import Blocks, Stats

    started = time.perf_counter()
    n, m = fitness.shape
    stats = Stats()
    matrix = _matrix(fitness, slot_min, slot_max, switch)
    bounds = _bounds(n, m, load_min, load_max, penalty)
    if _obvious_conflict(matrix, bounds):
        return ExchangeAnswer("infeasible", stats=stats.as_dict())
    compile_cache.announce(
        (rows.reply_rows, heaps.list_clients, paths.augment), fitness.dtype.name
    )
    stop = _Stop(deadline, should_stop)
    whole = sampling.looks_whole(matrix, bounds)
    warm = _warm(warm_prices, warm_rows, warm_cols, bounds)
    workers = threads or _cores()
    pool = ThreadPoolExecutor(workers) if workers > 1 and Blocks.pay(n) else None
    latest: list[Level] = []
    try:
        run = Blocks(pool)
        try:
            code, level, bad = algorithm.solve_all(
                matrix, bounds, whole, run, stats, stop, seed, warm, latest
            )
        except KeyboardInterrupt:
            # Whatever was under way may be half done: reply anew at the prices so far.
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
    return _answer(code, level, bad, feasible, stop.stopped, stats.as_dict())


def _cores() -> int:
    """Return the number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _answer(code: int, level: Level, bad: int, feasible: bool, stopped: bool,
            stats: dict[str, Any]) -> ExchangeAnswer:  # fmt: skip
    from alignsolve.exchange import paths

    if code == paths.INFEASIBLE:
        cut = None if bad >= 0 else np.flatnonzero(level.clients_load[:-1] > level.bounds.load_max)
        return ExchangeAnswer("infeasible", conflict_experts=cut, conflict_client=bad, stats=stats)
    prices = _finite_prices(level)
    row_ind, col_ind = level.pairs() if feasible else (None, None)
    status = "optimal" if code == paths.DONE else "stopped" if stopped else "stalled"
    return ExchangeAnswer(status, row_ind, col_ind, prices, stats=stats)
