"""Compile the kernels of the package's own solvers ahead of time."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Collection

import numpy as np

from alignsolve import kernels
from alignsolve.certificate.best_responses import Multipliers
from alignsolve.certificate.duality_gap import dual_gap
from alignsolve.errors import ProblemError
from alignsolve.generators import generate
from alignsolve.kernels import costs
from alignsolve.model.problem import AlignmentProblem
from alignsolve.model.sources import FactorSource
from alignsolve.solve.solve import solve
from alignsolve.status import Status

#: Small problems that between them need every kernel: by class, who solves them, and what makes
#: each.
SAMPLES: dict[str, tuple[str, dict[str, Callable[[], AlignmentProblem]]]] = {
    "flow": ("exchange", {
        "one slot, float32": lambda: _flow("float32", 1),
        "one slot, float64": lambda: _flow("float64", 1),
        "several slots, float32": lambda: _flow("float32", 2),
        "several slots, float64": lambda: _flow("float64", 2),
        "shared layers, float32": lambda: _layers("float32"),
        "shared layers, float64": lambda: _layers("float64"),
        "fitness from factors": lambda: _factors(),
        "bounds that cannot hold together": lambda: generate("infeasible", clients=40, experts=8),
    }),
    "mip": ("lagrangian", {
        "budgets and named loads": lambda: _fleet(),
        "the same with relaxed bounds": lambda: _fleet().replace(load_min=13),
        "generalized assignment": lambda: generate("gap-c", agents=3, jobs=12),
    }),
}

#: Kernels of the mip class alone, by how their names begin.
OF_MIP = ("backends.lagrangian.", "elastic.moves.")


def _flow(dtype: str, slots: int) -> AlignmentProblem:
    """Return a problem large enough for samples, Newton steps and paths."""
    return generate("uniform", clients=4000, experts=16, slots=slots, balance=1.0, dtype=dtype)


def _layers(dtype: str) -> AlignmentProblem:
    """Return a problem whose layers share slots."""
    return _flow(dtype, 3).replace(
        expert_group=np.arange(16) // 8, group_min=1, load_max=800, load_penalty=1e-4
    )


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


def estimate(only: str | Collection[str] | None = None) -> float:
    """Return the seconds of processor time that a warm-up is expected to take."""
    classes = _classes(only)
    mip = kernels.seconds_left(OF_MIP)
    parts = {"flow": kernels.seconds_left() - mip, "mip": mip}
    return sum(parts[name] for name in classes)


def _classes(only: str | Collection[str] | None) -> tuple[str, ...]:
    names = tuple(SAMPLES) if only is None else (only,) if isinstance(only, str) else tuple(only)
    for name in names:
        if name not in SAMPLES:
            raise ProblemError(f"only is {name!r}; give some of {', '.join(SAMPLES)}")
    return names


def warm_up(
    report: Callable[[str, float], None] | None = None,
    only: str | Collection[str] | None = None,
) -> None:
    """Compile the kernels of "exchange" and "lagrangian", and keep them on disk.

    Compiled code is kept in ``NUMBA_CACHE_DIR``, beside the package, or in the user's cache
    folder, so that this pays once per machine and version, for instance while an image is
    built: it is found there later even if the package cannot be written then. Without it small
    problems are solved all the same, and large ones compile first or go to other solvers.

    Parameters
    ----------
    report : callable, optional
        Called after each part with what it was and the seconds it took. Without it an estimate
        and each part are written to standard error.
    only : str or collection of str, optional
        "flow" or "mip": the class of problems to prepare for; default both.

    Raises
    ------
    ProblemError
        If `only` is something else.

    Examples
    --------
    >>> import alignsolve as al
    >>> al.warm_up(lambda name, seconds: None, only="flow")
    """
    classes = _classes(only)
    if report is None:
        print(f"alignsolve: compiling kernels, {estimate(only):.0f} s of processor time",
              file=sys.stderr)  # fmt: skip
        report = _write
    costs.said.update(("exchange", "lagrangian"))
    for name in classes:
        backend, samples = SAMPLES[name]
        for what, make in samples.items():
            started = time.perf_counter()
            with kernels.compiled():
                _use(make(), backend)
            report(what, time.perf_counter() - started)


def _write(name: str, seconds: float) -> None:
    """Write a part of a warm-up to standard error."""
    print(f"alignsolve: {seconds:6.1f} s  {name}", file=sys.stderr)


def _use(problem: AlignmentProblem, backend: str) -> None:
    """Solve a problem, and once more from its answer; prove that as if it were large."""
    result = solve(problem, backend, on_interrupt="raise")
    is_infeasible = result.status is Status.INFEASIBLE
    solve(problem, backend, warm_start=result, elastic=is_infeasible, on_interrupt="raise")
    if problem.problem_class == "flow" and not is_infeasible:
        # Prices that prove nothing need all there is.
        dual_gap(problem, result.row_ind, result.col_ind, Multipliers(np.zeros(problem.n_experts)))
