"""The parts of a problem: named loads and resources, and the checks on every argument."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from alignsolve.errors import ProblemError
from alignsolve.model.arrays import (
    Float64Array,
    FloatArray,
    IntArray,
    fitted,
    non_negative,
    numeric,
    read_only,
    refuse,
    weighted_count,
    whole,
)
from alignsolve.model.ids import identifiers
from alignsolve.model.large_integers import OffsetMatrix, has_large_integers, offset_matrix
from alignsolve.model.pairs import Pairs
from alignsolve.model.sources.arrays import ArraySource
from alignsolve.model.sources.base import FitnessSource, Negated, checked_block, map_blocks
from alignsolve.model.whole_bounds import cut_at, rounded_inward

T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class Load:
    """A further load of every expert: ``sum_i weight_i x_ij``.

    Parameters
    ----------
    weight : array_like, shape (n_clients,)
        Contribution of each client, finite and >= 0: samples, or its
        probability of finishing the round. A scalar stands for all.
    min, max : array_like, shape (n_experts,), optional
        Bounds per expert, in the unit of `weight`.
    target : array_like, shape (n_experts,), optional
        Load without penalty; None stands for the mean load if every client
        fills its slots.
    penalty : array_like, shape (n_experts,), default 0
        Convex penalty ``penalty * (load - target)**2``, in units of fitness.

    Examples
    --------
    Each expert is to see 100 samples at least:

    >>> import alignsolve as al
    >>> samples = al.Load(weight=[80, 120, 60], min=[100, 100])
    >>> problem = al.AlignmentProblem(
    ...     [[3, 1], [2, 2.5], [2, 1]], max_experts=1, loads={"samples": samples})
    >>> al.solve(problem).col_ind.tolist()
    [0, 1, 0]
    """

    weight: npt.ArrayLike
    min: npt.ArrayLike | None = None
    max: npt.ArrayLike | None = None
    target: npt.ArrayLike | None = None
    penalty: npt.ArrayLike = 0.0

    def amounts(self, row_ind: IntArray, col_ind: IntArray, n_experts: int) -> Float64Array:
        """Return the load of every expert under an assignment, float64, in the weight's unit."""
        return weighted_count(col_ind, np.asarray(self.weight)[row_ind], n_experts)


@dataclass(frozen=True, eq=False)
class Resource:
    """A budget of every client: ``sum_j size_ij x_ij <= budget_i``.

    Parameters
    ----------
    size : array_like, shape (n_experts,) or (n_clients, n_experts)
        What an expert takes, finite and >= 0: MB of memory, MB to download,
        seconds.
    budget : array_like, shape (n_clients,)
        What a client has, in the unit of `size`; +inf for no limit.

    Examples
    --------
    >>> import alignsolve as al
    >>> memory = al.Resource(size=[4.0, 1.0], budget=[4.5, 2.0])
    >>> problem = al.AlignmentProblem(
    ...     [[3, 1], [2, 2.5]], max_experts=2, resources={"memory": memory})
    >>> result = al.solve(problem)
    >>> list(zip(result.row_ind.tolist(), result.col_ind.tolist()))
    [(0, 0), (1, 1)]
    """

    size: npt.ArrayLike
    budget: npt.ArrayLike


#: The matrix of values that a problem of each sense is made of.
MATRIX = {"max": "fitness", "min": "cost"}

#: The bound on each client's total in a problem of each sense.
FLOOR = {"max": "client_fitness_min", "min": "client_cost_max"}

#: Arguments for which one number can stand.
SETTABLE = ("max_experts", "min_experts", "load_min", "load_max", "load_target", "load_penalty",
            "switch_cost")

#: Sums of all values of a problem must stay below this: far from where floats overflow.
LARGEST_SUM = 1e306

#: Penalised targets are at most so many times the largest weight. Steps of one such weight differ
#: by ``2 * penalty * weight**2``, and their three roundings are below a third of that.
LARGEST_TARGET = 1e15

