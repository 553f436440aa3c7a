"""Solve a problem: choose a backend, check and certify what it says."""

from __future__ import annotations

import dataclasses
import logging
import time
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from alignsolve.backends.portfolio import Auto, run_backend
from alignsolve.backends.registry import takes_warm_start
from alignsolve.certificate.certificate import certify_answer, unproved
from alignsolve.certificate.row_pass import must_compile
from alignsolve.distributed.engine import EngineName, RayAnswer, RayEngine
from alignsolve.elastic import Elastic
from alignsolve.elastic.solving import solve_elastic
from alignsolve.elastic.violation_weights import ViolationWeights, checked_weights
from alignsolve.errors import BackendError, ProblemError, UnsupportedProblemError, guarded
from alignsolve.interrupts import Call, cuttable
from alignsolve.kernels import until
from alignsolve.model.feasibility import Assignment
from alignsolve.model.problem import AlignmentProblem
from alignsolve.progress import Callback
from alignsolve.result import Result
from alignsolve.solve.arguments import checked_limits
from alignsolve.solve.conflicts import conflict_behind
from alignsolve.solve.offsets import solve_accurately
from alignsolve.solve.params import DEFAULT_PARAMS, SolveParams
from alignsolve.solve.warm_start import EarlierAnswer
from alignsolve.status import Fallback, Limits, Outcome, Status, Termination

logger = logging.getLogger(__name__)


