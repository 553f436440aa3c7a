"""A certificate in parts: each shard proves its clients, the parts are added up."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from alignsolve.certificate.certificate import Certificate, certificate_by_prices
from alignsolve.certificate.duality_gap import gap_of_sums
from alignsolve.certificate.row_pass import Stakes, add_stakes, block_stakes
from alignsolve.errors import BackendError
from alignsolve.model.arrays import Float64Array, IntArray, starts_of
from alignsolve.model.problem import AlignmentProblem, tolerance
from alignsolve.model.text import counted


@dataclass(frozen=True, eq=False)
class PartialProof:
    """What a shard shows about its clients' answers at given prices.

    Attributes
    ----------
    residual : float
        What held sets lack to best responses.
    stakes : Stakes
        What decides whether a gap counts as zero.
    value : float
        Sum of the held values.
    load : int64 array, shape (n_experts,)
        Holders among the clients.
    broken : str
        A bound of a client that the answer breaks; empty for none.
    """

    residual: float
    stakes: Stakes
    value: float
    load: IntArray
    broken: str


def prove_shard(shard: Any, prices: Float64Array) -> PartialProof:
    """Check the answers of a shard's clients, and compare them with best responses.

    Parameters
    ----------
    shard : Shard
        Its rows are read once.
    prices : float64 array, shape (n_experts,)
        Prices, max sense.
    """
    from alignsolve.certificate.row_pass_kernels import residual_sum  # numba is slow to import

    row_ind, col_ind = shard.pairs()
    indptr = starts_of(shard.count)
    held, residuals, stakes = np.zeros(col_ind.size), list[float](), list[Stakes]()
    for k in range(shard.source.n_blocks):
        rows = shard.rows_of(k)
        values, ends = shard.values(k), indptr[rows.start : rows.stop + 1]
        slots = shard.slot_min[rows], shard.slot_max[rows]
        residuals.append(residual_sum(values, prices, ends, col_ind, *slots, held)[0])
        whole = not stakes or bool(stakes[-1].whole)
        stakes.append(block_stakes(values, prices, ends, col_ind, slots[1], whole))
    broken = _broken(shard, row_ind, col_ind)
    forbidden = np.flatnonzero(held == -np.inf)
    if forbidden.size and not broken:
        at = int(forbidden[0])
        broken = f"client {row_ind[at]} may not hold expert {col_ind[at]}"
    load = np.bincount(col_ind, minlength=shard.m)
    return PartialProof(math.fsum(residuals), add_stakes(stakes), float(held.sum()), load, broken)


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
        broken = f"expert {j} has {counted(load[j], 'holder')}; {low[j]:g} to {high[j]:g} allowed"
    if broken:
        raise BackendError(f"backend 'exchange' broke a bound: {broken}")
    residual = math.fsum(part.residual for part in parts)
    stakes = add_stakes([part.stakes for part in parts])
    gap = gap_of_sums(problem, load, prices, residual, stakes)
    value = math.fsum(part.value for part in parts) - problem.holder_penalty(load)
    return certificate_by_prices(problem, problem.sign * value, prices, gap), load
