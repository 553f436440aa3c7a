"""What a backend is: a name, declared capabilities, and one method that solves."""

from __future__ import annotations

import importlib.util
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from alignsolve.backends.progress import Reporter
from alignsolve.model.arrays import Float64Array, IntArray
from alignsolve.model.problem import AlignmentProblem, Feature
from alignsolve.result import Termination


@dataclass(frozen=True)
class Capabilities:
    """What a backend declares about itself.

    Attributes
    ----------
    features : frozenset of Feature
        Parts of the model it handles.
    exact : bool
        Whether, given time, it ends with an optimal answer.
    proves_infeasibility : bool
        Whether "no answer" from it, given time, is a proof.
    interruptible : bool
        Whether a time limit and Ctrl-C end it early. Where not, they take
        effect when the library returns.
    warm_start : bool
        Whether an earlier answer helps.
    sources : bool
        Whether it takes fitness in blocks of rows, from a source.
    callback : bool
        Whether the callback of a solve is called while it works, and can stop it.
        Where not, it is called at the start and at the end only.
    libraries : tuple of str
        Distributions it needs, by their names on PyPI.
    """

    features: frozenset[Feature]
    exact: bool
    proves_infeasibility: bool
    interruptible: bool
    warm_start: bool = False
    sources: bool = False
    callback: bool = False
    libraries: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Options:
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
    with_conflict: bool = True
    report: Reporter | None = None
    repeatable: bool = False

    def remaining(self) -> float:
        """Return the seconds left, >= 0; +inf without a limit."""
        return max(0.0, self.deadline - time.perf_counter())


@dataclass(frozen=True, eq=False)
class Answer:
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
    conflict_experts: IntArray | None = None
    source: str = ""
    stats: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def nothing(cls, termination: Termination, **details: Any) -> Answer:
        """Return an answer that found nothing and proved nothing."""
        return cls(termination, **details)

    @classmethod
    def proved_infeasible(cls, **details: Any) -> Answer:
        """Return the claim that there is no answer."""
        return cls(Termination.PROVED, infeasible=True, **details)


class Backend(ABC):
    """A solver of alignment problems.

    Subclasses set `name` and `capabilities` and implement `solve`; they import
    their library inside the methods, so that listing backends stays cheap.
    """

    name: ClassVar[str]
    capabilities: ClassVar[Capabilities]
    #: Parts that a name such as "lagrangian:search+tree" chooses, to compare what each is worth.
    all_parts: ClassVar[tuple[str, ...]] = ()
    #: What makes it faster the next time, where `estimated_seconds` does not fit.
    speed_hint: ClassVar[str] = ""

    def __init__(self, parts: tuple[str, ...] | None = None) -> None:
        self.parts = self.all_parts if parts is None else parts

    @abstractmethod
    def solve(self, problem: AlignmentProblem, options: Options) -> Answer:
        """Return an answer to a problem that the backend supports.

        Parameters
        ----------
        problem : AlignmentProblem
            At least one client and one expert.
        options : Options
            Limits and hints.

        Notes
        -----
        On Ctrl-C, or where `Options.report` says so, an interruptible backend returns
        its best answer so far with `Termination.INTERRUPTED`. Any other exception
        counts as a failure.
        """

    def refusal(self, problem: AlignmentProblem) -> str | None:
        """Return why the backend cannot take a problem, or None if it can."""
        beyond = problem.features - self.capabilities.features
        if beyond:
            return "does not support " + ", ".join(sorted(f.value for f in beyond))
        if problem.streamed and not self.capabilities.sources:
            return "needs the whole fitness matrix in memory, which a source does not give"
        return None

    def estimated_seconds(self, problem: AlignmentProblem) -> float:
        """Return the seconds in which it could not be interrupted, as far as measured, or NaN."""
        return float("nan")

    @classmethod
    def missing_libraries(cls) -> list[str]:
        """Return the distributions that would have to be installed."""
        return [lib for lib in cls.capabilities.libraries if importlib.util.find_spec(lib) is None]


def library_version(distribution: str) -> str:
    """Return "name version" of an installed distribution."""
    # Slow to import, and needed only where a solver vouches for a bound.
    from importlib.metadata import PackageNotFoundError, version

    try:
        return f"{distribution} {version(distribution)}"
    except PackageNotFoundError:
        return distribution


def index_arrays(row_ind: Any, col_ind: Any) -> tuple[IntArray, IntArray]:
    """Return two index sequences as int64 arrays."""
    return np.asarray(row_ind, dtype=np.int64), np.asarray(col_ind, dtype=np.int64)
