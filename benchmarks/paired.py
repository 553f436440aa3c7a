"""Measure this working tree against an older commit: the same calls, in turn, on one machine.

Two processes live side by side, one with each version. After a run of each that compiles
and is not counted, they work alternately, in the order A B B A, so that whatever else the
machine does meets both. What counts is the processor time of a process, all threads
together; cheap calls are repeated until a measurement takes 20 ms. The figure of a case is
the median of the ratios of neighbours, new over old.

    python benchmarks/paired.py --list
    python benchmarks/paired.py                          # every case against 1f231c7
    python benchmarks/paired.py solve-10000x64 proof-1024000x64 --base HEAD~1 --runs 31
    python benchmarks/paired.py --at-most 1.10 --keep ../old    # exit code 1 above it
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from _exchange_cases import CASES
from _machine import machine_record

import alignsolve as al
from alignsolve.generators import generate

ROOT = Path(__file__).resolve().parents[1]
BASE = "1f231c7"

#: Processor seconds that a measurement shall take at least, by repeating the call.
LEAST_SECONDS = 0.02

#: What a case prepares once, untimed, and then calls.
Run = Callable[[], Any]


# -- cases: each returns what is timed, or None where its files are missing --------------


def solving(shape: str, family: str, backend: str = "auto") -> Callable[[Path], Run]:
    """Solve a problem of `benchmarks/exchange.py`."""

    def prepare(_: Path) -> Run:
        problem = CASES[shape].problem(family, seed=0)
        return lambda: al.solve(problem, backend)

    return prepare


def proof(_: Path) -> Run:
    """Certify the answer of a million clients, at its own prices."""
    problem = CASES["1024000x64"].problem("uniform", seed=0)
    result = al.solve(problem)
    return lambda: al.certify(problem, result.row_ind, result.col_ind, result.prices)


def assignment(name: str) -> Callable[[Path], Run | None]:
    """Solve one of Yagiura's generalized assignment problems to proof."""

    def prepare(instances: Path) -> Run | None:
        path = instances / "yagiura" / f"{name}.txt"
        if not path.exists():
            return None
        (problem,) = al.read_instances(path)
        return lambda: al.solve(problem)

    return prepare


def fleet(_: Path) -> Run:
    """Solve a fleet with scarce budgets to a gap of 0.1%."""
    problem = generate("scarce", seed=1, clients=10_000, experts=64)
    return lambda: al.solve(problem, rel_gap=1e-3)


def planning(_: Path) -> Run:
    """Plan rounds of 1,000 of 10,000 clients x 64 experts; observing is not timed."""
    from _aligner_world import Fleet

    world, experts = Fleet(10_000, 64), 64
    aligner = al.Aligner(
        experts, expert_mb=np.full(experts, 8.0), fitness=al.FitnessSettings(score="accuracy")
    )
    world.declare(aligner, budgets=False)
    asked, luck = np.random.default_rng(0), np.random.default_rng(1)
    state: dict[str, Any] = {}

    def observe() -> None:
        if "plan" in state:
            plan = state.pop("plan")
            truth = world.truth(np.array(plan.clients))
            megabytes = np.full(experts, 8.0)
            aligner.observe(plan, world.reports(plan, truth, luck, None, megabytes))
        state["clients"] = asked.choice(10_000, 1000, replace=False).tolist()

    def plan() -> None:
        state["plan"] = aligner.plan(state["clients"])

    plan.before = observe  # type: ignore[attr-defined]
    return plan


#: Name: what it prepares, and the pairs of runs that are usual.
CASE_LIST: dict[str, tuple[Callable[[Path], Run | None], int]] = {
    "exchange-100x8": (solving("100x8", "uniform", "exchange"), 31),
    "exchange-10000x16": (solving("10000x16", "uniform", "exchange"), 31),
    "exchange-1024000x64-uniform": (solving("1024000x64", "uniform", "exchange"), 31),
    "exchange-1024000x64-latent": (solving("1024000x64", "latent", "exchange"), 31),
    "exchange-1000x64": (solving("1000x64", "uniform", "exchange"), 31),
    "solve-10000x64": (solving("10000x64", "uniform"), 31),
    "proof-1024000x64": (proof, 31),
    "plan-1000x64": (planning, 31),
    "gap-c10400": (assignment("c10400"), 11),
    "gap-e10400": (assignment("e10400"), 11),
    "fleet-10000x64": (fleet, 11),
}


# -- the process with one version --------------------------------------------------------


def work(name: str, instances: Path) -> None:
    """Prepare a case, then time a measurement for every line on standard input."""
    run = CASE_LIST[name][0](instances)
    if run is None:
        print(json.dumps({"missing": True}), flush=True)
        return
    before = getattr(run, "before", lambda: None)
    _timed(run, before, 1)
    single = min(_timed(run, before, 1) for _ in range(3))
    print(json.dumps({"module": al.__file__, "seconds": single}), flush=True)
    for line in sys.stdin:
        times = int(line)
        print(json.dumps(_timed(run, before, times) / times), flush=True)


