"""Errors raised by alignsolve; every message says what would be right."""

from __future__ import annotations


class AlignSolveError(Exception):
    """Base class of every error that alignsolve raises on purpose."""


class ProblemError(AlignSolveError, ValueError):
    """A problem, an instance file or an argument is malformed.

    Contradictory but well-formed bounds are not an error: they make the
    problem infeasible, which `alignsolve.solve` reports as a status.
    """


class BackendNotFoundError(AlignSolveError, LookupError):
    """A backend does not exist or its library is not installed."""


class UnsupportedProblemError(AlignSolveError):
    """A backend does not declare a feature that the problem uses."""


class BackendError(AlignSolveError, RuntimeError):
    """A backend failed or gave an answer that does not hold."""
