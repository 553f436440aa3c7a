"""Errors raised by alignsolve; every message says what would be right."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from alignsolve.interrupts import Interrupted

Answer = TypeVar("Answer")


class AlignSolveError(Exception):
    """Base class of every error that alignsolve raises on purpose.

    Examples
    --------
    >>> import alignsolve as al
    >>> try:
    ...     al.read_instance("no-such-file.json")
    ... except al.AlignSolveError as error:
    ...     print(type(error).__name__)
    ProblemError
    """


class ProblemError(AlignSolveError, ValueError):
    """A problem, an instance file or an argument is malformed.

    Contradictory but well-formed bounds are not an error: they make the
    problem infeasible, which `alignsolve.solve` reports as a status.

    Examples
    --------
    >>> import alignsolve as al
    >>> try:
    ...     al.AlignmentProblem([[3, 1], [2, 2.5]], max_experts=-1)
    ... except al.ProblemError as error:
    ...     print(error)
    max_experts is -1; give a whole number >= 0
    """


class CheckpointError(ProblemError):
    """Saved state is damaged, of another version or of a different run, or in use.

    Examples
    --------
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> import alignsolve as al
    >>> with TemporaryDirectory() as folder:
    ...     state = Path(folder, "aligner.state")
    ...     al.Aligner(n_experts=4).save(state)
    ...     size = state.write_bytes(state.read_bytes()[:-9])
    ...     try:
    ...         al.Aligner.load(state)
    ...     except al.CheckpointError as error:
    ...         print(str(error).removeprefix(f"{state}: ").partition(":")[0])
    damaged, or of a newer alignsolve
    """


class BackendNotFoundError(AlignSolveError, LookupError):
    """A backend does not exist or its library is not installed.

    Examples
    --------
    >>> import alignsolve as al
    >>> problem = al.AlignmentProblem([[3, 1], [2, 2.5]], max_experts=1)
    >>> try:
    ...     al.solve(problem, "simplex")
    ... except al.BackendNotFoundError as error:
    ...     print(str(error).partition(";")[0])
    there is no backend 'simplex'
    """


class UnsupportedProblemError(AlignSolveError):
    """A backend does not declare a feature that the problem uses.

    Examples
    --------
    >>> import alignsolve as al
    >>> problem = al.AlignmentProblem([[3, 1], [2, 2.5]], max_experts=2, load_max=1)
    >>> try:
    ...     al.solve(problem, "scipy-lsa")
    ... except al.UnsupportedProblemError as error:
    ...     print(error)
    backend 'scipy-lsa' needs clients with at most one slot; client 0 has 2; use backend='auto'
    """


class BackendError(AlignSolveError, RuntimeError):
    """A backend failed or gave an answer that does not hold.

    Examples
    --------
    >>> import alignsolve as al
    >>> problem = al.AlignmentProblem([[3, 1], [2, 2.5]], max_experts=1)
    >>> try:
    ...     result = al.solve(problem, "networkx")
    ... except al.BackendError:
    ...     result = al.solve(problem)
    >>> result.status.value
    'optimal'
    """


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
