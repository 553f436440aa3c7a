"""Measure the `exchange` backend against reading the matrix and against its peers.

Every command measures one thing and adds one line to
``benchmarks/results/exchange.jsonl``, with machine and versions; what is there
already is not measured again (``--again`` does). All calls are whole `al.solve`
calls, certificate included, and peers' times include building their network::

    python benchmarks/exchange.py ours 1024000x64 uniform
    python benchmarks/exchange.py peer 102400x64 uniform ortools-mcf
    python benchmarks/exchange.py hard "rank one"
    python benchmarks/exchange.py memory
    python benchmarks/exchange.py warm 1024000x64
    python benchmarks/exchange.py growth clients 102400
    python benchmarks/exchange.py all --quick
    python benchmarks/exchange.py report
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import _results
import numpy as np
import typer
from _exchange_cases import CASES, FAMILIES, HARD, PEERS, Case, seconds_of_argmax

import alignsolve as al
from alignsolve.plot.style import figure_bytes, line_styles, new_figure

RESULTS = Path(__file__).parent / "results" / "exchange.jsonl"
PLOT = RESULTS.with_suffix(".png")
CLIENTS = (10_000, 32_000, 102_400, 320_000, 1_024_000)
EXPERTS = (8, 16, 32, 64, 128, 256, 512)
#: Sizes at which another solver might be faster: tiny, and few clients per expert.
CROSSOVER = ("4x2", "16x4", "32x32", "128x8", "128x128", "512x128", "1024x256", "512x512",
             "2048x512")  # fmt: skip
#: Cases of warm starts.
WARM = ("10000x64", "102400x64", "1024000x64")
#: A peer that takes longer is run once.
PATIENCE = 30.0
#: Cases on which only one peer is measured, and peers too slow from 10,000 clients on.
SLOW_CASES = ("1024000x64", "262144x256", "102400x64", "102400x64-mixed")
SLOW_PEERS = ("networkx", "lapx")
#: Seconds after which `all` gives up on one command.
LONGEST = 120.0

app = typer.Typer(add_completion=False, help=__doc__)
Again = Annotated[bool, typer.Option(help="Measure even what is stored already.")]
Runs = Annotated[int, typer.Option(help="Runs, after one to warm up.")]


def stored() -> list[dict[str, Any]]:
    """Return all results, the latest of each key last."""
    return _results.stored(RESULTS)


def record(key: str, again: bool, measure: Callable[[], dict[str, Any]]) -> None:
    """Measure and store under a key, unless it is stored already."""
    _results.record(RESULTS, key, again, measure)


def timed(problem: al.AlignmentProblem, runs: int, **options: Any) -> dict[str, Any]:
    """Solve and certify several times; interleave numpy's argmax, to share the noise."""
    al.solve(problem, "exchange", **options)
    wall, argmax, cpu = [], [], []
    for _ in range(runs):
        result, seconds, busy = _results.clocked(lambda: al.solve(problem, "exchange", **options))
        wall.append(seconds)
        cpu.append(busy)
        argmax += seconds_of_argmax(problem.fitness, 1)
    return {
        "seconds": float(np.median(wall)), "fastest": min(wall), "cpu": float(np.median(cpu)),
        "argmax": float(np.median(argmax)), "argmax_fastest": min(argmax),
        "status": result.status.value, "gap_abs": result.gap_abs,
        "objective": result.objective_value,
        "stats": {k: v for k, v in result.stats.items() if isinstance(v, (int, float))},
    }  # fmt: skip


@app.command()
def ours(case: str, family: str, runs: Runs = 7, shift: float = 0.0, again: Again = False) -> None:
    """Time `exchange` on a case and family; `--shift 1e6` adds a common offset."""
    key = f"ours/{case}/{family}" + (f"/shift{shift:g}" if shift else "")
    record(key, again, lambda: timed(CASES[case].problem(family, 0, shift), runs))


def time_peer(problem: al.AlignmentProblem, peer: str, runs: int) -> dict[str, Any]:
    """Time a peer; once only if it is slow."""
    times, cpu, objective = [], [], np.nan
    for _ in range(runs):
        try:
            objective, seconds, busy = _results.clocked(lambda: PEERS[peer](problem))
        except (al.AlignSolveError, ImportError, MemoryError) as error:
            return {"failed": f"{type(error).__name__}: {error}"}
        times.append(seconds)
        cpu.append(busy)
        if times[-1] > PATIENCE:
            break
    return {"seconds": float(np.median(times)), "cpu": float(np.median(cpu)),
            "runs": len(times), "objective": objective}  # fmt: skip


