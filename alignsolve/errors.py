"""Errors raised by alignsolve; every message says what would be right."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from alignsolve.interrupts import Interrupted

Answer = TypeVar("Answer")


class AlignSolveError(Exception):
    """Base class of every error that alignsolve raises on purpose."""


class ProblemError(AlignSolveError, ValueError):
    """A problem, an instance file or an argument is malformed.

    Contradictory but well-formed bounds are not an error: they make the
    problem infeasible, which `alignsolve.solve` reports as a status.
    """


class CheckpointError(ProblemError):
    """Saved state is damaged, of another version or of a different run, or in use."""


class BackendNotFoundError(AlignSolveError, LookupError):
    """A backend does not exist or its library is not installed."""


class UnsupportedProblemError(AlignSolveError):
    """A backend does not declare a feature that the problem uses."""


class BackendError(AlignSolveError, RuntimeError):
    """A backend failed or gave an answer that does not hold."""


class ReportError(AlignSolveError, ImportError):
    """A page cannot be made, since what makes pages is not installed."""


def guarded(what: str, call: Callable[[], Answer], interrupted: Answer) -> Answer:
    """Return what a call into solvers returns: the one place that says what may happen there.

    Parameters
    ----------
    what : str
        Who is called, for messages.
    call : callable
        Solves; it may raise anything.
    interrupted : object
        What to return where it is `Interrupted`.

    Raises
    ------
    KeyboardInterrupt
        As it was raised: by the second Ctrl-C, or a handler of the program's own.
    AlignSolveError
        As it was raised; `BackendError` for anything else, lack of memory included.
    """
    try:
        return call()
    except Interrupted:
        return interrupted
    except AlignSolveError:
        raise
    except MemoryError as error:
        text = f": {error}" if str(error) else ""
        raise BackendError(f"{what} ran out of memory{text}") from error
    except Exception as error:
        raise BackendError(f"{what} failed: {error}") from error
