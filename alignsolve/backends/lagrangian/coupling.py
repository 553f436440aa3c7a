"""A problem in two halves: what binds a client alone, and the loads that couple clients.

Bounds are relaxed outward by the package's tolerance and a few roundings, so
that no feasible answer is lost and what is derived from these parts is a valid
bound. The strict parts are relaxed by half the tolerance, so that an answer made
from them is feasible whatever the order of its sums.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from alignsolve.model.arrays import BoolArray, Float64Array, IntArray
from alignsolve.model.problem import AlignmentProblem, Feature, tolerance

#: Relative room for the rounding of sums of floats, far below the package's tolerance.
ROUNDING = 1e-12


def _loosened(bound: Float64Array, direction: float, strict: bool) -> Float64Array:
    """Return a bound moved outward by the tolerance and rounding, or by half the tolerance."""
    with np.errstate(invalid="ignore"):
        if strict:
            return bound + direction * 0.5 * tolerance(bound)
        return bound + direction * (tolerance(bound) + ROUNDING * np.abs(bound))


@dataclass(frozen=True, eq=False)
class Loads:
    """The loads that bounds or penalties make matter.

    Parameters
    ----------
    weight : float64 array, shape (n_loads, n_clients)
        What a client adds to each load of an expert that it holds.
    low, high : float64 array, shape (n_loads, n_experts)
        Loosened bounds, finite.
    slope, target : float64 array, shape (n_loads, n_experts)
        Penalty ``slope * (load - target)**2``.
    is_count : bool array, shape (n_loads,)
        Whether a load counts holders, so that it is whole.
    names : tuple of str
        Name of each load; "" for holders.
    """

    weight: Float64Array
    low: Float64Array
    high: Float64Array
    slope: Float64Array
    target: Float64Array
    is_count: BoolArray
    names: tuple[str, ...]

    @classmethod
    def of(cls, problem: AlignmentProblem, strict: bool = False) -> Loads:
        """Collect the loads of a problem that are not idle."""
        n, m = problem.n_clients, problem.n_experts
        weight, low, high, slope, target, count, names = [], [], [], [], [], [], []
        if {Feature.LOAD_BOUNDS, Feature.LOAD_PENALTY} & problem.features:
            least, most = problem.holder_bounds()
            weight.append(np.ones(n))
            low.append(least.astype(np.float64))
            high.append(most.astype(np.float64))
            slope.append(problem.load_penalty)
            target.append(problem.load_target)
            count.append(True)
            names.append("")
        for name, load in problem.loads.items():
            floor, cap = np.asarray(load.min), np.asarray(load.max)
            if not ((floor > 0).any() or np.isfinite(cap).any() or np.any(load.penalty)):
                continue
            each = np.asarray(load.weight)
            total = float(each.sum()) * (1 + ROUNDING)
            weight.append(each)
            low.append(np.maximum(_loosened(floor, -1, strict), 0))
            high.append(np.minimum(_loosened(cap, 1, strict), total))
            slope.append(np.asarray(load.penalty))
            target.append(np.asarray(load.target))
            count.append(False)
            names.append(name)

        def stacked(parts: list[Float64Array], width: int) -> Float64Array:
            return np.ascontiguousarray(np.array(parts, dtype=np.float64).reshape(-1, width))

        return cls(
            stacked(weight, n), stacked(low, m), stacked(high, m), stacked(slope, m),
            stacked(target, m), np.array(count, dtype=np.bool_), tuple(names),
        )

    @property
    def crossed(self) -> bool:
        """Whether an expert's bounds contradict each other."""
        return bool((self.low > self.high).any())

    def shared(self, share: float) -> tuple[Float64Array, Float64Array, Float64Array, Float64Array]:
        """Return low, high, slope and target for a sample of that share of the clients."""
        return self.low * share, self.high * share, self.slope / share, self.target * share


