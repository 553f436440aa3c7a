"""The greedy backend: best first with regret, repaired, then improved by exchanges."""

from __future__ import annotations

import math
import time
from typing import ClassVar

import numpy as np

from alignsolve.backends.base import Backend, Capabilities
from alignsolve.backends.greedy.by_expert import add_by_expert, scores_by_expert
from alignsolve.backends.greedy.fill import fill_experts
from alignsolve.backends.greedy.local_search import search
from alignsolve.backends.greedy.params import DEFAULTS, GreedyParams, WorkBudget
from alignsolve.backends.greedy.prices import add_in_turn, learn_prices, most_at
from alignsolve.backends.greedy.state import State
from alignsolve.backends.greedy.take import add_by_client
from alignsolve.backends.incumbent import Incumbent
from alignsolve.model.arrays import Float64Array
from alignsolve.model.contradictions import contradictions
from alignsolve.model.problem import AlignmentProblem, Feature
from alignsolve.status import Limits, Outcome, Subsolver, Termination

#: Starts where clients are few, the most promising first; see `scores_by_expert`.
BY_EXPERT = ("price", "value", "share", "client")


class GreedyBackend(Backend):
    """Best first with regret, repaired to the minima, improved by exchanges.

    Parameters
    ----------
    parts : tuple of str, optional
        Whether there is a "search" after the "first" answer.
    ask : callable, optional
        Not used.
    params : GreedyParams
        How much is tried.

    Notes
    -----
    Supports every feature with numpy alone, and is the last resort of
    ``auto``. It proves nothing: its answers carry no bound of their own.

    An attempt builds an answer that breaks no maximum (by client at prices
    learnt from a sample, which the mip class goes on adjusting while clients add in
    turn, or by expert at prices of the budgets, where clients are few and experts
    need holders), then repairs minima and gains value by exchanges. One attempt that
    succeeds is enough, except that small problems of the mip class start by client a
    few times, and then give up a part of the best answer and repair it a few times. For
    the flow class an answer is found whenever there is one and time allows. For the
    mip class it may be missed where few answers are feasible.

    The effort is bounded by work and not by time, so that the answer depends on
    the seed alone where no time limit strikes. A time limit is exceeded by up
    to `GreedyParams.grace_seconds`. "greedy:first" ends with its first answer, and makes
    one attempt only.
    """

    name: ClassVar[str] = "greedy"
    bytes_per_pair: ClassVar[float] = 12.0
    capabilities: ClassVar[Capabilities] = Capabilities(
        features=frozenset(Feature),
        exact=False,
        proves_infeasibility=False,
        interruptible=True,
        warm_start=True,
        callback=True,
    )
    all_parts: ClassVar[tuple[str, ...]] = ("first", "search")

    def __init__(
        self, parts: tuple[str, ...] | None = None, ask: Subsolver | None = None,
        params: GreedyParams = DEFAULTS,
    ) -> None:  # fmt: skip
        super().__init__(parts, ask)
        self.params = params

    def solve(self, problem: AlignmentProblem, limits: Limits) -> Outcome:
        """Return the best answer found, or nothing; see `Backend.solve`."""
        attempts = _Attempts(problem, limits, self.params, "search" not in self.parts)
        # Infinite bounds and extreme scales meet in sums that are then masked.
        with np.errstate(all="ignore"):
            attempts.run()
        termination = Termination.HEURISTIC_DONE
        if limits.report is not None and limits.report.stopped:
            termination = Termination.INTERRUPTED
        elif attempts.budget.deadline < time.perf_counter():
            termination = Termination.TIME_LIMIT
        stats = {"solve_seconds": time.perf_counter() - attempts.started, "attempts": attempts.made}
        if attempts.best.pairs is None:
            return Outcome.nothing(termination, stats=stats)
        return Outcome(termination, *attempts.best.pairs, stats=stats)


