"""Measure what the first answers of a fresh process cost, with nothing compiled.

Each case runs in a process of its own, with an empty folder for compiled kernels and a copy of
the package that holds none; processor seconds are of the whole process and its children. The
same is done with an older commit, in turn. ``--kernels`` prints the table of
`alignsolve/kernels/costs.py` instead. Run it as ``python benchmarks/cold_start.py``; it stores
all figures in ``benchmarks/results/cold_start.jsonl``.
"""

from __future__ import annotations

import argparse
import compileall
import os
import resource
import subprocess
import sys
import tarfile
import tempfile
import time
from collections import defaultdict
from io import BytesIO
from pathlib import Path
from typing import Any

from _results import machine_record, replace, stored

ROOT = Path(__file__).resolve().parent.parent
RESULTS = Path(__file__).parent / "results" / "cold_start.jsonl"
#: The last commit before kernels were interpreted.
BASE = "4266549"

FIRST = """
import numpy as np
import alignsolve as al
fitness = np.array([[0.9, 0.1, 0.3, 0.2], [0.8, 0.7, 0.1, 0.1], [0.9, 0.2, 0.2, -np.inf],
                    [0.4, 0.6, 0.5, 0.1], [0.7, 0.3, 0.6, 0.2]])
problem = al.AlignmentProblem(fitness, max_experts=2, load_min=1, load_max=3)
"""
BUDGET = """
import numpy as np
import alignsolve as al
problem = al.AlignmentProblem([[3, 1, 2], [2, 2.5, 1], [0, 1, 2]], 2, load_min=1,
                              resources={"memory": al.Resource([1.0, 2.0, 1.5], 3.0)})
"""
SOLVE = """
import time
start = time.perf_counter()
result = al.solve(problem{})
print(result.status.value, result.backend, time.perf_counter() - start)
"""
AFTER = """
import numba, ortools, time
import alignsolve as al
from alignsolve.generators import generate
problem = generate("uniform", clients=4000, experts=16, slots=1, balance=1.0)
numba.njit(lambda number: number)(1)
start = time.process_time()
result = al.solve(problem, "exchange")
print(result.status.value, result.backend, time.process_time() - start)
"""
LARGE = """
import numpy as np
import alignsolve as al
problem = al.AlignmentProblem(np.random.default_rng(0).random((100_000, 64)), 1, load_max=1600)
"""
ALIGNER = """
import alignsolve as al
aligner = al.Aligner(8)
for client in range(20):
    aligner.declare(client, max_experts=2)
for _ in range(2):
    plan = aligner.plan(range(20))
    aligner.observe(plan, [al.ClientReport(client, plan.round, 10, 1.0, experts={
        int(expert): al.ExpertReport(10, loss=0.5) for expert in plan.experts_of(client)})
        for client in plan.clients])
print(plan.result.status.value, plan.result.backend, 0)
"""
CASES = {
    "first 5 x 4": FIRST + SOLVE.format(""),
    "first 5 x 4, limit 1 s": FIRST + SOLVE.format(", time_limit=1"),
    "budget 3 x 3": BUDGET + SOLVE.format(""),
    "budget 3 x 3, limit 1 s": BUDGET + SOLVE.format(", time_limit=1"),
    "Aligner 20 x 8": ALIGNER,
    "infeasible 4 x 3": "import alignsolve as al\nimport numpy as np\n"
    "problem = al.AlignmentProblem(np.ones((4, 3)), 1, load_min=2)\n" + SOLVE.format(""),
    "check": FIRST + "problem = problem.replace(load_min=9)\n" + SOLVE.format("")
    + "al.check_conflict(problem, result.conflict)",
    "explain": FIRST + SOLVE.format("") + "al.explain(problem, result)",
    "certify": FIRST + "print(al.certify(problem, range(5), [0, 1, 0, 1, 2]).optimal, 0, 0)",
    "repeatable 5 x 4": FIRST + SOLVE.format(", repeatable=True"),
    "large": LARGE + SOLVE.format(""),
    "large, by OR-Tools": LARGE + SOLVE.format(", 'ortools-mcf'"),
    "large, by exchange": LARGE + SOLVE.format(", 'exchange'"),
    "fedloop": "from fedloop.cli import main\n"
    "raise SystemExit(main(['run', '--set', 'rounds=10']))",
    "import torch": "import torch, sklearn.datasets",
    "warm-up": "import alignsolve as al\nal.warm_up(lambda *_: None)",
    "after warm-up": AFTER,
}

