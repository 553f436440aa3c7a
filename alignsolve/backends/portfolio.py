"""Choose a backend: try those that suit a problem in turn, and say why one was passed over."""

from __future__ import annotations

import dataclasses
import logging
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import numpy as np

from alignsolve.backends.base import Backend, guarded_solve
from alignsolve.backends.incumbent import Incumbent
from alignsolve.backends.registry import get_backend
from alignsolve.backends.renting import RENT, Rent, allowance
from alignsolve.errors import BackendError, BackendNotFoundError, UnsupportedProblemError
from alignsolve.model.problem import AlignmentProblem
from alignsolve.status import Fallback, Limits, Outcome, Termination

Finished = TypeVar("Finished")

logger = logging.getLogger(__name__)

#: The order in which ``backend="auto"`` tries backends, by problem class.
AUTO_ORDER = {
    "flow": ("exchange", "ortools-mcf", "scipy-milp", "greedy"),
    "mip": ("lagrangian", "ortools-mip", "ortools-cpsat", "scipy-milp", "greedy"),
}

#: Pairs up to which a mip whose answer has to be repeatable goes to this backend first.
SMALL_MIP, SMALL_MIP_FIRST = 4096, "ortools-mip"

#: What passes over a backend; a malformed problem is the caller's to correct.
FAILURES = (BackendError, BackendNotFoundError, UnsupportedProblemError)

#: Solvers of the linear model: in the mip class their own first answer can be far off, or take
#: longer than there is, so that greedy gives them as good a one as it can to begin with.
NEED_GOOD_ANSWER = frozenset({"ortools-mip", "ortools-cpsat", "scipy-milp"})

#: How the reason begins for which ``auto`` passes over a backend that would overrun.
TOO_SLOW = "cannot be interrupted and is expected to need"


@dataclass(frozen=True)
class AutoParams:
    """How ``auto`` chooses among backends.

    Attributes
    ----------
    order : mapping of str to tuple of str
        Names of the backends in the order in which they are tried, by problem class;
        the last one is the last resort.
    find : callable
        Returns the backend of a name, or raises `BackendNotFoundError`.
    first_seconds : float
        Seconds that greedy may take for a first answer, however soon an exact backend has one.
    first_share : float
        Share of the time left that greedy may take for an answer before others.
    hurry_seconds : float
        Seconds left below which it answers first even where another has a first answer as soon.
    fallback_share : float
        Share of a time limit that is kept back so that the last resort can still answer.
    interrupt_grace : float
        Seconds after Ctrl-C or a stop within which it may still find an answer.
    rent : Rent
        For how long others solved in this process what kernels would, were they compiled.
    """

    order: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: AUTO_ORDER)
    find: Callable[[str], Backend] = get_backend
    first_seconds: float = 1.0
    first_share: float = 0.3
    hurry_seconds: float = 10.0
    fallback_share: float = 0.1
    interrupt_grace: float = 0.3
    rent: Rent = RENT


