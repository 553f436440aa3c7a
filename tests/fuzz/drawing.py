"""Random small problems of every feature, each from a seed and a number of its own."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import numpy as np

import alignsolve as al
from tests.strategies import STAMPS

#: Numbers of clients and experts: up to 12 pairs, most of them 2 to 4 clients and experts.
SHAPES = [(n, m) for n in range(1, 13) for m in range(1, 13) if n * m <= 12 and n + m > 2]
SHAPES += 8 * [(2, 2), (3, 2), (2, 3), (4, 2), (2, 4), (3, 3)]

#: Share of problems of the mip class: they take many times as long.
MIP = 0.06


@dataclass(frozen=True)
class Case:
    """A problem, and what it was made from.

    Attributes
    ----------
    problem : AlignmentProblem
        The problem.
    given : nested list
        Its fitness as it was given, in max sense: ints, floats, decimals.
    values : str
        Kind of the values.
    containers : str
        What the values were given in.
    """

    problem: al.AlignmentProblem
    given: list[list[Any]]
    values: str
    container: str


def _floats(low, high):
    return lambda rng, shape: rng.uniform(low, high, shape)


def _stamps(base, step):
    def draw(rng, shape):
        values = base + rng.integers(0, 8, shape) * step
        if rng.random() < 0.5:
            values = values - base * rng.integers(0, 2, (shape[0], 1))
        return values

    return draw


def _apart(rng, shape):
    """Return magnitudes far apart, as if of several units."""
    return (rng.random(shape) - rng.integers(2)) * 10.0 ** rng.integers(-12, 13, shape)


def _sentinels(rng, shape):
    """Return values among which a large one stands for a forbidden pair."""
    values = rng.integers(0, 64, shape) * 2.0 ** rng.choice([-30, -6, 0])
    return np.where(rng.random(shape) < 0.2, rng.choice([-1e9, -1e20, -1e300]), values)


#: Kinds of values, floats and others that float64 holds.
VALUES = {
    "integers": lambda rng, shape: rng.integers(-4, 10, shape).astype(float),
    "ties": lambda rng, shape: rng.integers(0, 2, shape).astype(float),
    "decimals": lambda rng, shape: rng.integers(-40, 91, shape) / 10,
    "float32": lambda rng, shape: rng.uniform(-4, 9, shape).astype(np.float32),
    "float64": _floats(-4, 9),
    "costs": _floats(-9, -1),
    "offset": lambda rng, shape: 1e6 + rng.integers(-40, 91, shape) / 10,
    "small integers": lambda rng, shape: rng.integers(0, 100, shape).astype(
        rng.choice(["int8", "uint8", "int32", "uint16", "int64"])),
    "bool": lambda rng, shape: rng.random(shape) < 0.5,
    "float16": lambda rng, shape: rng.uniform(-4, 9, shape).astype(np.float16),
    "magnitudes": _apart,
    "sentinels": _sentinels,
    "tiny": lambda rng, shape: rng.integers(0, 9, shape) * 2.0 ** rng.choice([-1074, -1000, -40]),
    "huge": lambda rng, shape: rng.uniform(0, 9, shape) * 2.0 ** rng.choice([60, 190, 900]),
    **{name: _stamps(*stamp) for name, stamp in STAMPS.items()},
}

#: Kinds of whole numbers beyond 2**53, for clients with a fixed number of experts.
LARGE = {
    "nanoseconds": lambda rng, shape: rng.integers(0, 100, shape) + 1_700_000_000_000_000_000,
    "unsigned": lambda rng, shape: (rng.integers(0, 100, shape).astype(np.uint64)
                                    + np.uint64(2**63 + 2**60)),
    "large negative": lambda rng, shape: rng.integers(0, 2**40, shape) - 2**62,
}


def draw(seed: int, number: int) -> Case:
    """Return problem `number` of a seed."""
    rng = np.random.default_rng([seed, number])
    n, m = SHAPES[rng.integers(len(SHAPES))]
    large = rng.random() < 0.05
    kind = str(rng.choice(list(LARGE if large else VALUES)))
    values = (LARGE if large else VALUES)[kind](rng, (n, m))
    arguments = _flow_arguments(rng, n, m)
    if rng.random() < MIP:
        arguments |= _mip_arguments(rng, n, m, values)
    if large:
        arguments.pop("client_fitness_min", None)
        arguments["min_experts"] = arguments["max_experts"] = np.minimum(
            arguments["max_experts"], m)
    minimise = bool(rng.random() < 0.5)
    forbidden = rng.random((n, m)) < (0.25 if rng.random() < 0.4 else 0)
    return _stated(rng, values, forbidden, arguments, minimise, kind)


def _stated(rng, values, forbidden, arguments, minimise, kind) -> Case:
    """Return the problem with values in one of the containers that are read."""
    exact = [[_exact(v) for v in row] for row in values.tolist()]
    numbers = values
    if minimise and values.dtype.kind == "f":
        numbers = 0 - values
    elif minimise:
        # Whole numbers are costs as they are: that unsigned ones cannot be negated is no matter.
        exact = [[-v for v in row] for row in exact]
    container = "array"
    if forbidden.any() and rng.random() < 0.3 and kind not in LARGE:
        container, numbers = "masked", np.ma.array(numbers, mask=forbidden)
    elif forbidden.any() and kind not in LARGE:
        if numbers.dtype.kind != "f":
            numbers = numbers.astype(np.float64)
        numbers = np.where(forbidden, np.inf if minimise else -np.inf, numbers)
    elif rng.random() < 0.05:
        container, numbers = "decimals", [[Decimal(v) for v in row] for row in numbers.tolist()]
    elif rng.random() < 0.1:
        container, numbers = "list", numbers.tolist()
    elif rng.random() < 0.1:
        container, numbers = "Fortran", np.asfortranarray(numbers)
    elif not minimise and rng.random() < 0.05 and kind not in LARGE:
        container, numbers = "source", al.ArraySource(numbers, block_rows=1)
    floors = arguments.pop("client_fitness_min", None)
    if minimise:
        if floors is not None:
            arguments["client_cost_max"] = 0 - floors
        problem = al.AlignmentProblem.from_cost(numbers, **arguments)
    else:
        problem = al.AlignmentProblem(numbers, client_fitness_min=floors, **arguments)
    return Case(problem, exact, kind, container)


def _exact(value):
    return int(value) if isinstance(value, bool) else value


def _one_or_each(rng, choices, count):
    """Return one of some values, or an array of `count` of them."""
    return rng.choice(choices) if rng.random() < 0.5 else rng.choice(choices, count)


def _flow_arguments(rng, n, m) -> dict[str, Any]:
    """Draw arguments of the flow class, without values; each feature in half of the problems."""
    slots = rng.integers(0, m + 2, n) if rng.random() < 0.2 else rng.integers(1, 3, n)
    found: dict[str, Any] = {"max_experts": slots}

    def some(share=0.5):
        return rng.random() < share

    if some():
        found["min_experts"] = (np.minimum(slots, m) if some(0.3)
                                else _one_or_each(rng, [0, 0, 0, 1, 1, 1, 2], n))
    if some():
        half = [v / 2 for v in range(2 if some(0.8) else 0, 2 * n + 1)]
        found["load_max"] = _one_or_each(rng, [*half, np.inf], m)
    if some(0.4):
        found["load_min"] = _one_or_each(rng, [-1, 0, 0, 0.5, 1, 1.5], m)
    if some(0.3):
        found["load_penalty"] = _one_or_each(rng, [0, 0.1, 0.5, 1, 3, 1000], m)
        if some():
            found["load_target"] = _one_or_each(rng, [-1, 0, 0.3, 1, 2.5], m)
    if some(0.25):
        found |= _groups(rng, n, m)
    if some(0.3):
        found["switch_cost"] = (rng.choice([0, 0.1, 1, 2.5], (n, m)) if some()
                                else _one_or_each(rng, [0, 0.1, 1, 2.5], m))
        if some(0.7):
            found["held"] = rng.random((n, m)) < 0.4
    return found


def _groups(rng, n, m) -> dict[str, Any]:
    n_groups = int(rng.integers(1, m + 1))
    others = rng.integers(0, n_groups, m - n_groups)
    found = {"expert_group": rng.permutation(np.concatenate([np.arange(n_groups), others]))}
    for name, choices in (("group_min", [0] * 9 + [1]), ("group_max", [0, 1, 1, 2, 2, 3])):
        shape = rng.integers(3)
        if shape == 1:
            found[name] = _one_or_each(rng, choices, n_groups)
        elif shape == 2:
            found[name] = rng.choice(choices, (n, n_groups))
    return found


def _mip_arguments(rng, n, m, values) -> dict[str, Any]:
    """Draw named loads, budgets and floors: at least one of them."""
    found: dict[str, Any] = {}
    kinds = rng.random(3) < 0.4
    kinds[rng.integers(3)] = True
    amounts = [[0, 0.5, 1, 1, 2, 3], [0.1, 0.2, 0.3, 0.7, 1.1, 1 / 3]][rng.integers(2)]
    if kinds[0]:
        load = {"weight": _one_or_each(rng, amounts, n)}
        if rng.random() < 0.4:
            load["penalty"] = _one_or_each(rng, [0, 0.1, 1], m)
            if rng.random() < 0.5:
                load["target"] = _one_or_each(rng, [0, 1, 2.5], m)
        if rng.random() < 0.4:
            load["min"] = _one_or_each(rng, [0, 0, 0.3, 1, 1.5], m)
        load["max"] = _one_or_each(rng, [0.3, 1, 2.5, 4, 100, np.inf], m)
        found["loads"] = {"samples": al.Load(**load)}
    if kinds[1]:
        size = rng.choice(amounts, (n, m)) if rng.random() < 0.5 else _one_or_each(rng, amounts, m)
        budgets = [0, 0.3, 0.6, 1, 2.5, 4, np.inf]
        found["resources"] = {
            name: al.Resource(size, _one_or_each(rng, budgets, n))
            for name in ("memory_mb", "down_mb")[: rng.integers(1, 3)]
        }
    if kinds[2] and np.abs(values.astype(float)).max() < 1e6:
        found["client_fitness_min"] = _one_or_each(rng, [-np.inf, -np.inf, -1, 0, 0.5, 2], n)
    return found
