"""Write problems as CPLEX LP text, which people can read and most solvers too."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator
from pathlib import Path

from alignsolve.io.linear_rows import LinearFile, linear_file, write_lines
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
    write_lines(path, _lines(linear_file(problem, path)))


def _lines(file: LinearFile) -> Iterator[str]:
    yield from (f"\\ {note}" for note in file.notes)
    yield "Maximize" if file.sense == "max" else "Minimize"
    yield from _sum("objective", zip(file.objective.tolist(), file.columns, strict=True), "")
    yield "Subject To"
    starts, columns = file.matrix.indptr.tolist(), file.matrix.indices.tolist()
    data = file.matrix.data.tolist()
    for at, (name, kind, side) in enumerate(
        zip(file.rows, file.kinds, file.sides.tolist(), strict=True)
    ):
        entries = range(starts[at], starts[at + 1])
        terms = [(data[entry], file.columns[columns[entry]]) for entry in entries]
        # A row needs a term, even where no pair is left in it.
        yield from _sum(name, terms or [(0.0, file.columns[0])], f" {_SIGNS[kind]} {side!r}")
    yield "Bounds"
    bounds = zip(file.columns, file.lower.tolist(), file.upper.tolist(), strict=True)
    for name, lower, upper in itertools.islice(bounds, file.n_binaries, None):
        yield f" {_spelled(lower)} <= {name} <= {_spelled(upper)}"
    yield from _names("Binaries", file.columns[: file.n_binaries])
    yield from _names("Generals", [
        name for name, integer in zip(file.columns[file.n_binaries :],
                                      file.is_integer[file.n_binaries :].tolist(), strict=True)
        if integer
    ])
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


def _spelled(bound: float) -> str:
    if math.isinf(bound):
        return "+infinity" if bound > 0 else "-infinity"
    return repr(bound)