def solve(
    problem: AlignmentProblem,
    backend: str = "auto",
    time_limit: float | None = None,
    rel_gap: float = 0.0,
    seed: int = 0,
    threads: int | None = None,
    warm_start: Result | EarlierAnswer | tuple[Any, ...] | None = None,
    elastic: bool | Elastic = False,
    engine: EngineName | RayEngine = "local",
    callback: Callback | None = None,
    repeatable: bool = False,
    on_interrupt: Literal["answer", "raise"] = "answer",
) -> Result:
    """Solve an alignment problem and certify the answer.

    Parameters
    ----------
    problem : AlignmentProblem
        What to solve.
    backend : str, default "auto"
        A name from `available_backends`, or "auto": see Notes.
    time_limit : float, optional
        Seconds, building and certifying included; kept within 10% or 0.5 s by
        backends that declare themselves interruptible.
    rel_gap : float, default 0
        Relative gap at which a problem of the mip class may stop.
    seed : int, default 0
        Seed of anything random.
    threads : int, optional
        Threads of the backend; None for all cores.
    warm_start : Result, Plan, Solution, (row_ind, col_ind) or (row_ind, col_ind, prices), optional
        An earlier answer; it may be infeasible here. Of the first three clients and experts are
        matched by id, by position only where either side has no ids, and what no longer fits is
        dropped: see `alignsolve.solve.warm_start.matched`. Ignored by backends that do not
        declare `warm_start`. ``stats`` says how many pairs there were (``warm_start_pairs``), how
        many of them fit and were handed to the backend that answered (``warm_start_used``; 0 where
        it is not declared, and a backend may still start elsewhere), and how they were matched
        (``warm_start_by``). Prices are one per expert; for the mip class, "lagrangian" goes on from
        those of all loads that matter, as `Result.load_prices` has them.
    engine : {"local", "ray"} or RayEngine, default "local"
        Where the clients are while "exchange" solves: in this process, or spread
        over the workers of a Ray cluster, which read, solve and prove them there.
    repeatable : bool, default False
        Whether, without a time limit, the same call shall give the same answer on a
        busy machine as on an idle one, and end soon: linear models of the mip class
        are then solved to a number of nodes, and large ones not at all.
    elastic : bool or Elastic, default False
        Whether bounds that cannot hold together are relaxed, and at which prices:
        see Notes.
    callback : callable, optional
        Called in this thread with a `Progress` now and then, at most every
        `alignsolve.progress.INTERVAL` seconds or with a better answer, and with the
        outcome at the end. If it returns true, the solve ends with the best answer so
        far and `Termination.INTERRUPTED`; None or False lets it go on. See Notes.
    on_interrupt : {"answer", "raise"}, default "answer"
        What Ctrl-C does: return the best answer so far with
        `Termination.INTERRUPTED`, or raise KeyboardInterrupt. See Notes.

    Returns
    -------
    Result
        Infeasibility is a status with a `conflict`, never an exception. A conflict of the
        mip class is looked for, and made smaller, within the time limit for up to
        `SolveParams.conflict_seconds`, and as long as it takes where `repeatable`.

    Raises
    ------
    ProblemError
        If an argument is malformed.
    BackendNotFoundError
        If the backend does not exist or its library is missing.
    UnsupportedProblemError
        If the named backend does not support a feature of the problem.
    BackendError
        If the named backend fails, or breaks a bound. "auto" goes on to the
        next backend instead, and records it in `Result.fallbacks`.
    KeyboardInterrupt
        On Ctrl-C with ``on_interrupt="raise"``; else on the second one in this call,
        or within `alignsolve.interrupts.AGAIN` seconds (2) in this and the next.
    Exception
        What `callback` raises; the solve ends, and its answer is lost.

    Notes
    -----
    "auto" tries `alignsolve.backends.portfolio.AUTO_ORDER` of the problem's class in turn: it
    passes over a backend that is missing, does not support the problem, or by its
    measured cost model does not fit the time limit; it goes on where one fails,
    gives up ("exchange" does where its method does not help) or finds nothing in
    time; and it ends with "greedy", which always answers where an answer is easy to
    find. Where a backend does not answer at once, because it takes long or has to
    compile first, "greedy" finds an answer before, where one is easy to find; it is kept
    through Ctrl-C, limits and failures. Backends of the mip class start from it, and
    nothing worse is returned.

    Solvers that cannot be cancelled (HiGHS, SCIP, minimum-cost flows) work in a process
    of their own where they are expected to take more than two seconds; it is killed when
    nobody waits for it any more. It needs no ``__main__`` guard, and works in daemonic
    workers, threads and notebooks. Answers do not depend on it.

    With `elastic`, a problem that has an answer is solved as usual. Else load
    bounds, ``min_experts``, ``group_min`` and fairness floors are relaxed: the answer
    has the least sum of violations, each times its price, of all assignments
    within the slots, ``group_max``, budgets and allowed pairs, and among those the
    best objective. `Result.relaxations` lists what was relaxed;
    `Result.relaxed_problem` is the problem with exactly these bounds moved to
    what the answer has, and status, certificate and prices are those of the
    answer there. In the flow class both steps are exact: the least violation
    is proved by integer prices of its own, and OPTIMAL then speaks for all
    assignments of least violation (``stats["fitness_bound"]`` bounds them where
    time ran out). In the mip class both are as good as the solver
    got in time: ``stats["violation"]`` is what the answer has and
    ``stats["violation_bound"]`` what is proved to be unavoidable, less what the
    solver's tolerance may hide: 25.999999999 can stand for 26. A budget below
    0 leaves even an elastic problem infeasible. A source of up to
    `SolveParams.elastic_pairs` pairs is read into memory.

    A `callback` is called while a backend works, and can stop it, where its
    capabilities say so (`Capabilities.callback`); else as a backend begins and at
    the end only, as with ``engine="ray"``. "lagrangian", "ortools-cpsat" and
    "ortools-mip" tell value and bound, "greedy" the value, "exchange", "scipy-milp"
    and "ortools-scip" the time alone until they end. Values are those of answers that
    were checked; while bounds are relaxed, for `elastic`, there is only the time.

    Ctrl-C ends the search where it next looks: within about 0.1 s in backends that call
    a `callback` or have a process; others are cut off where nothing is lost, or return first. Then
    follow what "greedy" finds in a moment, if nothing was found, and the certificate. What
    raises waits for imports and compilations. All this holds in the main thread, over
    Python's own handler of SIGINT: what another handler raises comes through.

    Examples
    --------
    >>> import alignsolve as al
    >>> result = al.solve(al.AlignmentProblem([[3, 1], [2, 2.5]], 1, load_max=1))
    >>> result.status.value, result.col_ind.tolist()
    ('optimal', [0, 1])

    Stop as soon as the answer is within 1% of the bound:

    >>> problem = al.AlignmentProblem([[3, 1], [2, 2.5]], 1, load_max=1)
    >>> result = al.solve(problem, callback=lambda state: state.gap <= 0.01)
    """
    if on_interrupt not in ("answer", "raise"):
        raise ProblemError(f"on_interrupt is {on_interrupt!r}; give 'answer' or 'raise'")
    started = time.perf_counter()
    with Call(on_interrupt) as call:
        limits, start = checked_limits(problem, started, time_limit, rel_gap, seed, threads,
                                       warm_start, callback, repeatable, call)
        with until(limits.deadline):
            result = solve_within(problem, limits, backend, elastic, engine)
    if start:
        if not takes_warm_start(result.backend):
            start["warm_start_used"] = 0
        result = dataclasses.replace(result, stats=dict(result.stats) | start)
    if call.noted:
        return dataclasses.replace(result, termination=Termination.INTERRUPTED)
    assert limits.report is not None
    ended = result.termination is Termination.INTERRUPTED and not limits.report.stop_asked
    if ended and on_interrupt == "raise":
        raise KeyboardInterrupt  # SCIP catches Ctrl-C itself
    return result


