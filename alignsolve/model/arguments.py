"""The parts of a problem: named loads and resources, and the checks on every argument."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt

from alignsolve.errors import ProblemError
from alignsolve.model.arrays import (
    Float64Array,
    FloatArray,
    IntArray,
    finite_non_negative,
    fitted,
    not_nan,
    numeric,
    read_only,
    refuse,
    row_blocks,
    whole,
)
from alignsolve.model.sources.arrays import ArraySource
from alignsolve.model.sources.base import FitnessSource, map_blocks


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
    """

    weight: npt.ArrayLike
    min: npt.ArrayLike | None = None
    max: npt.ArrayLike | None = None
    target: npt.ArrayLike | None = None
    penalty: npt.ArrayLike = 0.0


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
    """

    size: npt.ArrayLike
    budget: npt.ArrayLike


#: Sums of all values of a problem must stay below this: far from where floats overflow.
LARGEST_SUM = 1e306


def fitness_matrix(fitness: npt.ArrayLike) -> tuple[FloatArray, bool, float]:
    """Return fitness as a read-only float matrix, without a copy where it is one.

    Returns
    -------
    fitness : float32 or float64 array, shape (n_clients, n_experts)
        The matrix.
    forbids : bool
        Whether any pair is forbidden.
    largest : float
        Largest finite absolute value; 0 without any.
    """
    array = numeric("fitness", fitness)
    if array.ndim != 2:
        raise ProblemError(f"fitness has {array.ndim} dimensions; give a matrix of clients x "
                           f"experts")
    if array.dtype == np.float16:
        array = array.astype(np.float32)
    elif array.dtype not in (np.float32, np.float64):
        array = array.astype(np.float64)
    forbids, largest = False, 0.0
    for rows in row_blocks(*array.shape) if array.size else ():
        block = array[rows]
        low, high = float(block.min()), float(block.max())
        # NaN and +inf both show in the maximum: no temporary.
        if not high < np.inf:
            bad = np.isnan(array) | np.isposinf(array)
            refuse("fitness", array, bad, "give finite numbers, or -inf to forbid the pair")
        if low == -np.inf:
            forbids = True
            low = float(block.min(initial=np.inf, where=block > -np.inf))
        if high > -np.inf:
            largest = max(largest, high, -low)
    if largest * array.size > LARGEST_SUM:
        bad = np.isfinite(array) & (np.abs(array) == largest)
        limit = LARGEST_SUM / array.size
        refuse("fitness", array, bad, f"sums would overflow: scale to at most {limit:.0e}")
    return read_only(array), forbids, largest


def fitness_source(source: FitnessSource) -> tuple[bool, float]:
    """Read a source once, in threads; return `forbids` and `largest` of `fitness_matrix`."""

    def look(k: int, block: FloatArray) -> tuple[float, float]:
        low, high = (float(block.min()), float(block.max())) if block.size else (np.inf, -np.inf)
        if not high < np.inf:
            bad = np.isnan(block) | np.isposinf(block)
            i, j = np.unravel_index(int(np.argmax(bad)), block.shape)
            raise ProblemError(f"fitness[{source.edges[k] + i}, {j}] is {block[i, j]}; give finite "
                               f"numbers, or -inf to forbid the pair")
        least = low
        if low == -np.inf:
            least = float(block.min(initial=np.inf, where=block > -np.inf))
        return low, max(high, -least)

    found = np.array(map_blocks(source, look)).reshape(-1, 2)
    largest = max(0.0, float(found[:, 1].max(initial=0.0)))
    if largest * source.size > LARGEST_SUM:
        raise ProblemError(f"fitness has an entry of size {largest:.3g}; sums would overflow: "
                           f"scale to at most {LARGEST_SUM / source.size:.0e}")
    return bool((found[:, 0] == -np.inf).any()), largest


def known_fitness(
    fitness: npt.ArrayLike | FitnessSource,
) -> tuple[FloatArray | FitnessSource, bool, float]:
    """Return fitness as a checked matrix or source, with `forbids` and `largest`.

    A source that is an array, or maps one, becomes that array: all can read it.
    """
    if isinstance(fitness, ArraySource):
        return fitness_matrix(fitness.array)
    if isinstance(fitness, FitnessSource):
        if fitness.facts is None:
            fitness.facts = fitness_source(fitness)
        return fitness, *fitness.facts
    return fitness_matrix(fitness)


def bound_array(
    name: str, value: npt.ArrayLike | None, length: int, default: float, meaning: str
) -> Float64Array:
    """Return a bound per entry; None stands for no bound."""
    given = default if value is None else value
    return fitted(
        name, given, (length,), meaning,
        valid=not_nan, would_be_right="give a number, or inf for none",
    )


def target_array(
    name: str, value: npt.ArrayLike | None, length: int, default: float
) -> Float64Array:
    """Return a target load per expert; None stands for `default`."""
    given = default if value is None else value
    return fitted(
        name, given, (length,), "one per expert",
        valid=np.isfinite, would_be_right="give a finite load",
    )


def penalty_array(name: str, value: npt.ArrayLike, length: int) -> Float64Array:
    """Return a penalty per expert."""
    return fitted(
        name, value, (length,), "one per expert",
        valid=finite_non_negative, would_be_right="give a finite penalty >= 0",
    )


def _named(what: str, parts: object, kind: type) -> dict[str, Any]:
    """Check a mapping of names to `Load` or `Resource`."""
    if parts is None:
        return {}
    if not isinstance(parts, Mapping):
        raise ProblemError(f"{what} is {type(parts).__name__}; give a mapping of names to "
                           f"{kind.__name__}")
    for name, part in parts.items():
        if not isinstance(name, str) or not name:
            raise ProblemError(f"{what} has the name {name!r}; give a non-empty string")
        if not isinstance(part, kind):
            raise ProblemError(f"{what}[{name!r}] is {type(part).__name__}; give "
                               f"al.{kind.__name__}(...)")
    return dict(parts)


def named_loads(loads: object, max_experts: IntArray, n: int, m: int) -> Mapping[str, Load]:
    """Check and broadcast the named loads."""
    checked = {}
    for name, load in _named("loads", loads, Load).items():
        at = f"loads[{name!r}]"
        weight = fitted(f"{at}.weight", load.weight, (n,), "one per client",
                        valid=finite_non_negative, would_be_right="give a finite weight >= 0")
        mean = float(weight @ np.minimum(max_experts, m)) / max(1, m)
        checked[name] = Load(
            weight=weight,
            min=bound_array(f"{at}.min", load.min, m, -np.inf, "one per expert"),
            max=bound_array(f"{at}.max", load.max, m, np.inf, "one per expert"),
            target=target_array(f"{at}.target", load.target, m, mean),
            penalty=penalty_array(f"{at}.penalty", load.penalty, m),
        )
    return MappingProxyType(checked)


def named_resources(resources: object, n: int, m: int) -> Mapping[str, Resource]:
    """Check and broadcast the resources; sizes stay per expert where given so."""
    checked = {}
    for name, resource in _named("resources", resources, Resource).items():
        at = f"resources[{name!r}]"
        checked[name] = Resource(
            size=fitted(f"{at}.size", resource.size, (n, m), "clients x experts",
                        valid=finite_non_negative, would_be_right="give a finite size >= 0"),
            budget=fitted(f"{at}.budget", resource.budget, (n,), "one per client",
                          valid=lambda a: a > -np.inf,
                          would_be_right="give a number, or inf for no limit"),
        )
    return MappingProxyType(checked)


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
    group = whole("expert_group", expert_group, m, "one per expert")
    n_groups = int(group.max(initial=-1)) + 1
    missing = np.setdiff1d(np.arange(min(n_groups, m + 1)), group)
    if missing.size:
        raise ProblemError(f"expert_group names no expert of group {missing[0]}; number the "
                           f"groups 0, 1, 2, ... without gaps")
    counts = np.bincount(group, minlength=n_groups)

    def bounds(name: str, value: npt.ArrayLike) -> IntArray:
        array = fitted(
            name, value, (n, n_groups), "clients x groups",
            valid=lambda a: np.isfinite(a) & (a >= 0) & (np.floor(a) == a) & (a < 2**53),
            would_be_right="give a whole number >= 0",
        )
        return read_only(array.astype(np.int64))

    return {
        "expert_group": group,
        "group_min": bounds("group_min", 0 if group_min is None else group_min),
        "group_max": bounds("group_max", counts if group_max is None else group_max),
    }
