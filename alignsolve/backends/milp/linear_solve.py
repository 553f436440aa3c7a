"""The loop around any solver of linear models: solve, check exactly, cut, solve again.

Each round's model has every feasible answer of the problem, and an objective
that is at least the true one. So each round's bound holds, and "infeasible"
is a proof. A round's answer may break a bound by a solver's tolerance, which a
cut forbids, or have a penalty that the model underestimates, which a piece
corrects. The loop ends when neither happens, or time is up.
"""

from __future__ import annotations

import math
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

import numpy as np

from alignsolve.backends.incumbent import Incumbent
from alignsolve.backends.milp.exact_cuts import exact_cuts
from alignsolve.backends.milp.linear_model import LinearModel, build_linear_model, piece_rows
from alignsolve.backends.milp.penalty_pieces import PenaltyGroup, missing_pieces
from alignsolve.backends.milp.scaled_model import ScaledModel
from alignsolve.certificate.best_responses import best_responses
from alignsolve.errors import BackendError
from alignsolve.interruptible import wait_for
from alignsolve.model.arrays import Float64Array, row_blocks
from alignsolve.model.contradictions import contradictions
from alignsolve.model.problem import AlignmentProblem
from alignsolve.status import Limits, Outcome, Termination

#: Where answers have to be repeatable: pairs beyond which a linear program alone may take
#: minutes, and nodes of a search in one thread.
REPEATABLE_PAIRS, REPEATABLE_NODES = 8192, 1000

#: Pairs up to which it is quicker to let HiGHS try than to compile kernels.
SMALL_MODEL = 8192

Model = TypeVar("Model")
Scaled = TypeVar("Scaled", bound=ScaledModel)


@dataclass(frozen=True, eq=False)
class Task(Generic[Model]):
    """One round's work for a solver.

    Parameters
    ----------
    model : LinearModel or ScaledModel
        What to maximise.
    limits : Limits
        When to stop, and other options.
    hint : float64 array, shape (n_columns,), or None
        A point to start from, in the model's units.
    """

    model: Model
    limits: Limits
    hint: Float64Array | None = None

    @property
    def max_nodes(self) -> int | None:
        """Nodes at which to stop; None for no limit."""
        return REPEATABLE_NODES if self.limits.repeatable else None


@dataclass(frozen=True, eq=False)
class ModelOutcome:
    """What a solver made of a task.

    Attributes
    ----------
    points : sequence of float64 array, shape (n_columns,)
        Answers it found, the best one last.
    bound : float
        Upper bound on the model's objective, offset included; +inf for none.
    infeasible : bool
        Whether it proved that the model has no point.
    finished : bool
        Whether it closed its gap.
    interrupted : bool
        Whether it saw Ctrl-C itself.
    nodes : int
        Nodes or branches of its search; 0 where not known.
    """

    points: Sequence[Float64Array] = ()
    bound: float = math.inf
    infeasible: bool = False
    finished: bool = False
    interrupted: bool = False
    nodes: int = 0



class LinearSolver(ABC, Generic[Scaled]):
    """A library that solves linear models with whole columns, one at a time."""

    source: str

    def run(self, task: Task[LinearModel]) -> ModelOutcome | None:
        """Solve one model, in a thread of its own; None where it was stopped."""
        scaled = self._rescaled(task.model)
        if (scaled.row_lower > scaled.row_upper).any():
            return ModelOutcome(infeasible=True)
        if task.limits.remaining() <= 0:
            return ModelOutcome()
        hint = None if task.hint is None else scaled.scaled(task.hint)
        return self._solved(Task(scaled, task.limits, hint))

    @abstractmethod
    def _rescaled(self, model: LinearModel) -> Scaled:
        """Return the model in the units that suit the library."""

    @abstractmethod
    def _solved(self, task: Task[Scaled]) -> ModelOutcome | None:
        """Solve a scaled model and translate the result; None where it was stopped."""

    @abstractmethod
    def stop(self, interrupted: bool) -> bool:
        """Ask `run` to return early; tell whether it can, as some cannot.

        Called from another thread, after Ctrl-C or a stop by the caller, or else when
        time is over.
        """

    @abstractmethod
    def so_far(self, task: Task[LinearModel]) -> ModelOutcome:
        """Return what is known of a run that has not returned, from another thread."""


