"""What the bench knows: settings, instances, and one row per run."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alignsolve.errors import ProblemError

#: Outcomes of a run that ended with an answer or a proof that there is none.
ANSWERED = ("optimal", "infeasible", "feasible")

#: Outcomes of a run that did not end as it should.
FAILED = ("timeout", "memory", "crash", "error")

#: Every outcome; "nothing" is a clean end without an answer, "unsupported" a declared refusal.
OUTCOMES = (*ANSWERED, "nothing", "unsupported", *FAILED)

#: Seconds granted to a warm-up, which compiles kernels where they are not cached on disk.
WARM_UP_LIMIT = 180.0


@dataclass(frozen=True)
class Settings:
    """What every run of a bench has in common.

    Attributes
    ----------
    time_limit : float
        Seconds per run, given to `alignsolve.solve`.
    memory_limit : float
        Resident memory per run, MiB.
    jobs : int
        Runs at the same time.
    threads : int
        Threads per run.
    seed : int
        Seed given to `alignsolve.solve`.
    environment : dict of str to str
        Versions and machine; see `alignsolve.bench.environment`.
    plugins : tuple of str
        Modules that every worker imports first; how the tests add backends
        that crash.

    Raises
    ------
    ProblemError
        If a number is out of range.
    """

    time_limit: float
    memory_limit: float
    jobs: int
    threads: int
    seed: int
    environment: dict[str, str]
    plugins: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name, value, unit in (("time_limit", self.time_limit, "seconds"),
                                  ("memory_limit", self.memory_limit, "MiB")):
            if not 0 < value < math.inf:
                raise ProblemError(f"{name} is {value!r}; give a finite number of {unit} > 0")
        if self.jobs < 1:
            raise ProblemError(f"jobs is {self.jobs!r}; give a whole number >= 1")
        if not 0 <= self.seed < 2**31:
            raise ProblemError(f"seed is {self.seed!r}; give a whole number from 0 to 2**31 - 1")

    def kill_after(self) -> float:
        """Return the seconds after which a run is killed from outside.

        The grace over the limit, 1 s + 10%, is above the 10% or 0.5 s that
        interruptible backends promise, so only those that do not listen die.
        """
        return 1.1 * self.time_limit + 1.0

    def late_after(self) -> float:
        """Return the seconds after which an answer no longer counts."""
        return self.time_limit + max(0.5, 0.1 * self.time_limit)


@dataclass(frozen=True)
class Reference:
    """What is known of an instance beforehand.

    Attributes
    ----------
    best_known : float or None
        Objective of the best known answer, in the instance's own sense.
    best_bound : float or None
        Proved bound on the optimum, same sense.
    infeasible : bool
        Whether the instance is known to have no answer.
    """

    best_known: float | None = None
    best_bound: float | None = None
    infeasible: bool = False


@dataclass(frozen=True)
class Instance:
    """One problem of one file.

    Attributes
    ----------
    name : str
        Path below the folder given, with ``#k`` (from 1) where the file holds
        several problems.
    path : Path
        The file.
    index : int
        Position in the file, from 0.
    digest : str
        Digest of the file, and the number of the problem in it.
    n_clients, n_experts : int
        Size.
    problem_class : str
        "flow" or "mip".
    features : tuple of str
        What the problem uses.
    sense : str
        "max" or "min".
    reference : Reference
        Best known values.
    """

    name: str
    path: Path
    index: int
    digest: str
    n_clients: int
    n_experts: int
    problem_class: str
    features: tuple[str, ...]
    sense: str
    reference: Reference

    @property
    def sign(self) -> float:
        """+1 where the instance maximises, -1 where it minimises."""
        return 1.0 if self.sense == "max" else -1.0

    def to_json(self) -> dict[str, Any]:
        """Return the instance as a JSON object, without machine paths."""
        fields = dataclasses.asdict(self)
        del fields["path"]
        return fields


@dataclass(frozen=True)
class Row:
    """One backend on one instance.

    Attributes
    ----------
    key : str
        Digest of instance, backend and settings: what a second run looks up.
    instance, backend : str
        Names.
    outcome : str
        One of `OUTCOMES`.
    termination : str
        What ended the solve.
    objective, bound : float or None
        Value and dual bound in the instance's own sense.
    gap : float or None
        Proved relative gap.
    proof : str
        "prices" or "conflict": recomputed without a solver; "solver": the
        word of a named solver; "" without a proof, such as where time ran out
        before a conflict was found.
    source : str
        That solver and its version.
    answered_by : str
        The backend that answered; differs from `backend` for "auto".
    build_seconds, solve_seconds, certify_seconds, total_seconds : float or None
        Wall time. `total_seconds` is measured around `alignsolve.solve`.
    peak_mib : float or None
        Largest resident memory during the solve, MiB.
    rise_mib : float or None
        The same less what the process held when the solve began (interpreter,
        libraries, instance).
    message : str
        What went wrong, in one line.
    incumbents : tuple of (float, float)
        When better answers were told of: seconds since the start of the solve, and value.
    """

    key: str
    instance: str
    backend: str
    outcome: str
    termination: str = ""
    objective: float | None = None
    bound: float | None = None
    gap: float | None = None
    proof: str = ""
    source: str = ""
    answered_by: str = ""
    build_seconds: float | None = None
    solve_seconds: float | None = None
    certify_seconds: float | None = None
    total_seconds: float | None = None
    peak_mib: float | None = None
    rise_mib: float | None = None
    message: str = ""
    incumbents: tuple[tuple[float, float], ...] = ()

    def __post_init__(self) -> None:
        # JSON, and the pipe from a worker, give lists.
        object.__setattr__(self, "incumbents", tuple(map(tuple, self.incumbents)))

    @property
    def value(self) -> float | None:
        """Value of the assignment that the run gave, or None."""
        return self.objective if self.outcome in ("optimal", "feasible") else None


def finite(value: Any) -> float | None:
    """Return a number as a finite float, or None: JSON has no infinity."""
    if value is None or not math.isfinite(float(value)):
        return None
    return float(value)


def run_key(instance_digest: str, backend: str, settings: Settings) -> str:
    """Return the key under which the result of a run is kept."""
    common = dataclasses.asdict(settings)
    return _digest({"instance": instance_digest, "backend": backend, **common})


def file_key(digest: str, settings: Settings) -> str:
    """Return the key under which the description of a file is kept."""
    return _digest({"file": digest, "sources": settings.environment.get("alignsolve", "")})


def start_key(backend: str, settings: Settings) -> str:
    """Return the key under which a backend's start-up time is kept."""
    return _digest({"start": backend, "environment": settings.environment})


def _digest(content: dict[str, Any]) -> str:
    text = json.dumps(content, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:24]
