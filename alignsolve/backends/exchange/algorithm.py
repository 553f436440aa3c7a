"""Steer the kernels: sampled prices, Newton steps, exact shortest paths.

In outline: learn prices from samples that grow eightfold, each starting from the
last one's prices; give all clients their best responses in one pass over the
matrix; clear most of what the sample got wrong by Newton steps, which read only
clients near a boundary again; move the rest along shortest paths, exactly.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from alignsolve.backends.exchange import newton, paths
from alignsolve.backends.exchange.level_graph import Graph
from alignsolve.backends.exchange.sampling import draw, first_prices, sample_sizes
from alignsolve.backends.exchange.subproblem import Bounds, Matrix, Stats, Subproblem

#: Samples of up to this many clients per expert are solved exactly; so are larger
#: ones that Newton steps leave with more than this much excess per expert (ties).
EXACT_SAMPLE = 16
EXACT_EXCESS = 2
#: Entries of the matrix up to which exact paths alone are fastest.
SMALL = 4096
#: Entries of the matrix from which guessed prices are tried where no sample tells them.
GUESS = 1024
#: Clients listed at first: per unit of excess, and per node; most of a level.
LIST_EXCESS = 12
LIST_NODE = 4
LIST_SHARE = 0.4
#: Entries listed for an ordered pair of nodes at least, before more are turned away.
LEAST_CAP = 32
#: Widenings before the first look at whether there is any way at all.
PROBE = 4
#: Clients per expert above which Newton steps pay before exact paths: of the whole
#: problem, and of a sample.
NEWTON_CLIENTS = 2
NEWTON_SAMPLE = 8
#: Operations of the searches between two looks at the clock.
SEARCH_WORK = 2e7
#: Work beyond which the method has stalled, in units of about 1 ns: per entry of
#: the matrix and flat. A general flow solver needs about 1500 per entry.
STALL_ENTRY = 300.0
STALL_FLAT = 3e8

STALLED = 5

Run = Callable[[Callable[[int, int], Any], int], list[Any]]


def timed(stats: Stats, phase: str, started: float) -> float:
    """Add the seconds since `started` to a phase; return the time now."""
    now = time.perf_counter()
    stats.seconds[phase] = stats.seconds.get(phase, 0.0) + now - started
    return now


def _work(level: Subproblem) -> float:
    """Return about the nanoseconds that exact paths took so far."""
    stats = level.stats
    nodes = level.m + 1
    lists = 40.0 * stats.listed + 60.0 * stats.scanned
    return float(lists + 2.0 * stats.searches * nodes**2 + 10.0 * stats.swaps * nodes)


def _first_threshold(level: Subproblem, total: int) -> tuple[float, int]:
    """Return the slack to list up to, and the room for entries, that an excess calls for."""
    if level.size * level.m <= SMALL:
        return np.inf, level.size * level.m
    wanted = LIST_EXCESS * total + LIST_NODE * (level.m + 1)
    share = min(LIST_SHARE, wanted / level.size)
    return level.slack_quantile(share), 4 * wanted + 64 * level.m


def move_excess(level: Subproblem, stop: Callable[[], bool]) -> int:
    """Move a level's excess along shortest paths.

    Returns
    -------
    int
        `paths.DONE`, `paths.INFEASIBLE`, `paths.MORE` (stopped) or `STALLED`.
    """
    load, excess, total = level.imbalance()
    if total == 0:
        return paths.DONE
    theta, room = _first_threshold(level, total)
    limit = _work(level) + STALL_ENTRY * level.size * level.m + STALL_FLAT
    phases = max(8, int(SEARCH_WORK / (level.m + 1) ** 2))
    # A cap matters where very many clients tie: no need to list them all.
    cap = level.size if np.isinf(theta) else max(LEAST_CAP, 4 * total // (level.m + 1))
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
        if widenings >= PROBE and widenings.bit_count() == 1 and level.unreachable(load, excess):
            return paths.INFEASIBLE
        graph.widen()


def solve_level(level: Subproblem, exact: bool, stop: Callable[[], bool]) -> int:
    """Clear a level's excess, exactly if asked or where Newton steps leave much."""
    stats = level.stats
    clock = time.perf_counter()
    clients = NEWTON_CLIENTS if exact else NEWTON_SAMPLE
    if level.size * level.m > SMALL and level.size > clients * level.m:
        newton.improve(level, level.m // 2, stop)
    clock = timed(stats, "newton", clock)
    code = paths.MORE
    if not exact:
        total = level.imbalance()[2]
        exact = level.size <= EXACT_SAMPLE * level.m or total > EXACT_EXCESS * level.m
    if exact:
        code = move_excess(level, stop)
    timed(stats, "paths", clock)
    return code


def sampled_prices(matrix: Matrix, bounds: Bounds, whole: bool, run: Run, stats: Stats,
                   stop: Callable[[], bool], seed: int, latest: list[Subproblem],
                   sizes: list[int]) -> npt.NDArray[np.float64]:  # fmt: skip
    """Return prices, shape (m + 1,), learnt from samples of the clients, of growing sizes."""
    m = matrix.fitness.shape[1]
    price = np.zeros(m + 1)
    price[:-1][bounds.load_max == 0] = np.inf
    generator = np.random.default_rng(seed)
    first = True
    for size in sizes:
        if stop():
            break
        clock = time.perf_counter()
        rows, scaled = draw(matrix.slot_max, bounds, size, generator)
        level = Subproblem(matrix, rows, scaled, price, whole, run, stats)
        level.respond()
        if first:
            level = better_start(level)
            first = False
        latest[:] = [level]
        timed(stats, "samples", clock)
        solve_level(level, False, stop)
        price = level.price
    return price


def better_start(level: Subproblem) -> Subproblem:
    """Return the level at prices of zero, or at guessed ones where those leave less excess."""
    excess = level.imbalance()[2]
    if 2 * excess > level.m // 2:
        guess = first_prices(level.matrix, level.rows, level.bounds)
        other = Subproblem(level.matrix, level.rows, level.bounds, guess, level.whole, level.run,
                      level.stats)  # fmt: skip
        other.respond()
        if other.imbalance()[2] < excess:
            return other
    return level


def solve_all(
    matrix: Matrix, bounds: Bounds, whole: bool, run: Run, stats: Stats,
    stop: Callable[[], bool], seed: int,
    warm: tuple[npt.NDArray[np.float64], Any] | None, latest: list[Subproblem],
) -> tuple[int, Subproblem, int]:  # fmt: skip
    """Solve the whole problem from samples, or from earlier prices and assignment.

    Parameters
    ----------
    latest : list of Level
        Its one entry becomes the level worked on: what is known if all else is
        interrupted.

    Returns
    -------
    code : int
        As `move_excess`.
    level : Subproblem
        All clients.
    bad : int
        A client without any response, or -1.
    """
    n, m = matrix.fitness.shape
    sizes = sample_sizes(n, m) if n * m > SMALL else []
    if warm is not None:
        price = warm[0]
    else:
        price = sampled_prices(matrix, bounds, whole, run, stats, stop, seed, latest, sizes)
    clock = time.perf_counter()
    level = Subproblem(matrix, np.empty(0, np.int64), bounds, price, whole, run, stats)
    if warm is not None and warm[1] is not None:
        level.hold(*warm[1])
    bad = level.respond(keep=warm is not None)
    if warm is None and bad < 0 and not sizes and n * m > GUESS:
        level = better_start(level)
    latest[:] = [level]
    timed(stats, "pass", clock)
    if bad >= 0:
        return paths.INFEASIBLE, level, bad
    if warm is not None and not stop():
        total = level.imbalance()[2]
        if total > 0.1 * level.places + level.m:  # not much of the earlier prices holds
            return solve_all(matrix, bounds, whole, run, stats, stop, seed, None, latest)
    return solve_level(level, True, stop), level, -1
