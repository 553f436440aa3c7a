"""Solve a problem whose bounds give way where they cannot hold together."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np

from alignsolve.arrays import IntArray
from alignsolve.backends.base import Answer, Options
from alignsolve.certificate import Certificate, certify_answer, unproved
from alignsolve.elastic.flow import LeastViolation, least_violation
from alignsolve.elastic.prices import Prices
from alignsolve.elastic.relaxation import (
    Shortfall,
    of_flow_class,
    priced,
    relaxations,
    relaxed,
    shortfalls,
    without_bounds,
)
from alignsolve.feasibility import is_feasible, sorted_pairs
from alignsolve.problem import AlignmentProblem
from alignsolve.result import Result, Status, Termination

#: Share of a time limit after which the problem as it stands is given up.
PLAIN_SHARE = {"flow": 0.7, "mip": 0.4}

#: Seconds that an answer may take after time is up, or after Ctrl-C.
GRACE = 0.3

Pairs = tuple[IntArray, IntArray]


class Plain(Protocol):
    """Solves a problem as it stands."""

    def __call__(
        self, problem: AlignmentProblem, options: Options, backend: str | None = None
    ) -> Result:
        """Return the result, by another backend than the caller's where one is named."""


def solve_elastic(
    problem: AlignmentProblem, prices: Prices, options: Options, plain: Plain
) -> Result:
    """Solve a problem; where its bounds cannot hold together, let the cheapest give way.

    Parameters
    ----------
    problem : AlignmentProblem
        The problem.
    prices : Prices
        What violation costs.
    options : Options
        Limits and hints.
    plain : Plain
        Solves problems as they stand.

    Returns
    -------
    Result
        That of the problem as it stands where it has an answer. Else an answer
        certified for `Result.relaxed_problem`.
    """
    if _is_hopeless(problem):
        return plain(problem, options)
    started = time.perf_counter()
    least = None
    if problem.problem_class == "mip" and problem.fitness.size:
        # Cheap, and where it shows that bounds must give way, it saves the search for a proof.
        least = _unavoidable(problem, prices, options)
    first = None
    if least is None:
        early = dataclasses.replace(
            options, with_conflict=False, deadline=_early(problem, options)
        )
        first = plain(problem, early)
        if first.has_answer:
            return first
    try:
        if first is not None and first.termination is Termination.INTERRUPTED:
            raise KeyboardInterrupt
        result = _relaxed_result(problem, prices, options, plain, least)
    except KeyboardInterrupt:
        result = _quick_result(problem, prices, options, plain, Termination.INTERRUPTED)
    if first is not None:
        result = dataclasses.replace(result, fallbacks=first.fallbacks + result.fallbacks)
        if first.status is Status.NO_SOLUTION_FOUND:
            # Whether anything had to give way is not known.
            result = _with_stats(result, violation_bound=0.0)
    return _with_stats(result, total_seconds=time.perf_counter() - started)


def _early(problem: AlignmentProblem, options: Options) -> float:
    """Return when to give up the problem as it stands."""
    if math.isinf(options.deadline):
        return options.deadline
    return time.perf_counter() + PLAIN_SHARE[problem.problem_class] * options.remaining()


def _is_hopeless(problem: AlignmentProblem) -> bool:
    """Tell whether bounds that never give way contradict each other.

    Holding nothing keeps them all, but for a negative budget.
    """
    empty = np.empty(0, dtype=np.int64)
    return bool(unproved(without_bounds(problem), empty, empty).violations)


def _unavoidable(
    problem: AlignmentProblem, prices: Prices, options: Options
) -> LeastViolation | None:
    """Return the least violation of slots, groups and holders where they alone contradict."""
    least = least_violation(problem, prices, options.deadline)
    if least is None:
        return None
    return least if priced(shortfalls(of_flow_class(problem), prices, *least.pairs)) > 0 else None


def _relaxed_result(
    problem: AlignmentProblem, prices: Prices, options: Options, plain: Plain,
    least: LeastViolation | None,
) -> Result:
    """Return the best answer among those that violate least, as far as time allows."""
    if not problem.fitness.size:
        return _by_pairs(problem, prices, options, plain)
    limits, is_mip = options, problem.problem_class == "mip"
    if is_mip:
        limits = dataclasses.replace(options, deadline=_early(problem, options))
    elif least is None:
        least = least_violation(problem, prices, options.deadline)
    result = None if least is None else _by_least(problem, prices, limits, plain, least)
    if result is None and is_mip:
        from alignsolve.elastic.mip import least_violating_answer  # SciPy is slow to import

        found = least_violating_answer(problem, prices, options)
        if found is not None:
            result = _by_pairs(problem, prices, options, plain, found.pairs)
            result = _with_stats(result, violation_bound=found.violation_bound)
    return result or _quick_result(problem, prices, options, plain, Termination.TIME_LIMIT)


