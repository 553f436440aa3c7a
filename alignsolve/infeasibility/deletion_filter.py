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
import time
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from alignsolve.errors import AlignSolveError
from alignsolve.infeasibility.conflict import Conflict
from alignsolve.infeasibility.farkas import linear_core
from alignsolve.infeasibility.max_flow import feasible_assignment
from alignsolve.infeasibility.text import bounds_text
from alignsolve.interrupts import Interrupted
from alignsolve.model.arrays import BoolArray, IntArray
from alignsolve.model.bounds import FAMILY_LIMIT, BoundSet, all_bounds, restricted
from alignsolve.model.feasibility import is_feasible, violations
from alignsolve.model.problem import AlignmentProblem
from alignsolve.status import Limits, Subsolver, Termination

logger = logging.getLogger(__name__)

#: Clients and experts of an assignment.
Point = tuple[IntArray, IntArray]

#: Exact backends; the first that is there and does not fail is asked.
ORACLES = ("ortools-cpsat", "ortools-mip", "scipy-milp")

#: Any answer will do: the gap at which a backend may stop.
ANY_GAP = 1e9

#: Where more bounds are left, those of clients are not reduced one by one.
SINGLE_LIMIT = 64

#: Where none of so many parts of the bounds can go, they are not divided further.
SPREAD_PARTS = 16

#: Share of the time left that one question may take: one hard question is not the last.
QUESTION_SHARE = 0.25

#: Problems of at most so many pairs are not worth a second thread.
SMALL_PAIRS = 4096


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
        core = linear_core(problem, kept, limits.deadline, limits.poll)
        if core is not None:
            return core
        if reduced.fitness.size <= SMALL_PAIRS:
            limits = replace(limits, threads=1)
        found = _asked(reduced, kept, ask, limits)
        if not isinstance(found, tuple):
            return found
        point = found
    return clients[point[0]], point[1]


def _asked(
    problem: AlignmentProblem, kept: BoundSet, ask: Subsolver, limits: Limits
) -> Point | BoundSet | None:
    """Ask the exact backends for any feasible answer; see `decide`.

    Raises
    ------
    Interrupted
        On Ctrl-C, or where the caller asks to stop.
    """
    for name in ORACLES:
        try:
            answer = ask(name, problem, replace(limits, rel_gap=ANY_GAP))
        except AlignSolveError as error:
            logger.info("the search for a conflict goes on without %s: %s", name, error)
            continue
        if answer.termination is Termination.INTERRUPTED:
            raise Interrupted
        if answer.infeasible:
            return kept
        rows, cols = answer.row_ind, answer.col_ind
        if rows is not None and cols is not None and is_feasible(problem, rows, cols):
            return rows, cols
        return None
    return None


def find_mip_conflict(
    problem: AlignmentProblem, ask: Subsolver, limits: Limits
) -> Conflict | None:
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
    Conflict or None
        None where the bounds can hold together. Where more than `SINGLE_LIMIT` bounds are left,
        clients' bounds are reduced, and listed, kind by kind only.

    Raises
    ------
    TimeoutError
        If the deadline passed before any set was shown to be in conflict.
    """
    deletion = _Deletion(problem, ask, limits)
    deletion.start_from_relaxation()
    deletion.leave_out(deletion.kinds())
    deletion.leave_out(deletion.halves())
    families = int(deletion.kept.sum()) > SINGLE_LIMIT
    deletion.leave_out(deletion.singles(of_experts_only=families))
    if not deletion.proved:
        found = None if deletion.interrupted else deletion.decided(deletion.kept, limits)
        if found is None:
            raise TimeoutError("no conflict found in time")
        if not isinstance(found, BoundSet):
            return None
    kept = deletion.bound_set(deletion.kept)
    return Conflict.of(
        problem, kept, bounds_text(problem, kept), deletion.complete,
        limit=0 if families else FAMILY_LIMIT,
    )


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

    def __init__(self, problem: AlignmentProblem, ask: Subsolver, limits: Limits) -> None:
        self.problem, self.ask, self.limits = problem, ask, limits
        self.proved, self.complete, self.interrupted = False, True, False
        bounds = all_bounds(problem)
        self._keys = [key for key, _ in bounds.items()]
        parts = [index for _, index in bounds.items()]
        kind = np.repeat(np.arange(len(parts)), [part.size for part in parts])
        where = np.concatenate([np.empty(0, dtype=np.int64), *parts])
        # Bounds of one client lie side by side, and so do those of one expert.
        order = np.lexsort((kind, where, kind >= len(bounds.experts)))
        self._kind, self._where = kind[order], where[order]
        self._of_expert = self._kind < len(bounds.experts)
        self.kept = np.ones(kind.size, dtype=np.bool_)
        self._needed = np.zeros(kind.size, dtype=np.bool_)

    def bound_set(self, mask: BoolArray) -> BoundSet:
        """Return some of the bounds by kind."""
        return BoundSet.by_kind(
            (key, self._where[mask & (self._kind == number)])
            for number, key in enumerate(self._keys)
        )

    def start_from_relaxation(self) -> None:
        """Keep only bounds that the linear relaxation shows to be in conflict, where it does."""
        now = time.perf_counter()
        until = now + 2 * QUESTION_SHARE * (self.limits.deadline - now)
        core = linear_core(self.problem, self.bound_set(self.kept), until, self.limits.poll)
        if core is not None:
            self._keep(core)

    def kinds(self) -> Iterator[BoolArray]:
        """Yield all bounds of experts, all of clients, and then each kind, the last first."""
        yield self._of_expert
        yield ~self._of_expert
        for number in reversed(range(len(self._keys))):
            yield self._kind == number

    def singles(self, of_experts_only: bool) -> Iterator[BoolArray]:
        """Yield the kept bounds one by one."""
        for at in np.flatnonzero(self.kept).tolist():
            if not of_experts_only or self._of_expert[at]:
                yield np.arange(self.kept.size) == at

    def halves(self) -> Iterator[BoolArray]:
        """Yield halves of the kept bounds, quarters and so on, down to `SINGLE_LIMIT` parts.

        Where the conflict is spread over more than `SPREAD_PARTS`, smaller
        parts will hardly go either, and the bounds stay together.
        """
        pieces = 2
        while pieces <= min(SINGLE_LIMIT, int(self.kept.sum()) - 1):
            before = self.kept
            for part in np.array_split(np.flatnonzero(self.kept), pieces):
                mask = np.zeros_like(self.kept)
                mask[part] = True
                yield mask
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
                self._keep(found)
            elif found is None:
                self.complete = False
            else:
                self._learn(chunk, *found)

    def decided(self, mask: BoolArray, limits: Limits) -> Point | BoundSet | None:
        """Ask whether some of the bounds can hold together; None where interrupted."""
        try:
            # Flows and relaxations settle some questions, and need no solver.
            if limits.poll():
                raise Interrupted
            return decide(self.problem, self.bound_set(mask), self.ask, limits)
        except Interrupted:
            self.interrupted = True
            return None

    def _keep(self, core: BoundSet) -> None:
        """Leave out all but some bounds that were shown to be in conflict."""
        self.proved = True
        self.kept = np.zeros_like(self.kept)
        for key, index in core.items():
            self.kept |= (self._kind == self._keys.index(key)) & np.isin(self._where, index)

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
            (only,) = broken
            kind = self._keys.index((only.kind, only.name, only.group))
            where = only.expert if only.client is None else int(clients[only.client])
            self._needed |= (self._kind == kind) & (self._where == where)
