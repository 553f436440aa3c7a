"""Clients whose slots several layer groups share: best responses by kernels of their own."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from alignsolve.backends.exchange import algorithm, group_rows
from alignsolve.backends.exchange.components import Groups
from alignsolve.backends.exchange.inputs import Floats, Ints, Matrix
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

    @cached_property
    def limits(self) -> tuple[Any, ...]:
        """What bounds a client's experts, as `Matrix.limits`."""
        groups = self.groups
        return self.slot_min, self.slot_max, groups.of_expert, groups.low, groups.high


class GroupedSubproblem(Subproblem):
    """A level of clients that share slots between groups."""

    matrix: GroupedMatrix

    @property
    def per_swap(self) -> int:
        """Most entries that a swap makes: of what is held and the unused slot, all may be new."""
        return 1 + self.widest

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


class InGroups(algorithm.InMemory):
    """Clients in memory that share slots between groups."""

    kind = GroupedSubproblem


def kernels_in_groups() -> tuple[Kernel, ...]:
    """Return the kernels that a large problem needs."""
    return (group_rows.respond_in_groups, *algorithm.kernels_for(1)[1:])
