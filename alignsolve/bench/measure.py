"""What happens inside the process of one run: warm up, solve, and say what came out."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import psutil

import alignsolve as al
from alignsolve.bench.records import finite, one_line
from alignsolve.problem import FLOW_FEATURES, AlignmentProblem, Feature, Load, Resource

MIB = 2.0**20


def tiny_problem(features: Iterable[Feature], dtype: Any) -> AlignmentProblem:
    """Return a small feasible problem that uses the given features.

    Notes
    -----
    Solving it loads the libraries, and the compiled kernels, that a large
    problem with the same features and the same type of fitness will need.
    """
    n, m = 8, 4
    used = frozenset(features)
    fitness = ((np.arange(n * m) * 7) % 11).reshape(n, m).astype(dtype)
    if Feature.FORBIDDEN in used:
        fitness[0, 3] = -np.inf
    arguments: dict[str, Any] = {}
    if Feature.MIN_EXPERTS in used:
        arguments["min_experts"] = 1
    if Feature.LOAD_BOUNDS in used:
        arguments |= {"load_min": 1, "load_max": n // 2}
    if Feature.LOAD_PENALTY in used:
        arguments["load_penalty"] = 0.25
    if Feature.GROUPS in used:
        arguments |= {"expert_group": [0, 0, 1, 1], "group_max": 1}
    if Feature.SWITCHING in used:
        arguments |= {"held": (range(n), [i % m for i in range(n)]), "switch_cost": 0.5}
    weight = np.arange(1.0, n + 1.0)
    if Feature.NAMED_LOADS in used:
        arguments["loads"] = {"samples": Load(weight, max=30.0)}
    if Feature.NAMED_LOAD_PENALTY in used:
        arguments.setdefault("loads", {})["finishers"] = Load(weight, target=9.0, penalty=0.01)
    if Feature.RESOURCES in used:
        arguments["resources"] = {"memory_mb": Resource([1.0, 2.0, 1.0, 2.0], 3.0)}
    if Feature.FAIRNESS in used:
        arguments["client_fitness_min"] = 1.0
    return AlignmentProblem(fitness, 1, **arguments)


def warm_up(backend: str, problem: AlignmentProblem, options: dict[str, Any]) -> None:
    """Solve a tiny relative of a problem, so that nothing is loaded or compiled later.

    What goes wrong here goes wrong again, and is reported, in the run itself.
    """
    with contextlib.suppress(Exception):
        tiny = tiny_problem(problem.features, problem.fitness.dtype)
        al.solve(tiny, backend, **options)


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
                al.solve(problem, backend, time_limit=60.0, threads=1)
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
    backend: str,
    problem: AlignmentProblem,
    options: dict[str, Any],
    began: Callable[[float], None],
) -> tuple[dict[str, Any], al.Conflict | None]:
    """Solve a problem and return the fields of its `Row`, and the conflict claimed.

    Parameters
    ----------
    backend : str
        A name that `alignsolve.solve` knows.
    problem : AlignmentProblem
        The instance.
    options : dict
        Further arguments of `alignsolve.solve`.
    began : callable
        Called with the resident memory in MiB when the measured part begins.
    """
    warm_up(backend, problem, options)
    conflict = None
    resident = psutil.Process().memory_info().rss / MIB
    _forget_peak()
    began(resident)
    started = time.perf_counter()
    try:
        result = al.solve(problem, backend, **options)
    except MemoryError as error:
        fields: dict[str, Any] = {"outcome": "memory", "message": str(error) or "MemoryError"}
    except al.UnsupportedProblemError as error:
        fields = {"outcome": "unsupported", "message": str(error)}
    except Exception as error:
        fields = {"outcome": "error", "message": f"{type(error).__name__}: {error}"}
    else:
        fields, conflict = _result_fields(result), result.conflict
    fields["total_seconds"] = time.perf_counter() - started
    peak = _peak_mib()
    fields |= {"peak_mib": peak, "rise_mib": None if peak is None else peak - resident}
    return fields, conflict


_OUTCOMES = {
    al.Status.OPTIMAL: "optimal",
    al.Status.FEASIBLE: "feasible",
    al.Status.INFEASIBLE: "infeasible",
    al.Status.NO_SOLUTION_FOUND: "nothing",
}


def _result_fields(result: al.Result) -> dict[str, Any]:
    """Return the fields of a `Row` that a result fills."""
    proof = source = message = ""
    if result.status is al.Status.OPTIMAL and result.certificate is not None:
        proof, source = result.certificate.kind, result.certificate.source
    if result.status is al.Status.INFEASIBLE:
        proof = "solver"
        message = "" if result.conflict is None else result.conflict.text
    if result.fallbacks:
        message = "; ".join(f"not {step.backend}: {step.reason}" for step in result.fallbacks)
    return {
        "outcome": _OUTCOMES[result.status],
        "termination": result.termination.value,
        "objective": finite(result.objective_value),
        "bound": finite(result.dual_bound),
        "gap": finite(result.gap),
        "proof": proof,
        "source": source,
        "answered_by": result.backend,
        "build_seconds": finite(result.stats.get("build_seconds")),
        "solve_seconds": finite(result.stats.get("solve_seconds")),
        "certify_seconds": finite(result.stats.get("certify_seconds")),
        "message": message,
    }


def _forget_peak() -> None:
    """Let the system forget the largest memory so far, where it can (Linux)."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def _peak_mib() -> float | None:
    """Return the largest resident memory of this process since `_forget_peak`, or None."""
    try:
        text = Path("/proc/self/status").read_text()
    except OSError:
        return None
    lines = [line for line in text.splitlines() if line.startswith("VmHWM:")]
    return float(lines[0].split()[1]) / 1024.0 if lines else None


def contradictory(problem: AlignmentProblem, conflict: al.Conflict) -> bool:
    """Return whether the bounds of a conflict, checked by themselves, cannot hold together."""
    from alignsolve.conflict import check_conflict

    try:
        return bool(check_conflict(problem, conflict).contradictory)
    except Exception:
        return False
