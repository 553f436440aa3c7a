"""One solve in a process of its own: reads a task from standard input, prints a record.

A task is a JSON object: ``backend``, ``limit`` in seconds, and either ``file`` with
``index`` (a problem in it, from 1) or ``family`` with ``parameters`` and ``seed``.
"""

from __future__ import annotations

import json
import math
import resource
import sys
import time
from typing import Any

import alignsolve as al
from alignsolve.bench.quality import primal_integral
from alignsolve.bench.records import finite
from alignsolve.generators import generate
from alignsolve.model.active_bounds import binding_bounds

#: Most points of a trace that are kept; the first ones of each gap are never dropped.
TRACE = 200


def problem_of(task: dict[str, Any]) -> al.AlignmentProblem:
    """Read or generate the task's problem."""
    if "file" in task:
        index: int = task["index"]
        return al.read_instances(task["file"])[index - 1]
    return generate(task["family"], seed=task["seed"], **task["parameters"])


def warm_up(backend: str) -> None:
    """Let libraries load and kernels compile outside the measured time."""
    for small in (generate("gap-c", agents=3, jobs=12), generate("scarce", clients=12, experts=4)):
        al.solve(small, backend)


def seconds_to(trace: list[al.Progress], gap: float) -> float | None:
    """Return when value and bound were first this close, relative to the bound."""
    for state in trace:
        # Without a bound, any distance is within a share of it.
        if math.isfinite(state.dual_bound) and (
            abs(state.dual_bound - state.objective_value) <= gap * abs(state.dual_bound)
        ):
            return round(state.seconds, 3)
    return None


def peak_mib() -> float:
    """Return the most memory that this process had, in MiB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)


def solve(task: dict[str, Any]) -> dict[str, Any]:
    """Return what came of a task."""
    warm_up(task["backend"])
    problem = problem_of(task)
    before = peak_mib()
    trace: list[al.Progress] = []
    processor = time.process_time()
    started = time.perf_counter()
    result = al.solve(
        problem, task["backend"], time_limit=task["limit"], callback=trace.append
    )
    seconds = time.perf_counter() - started
    step, until = max(1, len(trace) // TRACE), min(seconds, task["limit"])
    answers = [(min(state.seconds, until), state.objective_value) for state in trace
               if math.isfinite(state.objective_value)]
    record: dict[str, Any] = {
        "status": result.status.value,
        "termination": result.termination.value,
        "by": result.backend,
        "value": finite(result.objective_value),
        "bound": finite(result.dual_bound),
        "sense": problem.sense,
        "seconds": round(seconds, 3),
        "processor_seconds": round(time.process_time() - processor, 3),
        "to_1_percent": seconds_to(trace, 0.01),
        "to_0.1_percent": seconds_to(trace, 0.001),
        "to_0.02_percent": seconds_to(trace, 0.0002),
        "primal_integral": round(
            primal_integral(answers, result.dual_bound, until), 4),
        "before_mib": round(before),
        "peak_mib": round(peak_mib()),
        "trace": [[round(s.seconds, 2), finite(s.objective_value), finite(s.dual_bound)]
                  for s in trace[::step]],
    }
    if result.has_answer:
        binding = binding_bounds(problem, result.row_ind, result.col_ind)
        record["budgets_binding"] = finite(round(binding.budget_share, 4))
        record["loads_binding"] = finite(round(binding.load_share, 4))
    return record


if __name__ == "__main__":
    print(json.dumps(solve(json.load(sys.stdin))))
