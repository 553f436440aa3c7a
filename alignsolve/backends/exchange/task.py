"""What is asked of a solve, and what its levels share."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from typing import Any

import numpy as np

from alignsolve.backends.exchange.inputs import Bounds, Floats, Ints, bounds_of
from alignsolve.backends.exchange.params import DEFAULTS, ExchangeParams


class Stop:
    """Whether to stop: the deadline, or the caller's wish; with a grace period after it."""

    def __init__(self, deadline: float | None, wish: Callable[[], bool] | None) -> None:
        self.deadline = float("inf") if deadline is None else deadline
        self.wish = wish
        self.stopped = False

    def __call__(self) -> bool:
        """Say whether to stop now."""
        if not self.stopped:
            late = time.perf_counter() > self.deadline
            self.stopped = late or (self.wish is not None and self.wish())
        return self.stopped


class Blocks:
    """Runs work over blocks, in threads where there are several and it pays.

    Parameters
    ----------
    threads : int
        Threads; 1 for the caller's own.
    params : ExchangeParams
        Rows of a block, which are fixed, so that no answer depends on the thread count.
    """

    def __init__(self, threads: int = 1, params: ExchangeParams = DEFAULTS) -> None:
        self.pool = ThreadPoolExecutor(threads) if threads > 1 else None
        self.rows = params.block_rows
        self.batches = params.batches

    def __enter__(self) -> Blocks:
        return self

    def __exit__(self, *_: object) -> None:
        if self.pool is not None:
            self.pool.shutdown(cancel_futures=True)

    def map(self, work: Callable[[int], Any], items: Sequence[int]) -> list[Any]:
        """Return what ``work(item)`` returns for each item."""
        if self.pool is None or len(items) < 2:
            return [work(item) for item in items]
        return list(self.pool.map(work, items))

    def __call__(self, work: Callable[[int, int], Any], size: int) -> list[Any]:
        """Return what ``work(lo, hi)`` returns for each block of ``range(size)``."""
        if 0 < size <= self.rows:
            return [work(0, size)]
        starts = range(0, size, self.rows)
        # Several blocks at a time: to hand one over takes as long as a tenth of its work.
        step = -(-len(starts) // self.batches) if len(starts) > 2 else 2

        def some(first: int) -> list[Any]:
            return [work(lo, min(size, lo + self.rows)) for lo in starts[first : first + step]]

        return list(chain.from_iterable(self.map(some, range(0, len(starts), step))))


@dataclass
class Stats:
    """What a solve did: counts, and seconds of each phase."""

    passes: float = 0.0
    searches: int = 0
    paths: int = 0
    swaps: int = 0
    listed: int = 0
    scanned: int = 0
    widenings: int = 0
    calls: int = 0
    newton: int = 0
    seconds: dict[str, float] = field(default_factory=dict)

    def timed(self, phase: str, started: float) -> float:
        """Add the seconds since `started` to a phase; return the time now."""
        now = time.perf_counter()
        self.seconds[phase] = self.seconds.get(phase, 0.0) + now - started
        return now

    def as_dict(self) -> dict[str, Any]:
        """Return a copy; `dataclasses.asdict` takes a tenth of a small solve."""
        return vars(self) | {"seconds": dict(self.seconds)}


@dataclass
class Task:
    """What is asked of a solve, and what its levels share.

    Attributes
    ----------
    bounds : Bounds
        Bounds of the whole problem.
    stop : Stop
        Asked between phases.
    seed : int
        Seed of the samples.
    params : ExchangeParams
        Thresholds and sizes.
    warm : tuple, or None
        Earlier prices, shape (m + 1,), with +inf for experts that cannot be held, and the
        pairs held then, or None.
    run : Blocks
        Runs kernels over rows.
    whole : bool
        Keep prices whole numbers, and thereby exact.
    stats : Stats
        What was done so far.
    started : float
        Value of ``time.perf_counter()`` at the start.
    """

    bounds: Bounds
    stop: Stop
    seed: int
    params: ExchangeParams
    warm: tuple[Floats, tuple[Ints, Ints] | None] | None
    run: Blocks = field(default_factory=Blocks)
    whole: bool = False
    stats: Stats = field(default_factory=Stats)
    started: float = field(default_factory=time.perf_counter)

    @classmethod
    def of(
        cls, n: int, m: int, load_min: Any, load_max: Any, *,
        penalty: tuple[Any, Any] | None = None, warm_prices: Floats | None = None,
        warm_rows: Ints | None = None, warm_cols: Ints | None = None, seed: int = 0,
        deadline: float | None = None, should_stop: Callable[[], bool] | None = None,
        params: ExchangeParams = DEFAULTS,
    ) -> Task:  # fmt: skip
        """Return the task of n clients and m experts; for the others see `solve_exchange`."""
        bounds = bounds_of(n, m, load_min, load_max, penalty)
        warm = None
        if warm_prices is not None:
            given, price = np.asarray(warm_prices, np.float64), bounds.no_prices()
            known = np.isfinite(given) & np.isfinite(price[:-1])
            price[:-1][known] = given[known]
            pairs = None
            if warm_rows is not None and warm_cols is not None:
                # `np.nonzero` returns strided ones, for which kernels would compile anew.
                contiguous = partial(np.ascontiguousarray, dtype=np.int64)
                pairs = contiguous(warm_rows), contiguous(warm_cols)
            warm = price, pairs
        return cls(bounds, Stop(deadline, should_stop), seed, params, warm)
