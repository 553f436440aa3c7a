"""Other backends, asked for a first answer, or for what the pipeline leaves open."""

from __future__ import annotations

import dataclasses
import logging
import math

from alignsolve.backends.incumbent import SharedIncumbent
from alignsolve.errors import AlignSolveError
from alignsolve.model.problem import AlignmentProblem
from alignsolve.status import Limits, Outcome, Subsolver, Termination

logger = logging.getLogger(__name__)

#: Exact solvers of the linear model, in order.
EXACT = ("ortools-mip", "scipy-milp")

#: One in whole numbers, and pairs up to which it is asked where a bound in floats leaves a doubt.
WHOLE, FEW_PAIRS = ("ortools-cpsat",), 256


class OtherSolvers:
    """Other backends, whose answers are offered.

    Parameters
    ----------
    best : SharedIncumbent
        Where answers go.
    ask : callable
        Solves by another backend.
    """

    def __init__(self, best: SharedIncumbent, ask: Subsolver) -> None:
        self.best, self._ask = best, ask

    def core(self, core: AlignmentProblem, limits: Limits) -> Outcome:
        """Ask for an exact answer to a problem whose answers are answers to the whole one."""
        return self._first(EXACT, core, limits)

    def whole(self, limits: Limits) -> Outcome:
        """Ask for an exact answer, and take what is proved."""
        best = self.best
        answer = self._take(EXACT, limits)
        in_doubt = answer.termination is Termination.PROVED and not best.proved
        if in_doubt and best.problem.fitness.size <= FEW_PAIRS and limits.remaining() > 0:
            self._take(WHOLE, dataclasses.replace(limits, warm_start=best.pairs))
        return answer

    def _take(self, names: tuple[str, ...], limits: Limits) -> Outcome:
        """Ask for an exact answer to the whole problem, and take answer and bound."""
        best = self.best
        answer = self._first(names, best.problem, limits)
        if answer.infeasible:
            best.infeasible = best.pairs is None
        else:
            best.lower(answer.bound, answer.source)
        return answer

    def _first(
        self, names: tuple[str, ...], problem: AlignmentProblem, limits: Limits
    ) -> Outcome:
        """Ask the first backend that is installed and works, and offer its answer."""
        for name in names:
            try:
                answer = self._ask(name, problem, limits)
            except AlignSolveError as error:
                logger.info("lagrangian goes on without %s: %s", name, error)
                continue
            if answer.row_ind is not None and answer.col_ind is not None:
                self.best.offer(answer.row_ind, answer.col_ind)
                return answer
            ended = answer.infeasible or answer.termination is Termination.INTERRUPTED
            if ended or math.isfinite(answer.bound):
                return answer
        return Outcome.nothing(Termination.FAILED)
