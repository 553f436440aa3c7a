"""HiGHS and SCIP through MathOpt of OR-Tools."""

from __future__ import annotations

import datetime
import math
import os
import re
import threading
from abc import abstractmethod
from collections.abc import Sequence
from typing import IO, Any

import numpy as np

from alignsolve import interrupts
from alignsolve.backends.base import Backend, Capabilities, library_version
from alignsolve.backends.milp.float_scaling import FloatModel
from alignsolve.backends.milp.float_solver import FloatLibrary, FloatSolver
from alignsolve.backends.milp.linear_solve import SMALL_MODEL, ModelOutcome, Task, solve_linear
from alignsolve.errors import BackendError
from alignsolve.interruptible import Tell
from alignsolve.model.arrays import Float64Array
from alignsolve.model.problem import AlignmentProblem, Feature
from alignsolve.status import Limits, Outcome

_CAPABILITIES = Capabilities(
    features=frozenset(Feature), exact=True, proves_infeasibility=True, interruptible=True,
    warm_start=True, callback=True, rescaled=True, libraries=("ortools",),
)

#: A line of HiGHS' log: source, nodes, queue, leaves, share explored, bound.
_HIGHS_BOUND = re.compile(r"^\s*[A-Za-z]?(?:\s+\d+){3}\s+[\d.]+%\s+(-?[\d.]+(?:e[+-]?\d+)?)\s")


class MathOptBackend(Backend):
    """HiGHS on the linear model.

    Notes
    -----
    MathOpt cannot tell HiGHS to stop. But for small models it works in a process of its
    own, see `alignsolve.interruptible`, which tells the answers that HiGHS writes and the
    bound of its log; a callback hears of both. On Ctrl-C, where a callback says stop, or
    where HiGHS overruns its time limit, the process is killed, and the answer is the
    best so far. MathOpt takes no number of threads for HiGHS; ``threads=1`` turns its
    parallel parts off.
    """

    name = "ortools-mip"
    bytes_per_pair = 1400.0
    capabilities = _CAPABILITIES

    def substitute_seconds(self, problem: AlignmentProblem) -> float:
        """Return about what small models take, with the import."""
        return 0.5 if problem.fitness.size <= SMALL_MODEL else math.inf

    def solve(self, problem: AlignmentProblem, limits: Limits) -> Outcome:
        """Return an answer and the bound of HiGHS."""
        return solve_linear(problem, limits, FloatSolver(_Highs()))


class ScipBackend(Backend):
    """SCIP on the linear model.

    Notes
    -----
    SCIP runs in one thread. It stops for signals at the end of the linear program at hand,
    the first of which may take a minute at 50,000 x 64. But for small models it works in
    a process of its own, see `alignsolve.interruptible`: on Ctrl-C and where a callback
    says stop that gets a signal, and is killed if it does not return its best answer
    at once. It tells nothing on the way: until the end a callback hears of time alone.
    """

    name = "ortools-scip"
    bytes_per_pair = 2500.0
    capabilities = _CAPABILITIES

    def solve(self, problem: AlignmentProblem, limits: Limits) -> Outcome:
        """Return an answer and the bound of SCIP."""
        return solve_linear(problem, limits, FloatSolver(_Scip(), gently=True))


