"""Generalized assignment: every expert held exactly once, one budget a client.

Two searches run side by side on the same prices. One climbs down from the bound,
level by level, and proves that no answer reaches a level, or finds one. The other
looks for good answers below: dives, each aiming between the best and the bound, then
annealing and exact searches of parts of the best answer, in shares of a dive's time.
Once the proof cannot end in the time that is left, dives take most of its thread, too.

Where a level takes long, an exact solver of the linear model gets as much time as the
tree had: on the core, the pairs that an answer of that level may hold. Cuts settle
some problems (Yagiura's e15900) that the tree does not, and the other way round.
"""

from __future__ import annotations

import dataclasses
import functools
import threading
import time
from collections.abc import Callable, Collection, Iterator
from typing import Any

import numpy as np

from alignsolve.backends.incumbent import SharedIncumbent
from alignsolve.backends.lagrangian.annealing import Annealing
from alignsolve.backends.lagrangian.bound import Relaxation, Responses, sum_of_largest
from alignsolve.backends.lagrangian.other_solvers import OtherSolvers
from alignsolve.backends.lagrangian.params import DEFAULTS, GapSearchParams
from alignsolve.backends.lagrangian.tree import AssignmentTree
from alignsolve.model.arrays import BoolArray, Float64Array, IntArray
from alignsolve.model.problem import AlignmentProblem
from alignsolve.progress import Reporter
from alignsolve.status import Limits, Outcome, Termination

#: Searches that yield between steps, and what tells their present shares of the time.
Searches = list[tuple[Iterator[None], Callable[[], float]]]
#: What sums of values and prices lose to rounding at most, relative.
ROUNDING = 1e-11


