"""Compare `ortools-mcf`, build and solve, with a hand-written call of SimpleMinCostFlow.

Both solve the same 1,000 x 64 problem in the same process, in turn. The
hand-written call gets the network's arcs ready made and does no more than pass
them on, solve, and read the flows. Run it as
``python benchmarks/mcf_overhead.py``; it stores its figures in
``benchmarks/results/mcf_overhead.json``.
"""

from __future__ import annotations

import argparse
import json
import statistics
from pathlib import Path
from typing import Any

import numpy as np
from _results import clocked, machine_record
from ortools.graph.python.min_cost_flow import SimpleMinCostFlow

from alignsolve import AlignmentProblem
from alignsolve.backends import get_backend
from alignsolve.backends.min_cost_flow.network import FlowNetwork, build_network
from alignsolve.status import Limits

TARGET = 1.5
RESULTS = Path(__file__).parent / "results" / "mcf_overhead.json"


def by_hand(network: FlowNetwork) -> int:
    """Solve ready-made arcs; return the cost."""
    solver = SimpleMinCostFlow()
    arcs = solver.add_arcs_with_capacity_and_unit_cost(
        network.tail, network.head, network.capacity, network.cost
    )
    solver.set_nodes_supplies(np.arange(network.n_nodes, dtype=np.int32), network.supply)
    assert solver.solve() == SimpleMinCostFlow.Status.OPTIMAL
    np.flatnonzero(solver.flows(arcs))
    return int(solver.optimal_cost())


def compare(problem: AlignmentProblem, repeats: int) -> dict[str, Any]:
    """Return the medians of both and their ratio."""
    network, backend = build_network(problem), get_backend("ortools-mcf")
    ours, hand, build = [], [], []
    for _ in range(repeats + 1):
        answer, seconds, _ = clocked(lambda: backend.solve(problem, Limits()))
        ours.append(seconds)
        hand.append(clocked(lambda: by_hand(network))[1])
        build.append(answer.stats["build_seconds"])
    # The first round warms up.
    ours, hand, build = ours[1:], hand[1:], build[1:]
    return {
        "ours_seconds": statistics.median(ours),
        "of_which_build_seconds": statistics.median(build),
        "by_hand_seconds": statistics.median(hand),
        "ratio_of_medians": statistics.median(ours) / statistics.median(hand),
        "median_of_ratios": statistics.median(a / b for a, b in zip(ours, hand, strict=True)),
        "cost_exponent": network.scaling.exponent,
        "rounding_error_bound": network.scaling.error_bound,
        "arcs": network.n_arcs,
    }


def main() -> None:
    """Measure, print and store."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clients", type=int, default=1_000)
    parser.add_argument("--experts", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=21)
    options = parser.parse_args()
    n, m, rng = options.clients, options.experts, np.random.default_rng(0)
    fitness: dict[str, Any] = {
        "whole": rng.integers(0, 1000, (n, m)),
        "float32": rng.random((n, m), dtype=np.float32),
        "float64": rng.random((n, m)),
    }
    results = {}
    for kind, matrix in fitness.items():
        problem = AlignmentProblem(matrix, 1, load_max=-(-n // m))
        results[kind] = compare(problem, max(7, options.repeats))
        ratio = results[kind]["ratio_of_medians"]
        print(f"{kind:8} ours {1e3 * results[kind]['ours_seconds']:.2f} ms, by hand "
              f"{1e3 * results[kind]['by_hand_seconds']:.2f} ms, ratio {ratio:.2f} "
              f"(target at most {TARGET})")
    record = {"machine": machine_record(), "clients": n, "experts": m,
              "repeats": max(7, options.repeats), "target": TARGET, "results": results}
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
