"""What backends need of a problem, derived in one place: loads as rows, clients' sums as rows.

Inside, everything maximises, holders are bounded by whole numbers, and bounds on sums of
floats are moved by a stated margin, since sums in another order round otherwise.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from alignsolve.model.arrays import BoolArray, Float64Array, IntArray
from alignsolve.model.problem import AlignmentProblem, Feature, tolerance

#: Relative room for the rounding of sums of floats, far below the package's tolerance.
ROUNDING = 1e-12


class Margin(enum.Enum):
    """How far bounds on sums are moved outward."""

    NONE = "none"
    """Nothing: bounds as the problem states them."""
    INWARD = "inward"
    """Half the tolerance: what keeps the moved bounds is feasible, in whatever order it adds up."""
    OUTWARD = "outward"
    """The tolerance and a few roundings: no feasible answer breaks the moved bounds."""

    def moved(self, bound: npt.ArrayLike, direction: int) -> Float64Array:
        """Return bounds moved up (direction 1) or down (-1), float64; infinite ones stay."""
        bound = np.asarray(bound, dtype=np.float64)
        if self is Margin.NONE:
            return bound
        with np.errstate(invalid="ignore"):
            if self is Margin.INWARD:
                return np.asarray(bound + direction * 0.5 * tolerance(bound))
            moved = bound + direction * (tolerance(bound) + ROUNDING * np.abs(bound))
            return np.where(np.isfinite(bound), moved, bound)


def holders(problem: AlignmentProblem) -> tuple[IntArray, IntArray, Float64Array, Float64Array]:
    """Return the experts' whole bounds on holders, and slope and target of the penalty on them."""
    return *problem.holder_bounds(), problem.load_penalty, problem.load_target


@dataclass(frozen=True, eq=False)
class CouplingConstraints:
    """The loads that bounds or penalties make matter: they couple the clients.

    Attributes
    ----------
    names : tuple of str
        Name of each load; "" for holders, which come first.
    weight : float64 array, shape (n_loads, n_clients)
        What a client adds to each load of an expert that it holds.
    low, high : float64 array, shape (n_loads, n_experts)
        Bounds: whole for holders, moved by the margin for named loads.
    slope, target : float64 array, shape (n_loads, n_experts)
        Penalty ``slope * (load - target)**2``.
    is_count : bool array, shape (n_loads,)
        Whether a load counts holders, so that it is whole.
    """

    names: tuple[str, ...]
    weight: Float64Array
    low: Float64Array
    high: Float64Array
    slope: Float64Array
    target: Float64Array
    is_count: BoolArray

    @classmethod
    def of(
        cls, problem: AlignmentProblem, margin: Margin, *, all_holders: bool = False
    ) -> CouplingConstraints:
        """Collect the loads of a problem that are not idle, and holders where `all_holders`."""
        n, m = problem.n_clients, problem.n_experts
        rows: list[tuple[Any, ...]] = []
        if all_holders or {Feature.LOAD_BOUNDS, Feature.LOAD_PENALTY} & problem.features:
            rows.append(("", np.ones(n), *holders(problem)))
        for name, load in problem.loads.items():
            low, high = np.asarray(load.min), np.asarray(load.max)
            if (low > 0).any() or (high < np.inf).any() or np.any(load.penalty):
                low, high = margin.moved(low, -1), margin.moved(high, 1)
                rows.append((name, load.weight, low, high, load.penalty, load.target))

        def stacked(part: int, width: int) -> Float64Array:
            return np.array([row[part] for row in rows], dtype=np.float64).reshape(len(rows), width)

        names = tuple(str(row[0]) for row in rows)
        is_count = np.array([not name for name in names], dtype=np.bool_)
        low, high, slope, target = (stacked(part, m) for part in range(2, 6))
        return cls(names, stacked(1, n), low, high, slope, target, is_count)

    def reachable(self) -> CouplingConstraints:
        """Return the loads with finite bounds: between nothing and what all clients add up to."""
        total = self.weight.sum(axis=1, keepdims=True) * (1 + ROUNDING)
        high = np.where(self.is_count[:, None], self.high, np.minimum(self.high, total))
        return replace(self, low=np.maximum(self.low, 0), high=high)

    def shared(self, share: float) -> tuple[Float64Array, Float64Array, Float64Array, Float64Array]:
        """Return low, high, slope and target for a sample of that share of the clients."""
        return self.low * share, self.high * share, self.slope / share, self.target * share


def penalty_step(
    slope: Float64Array, target: Float64Array, load: Float64Array | IntArray
) -> Float64Array:
    """Return by how much penalties rise from a load to one unit more.

    The difference of the squares is expanded, so that integers stay exact. The compiled
    twin is `penalty_step` in `alignsolve/backends/exchange/paths.py`.
    """
    return np.asarray(slope * (2 * (load - target) + 1))


def best_load(
    prices: Float64Array, slope: Float64Array, target: Float64Array, low: Float64Array | IntArray,
    high: Float64Array | IntArray,
) -> Float64Array:
    """Return the load within [low, high] that maximises ``price l - slope (l - target)^2``.

    Compiled twins: `wanted_loads` in `alignsolve/backends/exchange/bookkeeping.py`, for whole
    loads, and in `alignsolve/backends/lagrangian/best_response_kernels.py` `clearing_prices`
    and `_less_supply`, which also move the price.
    """
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        free = np.where(
            slope > 0, target + prices / (2 * slope), np.where(prices > 0, np.inf, -np.inf)
        )
    return np.clip(free, low, high)


@dataclass(frozen=True, eq=False)
class ClientSum:
    """A sum over a client's experts that bounds: a resource, or fitness for its floor.

    Attributes
    ----------
    name : str
        Name of the resource; "" for fitness.
    low, high : float64 array, shape (n_clients,)
        Bounds, moved by the margin.
    entries : callable
        Returns what each expert adds to the sums of some clients, (k, n_experts), or what
        some pairs add, given as clients and experts, (k,).
    """

    name: str
    low: Float64Array
    high: Float64Array
    entries: Callable[[slice | IntArray | tuple[IntArray, IntArray]], npt.NDArray[Any]]


def client_sums(problem: AlignmentProblem, margin: Margin) -> tuple[ClientSum, ...]:
    """Return the sums that a client's budgets and fairness floor bound, the floor last."""
    n = problem.n_clients
    found = [
        ClientSum(name, np.full(n, -np.inf), margin.moved(resource.budget, 1),
                  np.asarray(resource.size).__getitem__)
        for name, resource in problem.resources.items()
        if np.isfinite(resource.budget).any()
    ]  # fmt: skip
    if Feature.FAIRNESS in problem.features:
        # A forbidden pair is refused by its value; in a sum it must not turn into NaN.
        bare = Feature.FORBIDDEN not in problem.features

        def fitness(at: slice | IntArray | tuple[IntArray, IntArray]) -> npt.NDArray[Any]:
            values = problem.fitness[at]
            return values if bare else np.where(values > -np.inf, values, 0)

        floor = margin.moved(problem.client_fitness_min, -1)
        found.append(ClientSum("", floor, np.full(n, np.inf), fitness))
    return tuple(found)
