"""Steer the kernels: sampled prices, Newton steps, exact shortest paths.

In outline: learn prices from samples that grow eightfold, each starting from the
last one's prices; give all clients their best responses in one pass over the
matrix; clear most of what the sample got wrong by Newton steps, which read only
clients near a boundary again; move the rest along shortest paths, exactly.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol, TypeVar

import numpy as np

from alignsolve.backends.exchange import (
    bookkeeping,
    heaps,
    newton,
    newton_kernels,
    paths,
)
from alignsolve.backends.exchange.graph import Graph
from alignsolve.backends.exchange.inputs import NONE, Bounds, Floats, Ints, Matrix
from alignsolve.backends.exchange.outcome import ExchangeAnswer, finite_prices
from alignsolve.backends.exchange.responses import response_kernel
from alignsolve.backends.exchange.sampling import draw, first_prices, looks_whole, sample_sizes
from alignsolve.backends.exchange.subproblem import Subproblem
from alignsolve.backends.exchange.task import Blocks, Task
from alignsolve.certificate import row_pass_kernels
from alignsolve.kernels import Kernel, cores

STALLED = 5

SubproblemT = TypeVar("SubproblemT", bound=Subproblem, covariant=True)


def _work(level: Subproblem) -> float:
    """Return about the nanoseconds that exact paths took so far."""
    stats = level.stats
    nodes = level.m + 1
    lists = 40.0 * stats.listed + 60.0 * stats.scanned
    return float(lists + 2.0 * stats.searches * nodes**2 + 10.0 * stats.swaps * nodes)


def _first_threshold(level: Subproblem, total: int) -> tuple[float, int]:
    """Return the slack to list up to, and the room for entries, that an excess calls for."""
    params = level.task.params
    if level.size * level.m <= params.small:
        return np.inf, (level.places + 1) * (level.m + 1)
    wanted = params.list_excess * total + params.list_node * (level.m + 1)
    share = min(params.list_share, wanted / level.size)
    return level.slack_quantile(share), 12 * wanted + 192 * level.m


def move_excess(level: Subproblem, stop: Callable[[], bool]) -> int:
    """Move a level's excess along shortest paths.

    Returns
    -------
    int
        `paths.DONE`, `paths.INFEASIBLE`, `paths.MORE` (stopped) or `STALLED`.
    """
    params = level.task.params
    load, excess, total = level.imbalance()
    if total == 0:
        return paths.DONE
    theta, room = _first_threshold(level, total)
    limit = _work(level) + params.stall_entry * level.size * level.m + params.stall_flat
    phases = max(8, int(params.search_work / (level.m + 1) ** 2))
    # A cap matters where very many clients tie: no need to list them all.
    cap = level.size if np.isinf(theta) else max(params.least_cap, 4 * total // (level.m + 1))
    graph = Graph(level, theta, cap, room)
    widenings = 0
    while True:
        if stop():
            return paths.MORE
        code = graph.augment(load, excess, phases)
        if code in (paths.MORE, paths.POOL_FULL):
            continue
        if code != paths.WIDEN:
            return code
        if _work(level) > limit:
            return STALLED
        widenings += 1
        # Rarer and rarer: at the 4th, 8th, 16th, ... widening.
        probe = widenings >= params.probe and widenings.bit_count() == 1
        if probe and level.unreachable(load, excess):
            return paths.INFEASIBLE
        graph.widen()


def solve_level(level: Subproblem, exact: bool) -> int:
    """Clear a level's excess, exactly if asked or where Newton steps leave much."""
    params, stats = level.task.params, level.stats
    clock = time.perf_counter()
    clients = params.newton_clients if exact else params.newton_sample
    if level.size * level.m > params.small and level.size > clients * level.m:
        newton.improve(level, level.m // 2)
    clock = stats.timed("newton", clock)
    code = paths.MORE
    if not exact:
        total = level.imbalance()[2]
        exact = (level.size <= params.exact_sample * level.m
                 or total > params.exact_excess * level.m)  # fmt: skip
    if exact:
        code = move_excess(level, level.task.stop)
    stats.timed("paths", clock)
    return code


class AllClients(Protocol[SubproblemT]):
    """All clients of a problem, wherever their rows are."""

    def level(self, price: Floats) -> SubproblemT:
        """Return all clients at some prices, shape (m + 1,), before they respond."""

    def at_learnt_prices(self) -> SubproblemT:
        """Return all clients at their responses to prices learnt from samples."""


class InMemory:
    """Clients whose rows are in memory.

    Parameters
    ----------
    matrix : Matrix
        Their rows.
    bounds : Bounds
        Bounds of the loads.
    task : Task
        Where values are whole numbers, prices are from now on.

    Attributes
    ----------
    latest : Subproblem or None
        The level worked on: what is known if all else is interrupted.
    """

    def __init__(self, matrix: Matrix, bounds: Bounds, task: Task) -> None:
        self.matrix = matrix
        self.bounds = bounds
        self.task = task
        self.latest: Subproblem | None = None
        task.whole = looks_whole(matrix, bounds)

    def level(self, price: Floats) -> Subproblem:
        """Return all clients at some prices, before they respond."""
        return self._level(NONE, self.bounds, price)

    def _level(self, rows: Ints, bounds: Bounds, price: Floats) -> Subproblem:
        self.latest = Subproblem(self.matrix, rows, bounds, price, self.task)
        return self.latest

    def at_learnt_prices(self) -> Subproblem:
        """Return all clients at their responses to prices learnt from growing samples."""
        n, m = self.matrix.fitness.shape
        task = self.task
        sizes = sample_sizes(n, m, task.params)
        price = self.bounds.no_prices()
        if not sizes:
            return self._responding(NONE, self.bounds, price, "pass", n * m > task.params.guess)
        generator = np.random.default_rng(task.seed)
        for size in sizes:
            if task.stop():
                break
            rows, bounds = draw(self.matrix.slot_max, self.bounds, size, generator)
            level = self._responding(rows, bounds, price, "samples", guess=size == sizes[0])
            solve_level(level, False)
            price = level.price
        return self._responding(NONE, self.bounds, price, "pass", guess=False)

    def _responding(
        self, rows: Ints, bounds: Bounds, price: Floats, phase: str, guess: bool
    ) -> Subproblem:
        """Return clients at their responses, to guessed prices if those leave less excess."""
        clock = time.perf_counter()
        level = self._level(rows, bounds, price)
        level.respond()
        excess = level.imbalance()[2] if guess and level.bad < 0 else 0
        if 2 * excess > level.m // 2:
            other = self._level(rows, bounds, first_prices(self.matrix, rows, bounds))
            other.respond()
            if other.imbalance()[2] < excess:
                level = other
        self.latest = level
        self.task.stats.timed(phase, clock)
        return level


def solve_all(clients: AllClients[SubproblemT], task: Task) -> tuple[SubproblemT, int]:
    """Solve the whole problem from samples, or from earlier prices and assignment.

    Returns
    -------
    level : Subproblem
        All clients.
    code : int
        As `move_excess`.
    """
    level = _warm_level(clients, task) or clients.at_learnt_prices()
    return level, paths.INFEASIBLE if level.bad >= 0 else solve_level(level, True)


def _warm_level(clients: AllClients[SubproblemT], task: Task) -> SubproblemT | None:
    """Return all clients at earlier prices, or None where there are none that help."""
    if task.warm is None:
        return None
    price, pairs = task.warm
    clock = time.perf_counter()
    level = clients.level(price)
    if pairs is not None:
        level.hold(*pairs)
    level.respond(keep=True)
    task.stats.timed("pass", clock)
    holds = level.bad >= 0 or level.imbalance()[2] <= 0.1 * level.places + level.m
    return level if holds or task.stop() else None


def kernels_for(slots: int, grouped: bool = False) -> tuple[Kernel, ...]:
    """Return the kernels that a large problem of so many slots a client, or groups, needs."""
    return (
        response_kernel(slots, grouped), heaps.list_clients, heaps.clear_pairs, paths.augment,
        newton_kernels.newton_step, newton_kernels.near_swaps, newton_kernels.stepped_prices,
        bookkeeping.imbalance, row_pass_kernels.residual_rows,
    )  # fmt: skip


def solve_matrix(matrix: Matrix, task: Task, threads: int | None) -> ExchangeAnswer:
    """Solve with all rows in memory."""
    alone = matrix.fitness.shape[0] <= 2 * task.params.block_rows
    with Blocks(1 if alone else threads or cores(), task.params) as task.run:
        clients = InMemory(matrix, task.bounds, task)
        level, code = solve_all(clients, task)
        return finish(level, code, task, matrix.spread)


def finish(
    level: Subproblem, code: int, task: Task, spread: Callable[[], float], collect: bool = True
) -> ExchangeAnswer:
    """Make an answer that was stopped feasible if time allows, and return what is known.

    Parameters
    ----------
    level, code
        What `solve_all` returned.
    spread : callable
        Returns by how much two values may differ at most.
    collect : bool
        Whether to return the pairs.
    """
    if code == paths.MORE:
        end = time.perf_counter() + task.params.grace
        code = move_excess(level, lambda: time.perf_counter() > end)
    feasible = code == paths.DONE or (code != paths.INFEASIBLE and level.repair())
    stats = task.stats
    stats.seconds["total"] = time.perf_counter() - task.started
    if code == paths.INFEASIBLE:
        wanted = level.clients_load[:-1] > level.bounds.load_max
        cut = None if level.bad >= 0 else np.flatnonzero(wanted)
        return ExchangeAnswer("infeasible", conflict_experts=cut, conflict_client=level.bad,
                              stats=stats.as_dict())  # fmt: skip
    row_ind, col_ind = level.pairs() if feasible and collect else (None, None)
    status = "optimal" if code == paths.DONE else "stopped" if task.stop.stopped else "stalled"
    prices = finite_prices(level.price, spread)
    return ExchangeAnswer(status, row_ind, col_ind, prices, stats=stats.as_dict(),
                          feasible=feasible)  # fmt: skip
