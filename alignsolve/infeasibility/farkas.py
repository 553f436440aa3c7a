"""Bounds that contradict each other already in the linear relaxation.

The relaxation asks for the least total by which bounds must be exceeded. Where
that is not 0, the prices of the bounds prove the contradiction by one weighted
sum of inequalities (J Farkas, Theorie der einfachen Ungleichungen, 1902,
doi:10.1515/crll.1902.124.1), and only bounds with a price take part. The sum is
recomputed here: the solver is not believed.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from alignsolve.errors import BackendError, guarded
from alignsolve.infeasibility.max_flow import expert_groups
from alignsolve.interruptible import Tell, Waited, call
from alignsolve.interrupts import Interrupted
from alignsolve.model.arrays import Float64Array, IntArray
from alignsolve.model.bounds import EXPERT_KINDS, BoundSet, Key, bound_values
from alignsolve.model.problem import AlignmentProblem
from alignsolve.standard_form import CouplingConstraints, Margin, client_sums

logger = logging.getLogger(__name__)

#: Relaxations with more coefficients are not solved.
MOST_COEFFICIENTS = 3_000_000

#: Coefficients of a relaxation that HiGHS solves in a second, at least.
COEFFICIENTS_PER_SECOND = 20_000

#: Prices below this share of the largest are taken for 0.
SMALLEST_PRICE = 1e-7

#: Kinds of bounds from below.
LOWER_KINDS = ("load_min", "min_experts", "group_min", "client_fitness_min")

#: Rounding errors granted to the recomputed sum, relative to its terms.
ROUNDING = 1e-10


@dataclass(frozen=True, eq=False)
class BoundRows:
    """Bounds of one kind as rows ``matrix @ x <= limit``."""

    key: Key
    index: IntArray
    matrix: sp.csr_array
    limit: Float64Array


def linear_core(
    problem: AlignmentProblem, kept: BoundSet, deadline: float = math.inf,
    poll: Callable[[], bool] | None = None,
) -> BoundSet | None:
    """Return those of some bounds that contradict each other in the linear relaxation.

    Parameters
    ----------
    problem : AlignmentProblem
        The problem.
    kept : BoundSet
        The bounds in force; forbidden pairs are besides.
    deadline : float
        Value of ``time.perf_counter()`` at which to stop.
    poll : callable, optional
        Tells whether the caller asks to stop.

    Returns
    -------
    BoundSet or None
        None where the relaxation can hold, has no pairs, is too large, took
        too long, or the solver failed.

    Raises
    ------
    Interrupted
        On Ctrl-C, or where the caller asks to stop.
    """
    if time.perf_counter() > deadline:
        return None
    clients, experts = np.nonzero(problem.fitness > -np.inf)
    kinds = len(kept.clients) + len(kept.experts)
    if not 0 < clients.size * kinds <= MOST_COEFFICIENTS:
        return None
    parts = list(bound_rows(problem, kept, clients, experts))
    limit = np.concatenate([part.limit for part in parts])
    if not np.isfinite(limit).all():
        return None
    matrix = sp.csr_array(sp.vstack([part.matrix for part in parts], format="csr"))
    prices = _prices(matrix, limit, deadline, poll)
    if prices is None or not _is_proof(matrix, limit, prices):
        return None
    prices_of = np.split(prices, np.cumsum([part.index.size for part in parts])[:-1])
    return BoundSet.by_kind(
        (part.key, part.index[price > 0]) for part, price in zip(parts, prices_of, strict=True)
    )


def _prices(
    matrix: sp.csr_array, limit: Float64Array, deadline: float, poll: Callable[[], bool] | None
) -> Float64Array | None:
    """Return the prices of the rows in the least total excess, or None where it is 0."""
    n_rows, n_columns = matrix.shape
    scale = np.maximum(abs(matrix).max(axis=1).toarray().ravel(), 1e-300)
    excess = sp.csr_array(sp.diags_array(-scale))
    left = max(0.01, deadline - time.perf_counter())
    upper = np.concatenate([np.ones(n_columns), np.full(n_rows, np.inf)])
    try:
        waited: Waited[Float64Array | None] = guarded("the linear relaxation", lambda: call(
            _solved,
            np.concatenate([np.zeros(n_columns), np.ones(n_rows)]),
            {
                "A_ub": sp.hstack([matrix, excess], format="csr"),
                "b_ub": limit,
                "bounds": np.column_stack([np.zeros_like(upper), upper]),
                "options": {"time_limit": left} if math.isfinite(left) else {},
            },
            seconds=min(left, matrix.nnz / COEFFICIENTS_PER_SECOND), deadline=deadline + 0.1,
            poll=poll,
        ), Waited(None, interrupted=True))  # fmt: skip
    except BackendError as error:
        logger.info("the search for a conflict goes on: %s", error)
        return None
    if waited.interrupted:
        raise Interrupted
    if waited.value is None:
        return None
    prices = waited.value
    prices[prices < SMALLEST_PRICE * prices.max(initial=0.0)] = 0.0
    return prices


def _solved(
    tell: Tell | None, cost: Float64Array, arguments: dict[str, Any]
) -> Float64Array | None:
    """Return the prices of a linear program's rows, by HiGHS; None where its value is 0."""
    from scipy.optimize import linprog

    solve: Any = linprog
    solved = solve(cost, method="highs", **arguments)
    if solved.status != 0 or solved.fun <= 0:
        return None
    return np.maximum(0.0, -np.asarray(solved.ineqlin.marginals, dtype=np.float64))


def _is_proof(matrix: sp.csr_array, limit: Float64Array, prices: Float64Array) -> bool:
    """Tell whether the weighted sum of the rows exceeds its limit for every 0/1 point."""
    least = np.minimum(matrix.T @ prices, 0.0).sum()
    terms = float((abs(matrix).T @ prices).sum() + prices @ np.abs(limit))
    return bool(least - prices @ limit > ROUNDING * terms)


def bound_rows(
    problem: AlignmentProblem, kept: BoundSet, clients: IntArray, experts: IntArray
) -> Iterator[BoundRows]:
    """Yield the rows of each kind of bound; limits include the package's tolerance."""
    group, columns = expert_groups(problem), np.arange(clients.size)
    loads = CouplingConstraints.of(problem, Margin.OUTWARD, all_holders=True)
    sums = {part.name: part for part in client_sums(problem, Margin.OUTWARD)}
    for key, index in kept.items():
        kind, name, g = key
        owner = experts if kind in EXPERT_KINDS else clients
        weight, lower = np.ones(clients.size), kind in LOWER_KINDS
        limit: npt.NDArray[Any]
        if kind in EXPERT_KINDS:
            load = loads.names.index(name or "")
            weight = loads.weight[load, clients]
            limit = (loads.low if lower else loads.high)[load]
        elif kind in ("resource", "client_fitness_min"):
            client_sum = sums[name or ""]
            weight = client_sum.entries((clients, experts)).astype(np.float64)
            limit = client_sum.low if lower else client_sum.high
        else:
            limit = bound_values(problem, *key).astype(np.float64)
        among = slice(None) if g is None else group[experts] == g
        sign = -1.0 if lower else 1.0
        matrix = sp.csr_array(
            (sign * weight[among], (owner[among], columns[among])), (limit.size, columns.size)
        )
        yield BoundRows(key, index, matrix[index], sign * limit[index])
