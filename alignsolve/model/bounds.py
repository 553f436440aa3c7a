"""What a conflict is made of: single bounds, sets of them, and a problem with only those."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from alignsolve.errors import ProblemError
from alignsolve.model.arrays import BoolArray, Float64Array, IntArray
from alignsolve.model.problem import AlignmentProblem, Load, Resource

#: More bounds of clients than this are listed as families, one per kind.
FAMILY_LIMIT = 1000

#: Kinds of bounds of a client, in the order in which conflicts list them.
CLIENT_KINDS = (
    "min_experts", "max_experts", "group_min", "group_max", "resource", "client_fitness_min"
)
EXPERT_KINDS = ("load_min", "load_max")

#: A kind of bound: kind, name of the load or resource, group.
Key = tuple[str, str | None, int | None]


@dataclass(frozen=True)
class Bound:
    """One bound of a problem, or one kind of bound of many clients.

    Attributes
    ----------
    kind : str
        "min_experts", "max_experts", "load_min", "load_max", "resource",
        "group_min", "group_max" or "client_fitness_min".
    client, expert, group : int or None
        Where, as far as it applies.
    name : str or None
        Name of the load or resource.
    value : float
        The bound, in the problem's own sense; of a family, their sum.
    clients : tuple of int, or None
        The clients of a family, ascending; `client` is then None. Families
        stand in conflicts with more than `FAMILY_LIMIT` bounds of clients.

    Examples
    --------
    Bounds name what an infeasible problem's conflict is about:

    >>> import alignsolve as al
    >>> result = al.solve(al.AlignmentProblem([[3, 1], [2, 2.5]], max_experts=1, load_min=2))
    >>> for bound in result.conflict.bounds:
    ...     print(bound.kind, bound.client, bound.expert, bound.value)
    load_min None 0 2.0
    load_min None 1 2.0
    max_experts 0 None 1.0
    """

    kind: str
    client: int | None
    expert: int | None
    group: int | None
    name: str | None
    value: float
    clients: tuple[int, ...] | None = field(default=None, repr=False)

    @property
    def key(self) -> Key:
        """Its kind, name and group."""
        return self.kind, self.name, self.group

    @property
    def listed(self) -> tuple[int | None, ...]:
        """The client, or expert, or the clients of a family."""
        if self.kind in EXPERT_KINDS:
            return (self.expert,)
        return (self.client,) if self.clients is None else self.clients


@dataclass(frozen=True, eq=False)
class BoundSet:
    """Bounds of a problem by kind.

    Attributes
    ----------
    clients : dict of Key to int64 array
        Clients whose bound of the kind is in the set, ascending.
    experts : dict of Key to int64 array
        Experts likewise.
    """

    clients: dict[Key, IntArray] = field(default_factory=dict)
    experts: dict[Key, IntArray] = field(default_factory=dict)

    @classmethod
    def of(cls, bounds: Iterable[Bound]) -> BoundSet:
        """Collect bounds of a problem, families expanded."""
        found: dict[Key, list[Any]] = {}
        for bound in bounds:
            found.setdefault(bound.key, []).extend(bound.listed)
        return cls.by_kind(
            (key, np.unique(np.array(index, dtype=np.int64))) for key, index in found.items()
        )

    @classmethod
    def by_kind(cls, parts: Iterable[tuple[Key, IntArray]]) -> BoundSet:
        """Collect clients or experts, ascending, by kind of bound; empty kinds are left out."""
        found = cls()
        for key, index in parts:
            if index.size:
                (found.experts if key[0] in EXPERT_KINDS else found.clients)[key] = index
        return found

    def items(self) -> list[tuple[Key, IntArray]]:
        """Return the experts, and then the clients, of each kind of bound."""
        return [*self.experts.items(), *self.clients.items()]

    @property
    def size(self) -> int:
        """Number of single bounds."""
        return sum(index.size for _, index in self.items())

    def bounds(self, problem: AlignmentProblem, limit: int = FAMILY_LIMIT) -> tuple[Bound, ...]:
        """List the bounds; those of clients as families where they exceed `limit`."""
        found: list[Bound] = []
        families = sum(index.size for index in self.clients.values()) > limit
        for (kind, name, group), index in sorted(self.items(), key=_order):
            values = bound_values(problem, kind, name, group)[index]
            of_expert = kind in EXPERT_KINDS
            if families and not of_expert and index.size > 1:
                total = float(values.sum())
                found.append(Bound(kind, None, None, group, name, total, tuple(index.tolist())))
                continue
            for at, value in zip(index.tolist(), values.tolist(), strict=True):
                client, expert = (None, at) if of_expert else (at, None)
                found.append(Bound(kind, client, expert, group, name, float(value)))
        return tuple(found)


def _order(item: tuple[Key, IntArray]) -> tuple[int, str, int]:
    kind, name, group = item[0]
    return (*EXPERT_KINDS, *CLIENT_KINDS).index(kind), name or "", -1 if group is None else group


def bound_values(
    problem: AlignmentProblem, kind: str, name: str | None = None, group: int | None = None
) -> Float64Array | IntArray:
    """Return a kind of bound of all clients, or of all experts, one axis, in own sense."""
    if kind == "resource":
        return np.asarray(problem.resources[str(name)].budget)
    if kind == "client_fitness_min":
        return problem.sign * problem.client_fitness_min
    if name is not None:
        return np.asarray(getattr(problem.loads[name], kind.removeprefix("load_")))
    values = np.asarray(getattr(problem, kind))
    return values if group is None else values[:, group]


def all_bounds(problem: AlignmentProblem) -> BoundSet:
    """Return every bound that could break for some set of allowed pairs' worth of holding."""
    return BoundSet.by_kind((key, np.flatnonzero(binds)) for key, binds in _binding(problem))


