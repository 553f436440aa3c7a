"""The clients of some blocks of a source, with their responses; it may be in another process.

A shard reads its rows block by block. What leaves it: loads, counts, a sample of
the slacks, the rows of clients that are asked for, and in the end the answer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from alignsolve.backends.exchange import bookkeeping as steps
from alignsolve.backends.exchange import heaps, newton_kernels, repair
from alignsolve.backends.exchange import row_kernels as rows
from alignsolve.backends.exchange.inputs import plain
from alignsolve.backends.exchange.subproblem import Matrix
from alignsolve.model.sources.base import FitnessSource, checked_block

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
_NONE = np.empty(0, np.int64)
#: Units that the slack of clients near a boundary is summed in, per limit.
UNITS = 2**20


@dataclass
class Clients:
    """Some clients with their rows and answers, on their way from a shard.

    Attributes
    ----------
    who : int64 array, shape (c,)
        Their numbers.
    values : float32 or float64 array, shape (c, m)
        Fitness less switching cost.
    slot_min, slot_max, count : int64, int64, int32 arrays, shape (c,)
    held : int32 array, shape (sum of slot_max,)
        Client c holds the first ``count[c]`` of its ``slot_max[c]`` places.
    slack, runner-up : float32, int32 arrays, shape (c,)
        As `alignsolve.backends.exchange.row_kernels.response_rows`, when the shard last responded.
    """

    who: Ints
    values: npt.NDArray[Any]
    slot_min: Ints
    slot_max: Ints
    count: npt.NDArray[np.int32]
    held: npt.NDArray[np.int32]
    slack: npt.NDArray[np.float32]
    runner_up: npt.NDArray[np.int32]

    @property
    def ptr(self) -> Ints:
        """Where each client's places start in `held`, int64, shape (c + 1,)."""
        return starts_of(self.slot_max)

    def take(self, some: Ints) -> Clients:
        """Return some of the clients."""
        ptr = self.ptr
        return Clients(
            self.who[some], self.values[some], self.slot_min[some], self.slot_max[some],
            self.count[some], self.held[spread(ptr[some], self.slot_max[some])],
            self.slack[some], self.runner_up[some],
        )  # fmt: skip

    @staticmethod
    def join(parts: list[Clients]) -> Clients:
        """Return the clients of several, in order."""
        names = Clients.__dataclass_fields__
        return Clients(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


def starts_of(sizes: npt.NDArray[Any]) -> Ints:
    """Return where runs of these sizes start, and where the last one ends."""
    out = np.zeros(sizes.size + 1, np.int64)
    np.cumsum(sizes, out=out[1:])
    return out


def spread(first: Ints, sizes: npt.NDArray[Any]) -> Ints:
    """Return the places of runs that start at `first` and have these sizes."""
    ends = starts_of(sizes)
    return np.repeat(first - ends[:-1], sizes) + np.arange(ends[-1])


class Shard:
    """Responses of the clients of a source, or of a part of one, block by block.

    Parameters
    ----------
    source : FitnessSource
        The rows, numbered from 0.
    start : int
        Number of the first client in the whole problem.
    stride : int
        Clients whose number is a multiple of it are in samples of the slack.
    slots : tuple of int64 arrays, shape (s,) each
        Fewest and most experts of each client.
    switch : tuple
        As `alignsolve.backends.exchange.inputs.switch_of`, for these clients.
    run : callable
        ``run(work, count)`` returns ``work(k)`` of all k, perhaps in threads.
    """

    def __init__(
        self, source: FitnessSource, start: int, stride: int, slots: tuple[Ints, Ints],
        switch: tuple[Any, ...], run: Callable[[Callable[[int], Any], int], list[Any]],
    ) -> None:  # fmt: skip
        self.source = source
        self.start = start
        self.size, self.m = source.shape
        self.sampled = np.arange(-start % stride, self.size, stride)
        self.slot_min, self.slot_max = slots
        self.switch = switch
        self.run = run
        self.ptr = starts_of(self.slot_max)
        self.held = np.zeros(int(self.ptr[-1]), np.int32)
        self.count = np.zeros(self.size, np.int32)
        self.slack = np.full(self.size, np.inf, np.float32)
        self.runner_up = np.zeros(self.size, np.int32)
        self.away = np.zeros(self.size, np.bool_)
        self.rows_read = 0

    # -- passes over the rows -----------------------------------------------

    def _matrix(self, k: int) -> tuple[int, int, Matrix]:
        """Return the first client of block k, the one after its last, and its matrix."""
        a, b = int(self.source.edges[k]), int(self.source.edges[k + 1])
        block = plain(checked_block(self.source, k))
        cost, cost_row, cost_col, held_ptr, held_ind = self.switch
        if cost.size:
            cost, held_ptr = cost[a * cost_row :], held_ptr[a : b + 1]
        return a, b, Matrix(block, cost, cost_row, cost_col, held_ptr, held_ind,
                            self.slot_min[a:b], self.slot_max[a:b])  # fmt: skip

    def _answer(self, a: int, b: int) -> tuple[Any, ...]:
        return self.ptr[a : b + 1], self.held, self.count[a:b]

    def respond(self, price: Floats, share: Floats, keep: bool) -> tuple[int, Ints]:
        """Give all clients their best responses; none is away after that.

        Returns
        -------
        bad : int
            A client that has no response, or -1.
        load : int64 array, shape (m + 1,)
            Holders.
        """
        self.away[:] = False

        def work(k: int) -> tuple[int, Ints]:
            a, b, matrix = self._matrix(k)
            load = np.zeros(self.m + 1, np.int64)
            bad = rows.response_rows(
                *matrix.read, _NONE, matrix.slot_min, matrix.slot_max, _NONE, 0, b - a, price,
                share, keep, *self._answer(a, b), self.slack[a:b], self.runner_up[a:b], load,
            )  # fmt: skip
            return (self.start + a + int(bad) if bad >= 0 else -1), load

        found = self._pass(work)
        return max((bad for bad, _ in found), default=-1), sum(
            (load for _, load in found), np.zeros(self.m + 1, np.int64)
        )

    def refresh(self, price: Floats) -> None:
        """Compute the slack of all clients anew, keeping their answers."""

        def work(k: int) -> None:
            a, b, matrix = self._matrix(k)
            rows.slack_rows(*matrix.read, _NONE, matrix.slot_min, matrix.slot_max, 0, b - a,
                            price, *self._answer(a, b), self.slack[a:b])  # fmt: skip

        self._pass(work)

    def swaps(self, price: Floats) -> npt.NDArray[np.bool_]:
        """Return which swaps some client could make at any loss, shape (m + 1, m + 1)."""

        def work(k: int) -> npt.NDArray[np.bool_]:
            a, b, matrix = self._matrix(k)
            exists = np.zeros((self.m + 1, self.m + 1), np.bool_)
            heaps.swap_exists(matrix.fitness, _NONE, matrix.slot_min, matrix.slot_max, 0, b - a,
                              price, *self._answer(a, b), exists)  # fmt: skip
            return exists

        return np.asarray(np.logical_or.reduce(self._pass(work)))

    def repair(self, price: Floats, load: Ints, load_min: Ints, load_max: Ints) -> Ints:
        """Move holders until the loads are within bounds, as far as they go; return the loads."""
        for k in range(self.source.n_blocks):
            if ((load[:-1] <= load_max) & (load[:-1] >= load_min)).all():
                break
            a, b, matrix = self._matrix(k)
            self.rows_read += b - a
            repair.keep_loads(*matrix.read, matrix.slot_min, matrix.slot_max, price,
                              *self._answer(a, b), load, load_min, load_max)  # fmt: skip
        return load

    def _pass(self, work: Callable[[int], Any]) -> list[Any]:
        self.rows_read += self.size
        return self.run(work, self.source.n_blocks)

    # -- what is asked of it between passes -----------------------------------

    def sample(self) -> npt.NDArray[np.float32]:
        """Return the slack of every so many clients, in order."""
        return self.slack[self.sampled]

    def count_within(self, limit: float) -> int:
        """Return the number of clients that are not away and whose slack is up to a limit."""
        return int(np.count_nonzero(self._near(limit) & ~self.away))

    def _near(self, limit: float) -> npt.NDArray[np.bool_]:
        if limit > 3e38:
            return np.ones(self.size, np.bool_)
        return np.asarray(self.slack <= np.nextafter(np.float32(limit), np.float32(np.inf)))

    def near_swaps(self, limit: float) -> tuple[Floats, Floats]:
        """Count the least lossy swaps of clients whose slack is up to a limit, by pair of nodes.

        Returns
        -------
        pairs, far : float64 arrays, shape (m + 1, m + 1)
            As `newton_kernels.near_swaps`, but `far` in whole units of
            ``limit / UNITS``: such sums do not depend on how clients are cut into shards.
        """
        pairs, far = np.zeros((self.m + 1, self.m + 1)), np.zeros((self.m + 1, self.m + 1))
        chosen = np.flatnonzero(self._near(limit))
        units = np.zeros(self.size, np.float32)
        units[chosen] = np.rint(self.slack[chosen].astype(np.float64) * (UNITS / limit))
        newton_kernels.near_swaps(chosen, units, self.runner_up, self.ptr, self.held, self.count,
                                  pairs, far)  # fmt: skip
        return pairs, far

    def fetch_within(self, limit: float) -> Clients:
        """Return the clients that `count_within` counts; they are away from now on."""
        chosen = np.flatnonzero(self._near(limit) & ~self.away)
        self.away[chosen] = True
        return self.gather(chosen)

    def fetch_listed(
        self, price: Floats, limit: float, pairs: npt.NDArray[np.bool_], cap: Ints,
        sentinel: Floats,
    ) -> tuple[Clients, Floats]:  # fmt: skip
        """Return clients for some pairs of nodes, at most `cap` for each, and how far they go.

        Parameters
        ----------
        price : float64 array, shape (m + 1,)
        limit : float
            Slack of the clients to look at.
        pairs, cap, sentinel : arrays, shape (m + 1, m + 1)
            As `alignsolve.backends.exchange.heaps.list_clients`.

        Returns
        -------
        clients : Clients
            Those that were not away; they are from now on.
        sentinel : float64 array, shape (m + 1, m + 1)
            Every client of the shard that is not away would lose more in a swap.
        """
        nodes = self.m + 1
        sentinel = sentinel.copy()
        head = np.full((nodes, nodes), -1, np.int32)
        loss_top, arc = np.full((nodes, nodes), np.inf), np.full((nodes, nodes), np.inf)
        pool = np.empty(64 * nodes, heaps.ENTRY)
        meta = np.array([0, -1, 0, 0, 0], np.int64)
        listed = np.zeros((nodes, nodes), np.int64)
        found = [self.gather(_NONE)]
        chosen = np.flatnonzero(self._near(limit) & ~self.away)
        for _, some in self.source.by_block(chosen):
            part = self.gather(chosen[some])
            none = np.empty(0), 0, 0, np.zeros(1, np.int64), _NONE
            before, first, everyone = int(meta[0]), 0, np.arange(part.who.size)
            while first < everyone.size:
                first = heaps.list_clients(
                    part.values, *none, _NONE, part.slot_min, part.slot_max, everyone, first,
                    price, pairs, cap, listed, part.ptr, part.held, part.count,
                    head, loss_top, arc, sentinel, pool, meta,
                )  # fmt: skip
                if first < everyone.size:
                    pool = np.concatenate([pool, np.empty(2 * pool.size, heaps.ENTRY)])
            found.append(part.take(np.unique(pool["who"][before : int(meta[0])]).astype(np.int64)))
        clients = Clients.join(found)
        self.away[clients.who - self.start] = True
        return clients, sentinel

    def gather(self, chosen: Ints) -> Clients:
        """Return some clients, by their number in the shard, ascending."""
        parts = self.source.by_block(chosen)
        read = self.run(lambda k: self.source.rows(chosen[parts[k][1]]), len(parts))
        blocks = np.diff(self.source.edges)[[k for k, _ in parts]]
        self.rows_read += chosen.size if self.source.random_access else int(blocks.sum())
        values = np.concatenate([np.empty((0, self.m), self.source.dtype), *read])
        if self.switch[0].size:
            fitness, values = values, np.empty(values.shape)
            steps.write_values(fitness, chosen, *self.switch, values)
        slots = self.slot_max[chosen]
        return Clients(
            chosen + self.start, values, self.slot_min[chosen], slots, self.count[chosen],
            self.held[spread(self.ptr[chosen], slots)], self.slack[chosen], self.runner_up[chosen],
        )  # fmt: skip

    def draw(self, who: Ints) -> Clients:
        """Return some clients by their number in the problem, ascending; they are not away."""
        return self.gather(who - self.start)

    def store(self, who: Ints, count: npt.NDArray[np.int32], held: npt.NDArray[np.int32]) -> None:
        """Take back answers: ``count[c]`` entries of `held` for each client."""
        at = who - self.start
        self.count[at] = count
        self.held[spread(self.ptr[at], count)] = held

    def hold(self, row_ind: Ints, col_ind: Ints) -> None:
        """Hold an earlier answer, as far as slots allow, to settle ties in its favour."""
        steps.read_pairs(row_ind - self.start, col_ind, self.ptr, self.held, self.count)

    def pairs(self) -> tuple[Ints, Ints]:
        """Return the answer as pairs sorted by row, then column."""
        total = int(self.count.sum())
        row_ind, col_ind = np.empty(total, np.int64), np.empty(total, np.int64)
        steps.write_pairs(self.ptr, self.held, self.count, row_ind, col_ind)
        row_ind += self.start
        return row_ind, col_ind

    def read_so_far(self) -> int:
        """Return the number of rows read or computed so far."""
        return self.rows_read


def cut(who: Ints, starts: Ints) -> Iterator[npt.NDArray[np.bool_]]:
    """Yield which of some clients belong to each shard, by the shards' first clients."""
    home = np.searchsorted(starts, who, side="right") - 1
    for shard in range(starts.size):
        yield home == shard
