"""What binds a client alone, as rows: budgets, slots, groups, a fairness floor.

Where bounds are moved outward, what is derived from these parts is a valid bound; where
they are moved inward, an answer made from them is feasible. See `alignsolve.standard_form`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from alignsolve.model.arrays import Float64Array, IntArray
from alignsolve.model.problem import AlignmentProblem
from alignsolve.standard_form import ClientSum, Margin, client_sums


@dataclass(frozen=True, eq=False)
class Clients:
    """What each client may hold, apart from the loads: rows that bound sums over its experts.

    Parameters
    ----------
    problem : AlignmentProblem
        Source of values and sizes, read in blocks of clients.
    sums : tuple of ClientSum
        Budgets are the first rows, and the floor, with its sign changed, is the last.
    members : float64 array, shape (n_member_rows, n_experts)
        The next rows, the same for all clients: which experts count to slots or a group.
    has_floor : bool
        Whether the fairness floor is the last row.
    capacity, room : float64 array, shape (n_clients, n_rows)
        Loosened upper bounds of the rows, and how far below these a set may stay.
    """

    problem: AlignmentProblem
    sums: tuple[ClientSum, ...]
    members: Float64Array
    has_floor: bool
    capacity: Float64Array
    room: Float64Array

    @classmethod
    def of(cls, problem: AlignmentProblem, margin: Margin) -> Clients:
        """Collect the clients' own bounds."""
        sums = client_sums(problem, margin)
        # Floors bound from below: a row of fitness less than 0, bounded from above.
        has_floor = bool(sums) and not sums[-1].name
        budgets, floors = (sums[:-1], sums[-1:]) if has_floor else (sums, ())
        members, least, most = _counted(problem)
        least = np.where(least > 0, margin.moved(least, -1), -np.inf)
        bounds = [(part.low, part.high) for part in budgets]
        bounds += zip(least, margin.moved(most, 1), strict=True)
        bounds += [(-part.high, -part.low) for part in floors]
        both = np.reshape(bounds, (len(bounds), 2, problem.n_clients)).astype(np.float64)
        low, high = np.ascontiguousarray(both.transpose(1, 2, 0))
        room = np.where(np.isfinite(low), high - low, np.inf)
        return cls(problem, sums, members, has_floor, high, room)

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        return int(self.capacity.shape[1])

    @property
    def kind(self) -> int:
        """What the rows are; see `alignsolve.backends.lagrangian.multidimensional_knapsack`."""
        from alignsolve.backends.lagrangian.multidimensional_knapsack import MINIMA, MIXED, PLAIN

        minima = int(np.isfinite(self.room).any(axis=0).sum())
        # A best set without minima hardly ever meets those of several rows.
        if self.has_floor or minima > 1:
            return MIXED
        return MINIMA if minima else PLAIN

    def sizes(self, rows: slice | IntArray) -> Float64Array:
        """Return the coefficients of some clients' rows, float64 (k, n_rows, n_experts)."""
        n = self.capacity[rows].shape[0]
        block = np.empty((n, self.n_rows, self.problem.n_experts))
        r = len(self.sums) - self.has_floor
        for at, part in enumerate(self.sums[:r]):
            block[:, at] = part.entries(rows)
        block[:, r : r + len(self.members)] = self.members
        if self.has_floor:
            np.subtract(0.0, self.sums[-1].entries(rows), out=block[:, -1])
        return block


def _counted(problem: AlignmentProblem) -> tuple[Float64Array, Float64Array, Float64Array]:
    """Return what counts to slots and groups, where these can bind.

    Returns
    -------
    members : float64 array, shape (n_rows, n_experts)
    least, most : float64 array, shape (n_rows, n_clients)
    """
    m = problem.n_experts
    low, high = problem.slot_bounds()
    rows, least, most = [np.ones(m)], [low], [high]
    if problem.expert_group is not None:
        assert problem.group_min is not None and problem.group_max is not None
        for g in range(problem.n_groups):
            rows.append(problem.expert_group == g)
            least.append(problem.group_min[:, g])
            most.append(problem.group_max[:, g])
    members = np.array(rows, dtype=np.float64)
    lows, highs = np.array(least, dtype=np.float64), np.array(most, dtype=np.float64)
    count = members.sum(axis=1)[:, None]
    binds = ((lows > 0) | (highs < count)).any(axis=1)
    if len(members) > 1:
        # Slots say nothing new where the groups add up to no less, and no more.
        binds[0] = (highs[0] < np.minimum(highs[1:], count[1:]).sum(axis=0)).any() or (
            lows[0] > lows[1:].sum(axis=0)
        ).any()
    return members[binds], lows[binds], highs[binds]