class _Attempts:
    """Attempts at one problem, and the best feasible answer of all."""

    def __init__(
        self, problem: AlignmentProblem, limits: Limits, params: GreedyParams, only_first: bool
    ) -> None:
        self.problem, self.limits, self.params = problem, limits, params
        self.only_first = only_first
        self.started = time.perf_counter()
        self.budget = self._budget(math.inf)
        self.best = Incumbent(problem)
        self.rng = np.random.default_rng(limits.seed)
        self.made = 0
        #: By what experts rank clients at prices of the budgets.
        self.score: Float64Array | None = None
        #: Prices of the loads at which clients add.
        self.prices: Float64Array | None = None

    def _budget(self, work: float) -> WorkBudget:
        """Return what may be spent on a part of the work."""
        report = self.limits.report
        deadline = max(self.limits.deadline, self.started + self.params.grace_seconds)

        def wish() -> bool:
            stopped = report is not None and report(self.best.value, math.inf)
            return stopped or (self.only_first and self.best.pairs is not None)

        return WorkBudget(deadline, work, wish)

    def run(self) -> None:
        """Make attempts until one is good enough, or all failed."""
        problem = self.problem
        if any(True for _ in contradictions(problem)):
            return
        state, params = State(problem, self.params), self.params
        if self.limits.warm_start is not None:
            state.hold(*self.limits.warm_start)
            self._improve(state)
        small = problem.n_clients * problem.n_experts <= params.small_pairs
        small &= problem.problem_class == "mip"
        by_expert = problem.n_clients < problem.n_experts and bool((state.low > 0).any())
        fresh = params.fresh_starts if small and not by_expert else 1
        known = self.best.pairs is not None
        if by_expert and state.values.size > params.small_pairs:
            # Should time not suffice for more: little is taken of budgets.
            score = scores_by_expert(state, "share", self.budget)
            add_by_expert(state, score, self.budget, params.first_share)
            self._keep(state)
        starts = BY_EXPERT if by_expert else ("client",) * fresh + ("value", "share")
        for position, way in enumerate(starts):
            self._construct(state, way)
            found = self._improve(state)
            known |= found
            if self.only_first:
                return
            if position == 0 and not known and not self._improve_flow(state):
                return
            if self.budget.is_spent():
                return
            if position + 1 >= fresh and (found or (small and self.best.pairs is not None)):
                break
        for _ in range(params.kicks if small else 0):
            if self.best.pairs is None or self.budget.is_spent():
                return
            self._kick(state)

    def _kick(self, state: State) -> None:
        """Give up a part of the best answer at random, refill it at prices, improve."""
        assert self.best.pairs is not None
        rows, cols = self.best.pairs
        kept = self.rng.random(rows.size) >= self.params.kick_share
        state.hold(rows[kept], cols[kept])
        if self.score is not None:
            budget = self._budget(self.params.expert_work)
            add_by_expert(state, self.score.copy(), budget, self.params.regret_share)
        elif self.prices is not None:
            everyone = np.arange(state.n_clients)
            add_by_client(state, everyone, self.prices, self.budget, state.high)
        self._improve(state)

    def _construct(self, state: State, way: str) -> None:
        """Start afresh: by client at prices, or by expert; see `scores_by_expert`."""
        empty, params = np.empty(0, dtype=np.int64), self.params
        state.hold(empty, empty)
        everyone, prices = np.arange(state.n_clients), np.zeros_like(state.amount)
        in_turn = way == "client" and self.problem.problem_class == "mip"
        if way == "client":
            budget, now = self._budget(math.inf), time.perf_counter()
            budget.deadline = now + params.price_share * (budget.deadline - now)
            prices = learn_prices(state, self.rng, self.limits.warm_prices, budget)
            if in_turn:
                prices = add_in_turn(state, prices, self.rng, self.budget)
            self.prices = prices
        else:
            score = scores_by_expert(state, way, self._budget(params.expert_work))
            if way == "price":
                self.score = score.copy()
            add_by_expert(state, score, self._budget(params.expert_work), params.regret_share)
        most = most_at(state, prices)
        if not in_turn:
            add_by_client(state, everyone, prices, self.budget, most)
        fill_experts(state, self.budget)
        if not state.slope.any():
            # Nothing else prices the loads: every gain within the bounds counts.
            prices, most = np.zeros_like(prices), state.high
        add_by_client(state, everyone, prices, self.budget, most)

    def _improve_flow(self, state: State) -> bool:
        """Start from an assignment within slots, groups and holder bounds, if there is one."""
        if self.budget.is_spent():
            return False
        # Compiled on first use: worth it only where all else failed.
        from alignsolve.infeasibility.max_flow import feasible_assignment

        found = feasible_assignment(self.problem, self.budget.deadline)
        if found is None:
            return False
        state.hold(*found)
        self._improve(state)
        return True

    def _improve(self, state: State) -> bool:
        """Repair and improve the state, keep what is feasible; tell whether it became so."""
        self.made += 1
        work, escapes = self.params.improve_work, self.params.escapes
        if self.problem.problem_class == "flow":
            work, escapes = self.params.flow_work, 0
        return search(state, self.rng, self._budget(work), escapes, self._keep)

    def _keep(self, state: State) -> bool:
        """Keep the answer if it is feasible and the best so far; tell whether it is feasible."""
        if state.excess() > 0:
            return False
        rows, cols = state.pairs()
        if not self.best.offer(rows, cols):
            # The running sums have drifted; count afresh.
            state.hold(rows, cols)
            return False
        return True
