"""Solve a problem whose bounds are relaxed where they cannot hold together."""

from __future__ import annotations

import dataclasses
import time
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from alignsolve.certificate.certificate import Certificate, certify_answer, unproved
from alignsolve.elastic.flow import LeastViolation, least_violation
from alignsolve.elastic.shortfalls import of_flow_class, priced, shortfalls, without_bounds
from alignsolve.elastic.violation_weights import ViolationWeights
from alignsolve.errors import UnsupportedProblemError
from alignsolve.interrupts import Interrupted
from alignsolve.model.arrays import IntArray
from alignsolve.model.feasibility import Assignment, is_feasible, sorted_pairs
from alignsolve.model.problem import AlignmentProblem
from alignsolve.relaxation import Shortfall, relaxations, relaxed
from alignsolve.result import Result
from alignsolve.status import Limits, Outcome, Status, Termination

#: Share of a time limit after which the problem as it stands is given up.
PLAIN_SHARE = {"flow": 0.7, "mip": 0.4}

#: Seconds that an answer may take after time is up, or after Ctrl-C.
GRACE = 0.3

Pairs = tuple[IntArray, IntArray]

#: The assignment of nothing.
NOTHING: Pairs = (np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64))


class Plain(Protocol):
    """Solves a problem as it stands."""

    def __call__(
        self, problem: AlignmentProblem, limits: Limits, backend: str | None = None
    ) -> Result:
        """Return the result, by another backend than the caller's where one is named."""


def solve_elastic(
    problem: AlignmentProblem, weights: ViolationWeights, limits: Limits, plain: Plain
) -> Result:
    """Solve a problem; where its bounds cannot hold together, relax the cheapest.

    Parameters
    ----------
    problem : AlignmentProblem
        The problem.
    weights : ViolationWeights
        What violation costs.
    limits : Limits
        Limits and hints.
    plain : Plain
        Solves problems as they stand.

    Returns
    -------
    Result
        That of the problem as it stands where it has an answer. Else an answer
        certified for `Result.relaxed_problem`.
    """
    if problem.integers is not None:
        # They are known relative to each client's best one, which counts where pairs are lost.
        result = plain(problem, limits)
        if result.status is Status.INFEASIBLE:
            raise UnsupportedProblemError(
                "elastic may leave clients with fewer experts, where whole numbers beyond 2**53 "
                "matter as they are; take a common amount off all values"
            )
        return result
    if _is_hopeless(problem):
        return plain(problem, limits)
    started = time.perf_counter()
    limits = dataclasses.replace(limits, with_conflict=False)
    work = _Work(problem, weights, limits, plain)
    first = None
    try:
        least = work.unavoidable()
        if least is None:
            first = plain(problem, _early(problem, limits))
            if first.has_answer:
                return first
            if first.termination is Termination.INTERRUPTED:
                raise Interrupted
        result = work.relaxed_result(least)
    except Interrupted:
        result = work.quick_result(Termination.INTERRUPTED)
    if first is not None:
        result = dataclasses.replace(result, fallbacks=first.fallbacks + result.fallbacks)
        if first.status is Status.NO_SOLUTION_FOUND:
            # Whether anything had to be relaxed is not known.
            result = _with_stats(result, violation_bound=0.0)
    return _with_stats(result, total_seconds=time.perf_counter() - started)


def _early(problem: AlignmentProblem, limits: Limits) -> Limits:
    """Return the limits with the time for the problem as it stands."""
    share = PLAIN_SHARE[problem.problem_class] * limits.remaining()
    return dataclasses.replace(limits, deadline=time.perf_counter() + share)


def _is_hopeless(problem: AlignmentProblem) -> bool:
    """Tell whether bounds that are never relaxed contradict each other.

    Holding nothing keeps them all, but for a negative budget.
    """
    return bool(unproved(without_bounds(problem), *NOTHING).violations)


