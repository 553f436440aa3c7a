"""What a backend is: a name, declared capabilities, and one method that solves."""

from __future__ import annotations

import functools
import importlib.util
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from alignsolve.backends.rescaled import solve_rescaled
from alignsolve.errors import BackendError, BackendNotFoundError, guarded
from alignsolve.machine.memory import shortage
from alignsolve.model.arrays import IntArray
from alignsolve.model.describe import allowed_counts
from alignsolve.model.problem import AlignmentProblem, Feature
from alignsolve.status import Limits, Outcome, Subsolver, Termination


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
    rescaled : bool
        Whether its values are brought into ``2**-200`` to ``2**200``, by a power of two.
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
    rescaled: bool = False
    libraries: tuple[str, ...] = ()


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
    #: Bytes for each allowed pair that it takes beside the problem, at least, as far as measured.
    bytes_per_pair: ClassVar[float] = 0.0
    #: The same for each client of a problem whose fitness is a source.
    bytes_per_client: ClassVar[float] = 0.0

    def __init__(
        self, parts: tuple[str, ...] | None = None, ask: Subsolver | None = None
    ) -> None:
        self.parts = self.all_parts if parts is None else parts
        #: How to let other backends solve a part, for those that do.
        self.ask = ask or _nobody

    @abstractmethod
    def solve(self, problem: AlignmentProblem, limits: Limits) -> Outcome:
        """Return an answer to a problem that the backend supports.

        Parameters
        ----------
        problem : AlignmentProblem
            At least one client and one expert.
        limits : Limits
            Limits and hints.

        Notes
        -----
        On Ctrl-C, or where `Limits.report` says so, an interruptible backend returns
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

    def preparation(self, problem: AlignmentProblem) -> float:
        """Return the seconds that it compiles for before it can begin; 0 where it need not."""
        return 0.0

    def substitute_seconds(self, problem: AlignmentProblem) -> float:
        """Return the seconds that it takes in place of one that compiles; inf for no substitute."""
        return float("inf")

    def shortage(self, problem: AlignmentProblem) -> str | None:
        """Return why the memory left does not suffice, by a measured model, or None if it may."""
        if problem.streamed:
            return shortage(self.bytes_per_client * problem.n_clients)
        most = problem.n_clients * problem.n_experts
        if shortage(self.bytes_per_pair * most) is None:
            return None
        return shortage(self.bytes_per_pair * float(allowed_counts(problem)[0].sum()))

    def answers_soon(self, problem: AlignmentProblem) -> bool:
        """Tell whether it has an answer about as soon as "greedy" has its first one."""
        return False

    @classmethod
    def missing_libraries(cls) -> list[str]:
        """Return the distributions that would have to be installed."""
        return [lib for lib in cls.capabilities.libraries if importlib.util.find_spec(lib) is None]


@functools.cache
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


def guarded_solve(backend: Backend, problem: AlignmentProblem, limits: Limits) -> Outcome:
    """Let a backend solve, if there is the memory for it; see `guarded` and `solve_rescaled`."""
    reason = backend.shortage(problem)
    if reason is not None:
        raise BackendError(f"backend {backend.name!r} {reason}") from MemoryError(reason)

    def call() -> Outcome:
        if backend.capabilities.rescaled:
            return solve_rescaled(backend.solve, problem, limits)
        return backend.solve(problem, limits)

    return guarded(f"backend {backend.name!r}", call, Outcome.nothing(Termination.INTERRUPTED))


def _nobody(name: str, problem: AlignmentProblem, limits: Limits) -> Outcome:
    raise BackendNotFoundError(f"backend {name!r} is not at hand; make backends by `get_backend`")