class _MathOpt(FloatLibrary):
    """A solver of MathOpt."""

    @abstractmethod
    def _arguments(
        self, tell: Tell | None, task: Task[FloatModel], parameters: Any
    ) -> dict[str, Any]:
        """Return the arguments of MathOpt that are the solver's own; complete the parameters."""

    def solve(self, tell: Tell | None, task: Task[FloatModel]) -> ModelOutcome:
        """Solve a model; see `FloatLibrary.solve`."""
        from ortools.math_opt.python import mathopt

        model = mathopt.Model.from_model_proto(_model_proto(task.model))
        if task.limits.remaining() <= 0:
            return ModelOutcome()
        parameters = mathopt.SolveParameters(
            relative_gap_tolerance=task.limits.rel_gap, absolute_gap_tolerance=task.model.gap,
            random_seed=task.limits.seed, node_limit=task.max_nodes,
        )
        arguments = self._arguments(tell, task, parameters)
        if task.hint is not None:
            hinted = zip(model.variables(), task.hint.tolist(), strict=True)
            hint = mathopt.SolutionHint(dict(hinted))
            arguments["model_params"] = mathopt.ModelSolveParameters(solution_hints=[hint])
        result = self._result(model, task.limits, parameters, arguments)
        return self._outcome(result, model, task.model)

    def _result(
        self, model: Any, limits: Limits, parameters: Any, arguments: dict[str, Any]
    ) -> Any:
        """Call MathOpt, and once more without presolve where the solver fails.

        HiGHS 1.12 gives up where presolve's way back leaves an optimal point
        1e-6 and a little outside a row.
        """
        from ortools.math_opt.python import mathopt

        failure: BaseException | None = None
        for presolve in (None, mathopt.Emphasis.OFF):
            parameters.presolve = presolve
            if math.isfinite(limits.deadline):
                parameters.time_limit = datetime.timedelta(seconds=limits.remaining())
            try:
                return mathopt.solve(model, params=parameters, **arguments)
            except Exception as error:
                # MathOpt 9.15 hides a solver's error behind one of its own.
                failure = error.__context__ or error
        raise BackendError(f"{self.source} failed: {failure}") from failure

    def _outcome(self, result: Any, model: Any, scaled: FloatModel) -> ModelOutcome:
        """Translate MathOpt's result."""
        from ortools.math_opt.python import mathopt

        reason = result.termination.reason
        # The model is bounded: binaries, and penalties from below.
        if reason in (
            mathopt.TerminationReason.INFEASIBLE, mathopt.TerminationReason.INFEASIBLE_OR_UNBOUNDED,
        ):
            return ModelOutcome(infeasible=True)
        if reason not in (
            mathopt.TerminationReason.OPTIMAL, mathopt.TerminationReason.FEASIBLE,
            mathopt.TerminationReason.NO_SOLUTION_FOUND,
        ):
            detail = result.termination.detail
            raise BackendError(f"{self.source} ended with {reason.value}: {detail}")
        points = []
        if result.solutions and result.has_primal_feasible_solution():
            points.append(scaled.original(np.array(result.variable_values(model.variables()))))
        return ModelOutcome(
            points, scaled.bound(result.termination.objective_bounds.dual_bound),
            finished=reason is mathopt.TerminationReason.OPTIMAL,
            interrupted=result.termination.limit is mathopt.Limit.INTERRUPTED,
            nodes=int(result.solve_stats.node_count),
        )


#: Seconds between two lines of HiGHS's log.
LOG_SECONDS = 0.2


class _Highs(_MathOpt):
    """HiGHS, which writes its answers and its log where somebody listens."""

    def __init__(self) -> None:
        self.source = f"HiGHS (MathOpt, {library_version('ortools')})"

    def _arguments(
        self, tell: Tell | None, task: Task[FloatModel], parameters: Any
    ) -> dict[str, Any]:
        from ortools.math_opt.python import mathopt

        if task.limits.threads == 1:
            parameters.highs.string_options["parallel"] = "off"
        arguments = {"solver_type": mathopt.SolverType.HIGHS}
        if tell is None:
            return arguments
        journal = _Journal(tell, task.model)
        parameters.highs.bool_options["mip_improving_solution_save"] = True
        parameters.highs.bool_options["mip_improving_solution_report_sparse"] = True
        parameters.highs.string_options["mip_improving_solution_file"] = journal.path
        parameters.highs.double_options["mip_min_logging_interval"] = LOG_SECONDS
        return arguments | {"msg_cb": journal.read}


