"""Find and check conflicts with the backends that are installed."""

from __future__ import annotations

import math

import numpy.typing as npt

from alignsolve import infeasibility
from alignsolve.backends.registry import solve_by
from alignsolve.infeasibility.conflict import Conflict, ConflictCheck
from alignsolve.interrupts import Call
from alignsolve.model.problem import AlignmentProblem
from alignsolve.status import Limits


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
