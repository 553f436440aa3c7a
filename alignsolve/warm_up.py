"""Compile the kernels of the package's own solvers ahead of time."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from alignsolve.generators import generate
from alignsolve.model.problem import AlignmentProblem
from alignsolve.model.sources import FactorSource
from alignsolve.solve.solve import solve
from alignsolve.status import Status

#: Small problems that between them need every kernel: what each is, and how to make it.
SAMPLES: tuple[tuple[str, Callable[[], AlignmentProblem]], ...] = (
    ("slots and loads, float32", lambda: _flow("float32")),
    ("slots and loads, float64", lambda: _flow("float64")),
    ("fitness from factors", lambda: _factors()),
    ("bounds that cannot hold together", lambda: generate("infeasible", clients=40, experts=8)),
    ("budgets and named loads", lambda: _fleet()),
    ("the same with relaxed bounds", lambda: _fleet().replace(load_min=13)),
    ("generalized assignment", lambda: generate("gap-c", agents=3, jobs=12)),
)


def _flow(dtype: str) -> AlignmentProblem:
    """Return a problem large enough for samples, Newton steps and paths."""
    return generate("uniform", clients=4000, experts=16, slots=1, balance=1.0, dtype=dtype)


def _factors() -> AlignmentProblem:
    """Return a problem whose fitness is a product, read block by block."""
    rng = np.random.default_rng(0)
    source = FactorSource(rng.random((4000, 4)), rng.random((16, 4)))
    return AlignmentProblem(
        source, 1, min_experts=1, load_max=250, switch_cost=0.1, held=([0], [0])
    )


def _fleet() -> AlignmentProblem:
    """Return a problem of the mip class."""
    return generate("scarce", clients=12, experts=4)


def warm_up(report: Callable[[str, float], None] | None = None) -> None:
    """Compile the kernels of "exchange" and "lagrangian", and keep them on disk.

    Compiled code is kept beside the package, or in numba's cache folder, so that this
    pays once per machine and version, for instance while an image is built. Without
    it the first solves compile, about a minute in all, which no time limit ends; and
    "auto" passes over "lagrangian" where that does not fit the limit.

    Parameters
    ----------
    report : callable, optional
        Called after each part with what it was and the seconds it took.

    Examples
    --------
    >>> import alignsolve as al
    >>> al.warm_up()
    """
    for name, make in SAMPLES:
        problem = make()
        started = time.perf_counter()
        result = solve(problem, on_interrupt="raise")
        solve(problem, warm_start=result, elastic=result.status is Status.INFEASIBLE,
              on_interrupt="raise")
        if report is not None:
            report(name, time.perf_counter() - started)
