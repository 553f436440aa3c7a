"""The least priced violation of the mip class, by a linear model with a column per violation.

Two models are solved by HiGHS: first the least violation, then the best
objective at that violation. Penalties on named loads enter the second one by a
few tangents, so that its choice among several least violations is then only
nearly the best.
"""

from __future__ import annotations

import logging
import math
import time
import warnings
from typing import Any

import numpy as np
import scipy.sparse as sp

from alignsolve.backends.milp.exact_cuts import exact_cuts
from alignsolve.backends.milp.float_solver import expected_seconds
from alignsolve.backends.milp.linear_model import LinearModel, build_linear_model
from alignsolve.backends.milp.linear_solve import REPEATABLE_NODES, REPEATABLE_PAIRS
from alignsolve.backends.row_units import row_reduce
from alignsolve.elastic.shortfalls import priced, shortfalls, without_bounds
from alignsolve.elastic.violation_weights import ViolationWeights
from alignsolve.errors import BackendError, guarded
from alignsolve.infeasibility.farkas import bound_rows
from alignsolve.interruptible import Tell, Waited, call
from alignsolve.interrupts import Interrupted
from alignsolve.model.arrays import Float64Array, IntArray
from alignsolve.model.bounds import BoundSet, all_bounds
from alignsolve.model.feasibility import is_feasible
from alignsolve.model.problem import AlignmentProblem, Feature
from alignsolve.relaxation import ELASTIC_KINDS
from alignsolve.status import Limits

logger = logging.getLogger(__name__)

#: Problems with more pairs are not modelled, nor, under a time limit, those with more per second.
MOST_PAIRS, MOST_PAIRS_PER_SECOND = 2_000_000, 5_000

#: Share of the time left for each of the two models.
TIME_SHARE = 0.5

#: Rounds of cutting off answers that HiGHS' tolerance let through.
MOST_ROUNDS = 20

#: What HiGHS may err by in the priced violation, relative to it.
ROUNDING = 1e-7

#: A row's largest coefficient counts as no less than this.
LEAST_COEFFICIENT = 1e-150

Pairs = tuple[IntArray, IntArray]


def least_violating_answer(
    problem: AlignmentProblem, weights: ViolationWeights, limits: Limits
) -> tuple[Pairs, float] | None:
    """Return an assignment of least priced violation, and then of good objective.

    Parameters
    ----------
    problem : AlignmentProblem
        At least one client and one expert, and no negative budget.
    weights : ViolationWeights
        What violations cost.
    limits : Limits
        Limits; a share of the time is left for solving the relaxed problem.

    Returns
    -------
    pairs : tuple of two int64 arrays
        Clients and experts.
    bound : float
        Priced violation that is unavoidable, by HiGHS' word. Or None for both where the
        model is too large or nothing was found in time.
    """
    most = REPEATABLE_PAIRS if limits.repeatable else MOST_PAIRS
    if problem.fitness.size > min(most, MOST_PAIRS_PER_SECOND * limits.remaining()):
        return None
    model = _Model(problem, weights)
    if not model.base.n_pairs:
        nothing = np.empty(0, dtype=np.int64)
        missed = priced(shortfalls(problem, weights, nothing, nothing))
        return (nothing, nothing), missed
    found = model.solve(model.violation_cost, math.inf, limits)
    if found is None:
        return None
    pairs, bound = found
    missed = priced(shortfalls(problem, weights, *pairs))
    modelled = model.violation(*pairs)
    # What no assignment can avoid, such as a bound beyond all clients, is not in the model.
    constant = missed - modelled if math.isfinite(missed) else 0.0
    better = model.solve(model.objective_cost, modelled, limits)
    if better is not None and model.violation(*better[0]) <= modelled * (1 + ROUNDING):
        pairs = better[0]
    return pairs, max(0.0, min(missed, bound + constant))


