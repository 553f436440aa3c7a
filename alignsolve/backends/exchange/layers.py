"""Problems with layer groups: each component on its own, and one answer of all of them.

Prices of a component are those of its experts, and what a client lacks to its best response is the
sum over components: the joined answer is proved as any other.
"""

from __future__ import annotations

import dataclasses
import math
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from functools import cached_property, partial
from typing import Any

import numpy as np
import numpy.typing as npt

from alignsolve.backends.exchange.components import Component, Components
from alignsolve.backends.exchange.inputs import Ints
from alignsolve.backends.exchange.outcome import ExchangeAnswer
from alignsolve.backends.exchange.params import ExchangeParams
from alignsolve.kernels import SMALL, Kernel, cores
from alignsolve.model.arrays import starts_of
from alignsolve.model.sources.base import FitnessSource

#: Seconds between two questions to the caller whether to stop, while others work.
ASK_SECONDS = 0.05

#: What is said of all components by one of them, the first that applies.
_STATUSES = ("infeasible", "stalled", "stopped", "optimal")


class SharedStop:
    """The caller's wish to stop, asked in its thread alone, for all threads.

    Parameters
    ----------
    wish : callable or None
        True stops.

    Attributes
    ----------
    infeasible : float
        First component known to be infeasible, or +inf; later ones are of no interest.
    """

    def __init__(self, wish: Callable[[], bool] | None) -> None:
        self.wish, self.caller, self.stopped = wish, threading.get_ident(), False
        self.infeasible = math.inf

    def __call__(self) -> bool:
        """Tell whether to stop."""
        if self.wish is not None and threading.get_ident() == self.caller:
            self.stopped = self.stopped or self.wish()
        return self.stopped

    def for_component(self, number: int) -> bool:
        """Tell whether a component is to stop."""
        return self() or number > self.infeasible


class SplitPairs:
    """Pairs by component, each with its experts numbered from 0.

    Parameters
    ----------
    rows, cols : int64 array, shape (n_pairs,)
        Clients, ascending, and experts.
    home, place : int64 array, shape (n_experts,)
        Component of each expert, and its number there.
    n_parts : int
        Number of components.
    """

    def __init__(self, rows: Ints, cols: Ints, home: Ints, place: Ints, n_parts: int) -> None:
        at = home[cols]
        order = np.argsort(at.astype(np.int16 if n_parts < 2**15 else np.int64), kind="stable")
        self.rows, self.cols = rows[order], place[cols[order]]
        self.ends = starts_of(np.bincount(at, minlength=n_parts))

    def part(self, number: int) -> tuple[Ints, Ints]:
        """Return the pairs of a component, clients ascending."""
        some = slice(int(self.ends[number]), int(self.ends[number + 1]))
        return self.rows[some], self.cols[some]


class Layers:
    """A problem with groups, in the arrays that `solve_exchange` takes.

    Parameters
    ----------
    fitness : float32 or float64 array, or FitnessSource, shape (n, m)
        Values.
    components : Components
        What to solve.
    solve_part : callable
        `solve_exchange`, or what does the same over a source.
    switch : tuple or None
        As `solve_exchange`.
    options : dict
        Further arguments of `solve_exchange`, of the whole problem.
    """

    def __init__(
        self, fitness: npt.NDArray[Any] | FitnessSource, components: Components,
        solve_part: Callable[..., ExchangeAnswer], switch: tuple[Any, Ints, Ints] | None,
        options: dict[str, Any],
    ) -> None:  # fmt: skip
        self.fitness, self.components, self.switch = fitness, components, switch
        self.solve_part = solve_part
        self.options = options
        self.n_parts = len(components.members)
        self.home = components.of_group[components.of_expert]
        self.place = np.empty(self.home.size, np.int64)
        for part in range(self.n_parts):
            experts = components.experts(part)
            self.place[experts] = np.arange(experts.size)

    @cached_property
    def _warm(self) -> SplitPairs | None:
        rows, cols = self.options.get("warm_rows"), self.options.get("warm_cols")
        return None if rows is None or cols is None else self._split(rows, cols)

    @cached_property
    def _held(self) -> SplitPairs | None:
        if self.switch is None:
            return None
        _, starts, cols = self.switch
        return self._split(np.repeat(np.arange(starts.size - 1), np.diff(starts)), cols)

    def _split(self, rows: Ints, cols: Ints) -> SplitPairs:
        return SplitPairs(np.asarray(rows), np.asarray(cols), self.home, self.place, self.n_parts)

    def prepare(self) -> None:
        """Split what all components read, before threads do."""
        _ = self._warm, self._held

    def solve(self, number: int, **options: Any) -> ExchangeAnswer:
        """Solve a component.

        Parameters
        ----------
        number : int
            Which one.
        **options
            Arguments of `solve_exchange` that are the same for all.
        """
        part = self.components.component(number)
        given = self.options | options | self._of_experts(part.experts)
        if self._warm is not None:
            given["warm_rows"], given["warm_cols"] = self._warm.part(number)
        if part.groups is not None:
            given["groups"] = part.groups
        fitness = (self.fitness.of_experts(part.experts) if isinstance(self.fitness, FitnessSource)
                   else columns(self.fitness, part.experts))  # fmt: skip
        return self.solve_part(
            fitness, part.slot_min, part.slot_max, switch=self._switch(part, number), **given
        )

    def _of_experts(self, experts: Ints) -> dict[str, Any]:
        """Return the arguments that have an entry per expert, for some of them."""
        weight, goal = self.options["penalty"]
        prices = self.options.get("warm_prices")
        return {
            "load_min": self.options["load_min"][experts],
            "load_max": self.options["load_max"][experts],
            "penalty": (weight[experts], goal[experts]),
            "warm_prices": None if prices is None else prices[experts],
        }

    def _switch(self, part: Component, number: int) -> tuple[Any, Ints, Ints] | None:
        if self.switch is None or self._held is None:
            return None
        rows, cols = self._held.part(number)
        starts = starts_of(np.bincount(rows, minlength=self.fitness.shape[0]))
        return columns(self.switch[0], part.experts), starts, cols


