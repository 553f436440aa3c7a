"""Choose a backend: try those that suit a problem in turn, and say why one was passed over."""

from __future__ import annotations

import dataclasses
import logging
import math
import time
from collections.abc import Callable
from typing import Generic, TypeVar

from alignsolve.backends.base import Backend, guarded_solve
from alignsolve.backends.registry import get_backend
from alignsolve.errors import BackendError, BackendNotFoundError, UnsupportedProblemError
from alignsolve.model.problem import AlignmentProblem
from alignsolve.status import Fallback, Limits, Outcome, Termination

Finished = TypeVar("Finished")

logger = logging.getLogger("alignsolve")

#: The order in which ``backend="auto"`` tries backends, by problem class.
AUTO_ORDER = {
    "flow": ("exchange", "ortools-mcf", "scipy-milp", "greedy"),
    "mip": ("lagrangian", "ortools-mip", "ortools-cpsat", "scipy-milp", "greedy"),
}

#: What passes over a backend; a malformed problem is the caller's to correct.
FAILURES = (BackendError, BackendNotFoundError, UnsupportedProblemError)

#: Solvers of the linear model: in the mip class their own first answer can be far off, or take
#: longer than there is, so that greedy gives them one to begin with.
NEED_FIRST_ANSWER = frozenset({"ortools-mip", "ortools-cpsat", "scipy-milp"})

#: Share of the time left that greedy may take for a first answer.
FIRST_SHARE = 0.3

#: How the reason begins for which ``auto`` passes over a backend that would overrun.
TOO_SLOW = "cannot be interrupted and is expected to need"

#: Share of a time limit that ``auto`` keeps back so that greedy can still answer.
FALLBACK_SHARE = 0.1

#: Seconds after Ctrl-C or a stop within which greedy may still find an answer.
INTERRUPT_GRACE = 0.3


