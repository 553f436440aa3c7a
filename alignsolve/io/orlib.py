"""The OR-Library's generalized and linear assignment files, and those like them.

Both are nothing but numbers (J E Beasley, OR-Library: distributing test
problems by electronic mail, 1990, doi:10.1057/jors.1990.166):

* generalized assignment: an optional number of problems; then per problem
  ``m n``, m rows of n values, m rows of n resource uses, m capacities; of
  several problems each may be followed by its optimum, which is passed over;
* linear assignment: ``n``, then either n * n costs, or lines ``i j cost``
  counted from 1, where a pair that is not listed is forbidden.

Which one a file is follows from how many numbers it has; where that is not
enough, from its first lines.
"""

from __future__ import annotations

import contextlib
import itertools
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from alignsolve.io.files import fail, located, position, read_text
from alignsolve.io.optima import find_optima
from alignsolve.model.arguments import MATRIX
from alignsolve.model.arrays import BoolArray, Float64Array
from alignsolve.model.limits import check_size
from alignsolve.model.long_tables import first_repeated
from alignsolve.model.problem import AlignmentProblem, Resource, problem_of
from alignsolve.model.text import one_line

#: Name of the resource that the agents of a generalized assignment problem have.
CAPACITY = "capacity"

#: The layout of several problems, each followed by its optimum.
_SOLVED = "counted gap with optima"

_TOKEN = re.compile(r"\S+")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)


@dataclass(frozen=True, eq=False)
class _Numbers:
    """The numbers of a file, with the way back to their places.

    Attributes
    ----------
    path : path
        The file, for errors.
    text : str
        Its content.
    values : float64 array, shape (n_numbers,)
        The numbers, finite.
    """

    path: str | Path
    text: str
    values: Float64Array

    @classmethod
    def parse(cls, path: str | Path, text: str) -> _Numbers:
        """Parse the numbers of a text.

        Raises
        ------
        ProblemError
            Naming line and column of the first word that is no finite number.
        """
        with contextlib.suppress(ValueError):
            values = np.array(text.split(), dtype=np.float64)
            # float() also reads 1_000 and digits of other scripts.
            if text.isascii() and "_" not in text and np.isfinite(values).all():
                return cls(path, text, values)
        for match in _TOKEN.finditer(text):
            if not _is_finite(match[0]):
                fail(path, f"{one_line(match[0])} is not a finite number",
                     *position(text, match.start()))
        return cls(path, text, values)

    def line_lengths(self, limit: int) -> list[int]:
        """Return how many numbers the first `limit` lines that hold any have."""
        filled = filter(str.strip, self.text.split("\n"))
        return [len(line.split()) for line in itertools.islice(filled, limit)]

    def place(self, at: int) -> tuple[int, int]:
        """Return line and column of a number, from 1; past the last one, the end."""
        for count, match in enumerate(_TOKEN.finditer(self.text)):
            if count == at:
                return position(self.text, match.start())
        return position(self.text, len(self.text.rstrip()))

    def fail(self, at: int, message: str) -> NoReturn:
        """Raise `ProblemError` with the place of a number."""
        fail(self.path, message, *self.place(at))

    def count(self, at: int, meaning: str) -> int:
        """Return a number that has to be whole and at least 1."""
        if at >= self.values.size:
            self.fail(at, f"the file ends before {meaning}")
        value = float(self.values[at])
        if not _is_count(value):
            self.fail(at, f"{meaning} is {value:g}; give a whole number >= 1")
        return int(value)


def _is_finite(word: str) -> bool:
    """Tell whether a word is a plain decimal number within float64."""
    return _NUMBER.fullmatch(word) is not None and abs(float(word)) < np.inf