def columns(matrix: npt.NDArray[Any], experts: Ints) -> npt.NDArray[Any]:
    """Return some columns of a matrix: a view where they stand side by side."""
    first, last = int(experts[0]), int(experts[-1])
    if last - first + 1 == experts.size and (np.diff(experts) == 1).all():
        return matrix[:, first : last + 1]
    if matrix.strides[0] == 0:
        # Repeated rows of a broadcast array are not written out.
        return np.broadcast_to(matrix[:1, experts], (matrix.shape[0], experts.size))
    return matrix.take(experts, axis=1)


def solve_layers(
    fitness: npt.NDArray[Any] | FitnessSource, components: Components,
    solve_part: Callable[..., ExchangeAnswer], *,
    switch: tuple[Any, Ints, Ints] | None, threads: int | None, ready: bool,
    should_stop: Callable[[], bool] | None, params: ExchangeParams, **options: Any,
) -> ExchangeAnswer:  # fmt: skip
    """Solve each component, and join the answers.

    Parameters
    ----------
    components : Components
        The parts of the problem.
    solve_part : callable
        `solve_exchange`, or what does the same over a source.
    ready : bool
        Whether nothing has to compile, so that components may be solved at the same time.
    fitness, switch, threads, should_stop, params, **options
        As `solve_exchange`, of the whole problem.

    Notes
    -----
    Components of few clients are solved at the same time, a thread each; otherwise one after the
    other, with threads inside. Neither changes an answer. Beside the matrix there are copies of
    the columns of as many components as are solved at once.
    """
    started = time.perf_counter()
    layers = Layers(fitness, components, solve_part, switch, options)
    layers.prepare()
    stop, count = SharedStop(should_stop), layers.n_parts
    apart = ready and fitness.shape[0] <= 2 * params.block_rows and fitness.size > count * SMALL
    workers = min(threads or cores(), count) if apart else 1
    # Together they take no longer than one does to become feasible.
    hurried = dataclasses.replace(params, grace=params.grace / count)

    def solve(number: int) -> ExchangeAnswer:
        inside = 1 if workers > 1 else threads
        return layers.solve(number, threads=inside, should_stop=partial(stop.for_component, number),
                            params=hurried)  # fmt: skip

    found = _each(solve, count, workers, stop)
    return join(found, components, time.perf_counter() - started)


def kernels_for(components: Components) -> set[Kernel]:
    """Return the kernels that large components need."""
    from alignsolve.backends.exchange import algorithm

    return {kernel for part in components.members for kernel in algorithm.kernels_for(
        int(components.high[:, part].max(initial=0)), part.size > 1)}