class Auto(Generic[Finished]):
    """One solve by whichever backend answers.

    Parameters
    ----------
    problem : AlignmentProblem
        At least one client and one expert.
    limits : Limits
        Limits and hints.
    finish : callable
        Checks a backend's answer and makes the result; raises `BackendError` where
        the answer breaks a bound.
    """

    def __init__(
        self, problem: AlignmentProblem, limits: Limits,
        finish: Callable[[str, Outcome, tuple[Fallback, ...]], Finished],
    ) -> None:  # fmt: skip
        self.problem, self.limits, self.finish = problem, limits, finish
        self.order = AUTO_ORDER[problem.problem_class]
        is_mip = problem.problem_class == "mip"
        self.need_first_answer = NEED_FIRST_ANSWER if is_mip else frozenset()
        self.fallbacks: list[Fallback] = []
        # What ended the search for a better answer than greedy's, if anything did.
        self.ended: Termination | None = None
        # The best answer of those that did not end the search: of one that gave up, of greedy.
        self.known: tuple[str, Outcome] | None = None
        # The least bound of those that did not end it, and whose it is.
        self.bound, self.source = math.inf, ""
        self.asked_greedy = False

    def run(self) -> Finished:
        """Try the backends of `AUTO_ORDER` until one answers."""
        *others, last = self.order
        reserve = FALLBACK_SHARE * self.limits.remaining()
        early = self.limits
        if math.isfinite(reserve):
            early = dataclasses.replace(early, deadline=early.deadline - reserve)
        for name in others:
            result = self._try(name, early)
            if result is not None:
                return result
        if self.known is not None:
            name, answer = self.known
            return self._finish(name, self._ended_as(answer))
        try:
            answer = run_backend(get_backend(last), self.problem, self._last_options())
            return self._finish(last, self._ended_as(answer))
        except FAILURES as error:
            self._pass_over(last, str(error))
        return self._finish(last, Outcome.nothing(self.ended or Termination.FAILED))

    def _try(self, name: str, limits: Limits) -> Finished | None:
        """Return the result of a backend, or None where the search goes on."""
        try:
            backend = get_backend(name)
            reason = backend.refusal(self.problem) or too_slow(backend, self.problem, limits)
            if reason is None and self.ended is None and name in self.need_first_answer:
                limits = self._with_first_answer(limits)
            if reason is None and self.ended is not None:
                reason = self.ended.value
            if reason is None:
                answer = run_backend(backend, self.problem, limits)
                gave_up = answer.termination is Termination.WORK_LIMIT
                if answer.infeasible and self.known is not None:
                    raise BackendError(
                        f"backend {name!r} called the problem infeasible, and it is not: "
                        f"{self.known[0]!r} found an answer"
                    )
                if answer.infeasible or (answer.row_ind is not None and not gave_up):
                    return self._finish(name, self._at_least_known(answer))
                self._remember(name, answer)
                if answer.row_ind is None and not gave_up:
                    self.ended = answer.termination
                reason = f"gave up: {answer.termination.value}"
        except FAILURES as error:
            reason = str(error)
        self._pass_over(name, reason)
        return None

    def _pass_over(self, name: str, reason: str) -> None:
        logger.info("auto passes over %s: %s", name, reason)
        self.fallbacks.append(Fallback(name, reason))

    def _finish(self, name: str, answer: Outcome) -> Finished:
        if self.bound < answer.bound and not answer.infeasible:
            answer = dataclasses.replace(answer, bound=self.bound, source=self.source)
        return self.finish(name, answer, tuple(self.fallbacks))

    def _with_first_answer(self, limits: Limits) -> Limits:
        """Let greedy answer, once, and start from that; take all the time where it did."""
        if not self.asked_greedy:
            self.asked_greedy = True
            soon = time.perf_counter() + FIRST_SHARE * limits.remaining()
            hurried = dataclasses.replace(limits, deadline=min(limits.deadline, soon))
            try:
                first = run_backend(get_backend("greedy"), self.problem, hurried)
            except FAILURES as error:
                logger.info("no first answer by greedy: %s", str(error))
                return limits
            self._remember("greedy", first)
            if first.termination is Termination.INTERRUPTED:
                self.ended = first.termination
        if self.known is None:
            return limits
        rows, cols = self.known[1].row_ind, self.known[1].col_ind
        assert rows is not None
        assert cols is not None
        return dataclasses.replace(
            limits, deadline=self.limits.deadline, warm_start=(rows, cols)
        )

    def _value(self, answer: Outcome) -> float:
        """Return the value of an answer, max sense; -inf for none."""
        if answer.row_ind is None or answer.col_ind is None:
            return -math.inf
        return self.problem.sign * self.problem.objective(answer.row_ind, answer.col_ind)

    def _remember(self, name: str, answer: Outcome) -> None:
        """Keep an answer that is the best so far, and the least bound."""
        best = -math.inf if self.known is None else self._value(self.known[1])
        if self._value(answer) > best:
            self.known = name, answer
        if answer.bound < self.bound:
            self.bound, self.source = answer.bound, answer.source

    def _at_least_known(self, answer: Outcome) -> Outcome:
        """Return a backend's answer, with the pairs of a better one that is known."""
        if answer.infeasible or self.known is None:
            return answer
        known = self.known[1]
        if self._value(known) <= self._value(answer):
            return answer
        return dataclasses.replace(answer, row_ind=known.row_ind, col_ind=known.col_ind)

    def _ended_as(self, answer: Outcome) -> Outcome:
        """Return an answer with what ended the search before it."""
        return answer if self.ended is None else dataclasses.replace(answer, termination=self.ended)

    def _last_options(self) -> Limits:
        """Return the limits of the last resort: after Ctrl-C or a stop it must be quick."""
        if self.ended is not Termination.INTERRUPTED:
            return self.limits
        soon = time.perf_counter() + INTERRUPT_GRACE
        return dataclasses.replace(
            self.limits, deadline=min(self.limits.deadline, soon), report=None
        )


def too_slow(backend: Backend, problem: AlignmentProblem, limits: Limits) -> str | None:
    """Return why a backend that cannot be interrupted does not fit the time limit."""
    if not math.isfinite(limits.deadline):
        return None
    expected = backend.estimated_seconds(problem)
    if not expected > limits.remaining():
        return None
    left = limits.remaining()
    return f"{TOO_SLOW} {expected:.3g} s of the {left:.3g} s left{backend.speed_hint}"


def run_backend(backend: Backend, problem: AlignmentProblem, limits: Limits) -> Outcome:
    """Report that a backend begins, and let it solve; see `guarded_solve`."""
    if limits.report is not None and limits.report.begin(backend.name, problem):
        return Outcome.nothing(Termination.INTERRUPTED)
    return guarded_solve(backend, problem, limits)