def read(path: str | Path, sense: str | None) -> list[AlignmentProblem]:
    """Read the problems of an OR-Library file.

    Parameters
    ----------
    path : path
        The file.
    sense : {"max", "min"} or None
        What to do with the values. The files do not say: None takes it from
        ``OPTIMA.csv`` where that lists the file; linear assignment is "min".

    Raises
    ------
    ProblemError
        If the file is malformed, or its sense is not known.
    """
    numbers = _Numbers.parse(path, read_text(path))
    return _LAYOUTS[_layout(numbers)][1](numbers, sense)


def _layout(numbers: _Numbers) -> str:
    """Return which layout a file has: a key of `_LAYOUTS`.

    Raises
    ------
    ProblemError
        If it can be none of them, or two that its lines do not tell apart.
    """
    if not numbers.values.size:
        fail(numbers.path, "is empty; give an instance")
    fitting = [name for name, (fits, _) in _LAYOUTS.items() if fits(numbers.values)]
    likely = _by_lines(numbers)
    if likely not in (None, "counted gap"):
        fitting = [name for name in fitting if name != _SOLVED]
    if len(fitting) == 1:
        return fitting[0]
    if fitting == ["counted gap", _SOLVED]:
        return fitting[0]
    if likely is None or (fitting and likely not in fitting):
        fail(numbers.path, "is not an OR-Library file: neither `m n` and the numbers of a "
                           "generalized assignment problem, nor `n` and those of a linear one", 1)
    return likely


def _by_lines(numbers: _Numbers) -> str | None:
    """Return the layout that the first three lines suggest."""
    match numbers.line_lengths(3):
        case [2, *_]:
            return "gap"
        case [1, 2, *_]:
            return "counted gap"
        case [1, 3, *_] if numbers.values[0] != 3:
            return "sparse"
        case [1, *_]:
            return "dense"
    return None


def _is_count(value: float) -> bool:
    return value.is_integer() and value >= 1


def _fits_gaps(values: Float64Array, counted: bool, further: int = 0) -> bool:
    """Tell whether the numbers are those of problems, each followed by `further` ones."""
    end, count = (1, float(values[0])) if counted else (0, 1.0)
    if not _is_count(count):
        return False
    for _ in range(int(min(count, values.size))):
        size = values[end : end + 2].tolist()
        if len(size) < 2 or not all(map(_is_count, size)):
            return False
        m, n = map(int, size)
        end += 2 + 2 * m * n + m + further
    return end == values.size


def _fits_dense(values: Float64Array) -> bool:
    n = float(values[0])
    return _is_count(n) and values.size == 1 + int(n) ** 2


def _fits_sparse(values: Float64Array) -> bool:
    if values.size % 3 != 1 or values.size == 1:
        return False
    bad = _no_index(values[1:].reshape(-1, 3)[:, :2], values[0])
    return not bad.any() and values.size - 1 <= 3 * values[0] ** 2


def _no_index(index: Float64Array, n: float) -> BoolArray:
    """Mask of the numbers that are not one of 1 to `n`."""
    mask: BoolArray = (np.floor(index) != index) | (index < 1) | (index > n)
    return mask


def _read_gaps(
    numbers: _Numbers, sense: str | None, counted: bool, further: int = 0
) -> list[AlignmentProblem]:
    count = numbers.count(0, "the number of problems") if counted else 1
    problems, at = [], int(counted)
    for number in range(1, count + 1):
        last = number == count and not further
        problem, at = _gap_problem(numbers, at, number, sense, last)
        problems.append(problem)
        at += further
    return problems