@app.command()
def peer(case: str, family: str, name: str, runs: Runs = 5, again: Again = False) -> None:
    """Time another solver on a case and family."""
    key = f"peer/{case}/{family}/{name}"
    record(key, again, lambda: time_peer(CASES[case].problem(family, 0), name, runs))


@app.command()
def hard(name: str, runs: Runs = 5, peer_too: bool = True, again: Again = False) -> None:
    """Time a hard case of 102,400 x 64, ours and `ortools-mcf`."""
    problem = CASES["102400x64"].problem(name, 0)
    record(f"ours/102400x64/{name}", again, lambda: timed(problem, runs))
    if peer_too:
        key = f"peer/102400x64/{name}/ortools-mcf"
        record(key, again, lambda: time_peer(problem, "ortools-mcf", 1))


@app.command()
def warm(case: str, runs: Runs = 7, again: Again = False) -> None:
    """Time a warm start after 1% of the clients changed, and after 1% noise everywhere."""

    def measure() -> dict[str, Any]:
        problem = CASES[case].problem("uniform", 0)
        rng = np.random.default_rng(1)
        first = al.solve(problem, "exchange")
        found = {"cold": timed(problem, runs)}
        fitness = problem.fitness.copy()
        changed = rng.random(len(fitness)) < 0.01
        fitness[changed] = rng.random((changed.sum(), fitness.shape[1]), dtype=np.float32)
        found["rows"] = timed(problem.replace(fitness=fitness), runs, warm_start=first)
        fitness = problem.fitness * (
            1 + np.float32(0.01) * rng.standard_normal(problem.fitness.shape, dtype=np.float32)
        )
        found["noise"] = timed(problem.replace(fitness=fitness), runs, warm_start=first)
        return found

    record(f"warm/{case}/uniform", again, measure)


@app.command()
def memory(again: Again = False) -> None:
    """Measure the growth of memory during a call over a memory-mapped matrix."""

    def measure() -> dict[str, Any]:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "fitness.npy"
            np.save(path, FAMILIES["uniform"](np.random.default_rng(0), 1_024_000, 64))
            done = subprocess.run(
                [sys.executable, __file__, "memory-child", str(path)],
                check=True, capture_output=True, text=True,
            )  # fmt: skip
        return dict(json.loads(done.stdout.splitlines()[-1]))

    record("memory/1024000x64/uniform", again, measure)


