"""Run the limits on time again that were set for cold starts, imports, signals and the tests.

Prints what is asked and what was seen, and exits with code 1 where a limit is missed. Limits are
processor seconds of whole processes, in fresh ones with no compiled kernels, but where a name says
"wall"; signals and the tests find the kernels that the user has compiled. They were set on a
machine of two cores (`cold_start.jsonl` has it), and a busy machine takes longer; imports are
compared with an older commit instead. `make budgets` runs all of them, about twelve minutes;
``python benchmarks/budgets.py import signals`` those whose names hold one of the words.
"""

from __future__ import annotations

import argparse
import math
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import psutil
from cold_start import CASES, ROOT, copied, run

import alignsolve as al
from alignsolve.generators import generate

#: The commit whose imports are compared: the last before the layers.
BASE = "1f231c7"
#: Runs of a case in fresh processes; the least counts.
RUNS = 3


class Seen(NamedTuple):
    """What was measured.

    Attributes
    ----------
    seconds : float
        What the limit is for.
    most : float
        The limit.
    fault : str
        What is wrong besides, "" for nothing.
    """

    seconds: float
    most: float
    fault: str = ""


class CaseError(Exception):
    """A case ended with another exit code than 0, so that its seconds say nothing."""


def measured(code: str, tree: Path, cache: Path) -> dict[str, Any]:
    """Return the figures of `cold_start.run`; raise `CaseError` where the code failed."""
    figures = run(code, tree, cache)
    if figures["code"]:
        raise CaseError(f"exit code {figures['code']}: {figures['said']}")
    return figures


@dataclass
class Fresh:
    """Cases of `cold_start` in the working tree, each measured once.

    Attributes
    ----------
    folder : Path
        Takes the tree and caches of compiled kernels.
    """

    folder: Path

    def __post_init__(self) -> None:
        self.tree, self.base = (copied(commit, self.folder / (commit or "tree"))
                                for commit in (None, BASE))
        self._cache: Path | None = None
        self._warm_up: float | None = None
        self._done: dict[str, float] = {}

    def seconds(self, name: str) -> float:
        """Return the processor seconds of a case."""
        if name not in self._done:
            runs = 1 if name == "large, by exchange" else RUNS
            self._done[name] = min(
                measured(CASES[name], self.tree, self._folder())["cpu"] for _ in range(runs))
        return self._done[name]

    def beside_base(self, code: str) -> Seen:
        """Judge code against the same with the older commit, in turn: at most 1.1 of it."""
        pairs = [[measured(code, tree, self.folder)["cpu"] for tree in (self.tree, self.base)]
                 for _ in range(3 * RUNS)]
        new, old = map(min, zip(*pairs, strict=True))
        return Seen(new, 1.1 * old)

    def within(self, name: str, most: float) -> Seen:
        """Judge the last number that a case prints, wall seconds within `solve`."""
        said = [measured(CASES[name], self.tree, self._folder())["said"].split()
                for _ in range(RUNS)]
        wrong = {words[0] for words in said} - {"optimal"}
        return Seen(min(float(words[-1]) for words in said), most, " ".join(wrong))

    def warm_up(self) -> float:
        """Return the processor seconds of the warm-up, whose kernels are kept."""
        if self._warm_up is None:
            self._cache = self._folder()
            self._warm_up = measured(CASES["warm-up"], self.tree, self._cache)["cpu"]
        return self._warm_up

    def after_warm_up(self) -> float:
        """Return the processor seconds of the first solve of a process with kernels on disk."""
        self.warm_up()
        assert self._cache is not None
        said = [measured(CASES["after warm-up"], self.tree, self._cache)["said"].split()
                for _ in range(RUNS)]
        return min(float(words[-1]) for words in said)

    def _folder(self) -> Path:
        return Path(tempfile.mkdtemp(dir=self.folder))


def large(fresh: Fresh) -> Seen:
    """Judge a large first solve against OR-Tools alone, and against compiling."""
    others = min(fresh.seconds("large, by OR-Tools"), fresh.seconds("large, by exchange"))
    return Seen(fresh.seconds("large"), 1.2 * others)


def training(fresh: Fresh) -> Seen:
    """Judge ten rounds of `fedloop` beyond the import of PyTorch."""
    return Seen(fresh.seconds("fedloop") - fresh.seconds("import torch"), 3.0)


def signalled(kind: signal.Signals, code: int) -> Callable[[Fresh], Seen]:
    """Return how to judge ``alignsolve solve`` that gets a signal in the middle of its search."""

    def judge(fresh: Fresh) -> Seen:
        problem, answer = fresh.folder / "problem.npz", fresh.folder / f"{kind.name}.json"
        al.write_instance(generate("gap-d", agents=60, jobs=1200, seed=1), problem)
        seen = after_signal(
            [sys.executable, "-m", "alignsolve", "solve", str(problem), "--out", str(answer)],
            kind, code)
        return seen if seen.fault or answer.exists() else seen._replace(fault="no answer")

    return judge


