"""Clients whose slots several layer groups share: the kernels for them in place of the others."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from alignsolve.backends.exchange import algorithm, group_paths, group_repair, group_rows
from alignsolve.backends.exchange.components import Groups
from alignsolve.backends.exchange.inputs import Bounds, Floats, Ints, Matrix
from alignsolve.backends.exchange.subproblem import Subproblem
from alignsolve.kernels import Kernel


@dataclass
class GroupedMatrix(Matrix):
    """A matrix whose clients share slots between groups.

    Attributes
    ----------
    groups : Groups
        Bounds of the groups, whose experts stand side by side.
    """

    groups: Groups = field(kw_only=True)


class GroupedSubproblem(Subproblem):
    """A level of clients that share slots between groups."""

    matrix: GroupedMatrix

    @property
    def _groups(self) -> tuple[Any, ...]:
        """Group of each expert and bounds of the groups, as kernels take them."""
        groups = self.matrix.groups
        return groups.of_expert, groups.low, groups.high

    def respond_rows(
        self, chosen: Ints, lo: int, hi: int, price: Floats, share: Floats, keep: bool
    ) -> tuple[int, Ints]:
        """Give clients their best responses; see `Responses.respond_rows`."""
        load, groups = np.zeros(price.size, np.int64), self.matrix.groups
        bad = group_rows.respond_in_groups(
            *self.matrix.read, *self.slots, groups.start, groups.low, groups.high, chosen, lo, hi,
            price, share, keep, *self.held_so_far, self.slack, self.runner_up, load,
        )  # fmt: skip
        return int(bad), load

    def slack_rows(self, lo: int, hi: int, price: Floats) -> None:
        """Compute the slack of clients anew, keeping what they hold."""
        groups = self.matrix.groups
        group_rows.slack_in_groups(
            *self.matrix.read, *self.slots, groups.start, groups.low, groups.high, lo, hi, price,
            *self.held_so_far, self.slack,
        )  # fmt: skip

    def swap_exists(self, lo: int, hi: int, price: Floats) -> npt.NDArray[np.bool_]:
        """Return which swaps some client could make at any loss, shape (m + 1, m + 1)."""
        exists = np.zeros((price.size, price.size), np.bool_)
        group_paths.swap_exists_in_groups(
            self.matrix.fitness, *self.slots, *self._groups, lo, hi, price, *self.held_so_far,
            exists,
        )  # fmt: skip
        return exists

    def list_swaps(self, chosen: Ints, first: int, *into: Any) -> int:
        """List swaps of chosen clients; see `group_paths.list_in_groups`."""
        price, pairs, cap, listed, *lists = into
        return int(group_paths.list_in_groups(
            *self.matrix.read, *self.slots, *self._groups, chosen, first, price, pairs, cap,
            listed, *self.held_so_far, *lists,
        ))  # fmt: skip

    def augment(
        self, load: Ints, bounds: Bounds, excess: Ints, price: Floats, *graph: Any
    ) -> int:
        """Move excess along paths; see `group_paths.augment_in_groups`."""
        *lists, phases, frontier = graph
        return int(group_paths.augment_in_groups(
            *self.matrix.read, *self.slots, *self._groups, price, load, bounds.load_min,
            bounds.load_max, bounds.penalty, bounds.goal, excess, *self.held_so_far, self.slack,
            *lists, self.widest, phases, frontier,
        ))  # fmt: skip

    def keep_loads(self, price: Floats, load: Ints, load_min: Ints, load_max: Ints) -> int:
        """Bring loads, which are updated, within bounds; return how many are still wrong."""
        matrix = self.matrix
        return int(group_repair.keep_loads_in_groups(
            *matrix.read, matrix.slot_min, matrix.slot_max, *self._groups, price,
            *self.held_so_far, load, load_min, load_max,
        ))  # fmt: skip


class InGroups(algorithm.InMemory):
    """Clients in memory that share slots between groups."""

    kind = GroupedSubproblem


def kernels_in_groups() -> tuple[Kernel, ...]:
    """Return the kernels that a large problem needs in place of those without groups."""
    return (group_rows.respond_in_groups, group_paths.list_in_groups,
            group_paths.augment_in_groups)  # fmt: skip
