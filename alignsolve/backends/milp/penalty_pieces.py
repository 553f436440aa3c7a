"""Convex load penalties as linear pieces, which bound them from below.

A penalty ``slope (load - target)**2`` becomes a column that is at least each of
a few linear functions of the load. On holders these are the secants between
neighbouring whole loads, exact at every whole load once both neighbours are
there. On other loads they are tangents, exact where they touch. Pieces that
are missing only raise the model's optimum, so its bound stays valid; the
solving loop adds those that an answer shows to be missing.

References
----------
J E Kelley, The cutting-plane method for solving convex programs, 1960,
doi:10.1137/0108053.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from alignsolve.model.arrays import Float64Array, IntArray, concatenated_ranges, weighted_count
from alignsolve.model.problem import AlignmentProblem
from alignsolve.standard_form import ROUNDING, CouplingConstraints, Margin, penalty_step

#: Pieces (expert position, gradient, value at load 0), one entry each.
Pieces = tuple[IntArray, Float64Array, Float64Array]

#: Holder penalties over at most this many loads get all their pieces at once.
FEW_LOADS = 32


@dataclass(frozen=True, eq=False)
class PenaltyGroup:
    """The penalised experts of one load.

    Parameters
    ----------
    name : str
        Name of the load; "" for holders.
    experts : int64 array, shape (k,)
        Experts with a penalty.
    weight : float64 array, shape (n_clients,)
        What a client adds to the load.
    slope, target : float64 array, shape (k,)
        Penalty ``slope * (load - target)**2``.
    low, high : float64 array, shape (k,)
        Range of the load, relaxed by the package's tolerance for sums.
    unit : float64 array, shape (k,)
        Typical step of the load: the mean weight of the clients that may add to it.
    load_columns, penalty_columns : int64 array, shape (k,)
        Columns of the linear model.
    """

    name: str
    experts: IntArray
    weight: Float64Array
    slope: Float64Array
    target: Float64Array
    low: Float64Array
    high: Float64Array
    unit: Float64Array
    load_columns: IntArray
    penalty_columns: IntArray

    @property
    def is_count(self) -> bool:
        """Whether the load is the number of holders, hence whole."""
        return not self.name

    def loads(self, problem: AlignmentProblem, rows: IntArray, cols: IntArray) -> Float64Array:
        """Return the loads of the group's experts under an answer, float64 of shape (k,)."""
        amount = np.bincount(cols, weights=self.weight[rows], minlength=problem.n_experts)
        return np.asarray(amount[self.experts], dtype=np.float64)

    def values(self, loads: Float64Array) -> Float64Array:
        """Return the penalties of loads, float64 of shape (k,)."""
        return self.slope * (loads - self.target) ** 2

    def load_range(self) -> tuple[Float64Array, Float64Array]:
        """Return bounds of the load's column.

        Holders have theirs here. Those of a real load are rows of the model;
        its column gets none that could bind.
        """
        if self.is_count:
            return self.low, self.high
        zero = np.zeros(self.low.size)
        return zero, 2.0 * np.maximum(self.high, 1.0)

    def reach(self) -> Float64Array:
        """Return how far from its target each load can be."""
        return np.maximum(np.abs(self.high - self.target), np.abs(self.low - self.target))

    def steepest(self) -> Float64Array:
        """Return the largest gradient of each penalty within the range of its load."""
        return 2 * self.slope * (self.reach() + self.is_count)

    def penalty_range(self) -> tuple[Float64Array, Float64Array]:
        """Return bounds on the penalty within the range of each load.

        The upper one leaves room: rounded pieces may lie above the true penalty.
        """
        high = np.maximum(self.low, self.high)
        least = self.values(np.clip(self.target, self.low, high))
        most = np.maximum(self.values(self.low), self.values(high))
        size = self.slope * (self.target**2 + np.maximum(high, -self.low) ** 2)
        return np.maximum(least - 1e-12 * size, 0.0), 2 * most - least + 1e-9 * size


