"""How far a solve is, told to the caller while it goes on."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

from alignsolve.interrupts import Call
from alignsolve.model.problem import AlignmentProblem

#: Least seconds between two calls, unless a better answer was found.
INTERVAL = 0.05


@dataclass(frozen=True)
class Progress:
    """The state of a search, as `alignsolve.solve` hands it to its callback.

    Attributes
    ----------
    backend : str
        Who is at work.
    objective_value : float
        Value of the best answer so far, in the problem's own sense; NaN without one.
    dual_bound : float
        No answer is better than this, in the problem's own sense; infinite without
        a bound.
    gap : float
        Distance of the two over ``max(1, |objective_value|)``; infinite where either
        is missing.
    seconds : float
        Seconds since `alignsolve.solve` was called.

    Examples
    --------
    >>> import alignsolve as al
    >>> problem = al.AlignmentProblem([[3, 1], [2, 2.5]], max_experts=1, load_max=1)
    >>> told = []
    >>> result = al.solve(problem, callback=told.append)
    >>> told[-1].objective_value, told[-1].gap
    (5.5, 0.0)
    """

    backend: str
    objective_value: float
    dual_bound: float
    gap: float
    seconds: float


#: What the caller may give: true asks to stop, None or False to go on.
Callback = Callable[[Progress], object]


class Reporter:
    """Calls the caller's function now and then; knows whether that, or Ctrl-C, ends the solve.

    Parameters
    ----------
    problem : AlignmentProblem
        The problem whose values are reported. While another one is solved on the
        way, only time passes.
    callback : callable or None
        See `alignsolve.solve`.
    started : float
        Value of ``time.perf_counter()`` at the start.
    call : Call, optional
        The call whose Ctrl-C ends the solve.

    Attributes
    ----------
    stop_asked : bool
        Whether the function asked to stop.
    error : Exception or None
        What the function raised, which ends the solve as well.
    """

    def __init__(
        self, problem: AlignmentProblem, callback: Callback | None, started: float,
        call: Call | None = None,
    ) -> None:  # fmt: skip
        self.problem, self.callback, self.started, self.call = problem, callback, started, call
        self.stop_asked = False
        self.error: Exception | None = None
        self._backend = ""
        self._is_muted = False
        self._value, self._bound, self._next = -math.inf, math.inf, -math.inf

    @property
    def stopped(self) -> bool:
        """Whether the solve shall end."""
        return self.stop_asked or (self.call is not None and self.call.noted)

    def begin(
        self, backend: str, problem: AlignmentProblem, value: float = -math.inf,
        bound: float = math.inf,
    ) -> bool:
        """Report that a backend begins, and what others found before; tell whether to stop."""
        self._backend, self._is_muted = backend, problem is not self.problem
        self._value, self._bound, self._next = -math.inf, math.inf, -math.inf
        return self(value, bound)

    def __call__(self, value: float, bound: float) -> bool:
        """Report the best value and bound so far, max sense; tell whether to stop.

        Most calls cost a look at the clock only. Within a backend the value
        reported only rises and the bound only falls.
        """
        if self.callback is None or self.stopped:
            return self.stopped
        if self._is_muted:
            value, bound = -math.inf, math.inf
        now = time.perf_counter()
        if now < self._next and not value > self._value:
            return False
        self._value, self._bound = max(self._value, value), min(self._bound, bound)
        self._next = now + INTERVAL
        best, least = self._value, max(self._bound, self._value)
        gap = (least - best) / max(1.0, abs(best)) if best > -math.inf else math.inf
        sign = self.problem.sign
        self._tell(Progress(
            self._backend,
            sign * best if best > -math.inf else math.nan,
            sign * least,
            gap,
            now - self.started,
        ))
        return self.stopped

    def end(self, backend: str, value: float, bound: float, gap: float) -> None:
        """Report the outcome, in the problem's own sense, unless the solve was stopped.

        Raises
        ------
        Exception
            What the function raised, now or before.
        """
        if not self.stopped:
            seconds = time.perf_counter() - self.started
            self._tell(Progress(backend, value, bound, gap, seconds))
        if self.error is not None:
            raise self.error

    def _tell(self, progress: Progress) -> None:
        if self.callback is None:
            return
        # Kept for later: no backend has to expect an exception here.
        try:
            self.stop_asked = bool(self.callback(progress))
        except Exception as error:
            self.error, self.stop_asked = error, True
