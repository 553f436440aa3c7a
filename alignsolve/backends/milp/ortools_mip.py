"""HiGHS and SCIP through MathOpt of OR-Tools."""

from __future__ import annotations

import atexit
import datetime
import math
import re
import tempfile
import threading
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from alignsolve import interrupts
from alignsolve.backends.base import Backend, Capabilities, library_version
from alignsolve.backends.interruptible import DEFAULTS
from alignsolve.backends.milp.float_scaling import FloatModel, scaled_model
from alignsolve.backends.milp.linear_model import LinearModel
from alignsolve.backends.milp.linear_solve import LinearSolver, ModelOutcome, Task, solve_linear
from alignsolve.errors import BackendError
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
    MathOpt cannot tell HiGHS to stop. On Ctrl-C, where a callback says stop, or
    where HiGHS overruns its time limit, the answer is the best that HiGHS has
    written to a file so far with the bound of its log; a callback hears of both.
    HiGHS then works on in the background until it sees its limit or, after a stop,
    until it next writes to its log, where it sleeps with its memory until the
    process ends. MathOpt takes no number of
    threads for HiGHS; ``threads=1`` turns its parallel parts off.
    """

    name = "ortools-mip"
    bytes_per_pair = 1400.0
    capabilities = _CAPABILITIES

    def solve(self, problem: AlignmentProblem, limits: Limits) -> Outcome:
        """Return an answer and the bound of HiGHS."""
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            return solve_linear(problem, limits, _Highs(folder))


class ScipBackend(Backend):
    """SCIP on the linear model.

    Notes
    -----
    SCIP runs in one thread. While it solves, Ctrl-C is its own: it stops at
    the end of the linear program at hand. Where Python's handler of Ctrl-C is
    not the default one, or the caller is not the main thread, Ctrl-C takes
    effect when SCIP returns. It looks at its time limit between linear
    programs, the first of which may take a minute at 50,000 x 64: hence it is
    declared as not interruptible, and a callback is not asked meanwhile.
    """

    name = "ortools-scip"
    bytes_per_pair = 2500.0
    capabilities = replace(_CAPABILITIES, interruptible=False, callback=False)

    def solve(self, problem: AlignmentProblem, limits: Limits) -> Outcome:
        """Return an answer and the bound of SCIP."""
        return solve_linear(problem, replace(limits, report=None), _Scip())


class _MathOpt(LinearSolver[FloatModel]):
    """A solver of MathOpt as a solver of linear models."""

    loose_sums = False

    def _rescaled(self, model: LinearModel) -> FloatModel:
        return scaled_model(model, loose_sums=self.loose_sums)

    @abstractmethod
    def _arguments(self, task: Task, scaled: FloatModel, parameters: Any) -> dict[str, Any]:
        """Return the arguments of MathOpt that are the solver's own; complete the parameters."""

    def _solved(self, task: Task, scaled: FloatModel) -> ModelOutcome:
        from ortools.math_opt.python import mathopt

        model = mathopt.Model.from_model_proto(_model_proto(scaled, task.model.is_integer))
        if task.limits.remaining() <= 0:
            return ModelOutcome()
        parameters = mathopt.SolveParameters(
            relative_gap_tolerance=task.limits.rel_gap, absolute_gap_tolerance=scaled.gap,
            random_seed=task.limits.seed, node_limit=task.max_nodes,
        )
        arguments = self._arguments(task, scaled, parameters)
        if task.hint is not None:
            values = scaled.scaled(task.hint).tolist()
            hint = mathopt.SolutionHint(dict(zip(model.variables(), values, strict=True)))
            arguments["model_params"] = mathopt.ModelSolveParameters(solution_hints=[hint])
        return self._outcome(self._solve(model, task, parameters, arguments), model, scaled)

    def _solve(self, model: Any, task: Task, parameters: Any, arguments: dict[str, Any]) -> Any:
        """Call MathOpt, and once more without presolve where the solver fails.

        HiGHS 1.12 gives up where presolve's way back leaves an optimal point
        1e-6 and a little outside a row.
        """
        from ortools.math_opt.python import mathopt

        failure: BaseException | None = None
        for presolve in (None, mathopt.Emphasis.OFF):
            parameters.presolve = presolve
            if math.isfinite(task.limits.deadline):
                parameters.time_limit = datetime.timedelta(seconds=task.limits.remaining())
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
    """HiGHS, which writes its answers to a file for the case that it must be left behind."""

    def __init__(self, folder: str) -> None:
        self.source = f"HiGHS (MathOpt, {library_version('ortools')})"
        self._answers = Path(folder, "answers.txt")
        self._scaled: FloatModel | None = None
        self._bounds: list[float] = []
        self._is_parked = False
        #: Set while HiGHS sleeps or does not run, so that it will not call Python.
        self._quiet = threading.Event()
        #: Size of the file when it was last read, and what was in it.
        self._read: tuple[int, list[Float64Array]] = (0, [])

    def _arguments(self, task: Task, scaled: FloatModel, parameters: Any) -> dict[str, Any]:
        from ortools.math_opt.python import mathopt

        self._scaled, self._bounds, self._read = scaled, [], (0, [])
        self._answers.unlink(missing_ok=True)
        parameters.highs.bool_options["mip_improving_solution_save"] = True
        parameters.highs.bool_options["mip_improving_solution_report_sparse"] = True
        parameters.highs.string_options["mip_improving_solution_file"] = str(self._answers)
        # It is asked to sleep, and its bound is read, where it writes to its log.
        parameters.highs.double_options["mip_min_logging_interval"] = LOG_SECONDS
        if task.limits.threads == 1:
            parameters.highs.string_options["parallel"] = "off"
        return {"solver_type": mathopt.SolverType.HIGHS, "msg_cb": self._read_log}

    def _solve(self, model: Any, task: Task, parameters: Any, arguments: dict[str, Any]) -> Any:
        self._quiet.clear()
        atexit.register(self._leave)
        try:
            return super()._solve(model, task, parameters, arguments)
        finally:
            self._quiet.set()
            atexit.unregister(self._leave)

    def _leave(self) -> None:
        """Put HiGHS to sleep where the process ends before it does.

        A call of Python's while the interpreter shuts down would abort the process.
        """
        self._is_parked = True
        self._quiet.wait(DEFAULTS.exit)

    def _read_log(self, lines: Sequence[str]) -> None:
        if self._is_parked:
            self._quiet.set()
            threading.Event().wait()
        self._bounds += [float(found[1]) for found in map(_HIGHS_BOUND.match, lines) if found]

    def stop(self, interrupted: bool) -> bool:
        """After Ctrl-C or a stop, put HiGHS to sleep for good where it next writes to its log."""
        self._is_parked = interrupted
        return False

    def so_far(self, task: Task) -> ModelOutcome:
        """Return the answers in the file and the bound of the log."""
        if self._scaled is None:
            return ModelOutcome()
        size = self._answers.stat().st_size if self._answers.exists() else 0
        if size != self._read[0]:
            written = _written_points(self._answers, task.model.n_columns)
            self._read = size, [self._scaled.original(point) for point in written]
        # The log has ten digits: take the last one's worth more.
        bound = min((bound + 1e-9 * abs(bound) for bound in self._bounds), default=math.inf)
        return ModelOutcome(self._read[1], self._scaled.bound(bound))


