"""The solver over a source of rows: in this process, or over shards elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from alignsolve import kernels
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
from alignsolve.model.sources.base import FitnessSource

kernels.prepare()
from alignsolve.backends.exchange import algorithm, paths, sampling  # noqa: E402
from alignsolve.backends.exchange.inputs import bounds_of, matrix_of, slots_of, switch_of  # noqa: E402
from alignsolve.backends.exchange.shard import Clients, Shard, cut  # noqa: E402
from alignsolve.backends.exchange.streamed import (  # noqa: E402
    ROOM,
    SAMPLE,
    LocalShards,
    Shards,
    StreamedSubproblem,
)
from alignsolve.backends.exchange.subproblem import Blocks, Bounds, Stats, Subproblem  # noqa: E402

#: Entries of the rows that are drawn at most to learn prices from.
DRAWN = 2**21


def solve_source(
    source: FitnessSource, slot_min: Any, slot_max: Any, load_min: Any, load_max: Any, *,
    largest: float, switch: tuple[Any, Ints, Ints] | None = None, threads: int | None = None,
    **options: Any,
) -> ExchangeAnswer:  # fmt: skip
    """Do as `solve_exchange` with rows from a source, in this process.

    Parameters
    ----------
    source : FitnessSource
        Shape (n, m).
    largest : float
        Largest finite absolute fitness.
    threads : int, optional
        Threads, each of which holds one block; default all cores.
    slot_min, slot_max, load_min, load_max, switch, **options
        As `solve_exchange`.

    Notes
    -----
    Memory: about 40 bytes a client, a block a thread, and the rows of clients
    near a boundary, up to `alignsolve.backends.exchange.streamed.ROOM` entries. The
    source is read about four times; ``stats["passes"]`` counts.
    """
    n, m = source.shape
    slots = slots_of(n, m, slot_min, slot_max)
    workers = threads or cores()
    with ThreadPoolExecutor(workers) as pool:

        def run(work: Callable[[int], Any], count: int) -> list[Any]:
            if workers == 1 or count < 2:
                return [work(k) for k in range(count)]
            return list(pool.map(work, range(count)))

        shard = Shard(source, 0, stride_of(n), slots, switch_of(switch), run)
        return solve_shards(
            LocalShards(shard), m, source.dtype, slots, load_min, load_max, largest=largest,
            dearest=float(shard.switch[0].max(initial=0.0)), blocks=Blocks(pool), **options,
        )  # fmt: skip


def stride_of(n: int) -> int:
    """Return how far apart clients are from whose slack quantiles are told."""
    return max(1, n // SAMPLE)


def solve_shards(
    shards: Shards, m: int, dtype: Any, slots: tuple[Ints, Ints], load_min: Any, load_max: Any, *,
    largest: float, dearest: float, blocks: Blocks, penalty: tuple[Any, Any] | None = None,
    warm_prices: Floats | None = None, warm_rows: Ints | None = None,
    warm_cols: Ints | None = None, seed: int = 0, deadline: float | None = None,
    should_stop: Callable[[], bool] | None = None, collect: bool = True,
) -> ExchangeAnswer:  # fmt: skip
    """Solve over shards that hold all clients in order.

    Parameters
    ----------
    shards : Shards
        Where the clients are.
    m : int
        Number of experts.
    dtype : dtype
        Type of the rows.
    slots : tuple of int64 arrays, shape (n,) each
        Fewest and most experts of each client.
    largest, dearest : float
        Largest finite absolute fitness, and largest switching cost.
    blocks : Blocks
        Runs kernels over the clients that are here.
    collect : bool
        Whether to return the pairs; else they stay in the shards.
    load_min, load_max, penalty, warm_prices, warm_rows, warm_cols, seed, deadline, should_stop
        As `solve_exchange`.
    """
    started = time.perf_counter()
    stats = Stats()
    n = slots[0].size
    bounds = bounds_of(n, m, load_min, load_max, penalty)
    if obvious_conflict(*slots, bounds):
        return ExchangeAnswer("infeasible", stats=stats.as_dict())
    stop = Stop(deadline, should_stop)
    solver = _Solver(shards, m, dtype, slots, bounds, blocks, stats, stop)
    warm = warm_start(warm_prices, warm_rows, warm_cols, bounds)
    code, level, bad = solver.run(seed, warm)
    if code == paths.MORE:
        code = algorithm.move_excess(level, stop.last_chance())
    feasible = code == paths.DONE or (code != paths.INFEASIBLE and level.repair())
    if feasible and not collect:
        level.put_back()
    stats.passes = sum(shards.all("read_so_far")) / max(1, n)
    stats.seconds["total"] = time.perf_counter() - started
    prices = finite_prices(level.price, lambda: 2.0 * largest + dearest)
    return answer_of(
        code, level, bad, feasible, stop.stopped, prices, stats.as_dict(), collect
    )


class _Solver:
    """What the steps of one solve share."""

    def __init__(
        self, shards: Shards, m: int, dtype: Any, slots: tuple[Ints, Ints], bounds: Bounds,
        blocks: Blocks, stats: Stats, stop: Stop,
    ) -> None:  # fmt: skip
        self.shards = shards
        self.m = m
        self.dtype = dtype
        self.slots = slots
        self.bounds = bounds
        self.blocks = blocks
        self.stats = stats
        self.stop = stop

    def run(
        self, seed: int, warm: tuple[Floats, Any] | None
    ) -> tuple[int, StreamedSubproblem, int]:
        """Solve as `algorithm.solve_all`."""
        n = self.slots[0].size
        price, whole = self._sampled(seed)
        if warm is not None:
            price = warm[0]
        clock = time.perf_counter()
        level = StreamedSubproblem(
            self.shards, self.dtype, int(self.slots[1].sum()), n, self.bounds, price, whole,
            self.blocks, self.stats, max(ROOM // (self.m + 1), 1),
        )  # fmt: skip
        if warm is not None and warm[1] is not None:
            level.hold(*warm[1])
        bad = level.respond(keep=warm is not None)
        algorithm.timed(self.stats, "pass", clock)
        if bad >= 0:
            return paths.INFEASIBLE, level, bad
        return algorithm.solve_level(level, True, self.stop), level, -1

    def _sampled(self, seed: int) -> tuple[Floats, bool]:
        """Return prices learnt from a sample, shape (m + 1,), and whether values look whole."""
        clock = time.perf_counter()
        n = self.slots[0].size
        size = max(1, min(n // sampling.GROWTH, DRAWN // (self.m + 1)))
        generator = np.random.default_rng(seed)
        who, scaled = sampling.draw(self.slots[1], self.bounds, size, generator)
        mine = [(who[some],) for some in cut(who, self.shards.starts)]
        drawn = Clients.join(self.shards.each("draw", mine))
        matrix = matrix_of(drawn.values, drawn.slot_min, drawn.slot_max, None)
        whole = sampling.looks_whole(matrix, self.bounds)
        apart = Stats()  # the sample is in memory: reading it is no pass over the data
        sizes = sampling.sample_sizes(size, self.m) if size * self.m > algorithm.SMALL else []
        price = algorithm.sampled_prices(
            matrix, scaled, whole, self.blocks, apart, self.stop, seed, [], sizes
        )
        level = Subproblem(matrix, np.empty(0, np.int64), scaled, price, whole, self.blocks, apart)
        if level.respond() < 0:
            level = level if sizes else algorithm.better_start(level)
            algorithm.solve_level(level, False, self.stop)
        price = level.price
        algorithm.timed(self.stats, "samples", clock)
        return price, whole