class _Journal:
    """What HiGHS writes while it works: answers to a file without a name, bounds to its log."""

    def __init__(self, tell: Tell, model: FloatModel) -> None:
        self._tell, self._model = tell, model
        import tempfile

        self._answers: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115
        self._points: list[Float64Array] = []
        self._size, self._bound = 0, math.inf

    @property
    def path(self) -> str:
        """What HiGHS opens the file by."""
        return f"/dev/fd/{self._answers.fileno()}"

    def read(self, lines: Sequence[str]) -> None:
        """Take lines of the log, and tell what is new."""
        bounds = [float(found[1]) for found in map(_HIGHS_BOUND.match, lines) if found]
        # The log has ten digits: take the last one's worth more.
        bound = min((bound + 1e-9 * abs(bound) for bound in bounds), default=math.inf)
        size = os.fstat(self._answers.fileno()).st_size
        if size == self._size and bound >= self._bound:
            return
        if size != self._size:
            self._answers.seek(0)
            text = self._answers.read().decode()
            found = _written_points(text, self._model.objective.size)[-1:]
            self._size, self._points = size, [self._model.original(point) for point in found]
        self._bound = min(self._bound, bound)
        self._tell(ModelOutcome(self._points, self._model.bound(self._bound)))


class _Scip(_MathOpt):
    """SCIP, which handles Ctrl-C itself where it may."""

    loose_sums = True

    def __init__(self) -> None:
        self.source = f"SCIP (MathOpt, {library_version('ortools')})"
        self._may_catch = (
            threading.current_thread() is threading.main_thread() and interrupts.is_default()
        )

    def _arguments(
        self, tell: Tell | None, task: Task[FloatModel], parameters: Any
    ) -> dict[str, Any]:
        from ortools.math_opt.python import mathopt

        # SCIP's tolerance is relative, so that no scale makes up for it.
        parameters.gscip.real_params["numerics/feastol"] = 1e-9
        # MathOpt's own interrupter fails with SCIP once the search has begun (ortools 9.15).
        parameters.gscip.bool_params["misc/catchctrlc"] = tell is not None or self._may_catch
        return {"solver_type": mathopt.SolverType.GSCIP}


def _model_proto(scaled: FloatModel) -> Any:
    """Return the scaled model as MathOpt's protocol buffer, filled from arrays."""
    from ortools.math_opt import model_pb2

    proto = model_pb2.ModelProto()
    n_columns, n_rows = scaled.objective.size, scaled.row_lower.size
    proto.variables.ids.extend(range(n_columns))
    proto.variables.lower_bounds.extend([0.0] * n_columns)
    proto.variables.upper_bounds.extend(scaled.upper.tolist())
    proto.variables.integers.extend(scaled.is_integer.tolist())
    used = np.flatnonzero(scaled.objective)
    proto.objective.maximize = True
    proto.objective.linear_coefficients.ids.extend(used.tolist())
    proto.objective.linear_coefficients.values.extend(scaled.objective[used].tolist())
    proto.linear_constraints.ids.extend(range(n_rows))
    proto.linear_constraints.lower_bounds.extend(scaled.row_lower.tolist())
    proto.linear_constraints.upper_bounds.extend(scaled.row_upper.tolist())
    matrix = scaled.matrix.sorted_indices()
    rows = np.repeat(np.arange(n_rows), np.diff(matrix.indptr))
    proto.linear_constraint_matrix.row_ids.extend(rows.tolist())
    proto.linear_constraint_matrix.column_ids.extend(matrix.indices.tolist())
    proto.linear_constraint_matrix.coefficients.extend(matrix.data.tolist())
    return proto


def _written_points(text: str, n_columns: int) -> list[Float64Array]:
    """Return the complete points in HiGHS' file of improving answers, best last.

    Notes
    -----
    Each begins with "Objective value" and "# Columns -count"; then one line
    "value column" per non-zero. The last one may be cut short.
    """
    points: list[Float64Array] = []
    missing = 0
    for line in text.splitlines():
        words = line.split()
        if words[:2] == ["#", "Columns"]:
            missing = abs(int(words[2]))
            points.append(np.zeros(n_columns))
        elif missing and len(words) == 2 and points:
            points[-1][int(words[1])] = float(words[0])
            missing -= 1
    return points[:-1] if missing else points
