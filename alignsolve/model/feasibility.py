"""Check an assignment against every bound, with the package's one tolerance."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from alignsolve.errors import ProblemError
from alignsolve.model.arrays import Float64Array, IntArray, row_starts, weighted_count
from alignsolve.model.bounds import EXPERT_KINDS, bound_values
from alignsolve.model.features import Feature
from alignsolve.model.foreign import refuse_mask
from alignsolve.model.pair_kernel import scan
from alignsolve.model.problem import AlignmentProblem
from alignsolve.model.whole_bounds import tolerance

#: Sides of a bound, as messages say them.
AT_LEAST, AT_MOST = "at least", "at most"


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
        refuse_mask("row_ind", row_ind)
        refuse_mask("col_ind", col_ind)
        rows, cols = np.asarray(row_ind), np.asarray(col_ind)
        if rows.shape != cols.shape or rows.ndim != 1:
            raise ProblemError(
                f"row_ind has shape {rows.shape} and col_ind {cols.shape}; give two index arrays "
                f"of one length"
            )
        # To import numba takes longer than to count even millions of pairs without it.
        if "numba" in sys.modules and rows.dtype == cols.dtype == np.int64:
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
        load = np.bincount(cols, minlength=m)
        return cls(rows, cols, row_starts(rows, n), load, bool(step.all()))


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
    sums = (violation for one in _sums(problem, rows, cols) for kind in one[0]
            for violation in _broken(problem, kind, one))
    found = itertools.chain(_pairs(problem, rows, cols, values), sums)
    return list(itertools.islice(found, limit))


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


def keeps_loads(problem: AlignmentProblem, load: IntArray) -> bool:
    """Tell whether experts of some numbers of holders, shape (n_experts,), keep their bounds."""
    low, high = problem.holder_bounds()
    return bool(((low <= load) & (load <= high)).all())


def _pairs(
    problem: AlignmentProblem, rows: IntArray, cols: IntArray, values: Float64Array
) -> Iterator[Violation]:
    """Yield duplicate and forbidden pairs."""
    keys = rows * problem.n_experts + cols
    twice = 1 + np.flatnonzero(keys[1:] == keys[:-1])
    for i, j in zip(rows[twice].tolist(), cols[twice].tolist(), strict=True):
        yield Violation("duplicate", i, j, None, None, 2, 1,
                        f"{problem.client_name(i)} is given {problem.expert_name(j)} twice")
    forbidden = values == -np.inf
    for i, j in zip(rows[forbidden].tolist(), cols[forbidden].tolist(), strict=True):
        yield Violation("forbidden", i, j, None, None, 1, 0,
                        f"{problem.client_name(i)} may not hold {problem.expert_name(j)}")


#: Kinds of bounds on one sum, its load or resource, the sum of every client or expert, shape
#: (n_clients,), (n_experts,) or (n_clients, n_groups), and what messages say around it.
_Sum = tuple[tuple[str, ...], str | None, npt.NDArray[Any], str, str]


def _sums(problem: AlignmentProblem, rows: IntArray, cols: IntArray) -> Iterator[_Sum]:
    """Yield what an assignment adds up to, wherever there are bounds on it."""
    slots = np.bincount(rows, minlength=problem.n_clients)
    yield ("min_experts", "max_experts"), None, slots, "holds", "experts"
    holders = np.bincount(cols, minlength=problem.n_experts)
    yield EXPERT_KINDS, None, holders, "has", "holders"
    for name, load in problem.loads.items():
        amount = load.amounts(rows, cols, problem.n_experts)
        yield EXPERT_KINDS, name, amount, "has", f"of load {name!r}"
    for name in problem.resources:
        use = resource_use(problem, name, rows, cols)
        yield ("resource",), name, use, "uses", f"of {name!r}"
    if problem.expert_group is not None:
        counts = group_counts(problem, rows, cols)
        yield ("group_min", "group_max"), None, counts, "holds", "experts"
    if Feature.FAIRNESS in problem.features:
        total = problem.sign * client_fitness(problem, rows, cols)
        verb = "has fitness" if problem.sense == "max" else "has cost"
        yield ("client_fitness_min",), None, total, verb, ""


def _broken(problem: AlignmentProblem, kind: str, of: _Sum) -> Iterator[Violation]:
    """Yield where a sum does not keep a kind of bound."""
    _, name, amount, verb, noun = of
    bound = least = most = bound_values(problem, kind, name)
    form, allow = ("d" if part.dtype.kind == "i" else "g" for part in (amount, bound))
    if allow == "g":
        slack = tolerance(bound)
        least, most = bound - slack, bound + slack
    is_floor = problem.sense == "max" if kind == "client_fitness_min" else "min" in kind
    bad = amount < least if is_floor else amount > most
    for at in zip(*(index.tolist() for index in np.nonzero(bad)), strict=True):
        client, expert = (None, at[0]) if kind in EXPERT_KINDS else (at[0], None)
        group = at[1] if len(at) > 1 else None
        value, allowed = amount[at], bound[at]
        who = problem.client_name(at[0]) if expert is None else problem.expert_name(expert)
        what = noun.removesuffix("s") if form == "d" and value == 1 else noun
        has = f"{verb} {value:{form}} {what}".rstrip()
        where = "" if group is None else f" of group {group}"
        rule = (f"its budget is {allowed:{allow}}" if kind == "resource"
                else f"{AT_LEAST if is_floor else AT_MOST} {allowed:{allow}} allowed")
        yield Violation(kind, client, expert, group, name, float(value), float(allowed),
                        f"{who} {has}{where}; {rule}")
