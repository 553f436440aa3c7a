"""What happens inside the process of one run: warm up, solve, and say what came out."""

from __future__ import annotations

import contextlib
import math
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from alignsolve import kernels
from alignsolve.bench.processes import one_line, resident_mib
from alignsolve.bench.records import ANSWERED, finite
from alignsolve.errors import UnsupportedProblemError
from alignsolve.generators import generate
from alignsolve.infeasibility import Conflict
from alignsolve.machine.memory import lack_of_memory
from alignsolve.model.problem import FLOW_FEATURES, AlignmentProblem, Feature, Load, Resource
from alignsolve.model.sources import FunctionSource
from alignsolve.progress import Progress
from alignsolve.result import Result
from alignsolve.solve.solve import solve
from alignsolve.status import Status

#: Tells the watching process how far a run is; its limits hang on that.
Tell = Callable[[dict[str, Any]], None]

#: Seconds of a run below which loading would be a large part of it.
REPEAT_BELOW = 1.0

#: Outcomes of short runs that are repeated.
REPEATED = (*ANSWERED, "nothing")

#: Answers are told apart that are found this share of the time, or a millisecond, apart.
RESOLUTION, LEAST_SECONDS = 0.01, 1e-3


class Incumbents:
    """Keeps when better answers were found; a callback of `alignsolve.solve`.

    Of answers that come at about the same time (`RESOLUTION`) only the last is kept, so that
    no answer counts too early, and a long search keeps a few hundred.

    Parameters
    ----------
    sign : float
        +1 where larger values are better, -1 where smaller ones are.

    Attributes
    ----------
    found : list of (float, float)
        Seconds and value, each better than the one before.
    """

    def __init__(self, sign: float) -> None:
        self.found: list[tuple[float, float]] = []
        self._sign, self._moment = sign, -1

    def __call__(self, state: Progress) -> None:
        """Take the state of a search; never ask to stop."""
        value = state.objective_value
        if math.isnan(value) or (self.found and self._sign * (value - self.found[-1][1]) <= 0):
            return
        moment = int(math.log(max(state.seconds / LEAST_SECONDS, 1.0)) / RESOLUTION)
        if self.found and moment == self._moment:
            self.found.pop()
        self.found.append((state.seconds, value))
        self._moment = moment


def tiny_problem(features: Iterable[Feature], dtype: Any) -> AlignmentProblem:
    """Return a small feasible problem that uses the given features.

    Notes
    -----
    Solving it loads the libraries, and the compiled kernels, that a large
    problem with the same features and the same type of fitness will need.
    """
    n, m = 8, 4
    used = frozenset(features)
    # Everybody likes the last experts best, so that load bounds bind.
    fitness = (((np.arange(n * m) * 7) % 11).reshape(n, m) + 5 * np.arange(m)).astype(dtype)
    if Feature.FORBIDDEN in used:
        fitness[0, 3] = -np.inf
    weight = np.arange(1.0, n + 1.0)
    loads = {
        Feature.NAMED_LOADS: ("samples", Load(weight, max=30.0)),
        Feature.NAMED_LOAD_PENALTY: ("finishers", Load(weight, target=9.0, penalty=0.01)),
    }
    uses: dict[Feature, dict[str, Any]] = {
        Feature.MIN_EXPERTS: {"min_experts": 1},
        Feature.LOAD_BOUNDS: {"load_min": 1, "load_max": 3},
        Feature.LOAD_PENALTY: {"load_penalty": 0.25},
        Feature.GROUPS: {"expert_group": [0, 0, 1, 1], "group_max": 1},
        Feature.SWITCHING: {"held": (range(n), [i % m for i in range(n)]), "switch_cost": 0.5},
        Feature.RESOURCES: {"resources": {"memory_mb": Resource([1.0, 2.0, 1.0, 2.0], 3.0)}},
        Feature.FAIRNESS: {"client_fitness_min": 1.0},
    }
    arguments: dict[str, Any] = {}
    for feature in uses:
        if feature in used:
            arguments |= uses[feature]
    named = dict(loads[feature] for feature in loads if feature in used)
    return AlignmentProblem(fitness, 1, loads=named, **arguments)


def warm_up(backend: str, problem: AlignmentProblem, options: dict[str, Any]) -> None:
    """Solve a tiny relative of a problem, so that nothing is loaded or compiled later.

    What goes wrong here goes wrong again, and is reported, in the run itself.
    """
    with contextlib.suppress(Exception):
        tiny = tiny_problem(problem.features, problem.fitness.dtype)
        once = (problem.load_min == 1).all() and (problem.load_max == 1).all()
        if once and Feature.RESOURCES in problem.features:
            # Generalized assignment has kernels of its own.
            tiny = generate("gap-c", agents=3, jobs=12)
        if problem.streamed:
            rows = tiny.fitness
            source = FunctionSource(lambda a, b: rows[a:b], rows.shape, rows.dtype, 3)
            tiny = tiny.replace(fitness=source)
        solve(tiny, backend, on_interrupt="raise", **options)


