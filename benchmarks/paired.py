"""Measure an older commit against the working tree: what is slower than it was.

Both sides solve the same problems on this machine, each in a process of its own, and
take turns (old new, new old, ...), so that whatever else the machine does hits both.
What counts is processor time, of all threads, and the median over the pairs of the
ratio new / old. Kernels are compiled before, and runs of less than 50 ms are repeated
within a measurement. A run that misses its goal (a proof, a gap) fails its case.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import io
import json
import math
import os
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Generator, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from _aligner_world import Fleet
from _exchange_cases import CASES as SHAPES

import alignsolve as al
from alignsolve.generators import generate

ROOT = Path(__file__).resolve().parent.parent
EXAMPLES = """examples:
  python benchmarks/paired.py
  python benchmarks/paired.py exchange-100x8 plan-1000x64 --keep /tmp/paired
  python benchmarks/paired.py --base HEAD~1 --at-most 1.05 --json paired.json
"""

#: Least processor seconds of one measurement.
LEAST = 0.05
#: Pairs by default, where a measurement takes up to so many seconds.
PAIRS = ((0.2, 61), (1.0, 31), (4.0, 11), (math.inf, 7))
#: Limit of a solve of the mip class, as in `hard_class.py`.
LIMIT = 60.0
#: Clients of the fleet of which a round asks a tenth, as in `aligner_service.py`.
FLEET = 10_000

#: Yields what is timed and is sent what came of it; the time between is not measured.
Runs = Generator[Callable[[], Any], Any, None]


# -- the cases --------------------------------------------------------------------------


def solves(problem: al.AlignmentProblem, backend: str, gap: float = 0.0, **options: Any) -> Runs:
    """Solve a problem to a proof, or to a relative gap."""
    while True:
        result = yield lambda: al.solve(problem, backend, **options)
        if result.status is not al.Status.OPTIMAL and not result.gap <= gap:
            raise RuntimeError(f"goal missed: {result.status.value}, gap {result.gap:.3g}")


def exchange(shape: str, family: str = "uniform", backend: str = "exchange") -> Runs:
    """Solve a problem of one slot a client and equal loads."""
    return solves(SHAPES[shape].problem(family, 0), backend)


def certifies(shape: str, priced: bool) -> Runs:
    """Prove an answer, at its prices or from the answer alone."""
    problem = SHAPES[shape].problem("uniform", 0)
    result = al.solve(problem, "exchange")
    prices = result.prices if priced else None
    while True:
        proof = yield lambda: al.certify(problem, result.row_ind, result.col_ind, prices)
        if not proof.optimal:
            raise RuntimeError(f"goal missed: {proof.summary()}")


def plans() -> Runs:
    """Plan rounds of 1,000 clients as `aligner_service.py` does; what they report is not timed."""
    fleet, megabytes = Fleet(FLEET, 64), np.full(64, 8.0)
    aligner = al.Aligner(64, expert_mb=megabytes, fitness=al.FitnessSettings(score="accuracy"))
    fleet.declare(aligner, budgets=False)
    asked, luck, change = (np.random.default_rng((7, part)) for part in range(3))
    while True:
        fleet.drift(change, 0, 200)
        clients = asked.choice(FLEET, FLEET // 10, replace=False)
        plan = yield partial(aligner.plan, clients.tolist())
        if plan.result is None or not plan.result.gap <= 1e-9:
            raise RuntimeError("goal missed: no plan that is proved the best")
        aligner.observe(plan, fleet.reports(plan, fleet.truth(clients), luck, None, megabytes))


def assignment(path: Path) -> Runs:
    """Solve generalized assignment from a file to a proof."""
    return solves(al.read_instances(path)[0], "auto", time_limit=LIMIT)


def fleet_of(clients: int) -> Runs:
    """Solve a fleet of scarce budgets to a relative gap of 0.1%."""
    problem = generate("scarce", seed=1, clients=clients, experts=64)
    return solves(problem, "auto", gap=0.001, rel_gap=0.001, time_limit=LIMIT)


def first_answers() -> Runs:
    """Stop greedy at its first answer to generalized assignment of type D, 40 x 1,600."""
    problem = generate("gap-d", seed=1, agents=40, jobs=1600)
    while True:
        result = yield partial(
            al.solve, problem, "greedy", callback=lambda state: state.objective_value > 0
        )
        if not result.has_answer:
            raise RuntimeError("goal missed: no answer")


CASES: dict[str, Callable[[Path], Runs]] = {
    "exchange-100x8": lambda _: exchange("100x8"),
    "exchange-1000x64": lambda _: exchange("1000x64"),  # the size at which POT is compared
    "exchange-10000x16": lambda _: exchange("10000x16"),
    "exchange-1024000x64": lambda _: exchange("1024000x64"),
    "exchange-1024000x64-latent": lambda _: exchange("1024000x64", "latent"),
    "solve-10000x64": lambda _: exchange("10000x64", backend="auto"),
    "certify-1024000x64": lambda _: certifies("1024000x64", priced=False),
    "certify-1024000x64-priced": lambda _: certifies("1024000x64", priced=True),
    "plan-1000x64": lambda _: plans(),
    "greedy-first-40x1600": lambda _: first_answers(),
    "fleet-10000x64": lambda _: fleet_of(10_000),
    "gap-c10400": lambda folder: assignment(folder / "yagiura" / "c10400.txt"),
    "gap-e10400": lambda folder: assignment(folder / "yagiura" / "e10400.txt"),
}
#: Files below the folder of instances that a case needs.
FILES = {"gap-c10400": "yagiura/c10400.txt", "gap-e10400": "yagiura/e10400.txt"}


# -- one side: a process that measures what it is asked -----------------------------------


def settle() -> None:
    """Wait until no thread that an earlier solve left behind is at work."""
    deadline = time.monotonic() + 2 * LIMIT
    while time.monotonic() < deadline:
        before = time.process_time()
        time.sleep(0.01)
        if time.process_time() - before < 0.001:
            return
    raise RuntimeError("an earlier run is still at work")


def work(tree: Path) -> None:
    """Answer requests, lines of JSON, from standard input until it ends."""
    # Solvers write to standard output, too: theirs goes to standard error.
    replies = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    if tree not in Path(str(al.__file__)).resolve().parents:
        raise SystemExit(f"{al.__file__} is not of {tree}")
    al.warm_up()
    print(json.dumps({"ready": True}), file=replies)
    case, outcome = "", None
    runs: Any = None
    for line in sys.stdin:
        request, spent = json.loads(line), 0.0
        try:
            if request["case"] != case:
                runs = outcome = None  # free the last case's memory first
                case, runs = request["case"], CASES[request["case"]](Path(request["instances"]))
            gc.collect()
            settle()
            for _ in range(request["repeats"]):
                timed = runs.send(outcome)
                started = time.process_time()
                outcome = timed()
                spent += time.process_time() - started
            reply: dict[str, Any] = {"seconds": spent / request["repeats"]}
        except Exception as error:
            reply = {"failed": f"{type(error).__name__}: {error}"}
            case, outcome = "", None
        print(json.dumps(reply), file=replies)


class Side:
    """A process at a tree, which is asked for one measurement at a time."""

    def __init__(self, name: str, tree: Path, instances: Path) -> None:
        self.name, self.instances = name, str(instances)
        self.process = subprocess.Popen(
            [sys.executable, __file__, "--worker", str(tree)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1, cwd=tree,
            env=os.environ | {"PYTHONPATH": str(tree)},
        )  # fmt: skip

    def reply(self) -> dict[str, Any]:
        """Wait for a line of the process."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"{self.name}: the process ended, code {self.process.wait()}")
        return dict(json.loads(line))

    def seconds(self, case: str, repeats: int = 1) -> float:
        """Return the processor seconds of one run."""
        request = {"case": case, "repeats": repeats, "instances": self.instances}
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(request) + "\n")
        reply = self.reply()
        if "failed" in reply:
            raise RuntimeError(f"{self.name}: {reply['failed']}")
        return float(reply["seconds"])

    def end(self) -> None:
        """End the process."""
        self.process.kill()
        self.process.wait()