def solve_within(
    problem: AlignmentProblem,
    limits: Limits,
    backend: str = "auto",
    elastic: bool | Elastic = False,
    engine: EngineName | RayEngine = "local",
    params: SolveParams = DEFAULT_PARAMS,
) -> Result:
    """Solve a problem within limits that are checked; see `solve`."""
    if not isinstance(backend, str):
        raise ProblemError(f"backend is {backend!r}; give a name such as 'auto'")
    weights = checked_weights(problem, elastic)
    try:
        if engine != "local":
            if weights is not None:
                raise UnsupportedProblemError("elastic works in this process; use engine='local'")
            result = _Solve(problem, limits, params).on_ray(backend, engine)
        elif weights is None:
            result = _here(problem, limits, params, backend)
        else:
            result = _relaxed(problem, limits, params, backend, weights)
    except Exception:
        if limits.report is not None and limits.report.error is not None:
            raise limits.report.error from None
        raise
    logger.info("%s answered: %s (%s), gap %.3g, %.3g s", result.backend, result.status.value,
                result.termination.value, result.gap, result.stats["total_seconds"])
    for part in result.relaxations:
        logger.info("relaxed: %s", part.text)
    if limits.report is not None:
        limits.report.end(result.backend, result.objective_value, result.dual_bound, result.gap)
    return result


def _here(
    problem: AlignmentProblem, limits: Limits, params: SolveParams, backend: str
) -> Result:
    """Solve a problem in this process, such that its values' last digits count."""
    return solve_accurately(
        problem, limits, lambda changed: _Solve(changed, limits, params).here(backend)
    )


def _relaxed(
    problem: AlignmentProblem, limits: Limits, params: SolveParams, named: str,
    weights: ViolationWeights,
) -> Result:
    """Solve a problem, and relax its bounds where they cannot hold together."""
    in_memory = problem
    if problem.streamed:
        assert problem.source is not None
        pairs = problem.n_clients * problem.n_experts
        if pairs > params.elastic_pairs:
            raise UnsupportedProblemError(
                f"elastic reads a source into memory, and {pairs:,} pairs are more than "
                f"{params.elastic_pairs:,}; solve without elastic, or give an array"
            )
        in_memory = problem.replace(fitness=problem.source.in_memory())

    def plain(
        problem: AlignmentProblem, limits: Limits, backend: str | None = None
    ) -> Result:
        return _here(problem, limits, params, backend or named)

    result = solve_elastic(in_memory, weights, limits, plain)
    return dataclasses.replace(result, problem=problem)