def first_use(backend: str) -> dict[str, Any]:
    """Measure what the first use of a backend costs in this fresh process.

    Returns
    -------
    start : dict
        ``seconds`` that the first solves of tiny problems took beyond a
        repetition (imports, compilation), and the ``modules`` that came in.
        ``error`` instead where every one of them failed.
    """
    before = set(sys.modules)
    problems = [
        tiny_problem(features, dtype)
        for features in ((), FLOW_FEATURES, tuple(Feature))
        for dtype in (np.float32, np.float64)
    ]
    seconds, solved, trouble = [], 0, ""
    for _ in range(2):
        started = time.perf_counter()
        for problem in problems:
            try:
                solve(problem, backend, time_limit=60.0, threads=1, on_interrupt="raise")
                solved += 1
            except Exception as error:
                trouble = f"{type(error).__name__}: {error}"
        seconds.append(time.perf_counter() - started)
    if not solved:
        return {"error": one_line(trouble)}
    return {
        "seconds": max(0.0, seconds[0] - seconds[1]),
        "modules": sorted(set(sys.modules) - before),
    }


def run(
    backend: str, problem: AlignmentProblem, options: dict[str, Any], tell: Tell
) -> tuple[dict[str, Any], Conflict | None]:
    """Solve a problem and return the fields of its `Row`, and the conflict claimed.

    Parameters
    ----------
    backend : str
        A name that `alignsolve.solve` knows.
    problem : AlignmentProblem
        The instance.
    options : dict
        Further arguments of `alignsolve.solve`.
    tell : callable
        Called with ``{"began": MiB resident}`` as each attempt begins, and with
        ``{"compiling": True}`` when it compiles, and will be repeated.

    Notes
    -----
    A run that took less than `REPEAT_BELOW` seconds, or compiled something, is
    made again and the second attempt counts: the first loads what only this
    problem needs, which takes longer than many a small problem.
    """
    warm_up(backend, problem, options)
    compiled = False

    def noted() -> None:
        nonlocal compiled
        compiled = True
        tell({"compiling": True})

    # Kernels are measured as they are once they are compiled.
    with _compilations(noted), kernels.compiled():
        fields, conflict = _attempt(backend, problem, options, tell)
        if compiled:
            return _attempt(backend, problem, options, tell)
    if fields["total_seconds"] < REPEAT_BELOW and fields["outcome"] in REPEATED:
        memory = {name: fields[name] for name in ("peak_mib", "rise_mib")}
        fields, conflict = _attempt(backend, problem, options, tell)
        # The second attempt is faster, but reuses the memory that the first one took.
        fields |= memory
    return fields, conflict


def _attempt(
    backend: str, problem: AlignmentProblem, options: dict[str, Any], tell: Tell
) -> tuple[dict[str, Any], Conflict | None]:
    """Solve a problem once, measured."""
    conflict, incumbents = None, Incumbents(problem.sign)
    resident = resident_mib(os.getpid())
    _forget_peak()
    tell({"began": resident})
    started = time.perf_counter()
    try:
        result = solve(problem, backend, on_interrupt="raise", callback=incumbents, **options)
    except Exception as error:
        unsupported = isinstance(error, UnsupportedProblemError)
        lacking = lack_of_memory(error) is not None
        outcome = "memory" if lacking else "unsupported" if unsupported else "error"
        text = str(error) if unsupported else f"{type(error).__name__}: {error}"
        fields: dict[str, Any] = {"outcome": outcome, "message": text}
    else:
        fields, conflict = _result_fields(result), result.conflict
        fields["incumbents"] = incumbents.found
    fields["total_seconds"] = time.perf_counter() - started
    peak = _peak_mib()
    fields |= {"peak_mib": peak, "rise_mib": None if peak is None else peak - resident}
    return fields, conflict


@contextlib.contextmanager
def _compilations(noted: Callable[[], None]) -> Iterator[None]:
    """Call a function whenever numba begins to compile."""
    from numba.core.event import Listener, install_listener

    class Noting(Listener):  # type: ignore[misc]
        def on_start(self, event: object) -> None:
            noted()

        def on_end(self, event: object) -> None:
            pass

    with install_listener("numba:compile", Noting()):
        yield


def _result_fields(result: Result) -> dict[str, Any]:
    """Return the fields of a `Row` that a result fills."""
    proof = source = message = ""
    if result.status is Status.OPTIMAL and result.certificate is not None:
        proof, source = result.certificate.kind, result.certificate.source
    if result.status is Status.INFEASIBLE and result.conflict is not None:
        proof, message = "solver" if result.conflict.proved else "", result.conflict.text
    if result.fallbacks:
        message = "; ".join(f"not {step.backend}: {step.reason}" for step in result.fallbacks)
    nothing = result.status is Status.NO_SOLUTION_FOUND
    return {
        "outcome": "nothing" if nothing else result.status.value,
        "termination": result.termination.value,
        "objective": finite(result.objective_value),
        "bound": finite(result.dual_bound),
        "gap": finite(result.gap),
        "proof": proof,
        "source": source,
        "answered_by": result.backend,
        "message": message,
        **{name: finite(result.stats.get(name))
           for name in ("build_seconds", "solve_seconds", "certify_seconds")},
    }


def _forget_peak() -> None:
    """Let the system forget the largest memory so far, where it can (Linux)."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def _peak_mib() -> float | None:
    """Return the largest resident memory of this process since `_forget_peak`, or None."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return float(line.split()[1]) / 1024.0
    return None
