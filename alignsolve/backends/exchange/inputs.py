"""Bring what a caller gives into the form the kernels take."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from alignsolve.kernels.values import by_type
from alignsolve.model.arrays import read_only, row_blocks

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Counts = npt.NDArray[np.int32]
NONE: Ints = np.empty(0, np.int64)


class Switch(NamedTuple):
    """Switching costs, and the pairs held before, which cost nothing.

    Attributes
    ----------
    cost : float64 array
        Costs, flat; empty for none.
    row, col : int
        Strides of the costs, in entries; 0 where all clients or experts cost the same.
    held_ptr, held_ind : int64 arrays, shapes (n + 1,) and (number of pairs,)
        Pairs held before, as CSR.
    """

    cost: Floats = np.empty(0)
    row: int = 0
    col: int = 0
    held_ptr: Ints = np.zeros(1, np.int64)
    held_ind: Ints = NONE

    @classmethod
    def of(cls, switch: tuple[Any, Ints, Ints] | None) -> Switch:
        """Return costs that broadcast to all pairs, with the pairs held before."""
        if switch is None:
            return NO_SWITCH
        raw = np.asarray(switch[0], dtype=np.float64)
        base = raw.reshape((1,) * (2 - raw.ndim) + raw.shape)
        # Repeated rows and columns of a broadcast array are not written out.
        base = base[:1] if base.strides[0] == 0 else base
        base = np.ascontiguousarray(base[:, :1] if base.strides[1] == 0 else base)
        row = base.shape[1] if base.shape[0] > 1 else 0
        held = (np.ascontiguousarray(part, dtype=np.int64) for part in switch[1:])
        return cls(base.reshape(-1), row, int(base.shape[1] > 1), *held)

    @property
    def dearest(self) -> float:
        """The largest cost."""
        return float(self.cost.max(initial=0.0))

    def part(self, first: int, last: int) -> Switch:
        """Return what belongs to the clients ``first`` to ``last - 1``."""
        if not self.cost.size:
            return self
        cost = self.cost[first * self.row : last * self.row] if self.row else self.cost
        ends = self.held_ptr[first : last + 1]
        return Switch(cost, self.row, self.col, ends - ends[0], self.held_ind[ends[0] : ends[-1]])


NO_SWITCH = Switch()


@dataclass(frozen=True, eq=False)
class Groups:
    """Groups whose experts stand side by side, and how many of each a client may hold.

    Attributes
    ----------
    start : int64 array, shape (n_groups + 1,)
        Group g has the experts ``start[g]`` to ``start[g + 1] - 1``.
    low, high : int32 array, shape (n_clients, n_groups)
        Fewest and most experts of each group.
    """

    start: Ints
    low: Counts
    high: Counts

    @cached_property
    def of_expert(self) -> Counts:
        """Group of each expert, int32 of shape (n_experts,)."""
        sizes = np.diff(self.start)
        return np.repeat(np.arange(sizes.size, dtype=np.int32), sizes)

    @staticmethod
    def join(parts: list[Groups]) -> Groups:
        """Return what bounds the clients of several, in order."""
        low, high = (np.concatenate(some) for some in zip(
            *((part.low, part.high) for part in parts), strict=True))  # fmt: skip
        return Groups(parts[0].start, low, high)


def part_of(groups: Groups | None, rows: slice | Ints) -> Groups | None:
    """Return what bounds some of the clients where there are groups."""
    return groups and Groups(groups.start, groups.low[rows], groups.high[rows])


#: Group of each expert, where groups start, and bounds, where no groups share slots.
NO_GROUPS = (
    read_only(np.empty(0, np.int32)), read_only(np.zeros(1, np.int64)),
    read_only(np.empty((0, 0), np.int32)), read_only(np.empty((0, 0), np.int32)),
)  # fmt: skip


@dataclass
class Matrix:
    """The matrix with what belongs to its rows, in the form the kernels take.

    Kernels get its arrays read-only, whatever they are: they are compiled once for both kinds.

    Attributes
    ----------
    fitness : float32 or float64 array, shape (n, m)
    slot_min, slot_max : int64 arrays, shape (n,)
        Fewest and most experts of each client.
    switch : Switch
    groups : Groups or None
        Bounds of groups that share the clients' slots.
    """

    fitness: npt.NDArray[Any]
    slot_min: Ints
    slot_max: Ints
    switch: Switch = NO_SWITCH
    groups: Groups | None = None

    @cached_property
    def read(self) -> tuple[Any, ...]:
        """The values, as kernels take them: `by_type`, and the entries of `Switch`."""
        cost, row, col, *held = self.switch
        return by_type(self.fitness), read_only(cost), row, col, *map(read_only, held)

    def limits(self, rows: Ints) -> tuple[Any, ...]:
        """Return what bounds the experts of clients, as kernels take it.

        Parameters
        ----------
        rows : int64 array, shape (s,) or (0,)
            Row of each client; empty where they are all rows in order.

        Returns
        -------
        rows, slot_min, slot_max, of_expert, start, low, high
            Slots, and the group of each expert and the entries of `Groups`, or `NO_GROUPS`.
        """
        groups, slots = self.groups, (read_only(self.slot_min), read_only(self.slot_max))
        if groups is None:
            return rows, *slots, *NO_GROUPS
        bounds: tuple[npt.NDArray[Any], ...] = (
            groups.of_expert, groups.start, groups.low, groups.high,
        )  # fmt: skip
        return rows, *slots, *map(read_only, bounds)

    def spread(self) -> float:
        """Return by how much two values may differ at most."""
        low = high = 0.0
        for some in row_blocks(*self.fitness.shape):
            block = self.fitness[some]
            known = np.isfinite(block)
            low = float(block.min(where=known, initial=low))
            high = float(block.max(where=known, initial=high))
        return high - low + self.switch.dearest


class Bounds(NamedTuple):
    """Load bounds and penalties of the experts, shape (m,) each, in holders."""

    load_min: Ints
    load_max: Ints
    penalty: Floats
    goal: Floats

    def no_prices(self) -> Floats:
        """Return prices of zero, shape (m + 1,), and +inf for experts that nobody may hold."""
        price = np.zeros(self.load_max.size + 1)
        price[:-1][self.load_max <= 0] = np.inf
        return price


def _whole_numbers(value: Any, size: int) -> Ints:
    """Return int64 of one entry per client; a view where it is that already."""
    if np.shape(value) != (size,):
        value = np.broadcast_to(value, size)
    return np.ascontiguousarray(value, dtype=np.int64)


def slots_of(n: int, m: int, slot_min: Any, slot_max: Any) -> tuple[Ints, Ints]:
    """Return fewest and most experts of each client, shape (n,) each, the latter at most m."""
    most = _whole_numbers(slot_max, n)
    if n and int(most.max()) > m:
        most = np.minimum(most, m)
    return _whole_numbers(slot_min, n), most


def matrix_of(
    fitness: npt.NDArray[Any], slot_min: Any, slot_max: Any,
    switch: tuple[Any, Ints, Ints] | None = None, groups: Groups | None = None,
) -> Matrix:  # fmt: skip
    """Bring the matrix and what belongs to its rows into the form the kernels take."""
    if fitness.dtype not in (np.float32, np.float64):
        raise TypeError(f"fitness has dtype {fitness.dtype}; give float32 or float64")
    n, m = fitness.shape
    slots = slots_of(n, m, slot_min, slot_max)
    return Matrix(np.ascontiguousarray(fitness), *slots, Switch.of(switch), groups)


def bounds_of(
    n: int, m: int, load_min: Any, load_max: Any, penalty: tuple[Any, Any] | None
) -> Bounds:
    """Bring the experts' bounds into the form the kernels take; they are small and copied."""
    low, high = np.empty(m, np.int64), np.empty(m, np.int64)
    weight, goal = np.zeros(m), np.zeros(m)
    low[:], high[:] = np.maximum(load_min, 0), np.minimum(load_max, n)
    if penalty is not None:
        weight[:], goal[:] = penalty
    return Bounds(low, high, weight, goal)