class _Search(Incumbent):
    """Best answer and bound so far; true objective values, max sense."""

    def __init__(self, problem: AlignmentProblem) -> None:
        super().__init__(problem)
        self.stats: dict[str, Any] = {"rounds": 0, "cuts": 0, "nodes": 0}


def solve_linear(problem: AlignmentProblem, limits: Limits, solver: LinearSolver[Any]) -> Outcome:
    """Solve a problem by its linear model.

    Parameters
    ----------
    problem : AlignmentProblem
        Any problem with at least one client and one expert.
    limits : Limits
        Limits and hints.
    solver : LinearSolver
        What solves each round.

    Returns
    -------
    Answer
        Feasible within the package's tolerance; `Outcome.bound` is the least
        bound of all rounds.
    """
    search = _Search(problem)
    if limits.warm_start is not None:
        search.offer(*limits.warm_start)
    if limits.repeatable and problem.fitness.size > REPEATABLE_PAIRS:
        return _answer(search, Termination.WORK_LIMIT, solver.source)
    return _answer(search, _rounds(search, limits, solver), solver.source)


def _rounds(search: _Search, limits: Limits, solver: LinearSolver[Any]) -> Termination:
    """Run rounds until nothing is left to correct, and tell what ended them."""
    started = time.perf_counter()
    model = build_linear_model(search.problem)
    search.stats["build_seconds"] = time.perf_counter() - started
    search.stats["solve_seconds"] = 0.0
    if _is_contradictory(search.problem, model):
        search.infeasible = search.pairs is None
        return Termination.PROVED
    if not model.n_columns:
        search.infeasible = not search.offer(model.clients, model.experts)
        search.bound = 0.0
        return Termination.PROVED
    while limits.remaining() > 0:
        began = time.perf_counter()
        outcome = _run(search, solver, _task(search, model, limits))
        search.stats["solve_seconds"] += time.perf_counter() - began
        search.stats["rounds"] += 1
        search.stats["nodes"] += outcome.nodes
        if outcome.infeasible:
            # An answer in hand refutes the claim, which then proves nothing.
            search.infeasible = search.pairs is None
            return Termination.PROVED if search.infeasible else Termination.FAILED
        search.bound = min(search.bound, outcome.bound)
        corrected = model
        for point in outcome.points:
            corrected = _corrected(search, corrected, point)
        if outcome.interrupted:
            return Termination.INTERRUPTED
        # Without an answer the gap is infinite, whatever share of infinity may stay open.
        gap = search.bound - search.value
        if search.pairs is not None and gap <= limits.rel_gap * abs(search.value):
            return Termination.GAP_REACHED if limits.rel_gap > 0 else Termination.PROVED
        if not outcome.finished:
            return Termination.WORK_LIMIT if limits.repeatable else Termination.TIME_LIMIT
        if corrected is model:
            if search.pairs is None:
                raise BackendError(f"{solver.source} broke a bound on a number of pairs")
            return Termination.PROVED
        model = corrected
    return Termination.TIME_LIMIT


def _is_contradictory(problem: AlignmentProblem, model: LinearModel) -> bool:
    """Tell from the bounds alone whether they contradict each other, given the model's pairs."""
    by_client = np.bincount(model.clients, minlength=problem.n_clients)
    by_expert = np.bincount(model.experts, minlength=problem.n_experts)
    found = any(True for _ in contradictions(problem, by_client, by_expert))
    # Solvers take no infinite bounds from below.
    return found or bool((model.row_lower == np.inf).any())


