"""Generalized assignment: every expert held exactly once, one budget a client.

Two searches run side by side on the same prices. One climbs down from the bound,
level by level, and proves that no answer reaches a level, or finds one. The other
dives for good answers below, each time aiming between the best and the bound.

Where a level takes long, an exact solver of the linear model gets as much time as the
tree had: on the core, the pairs that an answer of that level may hold. Cuts settle
some problems (Yagiura's e15900) that the tree does not, and the other way round.
"""

from __future__ import annotations

import dataclasses
import logging
import threading
import time
from collections.abc import Callable, Collection, Iterator
from typing import Any

import numpy as np

from alignsolve.backends.incumbent import SharedIncumbent
from alignsolve.backends.lagrangian.bound import Relaxation
from alignsolve.backends.lagrangian.knapsack import forced_values
from alignsolve.backends.lagrangian.subgradient import Priced
from alignsolve.backends.lagrangian.tree import AssignmentTree
from alignsolve.errors import AlignSolveError
from alignsolve.model.arrays import BoolArray, Float64Array, IntArray
from alignsolve.model.problem import AlignmentProblem, Feature
from alignsolve.progress import Reporter
from alignsolve.status import Limits, Outcome, Subsolver, Termination

logger = logging.getLogger("alignsolve")

#: Seconds of a call of the tree search between looks at the clock.
CHUNK_SECONDS = 0.1
#: First aim of a dive below the bound, relative.
FIRST_SLACK = 4e-4
#: Share of the free experts that a dive fixes at a time, and how many it leaves to the tree.
SHARE, LEFT = 0.1, 40
#: Nodes of the tree after a dive.
DIVE_NODES = 400
#: Time for improving the best answer after a dive, as a share of the dive's; how many experts
#: are freed at a time, at first and at least; nodes of the tree for each.
POLISH_SHARE, FIRST_FREED, FEWEST_FREED, POLISH_NODES = 2.0, 40, 8, 60
#: Most time for a first answer by greedy: seconds, and a share of what is left.
GREEDY_SECONDS, GREEDY_SHARE = 3.0, 0.1
#: What sums of values and prices lose to rounding at most, relative.
ROUNDING = 1e-11
#: Dives without any answer after which an exact solver looks for one.
BARREN_DIVES = 6
#: Dives without a better answer after which a search without proof ends.
LAST_DIVES = 20
#: Seconds at a level after which an exact solver gets the core, for as long; the next time after
#: this many times as long.
CORE_SECONDS, CORE_GROWTH = 2.0, 4.0
#: Most pairs of a core: beyond, the linear model takes too long to begin.
CORE_PAIRS = 1 << 16


def applies(relaxation: Relaxation) -> bool:
    """Tell whether a problem is generalized assignment."""
    problem, loads = relaxation.problem, relaxation.loads
    return (
        relaxation.whole is not None
        and loads.names == ("",)
        and bool((loads.low == 1).all() and (loads.high == 1).all())
        and Feature.LOAD_PENALTY not in problem.features
    )


