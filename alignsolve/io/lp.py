"""Write problems as CPLEX LP text, which people can read and most solvers too."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from pathlib import Path

from alignsolve.io.files import write_text
from alignsolve.io.linear_rows import LinearFile, entries, linear_file
from alignsolve.model.problem import AlignmentProblem

#: Terms on a line; readers limit lines to 255 or 510 characters.
_TERMS = 6

_SIGNS = {"E": "=", "L": "<=", "G": ">="}


def write(problem: AlignmentProblem, path: str | Path) -> None:
    """Write a problem as LP text, in its own sense.

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
    """
    write_text(path, (f"{line}\n" for line in _lines(linear_file(problem, path))))


def _lines(file: LinearFile) -> Iterator[str]:
    yield from (f"\\ {note}" for note in file.notes)
    yield "Maximize" if file.sense == "max" else "Minimize"
    yield from _sum("objective", zip(file.objective.tolist(), file.columns, strict=True), "")
    yield "Subject To"
    for (name, kind, side), row in zip(file.rows, entries(file.matrix), strict=True):
        terms = [(value, file.columns[column]) for column, value in row]
        # A row needs a term, even where no pair is left in it.
        yield from _sum(name, terms or [(0.0, file.columns[0])], f" {_SIGNS[kind]} {side!r}")
    yield "Bounds"
    for name, lower, upper in file.further_bounds():
        yield f" {lower!r} <= {name} <= {upper!r}"
    binaries = file.model.n_pairs
    yield from _names("Binaries", file.columns[:binaries])
    integers = itertools.compress(file.columns, file.model.is_integer.tolist())
    yield from _names("Generals", list(itertools.islice(integers, binaries, None)))
    yield "End"


def _sum(name: str, terms: Iterable[tuple[float, str]], end: str) -> Iterator[str]:
    """Yield ``name: 3.0 x_0_0 + ...`` on lines of a few terms."""
    words = [f"{'-' if value < 0 else '+'} {abs(value)!r} {column}" for value, column in terms]
    lines = [" ".join(words[at : at + _TERMS]) for at in range(0, len(words), _TERMS)]
    lines[0] = f" {name}: {lines[0]}"
    lines[-1] += end
    yield lines[0]
    yield from (f"  {line}" for line in lines[1:])


def _names(section: str, names: list[str]) -> Iterator[str]:
    """Yield a section that lists columns."""
    if names:
        yield section
        yield from (f" {' '.join(names[at : at + _TERMS])}" for at in range(0, len(names), _TERMS))