def penalty_groups(
    problem: AlignmentProblem, clients: IntArray, experts: IntArray
) -> tuple[PenaltyGroup, ...]:
    """Return the penalised loads of a problem, with their columns after the pairs'."""
    loads = CouplingConstraints.of(problem, Margin.OUTWARD).reachable()
    groups: list[PenaltyGroup] = []
    column = clients.size
    for k, name in enumerate(loads.names):
        at = np.flatnonzero(loads.slope[k] > 0)
        if not at.size:
            continue
        columns = column + np.arange(2 * at.size)
        column += columns.size
        weight = loads.weight[k][clients]
        total = weighted_count(experts, weight, problem.n_experts)
        count = np.bincount(experts[weight > 0], minlength=problem.n_experts)
        unit = np.where(count > 0, total / np.maximum(count, 1), 1.0)
        high = loads.high[k] if not name else np.minimum(loads.high[k], total * (1 + ROUNDING))
        groups.append(
            PenaltyGroup(
                name, at, loads.weight[k], loads.slope[k, at], loads.target[k, at],
                loads.low[k, at], high[at], unit[at], columns[: at.size], columns[at.size :],
            )
        )
    return tuple(groups)


def _secants(group: PenaltyGroup, which: IntArray, load: Float64Array) -> Pieces:
    """Return the pieces through the penalties of `load` and ``load + 1`` holders."""
    slope, target = group.slope[which], group.target[which]
    return which, penalty_step(slope, target, load), slope * (target**2 - load * (load + 1))


def _tangents(group: PenaltyGroup, which: IntArray, load: Float64Array) -> Pieces:
    """Return the pieces that touch the penalty at `load`."""
    slope, target = group.slope[which], group.target[which]
    away = load - target
    return which, 2 * slope * away, -slope * away * (load + target)


def first_pieces(group: PenaltyGroup, few: float = FEW_LOADS) -> Pieces:
    """Return pieces that are dense near the target and sparse far from it.

    Penalties on holders over at most `few` loads get all their pieces, which makes them exact.
    One on a named load has no finite list: it gets tangents, which `few` does not change and
    which lie below it, so that files of the linear model refuse such problems.
    """
    if group.is_count and (group.high - group.low).max() <= few:
        low = group.low.astype(np.int64)
        load, which = concatenated_ranges(low, np.maximum(group.high.astype(np.int64), low + 1))
        return _secants(group, which, load.astype(np.float64))
    reach = float((group.reach() / group.unit).max())
    n_doublings = min(60, math.ceil(math.log2(max(2.0, reach))) + 1)
    doublings = 2.0 ** np.arange(n_doublings)
    steps = np.concatenate([-doublings[::-1], [0.0], doublings])
    load = group.target[:, None] + group.unit[:, None] * steps
    if group.is_count:
        load = np.floor(load)
    last = group.high - group.is_count
    load = np.clip(load, group.low[:, None], np.maximum(group.low, last)[:, None])
    fresh = np.ones(load.shape, dtype=np.bool_)
    fresh[:, 1:] = load[:, 1:] != load[:, :-1]
    which, at = np.nonzero(fresh)
    return (_secants if group.is_count else _tangents)(group, which, load[which, at])


def pieces_at(group: PenaltyGroup, which: IntArray, load: Float64Array) -> Pieces:
    """Return the pieces that make the penalty exact at one load of some experts."""
    if not group.is_count:
        return _tangents(group, which, load)
    low, last = group.low[which], np.maximum(group.low, group.high - 1)[which]
    sides = [_secants(group, which, np.clip(load - step, low, last)) for step in (0, 1)]
    which, gradient, intercept = (np.concatenate(parts) for parts in zip(*sides, strict=True))
    return which, gradient, intercept


def missing_pieces(
    group: PenaltyGroup, loads: Float64Array, modelled: Float64Array, scale: float
) -> Pieces | None:
    """Return the pieces that a model lacks at an answer, None for none.

    Parameters
    ----------
    group : PenaltyGroup
        The penalties.
    loads, modelled : float64 array, shape (k,)
        The answer's loads, and what the model's pieces make of the penalties there.
    scale : float
        Size of an objective coefficient: penalties need no finer precision
        than 1e-9 of it.
    """
    true = group.values(loads)
    # The last term is the rounding of the pieces themselves.
    rounding = 1e-13 * group.slope * (loads**2 + group.target**2)
    which = np.flatnonzero(true - modelled > 1e-9 * np.maximum(true, scale) + rounding)
    return pieces_at(group, which, loads[which]) if which.size else None