# -- the driver ---------------------------------------------------------------------------


def git(*words: str) -> bytes:
    """Return what git answers; its own message where it fails."""
    done = subprocess.run(["git", "-C", str(ROOT), *words], stdout=subprocess.PIPE)
    if done.returncode:
        raise SystemExit(f"git {' '.join(words)} failed")
    return done.stdout


def checked_out(commit: str, folder: Path) -> Path:
    """Return a folder with the package of a commit, written unless it is there."""
    tree = folder.resolve() / commit[:12]
    if not tree.exists():
        tree.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=tree.parent) as unfinished:
            with tarfile.open(fileobj=io.BytesIO(git("archive", commit, "alignsolve"))) as files:
                files.extractall(Path(unfinished) / "tree", filter="data")
            (Path(unfinished) / "tree").rename(tree)
    return tree


@contextlib.contextmanager
def sides(trees: dict[str, Path], instances: Path) -> Iterator[tuple[Side, ...]]:
    """Start both processes, and end them."""
    say("compiling kernels: a minute or more for a new folder")
    # Those that measure load kernels from disk: compiling leaves a heap unlike the other's.
    for phase in ("compile", "measure"):
        started: list[Side] = []
        try:
            for name, tree in trees.items():
                started.append(Side(name, tree, instances))
            for side in started:
                side.reply()
            if phase == "measure":
                yield tuple(started)
        finally:
            for side in started:
                side.end()