def after_signal(command: Sequence[str], kind: signal.Signals, code: int, *, busy: float = 10.0,
                 patience: float = 60.0) -> Seen:
    """Judge how soon a command ends, with an exit code, after a signal.

    The signal is sent after `busy` processor seconds; after further `patience` wall seconds the
    command is killed.
    """
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                          start_new_session=True) as running:
        process = psutil.Process(running.pid)
        while running.poll() is None and process.cpu_times().user < busy:
            time.sleep(0.1)
        if running.returncode is not None:
            return Seen(math.nan, 2.0, f"ended before the signal, exit code {running.returncode}")
        start = time.perf_counter()
        running.send_signal(kind)
        try:
            ended = running.wait(patience)
            fault = f"exit code {ended} in place of {code}" if ended != code else ""
        except subprocess.TimeoutExpired:
            running.kill()
            fault = "did not end"
        return Seen(time.perf_counter() - start, 2.0, fault)


def suite(_: Fresh) -> Seen:
    """Judge ``make test`` in its environment."""
    start = time.perf_counter()
    done = subprocess.run([sys.executable, "-m", "pytest", "-n", "2", "--dist", "loadfile"],
                          cwd=ROOT, capture_output=True, text=True)
    said = (done.stderr + done.stdout).strip().splitlines()
    fault = f"exit code {done.returncode}: {said[-1] if said else ''}" * (done.returncode != 0)
    return Seen(time.perf_counter() - start, 480.0, fault)


def at_most(most: float, name: str) -> Callable[[Fresh], Seen]:
    """Return how to judge the processor seconds of a case."""
    return lambda fresh: Seen(fresh.seconds(name), most)


HELP = "from alignsolve.cli import main; raise SystemExit(main(['--help']))"
BUDGETS: dict[str, Callable[[Fresh], Seen]] = {
    "import alignsolve": lambda fresh: fresh.beside_base("import alignsolve"),
    "alignsolve --help": lambda fresh: fresh.beside_base(HELP),
    "cold: first 5 x 4": at_most(2.0, "first 5 x 4"),
    "cold: budget 3 x 3": at_most(3.0, "budget 3 x 3"),
    "cold: 5 x 4, limit 1 s, wall": lambda fresh: fresh.within("first 5 x 4, limit 1 s", 1.5),
    "cold: budget 3 x 3, limit 1 s, wall":
        lambda fresh: fresh.within("budget 3 x 3, limit 1 s", 1.5),
    "cold: Aligner 20 x 8, two rounds": at_most(3.0, "Aligner 20 x 8"),
    "cold: infeasible 4 x 3": at_most(2.0, "infeasible 4 x 3"),
    "cold: check": at_most(2.0, "check"),
    "cold: explain": at_most(2.0, "explain"),
    "cold: certify": at_most(2.0, "certify"),
    "cold: fedloop, 10 rounds, beyond torch": training,
    "cold: 100,000 x 64": large,
    "compile: warm-up": lambda fresh: Seen(fresh.warm_up(), 45.0),
    "compile: first solve after it": lambda fresh: Seen(fresh.after_warm_up(), 0.4),
    "signals: SIGINT to solve, wall": signalled(signal.SIGINT, 0),
    "signals: SIGTERM to solve, wall": signalled(signal.SIGTERM, 143),
    "tests: make test, wall": suite,
}


def main() -> int:
    """Measure, print, and say whether every limit was kept."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("words", nargs="*", help="run limits whose name holds one of these")
    words = parser.parse_args().words
    if unknown := [word for word in words if not any(word in name for name in BUDGETS)]:
        parser.error(f"no limit has {unknown[0]!r} in its name; there are: {', '.join(BUDGETS)}")
    missed = 0
    print(f"{'limit':38} {'asked':>8} {'seen':>8}")
    with tempfile.TemporaryDirectory() as folder:
        fresh = Fresh(Path(folder))
        for name, judge in BUDGETS.items():
            if words and not any(word in name for word in words):
                continue
            try:
                seen = judge(fresh)
            except CaseError as failure:
                seen = Seen(math.nan, math.nan, str(failure))
            kept = seen.seconds <= seen.most and not seen.fault
            missed += not kept
            print(f"{name:38} {seen.most:8.2f} {seen.seconds:8.2f}  "
                  f"{'' if kept else 'MISSED'} {seen.fault}".rstrip(), flush=True)
    print(f"{missed} missed" if missed else "all kept")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
