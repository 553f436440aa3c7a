"""Find and check conflicts with the backends that are installed."""

from __future__ import annotations

import dataclasses
import logging
import math
import time

import numpy.typing as npt

from alignsolve import infeasibility
from alignsolve.backends.registry import solve_by
from alignsolve.errors import BackendError, ProblemError, guarded
from alignsolve.infeasibility.conflict import Conflict, ConflictCheck
from alignsolve.interrupts import Call
from alignsolve.model.problem import AlignmentProblem
from alignsolve.progress import Reporter
from alignsolve.solve.params import SolveParams
from alignsolve.status import Limits, Outcome

logger = logging.getLogger(__name__)


def find_conflict(
    problem: AlignmentProblem,
    limits: Limits | None = None,
    experts: npt.ArrayLike | None = None,
) -> Conflict:
    """Return a small set of bounds that cannot hold together.

    See `alignsolve.infeasibility.find_conflict`.

    Examples
    --------
    >>> import numpy as np, alignsolve as al
    >>> problem = al.AlignmentProblem(np.zeros((5, 2)), 1, load_min=3)
    >>> find_conflict(problem).text
    'experts 0 and 1 need at least 6 client slots; only 5 clients may hold them, given \
max_experts of clients 0, 1, 2, 3 and 4'
    """
    return infeasibility.find_conflict(problem, solve_by, limits or Limits(), experts)


def conflict_behind(
    problem: AlignmentProblem, limits: Limits, params: SolveParams, name: str, answer: Outcome
) -> Conflict | None:
    """Return why there is no answer, as a backend says, or raise where there is one after all.

    None for sources of too many pairs, and where the search fails, or Ctrl-C ends it
    before it has found anything: the claim stands.

    Raises
    ------
    BackendError
        If the problem has an answer.
    """
    pairs, ask = problem.n_clients * problem.n_experts, limits.report
    too_large = problem.streamed and pairs > params.conflict_pairs
    if not limits.with_conflict or too_large or (ask is not None and ask.stopped):
        return None
    deadline = limits.deadline
    if problem.problem_class == "mip" and not limits.repeatable:
        deadline = min(deadline, time.perf_counter() + params.conflict_seconds)
    # The questions asked have values of their own, which are not the caller's.
    report = None if ask is None else Reporter(
        problem, lambda _: ask(-math.inf, math.inf), time.perf_counter()
    )  # fmt: skip
    # Yes or no does not depend on the machine's speed: a limit on work would only lose answers.
    limits = dataclasses.replace(
        limits, deadline=deadline, warm_start=None, report=report, repeatable=False
    )
    try:
        return guarded("the search for a conflict",
                       lambda: find_conflict(problem, limits, answer.conflict_experts), None)
    except ProblemError as error:
        raise BackendError(
            f"backend {name!r} called the problem infeasible, and it is not: {error}"
        ) from error
    except BackendError as error:
        logger.warning("no conflict is named: %s", error)
        return None


def check_conflict(
    problem: AlignmentProblem, conflict: Conflict, deadline: float = math.inf
) -> ConflictCheck:
    """Re-check a conflict from its bounds alone, however it was found.

    Parameters
    ----------
    problem : AlignmentProblem
        The problem.
    conflict : Conflict
        Only its `bounds` are looked at.
    deadline : float
        Value of ``time.perf_counter()`` at which a check of the mip class ends;
        what it did not show by then is False.

    Returns
    -------
    ConflictCheck
        What was shown.

    Raises
    ------
    ProblemError
        If a listed bound is not one of the problem.

    Notes
    -----
    Bounds of the flow class are checked by maximum flows, one per bound; others
    by exact backends. Forbidden pairs are in force, other bounds are not.

    Examples
    --------
    >>> import numpy as np
    >>> import alignsolve as al
    >>> problem = al.AlignmentProblem(np.zeros((5, 2)), max_experts=1, load_min=3)
    >>> al.check_conflict(problem, al.solve(problem).conflict)
    ConflictCheck(contradictory=True, irreducible=True)
    """
    with Call():
        return infeasibility.check_conflict(problem, conflict, solve_by, Limits(deadline=deadline))
