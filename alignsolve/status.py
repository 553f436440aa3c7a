"""What a solve is asked for, what a backend returns, and what ends it."""

from __future__ import annotations

import enum
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from alignsolve.model.arrays import Float64Array, IntArray
from alignsolve.model.problem import AlignmentProblem
from alignsolve.progress import Reporter


class Status(enum.Enum):
    """What is known of the problem after a solve.

    Examples
    --------
    >>> import alignsolve as al
    >>> problem = al.AlignmentProblem([[3, 1]], max_experts=1, load_min=1)
    >>> al.solve(problem).status is al.Status.INFEASIBLE
    True
    """

    OPTIMAL = "optimal"
    """An answer, and a certificate that none is better."""
    FEASIBLE = "feasible"
    """An answer that keeps every bound, and a bound on how much better another can be."""
    INFEASIBLE = "infeasible"
    """A proof that no answer keeps every bound."""
    NO_SOLUTION_FOUND = "no solution found"
    """Neither an answer nor a proof that there is none."""


class Termination(enum.Enum):
    """What ended a solve.

    Examples
    --------
    >>> import alignsolve as al
    >>> al.solve(al.AlignmentProblem([[3, 1]], max_experts=1)).termination is al.Termination.PROVED
    True
    """

    PROVED = "proved"
    HEURISTIC_DONE = "heuristic done"
    GAP_REACHED = "gap reached"
    TIME_LIMIT = "time limit"
    WORK_LIMIT = "work limit"
    INTERRUPTED = "interrupted"
    FAILED = "backend failed"


@dataclass(frozen=True)
class Fallback:
    """A backend that was tried, or passed over, before the one that answered.

    Attributes
    ----------
    backend : str
        Its name.
    reason : str
        Why it did not give the answer.

    Examples
    --------
    >>> import alignsolve as al
    >>> step = al.Fallback("lagrangian", reason="not compiled")
    >>> print(f"{step.backend} did not answer: {step.reason}")
    lagrangian did not answer: not compiled
    """

    backend: str
    reason: str


@dataclass(frozen=True, eq=False)
class Limits:
    """What a solve is asked for; every backend gets the same.

    Attributes
    ----------
    deadline : float
        Value of ``time.perf_counter()`` at which to stop; +inf for none.
    rel_gap : float
        Gap at which the mip class may stop, relative to the objective.
    seed : int
        Seed of anything random.
    threads : int or None
        Threads; None for the library's default, at most the machine's cores.
    warm_start : tuple of int64 array, or None
        ``(row_ind, col_ind)`` of an earlier answer, not necessarily feasible.
    warm_prices : float64 array, shape (n_experts,), or None
        Earlier prices, max sense.
    warm_load_prices : mapping of str to float64 array, shape (n_experts,)
        Earlier prices of holders ("") and named loads, max sense; empty for none.
    with_conflict : bool
        Whether to look for the bounds that contradict each other where the
        problem is infeasible; backends need not care.
    report : Reporter, or None
        To be called now and then, in the caller's thread, with the best value and
        bound so far (max sense, infinite for none); true asks to stop.
    repeatable : bool
        Whether limits on work have to end the search, so that the machine's speed
        does not matter: solvers of linear models then refuse large problems.
    """

    deadline: float = float("inf")
    rel_gap: float = 0.0
    seed: int = 0
    threads: int | None = None
    warm_start: tuple[IntArray, IntArray] | None = None
    warm_prices: Float64Array | None = None
    warm_load_prices: Mapping[str, Float64Array] = field(default_factory=dict)
    with_conflict: bool = True
    report: Reporter | None = None
    repeatable: bool = False

    def remaining(self) -> float:
        """Return the seconds left, >= 0; +inf without a limit."""
        return max(0.0, self.deadline - time.perf_counter())

    def poll(self) -> bool:
        """Report that time passes; tell whether to stop."""
        return self.report is not None and self.report(-math.inf, math.inf)


@dataclass(frozen=True, eq=False)
class Outcome:
    """What a backend returns, before anything is believed.

    Attributes
    ----------
    termination : Termination
        What ended it.
    row_ind, col_ind : int64 array, shape (n_pairs,), or None
        The assignment, in any order; None for none found.
    infeasible : bool
        Whether the backend claims that there is no answer.
    bound : float
        Claimed upper bound (max sense) on the optimum of the *original* float
        problem; +inf for none. Used for the mip class only: the flow class is
        certified here.
    prices : float64 array, shape (n_experts,), or None
        Claimed prices, max sense.
    load_prices : mapping of str to float64 array, shape (n_experts,)
        For the mip class: prices of holders ("") and named loads, max sense, at which the
        backend bounds; empty for none.
    conflict_experts : int64 array or None
        Experts whose load bounds cannot hold, where the backend knows them.
    source : str
        Solver and version behind `bound`.
    stats : mapping
        ``build_seconds``, ``solve_seconds`` and counts.
    """

    termination: Termination
    row_ind: IntArray | None = None
    col_ind: IntArray | None = None
    infeasible: bool = False
    bound: float = float("inf")
    prices: Float64Array | None = None
    load_prices: Mapping[str, Float64Array] = field(default_factory=dict)
    conflict_experts: IntArray | None = None
    source: str = ""
    stats: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def nothing(cls, termination: Termination, **details: Any) -> Outcome:
        """Return an answer that found nothing and proved nothing."""
        return cls(termination, **details)

    @classmethod
    def proved_infeasible(cls, **details: Any) -> Outcome:
        """Return the claim that there is no answer."""
        return cls(Termination.PROVED, infeasible=True, **details)


#: Solves a problem by the backend of a name, for those who are not to know the registry. Ctrl-C
#: is an outcome, `Termination.INTERRUPTED`; whatever goes wrong is an `AlignSolveError`.
Subsolver = Callable[[str, AlignmentProblem, Limits], Outcome]