class GapSearch:
    """The two searches; see the module.

    Parameters
    ----------
    relaxation : Relaxation
        A problem that `applies`.
    priced : Priced
        Good prices.
    best : Incumbent
        Where answers and bounds go.
    exact : callable
        Solves a problem by other means.
    parts : collection of str
        "search" to dive, "tree" to prove, "exact" to ask the other means.
    ask : callable
        Solves by another backend.

    Attributes
    ----------
    nodes, dives, polishes, cores : int
        What was done so far.
    """

    def __init__(
        self, relaxation: Relaxation, priced: Priced, best: SharedIncumbent,
        exact: Callable[[AlignmentProblem, Limits], Outcome], parts: Collection[str],
        ask: Subsolver,
    ) -> None:  # fmt: skip
        assert relaxation.whole is not None
        problem = relaxation.problem
        everyone = slice(0, problem.n_clients)
        self.best, self.exact, self.parts, self.ask = best, exact, parts, ask
        self.size, self.cap = relaxation.whole
        self.prices = priced.prices[0]
        self.values = problem.values(everyone)
        self.threads = relaxation.threads
        # Less than half of what answers are told apart by: else a search for a better
        # answer finds the best one again, for ever.
        self.margin = ROUNDING * (first_distance(self.values) + float(np.abs(self.prices).sum()))
        best.rounding = self.margin
        self.seed = best.limits.seed
        self.nodes = self.dives = self.polishes = self.cores = 0
        self.rng = np.random.default_rng(self.seed)
        self.freed = float(FIRST_FREED)
        self._rates: dict[int, float] = {}
        #: What giving each pair costs the bound.
        self.loss = self._losses(relaxation.reduced(everyone, priced.prices))
        self.root = priced.bound

    def _losses(self, reduced: Float64Array) -> Float64Array:
        """Return what giving each pair costs the bound; 0 for clients that time is short for."""
        loss = np.zeros(reduced.shape)
        for i in range(len(reduced)):
            # One client's tables can take a tenth of a second.
            if self.best.is_over:
                break
            one, forced = slice(i, i + 1), np.zeros((2, 1, reduced.shape[1]))
            forced_values(reduced[one], self.size[one], self.cap[one], forced)
            loss[i] = forced.max() - forced[1, 0]
            self.best.report()
        return loss

    def run(self) -> None:
        """Search until it is over."""
        searches = []
        if "tree" in self.parts:
            searches.append(self._prove())
        if "search" in self.parts:
            searches.append(self._dive())
        if self.threads == 1:
            self._alternate(searches)
            return
        compile_kernels()
        errors: list[BaseException] = []
        # Not `Thread.is_alive`: see `alignsolve.backends.interruptible`.
        ended = [threading.Event() for _ in searches]

        def follow(search: Iterator[None], mark: threading.Event) -> None:
            try:
                for _ in search:
                    if self.best.is_over:
                        return
            except BaseException as error:
                errors.append(error)
                self.best.stop()
            finally:
                mark.set()

        for pair in zip(searches, ended, strict=True):
            threading.Thread(target=follow, args=pair, daemon=True).start()
        try:
            while not self.best.is_over and not all(mark.is_set() for mark in ended):
                ended[0].wait(0.05)
                self.best.report()
        finally:
            self.best.stop()
            for mark in ended:
                mark.wait(4 * CHUNK_SECONDS)
        if errors:
            raise errors[0]

    def _alternate(self, searches: list[Iterator[None]]) -> None:
        """Run both in this thread, the one that has had less time next."""
        spent = [0.0] * len(searches)
        while searches and not self.best.is_over:
            at = int(np.argmin(spent))
            began = time.perf_counter()
            if next(searches[at], "ended") == "ended":
                del searches[at], spent[at]
                continue
            spent[at] += time.perf_counter() - began
            self.best.report()

    def _allowed(self, least: float) -> BoolArray:
        """Return the pairs that an answer of at least a value may hold, as the prices tell."""
        possible: BoolArray = self.root - self.loss >= least - self.margin
        return possible & (self.values > -np.inf)

    def _tree(self, least: float, allowed: BoolArray | None = None) -> AssignmentTree:
        """Return the search for an answer of at least a value; by default among all pairs."""
        if allowed is None:
            allowed = self._allowed(least)
        return AssignmentTree(
            self.values, self.size, self.cap, allowed, self.prices, least - self.margin
        )

    def _offer(self, clients: IntArray) -> None:
        experts = np.arange(clients.size)
        order = np.lexsort((experts, clients))
        self.best.offer(clients[order], experts[order])

    def _run(self, tree: AssignmentTree, most: float, until: float) -> Iterator[str]:
        """Run a tree in chunks; yield "open" until it ends, or a better answer is known."""
        chunk = 1
        while tree.nodes < most:
            began, before = time.perf_counter(), tree.nodes
            found = tree.run(chunk)
            seconds = time.perf_counter() - began
            self.nodes += tree.nodes - before
            if found.clients is not None:
                self._offer(found.clients)
            if found.status != "open":
                yield found.status
                return
            if seconds < CHUNK_SECONDS / 2:
                chunk = min(2 * chunk, 4096)
            elif seconds > CHUNK_SECONDS and chunk > 1:
                chunk //= 2
            yield "open"
            if self.best.value >= until:
                return

    def _prove(self) -> Iterator[None]:
        """Lower the bound level by level until it meets the best answer."""
        best = self.best
        least_value = float(np.where(self.values > -np.inf, self.values, np.inf).min(axis=0).sum())
        step, patience = best.unit, CORE_SECONDS
        while not best.proved:
            if step == 0:
                gap = best.bound - best.value
                step = gap / 8 if np.isfinite(gap) else 1e-5 * max(1.0, abs(best.bound))
            lowest = best.value + (best.unit or 0.9 * best.tolerance)
            least = max(best.bound - step + best.unit, lowest)
            status, began, by_core = "open", time.perf_counter(), False
            for status in self._run(self._tree(least), np.inf, least):
                yield
                if "exact" in self.parts and time.perf_counter() - began > patience:
                    asked = time.perf_counter()
                    status = self._solve_core(least, patience)
                    by_core = status != "open"
                    if by_core:
                        # Faster than the tree: at the next level it is asked as soon.
                        patience = time.perf_counter() - asked
                        break
                    patience *= CORE_GROWTH
            if status == "none":
                best.lower(least - best.unit)
                if least <= least_value:
                    best.infeasible = not np.isfinite(best.value)
                # Levels that cost nothing are taken several at a time; a core hardly minds.
                quick = by_core or time.perf_counter() - began < CHUNK_SECONDS
                if quick or not np.isfinite(best.value):
                    step *= 2
                elif best.unit == 0 or step > best.unit:
                    step = max(best.unit, step / 2)
            elif best.unit == 0:
                step = 0.0
            else:
                step = best.unit
            yield

    def _dive(self) -> Iterator[None]:
        """Dive for better answers, each time aiming between the best one and the bound."""
        best = self.best
        slack = max(2 * best.unit, FIRST_SLACK * abs(self.root))
        known, barren = best.value, 0
        # Without the other search nothing else would end it.
        while "tree" in self.parts or barren < LAST_DIVES:
            began = time.perf_counter()
            gap = best.bound - best.value
            slack = min(slack, 0.75 * gap)
            least = max(best.bound - slack, best.value + (best.unit or best.tolerance))
            tree = self._tree(least)
            noise = 0.0 if self.dives == 0 else 0.5
            found = tree.dive(SHARE / (1 + self.dives % 3), LEFT, noise, self.seed + self.dives)
            self.dives += 1
            yield
            status = found.status
            if found.clients is not None:
                self._offer(found.clients)
            elif status == "open":
                for status in self._run(tree, tree.nodes + DIVE_NODES, np.inf):  # noqa: B007
                    yield
            wider = 1.4 if np.isfinite(best.value) else 4.0
            slack = slack * 0.6 if status == "found" else slack * wider
            if not np.isfinite(best.value):
                if self.dives == 1:
                    self._ask_greedy()
                elif "exact" in self.parts and self.dives == BARREN_DIVES:
                    self._ask_exact()
            yield
            yield from self._polish(time.perf_counter() - began)
            barren = barren + 1 if best.value == known else 0
            known = best.value

    def _polish(self, seconds: float) -> Iterator[None]:
        """Free some experts of the best answer at a time, and search what they can do better."""
        best = self.best
        until = time.perf_counter() + POLISH_SHARE * seconds
        while best.pairs is not None and time.perf_counter() < until and not best.is_over:
            clients, experts = best.pairs
            holder = np.empty(experts.size, dtype=np.int64)
            holder[experts] = clients
            free = self._related(holder)
            least = best.value + (best.unit or best.tolerance)
            allowed = self._allowed(least)
            allowed[:, ~free] = False
            allowed[holder[~free], np.flatnonzero(~free)] = True
            status = "open"
            for status in self._run(self._tree(least, allowed), POLISH_NODES, least):  # noqa: B007
                yield
            self.polishes += 1
            # As many as the nodes suffice for.
            change = 0.95 if status == "open" else 1.02
            self.freed = min(max(change * self.freed, FEWEST_FREED), float(holder.size))

    def _related(self, holder: IntArray) -> BoolArray:
        """Choose experts that could change places: whose move to some clients costs little."""
        n, m = self.loss.shape
        k = int(self.freed)
        some: BoolArray = self.rng.random((n,)) < self.rng.uniform(0.2, 1.0)
        some[self.rng.integers(n)] = True
        moves = np.where(some[:, None], self.loss, np.inf)
        moves[holder, np.arange(m)] = np.inf
        least = moves.min(axis=0)
        # Ties and near ties in random order.
        finite = np.isfinite(least)
        scale = float(np.median(least[finite])) if finite.any() else 1.0
        keys = np.where(finite, least, 1e300) + scale * self.rng.exponential(size=m)
        chosen = np.zeros(m, dtype=np.bool_)
        chosen[np.argsort(keys, kind="stable")[:k]] = True
        return chosen

    def _ask_greedy(self) -> None:
        """Take a first answer that is easy to find."""
        limits = self.best.limits
        soon = time.perf_counter() + min(GREEDY_SECONDS, GREEDY_SHARE * limits.remaining())
        limits = dataclasses.replace(limits, deadline=soon, warm_start=None, report=None)
        try:
            answer = self.ask("greedy", self.best.problem, limits)
        except AlignSolveError as error:
            logger.info("lagrangian goes on without greedy: %s", error)
            return
        if answer.termination is Termination.INTERRUPTED:
            self.best.interrupted = True
            self.best.stop()
        if answer.row_ind is not None and answer.col_ind is not None:
            self.best.offer(answer.row_ind, answer.col_ind)

    def _solve_core(self, least: float, seconds: float) -> str:
        """Ask an exact solver for an answer of at least a value; return as `Search.status`."""
        best, allowed = self.best, self._allowed(least)
        if np.count_nonzero(allowed) > CORE_PAIRS:
            return "open"
        fitness = np.where(allowed, best.problem.fitness, -np.inf)
        core = best.problem.replace(fitness=fitness)
        until = min(best.limits.deadline, time.perf_counter() + seconds)
        # Only the caller ends it before: a solver that is stopped cannot always be freed.
        answer = self._exact(
            core, lambda: best.interrupted, deadline=until, threads=1, warm_start=None
        )
        self.cores += 1
        # Any answer outside the core is below the level.
        below = least - best.unit
        best.lower(below if answer.infeasible else max(answer.bound, below), answer.source)
        # Multiples of the unit may differ in their last digit.
        least -= 1e-6 * best.unit
        if best.value >= least:
            return "found"
        return "none" if answer.infeasible or answer.bound < least else "open"

    def _ask_exact(self) -> None:
        """Let another solver find a first answer, or prove that there is none."""
        best = self.best
        answer = self._exact(best.problem, lambda: best.is_over)
        if answer.infeasible:
            best.infeasible = not np.isfinite(best.value)
        else:
            best.lower(answer.bound, answer.source)

    def _exact(
        self, problem: AlignmentProblem, is_over: Callable[[], bool], **changes: Any
    ) -> Outcome:
        """Solve a problem by other means until it is over, and offer its answer."""
        best = self.best

        def poll(_: object) -> bool:
            # The caller's function is for the caller's thread, which calls it meanwhile.
            if self.threads == 1:
                best.report()
            return is_over()

        report = Reporter(problem, poll, time.perf_counter())
        limits = dataclasses.replace(best.limits, report=report, **changes)
        answer = self.exact(problem, limits)
        by_key = answer.termination is Termination.INTERRUPTED and not report.stopped
        if self.threads == 1 and by_key:
            best.interrupted = True
            best.stop()
        if answer.row_ind is not None and answer.col_ind is not None:
            best.offer(answer.row_ind, answer.col_ind)
        return answer


def compile_kernels() -> None:
    """Compile the tree search, if need be: in threads, a time limit would leave that behind."""
    ones = np.ones((2, 2))
    sizes = np.ones((2, 2), dtype=np.int64)
    tree = AssignmentTree(ones, sizes, sizes[0], ones > 0, np.zeros(2), 0.0)
    tree.run(0)
    tree.dive(1.0, 0, 0.0, 0)


def first_distance(values: Float64Array) -> float:
    """Return how far the bound without prices may be off: the experts' largest values."""
    finite = np.where(values > -np.inf, np.abs(values), 0.0)
    return float(finite.max(axis=0, initial=0.0).sum())
