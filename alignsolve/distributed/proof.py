"""A certificate in parts: each shard proves its clients, the parts are added up."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from alignsolve.certificate.certificate import (
    Certificate,
    certificate_by_prices,
    has_integral_penalties,
)
from alignsolve.certificate.duality_gap import DualGap, holder_residuals, optimality_tolerance
from alignsolve.certificate.row_pass import Stakes, add_stakes, block_stakes
from alignsolve.errors import BackendError
from alignsolve.model.arrays import Float64Array, FloatArray, IntArray
from alignsolve.model.problem import AlignmentProblem, tolerance


@dataclass(frozen=True, eq=False)
class PartialProof:
    """What a shard shows about its clients' answers at given prices.

    Attributes
    ----------
    residual : float
        What held sets lack to best responses.
    regret, largest : float
        Sum of largest less least held values, and the largest absolute of these.
    value : float
        Sum of the held values.
    load : int64 array, shape (n_experts,)
        Holders among the clients.
    broken : str
        A bound of a client that the answer breaks; empty for none.
    whole : bool
        Whether all values are whole numbers.
    """

    residual: float
    regret: float
    largest: float
    value: float
    load: IntArray
    broken: str
    whole: bool


def prove_shard(shard: Any, prices: Float64Array) -> PartialProof:
    """Check the answers of a shard's clients, and compare them with best responses.

    Parameters
    ----------
    shard : Shard
        Its rows are read once.
    prices : float64 array, shape (n_experts,)
        Prices, max sense.
    """
    from alignsolve.backends.exchange.bookkeeping import write_values
    from alignsolve.certificate.row_pass_kernels import residual_sum  # numba is slow to import

    row_ind, col_ind = shard.pairs()
    indptr = np.append(0, np.cumsum(shard.count, dtype=np.int64))
    held, residuals, stakes = np.zeros(col_ind.size), list[float](), list[Stakes]()
    for k in range(shard.source.n_blocks):
        a, b = int(shard.source.edges[k]), int(shard.source.edges[k + 1])
        values: FloatArray = np.ascontiguousarray(shard.source.block(k))
        shard.rows_read += b - a
        if shard.switch[0].size:
            fitness, values = values, np.empty(values.shape)
            write_values(fitness, np.arange(a, b), *shard.switch, values)
        slots = shard.slot_min[a:b], shard.slot_max[a:b]
        ends = indptr[a : b + 1]
        residuals.append(residual_sum(values, prices, ends, col_ind, *slots, held))
        stakes.append(block_stakes(values, ends, col_ind, not stakes or stakes[-1].whole))
    at_stake = add_stakes(stakes)
    broken = _broken(shard, row_ind, col_ind)
    forbidden = np.flatnonzero(held == -np.inf)
    if forbidden.size and not broken:
        at = int(forbidden[0])
        broken = f"client {row_ind[at]} may not hold expert {col_ind[at]}"
    return PartialProof(
        math.fsum(residuals), at_stake.regret, at_stake.largest, float(held.sum()),
        np.bincount(col_ind, minlength=shard.m), broken, at_stake.whole,
    )  # fmt: skip


def _broken(shard: Any, row_ind: IntArray, col_ind: IntArray) -> str:
    """Return a slot bound that an answer breaks, or a pair that it names twice."""
    bad = np.flatnonzero((shard.count < shard.slot_min) | (shard.count > shard.slot_max))
    if bad.size:
        i = int(bad[0])
        return (f"client {shard.start + i} holds {shard.count[i]} experts; "
                f"{shard.slot_min[i]} to {shard.slot_max[i]} allowed")
    twice = np.flatnonzero((np.diff(row_ind) == 0) & (np.diff(col_ind) == 0))
    if twice.size:
        return f"client {row_ind[twice[0]]} is given expert {col_ind[twice[0]]} twice"
    return ""


def add_proofs(
    problem: AlignmentProblem, prices: Float64Array, parts: Sequence[PartialProof]
) -> tuple[Certificate, IntArray]:
    """Return the certificate that the parts make, and the loads.

    Parameters
    ----------
    problem : AlignmentProblem
        A problem of the flow class without groups; its fitness is not read.
    prices : float64 array, shape (n_experts,)
        Prices, max sense.
    parts : sequence of PartialProof
        One per shard, in order.

    Raises
    ------
    BackendError
        If the answer breaks a bound.
    """
    load = np.sum([part.load for part in parts], axis=0)
    broken = next((part.broken for part in parts if part.broken), "")
    low, high = problem.load_min, problem.load_max
    wrong = (load < low - tolerance(low)) | (load > high + tolerance(high))
    for j in np.flatnonzero(wrong)[:1]:
        broken = f"expert {j} has {load[j]} holders; {low[j]:g} to {high[j]:g} allowed"
    if broken:
        raise BackendError(f"backend 'exchange' broke a bound: {broken}")
    residual = math.fsum(part.residual for part in parts)
    gap_abs = residual + float(holder_residuals(problem, prices, load).sum())
    regret = math.fsum(part.regret for part in parts)
    largest = max(part.largest for part in parts)
    gap = DualGap(gap_abs, optimality_tolerance(problem, load, regret, largest))
    value = math.fsum(part.value for part in parts) - problem.holder_penalty(load)
    whole = all(part.whole for part in parts) and has_integral_penalties(problem)
    optimal = gap_abs == 0 or (gap_abs <= gap.tolerance and not whole)
    return certificate_by_prices(problem, problem.sign * value, prices, gap, optimal), load
