"""Solve problems of large offsets by ones without, and improve answers that lack a little."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np

from alignsolve.certificate.certificate import Certificate, certify_answer
from alignsolve.certificate.numbers import is_small
from alignsolve.certificate.polish import polish
from alignsolve.certificate.row_pass import refuse_changed
from alignsolve.errors import BackendError
from alignsolve.model.feasibility import Assignment
from alignsolve.model.offsets import SAMPLE, Relative, has_large_offsets, without_offsets
from alignsolve.model.problem import AlignmentProblem
from alignsolve.result import Result
from alignsolve.status import Limits, Outcome, Status, Termination

#: What a backend's rounding lost is won back up to this many times ``n_pairs * n_experts``, and
#: where it lost no more than this share of the objective, or of the largest value.
POLISHED_ENTRIES = 1 << 22
POLISHED_GAP = 1e-6


def solve_accurately(
    problem: AlignmentProblem, limits: Limits, solve_as_given: Callable[[AlignmentProblem], Result]
) -> Result:
    """Solve a problem such that neither offsets nor a backend's rounding cost the best answer.

    Parameters
    ----------
    problem : AlignmentProblem
        The problem.
    limits : Limits
        Its deadline.
    solve_as_given : callable
        Solves, and certifies, a problem as it stands.

    Notes
    -----
    Offsets are looked for in a few clients first, and in all where the answer could not be
    proved. An answer of the flow class that a backend called best and the certificate did not is
    improved by exchanges.
    """
    try:
        result = _solved(problem, limits, solve_as_given)
    except BackendError:
        refuse_changed(problem)
        raise
    if not result.has_answer:
        refuse_changed(problem)
    return _polished(result, limits)


def _solved(
    problem: AlignmentProblem, limits: Limits, solve_as_given: Callable[[AlignmentProblem], Result]
) -> Result:
    """Solve a problem as it stands, or one without its offsets."""
    looked_at_all = problem.problem_class == "mip"
    relative = None
    if has_large_offsets(problem, None if looked_at_all else slice(0, SAMPLE)):
        relative = without_offsets(problem)
    if relative is None:
        result = solve_as_given(problem)
        if not (_lacks_little(result) and has_large_offsets(problem)):
            return result
        relative = None if looked_at_all else without_offsets(problem)
        if relative is None:
            return result
    return _lifted(problem, relative, solve_as_given(relative.problem), limits)


def _lacks_little(result: Result) -> bool:
    """Tell whether a backend called an answer best, and the certificate did not."""
    return (
        result.status is Status.FEASIBLE
        and result.termination in (Termination.HEURISTIC_DONE, Termination.FAILED)
        and result.backend != "greedy"
    )


def _lifted(
    problem: AlignmentProblem, relative: Relative, found: Result, limits: Limits
) -> Result:
    """Return the result of a problem without offsets as one of the problem itself."""
    loads = {name: problem.sign * part for name, part in found.load_prices.items()}
    found = dataclasses.replace(found, problem=problem, load_prices=loads)
    if found.certificate is None:
        bound = found.dual_bound if found.status is Status.INFEASIBLE else problem.sign * np.inf
        return dataclasses.replace(found, dual_bound=bound)
    rows, cols = found.row_ind, found.col_ind
    if problem.problem_class == "flow":
        prices = None if found.prices is None else problem.sign * found.prices
        held = Assignment.of(problem, rows, cols)
        claimed = Outcome(found.termination, rows, cols, prices=prices)
        certificate = certify_answer(problem, held, claimed, limits.deadline)
    else:
        objective = problem.objective(rows, cols)
        gap_abs = relative.gap_of(found.gap_abs)
        certificate = dataclasses.replace(
            found.certificate, objective_value=objective, gap_abs=gap_abs,
            dual_bound=objective + problem.sign * gap_abs,
            gap=gap_abs / max(1.0, abs(objective)),
            optimal=found.certificate.optimal and gap_abs < np.inf,
        )
    return _recertified(found, certificate)


def _recertified(result: Result, certificate: Certificate) -> Result:
    """Return a result with another certificate of the same answer."""
    return Result.proved(
        result.problem, result.row_ind, result.col_ind, certificate, result.termination,
        loads=result.loads, load_prices=result.load_prices, backend=result.backend,
        fallbacks=result.fallbacks, stats=result.stats,
    )


def _polished(result: Result, limits: Limits) -> Result:
    """Return a result whose answer was improved by exchanges, where it lacks a little."""
    problem = result.problem
    if problem.problem_class == "mip" or not result.has_answer or result.gap_abs == 0:
        return result
    entries = result.row_ind.size * problem.n_experts
    limit = POLISHED_GAP * max(abs(result.objective_value), problem.largest)
    lacks = _lacks_little(result) or (result.status is Status.OPTIMAL and is_small(problem))
    if not lacks or entries > POLISHED_ENTRIES or result.gap_abs > limit:
        return result
    better = polish(problem, result.row_ind, result.col_ind, 0.0, limits.deadline)
    assert better.row_ind is not None and better.col_ind is not None
    held = Assignment.of(problem, better.row_ind, better.col_ind)
    certificate = certify_answer(problem, held, better, limits.deadline)
    stats = dict(result.stats) | dict(better.stats)
    changed = dataclasses.replace(
        result, row_ind=held.rows, col_ind=held.cols, loads=held.load, stats=stats
    )
    return _recertified(changed, certificate)