def best_loads(
    prices: Float64Array,
    low: Float64Array,
    high: Float64Array,
    slope: Float64Array,
    target: Float64Array,
    is_count: BoolArray,
) -> tuple[Float64Array, Float64Array]:
    """Return every expert's best load at the prices, and what it is worth.

    Parameters
    ----------
    prices, low, high, slope, target : float64 array, shape (n_loads, n_experts)
        See `Loads`.
    is_count : bool array, shape (n_loads,)
        Loads that must be whole.

    Returns
    -------
    load, worth : float64 array, shape (n_loads, n_experts)
        Maximiser and maximum of ``price * load - slope * (load - target)**2``.
    """
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        free = np.where(
            slope > 0, target + prices / (2 * slope), np.where(prices > 0, np.inf, -np.inf)
        )
    load = np.clip(free, low, high)

    def worth(at: Float64Array) -> Float64Array:
        return prices * at - slope * (at - target) ** 2

    below, above = np.floor(load), np.ceil(load)
    whole = np.where(worth(below) >= worth(above), below, above)
    load = np.where(is_count[:, None], whole, load)
    return load, worth(load)


@dataclass(frozen=True, eq=False)
class Clients:
    """What each client may hold, apart from the loads: rows that bound sums over its experts.

    Parameters
    ----------
    problem : AlignmentProblem
        Source of values and sizes, read in blocks of clients.
    resources : tuple of str
        Resources with a finite budget: the first rows.
    members : float64 array, shape (n_member_rows, n_experts)
        The next rows, the same for all clients: which experts count to slots or a group.
    has_floor : bool
        Whether the fairness floor is the last row.
    capacity, room : float64 array, shape (n_clients, n_rows)
        Loosened upper bounds of the rows, and how far below these a set may stay.
    """

    problem: AlignmentProblem
    resources: tuple[str, ...]
    members: Float64Array
    has_floor: bool
    capacity: Float64Array
    room: Float64Array

    @classmethod
    def of(cls, problem: AlignmentProblem, strict: bool = False) -> Clients:
        """Collect the clients' own bounds."""
        resources = tuple(
            name for name, part in problem.resources.items() if np.isfinite(part.budget).any()
        )
        highs = [
            _loosened(np.asarray(problem.resources[name].budget), 1, strict) for name in resources
        ]
        lows = [np.full(problem.n_clients, -np.inf) for _ in highs]
        members, least, most = _counted(problem)
        highs += list(_loosened(most, 1, strict))
        lows += list(np.where(least > 0, _loosened(least, -1, strict), -np.inf))
        has_floor = Feature.FAIRNESS in problem.features
        if has_floor:
            highs.append(-_loosened(problem.client_fitness_min, -1, strict))
            lows.append(np.full(problem.n_clients, -np.inf))
        shape = len(highs), problem.n_clients
        high = np.ascontiguousarray(np.reshape(highs, shape).T, dtype=np.float64)
        low = np.ascontiguousarray(np.reshape(lows, shape).T, dtype=np.float64)
        room = np.where(np.isfinite(low), high - low, np.inf)
        return cls(problem, resources, members, has_floor, high, room)

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        return int(self.capacity.shape[1])

    @property
    def kind(self) -> int:
        """What the rows are; see `alignsolve.backends.lagrangian.multidimensional_knapsack`."""
        from alignsolve.backends.lagrangian.multidimensional_knapsack import MINIMA, MIXED, PLAIN

        if self.has_floor:
            return MIXED
        return MINIMA if bool(np.isfinite(self.room).any()) else PLAIN

    def sizes(self, rows: slice | IntArray) -> Float64Array:
        """Return the coefficients of some clients' rows, float64 (k, n_rows, n_experts)."""
        problem, m = self.problem, self.problem.n_experts
        k = problem.max_experts[rows].size
        block = np.empty((k, self.n_rows, m))
        for r, name in enumerate(self.resources):
            block[:, r] = np.asarray(problem.resources[name].size)[rows]
        r = len(self.resources)
        block[:, r : r + len(self.members)] = self.members
        if self.has_floor:
            fitness = problem.fitness[rows]
            block[:, -1] = np.where(fitness > -np.inf, -fitness.astype(np.float64), 0.0)
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
