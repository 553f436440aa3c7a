"""Find a conflict, and check one."""

from __future__ import annotations

import math

import numpy.typing as npt

from alignsolve.conflict.bounds import Conflict, ConflictCheck
from alignsolve.problem import AlignmentProblem


def find_conflict(
    problem: AlignmentProblem, deadline: float = math.inf, experts: npt.ArrayLike | None = None
) -> Conflict:
    """Return a conflict of an infeasible problem."""
    raise NotImplementedError


def check_conflict(problem: AlignmentProblem, conflict: Conflict) -> ConflictCheck:
    """Re-check a conflict."""
    raise NotImplementedError
