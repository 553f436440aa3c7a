"""The hard class from start to end: prices, answers, and what is left to an exact solver."""

from __future__ import annotations

import dataclasses
import math
import threading
import time
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from alignsolve.backends.base import library_version
from alignsolve.backends.incumbent import SharedIncumbent
from alignsolve.backends.lagrangian import gap_search, needed_kernels, proximal_newton
from alignsolve.backends.lagrangian.annealing import Annealing
from alignsolve.backends.lagrangian.best_response_search import BestResponseSearch
from alignsolve.backends.lagrangian.bound import Relaxation, Responses, sum_of_largest
from alignsolve.backends.lagrangian.dual_mirror_descent import MirrorDescent
from alignsolve.backends.lagrangian.other_solvers import OtherSolvers
from alignsolve.backends.lagrangian.params import DEFAULTS, GapSearchParams
from alignsolve.backends.lagrangian.subgradient import subgradient_ascent
from alignsolve.model.arrays import BoolArray, Float64Array
from alignsolve.model.contradictions import contradictions
from alignsolve.model.problem import AlignmentProblem
from alignsolve.status import Limits, Outcome, Subsolver, Termination

#: Clients of the sample on which prices are sought first, where there are many more, and
#: by what factor it grows.
SAMPLE, GROWTH = 2000, 8
#: Sweeps of mirror descent; after how many of them the bound is computed, with how many nodes of
#: a client's search, and an answer is made.
SWEEPS, LOOK, LOOK_NODES = 15, 5, 2000
#: Sweeps of mirror descent from earlier prices before those from none, each made an answer, and
#: how far a choice moves a price at first.
EARLIER_SWEEPS, EARLIER_STEP = 4, 0.05
#: Most quasi-Newton steps, for each sample, and of subgradient steps.
PASSES, SUBGRADIENT_PASSES = 40, 1500
#: Share of the loads that responses may be out of bounds by before mirror descent goes on, and
#: how far a choice moves a price then.
LARGEST_EXCESS, LATE_STEP = 0.02, 0.02
#: Share of the time limit that the prices may take, and that prices and answers together
#: may take where clients are few.
PRICE_SHARE, FEW_SHARE = 0.4, 0.8
#: Distance of the first target from the bound, for subgradient steps: prices of the budgets
#: bound nearly as well as the linear relaxation.
FIRST_DISTANCE = 2e-4
#: Pairs up to which an exact solver is asked for what is left open: with a time limit, and
#: without one, as it may then take very long.
EXACT_PAIRS, EXACT_PAIRS_UNLIMITED = 1 << 19, 1 << 15

#: Answers that are mixed of the best one and the clients' responses to the prices, where clients
#: are few; least and largest share of responses.
MIXES, MIX_SHARES = 40, (0.02, 0.6)
#: Share of the time left for which prices are sought before annealing begins, at most.
ALONE_SHARE = 0.1
#: Share of the time left that mixing may take: an exact solver may follow.
MIX_TIME = 0.5


