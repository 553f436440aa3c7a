"""Check an assignment against every bound, with the package's one tolerance."""

from __future__ import annotations

import functools
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from alignsolve.errors import ProblemError
from alignsolve.model.arrays import BoolArray, Float64Array, IntArray, weighted_count
from alignsolve.model.problem import AlignmentProblem, tolerance


@dataclass(frozen=True)
class Violation:
    """One bound that an assignment breaks.

    Attributes
    ----------
    kind : str
        "duplicate", "forbidden", "min_experts", "max_experts", "load_min",
        "load_max", "resource", "group_min", "group_max" or
        "client_fitness_min".
    client, expert, group : int or None
        Where, as far as it applies.
    name : str or None
        Name of the load or resource.
    value, bound : float
        What the assignment has, and what is allowed.
    message : str
        The violation in words.
    """

    kind: str
    client: int | None
    expert: int | None
    group: int | None
    name: str | None
    value: float
    bound: float
    message: str


@dataclass(frozen=True, eq=False)
class Assignment:
    """Clients and experts that hold each other, in order and counted.

    Attributes
    ----------
    rows, cols : int64 array, shape (n_pairs,)
        Clients and experts within the problem, sorted by (row, col).
    indptr : int64 array, shape (n_clients + 1,)
        Where each client's pairs start.
    load : int64 array, shape (n_experts,)
        Holders of each expert.
    distinct : bool
        Whether no pair comes twice.
    """

    rows: IntArray
    cols: IntArray
    indptr: IntArray
    load: IntArray
    distinct: bool

    @classmethod
    def of(
        cls, problem: AlignmentProblem, row_ind: npt.ArrayLike, col_ind: npt.ArrayLike
    ) -> Assignment:
        """Check, sort and count pairs in any order.

        Raises
        ------
        ProblemError
            If the arrays differ in length, or an index is no client or expert.
        """
        rows, cols = np.asarray(row_ind), np.asarray(col_ind)
        if rows.shape != cols.shape or rows.ndim != 1:
            raise ProblemError(
                f"row_ind has shape {rows.shape} and col_ind {cols.shape}; give two index arrays "
                f"of one length"
            )
        # To import numba takes longer than to count even millions of pairs without it.
        if "numba" in sys.modules and rows.dtype == cols.dtype == np.int64:
            from alignsolve.model.pair_kernel import scan

            found = scan(rows, cols, problem.n_clients, problem.n_experts)
            if found is not None:
                return cls(rows, cols, *found)
        return cls._of_any(problem, rows, cols)

    @classmethod
    def _of_any(
        cls, problem: AlignmentProblem, rows: npt.NDArray[Any], cols: npt.NDArray[Any]
    ) -> Assignment:
        n, m = problem.n_clients, problem.n_experts
        for name, index, size in (("row_ind", rows, n), ("col_ind", cols, m)):
            if index.size and index.dtype.kind not in "iu":
                raise ProblemError(f"{name} has dtype {index.dtype}; give integers")
            if index.size and (index.min() < 0 or index.max() >= size):
                position = int(np.argmax((index < 0) | (index >= size)))
                raise ProblemError(f"{name}[{position}] is {index[position]}; give 0 to {size - 1}")
        rows, cols = rows.astype(np.int64, copy=False), cols.astype(np.int64, copy=False)
        keys = rows * m + cols
        step = np.diff(keys)
        if step.size and step.min() < 0:
            order = np.argsort(keys, kind="stable")
            rows, cols, step = rows[order], cols[order], np.diff(keys[order])
        indptr = np.zeros(n + 1, dtype=np.int64)
        np.cumsum(np.bincount(rows, minlength=n), out=indptr[1:])
        return cls(rows, cols, indptr, np.bincount(cols, minlength=m), bool(step.all()))


def sorted_pairs(
    problem: AlignmentProblem, row_ind: npt.ArrayLike, col_ind: npt.ArrayLike
) -> tuple[IntArray, IntArray]:
    """Return an assignment as int64 arrays sorted by (row, col).

    Raises
    ------
    ProblemError
        If the arrays differ in length, or an index is no client or expert.
    """
    held = Assignment.of(problem, row_ind, col_ind)
    return held.rows, held.cols


