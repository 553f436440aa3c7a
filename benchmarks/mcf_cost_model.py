"""Fit the cost model behind `MinCostFlowBackend.estimated_seconds`.

Takes the processor time (the machine may be shared, and the library uses one
thread) of build and solve of `ortools-mcf` on problems of several shapes and
kinds, and fits ``seconds = a * arcs**b`` to their medians by least squares in
logarithms (the number of experts adds nothing to it). Run it as ``python
benchmarks/mcf_cost_model.py``; it prints the coefficients to put into
`alignsolve/backends/min_cost_flow/ortools_mcf.py`, and stores all figures in
``benchmarks/results/mcf_cost_model.json``.
"""

from __future__ import annotations

import argparse
import json
import statistics
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from _results import clocked, machine_record

from alignsolve import AlignmentProblem
from alignsolve.backends import get_backend
from alignsolve.status import Limits

SHAPES = [
    (10_000, 4), (50_000, 4), (250_000, 4), (1_000_000, 4),
    (10_000, 16), (50_000, 16), (200_000, 16),
    (1_000, 64), (5_000, 64), (20_000, 64), (100_000, 64),
    (1_000, 256), (4_000, 256), (10_000, 256),
]
RESULTS = Path(__file__).parent / "results" / "mcf_cost_model.json"


def uniform(rng: np.random.Generator, n: int, m: int) -> AlignmentProblem:
    """One slot each, equal loads, independent values."""
    return AlignmentProblem(rng.random((n, m), dtype=np.float32), 1, load_max=-(-n // m))


def popular(rng: np.random.Generator, n: int, m: int) -> AlignmentProblem:
    """One slot each, equal loads, a few experts that everybody wants."""
    fitness = rng.random((n, m), dtype=np.float32) + np.float32(2) / np.arange(1, m + 1, dtype="f4")
    return AlignmentProblem(fitness, 1, load_max=-(-n // m))


def two_slots(rng: np.random.Generator, n: int, m: int) -> AlignmentProblem:
    """One or two experts each, lower bounds on the loads."""
    return AlignmentProblem(
        rng.random((n, m)), 2, min_experts=1, load_min=n // m, load_max=-(-3 * n // (2 * m))
    )


def penalised(rng: np.random.Generator, n: int, m: int) -> AlignmentProblem:
    """One slot each, a penalty on uneven loads: as many unit arcs as pairs."""
    return AlignmentProblem(rng.random((n, m), dtype=np.float32), 1, load_penalty=m / n)


def grouped(rng: np.random.Generator, n: int, m: int) -> AlignmentProblem:
    """An expert of each of two layers, equal loads."""
    return AlignmentProblem(
        rng.random((n, m), dtype=np.float32), 2, load_max=-(-2 * n // m),
        expert_group=np.arange(m) % 2, group_max=1,
    )


KINDS = (uniform, popular, two_slots, penalised, grouped)


def measure(n: int, m: int, repeats: int) -> list[dict[str, Any]]:
    """Return a row per kind of problem: arcs and median seconds of build and solve."""
    rows = []
    for kind in KINDS:
        seconds, arcs = [], 0
        for seed in range(repeats):
            problem = kind(np.random.default_rng(seed), n, m)
            solve = partial(get_backend("ortools-mcf").solve, problem, Limits())
            answer, _, spent = clocked(solve)
            seconds.append(spent)
            arcs = answer.stats["arcs"]
        row = {"kind": kind.__name__, "n": n, "m": m, "arcs": arcs,
               "seconds": statistics.median(seconds)}
        print(row, flush=True)
        rows.append(row)
    return rows


def fit(rows: list[dict[str, Any]]) -> dict[str, float]:
    """Return the coefficients, and by which factors the model is off."""
    arcs, seconds = (np.log([float(row[key]) for row in rows]) for key in ("arcs", "seconds"))
    b, log_a = np.polyfit(arcs, seconds, 1)
    off = np.exp(seconds - log_a - b * arcs)
    return {"a": float(np.exp(log_a)), "b": float(b),
            "measured_over_model_min": float(off.min()),
            "measured_over_model_max": float(off.max())}


def main() -> None:
    """Measure, fit, print and store."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--most-pairs", type=int, default=7_000_000)
    options = parser.parse_args()
    measure(200, 4, 1)
    rows = [
        row
        for n, m in SHAPES
        if n * m <= options.most_pairs
        for row in measure(n, m, options.repeats)
    ]
    model = fit(rows)
    print(model)
    RESULTS.parent.mkdir(exist_ok=True)
    record = {"machine": machine_record(), "model": model, "rows": rows}
    RESULTS.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
