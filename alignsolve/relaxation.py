"""Which bounds are relaxed, by how much, and the problem with them moved."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from alignsolve.errors import ProblemError
from alignsolve.model.arrays import Float64Array, IntArray
from alignsolve.model.bounds import EXPERT_KINDS, Bound, bound_values, require_bounds
from alignsolve.model.feasibility import client_fitness, resource_use
from alignsolve.model.problem import AlignmentProblem
from alignsolve.model.text import counted, number
from alignsolve.model.whole_bounds import whole_range

#: Kinds of bounds that may be relaxed.
ELASTIC_KINDS = ("load_min", "load_max", "min_experts", "group_min", "client_fitness_min")


@dataclass(frozen=True)
class Relaxation:
    """A bound that was relaxed.

    Attributes
    ----------
    bound : Bound
        The bound as the problem states it: `kind`, `client`, `expert`, `group`,
        `name` and `value`.
    amount : float
        By how much it was relaxed, > 0, in its own unit: holders, units of a named
        load, experts, fitness (or cost). Fractional bounds on holders are
        rounded inward first. Infinite where the bound is.
    value : float
        The bound in the relaxed problem, in the problem's own sense: what the
        answer has.
    text : str
        The same in a sentence.

    Examples
    --------
    >>> import alignsolve as al
    >>> problem = al.AlignmentProblem([[3, 1], [2, 2.5]], max_experts=1, load_min=[1, 2])
    >>> relaxation = al.solve(problem, elastic=True).relaxations[0]
    >>> relaxation.bound.kind, relaxation.bound.expert, relaxation.amount, relaxation.value
    ('load_min', 1, 1.0, 1.0)
    """

    bound: Bound
    amount: float
    value: float
    text: str


@dataclass(frozen=True, eq=False)
class Shortfall:
    """The bounds of one kind that an assignment misses.

    Attributes
    ----------
    kind : str
        Kind of the bounds, as in `Bound`.
    name : str or None
        Name of the load.
    group : int or None
        Group of the experts.
    index : int64 array, shape (n_missed,)
        Experts, or clients.
    has, amount, price : float64 array, shape (n_missed,)
        What the assignment has, in max sense; by how much it misses the bound;
        and the price of a unit.
    """

    kind: str
    name: str | None
    group: int | None
    index: IntArray
    has: Float64Array
    amount: Float64Array
    price: Float64Array


def load_bounds(
    problem: AlignmentProblem, name: str | None
) -> tuple[Float64Array, Float64Array]:
    """Return the bounds of a load, float64 of shape (n_experts,) each.

    Those of holders, which have no name, are rounded inward, and not clipped: by how much they
    are missed counts.
    """
    if name is not None:
        return np.asarray(problem.loads[name].min), np.asarray(problem.loads[name].max)
    return whole_range(problem.load_min, problem.load_max)


def relaxed(problem: AlignmentProblem, parts: list[Shortfall]) -> AlignmentProblem:
    """Return the problem with every missed bound moved to what the assignment has."""
    moved: dict[tuple[str, str | None], Any] = {}
    for part in parts:
        key = part.kind, part.name
        if key not in moved:
            # In max sense, and of the argument's shape.
            moved[key] = np.array(getattr(problem, part.kind) if part.name is None
                                  else bound_values(problem, *key))
        values = moved[key] if part.group is None else moved[key][:, part.group]
        values[part.index] = part.has
    changes: dict[str, Any] = {}
    loads = dict(problem.loads)
    for (kind, name), values in moved.items():
        if name is not None:
            loads[name] = replace(loads[name], **{kind.removeprefix("load_"): values})
        else:
            changes[kind] = values
    return problem.replace(loads=loads, **changes) if moved else problem


def bounds_beside(
    problem: AlignmentProblem, rows: IntArray, cols: IntArray
) -> dict[str, Any]:
    """Return the bounds of loads, budgets and floors for what is held besides some pairs.

    Returns
    -------
    changes : dict
        Arguments for `AlignmentProblem.replace`: all bounds and targets less what the pairs use.
    """
    holders = np.bincount(cols, minlength=problem.n_experts)
    changes: dict[str, Any] = {
        name: getattr(problem, name) - holders for name in ("load_min", "load_max", "load_target")
    }
    changes["loads"] = {}
    for name, load in problem.loads.items():
        amount = problem.load_amounts(name, rows, cols)
        less = {part: np.asarray(getattr(load, part)) - amount for part in ("min", "max", "target")}
        changes["loads"][name] = replace(load, **less)
    changes["resources"] = {
        name: replace(
            part, budget=np.asarray(part.budget) - resource_use(problem, name, rows, cols)
        )
        for name, part in problem.resources.items()
    }
    used = client_fitness(problem, rows, cols)
    return changes | {"client_fitness_min": problem.client_fitness_min - used}


def relaxations(problem: AlignmentProblem, parts: list[Shortfall]) -> tuple[Relaxation, ...]:
    """Return the relaxed bounds, one by one."""
    found = []
    for part in parts:
        of_expert = part.kind in EXPERT_KINDS
        stated = bound_values(problem, part.kind, part.name, part.group)[part.index]
        sign = problem.sign if part.kind == "client_fitness_min" else 1.0
        for at, bound, has, amount in zip(
            part.index.tolist(), stated.tolist(), (sign * part.has).tolist(),
            part.amount.tolist(), strict=True,
        ):
            client, expert = (None, at) if of_expert else (at, None)
            given = Bound(part.kind, client, expert, part.group, part.name, float(bound))
            found.append(Relaxation(given, amount, has, _sentence(problem, given, amount, has)))
    return tuple(found)


def relaxed_by(
    problem: AlignmentProblem, listed: tuple[Relaxation, ...]
) -> AlignmentProblem:
    """Return the problem that some relaxations, from wherever, loosen.

    Raises
    ------
    ProblemError
        If one is not about an elastic bound of the problem, does not loosen
        it, or misstates by how much; or if two are about the same bound.
    """
    require_bounds(problem, [part.bound for part in listed], "the relaxations list")
    holders = dict(zip(EXPERT_KINDS, load_bounds(problem, None), strict=True))
    parts, seen = [], set()
    for part in listed:
        bound, has = part.bound, part.value
        place = (bound.kind, bound.name, bound.group, bound.client, bound.expert)
        at = bound.client if bound.expert is None else bound.expert
        if bound.kind not in ELASTIC_KINDS or at is None or place in seen:
            raise ProblemError(
                f"the relaxations list {bound}; give each bound once, and only of the kinds "
                f"{', '.join(ELASTIC_KINDS)}"
            )
        seen.add(place)
        stated = bound.value
        if bound.kind in holders and bound.name is None:
            stated = float(holders[bound.kind][at])
        amount = stated - has if _is_lower(problem, bound) else has - stated
        if not (amount > 0 and np.isclose(amount, part.amount, rtol=1e-9, atol=1e-9)):
            raise ProblemError(
                f"a relaxation moves {bound} to {has:g} and calls that {part.amount:g}"
            )
        in_max = problem.sign * has if bound.kind == "client_fitness_min" else has
        nothing = np.zeros(1)
        parts.append(Shortfall(bound.kind, bound.name, bound.group, np.array([at]),
                               np.array([in_max]), nothing, nothing))
    return relaxed(problem, parts)


def _is_lower(problem: AlignmentProblem, bound: Bound) -> bool:
    """Tell whether a bound is one from below in the problem's own sense."""
    if bound.kind == "client_fitness_min":
        return problem.sense == "max"
    return bound.kind != "load_max"


def _sentence(problem: AlignmentProblem, bound: Bound, amount: float, has: float) -> str:
    """Say what was relaxed, as in "expert 3 has 5 holders, 2 fewer than the 7 it needs"."""
    low = _is_lower(problem, bound)
    if bound.kind == "client_fitness_min":
        has_it = f"{'fitness' if low else 'cost'} {number(has)}"
    elif bound.name is not None:
        has_it = f"{number(has)} of {bound.name!r}"
    elif bound.expert is not None:
        has_it = counted(has, "holder")
    elif bound.group is not None:
        has_it = f"{counted(has, 'expert')} of group {bound.group}"
    else:
        has_it = counted(has, "expert")
    who = (problem.expert_name(bound.expert) if bound.expert is not None
           else problem.client_name(bound.client or 0))
    by = f"{number(amount)} {'less' if low else 'more'}"
    asks = "asks for" if low else "allows"
    return f"{who} has {has_it}, {by} than the bound {number(bound.value)} {asks}"
