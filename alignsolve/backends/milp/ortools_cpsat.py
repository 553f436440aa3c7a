"""CP-SAT of OR-Tools: integer programs by lazy clause generation."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from alignsolve.backends.base import Backend, Capabilities, library_version
from alignsolve.backends.milp.integer_scaling import IntegerModel, integer_model
from alignsolve.backends.milp.linear_model import LinearModel
from alignsolve.backends.milp.linear_solve import LinearSolver, ModelOutcome, Task, solve_linear
from alignsolve.errors import BackendError
from alignsolve.model.problem import AlignmentProblem, Feature
from alignsolve.status import Limits, Outcome

#: Rounded objectives stop at this share of their largest coefficient.
_ROUNDED_GAP = 1e-9

#: Most of CP-SAT's own measure of work, about a second each, where answers have to be repeatable.
_DETERMINISTIC_TIME = 30.0


class CpSatBackend(Backend):
    """CP-SAT on the linear model in integers.

    Notes
    -----
    Floats that are short decimals or multiples of a power of two become exact
    integers. Others are rounded outward on a grid of 2**-46 of the largest
    sum, and answers that break a bound are cut off one by one. The objective
    rounds up, so that the solver's bound holds for the original problem.
    """

    name = "ortools-cpsat"
    bytes_per_pair = 1600.0
    capabilities = Capabilities(
        features=frozenset(Feature), exact=True, proves_infeasibility=True, interruptible=True,
        warm_start=True, callback=True, rescaled=True, libraries=("ortools",),
    )

    def solve(self, problem: AlignmentProblem, limits: Limits) -> Outcome:
        """Return an answer and CP-SAT's bound."""
        watched = limits.report is not None and limits.report.callback is not None
        return solve_linear(problem, limits, _CpSat(watched))


class _CpSat(LinearSolver[IntegerModel]):
    """CP-SAT as a solver of linear models.

    Parameters
    ----------
    watched : bool
        Whether answers are wanted before the end.
    """

    def __init__(self, watched: bool) -> None:
        self.source = f"CP-SAT ({library_version('ortools')})"
        self._watched = watched
        self._solver: Any = None
        self._stopped = False
        self._model: IntegerModel | None = None
        self._found: list[int] | None = None
        self._bound: float | None = None

    def _rescaled(self, model: LinearModel) -> IntegerModel:
        return integer_model(model)

    def _solved(self, task: Task[IntegerModel]) -> ModelOutcome:
        from ortools.sat.python import cp_model

        whole = task.model
        model = _proto_model(whole, None if task.hint is None else whole.integers(task.hint))
        solver = cp_model.CpSolver()
        _set_parameters(solver.parameters, task)
        self._solver = solver
        if self._stopped or task.limits.remaining() <= 0:
            return ModelOutcome()
        self._model, self._found, self._bound = whole, None, None
        status = solver.solve(model, self._watch(solver) if self._watched else None)
        if status == cp_model.INFEASIBLE:
            return ModelOutcome(infeasible=True)
        if status not in (cp_model.OPTIMAL, cp_model.FEASIBLE, cp_model.UNKNOWN):
            raise BackendError(f"{self.source} ended with status {solver.status_name(status)}: "
                               f"{model.validate()}")
        points, objective = [], solver.best_objective_bound
        if status != cp_model.UNKNOWN:
            points.append(whole.original(np.array(solver.response_proto.solution)))
        # Where it knows nothing yet, CP-SAT reports 0 or huge finite numbers.
        known = points or (objective != 0 and abs(objective) < 2.0**62)
        return ModelOutcome(
            points, whole.bound(objective) if known else math.inf,
            finished=status == cp_model.OPTIMAL, nodes=solver.num_branches,
        )

    def stop(self, interrupted: bool) -> bool:
        """Ask the search to stop."""
        self._stopped = True
        if self._solver is not None:
            self._solver.stop_search()
        return True

    def _watch(self, solver: Any) -> Any:
        """Return what CP-SAT calls, from threads of its own, for every better answer or bound."""
        from ortools.sat.python import cp_model

        outer = self

        class Found(cp_model.CpSolverSolutionCallback):  # type: ignore[misc]
            def on_solution_callback(self) -> None:
                outer._found = list(self.response_proto.solution)

        def better_bound(bound: float) -> None:
            outer._bound = bound

        solver.best_bound_callback = better_bound
        return Found()

    def so_far(self, task: Task[LinearModel]) -> ModelOutcome:
        """Return the latest answer and bound, if somebody watches."""
        whole, found, bound = self._model, self._found, self._bound
        if whole is None:
            return ModelOutcome()
        return ModelOutcome(
            [] if found is None else [whole.original(np.array(found))],
            math.inf if bound is None else whole.bound(bound),
        )


def _set_parameters(parameters: Any, task: Task[IntegerModel]) -> None:
    """Pass the task's limits on."""
    whole = task.model
    parameters.max_time_in_seconds = task.limits.remaining()
    parameters.relative_gap_limit = task.limits.rel_gap
    largest = float(np.abs(whole.objective).max(initial=0))
    parameters.absolute_gap_limit = 0.5 if whole.is_exact else max(0.5, _ROUNDED_GAP * largest)
    # This part of presolve cuts off optimal answers in ortools 9.15
    # (https://github.com/google/or-tools/issues/5293).
    parameters.presolve_inclusion_work_limit = 0
    parameters.random_seed = task.limits.seed
    # Ctrl-C is for Python, which then stops the search.
    parameters.catch_sigint_signal = False
    if task.limits.threads is not None:
        parameters.num_workers = task.limits.threads
    if task.max_nodes is not None:
        parameters.max_number_of_conflicts = task.max_nodes
        parameters.max_deterministic_time = _DETERMINISTIC_TIME


def _proto_model(whole: IntegerModel, hint: Any) -> Any:
    """Return the CP-SAT model, filled through its protocol buffer, which is fastest."""
    from ortools.sat.python import cp_model

    model = cp_model.CpModel()
    for upper in whole.upper.tolist():
        model.new_int_var(0, upper, "")
    proto = model.proto
    columns, coefficients = whole.matrix.indices.tolist(), whole.matrix.data.tolist()
    starts = whole.matrix.indptr.tolist()
    bounds = zip(whole.row_lower.tolist(), whole.row_upper.tolist(), strict=True)
    for row, (low, high) in enumerate(bounds):
        linear = proto.constraints.add().linear
        entries = slice(starts[row], starts[row + 1])
        linear.vars.extend(columns[entries])
        linear.coeffs.extend(coefficients[entries])
        linear.domain.extend([low, high])
    used = np.flatnonzero(whole.objective)
    # The proto minimises.
    proto.objective.vars.extend(used.tolist())
    proto.objective.coeffs.extend((-whole.objective[used]).tolist())
    proto.objective.scaling_factor = -1.0
    if hint is not None:
        proto.solution_hint.vars.extend(range(hint.size))
        proto.solution_hint.values.extend(hint.tolist())
    return model
