"""Changes of a problem whose effect on the optimum is known.

Every change returns the changed problem and a function that maps the optimum
of the first to that of the second.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import alignsolve as al

Optimum = Callable[[float], float]
Change = Callable[[al.AlignmentProblem, np.random.Generator], tuple[al.AlignmentProblem, Optimum]]


def same(value: float) -> float:
    return value


def build(arguments: dict[str, Any]) -> al.AlignmentProblem:
    """Build a problem of the sense that the arguments are for."""
    if "cost" in arguments:
        return al.AlignmentProblem.from_cost(**arguments)
    return al.AlignmentProblem(**arguments)


def other_order(
    problem: al.AlignmentProblem, rng: np.random.Generator
) -> tuple[al.AlignmentProblem, Optimum]:
    """Shuffle clients, experts and groups."""
    rows, cols = rng.permutation(problem.n_clients), rng.permutation(problem.n_experts)
    arguments = problem.arguments()
    for name in ("cost", "fitness", "switch_cost"):
        if name in arguments:
            arguments[name] = np.asarray(arguments[name])[np.ix_(rows, cols)]
    for name in ("max_experts", "min_experts", "client_fitness_min", "client_cost_max"):
        if name in arguments:
            arguments[name] = arguments[name][rows]
    for name in ("load_min", "load_max", "load_target", "load_penalty"):
        arguments[name] = arguments[name][cols]
    arguments["loads"] = {
        name: al.Load(
            np.asarray(load.weight)[rows],
            *(np.asarray(part)[cols] for part in (load.min, load.max, load.target, load.penalty)),
        )
        for name, load in problem.loads.items()
    }
    arguments["resources"] = {
        name: al.Resource(
            np.asarray(resource.size)[np.ix_(rows, cols)], np.asarray(resource.budget)[rows]
        )
        for name, resource in problem.resources.items()
    }
    if problem.expert_group is not None:
        groups = rng.permutation(problem.n_groups)
        arguments["expert_group"] = np.argsort(groups)[problem.expert_group[cols]]
        for name in ("group_min", "group_max"):
            arguments[name] = arguments[name][np.ix_(rows, groups)]
    if problem.held is not None:
        arguments["held"] = problem.held.mask(rows)[:, cols]
    return build(arguments), same


def other_unit(
    problem: al.AlignmentProblem, rng: np.random.Generator
) -> tuple[al.AlignmentProblem, Optimum]:
    """Measure fitness in another unit, a power of two so that nothing is rounded."""
    scale = 2.0 ** float(rng.choice([-6, 3, 20]))
    arguments = problem.arguments()
    for name in (
        "cost", "fitness", "switch_cost", "load_penalty", "client_fitness_min", "client_cost_max"
    ):
        if name in arguments:
            array = np.asarray(arguments[name])
            arguments[name] = (array * scale).astype(array.dtype)
    arguments["loads"] = {
        name: al.Load(
            load.weight, load.min, load.max, load.target, np.asarray(load.penalty) * scale
        )
        for name, load in problem.loads.items()
    }
    return build(arguments), lambda value: scale * value


def other_sense(
    problem: al.AlignmentProblem, rng: np.random.Generator
) -> tuple[al.AlignmentProblem, Optimum]:
    """Minimise the negated fitness, or maximise the negated cost."""
    arguments = problem.arguments()
    for name, twin in (("cost", "fitness"), ("client_cost_max", "client_fitness_min")):
        if name in arguments:
            arguments[twin] = np.subtract(0, arguments.pop(name))
        else:
            arguments[name] = np.subtract(0, arguments.pop(twin))
    return build(arguments), lambda value: -value


def other_zero(
    problem: al.AlignmentProblem, rng: np.random.Generator
) -> tuple[al.AlignmentProblem, Optimum]:
    """Add a constant to the row of every client whose number of experts is fixed.

    A floor on the client's fitness moves along.
    """
    low, high = problem.slot_bounds()
    held = np.where(low == high, low, 0)
    shift = np.where(low == high, rng.integers(-8, 9, problem.n_clients), 0).astype(np.float64)
    arguments = problem.arguments()
    for matrix, bound in (("cost", "client_cost_max"), ("fitness", "client_fitness_min")):
        if matrix in arguments:
            arguments[matrix] = np.asarray(arguments[matrix], np.float64) + shift[:, None]
            arguments[bound] = arguments[bound] + held * shift
    total = float(held @ shift)
    return build(arguments), lambda value: value + total


def other_memory(
    problem: al.AlignmentProblem, rng: np.random.Generator
) -> tuple[al.AlignmentProblem, Optimum]:
    """Lay every array out in another way: by columns, with gaps, backwards."""

    def laid_out(array: Any) -> Any:
        array = np.asarray(array)
        way = rng.integers(3)
        if way == 0:
            array = np.asfortranarray(array)
        elif way == 1:
            padded = np.zeros([2 * size for size in array.shape], array.dtype)
            padded[tuple(slice(None, None, 2) for _ in array.shape)] = array
            array = padded[tuple(slice(None, None, 2) for _ in array.shape)]
        else:
            backwards = tuple(slice(None, None, -1) for _ in array.shape)
            array = np.ascontiguousarray(array[backwards])[backwards]
        array.flags.writeable = False
        return array

    arguments = problem.arguments()
    for name, value in arguments.items():
        if isinstance(value, np.ndarray):
            arguments[name] = laid_out(value)
    arguments["resources"] = {
        name: al.Resource(laid_out(resource.size), laid_out(resource.budget))
        for name, resource in problem.resources.items()
    }
    return build(arguments), same


def other_precision(
    problem: al.AlignmentProblem, rng: np.random.Generator
) -> tuple[al.AlignmentProblem, Optimum]:
    """Store the fitness as float64, or as float32 where that keeps every value."""
    arguments = problem.arguments()
    name = "cost" if "cost" in arguments else "fitness"
    array = np.asarray(arguments[name])
    other = np.float64 if array.dtype == np.float32 else np.float32
    with np.errstate(over="ignore"):
        stored = array.astype(other)
    if (stored == array).all():
        arguments[name] = stored
    return build(arguments), same


#: Changes that leave an equivalent problem.
EQUIVALENT: dict[str, Change] = {
    change.__name__: change
    for change in (
        other_order, other_unit, other_sense, other_zero, other_memory, other_precision
    )
}


def looser(problem: al.AlignmentProblem, rng: np.random.Generator) -> al.AlignmentProblem:
    """Relax one kind of bound; the optimum can only get better."""
    arguments = problem.arguments()
    loose: dict[str, Any] = {
        "max_experts": problem.max_experts + 1,
        "min_experts": np.maximum(problem.min_experts - 1, 0),
        "load_min": problem.load_min - 1,
        "load_max": problem.load_max + 1,
        "group_min": None,
        "group_max": None,
        "loads": {
            name: al.Load(
                load.weight, np.asarray(load.min) - 0.5, np.asarray(load.max) + 0.5,
                load.target, load.penalty,
            )
            for name, load in problem.loads.items()
        },
        "resources": {
            name: al.Resource(resource.size, np.asarray(resource.budget) + 0.5)
            for name, resource in problem.resources.items()
        },
        ("client_cost_max" if problem.sense == "min" else "client_fitness_min"): None,
    }
    name = str(rng.choice(list(loose)))
    return build(arguments | {name: loose[name]})