class _Model:
    """Columns of the linear model without elastic bounds, then one per bound that may be missed."""

    def __init__(self, problem: AlignmentProblem, weights: ViolationWeights) -> None:
        self.hard = without_bounds(problem)
        exact = Feature.NAMED_LOAD_PENALTY not in problem.features
        self.base: LinearModel = build_linear_model(self.hard, all_holder_pieces=exact)
        base = self.base
        rows, limits, costs = _soft_rows(problem, weights, base)
        self.soft, self.limit, self.cost = rows, limits, costs
        n_soft = limits.size
        largest = float(costs.max(initial=0.0)) or 1.0
        self.violation_cost = np.concatenate([np.zeros(base.n_columns), costs / largest])
        self.scale = largest
        size = float(np.abs(base.objective).max(initial=0.0)) or 1.0
        self.objective_cost = np.concatenate([-base.objective / size, np.zeros(n_soft)])
        wide = sp.csr_array((n_soft, base.n_columns - base.n_pairs))
        excess = sp.csr_array(-sp.eye_array(n_soft))
        self.soft_matrix = sp.hstack([rows, wide, excess], format="csr")

    def violation(self, rows: IntArray, cols: IntArray) -> float:
        """Return the priced violation of an assignment as the model sees it."""
        held = self.base.point(self.hard, rows, cols)[: self.base.n_pairs]
        return float(self.cost @ np.maximum(self.soft @ held - self.limit, 0.0))

    def solve(
        self, cost: Float64Array, most: float, limits: Limits
    ) -> tuple[Pairs, float] | None:
        """Minimise a cost at a violation of at most `most`, in `TIME_SHARE` of what is left.

        Returns
        -------
        pairs, bound
            An assignment within all bounds that are never relaxed, and a lower
            bound on the priced violation where that is the cost; or None.
        """
        deadline = time.perf_counter() + TIME_SHARE * limits.remaining()
        for _ in range(MOST_ROUNDS):
            if time.perf_counter() > deadline:
                return None
            try:
                waited: Waited[Any] = guarded(
                    "the model of violations",
                    lambda: self._milp(cost, most, limits, deadline),
                    Waited(None, interrupted=True),
                )
            except BackendError as error:
                logger.info("the elastic solve goes on: %s", error)
                return None
            if waited.interrupted:
                raise Interrupted
            result = waited.value
            if result is None or result.x is None:
                return None
            pairs = self.base.pairs(np.asarray(result.x)[: self.base.n_columns])
            if is_feasible(self.hard, *pairs):
                bound = getattr(result, "mip_dual_bound", None)
                return pairs, (result.fun if bound is None else bound) * self.scale
            cuts = exact_cuts(self.hard, self.base, *pairs)
            if cuts is None:
                return None
            self.base = self.base.with_rows(cuts)
        return None

    def _milp(
        self, cost: Float64Array, most: float, limits: Limits, deadline: float
    ) -> Waited[Any]:
        """Call HiGHS once."""
        from scipy.optimize import Bounds, LinearConstraint

        base, n_soft = self.base, self.limit.size
        pad = sp.csr_array((base.n_rows, n_soft))
        rows = [LinearConstraint(self.soft_matrix, -np.inf, self.limit)] if n_soft else []
        if base.n_rows:
            rows.append(LinearConstraint(
                sp.hstack([base.matrix, pad], format="csr"),
                base.row_lower - base.row_slack, base.row_upper + base.row_slack,
            ))
        if math.isfinite(most):
            room = ROUNDING * max(most, float(self.cost.min(initial=1.0)))
            rows.append(LinearConstraint(
                self.violation_cost[None, :], -np.inf, (most + room) / self.scale
            ))
        left: dict[str, Any] = {"mip_rel_gap": 0.0, "random_seed": limits.seed}
        if limits.threads is not None:
            left["threads"] = limits.threads
        if math.isfinite(deadline):
            left["time_limit"] = max(0.01, deadline - time.perf_counter())
        if limits.repeatable:
            left["node_limit"] = REPEATABLE_NODES
        return call(
            _solved, cost,
            {
                "integrality": np.concatenate([base.is_integer, np.zeros(n_soft)]),
                "bounds": Bounds(
                    np.concatenate([base.lower, np.zeros(n_soft)]),
                    np.concatenate([base.upper, np.full(n_soft, np.inf)]),
                ),
                "constraints": rows,
                "options": left,
            },
            seconds=min(expected_seconds(base), deadline - time.perf_counter()),
            deadline=deadline + 0.1, poll=limits.poll,
        )


def _solved(tell: Tell | None, cost: Float64Array, arguments: dict[str, Any]) -> Any:
    """Call `scipy.optimize.milp`."""
    from scipy.optimize import milp

    with warnings.catch_warnings():
        # SciPy warns that it passes options on to HiGHS unseen: as wanted.
        warnings.filterwarnings("ignore", message="Unrecognized options detected")
        return milp(cost, **arguments)


def _soft_rows(
    problem: AlignmentProblem, weights: ViolationWeights, base: LinearModel
) -> tuple[sp.csr_array, Float64Array, Float64Array]:
    """Return the elastic bounds as rows ``matrix @ pairs - missed <= limit``, and missed's costs.

    Rows are divided by their largest coefficient, so that HiGHS' absolute
    tolerance means the same for all.
    """
    every = all_bounds(problem)
    elastic = {key: index for key, index in every.clients.items() if key[0] in ELASTIC_KINDS}
    kept = BoundSet(elastic, every.experts)
    matrices = [sp.csr_array((0, base.n_pairs))]
    limits, costs = [np.empty(0)], [np.empty(0)]
    for part in bound_rows(problem, kept, base.clients, base.experts):
        # An infinite bound is missed infinitely, whatever is held.
        finite = np.isfinite(part.limit)
        matrix, limit = part.matrix[finite], part.limit[finite]
        largest = row_reduce(np.maximum, np.abs(matrix.data), matrix.indptr, 0.0)
        # Far below the tolerance of all bounds nothing is told apart, and inverses stay finite.
        largest = np.where(largest > 0, np.maximum(largest, LEAST_COEFFICIENT), 1.0)
        matrices.append(sp.csr_array(sp.diags_array(1 / largest) @ matrix))
        limits.append(limit / largest)
        costs.append(weights.of(*part.key)[part.index[finite]] * largest)
    return (sp.csr_array(sp.vstack(matrices, format="csr")), np.concatenate(limits),
            np.concatenate(costs))