def _binding(problem: AlignmentProblem) -> Iterator[tuple[Key, BoolArray]]:
    """Yield every kind of bound, and of whom it could break."""
    yield ("min_experts", None, None), problem.min_experts > 0
    yield ("max_experts", None, None), problem.max_experts < problem.n_experts
    if problem.expert_group is not None:
        size = np.bincount(problem.expert_group, minlength=problem.n_groups)
        for g in range(problem.n_groups):
            yield ("group_min", None, g), bound_values(problem, "group_min", None, g) > 0
            yield ("group_max", None, g), bound_values(problem, "group_max", None, g) < size[g]
    for name, resource in problem.resources.items():
        yield ("resource", name, None), np.isfinite(resource.budget)
    yield ("client_fitness_min", None, None), problem.client_fitness_min > -np.inf
    low, high = problem.holder_bounds()
    yield ("load_min", None, None), low > 0
    yield ("load_max", None, None), high < problem.n_clients
    for name, load in problem.loads.items():
        yield ("load_min", name, None), np.asarray(load.min) > 0
        yield ("load_max", name, None), np.asarray(load.max) < np.inf


def require_bounds(
    problem: AlignmentProblem, bounds: Iterable[Bound], what: str = "the conflict lists"
) -> None:
    """Raise `ProblemError` unless every bound is one of the problem, with its value."""
    kinds = [key for key, _ in _binding(problem)]  # no set: a bound may be of anything
    for bound in bounds:
        actual = _actual_value(problem, bound) if bound.key in kinds else None
        if actual is None:
            raise ProblemError(f"{what} {bound}, which the problem does not have")
        if not np.isclose(actual, bound.value, rtol=1e-9, atol=0) and actual != bound.value:
            raise ProblemError(f"{what} {bound}; in the problem it is {actual:g}")


def _actual_value(problem: AlignmentProblem, bound: Bound) -> float | None:
    """Return the problem's value of a bound of a kind that it has; None for nobody in it."""
    values = bound_values(problem, *bound.key)
    # Before they become an array, which would round 1.5 and take True for 1.
    if not bound.listed or not all(_is_index(one, values.size) for one in bound.listed):
        return None
    return float(values[np.array(bound.listed, dtype=np.int64)].sum())


def _is_index(one: object, size: int) -> bool:
    """Tell whether a value from anywhere is a whole number from 0 below `size`."""
    if not isinstance(one, int | np.integer) or isinstance(one, bool):
        return False
    return 0 <= int(one) < size


def restricted(problem: AlignmentProblem, kept: BoundSet) -> tuple[AlignmentProblem, IntArray]:
    """Return the problem with only the given bounds in force, and no preferences.

    Parameters
    ----------
    problem : AlignmentProblem
        The problem.
    kept : BoundSet
        Bounds to keep.

    Returns
    -------
    problem : AlignmentProblem
        Max sense, without load penalties and switching costs. Fitness is 0
        unless a fairness floor is kept.
    clients : int64 array
        The clients in it. Those without a kept bound are left out where no
        expert needs them.
    """
    clients = np.arange(problem.n_clients)
    if not any(kind == "load_min" for kind, _, _ in kept.experts):
        clients = np.unique(np.concatenate([clients[:0], *kept.clients.values()]))
    rows: Any = slice(None) if clients.size == problem.n_clients else clients

    def of_clients(kind: str, name: str | None = None, group: int | None = None) -> Float64Array:
        return np.asarray(_kept_values(problem, kept, kind, name, group)[rows])

    floor = problem.sign * of_clients("client_fitness_min")
    fitness = problem.fitness[rows]
    if not (floor > -np.inf).any():
        fitness = np.where(fitness > -np.inf, np.float32(0), np.float32(-np.inf))
    arguments: dict[str, Any] = {}
    if any(kind in ("group_min", "group_max") for kind, _, _ in kept.clients):
        arguments = {
            kind: np.stack([of_clients(kind, None, g) for g in range(problem.n_groups)], axis=1)
            for kind in ("group_min", "group_max")
        } | {"expert_group": problem.expert_group}
    return AlignmentProblem(
        fitness,
        of_clients("max_experts"),
        min_experts=of_clients("min_experts"),
        load_min=_kept_values(problem, kept, "load_min"),
        load_max=_kept_values(problem, kept, "load_max"),
        loads={
            name: Load(
                np.asarray(load.weight)[rows],
                min=_kept_values(problem, kept, "load_min", name),
                max=_kept_values(problem, kept, "load_max", name),
            )
            for name, load in problem.loads.items() if any(key[1] == name for key in kept.experts)
        },
        resources={
            name: Resource(np.asarray(resource.size)[rows], of_clients("resource", name))
            for name, resource in problem.resources.items()
            if ("resource", name, None) in kept.clients
        },
        client_fitness_min=floor,
        **arguments,
    ), clients


def _kept_values(
    problem: AlignmentProblem, kept: BoundSet, kind: str, name: str | None = None,
    group: int | None = None,
) -> Float64Array:
    """Return a kind of bound where it is kept, float64, and elsewhere one that never breaks."""
    free = {"load_min": -np.inf, "load_max": np.inf, "resource": np.inf,
            "client_fitness_min": -problem.sign * np.inf, "min_experts": 0, "group_min": 0}
    values = bound_values(problem, kind, name, group)
    found = np.full(values.size, free.get(kind, problem.n_experts), dtype=np.float64)
    index = (kept.experts if kind in EXPERT_KINDS else kept.clients).get((kind, name, group))
    if index is not None:
        found[index] = values[index]
    return found