@dataclass(eq=False)
class _Work:
    """A problem whose bounds may have to be relaxed, and what is asked of its answer."""

    problem: AlignmentProblem
    weights: ViolationWeights
    limits: Limits
    plain: Plain
    #: Priced violation that is known to be unavoidable.
    bound: float = 0.0
    #: For the mip class, the least violation of slots, groups and holders alone.
    least: LeastViolation | None = None
    #: Whether the caller ended a solve on the way.
    interrupted: bool = False

    def unavoidable(self) -> LeastViolation | None:
        """Return the least violation where slots, groups and holders alone contradict.

        For the mip class only: there it is cheap beside what follows.
        """
        problem, weights = self.problem, self.weights
        if problem.problem_class == "flow" or not problem.fitness.size:
            return None
        self.least = least_violation(problem, weights, self.limits.deadline)
        if self.least is not None:
            self.bound = priced(shortfalls(of_flow_class(problem), weights, *self.least.pairs))
        return self.least if self.bound > 0 else None

    def relaxed_result(self, least: LeastViolation | None) -> Result:
        """Return the best answer among those that violate least, as far as time allows."""
        problem, limits = self.problem, self.limits
        if not problem.fitness.size:
            return self._by_pairs(NOTHING, limits)
        if problem.problem_class == "mip":
            return self._relaxed_mip(least)
        least = least_violation(problem, self.weights, limits.deadline)
        result = None if least is None else self._by_least(least, limits)
        return result or self.quick_result(Termination.TIME_LIMIT)

    def _relaxed_mip(self, least: LeastViolation | None) -> Result:
        """Return the answer of least violation that was found."""
        from alignsolve.elastic.mip import least_violating_answer  # SciPy is slow to import

        problem, weights, limits = self.problem, self.weights, self.limits
        if least is not None:
            result = self._by_least(least, _early(problem, limits))
            if result is not None:
                return result
            if self.interrupted:
                raise Interrupted
        soon = time.perf_counter() + GRACE
        pairs = self._start(max(_early(problem, limits).deadline, soon))
        if self.interrupted:
            raise Interrupted
        missed = priced(shortfalls(problem, weights, *pairs))
        found = least_violating_answer(problem, weights, limits)
        if found is not None:
            better, bound = found
            self.bound = max(self.bound, bound)
            if priced(shortfalls(problem, weights, *better)) <= missed:
                pairs = better
        return self._by_pairs(pairs, limits)

    def _by_least(self, least: LeastViolation, limits: Limits) -> Result | None:
        """Return the answer of best fitness among all of least violation.

        Where bounds beyond the flow class cannot hold as well, there is none;
        or none was found.
        """
        problem = self.problem
        inner, pairs = self._among(least, least.problem, limits)
        held = Assignment.of(problem, *pairs)
        rows, cols = held.rows, held.cols
        parts = shortfalls(problem, self.weights, rows, cols)
        loosened = relaxed(problem, parts)
        if problem.problem_class == "mip" and not (
            inner.has_answer and is_feasible(loosened, rows, cols)
        ):
            return None
        # What all assignments of least violation have in common adds to value and bound alike.
        best = problem.objective(rows, cols) + problem.sign * inner.gap_abs
        source = "" if inner.certificate is None else inner.certificate.source
        answer = Outcome(inner.termination, rows, cols, bound=problem.sign * best, source=source)
        certificate = certify_answer(loosened, held, answer, limits.deadline)
        self.bound = priced(parts)
        result = self._labelled(_with_pairs(inner, held, certificate), parts, loosened)
        return _with_stats(result, fitness_bound=best, violation_rounds=least.rounds)

    def _among(
        self, least: LeastViolation, problem: AlignmentProblem, limits: Limits,
        backend: str | None = None,
    ) -> tuple[Result, Pairs]:
        """Return the result of a problem of `least`, and the pairs that it stands for."""
        limits = dataclasses.replace(limits, warm_start=None)
        inner = self.plain(problem, limits, backend)
        self.interrupted |= inner.termination is Termination.INTERRUPTED
        if not inner.has_answer:
            return inner, least.pairs
        return inner, least.complete(inner.row_ind, inner.col_ind)

    def _by_pairs(self, pairs: Pairs, limits: Limits, backend: str | None = None) -> Result:
        """Return the result of the problem whose bounds some pairs have loosened."""
        problem, weights = self.problem, self.weights
        loosened = relaxed(problem, shortfalls(problem, weights, *pairs))
        limits = dataclasses.replace(limits, warm_start=pairs)
        result = self.plain(loosened, limits, backend)
        if not result.has_answer:
            held = Assignment.of(problem, *pairs)
            result = _with_pairs(result, held, unproved(loosened, held.rows, held.cols))
        # The answer may violate less than the pairs: it is optimal among fewer answers, too, then.
        parts = shortfalls(problem, weights, result.row_ind, result.col_ind)
        return self._labelled(result, parts, relaxed(problem, parts))

    def _labelled(
        self, result: Result, parts: list[Shortfall], loosened: AlignmentProblem
    ) -> Result:
        """Return a result of the relaxed problem as one of the stated problem."""
        violation = priced(parts)
        result = dataclasses.replace(
            result,
            problem=self.problem,
            relaxations=relaxations(self.problem, parts),
            relaxed_problem=loosened if parts else None,
        )
        # Both are sums of floats: rounding must not put the bound above the value.
        return _with_stats(result, violation=violation, violation_bound=min(violation, self.bound))

    def quick_result(self, termination: Termination) -> Result:
        """Return some answer soon."""
        pairs = self._start(time.perf_counter() + GRACE)
        soon = dataclasses.replace(self.limits, deadline=time.perf_counter() + GRACE, report=None)
        result = self._by_pairs(pairs, soon, "greedy")
        if result.status is Status.OPTIMAL:
            return result
        return dataclasses.replace(result, termination=termination)

    def _start(self, deadline: float) -> Pairs:
        """Return an assignment within the bounds that are never relaxed, without a search for it.

        For the flow class it keeps the upper bounds of loads. For the mip class
        it is the best of least violation as far as the flow class goes, cut to
        the budgets and improved by small moves.
        """
        problem = self.problem
        limits = dataclasses.replace(self.limits, deadline=deadline, warm_start=None, report=None)
        if problem.problem_class == "flow":
            result = self.plain(without_bounds(problem, keep_load_max=True), limits)
            return result.row_ind, result.col_ind
        from alignsolve.elastic.descent import descended, within_budgets  # for this alone

        pairs = NOTHING
        if self.least is not None:
            _, pairs = self._among(self.least, of_flow_class(self.least.problem), limits, "auto")
        pairs = within_budgets(problem, *sorted_pairs(problem, *pairs))
        return descended(problem, self.weights, *pairs, deadline)


def _with_pairs(result: Result, held: Assignment, proof: Certificate) -> Result:
    """Return a result with another answer, to the same problem or one like it."""
    return Result.proved(
        result.problem, held.rows, held.cols, proof, result.termination, loads=held.load,
        backend=result.backend, fallbacks=result.fallbacks, stats=result.stats,
    )  # fmt: skip


def _with_stats(result: Result, **stats: Any) -> Result:
    return dataclasses.replace(result, stats=dict(result.stats) | stats)