def _task(search: _Search, model: LinearModel, limits: Limits) -> Task[LinearModel]:
    """Return the next round's work; a share of the time is kept for what follows it."""
    hint = None if search.pairs is None else model.point(search.problem, *search.pairs)
    deadline = limits.deadline
    if math.isfinite(deadline):
        deadline -= min(0.05, 0.05 * limits.remaining())
    threads = 1 if limits.repeatable else limits.threads
    return Task(model, replace(limits, deadline=deadline, threads=threads), hint)


def _run(search: _Search, solver: LinearSolver[Any], task: Task[LinearModel]) -> ModelOutcome:
    """Let a solver work in a thread; leave it behind if it overruns its limit by much."""
    deadline, report = task.limits.deadline, task.limits.report
    deadline += 0.05 + 0.02 * task.limits.remaining()

    def poll() -> bool:
        if report is None or report.callback is None:
            return report is not None and report.stopped
        outcome = solver.so_far(task)
        for point in outcome.points[-1:]:
            search.offer(*task.model.pairs(point))
        return report(search.value, min(search.bound, outcome.bound))

    waited = wait_for(lambda: solver.run(task), deadline, solver.stop,
                      None if report is None else poll)
    outcome = solver.so_far(task) if waited.value is None else waited.value
    return replace(outcome, interrupted=outcome.interrupted or waited.interrupted)


def _corrected(search: _Search, model: LinearModel, values: Float64Array) -> LinearModel:
    """Take up an answer, and return the model with what it got wrong put right."""
    problem = search.problem
    rows, cols = model.pairs(values)
    if not search.offer(rows, cols):
        cuts = exact_cuts(problem, model, rows, cols)
        if cuts is not None:
            search.stats["cuts"] += cuts.keys.size
            model = model.with_rows(cuts)
    scale = float(np.abs(model.objective[: model.n_pairs]).max(initial=0.0))
    for group in model.penalties:
        loads = group.loads(problem, rows, cols)
        pieces = missing_pieces(group, loads, modelled_penalties(model, group, loads), scale)
        if pieces is not None:
            block = piece_rows(group, pieces, model.n_columns)
            search.stats["cuts"] += block.keys.size
            model = model.with_rows(block)
    return model


def modelled_penalties(
    model: LinearModel, group: PenaltyGroup, loads: Float64Array
) -> Float64Array:
    """Return what a model's pieces make of a group's penalties at some loads, float64 (k,)."""
    least = model.lower[group.penalty_columns].copy()
    for block in model.blocks:
        if (block.kind, block.name) == ("penalty", group.name):
            # Each row is "penalty - gradient * load >= value at load 0".
            implied = block.lower - block.matrix[:, group.load_columns] @ loads
            np.maximum.at(least, block.matrix[:, group.penalty_columns].indices, implied)
    return least


def simple_bound(problem: AlignmentProblem) -> float:
    """Return the sum of the clients' best responses without any price (max sense).

    A bound that costs one pass over the matrix, for when a solver has none.
    """
    total = 0.0
    for rows in row_blocks(problem.n_clients, problem.n_experts):
        values = problem.values(rows)
        chosen, possible = best_responses(problem, rows, values)
        if not possible.all():
            return math.inf
        total += float(values[chosen].sum())
    return total


def _answer(search: _Search, termination: Termination, source: str) -> Outcome:
    """Return what the search found."""
    if search.infeasible:
        return Outcome.proved_infeasible(source=source, stats=search.stats)
    bound, value = search.bound, search.value
    rows, cols = (None, None) if search.pairs is None else search.pairs
    # A bound below a feasible answer is wrong: by rounding, or altogether.
    wrong = bound < value - 1e-6 * max(1.0, abs(value))
    if wrong:
        termination = Termination.FAILED
    if wrong or not math.isfinite(bound):
        bound, source = simple_bound(search.problem), "best responses without prices"
    return Outcome(
        termination, rows, cols, bound=max(bound, value), source=source, stats=search.stats
    )