_LARGER_UNIT = "sums of squares would overflow: give the load in a larger unit"


def known_fitness(
    fitness: npt.ArrayLike | FitnessSource | OffsetMatrix,
) -> tuple[FloatArray | FitnessSource, bool, float, OffsetMatrix | None]:
    """Check fitness, reading it once, in blocks of rows.

    Returns
    -------
    fitness : float32 or float64 array, or FitnessSource, shape (n_clients, n_experts)
        An array, read-only and without a copy where it was one of floats, or the source.
        A source that is an array, or maps one, becomes that array: all can read it.
    forbids : bool
        Whether any pair is forbidden.
    largest : float
        Largest finite absolute value; 0 without any.
    integers : OffsetMatrix or None
        Whole numbers that float64 would round; `fitness` is then relative to their offsets.
    """
    if isinstance(fitness, FitnessSource) and not isinstance(fitness, ArraySource):
        if fitness.facts is None:
            fitness.facts = _facts(fitness)
        return fitness, *fitness.facts, None
    integers = None
    if not isinstance(fitness, ArraySource | OffsetMatrix):
        array = numeric("fitness", fitness)
        if has_large_integers(array):
            fitness = offset_matrix("fitness", array)
        else:
            fitness = ArraySource(array)
    if isinstance(fitness, OffsetMatrix):
        integers, fitness = fitness, ArraySource(fitness.relative)
    return read_only(fitness.array), *_facts(fitness), integers


def _facts(source: FitnessSource) -> tuple[bool, float]:
    """Return `forbids` and `largest` of `known_fitness`, or refuse an entry."""

    def look(k: int, block: FloatArray) -> tuple[bool, float]:
        if not block.size:
            return False, 0.0
        low, high = float(block.min()), float(block.max())
        # NaN and +inf both show in the maximum: no temporary.
        if not high < np.inf:
            refuse("fitness", block, ~(block < np.inf),
                   "give finite numbers, or -inf to forbid the pair", int(source.edges[k]))
        forbids = low == -np.inf
        if forbids:
            low = float(block.min(initial=np.inf, where=block > -np.inf))
        return forbids, max(0.0, high, -low)

    found = map_blocks(source, look)
    sizes = [size for _, size in found]
    largest = max(sizes, default=0.0)
    if largest * source.size > LARGEST_SUM:
        k = sizes.index(largest)
        block = checked_block(source, k)
        refuse("fitness", block, np.isfinite(block) & (np.abs(block) == largest),
               f"sums would overflow: scale to at most {LARGEST_SUM / source.size:.0e}",
               int(source.edges[k]))
    return any(forbids for forbids, _ in found), largest


def checked_arguments(n: int, m: int, given: Mapping[str, Any]) -> dict[str, Any]:
    """Check and broadcast the arguments of a problem but its fitness.

    Returns
    -------
    checked : dict of str
        Attributes of `alignsolve.model.problem.AlignmentProblem`, arrays read-only; with
        the whole bounds on holders and slots that solvers use.
    """
    checked: dict[str, Any] = {
        "client_ids": identifiers("client_ids", given["client_ids"], n),
        "expert_ids": identifiers("expert_ids", given["expert_ids"], m),
        "max_experts": whole("max_experts", given["max_experts"], (n,), "one per client"),
        "min_experts": whole("min_experts", given["min_experts"], (n,), "one per client"),
    }
    slots, held = cut_at(checked["max_experts"], m), given["held"]
    holders = Load(1.0, *(given[f"load_{part}"] for part in ("min", "max", "target", "penalty")))
    holders = checked_load("load_", holders, slots, m)
    floors = bound_array(
        "client_fitness_min", given["client_fitness_min"], n, -np.inf, "one per client")
    cost = non_negative("switch_cost", given["switch_cost"], (n, m), "clients x experts", "cost")
    return checked | {
        "_slot_bounds": (cut_at(checked["min_experts"], m + 1), slots),
        "_holder_bounds": rounded_inward(np.asarray(holders.min), np.asarray(holders.max), n),
        "load_min": holders.min, "load_max": holders.max,
        "load_target": holders.target, "load_penalty": holders.penalty,
        "loads": _named("loads", given["loads"], Load,
                        lambda at, load: checked_load(f"{at}.", load, slots, m)),
        "resources": _named("resources", given["resources"], Resource,
                            lambda at, resource: _checked_resource(at, resource, n, m)),
        **group_bounds(given["expert_group"], given["group_min"], given["group_max"], n, m),
        "client_fitness_min": floors,
        "held": None if held is None else Pairs.from_any("held", held, n, m),
        "switch_cost": cost,
    }


