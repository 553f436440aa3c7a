"""The hard class from start to end: prices, answers, and what is left to an exact solver."""

from __future__ import annotations

import dataclasses
import logging
import math
import time
from collections.abc import Collection

import numpy as np

from alignsolve.backends.base import library_version
from alignsolve.backends.incumbent import SharedIncumbent
from alignsolve.backends.lagrangian import gap_search, proximal_newton
from alignsolve.backends.lagrangian.best_response_search import BestResponseSearch
from alignsolve.backends.lagrangian.bound import Relaxation
from alignsolve.backends.lagrangian.dual_mirror_descent import FIRST_STEP, MirrorDescent
from alignsolve.backends.lagrangian.subgradient import Priced, subgradient_ascent
from alignsolve.errors import AlignSolveError
from alignsolve.model.arrays import BoolArray, Float64Array, IntArray
from alignsolve.model.contradictions import contradictions
from alignsolve.model.problem import AlignmentProblem
from alignsolve.status import Limits, Outcome, Subsolver, Termination

logger = logging.getLogger("alignsolve")

#: Clients of the sample on which prices are sought first, where there are many more, and
#: by what factor it grows.
SAMPLE, GROWTH = 2000, 8
#: Sweeps of mirror descent; later ones, each of which is made an answer; after how many of them
#: the bound is computed, with how many nodes of a client's search.
SWEEPS, LATE_SWEEPS, LOOK, LOOK_NODES = 15, 25, 5, 2000
#: Most quasi-Newton steps, for each sample, and of subgradient steps.
PASSES, SUBGRADIENT_PASSES = 40, 1500
#: Share of the loads that responses may be out of bounds by before mirror descent goes on, and
#: how far a choice moves a price then.
LARGEST_EXCESS, LATE_STEP = 0.02, 0.02
#: Share of the time limit that the prices may take, and that prices and answers together
#: may take where clients are few.
PRICE_SHARE, FEW_SHARE = 0.4, 0.8
#: Distance of the first target from the bound, for subgradient steps.
FIRST_DISTANCE = 0.05
#: Pairs up to which an exact solver is asked for what is left open: with a time limit, and
#: without one, as it may then take very long.
EXACT_PAIRS, EXACT_PAIRS_UNLIMITED = 1 << 19, 1 << 15
#: Exact solvers of the linear model, in order.
EXACT = ("ortools-mip", "scipy-milp")


def solve_lagrangian(
    problem: AlignmentProblem, limits: Limits, parts: Collection[str], ask: Subsolver
) -> Outcome:
    """Solve a problem with loads, and bound how much better another answer can be.

    Parameters
    ----------
    problem : AlignmentProblem
        At least one client and one expert.
    limits : Limits
        Limits and hints.
    parts : collection of str
        Which of "search", "tree" and "exact" to use after the prices; see
        `alignsolve.backends.lagrangian.backend.LagrangianBackend`.
    ask : callable
        Solves by another backend.

    Returns
    -------
    Answer
        Feasible; `Outcome.bound` is the least of the Lagrangian bound, what the
        tree search rules out, and the exact solver's bound, and `Outcome.source`
        names where it comes from.
    """
    run = _Run(problem, limits, parts, ask)
    try:
        run.run()
    except KeyboardInterrupt:
        run.best.stop()
        run.best.interrupted = True
    return run.answer()


