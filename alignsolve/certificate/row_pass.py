"""A pass over the values of all clients: what an answer lacks to best responses, and is worth.

A matrix in memory is read again for what is seldom needed. The blocks of a source cost time:
all that may be asked is gathered while they are there.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from alignsolve.errors import ProblemError
from alignsolve.kernels import SMALL, compiling, costs
from alignsolve.model.arrays import Float64Array, FloatArray, IntArray, row_blocks
from alignsolve.model.problem import AlignmentProblem, Feature
from alignsolve.model.sources.base import FitnessSource, map_blocks

T = TypeVar("T")

CHANGED = (
    "fitness holds NaN now: the matrix was changed after the problem was built from it; build the "
    "problem anew"
)


def refuse_changed(problem: AlignmentProblem) -> None:
    """Raise `ProblemError` where a matrix in memory holds NaN, which none may at first."""
    fitness = problem.fitness
    if not problem.streamed and np.isnan(np.asarray(fitness)).any():
        raise ProblemError(CHANGED)


@dataclass(frozen=True)
class Stakes:
    """What decides whether a gap counts as zero.

    Attributes
    ----------
    regret, largest : float
        As `alignsolve.certificate.row_pass_kernels.regret_rows`.
    whole : bool or None
        Whether all values are whole numbers; None where that was not looked at.
    """

    regret: float
    largest: float
    whole: bool | None = None


@dataclass(frozen=True, eq=False)
class Proof:
    """What the clients' values say of an answer at given prices.

    Attributes
    ----------
    residual : float
        What held sets lack to best responses; infinite where there is no response, or slots
        are not kept.
    largest : float
        The largest difference in a row with a residual: no more than `Stakes.largest`.
    held : float64 array, shape (n_pairs,)
        Values of the held pairs; ``-inf`` where one is forbidden.
    stakes : Stakes or None
        Of a source alone; in memory they are seldom needed, see `all_regrets`.
    """

    residual: float
    largest: float
    held: Float64Array
    stakes: Stakes | None


def must_compile(problem: AlignmentProblem) -> bool:
    """Tell whether a proof takes seconds to compile before it begins, or is not compiled."""
    from alignsolve.certificate import group_pass_kernels, row_pass_kernels

    is_small = problem.fitness.size <= SMALL
    needed = (row_pass_kernels.residual_rows if problem.expert_group is None
              else group_pass_kernels.residual_rows_in_groups)  # fmt: skip
    # Where nothing is compiled, a large proof takes long as well.
    return not is_small and (
        costs.jit_is_disabled() or compiling((needed,), problem.fitness.dtype.name) > 0
    )


def block_stakes(
    values: FloatArray, prices: Float64Array, ends: IntArray, col_ind: IntArray,
    slot_max: IntArray, whole: bool = True,
) -> Stakes:
    """Return what is at stake for some clients.

    Parameters
    ----------
    values : float32 or float64 array, shape (c, n_experts)
        Fitness less switching cost, in C order.
    prices : float64 array, shape (n_experts,)
        Prices, max sense.
    ends : int64 array, shape (c + 1,)
        Where each client's pairs start in `col_ind`.
    col_ind : int64 array
        Held experts, of these clients and others.
    slot_max : int64 array, shape (c,)
        Slots of these clients.
    whole : bool
        Whether it is of interest that all values are whole numbers.
    """
    from alignsolve.certificate.row_pass_kernels import regret_sums  # numba is slow to import

    # A few rows tell at once where values are fractions, as they mostly are.
    whole = whole and all(bool((np.floor(v) == v).all()) for v in (values[:16], values[16:]))
    return Stakes(*regret_sums(values, prices, ends, col_ind, slot_max), whole)


def add_stakes(parts: list[Stakes]) -> Stakes:
    """Return what is at stake for the clients of all blocks."""
    return Stakes(
        math.fsum(part.regret for part in parts),
        max((part.largest for part in parts), default=0.0), all(part.whole for part in parts),
    )


def prove_all(
    problem: AlignmentProblem, indptr: IntArray, col_ind: IntArray, prices: Float64Array
) -> Proof:
    """Compare an answer to a problem with the clients' best responses, in one pass.

    Parameters
    ----------
    indptr : int64 array, shape (n_clients + 1,)
        Where each client's pairs start in `col_ind`.
    col_ind : int64 array, shape (n_pairs,)
        Held experts, of a client ascending and distinct.
    prices : float64 array, shape (n_experts,)
        Prices, max sense.
    """
    slot_max = problem.slot_bounds()[1]
    held = np.zeros(col_ind.size)
    residual_of = _residuals(problem, col_ind, prices, held)
    whole = True

    def of_rows(rows: slice, values: FloatArray) -> tuple[float, float, Stakes | None]:
        """Sum the residuals of some rows, and what they could gain or lose."""
        nonlocal whole
        ends = indptr[rows.start : rows.stop + 1]
        residual, largest = residual_of(rows, values, ends)
        if not problem.streamed:
            return residual, largest, None
        stakes = block_stakes(values, prices, ends, col_ind, slot_max[rows], whole)
        whole = whole and bool(stakes.whole)
        return residual, largest, stakes

    parts = map_values(problem, of_rows)
    if any(math.isnan(residual) for residual, _, _ in parts):
        raise ProblemError(CHANGED)
    stakes = [part for _, _, part in parts if part is not None]
    return Proof(
        math.fsum(residual for residual, _, _ in parts),
        max((largest for _, largest, _ in parts), default=0.0), held,
        add_stakes(stakes) if problem.streamed else None,
    )  # fmt: skip


def _residuals(
    problem: AlignmentProblem, col_ind: IntArray, prices: Float64Array, held: Float64Array
) -> Callable[[slice, FloatArray, IntArray], tuple[float, float]]:
    """Return what sums the residuals of some rows, given with their values and pairs' ends.

    It writes values of the held pairs to `held`; see `row_pass_kernels.residual_sum`.
    """
    from alignsolve.certificate import group_pass_kernels, row_pass_kernels

    low, high = problem.slot_bounds()
    if problem.expert_group is None:
        return lambda rows, values, ends: row_pass_kernels.residual_sum(
            values, prices, ends, col_ind, low[rows], high[rows], held
        )
    assert problem.group_min is not None and problem.group_max is not None
    # The compiler makes a version for each layout of arrays.
    least, most = map(np.ascontiguousarray, (problem.group_min, problem.group_max))
    of_column, order = problem.expert_group, np.arange(problem.n_experts)
    if (np.diff(of_column) < 0).any():
        # Groups side by side: columns move, and pairs with them.
        order = np.argsort(of_column, kind="stable")
        of_column = of_column[order]
        col_ind, prices = np.argsort(order)[col_ind], prices[order]
    moved = of_column is not problem.expert_group

    def in_groups(rows: slice, values: FloatArray, ends: IntArray) -> tuple[float, float]:
        sums = []
        # Of columns that move, a part of the rows is copied at a time.
        for part in row_blocks(*values.shape) if moved else [slice(0, len(values))]:
            some = slice(rows.start + part.start, rows.start + part.stop)
            sums.append(group_pass_kernels.residual_sum_in_groups(
                values[part].take(order, axis=1) if moved else values, prices,
                ends[part.start : part.stop + 1], col_ind, (low[some], high[some]), of_column,
                (least[some], most[some]), held,
            ))  # fmt: skip
        return math.fsum(part for part, _ in sums), max((top for _, top in sums), default=0.0)

    return in_groups


def all_regrets(
    problem: AlignmentProblem, indptr: IntArray, col_ind: IntArray, prices: Float64Array
) -> tuple[float, float]:
    """Return the sum of the clients' regrets, and the largest difference; see `Stakes`.

    Parameters are those of `prove_all`.
    """
    from alignsolve.certificate.row_pass_kernels import regret_sums

    slot_max = problem.slot_bounds()[1]

    def of_rows(rows: slice, values: FloatArray) -> tuple[float, float]:
        ends = indptr[rows.start : rows.stop + 1]
        return regret_sums(values, prices, ends, col_ind, slot_max[rows])

    found = map_values(problem, of_rows)
    return math.fsum(regret for regret, _ in found), max((top for _, top in found), default=0.0)


def map_values(problem: AlignmentProblem, work: Callable[[slice, FloatArray], T]) -> list[T]:
    """Return ``work(rows, values)`` of all clients: at once, in place, where that is possible.

    Blocks of a source are worked on in threads, other blocks in turn.
    """
    switching = Feature.SWITCHING in problem.features
    if isinstance(problem.fitness, FitnessSource):
        edges = problem.fitness.edges

        def on_block(k: int, block: FloatArray) -> T:
            rows = slice(int(edges[k]), int(edges[k + 1]))
            return work(rows, problem.less_switching(rows, block) if switching else block)

        return map_blocks(problem.fitness, on_block)
    if not switching and problem.fitness.flags.c_contiguous:
        return [work(slice(0, problem.n_clients), problem.fitness)]
    return [
        work(rows, np.ascontiguousarray(problem.values(rows)))
        for rows in row_blocks(problem.n_clients, problem.n_experts)
    ]