def _gap_problem(
    numbers: _Numbers, start: int, number: int, sense: str | None, last: bool
) -> tuple[AlignmentProblem, int]:
    """Read one generalized assignment problem; return it and where it ends.

    Agents are clients whose one resource is their capacity, and jobs are
    experts with exactly one holder. Ids count them from 1, as the literature does.
    """
    m = numbers.count(start, f"the number of agents of problem {number}")
    n = numbers.count(start + 1, f"the number of jobs of problem {number}")
    check_size(numbers.path, m, n)
    end = start + 2 + 2 * m * n + m
    if end > numbers.values.size:
        numbers.fail(
            numbers.values.size,
            f"problem {number} declares {m} agents x {n} jobs, which takes {end - start - 2:,} "
            f"numbers, but the file ends after {numbers.values.size - start - 2:,}",
        )
    if last and end < numbers.values.size:
        numbers.fail(end, "the file goes on after its last problem")
    body = numbers.values[start + 2 : end]
    values, use = body[: m * n].reshape(m, n), body[m * n : 2 * m * n].reshape(m, n)
    arguments: dict[str, Any] = {
        "max_experts": n,
        "load_min": 1,
        "load_max": 1,
        "resources": {CAPACITY: Resource(use, body[2 * m * n :])},
        "client_ids": [f"agent-{agent}" for agent in range(1, m + 1)],
        "expert_ids": [f"job-{job}" for job in range(1, n + 1)],
    }
    known = find_optima(numbers.path).get(number) if sense is None else None
    sense = known.sense if known else sense
    if sense is None:
        fail(numbers.path, "a generalized assignment file does not say whether its values are "
                           "profits or costs; give sense max or min (--sense max)")
    with located(f"{numbers.path}: problem {number}"):
        return problem_of(sense, arguments | {MATRIX[sense]: values}), end


def _read_dense(numbers: _Numbers, sense: str | None) -> list[AlignmentProblem]:
    n = numbers.count(0, "the number of rows")
    found = numbers.values.size - 1
    if found != n * n:
        numbers.fail(min(found, n * n) + 1, f"a linear assignment of {n} rows takes {n * n:,} "
                                            f"costs, but the file has {found:,}")
    return _linear(numbers, numbers.values[1:].reshape(n, n), sense)


def _read_sparse(numbers: _Numbers, sense: str | None) -> list[AlignmentProblem]:
    n = numbers.count(0, "the number of rows")
    if numbers.values.size % 3 != 1:
        numbers.fail(numbers.values.size, "the last entry is incomplete; give `row column cost`")
    entries = numbers.values[1:].reshape(-1, 3)
    check_size(numbers.path, n, n, listed=len(entries))
    index = entries[:, :2]
    bad = _no_index(index, n)
    if bad.any():
        at = int(np.argmax(bad))
        numbers.fail(1 + at // 2 * 3 + at % 2,
                     f"{'column' if at % 2 else 'row'} {index.flat[at]:g} is not one of 1 to {n}")
    rows, cols = index.astype(np.int64).T - 1
    repeated = first_repeated(rows * n + cols)
    if repeated is not None:
        at = repeated[1]
        numbers.fail(1 + 3 * at, f"pair {index[at, 0]:g} {index[at, 1]:g} is listed twice")
    values = np.full((n, n), -np.inf if sense == "max" else np.inf)
    values[rows, cols] = entries[:, 2]
    return _linear(numbers, values, sense)


def _linear(
    numbers: _Numbers, values: Float64Array, sense: str | None
) -> list[AlignmentProblem]:
    """Return the problem that gives every row one column and every column one row."""
    sense = sense or "min"
    exactly_one = {"max_experts": 1, "min_experts": 1, "load_min": 1, "load_max": 1}
    with located(numbers.path):
        return [problem_of(sense, {MATRIX[sense]: values, **exactly_one})]


#: Layouts of generalized assignment: whether problems are counted, and numbers after each.
_GAPS: dict[str, dict[str, Any]] = {
    "counted gap": {"counted": True}, "gap": {"counted": False},
    _SOLVED: {"counted": True, "further": 1},
}

#: What tells from the numbers alone whether a file can have a layout, and what reads it.
_LAYOUTS: dict[str, tuple[
    Callable[[Float64Array], bool],
    Callable[[_Numbers, str | None], list[AlignmentProblem]],
]] = {
    name: (partial(_fits_gaps, **form), partial(_read_gaps, **form)) for name, form in _GAPS.items()
} | {
    "dense": (_fits_dense, _read_dense),
    "sparse": (_fits_sparse, _read_sparse),
}
