"""The greedy backend: best first with regret, repaired, then improved by exchanges."""

from __future__ import annotations

import math
import time
from typing import ClassVar

import numpy as np

from alignsolve.arrays import IntArray
from alignsolve.backends.base import Answer, Backend, Capabilities, Options
from alignsolve.backends.greedy_arcs import Effort
from alignsolve.backends.greedy_construct import add_by_client, add_by_expert, mend_clients
from alignsolve.backends.greedy_prices import learn_prices, most_at
from alignsolve.backends.greedy_search import search
from alignsolve.backends.greedy_state import State
from alignsolve.feasibility import is_feasible
from alignsolve.problem import AlignmentProblem, Feature
from alignsolve.result import Termination

#: Seconds that even an expired limit leaves: an answer a little late beats none.
GRACE_SECONDS = 0.2
#: Table entries that an attempt may read to improve; of the mip class, times as many to repair.
IMPROVE_WORK = 1 << 26
REPAIR_FACTOR = 4
#: Entries that filling the experts one pair at a time may read.
EXPERT_WORK = 1 << 28
#: Local optima with broken bounds that are left by making them weigh more.
ESCAPES = 40
#: Pairs up to which every way to start is tried, even after a feasible answer.
SMALL_PAIRS = 1 << 14
#: How often a small problem's best answer loses pairs at random and is mended, and how many.
KICKS, KICK_SHARE = 10, 0.3


class GreedyBackend(Backend):
    """Best first with regret, repaired to the minima, improved by exchanges.

    Notes
    -----
    Supports every feature with numpy alone, and is the last resort of
    ``auto``. It proves nothing: its answers carry no bound of their own.

    An attempt builds an answer that breaks no maximum (by client at prices
    learnt from a sample, or by expert), then mends minima and gains value by
    exchanges. One attempt that succeeds is enough, except for small problems of
    the mip class. For the flow class an answer is found whenever there is one
    and time allows. For the mip class it may be missed where few answers are
    feasible.

    The effort is bounded by work and not by time, so that the answer depends on
    the seed alone where no time limit strikes. A time limit is exceeded by up
    to `GRACE_SECONDS`.
    """

    name: ClassVar[str] = "greedy"
    capabilities: ClassVar[Capabilities] = Capabilities(
        features=frozenset(Feature),
        exact=False,
        proves_infeasibility=False,
        interruptible=True,
        warm_start=True,
        callback=True,
    )

    def solve(self, problem: AlignmentProblem, options: Options) -> Answer:
        """Return the best answer found, or nothing; see `Backend.solve`."""
        attempts = _Attempts(problem, options)
        termination = Termination.HEURISTIC_DONE
        try:
            # Infinite bounds and extreme scales meet in sums that are then masked.
            with np.errstate(all="ignore"):
                attempts.run()
        except KeyboardInterrupt:
            termination = Termination.INTERRUPTED
        if options.report is not None and options.report.stopped:
            termination = Termination.INTERRUPTED
        elif attempts.effort.deadline < time.perf_counter():
            termination = Termination.TIME_LIMIT
        stats = {"solve_seconds": time.perf_counter() - attempts.started, "attempts": attempts.made}
        if attempts.best is None:
            return Answer.nothing(termination, stats=stats)
        return Answer(termination, *attempts.best, stats=stats)


class _Attempts:
    """Attempts at one problem, and the best feasible answer of all."""

    def __init__(self, problem: AlignmentProblem, options: Options) -> None:
        self.problem, self.options = problem, options
        self.started = time.perf_counter()
        self.effort = self._effort(math.inf)
        self.best: tuple[IntArray, IntArray] | None = None
        self.best_value = -math.inf
        self.rng = np.random.default_rng(options.seed)
        self.made = 0

    def _effort(self, work: float) -> Effort:
        """Return what may be spent on a part of the work."""
        report = self.options.report
        deadline = max(self.options.deadline, self.started + GRACE_SECONDS)
        if report is None:
            return Effort(deadline, work)
        return Effort(deadline, work, lambda: report(self.best_value, math.inf))

    def run(self) -> None:
        """Make attempts until one is good enough, or all failed."""
        problem = self.problem
        low, high = problem.holder_bounds()
        if (low > high).any():
            return
        state = State(problem)
        if self.options.warm_start is not None:
            state.hold(*self.options.warm_start)
            self._improve(state)
        small = problem.n_clients * problem.n_experts <= SMALL_PAIRS
        several = small and problem.problem_class == "mip"
        ways = ["client", "value", "share"]
        if problem.n_clients < problem.n_experts and (state.low > 0).any():
            ways = ["value", "share", "client"]
        for position, way in enumerate(ways):
            self._construct(state, way)
            self._improve(state)
            if position == 0 and self.best is None and not self._improve_flow(state):
                return
            if self.effort.is_spent() or (self.best is not None and not several):
                return
        for _ in range(KICKS):
            if self.best is None or self.effort.is_spent():
                return
            rows, cols = self.best
            kept = self.rng.random(rows.size) >= KICK_SHARE
            state.hold(rows[kept], cols[kept])
            self._improve(state)

    def _construct(self, state: State, way: str) -> None:
        """Start afresh: by client at prices, or by expert by "value" or by "share"."""
        empty = np.empty(0, dtype=np.int64)
        state.hold(empty, empty)
        prices = np.zeros_like(state.amount)
        if way == "client":
            prices = learn_prices(state, self.rng, self.options.warm_prices, self.effort)
        else:
            effort = self._effort(EXPERT_WORK)
            add_by_expert(state, way == "share", effort)
        most = most_at(state, prices)
        add_by_client(state, np.arange(state.n_clients), prices, self.effort, most)
        mend_clients(state, prices, state.high, self.effort)

    def _improve_flow(self, state: State) -> bool:
        """Start from an assignment within slots, groups and holder bounds, if there is one."""
        if self.effort.is_spent():
            return False
        # Compiled on first use: worth it only where all else failed.
        from alignsolve.feasible_flow import feasible_assignment

        found = feasible_assignment(self.problem, self.effort.deadline)
        if found is None:
            return False
        state.hold(*found)
        self._improve(state)
        return True

    def _improve(self, state: State) -> None:
        """Repair and improve the state; keep what is feasible and better than before."""
        self.made += 1
        is_flow = self.problem.problem_class == "flow"
        # A flow problem that resists is better left to `feasible_assignment`.
        factor, escapes = (1, 0) if is_flow else (REPAIR_FACTOR, ESCAPES)
        effort = self._effort(factor * IMPROVE_WORK)

        def keep(state: State) -> None:
            effort.work = min(effort.work, IMPROVE_WORK)
            rows, cols = state.pairs()
            if not is_feasible(self.problem, rows, cols):
                # The running sums have drifted; count afresh.
                state.hold(rows, cols)
                return
            value = self.problem.sign * self.problem.objective(rows, cols)
            if self.best is None or value > self.best_value:
                self.best, self.best_value = (rows, cols), value

        search(state, self.rng, effort, escapes, keep)