class _Run:
    """One solve."""

    def __init__(
        self, problem: AlignmentProblem, limits: Limits, parts: Collection[str], ask: Subsolver
    ) -> None:
        self.problem, self.limits, self.parts, self.ask = problem, limits, parts, ask
        self.best = SharedIncumbent(problem, limits)
        # Solvers of others end a little before the limit.
        self.out_of_time = False
        self.started = time.perf_counter()
        self.stats: dict[str, float | int] = {}

    def run(self) -> None:
        """Price, then search in the way that fits the problem."""
        began = time.perf_counter()
        self.best.infeasible = any(True for _ in contradictions(self.problem))
        if self.best.infeasible:
            return
        relaxation = Relaxation(self.problem, self.limits.threads)
        self.stats["build_seconds"] = time.perf_counter() - began
        # Which of two searches side by side finds an answer first is a matter of time.
        if gap_search.applies(relaxation) and not self.limits.repeatable:
            self._solve_jobs(relaxation)
        else:
            self._solve_fleet(relaxation)

    def _solve_jobs(self, relaxation: Relaxation) -> None:
        """Price generalized assignment, then search for answers and proofs."""
        priced = self._ascend(relaxation)
        if not self._is_priced(relaxation, priced):
            return
        search = gap_search.GapSearch(
            relaxation, priced, self.best, self._exact, self.parts, self.ask
        )
        try:
            search.run()
        finally:
            self.stats |= {
                "nodes": search.nodes, "dives": search.dives, "polishes": search.polishes,
                "cores": search.cores,
            }  # fmt: skip

    def _solve_fleet(self, relaxation: Relaxation) -> None:
        """Price, make the clients' choices an answer, and let others finish what is small."""
        fleet = BestResponseSearch(relaxation, self.best)
        priced = self._price(relaxation, fleet)
        if not self._is_priced(relaxation, priced):
            return
        assert priced.responses is not None
        held = priced.responses.held.copy()
        if fleet.excess(priced.responses.demand) > LARGEST_EXCESS:
            # Many clients are alike: they must share what all want at these prices.
            descent = self._mirror_descent(
                relaxation, relaxation.everyone, priced.prices, LATE_STEP
            )
            descent.sweep()
            held = descent.held
        self._improve(fleet, priced.prices, held)
        self.stats["sweeps"] = fleet.sweeps
        self.best.report()
        limited = math.isfinite(self.limits.deadline)
        most = EXACT_PAIRS if limited else EXACT_PAIRS_UNLIMITED
        small = self.problem.fitness.size <= most
        if "exact" in self.parts and small and not self.best.is_over:
            self._finish_exactly()

    def _improve(self, fleet: BestResponseSearch, prices: Float64Array, held: BoolArray) -> None:
        """Make sets an answer, if answers are sought."""
        if "search" in self.parts:
            fleet.improve(prices, held)

    def _is_priced(self, relaxation: Relaxation, priced: Priced) -> bool:
        """Take what the prices prove; tell whether to go on from them."""
        self.stats["price_seconds"] = time.perf_counter() - self.started
        self.stats["passes"] = relaxation.passes
        self.best.lower(priced.bound)
        if priced.responses is not None and priced.responses.infeasible:
            self.best.infeasible = True
        self.best.report()
        return priced.responses is not None and not self.best.is_over

    def _mirror_descent(
        self, relaxation: Relaxation, clients: IntArray, prices: Float64Array, first_step: float
    ) -> MirrorDescent:
        return MirrorDescent(
            relaxation, clients, prices, first_step=first_step, seed=self.limits.seed
        )

    def _price(self, relaxation: Relaxation, fleet: BestResponseSearch) -> Priced:
        """Find good prices: on samples first where there are many clients."""
        n, prices = self.problem.n_clients, np.zeros(relaxation.shape)
        share = FEW_SHARE if n <= 2 * SAMPLE else PRICE_SHARE
        deadline = time.perf_counter() + share * self.limits.remaining()
        curvature = proximal_newton.Curvature.guess(relaxation)
        if n <= 2 * SAMPLE:
            priced = self._price_few(relaxation, fleet, deadline)
            if not math.isfinite(priced.bound) or self.best.is_over:
                return priced
            prices = priced.prices
        else:
            order = np.random.default_rng(self.limits.seed).permutation(n)
            size = SAMPLE
            descent = self._mirror_descent(relaxation, np.sort(order[:size]), prices, FIRST_STEP)
            for _ in range(SWEEPS):
                descent.sweep()
                self.best.report()
                if self.best.is_over:
                    break
            prices = descent.mean
            while 2 * size < n and not self.best.is_over:
                prices = proximal_newton.clear(
                    relaxation, Priced(prices), curvature, deadline=deadline, max_passes=PASSES,
                    sample=np.sort(order[:size]), seen=self._seen,
                ).prices  # fmt: skip
                size *= GROWTH
        if self.best.is_over:
            # A pass over many clients would take far longer than what is left.
            return Priced(prices)
        return proximal_newton.clear(
            relaxation, Priced(prices), curvature, deadline=deadline, max_passes=PASSES,
            seen=self._seen_all,
        )  # fmt: skip

    def _price_few(
        self, relaxation: Relaxation, fleet: BestResponseSearch, deadline: float
    ) -> Priced:
        """Run mirror descent over all clients; now and then bound, and make an answer."""
        prices = np.zeros(relaxation.shape)
        descent = self._mirror_descent(relaxation, relaxation.everyone, prices, FIRST_STEP)
        best = Priced(prices)
        for sweep in range(1, SWEEPS + LATE_SWEEPS + 1):
            descent.sweep()
            late = self.best.is_over or time.perf_counter() >= deadline
            look = sweep % LOOK == 0 or late
            if look:
                responses = relaxation.responses(descent.mean, nodes=LOOK_NODES)
                if responses.infeasible or responses.bound < best.bound:
                    best = Priced(descent.mean.copy(), responses.bound, responses)
                if responses.infeasible:
                    break
                self.best.lower(best.bound)
            if look or sweep > SWEEPS:
                self._improve(fleet, descent.mean, descent.held.copy())
                self.best.report()
            if late or self.best.is_over:
                break
        return best

    def _ascend(self, relaxation: Relaxation) -> Priced:
        """Find good prices where clients are few and responses jump."""
        deadline = time.perf_counter() + PRICE_SHARE * self.limits.remaining()
        prices = np.zeros(relaxation.shape)
        start = relaxation.responses(prices)
        if start.infeasible:
            return Priced(prices, start.bound, start)
        values = self.problem.values(slice(0, self.problem.n_clients))
        scale = max(abs(start.bound), gap_search.first_distance(values))
        return subgradient_ascent(
            relaxation, Priced(prices, start.bound, start), distance=FIRST_DISTANCE * scale,
            value=lambda: self.best.value, deadline=deadline, max_passes=SUBGRADIENT_PASSES,
            seen=self._seen_all,
        )  # fmt: skip

    def _seen(self, priced: Priced) -> bool:
        """Report between passes over a sample; tell whether to stop."""
        self.best.report()
        return self.best.is_over

    def _seen_all(self, priced: Priced) -> bool:
        """Take the bound and report between passes over everyone; tell whether to stop."""
        self.best.lower(priced.bound)
        return self._seen(priced)

    def _exact(self, problem: AlignmentProblem, limits: Limits) -> Outcome:
        """Ask the first exact solver that is installed and works."""
        for name in EXACT:
            try:
                answer = self.ask(name, problem, limits)
            except AlignSolveError as error:
                logger.info("lagrangian goes on without %s: %s", name, error)
                continue
            ended = answer.infeasible or answer.termination is Termination.INTERRUPTED
            if ended or answer.row_ind is not None or math.isfinite(answer.bound):
                return answer
        return Outcome.nothing(Termination.FAILED)

    def _finish_exactly(self) -> None:
        """Let an exact solver improve answer and bound."""
        limits = self.limits
        if self.best.pairs is not None:
            limits = dataclasses.replace(limits, warm_start=self.best.pairs)
        answer = self._exact(self.problem, limits)
        if answer.infeasible:
            self.best.infeasible = self.best.pairs is None
        if answer.row_ind is not None and answer.col_ind is not None:
            self.best.offer(answer.row_ind, answer.col_ind)
        self.best.lower(answer.bound, answer.source)
        self.best.interrupted |= answer.termination is Termination.INTERRUPTED
        self.out_of_time = answer.termination is Termination.TIME_LIMIT

    def answer(self) -> Outcome:
        """Return what was found."""
        best = self.best
        source = best.source or f"Lagrangian bound ({library_version('alignsolve')})"
        self.stats["solve_seconds"] = time.perf_counter() - self.started
        if best.infeasible:
            return Outcome.proved_infeasible(source=source, stats=self.stats)
        if best.interrupted:
            termination = Termination.INTERRUPTED
        elif best.proved:
            termination = Termination.PROVED
        elif best.good_enough:
            termination = Termination.GAP_REACHED
        elif self.out_of_time or self.limits.remaining() <= 0:
            termination = Termination.TIME_LIMIT
        else:
            termination = Termination.HEURISTIC_DONE
        rows, cols = (None, None) if best.pairs is None else best.pairs
        bound = max(best.bound, best.value)
        return Outcome(termination, rows, cols, bound=bound, source=source, stats=self.stats)
