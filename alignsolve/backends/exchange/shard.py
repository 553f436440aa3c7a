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

from alignsolve.backends.exchange.graph import Lists
from alignsolve.backends.exchange.inputs import (
    NONE,
    Floats,
    Groups,
    Ints,
    Matrix,
    Switch,
    part_of,
)
from alignsolve.backends.exchange.responses import Answer, Responses, nothing_held
from alignsolve.backends.exchange.subproblem import above
from alignsolve.backends.exchange.task import Blocks
from alignsolve.model.arrays import concatenated_ranges, starts_of
from alignsolve.model.sources.base import FitnessSource, checked_block

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
        As `alignsolve.backends.exchange.row_kernels.response_manys`, when the shard last responded.
    groups : Groups or None
        Bounds of groups that share slots.
    """

    who: Ints
    values: npt.NDArray[Any]
    slot_min: Ints
    slot_max: Ints
    count: npt.NDArray[np.int32]
    held: npt.NDArray[np.int32]
    slack: npt.NDArray[np.float32]
    runner_up: npt.NDArray[np.int32]
    groups: Groups | None

    def responses(self) -> Responses:
        """Return the same memory in the form the kernels take."""
        matrix = Matrix(self.values, self.slot_min, self.slot_max, groups=self.groups)
        return Responses(starts_of(self.slot_max), self.held, self.count, self.slack,
                         self.runner_up, matrix, NONE)  # fmt: skip

    def take(self, some: Ints) -> Clients:
        """Return some of the clients."""
        slots, first = self.slot_max[some], starts_of(self.slot_max)[some]
        return Clients(
            self.who[some], self.values[some], self.slot_min[some], slots, self.count[some],
            self.held[concatenated_ranges(first, first + slots)[0]],
            self.slack[some], self.runner_up[some], part_of(self.groups, some),
        )  # fmt: skip

    @staticmethod
    def join(parts: list[Clients]) -> Clients:
        """Return the clients of several, in order; not copied where only one has any."""
        parts = [part for part in parts if part.who.size] or parts[:1]
        if len(parts) == 1:
            return parts[0]
        *names, _ = Clients.__dataclass_fields__
        joined: dict[str, Any] = {
            name: np.concatenate([getattr(part, name) for part in parts]) for name in names
        }
        groups = [part.groups for part in parts if part.groups is not None]
        return Clients(**joined, groups=Groups.join(groups) if groups else None)


class Shard(Answer):
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
    switch : Switch
        Switching costs of these clients.
    run : Blocks
        Works on the blocks of the source, perhaps in threads.
    groups : Groups or None
        Bounds of groups that share the slots of these clients.
    """

    def __init__(
        self, source: FitnessSource, start: int, stride: int, slots: tuple[Ints, Ints],
        switch: Switch, run: Blocks, groups: Groups | None = None,
    ) -> None:  # fmt: skip
        super().__init__(*nothing_held(slots[1]))
        self.source = source
        self.start = start
        self.size, self.m = source.shape
        self.sampled = np.arange(-start % stride, self.size, stride)
        self.slot_min, self.slot_max = slots
        self.switch = switch
        self.groups = groups
        self.run = run
        self.away = np.zeros(self.size, np.bool_)
        self.rows_read = 0

    # -- passes over the rows -----------------------------------------------

    def rows_of(self, k: int) -> slice:
        """Return the rows of block k."""
        return slice(int(self.source.edges[k]), int(self.source.edges[k + 1]))

    def _block(self, k: int) -> Responses:
        """Return the clients of block k with their rows; their answers are those of the shard."""
        rows = self.rows_of(k)
        matrix = Matrix(checked_block(self.source, k), self.slot_min[rows], self.slot_max[rows],
                        self.switch.part(rows.start, rows.stop),
                        part_of(self.groups, rows))  # fmt: skip
        return Responses(self.ptr[rows.start : rows.stop + 1], self.held, self.count[rows],
                         self.slack[rows], self.runner_up[rows], matrix, NONE)  # fmt: skip

    def _pass(self, work: Callable[[Responses], Any]) -> list[Any]:
        """Return what ``work(clients)`` returns for the clients of each block."""
        self.rows_read += self.size
        return self.run.map(lambda k: work(self._block(k)), range(self.source.n_blocks))

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
        found = self._pass(
            lambda block: block.respond_rows(NONE, 0, block.count.size, price, share, keep)
        )
        starts = self.start + self.source.edges
        bad = max((int(starts[k]) + lost for k, (lost, _) in enumerate(found) if lost >= 0),
                  default=-1)  # fmt: skip
        return bad, sum((load for _, load in found), np.zeros(self.m + 1, np.int64))

    def refresh(self, price: Floats) -> None:
        """Compute the slack of all clients anew, keeping their answers."""
        self._pass(lambda block: block.slack_rows(0, block.count.size, price))

    def swaps(self, price: Floats) -> npt.NDArray[np.bool_]:
        """Return which swaps some client could make at any loss, shape (m + 1, m + 1)."""
        found = self._pass(lambda block: block.swap_exists(0, block.count.size, price))
        return np.asarray(np.logical_or.reduce(found))

    def values(self, k: int) -> npt.NDArray[Any]:
        """Return fitness less switching cost of block k, shape (rows, m)."""
        rows = self.rows_of(k)
        self.rows_read += rows.stop - rows.start
        return self._less_switching(checked_block(self.source, k), np.arange(rows.start, rows.stop))

    def _less_switching(self, fitness: npt.NDArray[Any], who: Ints) -> npt.NDArray[Any]:
        """Return values of some clients, float64 where there are switching costs."""
        cost, row, col, held_ptr, held_ind = self.switch
        if not cost.size:
            return fitness
        values: npt.NDArray[Any] = fitness - cost[who[:, None] * row + np.arange(self.m) * col]
        pairs, at = concatenated_ranges(held_ptr[who], held_ptr[who + 1])
        values[at, held_ind[pairs]] = fitness[at, held_ind[pairs]]
        return values

    def repair(self, price: Floats, load: Ints, load_min: Ints, load_max: Ints) -> Ints:
        """Move holders until the loads are within bounds, as far as they go; return the loads."""
        for k in range(self.source.n_blocks):
            if ((load[:-1] <= load_max) & (load[:-1] >= load_min)).all():
                break
            block = self._block(k)
            self.rows_read += block.count.size
            block.keep_loads(price, load, load_min, load_max)
        return load

    # -- what is asked of it between passes -----------------------------------

    def sample(self) -> npt.NDArray[np.float32]:
        """Return the slack of every so many clients, in order."""
        return self.slack[self.sampled]

    def count_within(self, limit: float) -> int:
        """Return the number of clients that are not away and whose slack is up to a limit."""
        return int(np.count_nonzero(self._near(limit) & ~self.away))

    def _near(self, limit: float) -> npt.NDArray[np.bool_]:
        return np.asarray(self.slack <= above(limit))

    def near_swaps(self, limit: float) -> tuple[Floats, Floats]:
        """Count the least lossy swaps of clients whose slack is up to a limit, by pair of nodes.

        Returns
        -------
        pairs, far : float64 arrays, shape (m + 1, m + 1)
            As `Answer.count_swaps`, but `far` in whole units of
            ``limit / UNITS``: such sums do not depend on how clients are cut into shards.
        """
        chosen = np.flatnonzero(self._near(limit))
        units = np.zeros(self.size, np.float32)
        units[chosen] = np.rint(self.slack[chosen].astype(np.float64) * (UNITS / limit))
        return self.count_swaps(chosen, units, self.m + 1)

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
        lists = Lists(self.m + 1, 64 * (self.m + 1))
        lists.sentinel = sentinel.copy()
        listed = np.zeros_like(cap)
        found = [self.gather(NONE)]
        chosen = np.flatnonzero(self._near(limit) & ~self.away)
        for _, some in self.source.by_block(chosen):
            part = self.gather(chosen[some])
            before = lists.made
            lists.fill(part.responses(), np.arange(part.who.size), price, pairs, cap, listed)
            found.append(part.take(np.unique(lists.pool["who"][before : lists.made])))
        clients = Clients.join(found)
        self.away[clients.who - self.start] = True
        return clients, lists.sentinel

    def gather(self, chosen: Ints) -> Clients:
        """Return some clients, by their number in the shard, ascending."""
        parts = self.source.by_block(chosen)
        read = self.run.map(
            lambda part: self.source.rows(chosen[parts[part][1]]), range(len(parts))
        )
        blocks = np.diff(self.source.edges)[[k for k, _ in parts]]
        self.rows_read += chosen.size if self.source.random_access else int(blocks.sum())
        fitness = np.concatenate([np.empty((0, self.m), self.source.dtype), *read])
        values = self._less_switching(fitness, chosen)
        slots, first = self.slot_max[chosen], self.ptr[chosen]
        return Clients(
            chosen + self.start, values, self.slot_min[chosen], slots, self.count[chosen],
            self.held[concatenated_ranges(first, first + slots)[0]],
            self.slack[chosen], self.runner_up[chosen], part_of(self.groups, chosen),
        )  # fmt: skip

    def draw(self, who: Ints) -> Clients:
        """Return some clients by their number in the problem, ascending; they are not away."""
        return self.gather(who - self.start)

    def store(self, who: Ints, count: npt.NDArray[np.int32], held: npt.NDArray[np.int32]) -> None:
        """Take back answers: ``count[c]`` entries of `held` for each client."""
        at = who - self.start
        self.count[at], first = count, self.ptr[at]
        self.held[concatenated_ranges(first, first + count)[0]] = held

    def hold(self, row_ind: Ints, col_ind: Ints) -> None:
        """Hold an earlier answer, by numbers in the problem; see `Answer.hold`."""
        super().hold(row_ind - self.start, col_ind)

    def pairs(self) -> tuple[Ints, Ints]:
        """Return the answer as pairs sorted by row, numbered in the problem, then column."""
        row_ind, col_ind = super().pairs()
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
