"""The OR-Library's generalized and linear assignment files, and those like them.

Both are nothing but numbers (J E Beasley, OR-Library: distributing test
problems by electronic mail, 1990, doi:10.1057/jors.1990.166):

* generalized assignment: an optional number of problems; then per problem
  ``m n``, m rows of n values, m rows of n resource uses, m capacities;
* linear assignment: ``n``, then either n * n costs, or lines ``i j cost``
  counted from 1, where a pair that is not listed is forbidden.

Which one a file is follows from how many numbers it has; where that is not
enough, from its first lines.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from alignsolve.io.files import check_size, fail, located, read_text
from alignsolve.io.numbers import NumberText
from alignsolve.io.optima import find_optima
from alignsolve.model.arrays import Float64Array
from alignsolve.model.problem import AlignmentProblem, Resource

#: Name of the resource that the agents of a generalized assignment problem have.
CAPACITY = "capacity"


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
    numbers = NumberText.parse(path, read_text(path))
    return _READERS[layout(numbers)](numbers, sense)


def layout(numbers: NumberText) -> str:
    """Return which layout a file has: "counted gap", "gap", "dense" or "sparse".

    Raises
    ------
    ProblemError
        If it can be none of them, or two that its lines do not tell apart.
    """
    if not numbers.values.size:
        fail(numbers.path, "is empty; give an instance")
    fitting = [name for name, fits in _FITS.items() if fits(numbers.values)]
    if len(fitting) == 1:
        return fitting[0]
    likely = _by_lines(numbers)
    if likely is None or (fitting and likely not in fitting):
        fail(numbers.path, "is not an OR-Library file: neither `m n` and the numbers of a "
                           "generalized assignment problem, nor `n` and those of a linear one", 1)
    return likely


def _by_lines(numbers: NumberText) -> str | None:
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


def _fits_gap(values: Float64Array) -> bool:
    return _gap_end(values, 0) == values.size


def _fits_counted_gap(values: Float64Array) -> bool:
    at = 1
    if not values[0].is_integer() or values[0] < 1:
        return False
    for _ in range(int(min(values[0], values.size))):
        end = _gap_end(values, at)
        if end is None:
            return False
        at = end
    return at == values.size


def _gap_end(values: Float64Array, start: int) -> int | None:
    """Return where the problem that starts at `start` ends, or None if it cannot."""
    if start + 2 > values.size:
        return None
    m, n = float(values[start]), float(values[start + 1])
    if not (m.is_integer() and n.is_integer() and m >= 1 and n >= 1):
        return None
    end = start + 2 + 2 * int(m) * int(n) + int(m)
    return end if end <= values.size else None


def _fits_dense(values: Float64Array) -> bool:
    n = float(values[0])
    return n.is_integer() and n >= 1 and values.size == 1 + int(n) ** 2


def _fits_sparse(values: Float64Array) -> bool:
    if values.size % 3 != 1 or values.size == 1:
        return False
    index = values[1:].reshape(-1, 3)[:, :2]
    whole = (np.floor(index) == index) & (index >= 1) & (index <= values[0])
    return bool(whole.all()) and values.size - 1 <= 3 * values[0] ** 2


#: What tells from the numbers alone whether a file can have a layout.
_FITS: dict[str, Callable[[Float64Array], bool]] = {
    "counted gap": _fits_counted_gap,
    "gap": _fits_gap,
    "dense": _fits_dense,
    "sparse": _fits_sparse,
}


def _read_gap(numbers: NumberText, sense: str | None) -> list[AlignmentProblem]:
    return [_gap_problem(numbers, 0, 1, sense, last=True)[0]]


def _read_counted_gap(numbers: NumberText, sense: str | None) -> list[AlignmentProblem]:
    count = numbers.whole(0, "the number of problems")
    problems, at = [], 1
    for number in range(1, count + 1):
        problem, at = _gap_problem(numbers, at, number, sense, last=number == count)
        problems.append(problem)
    return problems


def _gap_problem(
    numbers: NumberText, start: int, number: int, sense: str | None, last: bool
) -> tuple[AlignmentProblem, int]:
    """Read one generalized assignment problem; return it and where it ends.

    Agents are clients whose one resource is their capacity, and jobs are
    experts with exactly one holder. Ids count them from 1, as the literature does.
    """
    m = numbers.whole(start, f"the number of agents of problem {number}")
    n = numbers.whole(start + 1, f"the number of jobs of problem {number}")
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
        if sense == "min":
            return AlignmentProblem.from_cost(values, **arguments), end
        return AlignmentProblem(values, **arguments), end


def _read_dense(numbers: NumberText, sense: str | None) -> list[AlignmentProblem]:
    n = numbers.whole(0, "the number of rows")
    found = numbers.values.size - 1
    if found != n * n:
        numbers.fail(min(found, n * n) + 1, f"a linear assignment of {n} rows takes {n * n:,} "
                                            f"costs, but the file has {found:,}")
    return [_linear(numbers, numbers.values[1:].reshape(n, n), sense)]


def _read_sparse(numbers: NumberText, sense: str | None) -> list[AlignmentProblem]:
    n = numbers.whole(0, "the number of rows")
    if numbers.values.size % 3 != 1:
        numbers.fail(numbers.values.size, "the last entry is incomplete; give `row column cost`")
    entries = numbers.values[1:].reshape(-1, 3)
    check_size(numbers.path, n, n, listed=len(entries))
    index = entries[:, :2]
    bad = (np.floor(index) != index) | (index < 1) | (index > n)
    if bad.any():
        at = int(np.argmax(bad))
        numbers.fail(1 + at // 2 * 3 + at % 2,
                     f"{'column' if at % 2 else 'row'} {index.flat[at]:g} is not one of 1 to {n}")
    keys = (index[:, 0] - 1) * n + index[:, 1] - 1
    order = np.argsort(keys, kind="stable")
    twice = np.flatnonzero(keys[order][1:] == keys[order][:-1])
    if twice.size:
        at = int(order[twice[0] + 1])
        numbers.fail(1 + 3 * at, f"pair {index[at, 0]:g} {index[at, 1]:g} is listed twice")
    values = np.full((n, n), -np.inf if sense == "max" else np.inf)
    values.flat[keys.astype(np.int64)] = entries[:, 2]
    return [_linear(numbers, values, sense)]


def _linear(numbers: NumberText, values: Float64Array, sense: str | None) -> AlignmentProblem:
    """Return the problem that gives every row one column and every column one row."""
    exactly_one: dict[str, Any] = {"max_experts": 1, "min_experts": 1, "load_min": 1, "load_max": 1}
    with located(numbers.path):
        if sense == "max":
            return AlignmentProblem(values, **exactly_one)
        return AlignmentProblem.from_cost(values, **exactly_one)


_READERS: dict[str, Callable[[NumberText, str | None], list[AlignmentProblem]]] = {
    "counted gap": _read_counted_gap,
    "gap": _read_gap,
    "dense": _read_dense,
    "sparse": _read_sparse,
}