def _by_least(
    problem: AlignmentProblem, prices: Prices, options: Options, plain: Plain,
    least: LeastViolation,
) -> Result | None:
    """Return the answer of best fitness among all of least violation.

    Where bounds beyond the flow class cannot hold as well, there is none; or
    none was found.
    """
    options = dataclasses.replace(options, with_conflict=False, warm_start=None)
    inner = plain(least.problem, options)
    pairs = least.pairs
    if inner.has_answer:
        pairs = least.complete(inner.row_ind, inner.col_ind)
    rows, cols = sorted_pairs(problem, *pairs)
    parts = shortfalls(problem, prices, rows, cols)
    loosened = relaxed(problem, parts)
    if problem.problem_class == "mip" and not (
        inner.has_answer and is_feasible(loosened, rows, cols)
    ):
        return None
    # What all assignments of least violation have in common adds to value and bound alike.
    best = problem.objective(rows, cols) + problem.sign * inner.gap_abs
    source = "" if inner.certificate is None else inner.certificate.source
    answer = Answer(inner.termination, rows, cols, bound=problem.sign * best, source=source)
    certificate = certify_answer(loosened, rows, cols, answer, options.deadline)
    result = _with_certificate(inner, certificate, rows, cols)
    violation = priced(parts)
    return _with_stats(
        _labelled(problem, result, parts, loosened, violation),
        violation_bound=violation,
        fitness_bound=best,
        violation_rounds=least.rounds,
    )


def _with_certificate(
    result: Result, certificate: Certificate, rows: IntArray, cols: IntArray
) -> Result:
    """Return a result with another answer and its certificate."""
    return dataclasses.replace(
        result,
        status=Status.OPTIMAL if certificate.optimal else Status.FEASIBLE,
        row_ind=rows,
        col_ind=cols,
        objective_value=certificate.objective_value,
        dual_bound=certificate.dual_bound,
        gap_abs=certificate.gap_abs,
        gap=certificate.gap,
        loads=np.bincount(cols, minlength=result.problem.n_experts),
        prices=certificate.prices,
        certificate=certificate,
        conflict=None,
    )


def _by_pairs(
    problem: AlignmentProblem, prices: Prices, options: Options, plain: Plain,
    pairs: Pairs | None = None, backend: str | None = None,
) -> Result:
    """Return the result of the problem whose bounds some pairs have loosened."""
    if pairs is None:
        pairs = np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64)
    loosened = relaxed(problem, shortfalls(problem, prices, *pairs))
    options = dataclasses.replace(options, with_conflict=False, warm_start=pairs)
    result = plain(loosened, options, backend)
    if not result.has_answer:
        rows, cols = sorted_pairs(problem, *pairs)
        result = _with_certificate(result, unproved(loosened, rows, cols), rows, cols)
    # The answer may violate less than the pairs; it is optimal among fewer answers, too, then.
    parts = shortfalls(problem, prices, result.row_ind, result.col_ind)
    return _labelled(problem, result, parts, relaxed(problem, parts), priced(parts))


def _quick_result(
    problem: AlignmentProblem, prices: Prices, options: Options, plain: Plain,
    termination: Termination,
) -> Result:
    """Return some answer soon: upper bounds of loads kept, lower bounds given up."""
    soon = dataclasses.replace(
        options, deadline=time.perf_counter() + GRACE, with_conflict=False, warm_start=None
    )
    result = plain(without_bounds(problem, keep_load_max=True), soon, "greedy")
    pairs = (result.row_ind, result.col_ind) if result.has_answer else None
    soon = dataclasses.replace(soon, deadline=time.perf_counter() + GRACE)
    result = _by_pairs(problem, prices, soon, plain, pairs, "greedy")
    if result.status is not Status.OPTIMAL:
        result = dataclasses.replace(result, termination=termination)
    return _with_stats(result, violation_bound=0.0)


def _labelled(
    problem: AlignmentProblem, result: Result, parts: list[Shortfall],
    loosened: AlignmentProblem, violation: float,
) -> Result:
    """Return a result of the relaxed problem as one of the stated problem."""
    result = dataclasses.replace(
        result,
        problem=problem,
        relaxations=relaxations(problem, parts),
        relaxed_problem=loosened if parts else None,
    )
    return _with_stats(result, violation=violation)


def _with_stats(result: Result, **stats: Any) -> Result:
    known: Mapping[str, Any] = dict(result.stats)
    return dataclasses.replace(result, stats=dict(known) | stats)
