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
from dataclasses import replace

import numpy as np
import scipy.sparse as sp

from alignsolve.backends.milp.exact_cuts import exact_cuts
from alignsolve.backends.milp.float_solver import FloatSolver
from alignsolve.backends.milp.linear_model import LinearModel, build_linear_model, rows_below
from alignsolve.backends.milp.linear_solve import REPEATABLE_PAIRS, ModelOutcome, Task
from alignsolve.backends.milp.scipy_milp import ScipyHighs
from alignsolve.backends.row_units import row_reduce
from alignsolve.elastic.shortfalls import priced, shortfalls, without_bounds
from alignsolve.elastic.violation_weights import ViolationWeights
from alignsolve.errors import BackendError, guarded
from alignsolve.infeasibility.farkas import bound_rows
from alignsolve.interruptible import Waited, wait_for
from alignsolve.interrupts import Interrupted
from alignsolve.model.arrays import Float64Array, IntArray
from alignsolve.model.bounds import BoundSet, all_bounds
from alignsolve.model.feasibility import is_feasible
from alignsolve.model.problem import AlignmentProblem
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
    loads = {name: replace(load, penalty=0.0) for name, load in problem.loads.items()}
    model = _Model(problem.replace(load_penalty=0.0, loads=loads), weights)
    if not model.model.n_pairs:
        nothing = np.empty(0, dtype=np.int64)
        missed = priced(shortfalls(problem, weights, nothing, nothing))
        return (nothing, nothing), missed
    found = model.solve(limits)
    if found is None:
        return None
    pairs, bound = found
    missed, modelled = priced(shortfalls(problem, weights, *pairs)), model.missed(*pairs)
    # What no assignment can avoid, such as a bound beyond all clients, is not in the model.
    constant = missed - modelled if math.isfinite(missed) else 0.0
    better = _Model(problem, weights, modelled).solve(limits)
    if better is not None and model.missed(*better[0]) <= modelled * (1 + ROUNDING):
        pairs = better[0]
    return pairs, max(0.0, min(missed, constant - bound))


class _Model:
    """The linear model without elastic bounds, and a column per bound that may be missed.

    It asks for the least priced violation; given `most`, for the best objective at a
    violation of at most that.
    """

    def __init__(
        self, problem: AlignmentProblem, weights: ViolationWeights, most: float | None = None
    ) -> None:
        self.hard = without_bounds(problem)
        base = build_linear_model(self.hard, all_holder_pieces=True)
        self.soft, self.limit, self.cost = _soft_rows(problem, weights, base)
        n_soft = self.limit.size
        nothing = np.zeros(n_soft)
        violation = np.concatenate([np.zeros(base.n_columns), self.cost])
        objective = np.concatenate([base.objective, nothing])
        wide = sp.csr_array((n_soft, base.n_columns - base.n_pairs))
        misses = sp.hstack([self.soft, wide, -sp.eye_array(n_soft)], format="csr")
        self.model = replace(
            base,
            lower=np.concatenate([base.lower, nothing]),
            upper=np.concatenate([base.upper, np.full(n_soft, np.inf)]),
            is_integer=np.concatenate([base.is_integer, np.zeros(n_soft, dtype=np.bool_)]),
            objective=-violation if most is None else objective,
            blocks=tuple(replace(block, matrix=sp.hstack(
                [block.matrix, sp.csr_array((block.keys.size, n_soft))], format="csr"
            )) for block in base.blocks),
        ).with_rows(rows_below("missed", misses, self.limit))
        if most is not None:
            room = ROUNDING * max(most, float(self.cost.min(initial=1.0)))
            self.model = self.model.with_rows(
                rows_below("violation", sp.csr_array(violation[None, :]), np.array([most + room])))

    def missed(self, rows: IntArray, cols: IntArray) -> float:
        """Return the priced violation of an assignment as the model sees it."""
        held = self.model.point(self.hard, rows, cols)[: self.model.n_pairs]
        return float(self.cost @ np.maximum(self.soft @ held - self.limit, 0.0))

    def solve(self, limits: Limits) -> tuple[Pairs, float] | None:
        """Maximise the model's objective in `TIME_SHARE` of the time that is left.

        Returns
        -------
        pairs, bound
            An assignment within all bounds that are never relaxed, and an upper bound on
            the objective; or None.
        """
        deadline = time.perf_counter() + TIME_SHARE * limits.remaining()
        for _ in range(MOST_ROUNDS):
            if time.perf_counter() > deadline:
                return None
            try:
                outcome = self._solved(replace(limits, deadline=deadline, rel_gap=0.0))
            except BackendError as error:
                logger.info("the elastic solve goes on: %s", error)
                return None
            if not outcome.points:
                return None
            pairs = self.model.pairs(outcome.points[-1])
            if is_feasible(self.hard, *pairs):
                return pairs, outcome.bound
            cuts = exact_cuts(self.hard, self.model, *pairs)
            if cuts is None:
                return None
            self.model = self.model.with_rows(cuts)
        return None

    def _solved(self, limits: Limits) -> ModelOutcome:
        """Call HiGHS once."""
        solver, task = FloatSolver(ScipyHighs()), Task(self.model, limits)
        waited: Waited[ModelOutcome | None] = guarded(
            "the model of violations",
            lambda: wait_for(lambda: solver.run(task), limits.deadline + 0.1, solver.stop,
                             limits.poll),
            Waited(None, interrupted=True),
        )
        if waited.interrupted:
            raise Interrupted
        return waited.value or ModelOutcome()


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
