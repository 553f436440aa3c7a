"""Write problems as free MPS, for HiGHS, SCIP, CPLEX, Gurobi and others, and read them back."""

from __future__ import annotations

import itertools
import operator
from collections.abc import Iterator
from pathlib import Path

from alignsolve.io.files import write_text
from alignsolve.io.linear_rows import LinearFile, entries, linear_file
from alignsolve.io.mps_reading import read
from alignsolve.model.problem import AlignmentProblem

__all__ = ["read", "write"]


def write(problem: AlignmentProblem, path: str | Path) -> None:
    """Write a problem as free MPS, in its own sense.

    Parameters
    ----------
    problem : AlignmentProblem
        At least one pair that may be held; without penalties on named loads.
    path : path
        The file. Numbers are written in as many digits as tell them apart.

    Raises
    ------
    ProblemError
        If a linear file cannot hold the problem, or the file cannot be written.

    Notes
    -----
    The section OBJSENSE, which older readers lack, appears only for a
    maximisation.
    """
    write_text(path, (f"{line}\n" for line in _lines(linear_file(problem, path))))


def _lines(file: LinearFile) -> Iterator[str]:
    yield from (f"* {note}" for note in file.notes)
    yield "NAME alignsolve"
    if file.sense == "max":
        yield from ("OBJSENSE", " MAX")
    yield from ("ROWS", " N objective")
    yield from (f" {kind} {name}" for name, kind, _ in file.rows)
    yield "COLUMNS"
    yield from _columns(file)
    yield "RHS"
    yield from (f" rhs {name} {side!r}" for name, _, side in file.rows if side)
    yield "BOUNDS"
    yield from _bounds(file)
    yield "ENDATA"


def _columns(file: LinearFile) -> Iterator[str]:
    """Yield the coefficients column by column; integer columns stand between markers."""
    columns = zip(file.columns, file.objective.tolist(), entries(file.matrix.tocsc()),
                  file.model.is_integer.tolist(), strict=True)
    markers = itertools.count()
    for integer, group in itertools.groupby(columns, key=operator.itemgetter(3)):
        if integer:
            yield f" marker{next(markers)} 'MARKER' 'INTORG'"
        for name, value, column, _ in group:
            yield f" {name} objective {value!r}"
            for row, entry in column:
                yield f" {name} {file.rows[row][0]} {entry!r}"
        if integer:
            yield f" marker{next(markers)} 'MARKER' 'INTEND'"


def _bounds(file: LinearFile) -> Iterator[str]:
    """Yield the bounds of each column, the lower one first."""
    yield from (f" BV bound {name}" for name in file.columns[: file.model.n_pairs])
    for name, lower, upper in file.further_bounds():
        yield f" LO bound {name} {lower!r}"
        yield f" UP bound {name} {upper!r}"
