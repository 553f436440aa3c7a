"""The solver over a source of rows: in this process, or over shards elsewhere."""

from __future__ import annotations

import dataclasses
import time
from typing import Any

import numpy as np

from alignsolve.backends.exchange import algorithm, sampling
from alignsolve.backends.exchange.inputs import NONE, Floats, Groups, Ints, Switch, slots_of
from alignsolve.backends.exchange.outcome import ExchangeAnswer, obvious_conflict
from alignsolve.backends.exchange.params import ExchangeParams
from alignsolve.backends.exchange.shard import Clients, Shard, cut
from alignsolve.backends.exchange.streamed import LocalShards, Shards, StreamedSubproblem
from alignsolve.backends.exchange.task import Blocks, Stats, Task
from alignsolve.kernels import cores
from alignsolve.model.sources.base import FitnessSource


def solve_source(
    source: FitnessSource, slot_min: Any, slot_max: Any, load_min: Any, load_max: Any, *,
    largest: float, switch: tuple[Any, Ints, Ints] | None = None, groups: Groups | None = None,
    threads: int | None = None, **options: Any,
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
    slot_min, slot_max, load_min, load_max, switch, groups, **options
        As `solve_exchange`.

    Notes
    -----
    Memory: about 40 bytes a client, a block a thread, and the rows of clients
    near a boundary, up to `ExchangeParams.room` entries. The source is read about
    four times; ``stats["passes"]`` counts.
    """
    n, m = source.shape
    slots = slots_of(n, m, slot_min, slot_max)
    task = Task.of(n, m, load_min, load_max, **options)
    with Blocks(threads or cores(), task.params) as task.run:
        costs = Switch.of(switch)
        shard = Shard(source, 0, stride_of(n, task.params), slots, costs, task.run, groups)
        return solve_shards(LocalShards(shard), slots, task, 2.0 * largest + costs.dearest)


def stride_of(n: int, params: ExchangeParams) -> int:
    """Return how far apart clients are from whose slack quantiles are told."""
    return max(1, n // params.slack_sample)


def solve_shards(
    shards: Shards, slots: tuple[Ints, Ints], task: Task, spread: float, collect: bool = True
) -> ExchangeAnswer:
    """Solve over shards that hold all clients in order.

    Parameters
    ----------
    shards : Shards
        Where the clients are.
    slots : tuple of int64 arrays, shape (n,) each
        Fewest and most experts of each client.
    task : Task
        What is asked.
    spread : float
        By how much two values may differ at most.
    collect : bool
        Whether to return the pairs; else they stay in the shards.
    """
    if obvious_conflict(*slots, task.bounds):
        return ExchangeAnswer("infeasible", stats=task.stats.as_dict())
    level, code = algorithm.solve_all(InShards(shards, slots[1], task), task)
    found = algorithm.finish(level, code, task, lambda: spread, collect)
    if found.feasible and not collect:
        level.put_back()
    found.stats["passes"] = sum(shards.all("read_so_far")) / max(1, slots[0].size)
    return found


class InShards:
    """Clients whose rows are in shards, but for a sample of them.

    Parameters
    ----------
    shards : Shards
        Where the clients are.
    slots : int64 array, shape (n,)
        Most experts of each client.
    task : Task
        Where values are whole numbers, prices are from now on.
    """

    def __init__(self, shards: Shards, slots: Ints, task: Task) -> None:
        self.shards = shards
        self.slots = slots
        self.task = task
        params, bounds = task.params, task.bounds
        clock = time.perf_counter()
        most = params.drawn // (bounds.load_max.size + 1)
        size = max(1, min(slots.size // params.growth, most))
        who, scaled = sampling.draw(slots, bounds, size, np.random.default_rng(task.seed))
        mine = [(who[some],) for some in cut(who, shards.starts)]
        drawn = Clients.join(shards.each("draw", mine))
        # The sample is in memory: reading it is no pass over the data.
        apart = dataclasses.replace(task, stats=Stats())
        self.drawn = algorithm.InMemory(drawn.responses().matrix, scaled, apart)
        self.nobody = drawn.take(NONE)
        task.whole = apart.whole
        task.stats.timed("samples", clock)

    def level(self, price: Floats) -> StreamedSubproblem:
        """Return all clients at some prices, before they respond."""
        return StreamedSubproblem(self.shards, self.nobody, self.slots, price, self.task)

    def at_learnt_prices(self) -> StreamedSubproblem:
        """Return all clients at their responses to prices learnt from the sample."""
        clock = time.perf_counter()
        sample = self.drawn.at_learnt_prices()
        if sample.bad < 0:
            algorithm.solve_level(sample, False)
        clock = self.task.stats.timed("samples", clock)
        level = self.level(sample.price)
        level.respond()
        self.task.stats.timed("pass", clock)
        return level
