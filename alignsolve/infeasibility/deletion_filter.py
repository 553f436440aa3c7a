"""Conflicts of the mip class: bounds are left out as long as the rest is infeasible.

Whether bounds can hold together is asked of the flow part, of the linear
relaxation, and then of an exact backend, on a problem with only those bounds
and nothing to optimise. Bounds are left out in chunks, from
whole kinds down to single bounds, so that at any time those still there are in
conflict (a deletion filter: J W Chinneck, E W Dravnieks, Locating minimal
infeasible constraint sets in linear programs, ORSA Journal on Computing 3,
1991, doi:10.1287/ijoc.3.2.157). A point that keeps all bounds but one shows
without another question that this one is needed.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from alignsolve.errors import AlignSolveError
from alignsolve.infeasibility.conflict import ConflictCheck
from alignsolve.infeasibility.farkas import linear_core
from alignsolve.infeasibility.max_flow import feasible_assignment
from alignsolve.model.arrays import BoolArray, IntArray
from alignsolve.model.bounds import Bound, BoundSet, Key, all_bounds, restricted
from alignsolve.model.feasibility import Violation, is_feasible, violations
from alignsolve.model.problem import AlignmentProblem
from alignsolve.status import Limits, Subsolver, Termination

logger = logging.getLogger("alignsolve")

#: Clients and experts of an assignment.
Point = tuple[IntArray, IntArray]

#: Exact backends; the first that is there and does not fail is asked.
ORACLES = ("ortools-cpsat", "ortools-mip", "scipy-milp")

#: Where more bounds are left, those of clients are not reduced one by one.
SINGLE_LIMIT = 64

#: Where none of so many parts can go, they are not divided further.
SPREAD_PARTS = 16

#: Share of the time left that one question may take: one hard question is not the last.
QUESTION_SHARE = 0.25

#: Any answer will do: the gap at which a backend may stop.
ANY_GAP = 1e9

#: Problems of at most so many pairs are not worth a second thread.
SMALL_PAIRS = 4096


@dataclass(frozen=True, eq=False)
class MipConflict:
    """Bounds that cannot hold together.

    Attributes
    ----------
    kept : BoundSet
        The bounds.
    irreducible : bool
        Whether without any one of them the others can hold; of clients'
        bounds, any one kind where `families`.
    families : bool
        Whether the clients' bounds were reduced kind by kind only.
    """

    kept: BoundSet
    irreducible: bool
    families: bool


def decide(
    problem: AlignmentProblem, kept: BoundSet, ask: Subsolver, limits: Limits
) -> Point | BoundSet | None:
    """Decide whether some bounds of a problem can hold together.

    Parameters
    ----------
    problem : AlignmentProblem
        The problem.
    kept : BoundSet
        The bounds in force.
    ask : Subsolver
        Solves by a backend.
    limits : Limits
        Deadline, seed and threads.

    Returns
    -------
    (row_ind, col_ind), BoundSet or None
        An assignment that keeps them, or those of them that cannot hold
        together, or None where that was not decided in time.
    """
    reduced, clients = restricted(problem, kept)
    nothing = np.empty(0, dtype=np.int64)
    if is_feasible(reduced, nothing, nothing):
        return nothing, nothing
    if clients.size == 0 or problem.n_experts == 0:
        return kept
    point = feasible_assignment(reduced, limits.deadline)
    if point is None:
        return kept if limits.remaining() > 0 else None
    if not is_feasible(reduced, *point):
        core = linear_core(problem, kept, limits.deadline)
        if core is not None:
            return core
        found = _asked(reduced, ask, limits)
        if found is None or found is False:
            return kept if found is False else None
        point = found
    return clients[point[0]], point[1]


def _asked(
    problem: AlignmentProblem, ask: Subsolver, limits: Limits
) -> Point | Literal[False] | None:
    """Ask the exact backends for any feasible answer; False where there is none.

    Raises
    ------
    KeyboardInterrupt
        On Ctrl-C, or where the caller asks to stop.
    """
    if problem.n_clients * problem.n_experts <= SMALL_PAIRS:
        limits = replace(limits, threads=1)
    for name in ORACLES:
        try:
            answer = ask(name, problem, replace(limits, rel_gap=ANY_GAP))
        except AlignSolveError as error:
            logger.info("the search for a conflict goes on without %s: %s", name, error)
            continue
        if answer.termination is Termination.INTERRUPTED:
            raise KeyboardInterrupt
        if answer.infeasible:
            return False
        rows, cols = answer.row_ind, answer.col_ind
        if rows is not None and cols is not None and is_feasible(problem, rows, cols):
            return rows, cols
        return None
    return None


def find_mip_conflict(
    problem: AlignmentProblem, ask: Subsolver, limits: Limits
) -> MipConflict | None:
    """Return bounds of an infeasible problem of the mip class that cannot hold together.

    Parameters
    ----------
    problem : AlignmentProblem
        The problem.
    ask : Subsolver
        Solves by a backend.
    limits : Limits
        Deadline, at which the set found so far is returned; seed and threads.

    Returns
    -------
    MipConflict or None
        None where the bounds can hold together.

    Raises
    ------
    TimeoutError
        If the deadline passed before any set was shown to be in conflict.
    """
    deletion = _Deletion(problem, all_bounds(problem), ask, limits)
    now = time.perf_counter()
    until = now + 2 * QUESTION_SHARE * (limits.deadline - now)
    deletion.keep_core(linear_core(problem, all_bounds(problem), until))
    deletion.leave_out(deletion.kinds())
    deletion.halve()
    families = int(deletion.kept.sum()) > SINGLE_LIMIT
    deletion.leave_out(deletion.singles(of_experts_only=families))
    if not deletion.proved:
        found = None if deletion.interrupted else deletion.decided(deletion.kept, limits)
        if found is None:
            raise TimeoutError("no conflict found in time")
        if not isinstance(found, BoundSet):
            return None
    return MipConflict(deletion.bound_set(deletion.kept), deletion.complete, families)


def check_mip_bounds(
    problem: AlignmentProblem, bounds: tuple[Bound, ...], ask: Subsolver, limits: Limits
) -> ConflictCheck:
    """Check bounds of any kind by asking for each part of them, see `decide`."""
    if not isinstance(decide(problem, BoundSet.of(bounds), ask, limits), BoundSet):
        return ConflictCheck(contradictory=False, irreducible=False)
    parts = (BoundSet.of(bounds[:at] + bounds[at + 1 :]) for at in range(len(bounds)))
    irreducible = all(isinstance(decide(problem, part, ask, limits), tuple) for part in parts)
    return ConflictCheck(contradictory=True, irreducible=irreducible)


class _Deletion:
    """Single bounds, those still kept, and the ways to leave some out.

    Attributes
    ----------
    kept : bool array, shape (n_bounds,)
        Bounds still there.
    proved : bool
        Whether those were shown to be in conflict.
    complete : bool
        Whether every question was answered in time.
    """

    def __init__(
        self, problem: AlignmentProblem, bounds: BoundSet, ask: Subsolver, limits: Limits
    ) -> None:
        self.problem, self.ask, self.limits = problem, ask, limits
        self.interrupted = False
        self._keys: list[Key] = [*bounds.experts, *bounds.clients]
        self._n_expert_keys = len(bounds.experts)
        parts = [*bounds.experts.values(), *bounds.clients.values()]
        kind = np.repeat(np.arange(len(parts)), [part.size for part in parts])
        where = np.concatenate([np.empty(0, dtype=np.int64), *parts])
        # Bounds of one client lie side by side, and so do those of one expert.
        order = np.lexsort((kind, where, kind >= self._n_expert_keys))
        self._kind, self._where = kind[order], where[order]
        self.kept = np.ones(kind.size, dtype=np.bool_)
        self._needed = np.zeros(kind.size, dtype=np.bool_)
        self.proved, self.complete = False, True

    def bound_set(self, mask: BoolArray) -> BoundSet:
        """Return some of the bounds by kind."""
        found = BoundSet()
        for number in np.unique(self._kind[mask]).tolist():
            part = found.experts if number < self._n_expert_keys else found.clients
            part[self._keys[number]] = np.sort(self._where[mask & (self._kind == number)])
        return found

    def kinds(self) -> Iterator[BoolArray]:
        """Yield all bounds of experts, all of clients, and then each kind, the last first."""
        of_experts = self._kind < self._n_expert_keys
        yield of_experts
        yield ~of_experts
        for number in reversed(range(len(self._keys))):
            yield self._kind == number

    def singles(self, of_experts_only: bool) -> Iterator[BoolArray]:
        """Yield the kept bounds one by one."""
        for at in np.flatnonzero(self.kept).tolist():
            if not of_experts_only or self._kind[at] < self._n_expert_keys:
                yield np.arange(self.kept.size) == at

    def halve(self) -> None:
        """Leave out halves, quarters and so on, down to `SINGLE_LIMIT` parts.

        Where the conflict is spread over more than `SPREAD_PARTS`, smaller
        parts will hardly go either, and the bounds stay together.
        """
        pieces = 2
        while pieces <= min(SINGLE_LIMIT, int(self.kept.sum()) - 1):
            before = self.kept
            for part in np.array_split(np.flatnonzero(self.kept), pieces):
                mask = np.zeros_like(self.kept)
                mask[part] = True
                self.leave_out(iter([mask]))
            if pieces >= SPREAD_PARTS and np.array_equal(self.kept, before):
                break
            pieces *= 2

    def leave_out(self, chunks: Iterator[BoolArray]) -> None:
        """Leave out each chunk of bounds without which the others are still in conflict."""
        for chunk in chunks:
            chunk = chunk & self.kept
            # One that is needed makes its chunk needed.
            if not chunk.any() or (chunk & self._needed).any():
                continue
            now = time.perf_counter()
            if self.interrupted or now > self.limits.deadline:
                self.complete = False
                return
            rest = self.kept & ~chunk
            until = now + QUESTION_SHARE * (self.limits.deadline - now)
            found = self.decided(rest, replace(self.limits, deadline=until))
            if isinstance(found, BoundSet):
                self.keep_core(found)
            elif found is None:
                self.complete = False
            else:
                self._learn(chunk, *found)

    def decided(self, mask: BoolArray, limits: Limits) -> Point | BoundSet | None:
        """Ask whether some of the bounds can hold together; None where interrupted."""
        try:
            # Flows and relaxations settle some questions, and ask nobody.
            if limits.report is not None and limits.report(-math.inf, math.inf):
                raise KeyboardInterrupt
            return decide(self.problem, self.bound_set(mask), self.ask, limits)
        except KeyboardInterrupt:
            self.interrupted = True
            return None

    def keep_core(self, core: BoundSet | None) -> None:
        """Leave out all but some bounds that were shown to be in conflict."""
        if core is None:
            return
        self.proved = True
        self.kept = np.zeros_like(self.kept)
        for key, index in [*core.experts.items(), *core.clients.items()]:
            of_kind = self._kind == self._keys.index(key)
            self.kept |= of_kind & np.isin(self._where, index)

    def _learn(self, chunk: BoolArray, rows: IntArray, cols: IntArray) -> None:
        """Note a bound that a point which keeps all others breaks."""
        if chunk.sum() == 1:
            self._needed |= chunk
            return
        reduced, clients = restricted(self.problem, self.bound_set(self.kept))
        there = np.isin(rows, clients)
        local = np.searchsorted(clients, rows[there])
        broken = violations(reduced, local, cols[there], limit=2)
        if len(broken) == 1:
            self._needed |= self._is(broken[0], clients)

    def _is(self, broken: Violation, clients: IntArray) -> BoolArray:
        """Return which bound a violation is of."""
        key = (broken.kind, broken.name, broken.group)
        where = broken.expert if broken.client is None else int(clients[broken.client])
        return np.asarray((self._kind == self._keys.index(key)) & (self._where == where))
