"""Prices of the bounds, and the clients' best responses to them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from alignsolve.errors import ProblemError
from alignsolve.model.arrays import BoolArray, Float64Array, IntArray
from alignsolve.model.problem import AlignmentProblem


@dataclass(frozen=True, eq=False)
class Multipliers:
    """Prices of the bounds, in max sense; they give a valid bound whatever they are.

    Parameters
    ----------
    experts : float64 array, shape (n_experts,)
        Price of a holder of each expert.
    loads : mapping of str to float64 array, shape (n_experts,)
        Price of a unit of each named load.
    budgets : mapping of str to float64 array, shape (n_clients,)
        Price >= 0 of a unit of each resource.
    fairness : float64 array, shape (n_clients,), optional
        Price >= 0 of a unit of each client's fairness floor.

    Examples
    --------
    Prices bound the optimum of a problem with budgets, whatever solver they come from:

    >>> import numpy as np
    >>> import alignsolve as al
    >>> problem = al.AlignmentProblem(
    ...     [[3, 1], [2, 2.5]], max_experts=2, load_max=1,
    ...     resources={"memory": al.Resource(size=[2.0, 1.0], budget=[2.0, 2.0])})
    >>> prices = al.Multipliers(np.array([0.5, 0.0]), budgets={"memory": np.array([1.0, 0.5])})
    >>> certificate = al.certify(problem, [0, 1], [0, 1], prices)
    >>> certificate.objective_value, certificate.dual_bound
    (5.5, 6.5)
    """

    experts: Float64Array
    loads: Mapping[str, Float64Array] = field(default_factory=dict)
    budgets: Mapping[str, Float64Array] = field(default_factory=dict)
    fairness: Float64Array | None = None

    def check(self, problem: AlignmentProblem) -> None:
        """Raise `ProblemError` where a price does not fit the problem."""
        n, m = problem.n_clients, problem.n_experts
        given: list[tuple[str, Float64Array, int, bool]] = [("experts", self.experts, m, False)]
        for kind, prices, known, length, signed in (
            ("loads", self.loads, problem.loads, m, False),
            ("budgets", self.budgets, problem.resources, n, True),
        ):
            for name, price in prices.items():
                if name not in known:
                    raise ProblemError(
                        f"multipliers.{kind} names {name!r}, which the problem lacks"
                    )
                given.append((f"{kind}[{name!r}]", price, length, signed))
        if self.fairness is not None:
            given.append(("fairness", self.fairness, n, True))
        for name, price, length, signed in given:
            array = np.asarray(price)
            if array.shape != (length,):
                raise ProblemError(
                    f"multipliers.{name} has shape {array.shape}; give shape ({length},)"
                )
            if not np.isfinite(array).all() or (signed and (array < 0).any()):
                least = "finite prices >= 0" if signed else "finite prices"
                raise ProblemError(f"multipliers.{name} holds a wrong price; give {least}")


def reduced_values(
    problem: AlignmentProblem, rows: slice, multipliers: Multipliers, values: Float64Array
) -> Float64Array:
    """Return values less all prices, for some clients, in a new array.

    Parameters
    ----------
    problem : AlignmentProblem
        The problem.
    rows : slice
        Clients.
    multipliers : Multipliers
        Prices.
    values : float64 array, shape (len(rows), n_experts)
        ``problem.values(rows)``.
    """
    reduced = values - multipliers.experts
    for name, price in multipliers.loads.items():
        weight = np.asarray(problem.loads[name].weight)[rows]
        reduced -= weight[:, None] * price
    for name, price in multipliers.budgets.items():
        reduced -= price[rows, None] * np.asarray(problem.resources[name].size)[rows]
    if multipliers.fairness is not None:
        fitness = problem.fitness[rows].astype(np.float64)
        price = multipliers.fairness[rows, None]
        reduced += np.where(price > 0, price * np.where(np.isfinite(fitness), fitness, 0), 0)
    return reduced


def best_responses(
    problem: AlignmentProblem, rows: slice, reduced: Float64Array,
    empty: Float64Array | None = None,
) -> tuple[BoolArray, BoolArray]:
    """Return each client's best set within its slots and groups.

    Parameters
    ----------
    problem : AlignmentProblem
        Source of slots and groups.
    rows : slice
        Clients.
    reduced : float64 array, shape (len(rows), n_experts)
        Value less price; ``-inf`` forbids.
    empty : float64 array, shape (len(rows),), optional
        What an empty slot is worth, where values are relative to some pair; default 0.

    Returns
    -------
    chosen : bool array, shape (len(rows), n_experts)
        The best set.
    possible : bool array, shape (len(rows),)
        Whether the client can keep its own bounds at all.

    Notes
    -----
    The sets a client may hold form a laminar matroid truncation, so that the
    greedy choice is exact: first the best ``group_min`` of each group, then
    the best others until ``min_experts``, then while they gain.
    """
    smin, smax = (bound[rows] for bound in problem.slot_bounds())
    allowed = reduced > -np.inf
    forced = np.zeros_like(allowed)
    possible = smin <= smax
    if problem.expert_group is not None:
        assert problem.group_min is not None and problem.group_max is not None
        for group in range(problem.n_groups):
            columns = np.flatnonzero(problem.expert_group == group)
            low, high = problem.group_min[rows, group], problem.group_max[rows, group]
            own = reduced[:, columns]
            possible &= (low <= high) & (allowed[:, columns].sum(axis=1) >= low)
            forced[:, columns] = _largest(own, low) & allowed[:, columns]
            allowed[:, columns] &= _largest(own, high)
    n_forced = forced.sum(axis=1)
    candidates = np.where(allowed & ~forced, reduced, -np.inf)
    available = (candidates > -np.inf).sum(axis=1)
    fewest, most = smin - n_forced, np.minimum(smax - n_forced, available)
    possible &= (most >= 0) & (fewest <= most)
    worth = 0.0 if empty is None else empty[:, None]
    take = np.clip((candidates > worth).sum(axis=1), np.maximum(fewest, 0), np.maximum(most, 0))
    chosen = forced | _largest(candidates, take)
    return chosen & allowed, possible


def _largest(block: Float64Array, count: IntArray) -> BoolArray:
    """Tell which entries are among the so many largest of their row, of equal ones the first."""
    count = np.clip(count, 0, block.shape[1])
    most = int(count.max(initial=0))
    if most == 0:
        return np.zeros(block.shape, dtype=np.bool_)
    # Partial sorting: few experts of many are chosen, most often.
    top = -np.sort(np.partition(-block, most - 1, axis=1)[:, :most], axis=1)
    bar = top[np.arange(count.size), np.maximum(count, 1) - 1][:, None]
    above, level = block > bar, block == bar
    wanted = count[:, None] - above.sum(axis=1, keepdims=True)
    return np.asarray((above | (level & (level.cumsum(axis=1) <= wanted))) & (count > 0)[:, None])
