"""HiGHS through SciPy: `scipy.optimize.milp`."""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np

from alignsolve.backends.base import Backend, Capabilities, library_version
from alignsolve.backends.milp.float_scaling import FloatModel
from alignsolve.backends.milp.float_solver import FloatLibrary, FloatSolver
from alignsolve.backends.milp.linear_solve import SMALL_MODEL, ModelOutcome, Task, solve_linear
from alignsolve.errors import BackendError
from alignsolve.interruptible import Tell
from alignsolve.model.problem import AlignmentProblem, Feature
from alignsolve.status import Limits, Outcome

#: What `scipy.optimize.milp` reports as `status`.
_OPTIMAL, _LIMIT = 0, 1


class ScipyMilpBackend(Backend):
    """HiGHS of SciPy on the linear model.

    Notes
    -----
    SciPy cannot tell HiGHS to stop, and shows its answers at the end only: until then a
    callback hears of time alone. On Ctrl-C, where a callback says stop, or where HiGHS
    overruns its time limit, what is left is the warm start, or the best of earlier
    rounds. HiGHS is killed then: but for small models it works in a process of its own,
    see `alignsolve.interruptible`.
    """

    name = "scipy-milp"
    bytes_per_pair = 1300.0
    capabilities = Capabilities(
        features=frozenset(Feature), exact=True, proves_infeasibility=True, interruptible=True,
        callback=True, rescaled=True, libraries=("scipy",),
    )

    def substitute_seconds(self, problem: AlignmentProblem) -> float:
        """Return about what small models take, with the import."""
        return 1.0 if problem.fitness.size <= SMALL_MODEL else math.inf

    def solve(self, problem: AlignmentProblem, limits: Limits) -> Outcome:
        """Return an answer and the bound of HiGHS."""
        return solve_linear(problem, limits, FloatSolver(ScipyHighs()))


class ScipyHighs(FloatLibrary):
    """`scipy.optimize.milp`."""

    def __init__(self) -> None:
        self.source = f"HiGHS ({library_version('scipy')})"

    def solve(self, tell: Tell | None, task: Task[FloatModel]) -> ModelOutcome:
        """Solve a model; SciPy tells nothing on the way."""
        from scipy.optimize import Bounds, LinearConstraint, milp

        scaled = task.model
        rows = LinearConstraint(scaled.matrix, scaled.row_lower, scaled.row_upper)
        # HiGHS 1.12 gives up where presolve's way back leaves an optimal point 1e-6 and a
        # little outside a row; it then works without.
        for presolve in (True, False):
            with warnings.catch_warnings():
                # SciPy warns that it passes options on to HiGHS unseen: as wanted.
                warnings.filterwarnings("ignore", message="Unrecognized options detected")
                result = milp(
                    -scaled.objective,
                    integrality=scaled.is_integer.astype(np.int64),
                    bounds=Bounds(0, scaled.upper),
                    constraints=rows if scaled.row_lower.size else None,
                    options=_options(task) | {"presolve": presolve},  # type: ignore[arg-type]
                )
            if "Solve error" not in str(result.message):
                break
        return self._outcome(result, scaled)

    def _outcome(self, result: Any, scaled: FloatModel) -> ModelOutcome:
        """Translate SciPy's result."""
        status, message = result.status, str(result.message)
        # The status of infeasible problems also stands for models that HiGHS refuses. The
        # model is bounded: binaries, and penalties from below.
        if message.startswith(("The problem is infeasible", "The problem is unbounded or inf")):
            return ModelOutcome(infeasible=True)
        if status not in (_OPTIMAL, _LIMIT):
            raise BackendError(f"{self.source} ended with status {status}: {message}")
        bound = result.mip_dual_bound
        if bound is None and status == _OPTIMAL:
            # Without whole columns it was a linear program.
            bound = result.fun
        return ModelOutcome(
            [] if result.x is None else [scaled.original(result.x)],
            math.inf if bound is None else scaled.bound(-bound), finished=status == _OPTIMAL,
            nodes=result.mip_node_count or 0,
        )


def _options(task: Task[FloatModel]) -> dict[str, object]:
    """Return options of `milp`; those it does not know go to HiGHS as they are."""
    limits = task.limits
    options = {
        "mip_rel_gap": limits.rel_gap, "mip_abs_gap": task.model.gap, "random_seed": limits.seed,
        "time_limit": limits.remaining(), "threads": limits.threads, "node_limit": task.max_nodes,
    }
    return {name: value for name, value in options.items() if value is not None}