def measure(case: str, old: Side, new: Side, runs: int | None) -> dict[str, Any]:
    """Return the seconds of all pairs of a case, and their ratios in short."""
    for side in (old, new):
        side.seconds(case)
    once = old.seconds(case), new.seconds(case)  # both, so that they stay in step
    repeats = max(1, math.ceil(LEAST / min(once)))
    count = runs or next(n for most, n in PAIRS if max(once) * repeats <= most)
    pairs = []
    for number in range(count):
        turns = (old, new) if number % 2 == 0 else (new, old)
        found = {side.name: side.seconds(case, repeats) for side in turns}
        pairs.append((found[old.name], found[new.name]))
        if number + 1 in (count // 4, count // 2, 3 * count // 4):
            say(f"{case}: {number + 1} of {count} pairs")
    ratios = [after / before for before, after in pairs]
    say(f"{case}: {count} pairs, ratio {statistics.median(ratios):.3f}")
    return {
        "pairs": pairs, "repeats": repeats,
        "old": statistics.median(pair[0] for pair in pairs),
        "new": statistics.median(pair[1] for pair in pairs),
        "ratio": statistics.median(ratios),
        "quartiles": [float(q) for q in np.quantile(ratios, (0.25, 0.75))],
    }  # fmt: skip


def say(text: str) -> None:
    """Tell how far it is."""
    print(text, file=sys.stderr, flush=True)


def table(found: dict[str, dict[str, Any]]) -> str:
    """Return the closing table: medians in seconds, ratio and quartiles."""
    lines = [f"{'case':28s}{'pairs':>6s}{'old s':>11s}{'new s':>11s}{'ratio':>8s}  quartiles"]
    for case, row in found.items():
        if "ratio" in row:
            low, high = row["quartiles"]
            lines.append(f"{case:28s}{len(row['pairs']):6d}{row['old']:11.5f}{row['new']:11.5f}"
                         f"{row['ratio']:8.3f}  {low:.3f} - {high:.3f}")  # fmt: skip
        else:
            lines.append(f"{case:28s}" + "; ".join(f"{name}: {row[name]}" for name in row))
    return "\n".join(lines)


def compare(options: argparse.Namespace) -> int:
    """Measure, print the table, return the exit code."""
    commit = git("rev-parse", "--verify", f"{options.base}^{{commit}}").decode().strip()
    state = git("describe", "--always", "--dirty", "--exclude=*").decode().strip()
    found: dict[str, dict[str, Any]] = {}
    with contextlib.ExitStack() as stack:
        folder = options.keep or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        trees = {"old": checked_out(commit, folder), "new": ROOT}
        old, new = stack.enter_context(sides(trees, options.instances.resolve()))
        for case in options.cases or CASES:
            if case in FILES and not (file := options.instances / FILES[case]).exists():
                found[case] = {"skipped": f"no file {file}"}
                say(f"{case}: skipped, no file {file}")
                continue
            try:
                found[case] = measure(case, old, new, options.runs)
            except RuntimeError as error:
                found[case] = {"failed": str(error)}
                say(f"{case}: {error}")
    # Here: the base, which a child imports, may lack it.
    from _results import machine_record

    machine = machine_record()
    report = {"old": commit, "new": state, "machine": machine, "cases": found}
    if options.json:
        options.json.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    versions = ", ".join(f"{name} {number}" for name, number in machine["versions"].items())
    print(f"{table(found)}\nold {commit[:12]}, new {state}; {machine['processor']}, "
          f"{machine['cores']} cores, {machine['system']}\npython {machine['python']}, {versions}")
    above = [case for case, row in found.items() if row.get("ratio", 0) > options.at_most]
    if above:
        print(f"above {options.at_most:g}: {', '.join(above)}")
    if not any("ratio" in row for row in found.values()):
        print("nothing was measured")
        return 1
    return int(bool(above) or any("failed" in row for row in found.values()))


def main() -> int:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("cases", nargs="*", metavar="CASE", help="default: all; see --list")
    parser.add_argument("--base", default="1f231c7", metavar="REF",
                        help="older commit (default: %(default)s)")  # fmt: skip
    parser.add_argument("--runs", type=int, metavar="N",
                        help="pairs (default: 61, 31, 11, 7 up to 0.2, 1, 4, more s)")  # fmt: skip
    parser.add_argument("--keep", type=Path, metavar="DIR",
                        help="keep the older commit there, with its compiled kernels")  # fmt: skip
    parser.add_argument("--instances", type=Path, metavar="DIR",
                        default=ROOT.parent / "shared" / "instances",
                        help="folder with yagiura/ (default: %(default)s)")  # fmt: skip
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all times there")
    parser.add_argument("--at-most", type=float, default=math.inf, metavar="RATIO",
                        help="exit with 1 if a median ratio is above")  # fmt: skip
    parser.add_argument("--list", action="store_true", help="list the cases")
    parser.add_argument("--worker", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if unknown := [case for case in options.cases if case not in CASES]:
        parser.error(f"no case {', '.join(unknown)}; there are {', '.join(CASES)}")
    if options.runs is not None and options.runs < 1:
        parser.error("--runs: give 1 or more")
    if options.worker:
        work(options.worker.resolve())
        return 0
    if options.list:
        print("\n".join(CASES))
        return 0
    return compare(options)


if __name__ == "__main__":
    sys.exit(main())
