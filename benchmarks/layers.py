"""Problems of many MoE layers: what issue 21 asks for, measured beside other solvers.

Each case runs in a process of its own: once to load kernels, then `RUNS` times; the least wall
and processor times count. Ratios are to the other solver of the same process. Run it as
``python benchmarks/layers.py [CASE ...]``; it stores ``results/layers.jsonl`` and prints a table.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from _results import Peak, append, clocked, machine_record, stored

import alignsolve as al
from alignsolve.generators import generate

RESULTS = Path(__file__).resolve().parent / "results" / "layers.jsonl"

RUNS = 3


def random_layers(n: int, layers: int, experts: int, each: int) -> al.AlignmentProblem:
    """Return a problem of uniform fitness, `each` experts of each layer for every client."""
    m = layers * experts
    fitness = np.random.default_rng(0).random((n, m), dtype=np.float32)
    return al.AlignmentProblem(
        fitness, each * layers, expert_group=np.arange(m) // experts, group_min=each,
        group_max=each, load_max=np.ceil(1.02 * n * each / experts),
    )  # fmt: skip


def timed(work: Callable[[], Any], runs: int = RUNS) -> tuple[Any, dict[str, float]]:
    """Return what work returns, with its least wall and processor seconds."""
    wall, processor, found = [], [], None
    for _ in range(runs):
        found, seconds, spent = clocked(work)
        wall.append(seconds)
        processor.append(spent)
    return found, {"wall": round(min(wall), 4), "processor": round(min(processor), 4)}


def measured(problem: al.AlignmentProblem, backend: str, runs: int = RUNS, **limits: Any) -> Any:
    """Return times, status and gap of a backend."""
    found, seconds = timed(lambda: al.solve(problem, backend, **limits), runs)
    return seconds | {"status": found.status.value, "objective": found.objective_value,
                      "gap": found.gap, "by": found.backend}  # fmt: skip


def beside_flow(problem: al.AlignmentProblem) -> dict[str, Any]:
    """Measure `exchange` and, once, `ortools-mcf`."""
    al.solve(problem, "exchange")
    ours, theirs = measured(problem, "exchange"), measured(problem, "ortools-mcf", 1)
    assert abs(ours["objective"] - theirs["objective"]) <= 1e-7 * abs(theirs["objective"])
    return {"exchange": ours, "ortools-mcf": theirs, "ratio": theirs["wall"] / ours["wall"]}


def four_layers() -> dict[str, Any]:
    """One expert of each of four layers, beside the same matrix without groups."""
    problem = random_layers(100_000, 4, 16, 1)
    free = problem.replace(expert_group=None, group_min=None, group_max=None, min_experts=4)
    al.solve(free, "exchange")
    found = beside_flow(problem)
    plain = measured(free, "exchange")
    return found | {"without groups": plain,
                    "slower": found["exchange"]["wall"] / plain["wall"]}  # fmt: skip


def many_layers() -> dict[str, Any]:
    """Two experts of each of 32 layers of 64, for 10,000 clients; memory beside the matrix."""
    problem = random_layers(10_000, 32, 64, 2)
    al.solve(problem, "exchange")
    peak = Peak()
    peak.start()
    found = measured(problem, "exchange", 1)
    most = peak.stop() - peak.first
    return {"exchange": found, "bytes a client and layer": most / (10_000 * 32)}


def shared_slots() -> dict[str, Any]:
    """Six slots over four layers, at least one expert of each."""
    problem = random_layers(10_000, 4, 16, 1)
    return beside_flow(problem.replace(
        max_experts=6, min_experts=6, group_max=16, load_max=np.ceil(1.02 * 10_000 * 6 / 64)
    ))  # fmt: skip


def aligner() -> dict[str, Any]:
    """A plan of 1,000 participants for 32 layers of 64 experts, two of each layer."""
    clients, rng = [f"client-{i}" for i in range(1000)], np.random.default_rng(0)
    planner = al.Aligner(32 * 64, expert_group=np.arange(32 * 64) // 64, group_min=2, group_max=2)
    for client in clients:
        planner.declare(client, max_experts=64)
    fitness = rng.random((1000, 32 * 64))
    planner.plan(clients, fitness=fitness)
    plan, seconds = timed(lambda: planner.plan(clients, fitness=fitness))
    return {"plan": seconds | {"status": plan.result.status.value, "by": plan.result.backend}}


def deep() -> dict[str, Any]:
    """Budgets over 8 layers of 32 experts for 1,000 clients, 10 s, beside MIP solvers."""
    problem = generate("deep", seed=1, clients=1000, layers=8, experts=32)
    al.solve(generate("deep", seed=1, clients=12, layers=3, experts=3), time_limit=10)
    return {name: measured(problem, name, 1, time_limit=10)
            for name in ("auto", "ortools-mip", "ortools-cpsat")}  # fmt: skip


CASES: dict[str, Callable[[], dict[str, Any]]] = {
    "four layers": four_layers, "many layers": many_layers, "shared slots": shared_slots,
    "aligner": aligner, "deep": deep,
}  # fmt: skip


def main() -> int:
    """Measure the cases, each in a fresh process, and print what is stored."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("cases", nargs="*", help=f"of {', '.join(CASES)}; default all")
    parser.add_argument("--here", action="store_true", help="in this process; print JSON alone")
    options = parser.parse_args()
    names = options.cases or list(CASES)
    for name in names:
        if name not in CASES:
            parser.error(f"no case {name!r}; choose from {', '.join(CASES)}")
        if options.here:
            print(json.dumps(CASES[name](), default=float))
            continue
        done = subprocess.run([sys.executable, __file__, "--here", name], check=True,
                              capture_output=True, text=True)  # fmt: skip
        found = json.loads(done.stdout.splitlines()[-1])
        append(RESULTS, {"key": name, **found, "machine": machine_record()})
    if not options.here:
        for result in stored(RESULTS):
            shown = {k: v for k, v in result.items() if k not in ("key", "machine")}
            load = result["machine"]["load_average_1min"]
            print(f"{result['key']} (load {load}): {json.dumps(shown)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