@dataclass(frozen=True, eq=False)
class _Solve:
    """One problem to solve as it stands."""

    problem: AlignmentProblem
    limits: Limits
    params: SolveParams
    started: float = field(default_factory=time.perf_counter)

    def here(self, backend: str) -> Result:
        """Choose a backend, and let it solve in this process."""
        problem, limits = self.problem, self.limits
        chosen = None if backend == "auto" else self.params.auto.find(backend)
        if self._is_empty:
            return self._finish("none", _EMPTY)
        if chosen is None:
            if problem.streamed and problem.problem_class == "mip":
                raise UnsupportedProblemError(
                    f"no backend solves problems over a fitness source that are "
                    f"{problem.class_reason}; give an array"
                )
            return Auto(problem, limits, self.params.auto, self._finish).run()
        refusal = chosen.refusal(problem)
        if refusal is not None:
            raise UnsupportedProblemError(f"backend {backend!r} {refusal}; use backend='auto'")
        return self._finish(backend, run_backend(chosen, problem, limits))

    def on_ray(self, backend: str, engine: EngineName | RayEngine) -> Result:
        """Solve with the clients spread over workers."""
        problem, limits = self.problem, self.limits
        if engine == "ray":
            engine = RayEngine()
        if not isinstance(engine, RayEngine):
            raise ProblemError(f"engine is {engine!r}; give 'local', 'ray' or a RayEngine")
        refusal = self.params.auto.find("exchange").refusal(problem)
        if backend not in ("auto", "exchange") or refusal is not None:
            reason = refusal or f"and not {backend!r} runs on Ray"
            raise UnsupportedProblemError(f"backend 'exchange' {reason}; use engine='local'")
        if self._is_empty:
            return self._finish("none", _EMPTY)
        from alignsolve.distributed.engine import solve_on_ray  # it needs compiled kernels

        found = RayAnswer(Outcome.nothing(Termination.INTERRUPTED), None,
                          np.zeros(problem.n_experts, dtype=np.int64))
        if limits.report is None or not limits.report.begin("exchange", problem):
            alone = cuttable()(solve_on_ray)
            found = guarded("backend 'exchange' on Ray",
                            lambda: alone(problem, limits, engine), found)
        return self._finish("exchange", found.answer, proved=found)

    @property
    def _is_empty(self) -> bool:
        """Whether there is no client or no expert."""
        return self.problem.n_clients * self.problem.n_experts == 0

    @property
    def _is_noted(self) -> bool:
        """Whether Ctrl-C was pressed."""
        report = self.limits.report
        return report is not None and report.call is not None and report.call.noted

    def _finish(
        self, name: str, answer: Outcome, fallbacks: tuple[Fallback, ...] = (),
        proved: RayAnswer | None = None,
    ) -> Result:  # fmt: skip
        """Check and certify an answer, unless that is done, and make the result."""
        problem, checked = self.problem, time.perf_counter()
        termination, certificate = answer.termination, None
        deadline, late = self.limits.deadline, False
        rows = cols = load = np.empty(0, dtype=np.int64)
        if answer.row_ind is not None and answer.col_ind is not None:
            held = Assignment.of(problem, answer.row_ind, answer.col_ind)
            rows, cols, load = held.rows, held.cols, held.load
            if proved is None:
                # Nobody who pressed Ctrl-C waits until a proof is compiled, or sharpened.
                if termination is Termination.INTERRUPTED or self._is_noted:
                    deadline = min(deadline, checked + self.params.auto.interrupt_grace)
                    late = must_compile(problem)
                certificate = (
                    unproved(problem, rows, cols) if late
                    else certify_answer(problem, held, answer, deadline)
                )
        if proved is not None:
            certificate, load = proved.certificate, proved.load
        broken = certificate is not None and not certificate.feasible
        infeasible = answer.infeasible or (broken and self._is_empty)
        conflict = None
        if infeasible:
            conflict = conflict_behind(problem, self.limits, self.params, name, answer)
        now = time.perf_counter()
        seconds = {"certify_seconds": now - checked, "total_seconds": now - self.started}
        details: dict[str, Any] = {
            "backend": name, "fallbacks": fallbacks, "stats": dict(answer.stats) | seconds,
            "load_prices": {load: problem.sign * prices
                            for load, prices in answer.load_prices.items()},
        }
        if certificate is None or infeasible:
            status = Status.INFEASIBLE if infeasible else Status.NO_SOLUTION_FOUND
            return Result.unanswered(problem, status, termination, answer.bound,
                                     conflict=conflict, **details)
        if broken:
            raise BackendError(f"backend {name!r} broke a bound: "
                               f"{certificate.violations[0].message}")
        return Result.proved(problem, rows, cols, certificate, termination, loads=load, **details)


#: The answer where there is nothing to hold.
_EMPTY = Outcome(Termination.PROVED, np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64))