@app.command(hidden=True)
def memory_child(path: Path) -> None:
    """Solve a mapped matrix in this process; print the growth of memory."""
    small = CASES["102400x64"].problem("uniform", 0)
    al.solve(small, "exchange")
    del small
    fitness = np.load(path, mmap_mode="r")
    n, m = fitness.shape
    problem = al.AlignmentProblem(fitness, 1, min_experts=1, load_max=-(-n // m))
    peak = _results.Peak()
    peak.start()
    result = al.solve(problem, "exchange")
    grown = peak.stop() - peak.first
    print(json.dumps({"bytes": grown, "bytes_per_client": grown / n,
                      "status": result.status.value}))  # fmt: skip


@app.command()
def growth(axis: str, size: int, runs: Runs = 5, again: Again = False) -> None:
    """Time one size: of ``clients`` at 64 experts, or of ``experts`` at 100,000 clients."""
    case = Case(size, 64) if axis == "clients" else Case(100_000, size)
    record(f"growth/{axis}/{size}", again, lambda: timed(case.problem("uniform", 0), runs))


@app.command()
def crossover(case: str, runs: Runs = 7, again: Again = False) -> None:
    """Time a small size, such as 64x16, ours and `ortools-mcf`, on all families."""
    n, m = (int(part) for part in case.split("x"))

    def measure() -> dict[str, Any]:
        found = {}
        for family in FAMILIES:
            problem = Case(n, m).problem(family, 0)
            ours = timed(problem, runs)["seconds"]
            theirs = time_peer(problem, "ortools-mcf", runs)["seconds"]
            found[family] = {"seconds": ours, "ratio": theirs / ours}
        return found

    record(f"crossover/{case}", again, measure)


def peers_of(case: str) -> list[str]:
    """Return the peers that a case is measured with: those that answer in seconds to a minute."""
    if case in SLOW_CASES:
        return ["ortools-mcf"]
    return [name for name in PEERS if name not in SLOW_PEERS or CASES[case].n <= 1000]


@app.command(name="all")
def run_all(quick: bool = False, again: Again = False) -> None:
    """Run every command, each in a process of its own; `--quick` leaves slow peers out.

    Peers follow ours at once on each problem, so that both find the machine alike.
    """
    commands = []
    for case in CASES:
        for family in FAMILIES:
            commands.append(["ours", case, family])
            if not (quick and case in SLOW_CASES):
                commands += [["peer", case, family, name] for name in peers_of(case)]
    commands += [["ours", case, family, "--shift", "1e6"] for case in CASES for family in FAMILIES]
    commands += [["hard", name, *(["--no-peer-too"] if quick else [])] for name in HARD]
    commands += [["memory"], *(["warm", case] for case in WARM)]
    commands += [["growth", "clients", str(n)] for n in CLIENTS]
    commands += [["growth", "experts", str(m)] for m in EXPERTS]
    commands += [["crossover", case] for case in CROSSOVER]
    for command in commands:
        words = [sys.executable, __file__, *command, *(["--again"] if again else [])]
        try:
            subprocess.run(words, check=False, timeout=LONGEST)
        except subprocess.TimeoutExpired:
            print(f"{' '.join(command)}: not done in {LONGEST:g} s", flush=True)


@app.command()
def report() -> None:
    """Print the table of all results and draw the plot of growth."""
    results = {result["key"]: result for result in stored()}
    for key, result in sorted(results.items()):
        kind, *where = key.split("/")
        if kind == "ours" and "seconds" in result:
            line = f"{'/'.join(where):36s} {result['seconds'] * 1e3:9.2f} ms"
            line += f"  argmax x {result['seconds'] / result['argmax']:6.1f}"
            line += f"  gap {result['gap_abs']:.2g} {result['status']}"
            for name in PEERS:
                other = results.get(f"peer/{'/'.join(where)}/{name}")
                if other and "seconds" in other:
                    line += f"  {name} x {other['seconds'] / result['seconds']:.1f}"
            print(line)
        elif kind == "crossover":
            ratios = ", ".join(f"{f} {result[f]['ratio']:.1f}" for f in FAMILIES)
            print(f"{where[0]:12s} ortools-mcf x {ratios}")
        elif kind == "memory":
            print(f"memory: {result['bytes_per_client']:.1f} bytes a client")
        elif kind == "warm":
            cold = result["cold"]["seconds"]
            print(f"warm {where[0]}: rows {result['rows']['seconds'] / cold:.2f}, noise "
                  f"{result['noise']['seconds'] / cold:.2f} of the cold {cold:.3f} s")  # fmt: skip
    _plot(results)


def _plot(results: dict[str, dict[str, Any]]) -> None:
    """Draw time against size, with the peer where it is measured; print the fitted exponents."""
    figure = new_figure(9, 4.6, dpi=130)
    figure.suptitle("uniform fitness, one slot, float32; medians on 2 cores")
    axes = figure.subplots(1, 2)
    for axis, sizes, ax in (("clients", CLIENTS, axes[0]), ("experts", EXPERTS, axes[1])):
        known = [(s, results[k]) for s in sizes if (k := f"growth/{axis}/{s}") in results]
        if len(known) < 2:
            continue
        lines = {
            "ortools-mcf": _peer_growth(results, axis),
            "exchange, certified": [(size, result["seconds"]) for size, result in known],
            "numpy argmax": [(size, result["argmax"]) for size, result in known],
        }
        for (label, points), style in zip(lines.items(), line_styles(lines).values(), strict=True):
            if not points:
                continue
            at, seconds = np.array(points, float).T
            text = label
            if len(points) > 1:
                slope = np.polyfit(np.log(at), np.log(seconds), 1)[0]
                print(f"growth in {axis}: {label} exponent {slope:.2f}")
                text = f"{label}: exponent {slope:.2f}"
            ax.loglog(at, seconds, marker="o", label=text, **style)
        fixed = "64 experts" if axis == "clients" else "100,000 clients; the peer: 102,400"
        ax.set(xlabel=f"{axis} ({fixed})", ylabel="seconds")
        ax.grid(True, which="both", alpha=0.3)
        ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.2), frameon=False)
    PLOT.write_bytes(figure_bytes(figure, "png"))
    print(f"plot in {PLOT}")


def _peer_growth(results: dict[str, dict[str, Any]], axis: str) -> list[tuple[int, float]]:
    """Return sizes and seconds of `ortools-mcf` on the cases that lie on an axis of growth."""
    found = []
    for name, case in CASES.items():
        result = results.get(f"peer/{name}/uniform/ortools-mcf", {})
        one_slot = name == f"{case.n}x{case.m}"
        fixed = case.m == 64 and case.n >= CLIENTS[0] if axis == "clients" else case.n == 102_400
        if "seconds" in result and one_slot and fixed:
            found.append((case.n if axis == "clients" else case.m, result["seconds"]))
    return sorted(found)


if __name__ == "__main__":
    app()