class Auto(Generic[Finished]):
    """One solve by whichever backend answers.

    Parameters
    ----------
    problem : AlignmentProblem
        At least one client and one expert.
    limits : Limits
        Limits and hints.
    params : AutoParams
        How backends are chosen.
    finish : callable
        Checks a backend's answer and makes the result; raises `BackendError` where
        the answer breaks a bound.
    """

    def __init__(
        self, problem: AlignmentProblem, limits: Limits, params: AutoParams,
        finish: Callable[[str, Outcome, tuple[Fallback, ...]], Finished],
    ) -> None:  # fmt: skip
        self.problem, self.limits, self.params, self.finish = problem, limits, params, finish
        is_mip = problem.problem_class == "mip"
        self.need_good_answer = NEED_GOOD_ANSWER if is_mip else frozenset()
        self.fallbacks: list[Fallback] = []
        # What ended the search for a better answer than greedy's, if anything did.
        self.ended: Termination | None = None
        # The best answer and bound of those that did not end the search: of one that gave up,
        # of greedy. And who found that answer.
        self.best = Incumbent(problem)
        self.known: tuple[str, Outcome] | None = None
        #: In which ways greedy was asked.
        self.asked: set[str] = set()

    def run(self) -> Finished:
        """Try the backends of `AutoParams.order` until one answers."""
        *others, last = self._order()
        reserve = self.params.fallback_share * self.limits.remaining()
        early = self.limits
        if math.isfinite(reserve):
            early = dataclasses.replace(early, deadline=early.deadline - reserve)
        for name in others:
            try:
                found = self._rented(name, others, early)
                return self._answered(name, early) if found is None else found
            except FAILURES as error:
                self._pass_over(name, error)
        # After Ctrl-C or a stop nothing better is to be had, nor where the last one did its best.
        is_over = self.ended is Termination.INTERRUPTED or last in self.asked
        if self.known is not None and (is_over or self.known[0] != last):
            return self._finish(*self.known)
        try:
            backend = self.params.find(last)
            answer = run_backend(backend, self.problem, self._last_limits(), self.best)
            return self._finish(last, self._at_least_known(answer))
        except FAILURES as error:
            self._pass_over(last, error)
        return self._finish(*(self.known or (last, Outcome.nothing(Termination.FAILED))))

    def _order(self) -> tuple[str, ...]:
        """Return the backends to try: where answers have to be repeatable, by the problem alone."""
        order = self.params.order[self.problem.problem_class]
        small = self.problem.fitness.size <= SMALL_MIP and self.problem.problem_class == "mip"
        if self.limits.repeatable and small and SMALL_MIP_FIRST in order:
            # What interprets kernels would take longer than this, which needs none.
            return (SMALL_MIP_FIRST, *(name for name in order if name != SMALL_MIP_FIRST))
        return order

    def _rented(self, name: str, others: list[str], limits: Limits) -> Finished | None:
        """Let another backend answer where this one would compile; None where this one is to."""
        backend, rent = self.params.find(name), self.params.rent
        if self.limits.repeatable or backend.refusal(self.problem) is not None:
            return None
        price = backend.preparation(self.problem)
        if price == 0.0:
            return None
        most = allowance(rent.left(name, price), price, limits.remaining())
        for other in others[others.index(name) + 1 :]:
            if not self._substitutes(other, most):
                continue
            hint = backend.speed_hint.removeprefix("; ")
            self._pass_over(name, UnsupportedProblemError(f"{hint} (about {price:.0f} s)"))
            started = rent.clock()
            # What cannot be interrupted was expected to fit; there is no limit to keep.
            can_stop = self.params.find(other).capabilities.interruptible
            end = time.perf_counter() + most if can_stop else math.inf
            try:
                return self._answered(other, limits, end)
            except FAILURES as error:
                self._pass_over(other, error)
            finally:
                rent.pay(name, rent.clock() - started)
        return None

    def _substitutes(self, name: str, most: float) -> bool:
        """Tell whether a backend is at hand, and expected to answer within so many seconds."""
        try:
            backend = self.params.find(name)
        except FAILURES:
            return False
        expected = backend.substitute_seconds(self.problem)
        return expected <= most and backend.refusal(self.problem) is None and expected < math.inf

    def _answered(self, name: str, limits: Limits, end: float = math.inf) -> Finished:
        """Return the result of a backend, or raise why the search goes on, as at its own `end`."""
        backend = self.params.find(name)
        reason = backend.refusal(self.problem)
        # Loading and compiling take longer than greedy for most problems: it comes first.
        if reason is None:
            limits = self._with_answer(name, backend, limits)
            if end < limits.deadline:
                limits = dataclasses.replace(limits, deadline=end)
            reason = too_slow(backend, self.problem, limits)
        report = limits.report
        if report is not None and report.stopped:
            self.ended = Termination.INTERRUPTED
        if reason is None and self.ended is not None:
            reason = self.ended.value
        if reason is not None:
            raise UnsupportedProblemError(reason)
        logger.info("auto asks %s", name)
        answer = run_backend(backend, self.problem, limits, self.best)
        if answer.infeasible and self.known is not None:
            raise BackendError(
                f"backend {name!r} called the problem infeasible, and it is not: "
                f"{self.known[0]!r} found an answer"
            )
        gave_up = answer.termination is Termination.WORK_LIMIT or (
            answer.termination is Termination.TIME_LIMIT and end < self.limits.deadline
        )
        if answer.infeasible or (answer.row_ind is not None and not gave_up):
            return self._finish(name, self._at_least_known(answer))
        self._remember(name, answer)
        if not gave_up:
            self.ended = answer.termination
        raise BackendError(f"gave up: {answer.termination.value}")

    def _pass_over(self, name: str, error: Exception) -> None:
        logger.info("auto passes over %s: %s", name, error)
        self.fallbacks.append(Fallback(name, str(error)))

    def _finish(self, name: str, answer: Outcome) -> Finished:
        """Finish an answer with what ended the search before it, and the least bound."""
        if self.ended is not None:
            answer = dataclasses.replace(answer, termination=self.ended)
        if self.best.bound < answer.bound and not answer.infeasible:
            answer = dataclasses.replace(answer, bound=self.best.bound, source=self.best.source)
        return self.finish(name, answer, tuple(self.fallbacks))

    def _with_answer(self, name: str, backend: Backend, limits: Limits) -> Limits:
        """Let greedy answer before a backend that takes longer, and let that start from it."""
        way = "greedy" if name in self.need_good_answer else "greedy:first"
        # Under a short limit, others of the mip class may need all of it for their first answer.
        is_mip = self.problem.problem_class == "mip"
        hurried = is_mip and limits.remaining() < self.params.hurry_seconds
        if way == "greedy" or hurried or not backend.answers_soon(self.problem):
            if self.known is None and limits.warm_start is not None:
                self._remember("greedy", Outcome(Termination.HEURISTIC_DONE, *limits.warm_start))
            enough = way == "greedy:first" and self.known is not None
            if not enough and self.ended is None and way not in self.asked:
                self.asked.add(way)
                self._ask_greedy(way, limits, math.inf if way == "greedy" else self._soon(backend))
        if self.known is None or self.best.pairs is None:
            return limits
        # With an answer in hand no time has to be kept back.
        limits = dataclasses.replace(limits, deadline=self.limits.deadline)
        if self.problem.problem_class == "flow":
            return limits
        return dataclasses.replace(limits, warm_start=self.best.pairs)

    def _soon(self, backend: Backend) -> float:
        """Return when a first answer comes too late, as an exact backend would have its own."""
        if self.problem.problem_class == "mip":
            return math.inf
        expected = expected_seconds(backend, self.problem)
        if not expected > 0:
            return math.inf
        return time.perf_counter() + max(self.params.first_seconds, expected)

    def _ask_greedy(self, way: str, limits: Limits, late: float) -> None:
        """Ask greedy for an answer, in a share of the time left, before it is late."""
        soon = min(late, time.perf_counter() + self.params.first_share * limits.remaining())
        hurried = dataclasses.replace(limits, deadline=min(limits.deadline, soon))
        try:
            greedy = self.params.find(way)
            if greedy.refusal(self.problem) is not None:
                return
            first = run_backend(greedy, self.problem, hurried, self.best)
        except FAILURES as error:
            logger.info("no first answer by greedy: %s", str(error))
            return
        self._remember("greedy", first)
        if first.termination is Termination.INTERRUPTED:
            self.ended = first.termination

    def _offer(self, answer: Outcome) -> bool:
        """Keep an answer that is the best so far; tell whether it is one that breaks nothing."""
        rows, cols = answer.row_ind, answer.col_ind
        return rows is not None and cols is not None and self.best.offer(rows, cols)

    def _remember(self, name: str, answer: Outcome) -> None:
        """Keep an answer that is the best so far, and the least bound."""
        before = self.best.value
        self._offer(answer)
        if self.best.value > before:
            self.known = name, answer
        self.best.lower(answer.bound, answer.source)

    def _at_least_known(self, answer: Outcome) -> Outcome:
        """Return a backend's answer, with the pairs of a better one that is known."""
        if answer.infeasible or self.best.pairs is None:
            return answer
        rows, cols = self.best.pairs
        if answer.row_ind is None or answer.col_ind is None:
            return dataclasses.replace(answer, row_ind=rows, col_ind=cols)
        # An answer that breaks a bound is left for `finish` to refuse.
        if not self._offer(answer):
            return answer
        rows, cols = self.best.pairs
        # Of answers of the same value its own goes with its prices.
        value = self.problem.sign * self.problem.objective(answer.row_ind, answer.col_ind)
        if not value < self.best.value:
            return answer
        return dataclasses.replace(answer, row_ind=rows, col_ind=cols)

    def _last_limits(self) -> Limits:
        """Return the limits of the last resort: after Ctrl-C or a stop it must be quick."""
        if self.ended is not Termination.INTERRUPTED:
            return self.limits
        soon = time.perf_counter() + self.params.interrupt_grace
        return dataclasses.replace(
            self.limits, deadline=min(self.limits.deadline, soon), report=None
        )


def expected_seconds(backend: Backend, problem: AlignmentProblem) -> float:
    """Return the seconds that a backend takes, or compiles for, as far as measured, or NaN."""
    return float(np.fmax(backend.estimated_seconds(problem), backend.preparation(problem)))


def too_slow(backend: Backend, problem: AlignmentProblem, limits: Limits) -> str | None:
    """Return why a backend that cannot be interrupted does not fit the time limit."""
    if not math.isfinite(limits.deadline):
        return None
    left = limits.remaining()
    expected = expected_seconds(backend, problem)
    if not expected > left:
        return None
    return f"{TOO_SLOW} {expected:.3g} s of the {left:.3g} s left{backend.speed_hint}"


def run_backend(
    backend: Backend, problem: AlignmentProblem, limits: Limits, known: Incumbent | None = None
) -> Outcome:
    """Report that a backend begins, and let it solve; see `guarded_solve`."""
    report = limits.report
    value, bound = (-math.inf, math.inf) if known is None else (known.value, known.bound)
    if report is not None and report.begin(backend.name, problem, value, bound):
        return Outcome.nothing(Termination.INTERRUPTED)
    return guarded_solve(backend, problem, limits)
