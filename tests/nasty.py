"""Small problems that are hard on floats: sums that hit bounds, or miss them by the tolerance."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

import alignsolve as al

Floats = npt.NDArray[np.float64]

#: Relative distances of a bound from a sum that some choice of pairs has.
MISSES = (
    0, 0, 1e-9, -1e-9, 2e-9, -2e-9, 1.1e-9, -1.1e-9, 0.9e-9, -0.9e-9,
    1e-8, -1e-8, 1e-7, -1e-7, 1e-6, -1e-6, 1e-5,
)


def amounts(rng: np.random.Generator, shape: tuple[int, ...]) -> Floats:
    """Draw decimals, reals, integers, float32 values, or magnitudes far apart."""
    kind = rng.integers(5)
    if kind == 0:
        return rng.integers(0, 30, shape) / 10
    if kind == 1:
        return rng.random(shape)
    if kind == 2:
        return rng.integers(0, 5, shape).astype(np.float64)
    if kind == 3:
        return rng.random(shape).astype(np.float32).astype(np.float64)
    return rng.random(shape) * 10.0 ** rng.integers(-9, 9, shape)


def near(rng: np.random.Generator, sums: Floats) -> Floats:
    """Return bounds at sums or just beside them."""
    return sums * (1 + rng.choice(MISSES, sums.shape))


def fitness(rng: np.random.Generator, shape: tuple[int, int]) -> npt.NDArray[Any]:
    """Draw fitness of several kinds and magnitudes."""
    kind = rng.integers(6)
    if kind == 0:
        return rng.integers(-3, 9, shape).astype(np.float64)
    if kind == 1:
        return rng.integers(-30, 90, shape) / 10
    if kind == 2:
        return rng.random(shape).astype(np.float32)
    return (rng.random(shape) - rng.integers(2)) * 10.0 ** rng.choice([0, 0, -12, 12])


def nasty_problem(seed: int) -> al.AlignmentProblem:
    """Return a problem of at most 12 pairs."""
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 5))
    m = int(rng.integers(1, 1 + min(6, 12 // n)))
    values = fitness(rng, (n, m))
    arguments: dict[str, Any] = {"fitness": values, "max_experts": rng.integers(0, m + 1, n)}
    scale = 10.0 ** rng.integers(-13, 13)

    def picked() -> npt.NDArray[np.bool_]:
        return rng.random((n, m)) < 0.5

    if rng.random() < 0.7:
        arguments["resources"] = {}
        for number in range(rng.integers(1, 3)):
            size = scale * amounts(rng, (n, m) if rng.random() < 0.5 else (m,))
            budget = near(rng, (size * picked()).sum(axis=1))
            arguments["resources"][f"r{number}"] = al.Resource(size, budget)
    if rng.random() < 0.6:
        weight = scale * amounts(rng, (n,))
        load: dict[str, Any] = {"weight": weight}
        if rng.random() < 0.6:
            load["max"] = near(rng, (weight[:, None] * picked()).sum(axis=0))
        if rng.random() < 0.5:
            load["min"] = near(rng, (weight[:, None] * (picked() & picked())).sum(axis=0))
        if rng.random() < 0.4:
            load["penalty"] = rng.choice([0, 1, 0.1, 0.003], m) / max(scale, 1e-3) ** 2
            load["target"] = rng.random() * weight.sum()
        arguments["loads"] = {"samples": al.Load(**load)}
    if rng.random() < 0.4:
        floor = near(rng, (values.astype(np.float64) * picked()).sum(axis=1))
        arguments["client_fitness_min"] = np.where(rng.random(n) < 0.5, floor, -np.inf)
    if rng.random() < 0.3:
        arguments["load_penalty"] = rng.choice([0, 0.3, 1.0], m) * np.abs(values).max()
        arguments["load_target"] = rng.random() * n
    if rng.random() < 0.3:
        arguments["load_min"] = rng.integers(0, 2, m)
    if rng.random() < 0.3:
        arguments["load_max"] = rng.integers(1, n + 1, m)
    return al.AlignmentProblem(**arguments)


def magnitude(problem: al.AlignmentProblem) -> float:
    """Return the size of the numbers in an objective, for tolerances."""
    finite = problem.fitness[np.isfinite(problem.fitness)].astype(np.float64)
    everything = np.nonzero(problem.fitness > -np.inf)
    nothing = (np.empty(0, dtype=np.int64),) * 2
    penalties = problem.penalty(*everything), problem.penalty(*nothing)
    return float(max(np.abs(finite).max(initial=0.0), *penalties, 1e-300))