KERNELS = """
import json, time
from numba.core.event import Listener, install_listener
import alignsolve as al
from alignsolve.kernels.arguments import kind_of
open_now, found = [], {}

class Noting(Listener):
    def on_start(self, event):
        open_now.append(time.process_time())
    def on_end(self, event):
        took = time.process_time() - open_now.pop()
        if not open_now:
            kernel = event.data["dispatcher"].py_func
            stem = kernel.__module__.removeprefix("alignsolve.") + "." + kernel.__name__
            kinds = found.setdefault(stem, {})
            kind = kind_of(event.data["args"])
            kinds[kind] = round(kinds.get(kind, 0.0) + took, 1) or 0.1

with install_listener("numba:compile", Noting()):
    al.warm_up(lambda *_: None)
print(json.dumps(found))
"""


def copied(commit: str | None, folder: Path) -> Path:
    """Put a commit, or the working tree, into a folder of its own, with bytecode."""
    commit = commit or git("stash", "create").strip() or "HEAD"
    archive = subprocess.run(["git", "archive", commit], cwd=ROOT, check=True, capture_output=True)
    with tarfile.open(fileobj=BytesIO(archive.stdout)) as tar:
        tar.extractall(folder, filter="data")
    for package in ("alignsolve", "fedloop"):
        compileall.compile_dir(folder / package, quiet=1)
    return folder


def git(*words: str) -> str:
    """Return what git prints."""
    return subprocess.run(
        ["git", *words], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout


def run(code: str, tree: Path, cache: Path) -> dict[str, Any]:
    """Run code in a fresh process; return what it took, its exit code and the last line it printed.

    Where the exit code is not 0, the line is that of standard error.
    """
    environment = os.environ | {
        "PYTHONPATH": str(tree), "NUMBA_CACHE_DIR": str(cache), "HOME": str(cache),
        "XDG_CACHE_HOME": str(cache),
    }  # fmt: skip
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run([sys.executable, "-c", code], env=environment, cwd=cache,
                          capture_output=True, text=True)  # fmt: skip
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    lines = (done.stdout if done.returncode == 0 else done.stderr).strip().splitlines()
    return {"cpu": cpu, "wall": time.perf_counter() - start, "code": done.returncode,
            "said": lines[-1] if lines else ""}  # fmt: skip


def main() -> int:
    """Measure, print and store."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("cases", nargs="*", help=f"of {', '.join(CASES)}; default all")
    parser.add_argument("--base", default=BASE, help="the older commit; '' for none")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--kernels", action="store_true", help="print the table of costs")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        trees = {"new": copied(None, Path(folder) / "new")}
        if options.kernels:
            (Path(folder) / "cache").mkdir()
            print(run(KERNELS, trees["new"], Path(folder) / "cache")["said"])
            return 0
        if options.base:
            trees["old"] = copied(options.base, Path(folder) / "old")
        warm: dict[str, Path] = {}
        found: dict[str, dict[str, Any]] = defaultdict(dict)
        for name in options.cases or CASES:
            for side, tree in trees.items():
                runs = []
                for _ in range(1 if side == "old" or name == "warm-up" else options.runs):
                    cache = Path(tempfile.mkdtemp(dir=folder))
                    runs.append(run(CASES[name], tree, warm.get(side, cache)
                                    if name == "after warm-up" else cache))  # fmt: skip
                    if name == "warm-up":
                        warm[side] = cache
                best = min(runs, key=lambda figures: figures["cpu"])
                found[name][side] = best
                print(f"{name:26} {side}  cpu {best['cpu']:6.2f}  wall {best['wall']:6.2f}  "
                      f"{best['said']}", flush=True)  # fmt: skip
    kept = {result["key"]: result for result in stored(RESULTS)}
    for name, figures in found.items():
        kept[name] = kept.get(name, {}) | {"key": name, **figures, "machine": machine_record()}
    replace(RESULTS, kept.values())
    return 0


if __name__ == "__main__":
    sys.exit(main())
