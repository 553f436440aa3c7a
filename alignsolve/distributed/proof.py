"""A certificate in parts: each shard proves its clients, the parts are added up."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from alignsolve.backends.exchange.inputs import part_of
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
    experts : int64 array, shape (k,)
        The experts that the shard's columns stand for.
    load : int64 array, shape (k,)
        Their holders among the clients.
    broken : str
        A bound of a client that the answer breaks; empty for none.
    """

    residual: float
    stakes: Stakes
    value: float
    experts: IntArray
    load: IntArray
    broken: str


def prove_shard(shard: Any, experts: IntArray, prices: Float64Array) -> PartialProof:
    """Check the answers of a shard's clients, and compare them with best responses.

    Parameters
    ----------
    shard : Shard
        Its rows are read once.
    experts : int64 array, shape (k,)
        What its columns stand for.
    prices : float64 array, shape (k,)
        Prices, max sense.
    """
    # numba is slow to import
    from alignsolve.certificate.group_pass_kernels import residual_sum_in_groups
    from alignsolve.certificate.row_pass_kernels import residual_sum

    row_ind, col_ind = shard.pairs()
    indptr = starts_of(shard.count)
    held, residuals, stakes = np.zeros(col_ind.size), list[float](), list[Stakes]()
    for k in range(shard.source.n_blocks):
        rows = shard.rows_of(k)
        values, ends = shard.values(k), indptr[rows.start : rows.stop + 1]
        slots = shard.slot_min[rows], shard.slot_max[rows]
        groups = part_of(shard.groups, rows)
        if groups is None:
            residual, _ = residual_sum(values, prices, ends, col_ind, *slots, held)
        else:
            # As the proof of a problem in memory has them: kernels are compiled for one kind.
            of_expert, low, high = (array.astype(np.int64) for array in (
                groups.of_expert, groups.low, groups.high))  # fmt: skip
            residual, _ = residual_sum_in_groups(values, prices, ends, col_ind, slots, of_expert,
                                                 (low, high), held)  # fmt: skip
        residuals.append(residual)
        whole = not stakes or bool(stakes[-1].whole)
        stakes.append(block_stakes(values, prices, ends, col_ind, slots[1], whole))
    broken = _broken(shard, row_ind, col_ind, experts)
    forbidden = np.flatnonzero(held == -np.inf)
    if forbidden.size and not broken:
        at = int(forbidden[0])
        broken = f"client {row_ind[at]} may not hold expert {experts[col_ind[at]]}"
    load = np.bincount(col_ind, minlength=shard.m)
    return PartialProof(math.fsum(residuals), add_stakes(stakes), float(held.sum()), experts, load,
                        broken)  # fmt: skip


def _broken(shard: Any, row_ind: IntArray, col_ind: IntArray, experts: IntArray) -> str:
    """Return a bound of a client that an answer breaks, or a pair that it names twice."""
    bad = np.flatnonzero((shard.count < shard.slot_min) | (shard.count > shard.slot_max))
    if bad.size:
        i = int(bad[0])
        return (f"client {shard.start + i} holds {shard.count[i]} experts; "
                f"{shard.slot_min[i]} to {shard.slot_max[i]} allowed")
    twice = np.flatnonzero((np.diff(row_ind) == 0) & (np.diff(col_ind) == 0))
    if twice.size:
        return f"client {row_ind[twice[0]]} is given expert {experts[col_ind[twice[0]]]} twice"
    if shard.groups is None:
        return ""
    count = np.zeros(shard.groups.low.shape, np.int64)
    np.add.at(count, (row_ind - shard.start, shard.groups.of_expert[col_ind]), 1)
    for i, g in np.argwhere((count < shard.groups.low) | (count > shard.groups.high))[:1]:
        first, last = shard.groups.start[g : g + 2]
        return (f"client {shard.start + i} holds {count[i, g]} of the experts "
                f"{experts[first:last].tolist()}; {shard.groups.low[i, g]} to "
                f"{shard.groups.high[i, g]} allowed")
    return ""


def add_proofs(
    problem: AlignmentProblem, prices: Float64Array, parts: Sequence[PartialProof]
) -> tuple[Certificate, IntArray]:
    """Return the certificate that the parts make, and the loads.

    Parameters
    ----------
    problem : AlignmentProblem
        A problem of the flow class; its fitness is not read.
    prices : float64 array, shape (n_experts,)
        Prices, max sense.
    parts : sequence of PartialProof
        One per component and shard.

    Raises
    ------
    BackendError
        If the answer breaks a bound.
    """
    load = np.zeros(problem.n_experts, np.int64)
    for part in parts:
        load[part.experts] += part.load
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