class _Scip(_MathOpt):
    """SCIP, which handles Ctrl-C itself where it may."""

    loose_sums = True

    def __init__(self) -> None:
        self.source = f"SCIP (MathOpt, {library_version('ortools')})"
        self._may_catch = (
            threading.current_thread() is threading.main_thread() and interrupts.is_default()
        )

    def _arguments(self, task: Task, scaled: FloatModel, parameters: Any) -> dict[str, Any]:
        from ortools.math_opt.python import mathopt

        # SCIP's tolerance is relative, so that no scale makes up for it.
        parameters.gscip.real_params["numerics/feastol"] = 1e-9
        # MathOpt's own interrupter fails with SCIP once the search has begun (ortools 9.15).
        parameters.gscip.bool_params["misc/catchctrlc"] = self._may_catch
        return {"solver_type": mathopt.SolverType.GSCIP}


def _model_proto(scaled: FloatModel, is_integer: Any) -> Any:
    """Return the scaled model as MathOpt's protocol buffer, filled from arrays."""
    from ortools.math_opt import model_pb2

    proto = model_pb2.ModelProto()
    n_columns, n_rows = scaled.objective.size, scaled.row_lower.size
    proto.variables.ids.extend(range(n_columns))
    proto.variables.lower_bounds.extend([0.0] * n_columns)
    proto.variables.upper_bounds.extend(scaled.upper.tolist())
    proto.variables.integers.extend(is_integer.tolist())
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


def _written_points(path: Path, n_columns: int) -> list[Float64Array]:
    """Return the complete points in HiGHS' file of improving answers, best last.

    Notes
    -----
    Each begins with "Objective value" and "# Columns -count"; then one line
    "value column" per non-zero. The last one may be cut short.
    """
    if not path.exists():
        return []
    points: list[Float64Array] = []
    missing = 0
    for line in path.read_text().splitlines():
        words = line.split()
        if words[:2] == ["#", "Columns"]:
            missing = abs(int(words[2]))
            points.append(np.zeros(n_columns))
        elif missing and len(words) == 2 and points:
            points[-1][int(words[1])] = float(words[0])
            missing -= 1
    return points[:-1] if missing else points