def violations(
    problem: AlignmentProblem, row_ind: IntArray, col_ind: IntArray, limit: int = 100,
    values: Float64Array | None = None,
) -> list[Violation]:
    """List the bounds that an assignment breaks, at most `limit` of them.

    Parameters
    ----------
    problem : AlignmentProblem
        The problem.
    row_ind, col_ind : int array, shape (n_pairs,)
        The assignment, in any order.
    limit : int
        Most violations listed.
    values : float64 array, shape (n_pairs,), optional
        `AlignmentProblem.pair_values` of the pairs, which are sorted by (row, col).

    Raises
    ------
    ProblemError
        If an index is no client or expert.
    """
    rows, cols = row_ind, col_ind
    if values is None:
        rows, cols = sorted_pairs(problem, row_ind, col_ind)
        values = problem.pair_fitness(rows, cols)
    found: list[Violation] = []
    pairs = functools.partial(_pairs, values=values)
    for check in (pairs, _slots, _holders, _named_loads, _resources, _groups, _fairness):
        for violation in check(problem, rows, cols):
            found.append(violation)
            if len(found) >= limit:
                return found
    return found


def is_feasible(problem: AlignmentProblem, row_ind: IntArray, col_ind: IntArray) -> bool:
    """Tell whether an assignment keeps every bound."""
    return not violations(problem, row_ind, col_ind, limit=1)


def resource_use(
    problem: AlignmentProblem, name: str, row_ind: IntArray, col_ind: IntArray
) -> Float64Array:
    """Return what each client uses of a resource, float64 of shape (n_clients,)."""
    size = np.asarray(problem.resources[name].size)[row_ind, col_ind]
    return weighted_count(row_ind, size, problem.n_clients)


def group_counts(problem: AlignmentProblem, row_ind: IntArray, col_ind: IntArray) -> IntArray:
    """Return how many experts of each group each client holds, (n_clients, n_groups)."""
    assert problem.expert_group is not None
    n, n_groups = problem.n_clients, problem.n_groups
    keys = row_ind * n_groups + problem.expert_group[col_ind]
    return np.bincount(keys, minlength=n * n_groups).reshape(n, n_groups)


def client_fitness(problem: AlignmentProblem, row_ind: IntArray, col_ind: IntArray) -> Float64Array:
    """Return each client's total fitness (max sense), float64 of shape (n_clients,)."""
    return weighted_count(row_ind, problem.pair_fitness(row_ind, col_ind), problem.n_clients)


def _each(bad: BoolArray) -> Iterator[int]:
    return (int(position) for position in np.flatnonzero(bad))


def _pairs(
    problem: AlignmentProblem, rows: IntArray, cols: IntArray, values: Float64Array
) -> Iterator[Violation]:
    """Yield duplicate and forbidden pairs."""
    keys = rows * problem.n_experts + cols
    for at in _each(np.r_[False, keys[1:] == keys[:-1]] if keys.size else keys != keys):
        i, j = int(rows[at]), int(cols[at])
        yield Violation("duplicate", i, j, None, None, 2, 1,
                        f"{problem.client_name(i)} is given {problem.expert_name(j)} twice")
    for at in _each(values == -np.inf):
        i, j = int(rows[at]), int(cols[at])
        yield Violation("forbidden", i, j, None, None, 1, 0,
                        f"{problem.client_name(i)} may not hold {problem.expert_name(j)}")


def _slots(problem: AlignmentProblem, rows: IntArray, cols: IntArray) -> Iterator[Violation]:
    """Yield clients with too few or too many experts."""
    counts = np.bincount(rows, minlength=problem.n_clients)
    for i in _each(counts < problem.min_experts):
        yield _slot_violation(problem, "min_experts", i, counts[i], problem.min_experts[i])
    for i in _each(counts > problem.max_experts):
        yield _slot_violation(problem, "max_experts", i, counts[i], problem.max_experts[i])