class GapSearch:
    """The two searches; see the module.

    Parameters
    ----------
    relaxation : Relaxation
        Generalized assignment.
    priced : Responses
        Those to good prices.
    best : SharedIncumbent
        Where answers and bounds go.
    others : OtherSolvers
        Solvers for a first answer, and for cores.
    annealing : Annealing
        Finds answers soon; goes on from where it is.
    parts : collection of str
        "search" to dive, "tree" to prove, "exact" to ask exact solvers.
    params : GapSearchParams
        What steers the searches.

    Attributes
    ----------
    nodes, dives, polishes, cores : int
        What was done so far.
    """

    def __init__(
        self, relaxation: Relaxation, priced: Responses, best: SharedIncumbent,
        others: OtherSolvers, annealing: Annealing, parts: Collection[str],
        params: GapSearchParams = DEFAULTS,
    ) -> None:  # fmt: skip
        assert relaxation.whole is not None
        self.annealing = annealing
        self.best, self.others, self.parts, self.params = best, others, parts, params
        self.size, self.cap = relaxation.whole
        self.prices = priced.prices[0]
        self.values = relaxation.problem.values(slice(0, relaxation.problem.n_clients))
        self.threads = relaxation.threads
        # Less than half of what answers are told apart by: else a search for a better
        # answer finds the best one again, for ever.
        self.margin = ROUNDING * (sum_of_largest(self.values) + float(np.abs(self.prices).sum()))
        best.rounding = self.margin
        self.seed = best.limits.seed
        self.nodes = self.dives = self.polishes = self.cores = 0
        self.rng = np.random.default_rng(self.seed)
        self.freed = float(params.first_freed)
        #: Set to end the trees.
        self.stop = np.zeros(1, dtype=np.bool_)
        #: What giving each pair costs the bound.
        self.loss = self._losses()
        self.root = priced.bound
        #: When the proof began its present level, and by how much that is below the bound.
        self.level_began, self.step = np.inf, 0.0

    def _losses(self) -> Float64Array:
        """Return what giving each pair costs the bound; 0 for clients that time is short for."""
        tree = self._tree(-np.inf, self.values > -np.inf)
        loss = np.where(tree.state.allowed, 0.0, np.inf)
        for i in range(len(loss)):
            # One client's tables can take a tenth of a second.
            if self.best.is_over:
                break
            tree.write_losses(i, loss)
            self.best.report()
        return loss

    def run(self) -> None:
        """Search until it is over."""
        proof = self._prove(), lambda: self.params.stuck_share if self._is_stuck else 1.0
        prove = [proof] if "tree" in self.parts else []
        dive = [(self._dive(), lambda: 1.0)] if "search" in self.parts else []
        if self.threads == 1:
            self._alternate(prove + dive)
            return
        if prove and dive:
            prove.append((self._dive(beside=True), lambda: float(self._is_stuck)))
        workers = [searches for searches in (prove, dive) if searches]
        errors: list[BaseException] = []
        # Not `Thread.is_alive`: see `alignsolve.interruptible.waiting`.
        ended = [threading.Event() for _ in workers]

        def follow(searches: Searches, mark: threading.Event) -> None:
            """Step searches until they end or the answer is good enough; then set their mark."""
            try:
                self._alternate(searches)
            except BaseException as error:
                errors.append(error)
                self.best.stop()
            finally:
                mark.set()

        for pair in zip(workers, ended, strict=True):
            threading.Thread(target=follow, args=pair, daemon=True).start()
        try:
            while not self.best.is_over and not all(mark.is_set() for mark in ended):
                ended[0].wait(min(0.05, self.best.limits.remaining()))
                self.best.report()
        finally:
            self.best.stop()
            self.stop[0] = True
            for mark in ended:
                mark.wait(4 * self.params.chunk_seconds)
        if errors:
            raise errors[0]

    def _alternate(self, searches: Searches) -> None:
        """Run searches in turn, next the one that has had least of its share, until one ends."""
        spent = [0.0] * len(searches)
        while not self.best.is_over:
            shares = [share() for _, share in searches]
            parts = [s / w if w else np.inf for s, w in zip(spent, shares, strict=True)]
            at = int(np.argmin(parts))
            began = time.perf_counter()
            if next(searches[at][0], "ended") == "ended":
                return
            spent[at] += time.perf_counter() - began
            if self.threads == 1:
                self.best.report()

    @property
    def _is_stuck(self) -> bool:
        """Whether the proof would need more time than is left, had each level as much as this."""
        seconds = time.perf_counter() - self.level_began
        levels = (self.best.bound - self.best.value) / max(self.step, 1e-300)
        late = seconds > self.params.core_seconds
        return late and self.best.limits.remaining() < seconds * levels < np.inf

    def _allowed(self, least: float) -> BoolArray:
        """Return the pairs that an answer of at least a value may hold, as the prices tell."""
        possible: BoolArray = self.root - self.loss >= least - self.margin
        return possible & (self.values > -np.inf)

    def _tree(self, least: float, allowed: BoolArray | None = None) -> AssignmentTree:
        """Return the search for an answer of at least a value; by default among all pairs."""
        allowed = self._allowed(least) if allowed is None else allowed
        return AssignmentTree(
            self.values, self.size, self.cap, allowed, self.prices, least - self.margin, self.stop
        )

    def _offer(self, clients: IntArray) -> None:
        experts = np.arange(clients.size)
        order = np.lexsort((experts, clients))
        self.best.offer(clients[order], experts[order])

    def _run(
        self, tree: AssignmentTree, most: float, until: float,
        complete: Callable[[IntArray], IntArray] = lambda clients: clients,
    ) -> Iterator[str]:  # fmt: skip
        """Run a tree in chunks; yield "open" until it ends, or a better answer is known.

        An answer of the tree is completed to one of the problem.
        """
        if self.best.is_over:
            # Building the tree took what time was left.
            return
        chunk = 1
        while tree.nodes < most:
            began, before = time.perf_counter(), tree.nodes
            found = tree.run(chunk)
            seconds = time.perf_counter() - began
            self.nodes += tree.nodes - before
            if found.clients is not None:
                self._offer(complete(found.clients))
            if found.status != "open":
                yield found.status
                return
            if seconds < self.params.chunk_seconds / 2:
                chunk = min(2 * chunk, 4096)
            elif seconds > self.params.chunk_seconds and chunk > 1:
                chunk //= 2
            yield "open"
            if self.best.value >= until:
                return

    def _prove(self) -> Iterator[None]:
        """Lower the bound level by level until it meets the best answer."""
        best, params = self.best, self.params
        least_value = float(np.where(self.values > -np.inf, self.values, np.inf).min(axis=0).sum())
        self.step, patience = best.unit, params.core_seconds
        while not best.proved:
            if self.step == 0:
                gap = best.bound - best.value
                self.step = gap / 8 if np.isfinite(gap) else 1e-5 * max(1.0, abs(best.bound))
            lowest = best.value + (best.unit or 0.9 * best.tolerance)
            least = max(best.bound - self.step + best.unit, lowest)
            status, by_core, self.level_began = "open", False, time.perf_counter()
            for status in self._run(self._tree(least), np.inf, least):
                yield
                late = time.perf_counter() - self.level_began > patience
                if status == "open" and late and "exact" in self.parts:
                    asked = time.perf_counter()
                    status = self._solve_core(least, patience)
                    by_core = status != "open"
                    if by_core:
                        # Faster than the tree: at the next level it is asked as soon.
                        patience = time.perf_counter() - asked
                        break
                    patience *= params.core_growth
            if status == "none":
                best.lower(least - best.unit)
                if least <= least_value:
                    best.infeasible = not np.isfinite(best.value)
                # Levels that cost nothing are taken several at a time; cores hardly take longer.
                quick = by_core or time.perf_counter() - self.level_began < params.chunk_seconds
                if quick or not np.isfinite(best.value):
                    self.step *= 2
                elif best.unit == 0 or self.step > best.unit:
                    self.step = max(best.unit, self.step / 2)
            elif best.unit == 0:
                self.step = 0.0
            else:
                self.step = best.unit
            yield

    def _dive(self, beside: bool = False) -> Iterator[None]:
        """Dive for better answers, each time aiming between the best one and the bound.

        Beside another such search, nothing is annealed.
        """
        best, params = self.best, self.params
        slack = max(2 * best.unit, params.first_slack * abs(self.root))
        known, barren = best.value, 0
        # The other search has its own: generators are no matter for two threads.
        rng = np.random.default_rng((self.seed, beside))
        # Without the other search nothing else would end it.
        while "tree" in self.parts or barren < params.last_dives:
            began = time.perf_counter()
            gap = best.bound - best.value
            slack = min(slack, 0.75 * gap)
            least = max(best.bound - slack, best.value + (best.unit or best.tolerance))
            tree = self._tree(least)
            if best.is_over:
                return
            number = self.dives
            self.dives += 1
            share, noise = params.dive_share / (1 + number % 3), 0.5 if number else 0.0
            for found in tree.dive(share, params.dive_left, noise, rng):  # noqa: B007
                yield
            status = found.status
            if found.clients is not None:
                self._offer(found.clients)
            elif status == "open":
                for status in self._run(tree, tree.nodes + params.dive_nodes, np.inf):  # noqa: B007
                    yield
            wider = 1.4 if np.isfinite(best.value) else 4.0
            slack = slack * 0.6 if status == "found" else slack * wider
            none_yet = not np.isfinite(best.value) and number + 1 == params.barren_dives
            if none_yet and "exact" in self.parts:
                self._exact(self.others.whole, best.problem)
            yield
            dived = time.perf_counter() - began
            if not beside:
                yield from self._anneal(params.anneal_share * dived)
            yield from self._polish(params.polish_share * dived)
            barren = barren + 1 if best.value == known else 0
            known = best.value

    def _anneal(self, seconds: float) -> Iterator[None]:
        """Go on with annealing for some time."""
        until = time.perf_counter() + seconds
        while time.perf_counter() < until and not self.best.is_over:
            self.annealing.step()
            yield

    def _polish(self, seconds: float) -> Iterator[None]:
        """Free some experts of the best answer at a time, and search what they can do better."""
        best, params = self.best, self.params
        until = time.perf_counter() + seconds
        while best.pairs is not None and time.perf_counter() < until and not best.is_over:
            clients, experts = best.pairs
            holder = np.empty(experts.size, dtype=np.int64)
            holder[experts] = clients
            free = self._related(holder)
            least = best.value + (best.unit or best.tolerance)

            def complete(found: IntArray, holder: IntArray = holder, free: BoolArray = free
                         ) -> IntArray:  # fmt: skip
                whole = holder.copy()
                whole[free] = found
                return whole

            tree, status = self._part(holder, free, least), "open"
            for status in self._run(tree, params.polish_nodes, least, complete):  # noqa: B007
                yield
            self.polishes += 1
            # As many as the nodes suffice for.
            change = 0.95 if status == "open" else 1.02
            self.freed = min(max(change * self.freed, params.fewest_freed), float(holder.size))

    def _part(self, holder: IntArray, free: BoolArray, least: float) -> AssignmentTree:
        """Return the search for an answer of at least a value in which the other experts stay."""
        values, loss = np.compress(free, self.values, axis=1), np.compress(free, self.loss, axis=1)
        stay = np.flatnonzero(~free)
        at = holder[stay], stay
        left = self.cap.copy()
        np.subtract.at(left, at[0], self.size[at])
        allowed = (self.root - loss >= least - self.margin) & (values > -np.inf)
        least -= self.margin + float(self.values[at].sum())
        size = np.compress(free, self.size, axis=1)
        return AssignmentTree(values, size, left, allowed, self.prices[free], least, self.stop)

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

    def _solve_core(self, least: float, seconds: float) -> str:
        """Ask an exact solver for an answer of at least a value; return as `Search.status`."""
        best, allowed = self.best, self._allowed(least)
        if np.count_nonzero(allowed) > self.params.core_pairs:
            return "open"
        fitness = np.where(allowed, best.problem.fitness, -np.inf)
        core = best.problem.replace(fitness=fitness)
        until = min(best.limits.deadline, time.perf_counter() + seconds)
        answer = self._exact(
            functools.partial(self.others.core, core), core, deadline=until, threads=1,
            warm_start=None,
        )  # fmt: skip
        self.cores += 1
        # Any answer outside the core is below the level.
        below = least - best.unit
        best.lower(below if answer.infeasible else max(answer.bound, below), answer.source)
        # Multiples of the unit may differ in their last digit.
        least -= 1e-6 * best.unit
        if best.value >= least:
            return "found"
        return "none" if answer.infeasible or answer.bound < least else "open"

    def _exact(
        self, solve: Callable[[Limits], Outcome], problem: AlignmentProblem, **changes: Any
    ) -> Outcome:
        """Let another solver look for an answer, or a proof, until the search is over."""
        best = self.best

        def poll(_: object) -> bool:
            # The caller's function is for the caller's thread, which calls it meanwhile.
            if self.threads == 1:
                best.report()
            return best.is_over

        report = Reporter(problem, poll, time.perf_counter())
        answer = solve(dataclasses.replace(best.limits, report=report, **changes))
        by_key = answer.termination is Termination.INTERRUPTED and not report.stopped
        if self.threads == 1 and by_key:
            best.interrupted = True
            best.stop()
        return answer
