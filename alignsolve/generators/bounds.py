"""Families that differ in what is allowed: forbidden pairs, tight bounds, no answer at all."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from alignsolve.errors import ProblemError
from alignsolve.generators.draws import Draws
from alignsolve.generators.family import Family, Parameter, load_cap, standard
from alignsolve.generators.fitness import uniform_rows
from alignsolve.model.arrays import FloatArray, IntArray
from alignsolve.model.problem import AlignmentProblem, Load, Resource
from alignsolve.model.sources.base import FitnessSource


def forbidden(
    draws: Draws, *, clients: int, experts: int, slots: int, balance: float, share: float
) -> AlignmentProblem:
    """Build a problem in which most pairs are forbidden and every client must hold one.

    Each client is assigned an expert in turn, the clients in random order; those pairs
    are never forbidden, and as the partition is even, it keeps the load bounds.
    """
    fitness = draws.stream("fitness").fractions((clients, experts), np.float32)
    banned = draws.stream("forbidden").chance(share, fitness.shape)
    banned[np.arange(clients), draws.stream("deal").order(clients) % experts] = False
    fitness[banned] = -np.inf
    cap = max(load_cap(clients, experts, slots, balance), -(-clients // experts))
    return AlignmentProblem(
        fitness, slots, min_experts=1, load_min=clients // experts, load_max=cap
    )


def tight(
    draws: Draws, fitness: FloatArray | FitnessSource, *, clients: int, experts: int, slots: int,
    spread: int,
) -> AlignmentProblem:  # fmt: skip
    """Build a problem in which every slot is filled and every load is the mean.

    Assigning the experts in turn, to one client after the other, fills all
    slots with loads that differ by at most one.
    """
    if slots > experts:
        raise ProblemError(f"slots is {slots}; give at most experts, {experts}")
    filled = draws.stream("slots").whole(1, slots, clients)
    total = int(filled.sum())
    return AlignmentProblem(
        fitness,
        filled,
        min_experts=filled,
        load_min=max(0, total // experts - spread),
        load_max=-(-total // experts) + spread,
    )


def _split(total: int, parts: int) -> IntArray:
    """Return `total` as `parts` whole numbers that differ by at most one."""
    return total // parts + (np.arange(parts) < total % parts)


# Each cause returns the constructor arguments that cannot hold; the fitness is changed in place.


def _hall(draws: Draws, fitness: FloatArray, n: int, m: int) -> dict[str, Any]:
    """Two experts need one holder more than there are clients who may hold them."""
    wanted, able = draws.stream("experts").order(m)[:2], draws.stream("clients").order(n)
    able = able[: max(1, n // 4)]
    others = np.setdiff1d(np.arange(n), able)
    fitness[others[:, None], wanted] = -np.inf
    load_min = np.zeros(m)
    load_min[wanted] = _split(able.size + 1, 2)
    return {"max_experts": 1, "load_min": load_min}


def _slots(draws: Draws, fitness: FloatArray, n: int, m: int) -> dict[str, Any]:
    """One client must hold two experts and may hold only one of them all."""
    client, kept = draws.stream("client").whole(0, n - 1, 1), draws.stream("kept").order(m)[0]
    fitness[client, np.arange(m) != kept] = -np.inf
    min_experts = np.ones(n, dtype=np.int64)
    min_experts[client] = 2
    return {"max_experts": 2, "min_experts": min_experts}


def _loads(draws: Draws, fitness: FloatArray, n: int, m: int) -> dict[str, Any]:
    """Every client must hold an expert; the experts have room for one client less."""
    room = _split(n - 1, m)[draws.stream("room").order(m)]
    return {"max_experts": 2, "min_experts": 1, "load_max": room}


def _minima(draws: Draws, fitness: FloatArray, n: int, m: int) -> dict[str, Any]:
    """The experts need one holder more than there are slots."""
    return {"max_experts": 1, "load_min": _split(n + 1, m)[draws.stream("need").order(m)]}


def _groups(draws: Draws, fitness: FloatArray, n: int, m: int) -> dict[str, Any]:
    """One client has a single slot, and needs an expert of each of two layers."""
    max_experts = np.full(n, 3)
    max_experts[draws.stream("client").whole(0, n - 1, 1)] = 1
    return {"max_experts": max_experts, "expert_group": np.arange(m) % 2, "group_min": 1}


def _budget(draws: Draws, fitness: FloatArray, n: int, m: int) -> dict[str, Any]:
    """One client must hold an expert, and its memory is too small for any."""
    size = draws.stream("size").whole(64, 256, m)
    budget = draws.stream("budget").whole(256, 1024, n)
    budget[draws.stream("client").whole(0, n - 1, 1)] = int(size.min()) - 1
    memory = {"memory_mb": Resource(size, budget)}
    return {"max_experts": 2, "min_experts": 1, "resources": memory}


def _samples(draws: Draws, fitness: FloatArray, n: int, m: int) -> dict[str, Any]:
    """One expert needs more samples than all clients have together."""
    weight = draws.stream("samples").whole(20, 400, n)
    least = np.zeros(m)
    least[draws.stream("expert").order(m)[0]] = int(weight.sum()) + 1
    return {"max_experts": 1, "loads": {"samples": Load(weight, min=least)}}


def _fairness(draws: Draws, fitness: FloatArray, n: int, m: int) -> dict[str, Any]:
    """One client is promised more fitness than its best expert has."""
    client = draws.stream("client").whole(0, n - 1, 1)
    floor = np.zeros(n)
    floor[client] = fitness[client].max() + 1
    return {"max_experts": 1, "client_fitness_min": floor}


_CAUSES: dict[str, Callable[[Draws, FloatArray, int, int], dict[str, Any]]] = {
    cause.__name__[1:]: cause
    for cause in (_hall, _slots, _loads, _minima, _groups, _budget, _samples, _fairness)
}


def infeasible(draws: Draws, *, clients: int, experts: int, cause: str) -> AlignmentProblem:
    """Build a problem without an answer, for one known reason."""
    fitness = draws.stream("fitness").whole(0, 99, (clients, experts), np.float32)
    arguments = _CAUSES[cause](draws.stream(cause), fitness, clients, experts)
    return AlignmentProblem(fitness, **arguments)


FAMILIES = (
    Family(
        "forbidden",
        "Most pairs forbidden; every client must hold an expert, loads have lower bounds.",
        (
            *standard(clients=200, experts=16, slots=2, balance=1.0),
            Parameter("share", 0.8, "probability that a pair is forbidden", 0, 1),
        ),
        forbidden,
    ),
    Family(
        "tight",
        "Every slot must be filled, and every expert has the mean load.",
        (
            *standard(clients=200, experts=16, slots=3),
            Parameter("spread", 0, "holders that a load may be from the mean, beyond rounding",
                      0, 1_000_000),
        ),
        tight,
        rows=uniform_rows,
    ),
    Family(
        "infeasible",
        "No answer exists, for a chosen cause.",
        (
            Parameter("clients", 50, "number of clients", 2, 10_000_000),
            Parameter("experts", 8, "number of experts", 2, 65_536),
            Parameter("cause", "hall", "what cannot hold", choices=tuple(_CAUSES)),
        ),
        infeasible,
        feasible=False,
    ),
)