def _slot_violation(
    problem: AlignmentProblem, kind: str, i: int, count: int, bound: int
) -> Violation:
    word = "at least" if kind == "min_experts" else "at most"
    return Violation(kind, i, None, None, None, float(count), float(bound),
                     f"{problem.client_name(i)} holds {count} experts; {word} {bound} allowed")


def _load_violations(
    problem: AlignmentProblem, name: str | None, amount: Float64Array | IntArray, low: Float64Array,
    high: Float64Array,
) -> Iterator[Violation]:
    """Yield experts whose load is out of bounds."""
    unit = "holders" if name is None else f"of load {name!r}"
    sides = (
        ("load_min", low, amount < low - tolerance(low), "at least"),
        ("load_max", high, amount > high + tolerance(high), "at most"),
    )
    for kind, bound, bad, word in sides:
        for j in _each(bad):
            yield Violation(
                kind, None, j, None, name, float(amount[j]), float(bound[j]),
                f"{problem.expert_name(j)} has {amount[j]:g} {unit}; {word} {bound[j]:g} allowed",
            )


def keeps_loads(problem: AlignmentProblem, load: IntArray) -> bool:
    """Tell whether experts of some numbers of holders, shape (n_experts,), keep their bounds."""
    low, high = problem.holder_bounds()
    return bool(((low <= load) & (load <= high)).all())


def _holders(problem: AlignmentProblem, rows: IntArray, cols: IntArray) -> Iterator[Violation]:
    """Yield experts with too few or too many holders."""
    counts = np.bincount(cols, minlength=problem.n_experts)
    yield from _load_violations(problem, None, counts, problem.load_min, problem.load_max)


def _named_loads(problem: AlignmentProblem, rows: IntArray, cols: IntArray) -> Iterator[Violation]:
    """Yield experts whose named loads are out of bounds."""
    for name, load in problem.loads.items():
        amount = problem.load_amounts(name, rows, cols)
        yield from _load_violations(
            problem, name, amount, np.asarray(load.min), np.asarray(load.max)
        )


def _resources(problem: AlignmentProblem, rows: IntArray, cols: IntArray) -> Iterator[Violation]:
    """Yield clients over a budget."""
    for name, resource in problem.resources.items():
        budget = np.asarray(resource.budget)
        use = resource_use(problem, name, rows, cols)
        for i in _each(use > budget + tolerance(budget)):
            yield Violation(
                "resource", i, None, None, name, float(use[i]), float(budget[i]),
                f"{problem.client_name(i)} uses {use[i]:g} of {name!r}; its budget is "
                f"{budget[i]:g}",
            )


def _groups(problem: AlignmentProblem, rows: IntArray, cols: IntArray) -> Iterator[Violation]:
    """Yield clients with too few or too many experts of a group."""
    if problem.group_min is None or problem.group_max is None:
        return
    counts = group_counts(problem, rows, cols)
    for kind, bound, bad, word in (
        ("group_min", problem.group_min, counts < problem.group_min, "at least"),
        ("group_max", problem.group_max, counts > problem.group_max, "at most"),
    ):
        for i, g in zip(*(index.tolist() for index in np.nonzero(bad)), strict=True):
            yield Violation(
                kind, i, None, g, None, float(counts[i, g]), float(bound[i, g]),
                f"{problem.client_name(i)} holds {counts[i, g]} experts of group {g}; {word} "
                f"{bound[i, g]} allowed",
            )


def _fairness(problem: AlignmentProblem, rows: IntArray, cols: IntArray) -> Iterator[Violation]:
    """Yield clients under their fairness floor."""
    floor = problem.client_fitness_min
    if not (floor > -np.inf).any():
        return
    total = client_fitness(problem, rows, cols)
    what, word = ("fitness", "at least") if problem.sense == "max" else ("cost", "at most")
    for i in _each(total < floor - tolerance(floor)):
        value, bound = problem.sign * total[i], problem.sign * floor[i]
        yield Violation("client_fitness_min", i, None, None, None, float(value), float(bound),
                        f"{problem.client_name(i)} has {what} {value:g}; {word} {bound:g} allowed")