def checked_cost(cost: npt.ArrayLike | FitnessSource) -> FloatArray | FitnessSource:
    """Refuse costs that are no numbers or -inf, which `opposite` would let pass as fitness."""
    if isinstance(cost, FitnessSource):
        return cost.as_cost()
    array = numeric("cost", cost)
    refuse("cost", array, np.isnan(array) | np.isneginf(array),
           "give finite costs, or +inf to forbid the pair")
    return array


def opposite(
    name: str, values: npt.ArrayLike | FitnessSource
) -> FloatArray | FitnessSource | OffsetMatrix:
    """Return values times -1: fitness for cost, cost for fitness."""
    if isinstance(values, FitnessSource):
        return values.cost if isinstance(values, Negated) else Negated(values)
    array = numeric(name, values)
    if name == "cost" and has_large_integers(array):
        return offset_matrix(name, array)
    if array.dtype.kind in "iub":
        # Before the sign changes: -(-128) does not fit into int8.
        array = array.astype(np.float64)
    # 0 - x and not -x: a cost of 0 must not become -0.
    negated: FloatArray = np.subtract(0, array)
    return negated


def in_sense(sense: str, changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return changed arguments with values and floors in a problem's sense, "max" or "min".

    Raises
    ------
    ProblemError
        If both of ``fitness`` and ``cost`` are given, or of the floors' two names.
    """
    found = dict(changes)
    for names in (MATRIX, FLOOR):
        own, other = names[sense], names["min" if sense == "max" else "max"]
        if other not in found:
            continue
        if own in found:
            raise ProblemError(f"replace got both {own} and {other}; give one of them")
        value = found.pop(other)
        if other == "cost" and value is not None:
            value = checked_cost(value)
        found[own] = None if value is None else opposite(other, value)
    return found


def bound_array(
    name: str, value: npt.ArrayLike | None, length: int, default: float, meaning: str
) -> Float64Array:
    """Return a bound per entry; None stands for no bound."""
    given = default if value is None else value
    return fitted(
        name, given, (length,), meaning,
        valid=lambda a: ~np.isnan(a), would_be_right="give a number, or inf for none",
    )


def checked_load(prefix: str, load: Load, slots: IntArray, m: int) -> Load:
    """Check and broadcast a load, of clients with so many slots; errors name ``prefix + field``."""
    # Squares of sums over all clients, summed over the experts, stay below `LARGEST_SUM`.
    most = (LARGEST_SUM / max(1, m)) ** 0.5
    weight = fitted(
        f"{prefix}weight", load.weight, slots.shape, "one per client",
        valid=lambda a: (a >= 0) & (a <= most / max(1, slots.size)),
        would_be_right=lambda a: _LARGER_UNIT if 0 <= a < np.inf else "give a finite weight >= 0",
    )
    target = load.target
    if target is None:
        target = float(weight @ slots) / max(1, m)
    penalty = non_negative(f"{prefix}penalty", load.penalty, (m,), "one per expert", "penalty")
    target = fitted(
        f"{prefix}target", target, (m,), "one per expert",
        valid=lambda a: np.abs(a) <= most,
        would_be_right=lambda a: _LARGER_UNIT if np.isfinite(a) else "give a finite load",
    )
    if penalty.any():
        _refuse_inexact(prefix, float(weight.max(initial=0.0)), slots.size, target, penalty)
    return Load(
        weight=weight,
        min=bound_array(f"{prefix}min", load.min, m, -np.inf, "one per expert"),
        max=bound_array(f"{prefix}max", load.max, m, np.inf, "one per expert"),
        target=target,
        penalty=penalty,
    )


def _refuse_inexact(
    prefix: str, heaviest: float, n: int, target: Float64Array, penalty: Float64Array
) -> None:
    """Refuse penalties that float64 cannot tell apart, or not sum, given the largest weight."""
    size, most = np.abs(target), LARGEST_TARGET * heaviest if heaviest else np.inf
    farthest, steepest = float(size.max()), float(penalty.max())
    reach = max(farthest + heaviest * n, 1.0)
    if farthest <= most and steepest * reach**2 * penalty.size <= LARGEST_SUM:
        return  # as nearly always: no expert needs a look
    refuse(f"{prefix}target", target, (size > most) & (penalty > 0),
           f"with a penalty, give at most {most:g} in size: beyond, float64 loses what one client "
           f"adds")
    largest = LARGEST_SUM / penalty.size / np.maximum(size + heaviest * n, 1.0) ** 2
    refuse(f"{prefix}penalty", penalty, penalty > largest,
           lambda _: f"sums would overflow: give at most {largest.min():g}")


def _checked_resource(at: str, resource: Resource, n: int, m: int) -> Resource:
    """Check and broadcast a resource; sizes stay per expert where given so."""
    return Resource(
        size=non_negative(f"{at}.size", resource.size, (n, m), "clients x experts", "size"),
        budget=fitted(f"{at}.budget", resource.budget, (n,), "one per client",
                      valid=lambda a: a > -np.inf,
                      would_be_right="give a number, or inf for no limit"),
    )


def _named(
    what: str, parts: object, kind: type[T], check: Callable[[str, T], T]
) -> Mapping[str, T]:
    """Check a mapping of names to `Load` or `Resource`, and each part by what errors call it."""
    parts = {} if parts is None else parts
    if not isinstance(parts, Mapping):
        raise ProblemError(f"{what} is {type(parts).__name__}; give a mapping of names to "
                           f"{kind.__name__}")
    for name, part in parts.items():
        if not isinstance(name, str) or not name:
            raise ProblemError(f"{what} has the name {name!r}; give a non-empty string")
        if not isinstance(part, kind):
            raise ProblemError(f"{what}[{name!r}] is {type(part).__name__}; give "
                               f"al.{kind.__name__}(...)")
    return MappingProxyType({name: check(f"{what}[{name!r}]", part)
                             for name, part in parts.items()})


def group_bounds(
    expert_group: npt.ArrayLike | None, group_min: npt.ArrayLike | None,
    group_max: npt.ArrayLike | None, n: int, m: int,
) -> dict[str, IntArray | None]:
    """Check the groups and broadcast their bounds to (n_clients, n_groups)."""
    if expert_group is None:
        if group_min is not None or group_max is not None:
            raise ProblemError("group_min and group_max need expert_group (a group per expert)")
        return {"expert_group": None, "group_min": None, "group_max": None}
    if np.ndim(expert_group) == 0:
        raise ProblemError(f"expert_group is a scalar; give {m} group numbers, one per expert")
    group = whole("expert_group", expert_group, (m,), "one per expert")
    n_groups = int(group.max(initial=-1)) + 1
    missing = np.setdiff1d(np.arange(min(n_groups, m + 1)), group)
    if missing.size:
        raise ProblemError(f"expert_group names no expert of group {missing[0]}; number the "
                           f"groups 0, 1, 2, ... without gaps")
    counts = np.bincount(group, minlength=n_groups)
    least, most = 0 if group_min is None else group_min, counts if group_max is None else group_max
    return {
        "expert_group": group,
        "group_min": whole("group_min", least, (n, n_groups), "clients x groups"),
        "group_max": whole("group_max", most, (n, n_groups), "clients x groups"),
    }
