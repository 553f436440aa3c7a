"""Problems and peers of `benchmarks/exchange.py`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

import alignsolve as al

Matrix = npt.NDArray[Any]
Generator = np.random.Generator


def uniform(rng: Generator, n: int, m: int) -> Matrix:
    """Independent uniform values."""
    return rng.random((n, m), dtype=np.float32)


def latent(rng: Generator, n: int, m: int) -> Matrix:
    """Clients and experts as vectors of eight traits, and a little noise."""
    clients = rng.standard_normal((n, 8), dtype=np.float32)
    experts = rng.standard_normal((8, m), dtype=np.float32)
    return clients @ experts + np.float32(0.1) * rng.random((n, m), dtype=np.float32)


def skewed(rng: Generator, n: int, m: int) -> Matrix:
    """Uniform values, and experts that everybody likes better than others."""
    return rng.random((n, m), dtype=np.float32) + rng.random(m, dtype=np.float32)


FAMILIES = {"uniform": uniform, "latent": latent, "skewed": skewed}


def decimals(rng: Generator, n: int, m: int) -> Matrix:
    """Values in steps of 0.1, which floats cannot represent."""
    return rng.integers(0, 11, (n, m)) * 0.1


def whole(rng: Generator, n: int, m: int) -> Matrix:
    """Whole values from 0 to 10: plateaus everywhere."""
    return rng.integers(0, 11, (n, m)).astype(np.float32)


def plateau(rng: Generator, n: int, m: int) -> Matrix:
    """One value."""
    return np.full((n, m), 0.37, np.float32)


def equal_rows(rng: Generator, n: int, m: int) -> Matrix:
    """Clients that like all experts the same."""
    return np.repeat(rng.random((n, 1), dtype=np.float32), m, axis=1)


def clusters(rng: Generator, n: int, m: int) -> Matrix:
    """Eight kinds of identical clients."""
    return rng.random((8, m), dtype=np.float32)[rng.integers(0, 8, n)]


def dominating(rng: Generator, n: int, m: int) -> Matrix:
    """One expert that everybody wants far more than any other."""
    found: Matrix = uniform(rng, n, m) + np.float32(100) * (np.arange(m) == 0).astype(np.float32)
    return found


def rank_one(rng: Generator, n: int, m: int) -> Matrix:
    """Strength of the client times quality of the expert."""
    return rng.random((n, 1)) * rng.random((1, m))


def wide(rng: Generator, n: int, m: int) -> Matrix:
    """Values from 1e-12 to 1e12."""
    return np.asarray(10.0 ** rng.uniform(-12, 12, (n, m)))


def wide_clients(rng: Generator, n: int, m: int) -> Matrix:
    """Clients whose values differ in scale from 1e-12 to 1e12."""
    return np.asarray(10.0 ** rng.uniform(-12, 12, (n, 1))) * rng.random((n, m))


def offset(rng: Generator, n: int, m: int) -> Matrix:
    """Uniform values of which float32 leaves sixteen steps."""
    return uniform(rng, n, m) + np.float32(1e6)


HARD = {
    "decimals": decimals, "whole": whole, "plateau": plateau, "equal rows": equal_rows,
    "clusters": clusters, "dominating": dominating, "rank one": rank_one, "wide": wide,
    "wide clients": wide_clients, "offset": offset,
}  # fmt: skip


@dataclass(frozen=True)
class Case:
    """A shape of problem: clients, experts, and whether slots are mixed."""

    n: int
    m: int
    mixed: bool = False

    def problem(self, family: str, seed: int, shift: float = 0.0) -> al.AlignmentProblem:
        """Build the problem of a family; `shift` is added to every entry, in float64."""
        rng = np.random.default_rng(seed)
        make = FAMILIES.get(family) or HARD[family]
        fitness = make(rng, self.n, self.m)
        if shift:
            fitness = fitness + np.float64(shift)
        if not self.mixed:
            return al.AlignmentProblem(fitness, 1, min_experts=1, load_max=-(-self.n // self.m))
        for start in range(0, self.n, 65536):
            rows = fitness[start : start + 65536]
            rows[rng.random(rows.shape) < 0.2] = -np.inf
        slots = rng.integers(1, 9, self.n)
        mean = slots.sum() / self.m
        return al.AlignmentProblem(fitness, slots, load_min=0.9 * mean, load_max=1.1 * mean)


CASES = {
    "1024000x64": Case(1_024_000, 64), "102400x64-mixed": Case(102_400, 64, True),
    "262144x256": Case(262_144, 256), "102400x64": Case(102_400, 64),
    "10000x16": Case(10_000, 16), "10000x64": Case(10_000, 64),
    "1000x64": Case(1_000, 64), "100x8": Case(100, 8),
}  # fmt: skip


# -- peers: each takes a problem and returns its objective ------------------------------


def _by_backend(name: str) -> Callable[[al.AlignmentProblem], float]:
    def solve(problem: al.AlignmentProblem) -> float:
        return float(al.solve(problem, name).objective_value)

    return solve


def _pot(problem: al.AlignmentProblem) -> float:
    """Transport of one unit per client to places of equal number (one slot only)."""
    import ot  # type: ignore[import-not-found]

    n, m = problem.fitness.shape
    cost = -problem.fitness.astype(np.float64)
    places = np.full(m, n / m)
    return -float(ot.emd2(np.ones(n), places, cost, numItermax=10_000_000))


def _lapx(problem: al.AlignmentProblem) -> float:
    """Square assignment with every expert repeated once per place (one slot only)."""
    import lap  # type: ignore[import-not-found]

    n, m = problem.fitness.shape
    cost = -np.repeat(problem.fitness.astype(np.float64), -(-n // m), axis=1)
    return -float(lap.lapjv(cost, extend_cost=True)[0])


PEERS: dict[str, Callable[[al.AlignmentProblem], float]] = {
    "ortools-mcf": _by_backend("ortools-mcf"), "scipy-lsa": _by_backend("scipy-lsa"),
    "networkx": _by_backend("networkx"), "pot": _pot, "lapx": _lapx,
}  # fmt: skip


def seconds_of_argmax(fitness: Matrix, runs: int) -> list[float]:
    """Time numpy's argmax over the matrix: about the time to read it."""
    from _results import clocked  # paired.py reads the cases in an older tree, too

    return [clocked(lambda: fitness.argmax(axis=1))[1] for _ in range(runs)]
