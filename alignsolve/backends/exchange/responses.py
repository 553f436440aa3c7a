"""What some clients hold, how near they are to holding something else, and their rows."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from alignsolve.backends.exchange import bookkeeping as steps
from alignsolve.backends.exchange import (
    group_rows,
    heaps,
    newton_kernels,
    paths,
    repair,
    row_kernels,
)
from alignsolve.backends.exchange.inputs import Bounds, Floats, Ints, Matrix
from alignsolve.kernels import Kernel
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
        As `alignsolve.backends.exchange.row_kernels.response_manys`.
    answer : tuple
        ``ptr, held, count``, as kernels take them.
    """

    ptr: Ints
    held: Int32s
    count: Int32s
    slack: npt.NDArray[np.float32]
    runner_up: Int32s

    def __post_init__(self) -> None:
        self.answer = self.ptr, self.held, self.count

    @functools.cached_property
    def widest(self) -> int:
        """Most slots of a client."""
        return int((self.ptr[1:] - self.ptr[:-1]).max(initial=0))

    def hold(self, row_ind: Ints, col_ind: Ints) -> None:
        """Hold an earlier answer, as far as slots allow, to settle ties in its favour.

        Parameters
        ----------
        row_ind, col_ind : int64 arrays, shape (n_pairs,)
            Pairs sorted by row.
        """
        steps.read_pairs(row_ind, col_ind, self.answer)

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
        newton_kernels.near_swaps(chosen, slack, self.runner_up, self.answer, pairs, far)
        return pairs, far

    def pairs(self) -> tuple[Ints, Ints]:
        """Return the answer as pairs sorted by row, then column."""
        total = int(self.count.sum())
        row_ind, col_ind = np.empty(total, np.int64), np.empty(total, np.int64)
        steps.write_pairs(self.answer, row_ind, col_ind)
        return row_ind, col_ind


def response_kernel(slots: int, grouped: bool) -> Kernel:
    """Return what gives clients of so many slots, perhaps shared between groups, responses."""
    found: Kernel = (group_rows.respond_in_groups if grouped else
                     row_kernels.response_ones if slots <= 1 else
                     row_kernels.response_manys)  # fmt: skip
    return found


@dataclass(eq=False)
class Responses(Answer):
    """Clients with their rows: the kernels that read them, each called in one place.

    Attributes
    ----------
    matrix : Matrix
        The rows, of these clients and maybe of others.
    rows : int64 array, shape (s,) or (0,)
        Row of each client; empty where they are all rows in order.
    limits : tuple
        As `Matrix.limits`.
    grouped : bool
        Whether groups share the clients' slots.
    """

    matrix: Matrix
    rows: Ints

    def __post_init__(self) -> None:
        super().__post_init__()
        self.limits, self.grouped = self.matrix.limits(self.rows), self.matrix.groups is not None

    def become(self, other: Responses) -> None:
        """Share the clients of another one, and what they hold, from now on."""
        vars(self).pop("widest", None)
        vars(self).update(vars(other))

    def respond_rows(
        self, chosen: Ints, lo: int, hi: int, price: Floats, share: Floats, keep: bool
    ) -> tuple[int, Ints]:
        """Give clients their best responses; see `row_kernels.response_manys`.

        Returns
        -------
        bad : int
            A client that has no response, or -1.
        load : int64 array, shape (m + 1,)
            Holders among these clients.
        """
        load = np.zeros(price.size, np.int64)
        bad = response_kernel(self.widest, self.grouped)(
            self.matrix.read, self.limits, chosen, lo, hi, self.widest, price, share, keep,
            self.answer, self.slack, self.runner_up, load,
        )  # fmt: skip
        return int(bad), load

    def slack_rows(self, lo: int, hi: int, price: Floats) -> None:
        """Compute the slack of clients anew, keeping what they hold."""
        of_rows = group_rows.slack_in_groups if self.grouped else row_kernels.slack_rows
        of_rows(self.matrix.read, self.limits, lo, hi, price, self.answer, self.slack)

    def swap_exists(self, lo: int, hi: int, price: Floats) -> npt.NDArray[np.bool_]:
        """Return which swaps some client could make at any loss, shape (m + 1, m + 1)."""
        exists = np.zeros((price.size, price.size), np.bool_)
        heaps.swap_exists(self.matrix.read, self.limits, lo, hi, price, self.answer, exists)
        return exists

    def list_swaps(
        self, chosen: Ints, first: int, price: Floats, pairs: npt.NDArray[np.bool_], cap: Ints,
        listed: Ints, lists: tuple[Any, ...],
    ) -> int:  # fmt: skip
        """List swaps of chosen clients; see `heaps.list_clients`."""
        return int(heaps.list_clients(self.matrix.read, self.limits, chosen, first, price, pairs,
                                      cap, listed, self.answer, lists))  # fmt: skip

    def augment(
        self, load: Ints, bounds: Bounds, excess: Ints, price: Floats, lists: tuple[Any, ...],
        phases: int, frontier: npt.NDArray[np.bool_],
    ) -> int:  # fmt: skip
        """Move excess along paths; see `paths.augment`."""
        # Within groups all swaps of what is held and of the unused slot may be new; else those of
        # what is taken, of the unused slot, and two for each expert held.
        per_swap = 1 + self.widest if self.grouped else 4
        return int(paths.augment(
            self.matrix.read, self.limits, price, load, tuple(bounds), excess, self.answer,
            self.slack, lists, per_swap, phases, frontier,
        ))  # fmt: skip

    def keep_loads(self, price: Floats, load: Ints, load_min: Ints, load_max: Ints) -> int:
        """Bring loads, which are updated, within bounds; return how many are still wrong."""
        return int(repair.keep_loads(self.matrix.read, self.limits, price, self.answer, load,
                                     load_min, load_max))  # fmt: skip
