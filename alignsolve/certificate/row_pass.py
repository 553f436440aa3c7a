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

from alignsolve.kernels import is_compiled, prepare
from alignsolve.model.arrays import Float64Array, FloatArray, IntArray, row_blocks
from alignsolve.model.problem import AlignmentProblem, Feature
from alignsolve.model.sources.base import FitnessSource, map_blocks

T = TypeVar("T")


@dataclass(frozen=True)
class Stakes:
    """What decides whether a gap counts as zero.

    Attributes
    ----------
    regret, largest : float
        As `alignsolve.certificate.row_pass_kernels.regret_sums`.
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
    held : float64 array, shape (n_pairs,)
        Values of the held pairs; ``-inf`` where one is forbidden.
    stakes : Stakes or None
        Of a source alone; in memory they are seldom needed, see `all_regrets`.
    """

    residual: float
    held: Float64Array
    stakes: Stakes | None


def must_compile(problem: AlignmentProblem) -> bool:
    """Tell whether a proof takes seconds to compile before it begins."""
    prepare()
    from alignsolve.certificate.row_pass_kernels import residual_rows

    return not is_compiled(residual_rows, problem.fitness.dtype.name)


def block_stakes(
    values: FloatArray, ends: IntArray, col_ind: IntArray, whole: bool = True
) -> Stakes:
    """Return what is at stake for some clients.

    Parameters
    ----------
    values : float32 or float64 array, shape (c, n_experts)
        Fitness less switching cost, in C order.
    ends : int64 array, shape (c + 1,)
        Where each client's pairs start in `col_ind`.
    col_ind : int64 array
        Held experts, of these clients and others.
    whole : bool
        Whether it is of interest that all values are whole numbers.
    """
    from alignsolve.certificate.row_pass_kernels import regret_sums  # numba is slow to import

    # A few rows tell at once where values are fractions, as they mostly are.
    whole = whole and all(bool((np.floor(v) == v).all()) for v in (values[:16], values[16:]))
    return Stakes(*regret_sums(values, ends, col_ind), whole)


def add_stakes(parts: list[Stakes]) -> Stakes:
    """Return what is at stake for the clients of all blocks."""
    return Stakes(
        math.fsum(part.regret for part in parts),
        max((part.largest for part in parts), default=0.0), all(part.whole for part in parts),
    )


def prove_all(
    problem: AlignmentProblem, indptr: IntArray, col_ind: IntArray, prices: Float64Array
) -> Proof:
    """Compare an answer to a problem without groups with the best responses, in one pass.

    Parameters
    ----------
    indptr : int64 array, shape (n_clients + 1,)
        Where each client's pairs start in `col_ind`.
    col_ind : int64 array, shape (n_pairs,)
        Held experts, of a client ascending and distinct.
    prices : float64 array, shape (n_experts,)
        Prices, max sense.
    """
    from alignsolve.certificate.row_pass_kernels import residual_sum

    slot_min, slot_max = problem.slot_bounds()
    held = np.zeros(col_ind.size)
    whole = True

    def of_rows(rows: slice, values: FloatArray) -> tuple[float, Stakes | None]:
        nonlocal whole
        ends = indptr[rows.start : rows.stop + 1]
        slots = slot_min[rows], slot_max[rows]
        residual = residual_sum(values, prices, ends, col_ind, *slots, held)
        if not problem.streamed:
            return residual, None
        stakes = block_stakes(values, ends, col_ind, whole)
        whole = whole and bool(stakes.whole)
        return residual, stakes

    parts = map_values(problem, of_rows)
    stakes = [part for _, part in parts if part is not None]
    return Proof(
        math.fsum(residual for residual, _ in parts), held,
        add_stakes(stakes) if problem.streamed else None,
    )  # fmt: skip


def all_regrets(
    problem: AlignmentProblem, indptr: IntArray, col_ind: IntArray
) -> tuple[float, float]:
    """Return the sum of the clients' regrets, and the largest absolute value.

    Parameters are those of `prove_all`.
    """
    from alignsolve.certificate.row_pass_kernels import regret_sums

    def of_rows(rows: slice, values: FloatArray) -> tuple[float, float]:
        return regret_sums(values, indptr[rows.start : rows.stop + 1], col_ind)

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
        work(rows, problem.values(rows))
        for rows in row_blocks(problem.n_clients, problem.n_experts)
    ]