def solve_lagrangian(
    problem: AlignmentProblem, limits: Limits, parts: Collection[str], ask: Subsolver,
    params: GapSearchParams = DEFAULTS,
) -> Outcome:  # fmt: skip
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
    params : GapSearchParams
        What steers the search for generalized assignment.

    Returns
    -------
    Outcome
        Feasible; `Outcome.bound` is the least of the Lagrangian bound, what the
        tree search rules out, and the exact solver's bound, and `Outcome.source`
        names where it comes from.
    """
    run = _Run(problem, limits, parts, ask, params)
    try:
        run.run()
    finally:
        # Threads must not go on where an exception ends it.
        run.best.stop()
    return run.answer()


class _Run:
    """One solve."""

    def __init__(
        self, problem: AlignmentProblem, limits: Limits, parts: Collection[str], ask: Subsolver,
        params: GapSearchParams,
    ) -> None:  # fmt: skip
        self.problem, self.limits, self.parts, self.params = problem, limits, parts, params
        self.best = SharedIncumbent(problem, limits)
        self.others = OtherSolvers(self.best, ask)
        # Solvers of others end a little before the limit.
        self.out_of_time = False
        self.started = time.perf_counter()
        self.stats: dict[str, float | int] = {}
        self.load_prices: dict[str, Float64Array] = {}

    def run(self) -> None:
        """Price, then search in the way that fits the problem."""
        began = time.perf_counter()
        self.best.infeasible = any(True for _ in contradictions(self.problem))
        if self.best.infeasible:
            return
        relaxation = Relaxation(self.problem, self.limits.threads)
        self.stats["build_seconds"] = time.perf_counter() - began
        # Which of two searches side by side finds an answer first is a matter of time.
        if relaxation.is_generalized_assignment and not self.limits.repeatable:
            self._solve_generalized_assignment(relaxation)
        else:
            self._solve_loads(relaxation)

    def _solve_generalized_assignment(self, relaxation: Relaxation) -> None:
        """Price generalized assignment, then search for answers and proofs."""
        needed_kernels.compile_searches()
        annealing = Annealing(relaxation, self.best, self.params.annealing)
        if self.best.is_over:
            return
        priced = self._price_and_anneal(relaxation, annealing)
        if not self._is_priced(relaxation, priced):
            return
        search = gap_search.GapSearch(
            relaxation, priced, self.best, self.others, annealing, self.parts, self.params
        )
        try:
            search.run()
        finally:
            self.stats |= {
                "nodes": search.nodes, "dives": search.dives, "polishes": search.polishes,
                "cores": search.cores, "anneals": annealing.rounds,
            }  # fmt: skip

    def _solve_loads(self, relaxation: Relaxation) -> None:
        """Price, make the clients' choices an answer, and let others finish what is small."""
        search = BestResponseSearch(relaxation, self.best)
        priced = self._price(relaxation, search)
        if priced is None:
            return
        self.load_prices = dict(zip(relaxation.loads.names, priced.prices, strict=True))
        if not self._is_priced(relaxation, priced):
            return
        held = priced.held.copy()
        if search.excess(priced.demand) > LARGEST_EXCESS:
            # Many clients are alike: they must share what all want at these prices.
            descent = MirrorDescent(
                relaxation, relaxation.everyone, priced.prices, first_step=LATE_STEP,
                seed=self.limits.seed,
            )  # fmt: skip
            descent.sweep()
            held = descent.held
        self._improve(search, priced.prices, held)
        if "search" in self.parts and len(held) <= 2 * SAMPLE:
            self._mix(search, priced)
        self.stats["sweeps"] = search.sweeps
        self.best.report()
        limited = math.isfinite(self.limits.deadline)
        most = EXACT_PAIRS if limited else EXACT_PAIRS_UNLIMITED
        small = self.problem.fitness.size <= most
        if "exact" in self.parts and small and not self.best.is_over:
            self._finish_exactly()

    def _improve(self, search: BestResponseSearch, prices: Float64Array, held: BoolArray) -> None:
        """Make sets an answer, if answers are sought."""
        if "search" in self.parts:
            search.improve(prices, held)

    def _mix(self, search: BestResponseSearch, priced: Responses) -> None:
        """Let some clients of the best answer respond to the prices, and make that an answer."""
        rng = np.random.default_rng(self.limits.seed)
        end = time.perf_counter() + MIX_TIME * self.limits.remaining()
        for _ in range(MIXES):
            if self.best.is_over or self.best.pairs is None or time.perf_counter() >= end:
                return
            held = np.zeros_like(priced.held)
            held[self.best.pairs] = True
            again = rng.random(len(held)) < rng.uniform(*MIX_SHARES)
            held[again] = priced.held[again]
            self._improve(search, priced.prices, held)
            self.best.report()

    def _is_priced(self, relaxation: Relaxation, priced: Responses) -> bool:
        """Take what the prices prove; tell whether to go on from them."""
        self.stats["price_seconds"] = time.perf_counter() - self.started
        self.stats["passes"] = relaxation.passes
        self.best.lower(priced.bound)
        self.best.infeasible |= priced.infeasible
        self.best.report()
        return not self.best.is_over

    def _price(self, relaxation: Relaxation, search: BestResponseSearch) -> Responses | None:
        """Find good prices: on samples first where there are many clients; None for no time."""
        n = self.problem.n_clients
        share = FEW_SHARE if n <= 2 * SAMPLE else PRICE_SHARE
        deadline = time.perf_counter() + share * self.limits.remaining()
        few_prices = math.prod(relaxation.shape) <= proximal_newton.MOST_PRICES
        curvature = proximal_newton.Curvature.guess(relaxation) if few_prices else None
        priced: Responses | None = None
        if n <= 2 * SAMPLE:
            priced = self._price_few(relaxation, search, deadline)
            if priced is None or priced.infeasible or self.best.is_over:
                return priced
            prices = priced.prices
        else:
            order = np.random.default_rng(self.limits.seed).permutation(n)
            size = SAMPLE
            descent = MirrorDescent(relaxation, np.sort(order[:size]), seed=self.limits.seed)
            for _ in range(SWEEPS):
                descent.sweep()
                if self._seen():
                    break
            prices = descent.mean
            while curvature is not None and 2 * size < n and not self.best.is_over:
                prices = proximal_newton.clear(
                    relaxation, prices, curvature, deadline=deadline, max_passes=PASSES,
                    sample=np.sort(order[:size]), seen=lambda _: self._seen(),
                ).prices  # fmt: skip
                size *= GROWTH
            if self.best.is_over:
                # A pass over many clients would take far longer than what is left.
                return None
        if curvature is None:
            start = priced or relaxation.responses(prices)
            return subgradient_ascent(
                relaxation, start, distance=FIRST_DISTANCE * abs(start.bound), deadline=deadline,
                max_passes=PASSES, seen=self._seen_all,
            )  # fmt: skip
        return proximal_newton.clear(
            relaxation, prices, curvature, deadline=deadline, max_passes=PASSES,
            seen=self._seen_all,
        )  # fmt: skip

    def _price_few(
        self, relaxation: Relaxation, search: BestResponseSearch, deadline: float
    ) -> Responses | None:
        """Run mirror descent over all clients; now and then bound, and make an answer."""
        best = self._price_again(relaxation, search, deadline)
        if best is not None and (best.infeasible or self.best.is_over):
            return best
        descent = MirrorDescent(relaxation, relaxation.everyone, seed=self.limits.seed)
        for sweep in range(1, SWEEPS + 1):
            descent.sweep()
            late = self.best.is_over or time.perf_counter() >= deadline
            if sweep % LOOK == 0 or late:
                best = self._bounded(relaxation, descent.mean, best)
                if best.infeasible:
                    return best
                self._improve(search, descent.mean, descent.held.copy())
                self.best.report()
            if late or self.best.is_over:
                break
        return best

    def _price_again(
        self, relaxation: Relaxation, search: BestResponseSearch, deadline: float
    ) -> Responses | None:
        """Go on from earlier prices and the earlier answer; None where a load had no prices."""
        earlier, names = self.limits.warm_load_prices, relaxation.loads.names
        if not names or any(name not in earlier for name in names):
            return None
        prices = np.array([earlier[name] for name in names])
        best = self._bounded(relaxation, prices, None)
        held = best.held.copy()
        if self.limits.warm_start is not None:
            held[:] = False
            held[self.limits.warm_start] = True
        descent = MirrorDescent(
            relaxation, relaxation.everyone, prices, first_step=EARLIER_STEP, seed=self.limits.seed
        )
        for _ in range(EARLIER_SWEEPS):
            if best.infeasible:
                break
            self._improve(search, prices, held)
            self.best.report()
            if self.best.is_over or time.perf_counter() >= deadline:
                break
            descent.sweep()
            prices, held = descent.mean.copy(), descent.held.copy()
            best = self._bounded(relaxation, prices, best)
        return best

    def _bounded(
        self, relaxation: Relaxation, prices: Float64Array, best: Responses | None
    ) -> Responses:
        """Return the responses to prices, or known ones that bound better or are infeasible."""
        nodes = relaxation.nodes(LOOK_NODES)
        responses = relaxation.responses(prices.copy(), nodes=nodes)
        if best is not None and not responses.infeasible and best.bound <= responses.bound:
            return best
        if not responses.infeasible:
            self.best.lower(responses.bound)
        return responses

    def _price_and_anneal(self, relaxation: Relaxation, annealing: Annealing) -> Responses:
        """Find good prices, and answers meanwhile where that takes long."""
        prices = annealing.job_prices
        if "search" not in self.parts:
            return self._ascend(relaxation, prices, self._seen_all)
        alone = min(self.params.anneal_alone, ALONE_SHARE * self.limits.remaining())
        if relaxation.threads == 1:

            def seen(priced: Responses) -> bool:
                if time.perf_counter() - self.started - alone > 2 * annealing.seconds:
                    annealing.step()
                return self._seen_all(priced)

            return self._ascend(relaxation, prices, seen)
        ended = threading.Event()

        def anneal() -> None:
            ended.wait(alone)
            while not ended.is_set() and not self.best.is_over:
                annealing.step()

        with ThreadPoolExecutor(1) as pool:
            beside = pool.submit(anneal)
            try:
                return self._ascend(relaxation, prices, self._seen_all)
            finally:
                ended.set()
                beside.result()

    def _ascend(
        self, relaxation: Relaxation, prices: Float64Array, seen: Callable[[Responses], bool]
    ) -> Responses:
        """Find good prices where clients are few and responses jump, from some to start with."""
        deadline = time.perf_counter() + PRICE_SHARE * self.limits.remaining()
        start = relaxation.responses(prices[None, :])
        if start.infeasible:
            return start
        values = self.problem.values(slice(0, self.problem.n_clients))
        scale = max(abs(start.bound), sum_of_largest(values))
        return subgradient_ascent(
            relaxation, start, distance=FIRST_DISTANCE * scale, deadline=deadline,
            max_passes=SUBGRADIENT_PASSES, seen=seen,
        )  # fmt: skip

    def _seen(self) -> bool:
        """Report; tell whether to stop."""
        self.best.report()
        return self.best.is_over

    def _seen_all(self, priced: Responses) -> bool:
        """Take the bound and report between passes over everyone; tell whether to stop."""
        self.best.lower(priced.bound)
        return self._seen()

    def _finish_exactly(self) -> None:
        """Let an exact solver improve answer and bound."""
        limits = self.limits
        if self.best.pairs is not None:
            limits = dataclasses.replace(limits, warm_start=self.best.pairs)
        ended = self.others.whole(limits).termination
        self.best.interrupted |= ended is Termination.INTERRUPTED
        self.out_of_time = ended is Termination.TIME_LIMIT

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
        return Outcome(termination, rows, cols, bound=bound, load_prices=self.load_prices,
                       source=source, stats=self.stats)
