"""The hard class from start to end: prices, answers, and what is left to an exact solver."""

from __future__ import annotations

import dataclasses
import time

import numpy as np

from alignsolve.arrays import Float64Array
from alignsolve.backends import get_backend
from alignsolve.backends.base import Answer, Options, library_version
from alignsolve.errors import AlignSolveError, BackendNotFoundError
from alignsolve.lagrange import jobs, market
from alignsolve.lagrange.ascent import Priced, ascend
from alignsolve.lagrange.best import Best
from alignsolve.lagrange.bound import Relaxation
from alignsolve.lagrange.fleet import FleetSearch
from alignsolve.problem import AlignmentProblem
from alignsolve.result import Termination

#: Clients of the sample on which prices are sought first, where there are many more, and
#: by what factor it grows.
SAMPLE, GROWTH = 2000, 8
#: Most passes over the first clients, over more of them, and of subgradient steps.
PASSES, LATER_PASSES, SUBGRADIENT_PASSES = 80, 8, 1500
#: Share of the time limit that the prices may take.
PRICE_SHARE = 0.4
#: Distance of the first target from the bound, for subgradient steps.
FIRST_DISTANCE = 0.05
#: Pairs up to which an exact solver is asked for what is left open.
EXACT_PAIRS = 1 << 19
#: Exact solvers of the linear model, in order.
EXACT = ("ortools-mip", "scipy-milp")


def solve_lagrangian(problem: AlignmentProblem, options: Options) -> Answer:
    """Solve a problem with loads, and bound how much better another answer can be.

    Parameters
    ----------
    problem : AlignmentProblem
        At least one client and one expert.
    options : Options
        Limits and hints.

    Returns
    -------
    Answer
        Feasible; `Answer.bound` is the least of the Lagrangian bound, what the
        tree search rules out, and the exact solver's bound, and `Answer.source`
        names where it comes from.
    """
    run = _Run(problem, options)
    try:
        run.run()
    except KeyboardInterrupt:
        run.best.stop()
        run.best.interrupted = True
    return run.answer()


class _Run:
    """One solve."""

    def __init__(self, problem: AlignmentProblem, options: Options) -> None:
        self.problem, self.options = problem, options
        self.best = Best(problem, options)
        self.source = f"Lagrangian bound ({library_version('alignsolve')})"
        self.started = time.perf_counter()
        self.stats: dict[str, float | int] = {}

    def run(self) -> None:
        """Price, then search in the way that fits the problem."""
        began = time.perf_counter()
        relaxation = Relaxation(self.problem, self.options.threads)
        if relaxation.loads.crossed:
            self.best.infeasible = True
            return
        self.stats["build_seconds"] = time.perf_counter() - began
        priced = self._price(relaxation)
        self.stats["price_seconds"] = time.perf_counter() - began
        self.stats["passes"] = relaxation.passes
        self.best.lower(priced.bound)
        if priced.replies is not None and priced.replies.infeasible:
            self.best.infeasible = True
        self.best.report()
        if self.best.is_over or priced.replies is None:
            return
        if jobs.applies(relaxation):
            search = jobs.JobSearch(relaxation, priced, self.best, self._exact)
            search.run()
            self.stats |= {"nodes": search.nodes, "dives": search.dives}
            return
        fleet = FleetSearch(relaxation, self.best)
        fleet.improve(priced.prices, priced.replies.held.copy())
        self.stats["sweeps"] = fleet.sweeps
        self.best.report()
        if not self.best.is_over and self.problem.fitness.size <= EXACT_PAIRS:
            self._finish_exactly()

    def _price(self, relaxation: Relaxation) -> Priced:
        """Find good prices: on samples first where there are many clients."""
        n = self.problem.n_clients
        prices = np.zeros(relaxation.shape)
        if not relaxation.loads.names:
            start = relaxation.replies(prices)
            return Priced(prices, start.bound, start)
        deadline = time.perf_counter() + PRICE_SHARE * self.options.remaining()
        if relaxation.whole is not None or prices.size > market.LARGEST:
            return self._ascend(relaxation, prices, deadline)
        curvature = market.Curvature.guess(relaxation, self._spread())
        rng = np.random.default_rng(self.options.seed)
        order = rng.permutation(n)
        size, passes = SAMPLE, PASSES
        while 2 * size < n:
            found = market.clear(
                relaxation, Priced(prices), curvature, deadline=deadline, max_passes=passes,
                sample=np.sort(order[:size]), seen=self._seen,
            )  # fmt: skip
            if found.replies is not None and found.replies.infeasible:
                return found
            prices, passes = found.prices, LATER_PASSES
            size *= GROWTH
        return market.clear(
            relaxation, Priced(prices), curvature, deadline=deadline, max_passes=passes,
            seen=self._seen_all,
        )  # fmt: skip

    def _ascend(self, relaxation: Relaxation, prices: Float64Array, deadline: float) -> Priced:
        """Find good prices where clients are few and replies jump."""
        start = relaxation.replies(prices)
        if start.infeasible:
            return Priced(prices, start.bound, start)
        values = self.problem.values(slice(0, self.problem.n_clients))
        scale = max(abs(start.bound), jobs.first_distance(values))
        return ascend(
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

    def _spread(self) -> float:
        """Return by how much values of an expert typically differ, from some clients."""
        values = self.problem.values(slice(0, min(self.problem.n_clients, SAMPLE)))
        finite = values[np.isfinite(values)]
        return float(finite.std()) or max(1.0, float(np.abs(finite).max(initial=0.0)))

    def _exact(self) -> Answer:
        """Ask the first exact solver that is installed and works."""
        options = self.options
        if self.best.pairs is not None:
            options = dataclasses.replace(options, warm_start=self.best.pairs)
        for name in EXACT:
            try:
                answer = get_backend(name).solve(self.problem, options)
            except (AlignSolveError, BackendNotFoundError):
                continue
            if answer.infeasible or answer.row_ind is not None:
                return answer
        return Answer.nothing(Termination.FAILED)

    def _finish_exactly(self) -> None:
        """Let an exact solver improve answer and bound."""
        answer = self._exact()
        if answer.infeasible:
            self.best.infeasible = self.best.pairs is None
        if answer.row_ind is not None and answer.col_ind is not None:
            self.best.offer(answer.row_ind, answer.col_ind)
        if answer.bound < self.best.bound:
            self.source = answer.source
            self.best.lower(answer.bound)
        self.best.interrupted |= answer.termination is Termination.INTERRUPTED

    def answer(self) -> Answer:
        """Return what was found."""
        best = self.best
        self.stats["solve_seconds"] = time.perf_counter() - self.started
        if best.infeasible:
            return Answer.proved_infeasible(source=self.source, stats=self.stats)
        if best.interrupted:
            termination = Termination.INTERRUPTED
        elif best.proved:
            termination = Termination.PROVED
        elif best.good_enough:
            termination = Termination.GAP_REACHED
        elif self.options.remaining() <= 0:
            termination = Termination.TIME_LIMIT
        else:
            termination = Termination.HEURISTIC_DONE
        rows, cols = (None, None) if best.pairs is None else best.pairs
        bound = max(best.bound, best.value)
        return Answer(termination, rows, cols, bound=bound, source=self.source, stats=self.stats)
