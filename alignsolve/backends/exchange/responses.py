"""What some clients hold, how near they are to holding something else, and their rows."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from alignsolve.backends.exchange import bookkeeping as steps
from alignsolve.backends.exchange import group_rows, heaps, newton_kernels, paths, repair
from alignsolve.backends.exchange import row_kernels as rows
from alignsolve.backends.exchange.inputs import Bounds, Floats, Ints, Matrix
from alignsolve.model.arrays import starts_of

Int32s = npt.NDArray[np.int32]


def nothing_held(
    slots: Ints,
) -> tuple[Ints, Int32s, Int32s, npt.NDArray[np.float32], Int32s]:
    """Return the arrays of an `Answer` of clients of so many slots who hold nothing yet."""
    ptr = starts_of(slots)
    return (ptr, np.zeros(int(ptr[-1]), np.int32), np.zeros(slots.size, np.int32),
            np.empty(slots.size, np.float32), np.empty(slots.size, np.int32))  # fmt: skip


@dataclass(eq=False)
class Answer:
    """What clients hold, and the slack of that.

    Attributes
    ----------
    ptr, held, count : int64 (s + 1,), int32 (ptr[-1],), int32 (s,)
        Client k holds ``held[ptr[k] : ptr[k] + count[k]]``.
    slack : float32 array, shape (s,)
        Lower bound of each client's slack.
    runner_up : int32 array, shape (s,)
        As `alignsolve.backends.exchange.row_kernels.response_rows`.
    """

    ptr: Ints
    held: Int32s
    count: Int32s
    slack: npt.NDArray[np.float32]
    runner_up: Int32s

    @functools.cached_property
    def widest(self) -> int:
        """Most slots of a client."""
        return int(np.diff(self.ptr).max(initial=0))

    def hold(self, row_ind: Ints, col_ind: Ints) -> None:
        """Hold an earlier answer, as far as slots allow, to settle ties in its favour.

        Parameters
        ----------
        row_ind, col_ind : int64 arrays, shape (n_pairs,)
            Pairs sorted by row.
        """
        steps.read_pairs(row_ind, col_ind, self.ptr, self.held, self.count)

    def count_swaps(
        self, chosen: Ints, slack: npt.NDArray[np.float32], nodes: int
    ) -> tuple[Floats, Floats]:
        """Count the least lossy swaps of some clients, by ordered pair of nodes.

        Returns
        -------
        pairs, far : float64 arrays, shape (nodes, nodes)
            As `newton_kernels.near_swaps`.
        """
        pairs, far = np.zeros((nodes, nodes)), np.zeros((nodes, nodes))
        newton_kernels.near_swaps(chosen, slack, self.runner_up, self.ptr, self.held, self.count,
                                  pairs, far)  # fmt: skip
        return pairs, far

    def pairs(self) -> tuple[Ints, Ints]:
        """Return the answer as pairs sorted by row, then column."""
        total = int(self.count.sum())
        row_ind, col_ind = np.empty(total, np.int64), np.empty(total, np.int64)
        steps.write_pairs(self.ptr, self.held, self.count, row_ind, col_ind)
        return row_ind, col_ind


@dataclass(eq=False)
class Responses(Answer):
    """Clients with their rows: the kernels that read them, each called in one place.

    Attributes
    ----------
    matrix : Matrix
        The rows, of these clients and maybe of others.
    rows : int64 array, shape (s,) or (0,)
        Row of each client; empty where they are all rows in order.
    """

    matrix: Matrix
    rows: Ints

    @property
    def per_swap(self) -> int:
        """Most entries of the heaps that a swap makes, in rows of m + 2.

        Those of what is taken and of the unused slot, and for each expert held one of what was
        given up and one of the unused slot. In groups that share slots all of what is held may be
        new.
        """
        return 4 if self.matrix.groups is None else 1 + self.widest

    def become(self, other: Responses) -> None:
        """Share the clients of another one, and what they hold, from now on."""
        vars(self).pop("widest", None)
        vars(self).update(vars(other))

    @property
    def held_so_far(self) -> tuple[Any, ...]:
        """The answer, as kernels take it."""
        return self.ptr, self.held, self.count

    @property
    def slots(self) -> tuple[Ints, Ints, Ints]:
        """The row of each client and the slots of each row, as kernels take them."""
        return self.rows, self.matrix.slot_min, self.matrix.slot_max

    def respond_rows(
        self, chosen: Ints, lo: int, hi: int, price: Floats, share: Floats, keep: bool
    ) -> tuple[int, Ints]:
        """Give clients their best responses; see `row_kernels.response_rows`.

        Returns
        -------
        bad : int
            A client that has no response, or -1.
        load : int64 array, shape (m + 1,)
            Holders among these clients.
        """
        load, groups = np.zeros(price.size, np.int64), self.matrix.groups
        found = (price, share, keep, *self.held_so_far, self.slack, self.runner_up, load)
        if groups is None:
            bad = rows.response_rows(*self.matrix.read, *self.slots, chosen, lo, hi, self.widest,
                                     *found)  # type: ignore[call-arg]
        else:
            bad = group_rows.respond_in_groups(*self.matrix.read, *self.slots, *groups.bounds,
                                               chosen, lo, hi, *found)
        return int(bad), load

    def slack_rows(self, lo: int, hi: int, price: Floats) -> None:
        """Compute the slack of clients anew, keeping what they hold."""
        found, groups = (lo, hi, price, *self.held_so_far, self.slack), self.matrix.groups
        if groups is None:
            rows.slack_rows(*self.matrix.read, *self.slots, *found)
        else:
            group_rows.slack_in_groups(*self.matrix.read, *self.slots, *groups.bounds, *found)

    def swap_exists(self, lo: int, hi: int, price: Floats) -> npt.NDArray[np.bool_]:
        """Return which swaps some client could make at any loss, shape (m + 1, m + 1)."""
        exists = np.zeros((price.size, price.size), np.bool_)
        heaps.swap_exists(self.matrix.fitness, self.rows, *self.matrix.limits, lo, hi, price,
                          *self.held_so_far, exists)  # fmt: skip
        return exists

    def list_swaps(self, chosen: Ints, first: int, *into: Any) -> int:
        """List swaps of chosen clients; see `heaps.list_clients`, whose arguments these are."""
        price, pairs, cap, listed, *lists = into
        return int(heaps.list_clients(
            *self.matrix.read, self.rows, *self.matrix.limits, chosen, first, price, pairs, cap,
            listed, *self.held_so_far, *lists,
        ))  # fmt: skip

    def augment(
        self, load: Ints, bounds: Bounds, excess: Ints, price: Floats, *graph: Any
    ) -> int:
        """Move excess along paths; see `paths.augment`."""
        *lists, phases, frontier = graph
        return int(paths.augment(
            *self.matrix.read, self.rows, *self.matrix.limits, price, load, bounds.load_min,
            bounds.load_max, bounds.penalty, bounds.goal, excess, *self.held_so_far, self.slack,
            *lists, self.per_swap, phases, frontier,
        ))  # fmt: skip

    def keep_loads(self, price: Floats, load: Ints, load_min: Ints, load_max: Ints) -> int:
        """Bring loads, which are updated, within bounds; return how many are still wrong."""
        matrix = self.matrix
        return int(repair.keep_loads(*matrix.read, *matrix.limits, price, *self.held_so_far, load,
                                     load_min, load_max))  # fmt: skip
