"""A proof of an answer in one pass over the values: for sources, whose blocks cost time.

What `alignsolve.dual` and `alignsolve.certificate` ask one after the other of a matrix in
memory is gathered here from each block while it is there.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from alignsolve.arrays import Float64Array, FloatArray, IntArray
from alignsolve.dual import map_values, pointers
from alignsolve.problem import AlignmentProblem


@dataclass(frozen=True, eq=False)
class BlockProof:
    """What some clients' values say of their answers at given prices.

    Attributes
    ----------
    residual : float
        What held sets lack to best replies; infinite where there is no reply.
    regret, largest : float
        As `alignsolve.dual_kernel.regret_sums`.
    held : float64 array, shape (n_pairs,)
        Values of the held pairs; ``-inf`` where one is forbidden.
    whole : bool
        Whether all values are whole numbers.
    """

    residual: float
    regret: float
    largest: float
    held: Float64Array
    whole: bool


def prove_block(
    values: FloatArray,
    prices: Float64Array,
    ends: IntArray,
    col_ind: IntArray,
    slots: tuple[IntArray, IntArray],
    whole: bool = True,
) -> BlockProof:
    """Compare the answers of some clients with their best replies.

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
    slots : tuple of int64 arrays, shape (c,) each
        Fewest and most experts of each client.
    whole : bool
        Whether it is of interest that all values are whole numbers.
    """
    from alignsolve.dual_kernel import regret_sums, residual_sum  # numba is slow to import

    rows = np.repeat(np.arange(values.shape[0]), np.diff(ends))
    held = values[rows, col_ind[ends[0] : ends[-1]]].astype(np.float64)
    # A few rows tell at once where values are fractions, as they mostly are.
    whole = whole and all(bool((np.floor(v) == v).all()) for v in (values[:16], values[16:]))
    return BlockProof(
        residual_sum(values, prices, ends, col_ind, *slots),
        *regret_sums(values, ends, col_ind), held, whole,
    )  # fmt: skip


def add_blocks(parts: list[BlockProof]) -> BlockProof:
    """Return what consecutive blocks say together."""
    return BlockProof(
        math.fsum(part.residual for part in parts),
        math.fsum(part.regret for part in parts),
        max((part.largest for part in parts), default=0.0),
        np.concatenate([np.empty(0), *(part.held for part in parts)]),
        all(part.whole for part in parts),
    )


def prove_all(
    problem: AlignmentProblem, row_ind: IntArray, col_ind: IntArray, prices: Float64Array
) -> BlockProof:
    """Do as `prove_block` with all clients of a problem without groups, in one pass.

    Parameters
    ----------
    row_ind, col_ind : int64 arrays, shape (n_pairs,)
        An answer, sorted by (row, col).
    prices : float64 array, shape (n_experts,)
        Prices, max sense.
    """
    slot_min, slot_max = problem.slot_bounds()
    indptr = pointers(problem, row_ind)
    whole = True

    def of_rows(rows: slice, values: FloatArray) -> BlockProof:
        nonlocal whole
        ends = indptr[rows.start : rows.stop + 1]
        slots = slot_min[rows], slot_max[rows]
        part = prove_block(values, prices, ends, col_ind, slots, whole)
        whole = whole and part.whole
        return part

    return add_blocks(map_values(problem, of_rows))
