"""Write problems as free MPS, for HiGHS, SCIP, CPLEX, Gurobi and others."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

from alignsolve.io.linear_rows import LinearFile, linear_file, write_lines
from alignsolve.model.problem import AlignmentProblem


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
    write_lines(path, _lines(linear_file(problem, path)))


def _lines(file: LinearFile) -> Iterator[str]:
    yield from (f"* {note}" for note in file.notes)
    yield "NAME alignsolve"
    if file.sense == "max":
        yield from ("OBJSENSE", " MAX")
    yield from ("ROWS", " N objective")
    yield from (f" {kind} {name}" for kind, name in zip(file.kinds, file.rows, strict=True))
    yield "COLUMNS"
    yield from _columns(file)
    yield "RHS"
    yield from (f" rhs {name} {side!r}"
                for name, side in zip(file.rows, file.sides.tolist(), strict=True) if side)
    yield "BOUNDS"
    yield from _bounds(file)
    yield "ENDATA"


def _columns(file: LinearFile) -> Iterator[str]:
    """Yield the coefficients column by column; integer columns stand between markers."""
    matrix = file.matrix.tocsc()
    starts, rows, data = matrix.indptr.tolist(), matrix.indices.tolist(), matrix.data.tolist()
    whole, markers = False, 0
    columns = zip(file.columns, file.objective.tolist(), file.is_integer.tolist(), strict=True)
    for at, (name, value, integer) in enumerate(columns):
        if integer is not whole:
            yield f" marker{markers} 'MARKER' '{'INTORG' if integer else 'INTEND'}'"
            whole, markers = integer, markers + 1
        yield f" {name} objective {value!r}"
        for entry in range(starts[at], starts[at + 1]):
            yield f" {name} {file.rows[rows[entry]]} {data[entry]!r}"
    if whole:
        yield f" marker{markers} 'MARKER' 'INTEND'"


def _bounds(file: LinearFile) -> Iterator[str]:
    """Yield the bounds of each column, the lower one first."""
    bounds = zip(file.columns, file.lower.tolist(), file.upper.tolist(), strict=True)
    for at, (name, lower, upper) in enumerate(bounds):
        if at < file.n_binaries:
            yield f" BV bound {name}"
            continue
        yield f" LO bound {name} {lower!r}" if lower > -math.inf else f" MI bound {name}"
        yield f" UP bound {name} {upper!r}" if upper < math.inf else f" PL bound {name}"