def _timed(run: Run, before: Run, times: int) -> float:
    """Return the processor seconds of some calls."""
    seconds = 0.0
    for _ in range(times):
        before()
        started = time.process_time()
        run()
        seconds += time.process_time() - started
    return seconds


class Worker:
    """A process that imports one version and works when it is told to."""

    def __init__(self, tree: Path, name: str, instances: Path) -> None:
        environment = os.environ | {
            "PYTHONPATH": os.pathsep.join([str(tree), str(ROOT / "benchmarks")])
        }
        self.process = subprocess.Popen(
            [sys.executable, str(Path(__file__).resolve()), "--worker", name,
             "--instances", str(instances)],
            cwd=tree, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        self.start = self._answer()
        module = self.start.get("module")
        if module is not None and not Path(module).is_relative_to(tree):
            raise SystemExit(f"{tree}: the worker imported {module}; give another --keep")

    def _answer(self) -> Any:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"a worker ended with exit code {self.process.wait()}")
        return json.loads(line)

    def measure(self, times: int) -> float:
        """Return the processor seconds of a call, the mean of several."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{times}\n")
        self.process.stdin.flush()
        return float(self._answer())

    def close(self) -> None:
        """Let the process end."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()


# -- the process that compares -----------------------------------------------------------


def compare(name: str, base: Path, instances: Path, pairs: int) -> dict[str, Any] | None:
    """Return the figures of a case, or None where its files are missing."""
    old, new = (Worker(tree, name, instances) for tree in (base, ROOT))
    try:
        if "missing" in old.start or "missing" in new.start:
            return None
        times = max(1, round(LEAST_SECONDS / max(1e-6, old.start["seconds"])))
        seconds: dict[Worker, list[float]] = {old: [], new: []}
        for pair in range(pairs):
            for worker in (old, new) if pair % 2 == 0 else (new, old):
                seconds[worker].append(worker.measure(times))
            if sys.stderr.isatty():
                print(f"\r{name}: {pair + 1}/{pairs} ", end="", file=sys.stderr, flush=True)
        print(f"\r{name}: done    ", file=sys.stderr)
    finally:
        old.close()
        new.close()
    ratios = [b / a for a, b in zip(seconds[old], seconds[new], strict=True)]
    low, middle, high = np.quantile(ratios, (0.25, 0.5, 0.75)).tolist()
    return {
        "case": name, "pairs": pairs, "calls": times,
        "old_seconds": statistics.median(seconds[old]),
        "new_seconds": statistics.median(seconds[new]),
        "ratio": middle, "quartiles": [low, high],
    }  # fmt: skip


def check_out(ref: str, folder: Path) -> Path:
    """Write the files of a commit to a folder of its own, once."""
    name = subprocess.check_output(["git", "-C", str(ROOT), "rev-parse", ref], text=True).strip()
    tree = folder.resolve() / name
    if not tree.exists():
        tree.mkdir(parents=True)
        archive = subprocess.check_output(["git", "-C", str(ROOT), "archive", name])
        subprocess.run(["tar", "-x", "-C", str(tree)], input=archive, check=True)
    return tree


def main() -> int:
    """Run the cases asked for and print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("cases", nargs="*", metavar="CASE", help="names as --list prints them")
    parser.add_argument("--base", default=BASE, help="the older commit (default %(default)s)")
    parser.add_argument("--runs", type=int, help="pairs of runs; default by case, 11 or 31")
    parser.add_argument("--keep", type=Path, help="folder for the older commit and its kernels")
    parser.add_argument("--json", type=Path, help="write the figures here")
    parser.add_argument("--at-most", type=float, help="exit with 1 where a ratio is above this")
    parser.add_argument("--instances", type=Path, default=ROOT.parent / "shared" / "instances")
    parser.add_argument("--list", action="store_true", help="print the cases")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.worker:
        work(given.worker, given.instances)
        return 0
    unknown = set(given.cases) - set(CASE_LIST)
    if unknown:
        parser.error(f"no case {min(unknown)!r}; choose of {', '.join(CASE_LIST)}")
    if given.list:
        print("\n".join(CASE_LIST))
        return 0
    with tempfile.TemporaryDirectory() as temporary:
        base = check_out(given.base, given.keep or Path(temporary))
        found = []
        for name in given.cases or CASE_LIST:
            figures = compare(
                name, base, given.instances.resolve(), given.runs or CASE_LIST[name][1]
            )
            if figures is None:
                print(f"{name}: left out, {given.instances} has no such file", file=sys.stderr)
            else:
                found.append(figures)
    print(f"{'case':30} {'pairs':>5} {'old s':>10} {'new s':>10} {'ratio':>6}  quartiles")
    for row in found:
        print(f"{row['case']:30} {row['pairs']:5} {row['old_seconds']:10.3g} "
              f"{row['new_seconds']:10.3g} {row['ratio']:6.3f}  "
              f"{row['quartiles'][0]:.3f} to {row['quartiles'][1]:.3f}")
    record = {"base": given.base, "cases": found, "machine": machine_record()}
    print(json.dumps(record["machine"]))
    if given.json:
        given.json.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    return int(given.at_most is not None and any(row["ratio"] > given.at_most for row in found))


if __name__ == "__main__":
    sys.exit(main())