def _each(
    solve: Callable[[int], ExchangeAnswer], count: int, workers: int, stop: SharedStop
) -> list[ExchangeAnswer]:
    """Return what ``solve(number)`` returns for each number; this thread is one of the workers.

    It asks the caller while it waits for the others. What one of them raises stops all.
    The list ends with the first infeasible component: earlier ones are solved to their end, so
    that it is the same one whatever the number of threads; later ones are not.
    """
    numbers: Iterator[int] = iter(range(count))
    found: dict[int, ExchangeAnswer] = {}
    lock = threading.Lock()

    def work() -> None:
        """Solve components until none is left, or a thread has failed."""
        nonlocal numbers
        try:
            while True:
                with lock:
                    number = next(numbers, count)
                if number >= min(count, stop.infeasible):
                    return
                found[number] = solve(number)
                if found[number].status == "infeasible":
                    with lock:
                        stop.infeasible = min(stop.infeasible, number)
        except BaseException:
            with lock:
                stop.stopped, numbers = True, iter(())
            raise

    if workers == 1:
        work()
        return list(found.values())
    with ThreadPoolExecutor(workers - 1) as pool:
        others = [pool.submit(work) for _ in range(workers - 1)]
        try:
            work()
            while wait(others, ASK_SECONDS).not_done:
                stop()
        except BaseException:
            stop.stopped, numbers = True, iter(())
            raise
        for other in others:
            other.result()
    return [found[number] for number in range(int(min(count, stop.infeasible + 1)))]


def join(
    found: list[ExchangeAnswer], components: Components, seconds: float
) -> ExchangeAnswer:
    """Return the answer of all components.

    Parameters
    ----------
    found : list of ExchangeAnswer
        Answers of the components in order, up to the first infeasible one.
    components : Components
        The parts of the problem.
    seconds : float
        How long they took together.
    """
    status = next(s for s in _STATUSES if any(part.status == s for part in found))
    stats = _added([part.stats for part in found], seconds, len(components.members))
    if status == "infeasible":
        number = next(k for k, part in enumerate(found) if part.status == status)
        part, experts = found[number], components.experts(number)
        named = None if part.conflict_experts is None else experts[part.conflict_experts]
        return ExchangeAnswer(status, conflict_experts=named, stats=stats,
                              conflict_client=part.conflict_client)  # fmt: skip
    prices = np.zeros(components.of_expert.size)
    for number, part in enumerate(found):
        if part.prices is not None:
            prices[components.experts(number)] = part.prices
    feasible = all(part.feasible for part in found)
    # Workers elsewhere may keep the pairs.
    here = feasible and all(part.row_ind is not None for part in found)
    row_ind, col_ind = _pairs(found, components) if here else (None, None)
    return ExchangeAnswer(status, row_ind, col_ind, prices, stats=stats, feasible=feasible)


def _pairs(found: list[ExchangeAnswer], components: Components) -> tuple[Ints, Ints]:
    """Return the pairs of all components by row, and where experts are in order by column.

    Empties `found`: memory for all pairs is needed once and for those of a component.
    """
    n = components.fewest.size
    # Where the next pair of each client belongs.
    place = starts_of(np.sum([np.bincount(rows, minlength=n) for rows, _ in map(_held, found)], 0))
    total, place = int(place[-1]), place[:-1]
    row_ind, col_ind = np.empty(total, np.int64), np.empty(total, np.int64)
    for number in range(len(found)):
        rows, cols = _held(found[number])
        count = np.bincount(rows, minlength=n)
        at = np.arange(rows.size) + np.repeat(place - starts_of(count)[:-1], count)
        row_ind[at], col_ind[at] = rows, components.experts(number)[cols]
        place += count
        found[number] = ExchangeAnswer(found[number].status)
    return row_ind, col_ind


def _held(part: ExchangeAnswer) -> tuple[Ints, Ints]:
    """Return the pairs of a feasible answer."""
    assert part.row_ind is not None and part.col_ind is not None
    return part.row_ind, part.col_ind


def _added(parts: list[dict[str, Any]], seconds: float, components: int) -> dict[str, Any]:
    """Return counts and seconds of phases, added up over the components."""
    phases: dict[str, float] = {}
    for part in parts:
        for name, value in part.get("seconds", {}).items():
            phases[name] = phases.get(name, 0.0) + value
    counts = {
        name: sum(part.get(name, 0) for part in parts) for name in parts[0] if name != "seconds"
    }
    # Passes over columns are so many over the matrix.
    counts["passes"] = counts.get("passes", 0.0) / components
    return counts | {"components": len(parts), "seconds": phases | {"total": seconds}}
