"""Record what tests cover, and try mutations in a copy of the tree."""

from __future__ import annotations

import argparse
import contextlib
import importlib
import json
import math
import os
import shutil
import signal
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from coverage import CoverageData

from mutants.patches import PATCHES
from mutants.sites import Mutation, sample

ROOT = Path(__file__).resolve().parents[1]

#: Seconds of tests, as recorded, that one mutation is shown at most: the nearest and fastest.
MOST_SECONDS = 40.0

#: How many times as long they may take, and seconds beside, before a mutation counts as hanging.
SLOWER, FLAT = 6.0, 90.0


def copied(folder: Path) -> Path:
    """Copy the tree, with its compiled kernels, whose age decides whether they are used."""
    tree = folder / "tree"
    left_out = ".git", ".venv", ".mutants", ".hypothesis", "*_cache", "bench-out*"
    shutil.copytree(ROOT, tree, ignore=shutil.ignore_patterns(*left_out))
    if (ROOT.parent / "shared").is_dir():
        (folder / "shared").symlink_to(ROOT.parent / "shared")
    return tree


@contextlib.contextmanager
def changed(path: Path, text: str) -> Iterator[None]:
    """Give a file another text for a while; its age afterwards is that of before."""
    before, age = path.read_bytes(), path.stat()
    path.write_text(text)
    try:
        yield
    finally:
        path.write_bytes(before)
        os.utime(path, ns=(age.st_atime_ns, age.st_mtime_ns))


def pytest_in(tree: Path, arguments: list[str], seconds: float, **environment: str) -> str:
    """Run tests in a fork that has the libraries already; return "passed", "failed" or "hung"."""
    child = os.fork()
    if child == 0:
        _run_and_exit(tree, arguments, environment)
    until = time.monotonic() + seconds
    while (ended := os.waitpid(child, os.WNOHANG)) == (0, 0):
        if time.monotonic() > until:
            os.killpg(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return "hung"
        time.sleep(0.05)
    return "passed" if ended[1] == 0 else "failed"


def _run_and_exit(tree: Path, arguments: list[str], environment: dict[str, str]) -> None:
    """Be the fork: in a group of its own, in the copy of the tree, with its output in a file."""
    code = 3
    try:
        os.setsid()
        output = os.open(tree.parent / "output", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        for stream in (1, 2):
            os.dup2(output, stream)
        os.chdir(tree)
        os.environ.update(environment, PYTHONPATH=str(tree), PYTHONDONTWRITEBYTECODE="1")
        sys.dont_write_bytecode = True  # its age in whole seconds would not tell mutations apart
        sys.path[:] = [str(tree), *(place for place in sys.path if place not in ("", str(ROOT)))]
        for name in [name for name in sys.modules if name.partition(".")[0] == "mutants"]:
            del sys.modules[name]
        code = int(pytest.main(["-q", "-p", "no:cacheprovider", *arguments]))
    finally:
        os._exit(code)


def import_libraries() -> None:
    """Import what most tests need: half of the time of a short run."""
    for name in ("hypothesis", "numba", "scipy.optimize", "ortools.sat.python.cp_model",
                 "ortools.graph.python.min_cost_flow", "pandas", "torch", "pydantic"):
        with contextlib.suppress(ImportError):
            importlib.import_module(name)


class Tests:
    """Which tests run a line, and how long they take."""

    def __init__(self, record: Path, most_seconds: float) -> None:
        self.most_seconds = most_seconds
        self.data = CoverageData(record / "coverage")
        self.data.read()
        self.seconds: dict[str, float] = json.loads((record / "seconds.json").read_text())
        #: Each record is made in a copy of the tree of its own.
        self.files: dict[str, list[str]] = defaultdict(list)
        for file in self.data.measured_files():
            self.files[file.split("/tree/")[-1]].append(file)

    def of(self, mutation: Mutation) -> list[str]:
        """Return the tests to run: nearest first, then fastest, as many as the seconds allow.

        What runs on import is seen by all tests of its module; what no test is known to run
        may run in processes that the tests beside it start.
        """
        first = 0 if mutation.first_line is None else mutation.first_line
        last = math.inf if mutation.first_line is None else mutation.line
        found = {name for file in self.files.get(mutation.path, [])
                 for at, names in self.data.contexts_by_lineno(file).items() if first <= at <= last
                 for name in names} & self.seconds.keys()
        if not found:
            nearest = max(_nearness(mutation.path, name) for name in self.seconds)
            found = {name for name in self.seconds if _nearness(mutation.path, name) == nearest}
        chosen, left = [], self.most_seconds
        for name in sorted(found, key=lambda name: (-_nearness(mutation.path, name),
                                                    self.seconds[name], name)):
            if self.seconds[name] <= left:
                chosen.append(name)
                left -= self.seconds[name]
        return chosen


def _nearness(path: str, test: str) -> int:
    """Return how many leading folders of a module a test's file shares."""
    file = test.partition("::")[0].removeprefix("tests/")
    alike = [a == b for a, b in zip(path.split("/")[:-1], file.split("/")[:-1], strict=False)]
    return [*alike, False].index(False)


def run_sample(args: argparse.Namespace) -> int:
    """Try a sample of mutations, but for those noticed before; print the score of all runs."""
    import_libraries()
    tests, known = Tests(args.record, args.seconds), Verdicts(args.record / "verdicts.json")
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        tree = copied(Path(folder))
        for mutation in sample(tree, args.number, args.seed, args.only):
            source = (tree / mutation.path).read_text()
            what = described(mutation, source)
            if known.noticed(what):
                continue
            names = tests.of(mutation)
            limit = FLAT + SLOWER * sum(tests.seconds[name] for name in names)
            with changed(tree / mutation.path, mutation.applied(source)):
                verdict = pytest_in(tree, ["-x", *names], limit)
            known.add(what, args.seed, verdict)
            print(f"{verdict}: {what}", flush=True)
    print(known.score())
    return 0


class Verdicts:
    """What the tests said of mutations in this and earlier runs, in a file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.found: dict[str, tuple[int, str]] = (
            json.loads(path.read_text()) if path.exists() else {})

    def noticed(self, what: str) -> bool:
        """Whether tests have noticed a mutation; others are tried again."""
        return self.found.get(what, (0, "passed"))[1] != "passed"

    def add(self, what: str, seed: int, verdict: str) -> None:
        """Keep a verdict."""
        self.found[what] = seed, verdict
        self.path.write_text(json.dumps(self.found, indent=0))

    def score(self) -> str:
        """Return the mutations that were not noticed, and how many were, by seed."""
        missed = [f"  {what}" for what in self.found if not self.noticed(what)]
        seeds = sorted({seed for seed, _ in self.found.values()})
        by_seed = {seed: [verdict != "passed" for of, verdict in self.found.values() if of == seed]
                   for seed in seeds}
        counts = [f"seed {seed}: {sum(each)} of {len(each)}" for seed, each in by_seed.items()]
        total = f"{len(self.found) - len(missed)} of {len(self.found)} noticed"
        return "\n".join(["", "not noticed:", *missed, *counts, total])


def described(mutation: Mutation, source: str) -> str:
    """Return a mutation in a line."""
    pairs = zip(source.splitlines(), mutation.applied(source).splitlines(), strict=False)
    old, new = next((pair for pair in pairs if pair[0] != pair[1]), ("", ""))
    place = f"{mutation.path}:{mutation.line} {mutation.operator[5:]}"
    return f"{place}: {old.strip()} -> {new.strip()}"


def run_patches(args: argparse.Namespace) -> int:
    """Try the patches of compiled kernels; print those that their tests did not notice."""
    missed = 0
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        tree = copied(Path(folder))
        chosen = [patch for patch in PATCHES if args.only in patch.path]

        @cache
        def pass_as_it_is(tests: tuple[str, ...]) -> bool:
            return pytest_in(tree, ["-x", *tests], 900, NUMBA_DISABLE_JIT="1") == "passed"

        for patch in chosen:
            source = (tree / patch.path).read_text()
            assert source.count(patch.old) == 1, (patch, source.count(patch.old))
            assert pass_as_it_is(patch.tests), (patch.tests, "fail without the patch")
            with changed(tree / patch.path, source.replace(patch.old, patch.new)):
                verdict = pytest_in(tree, ["-x", *patch.tests], 900, NUMBA_DISABLE_JIT="1")
            missed += verdict == "passed"
            change = f"{patch.old.strip()} -> {patch.new.strip()}"
            print(f"{verdict}: {patch.path}: {change}", flush=True)
    print(f"\n{len(chosen) - missed} of {len(chosen)} noticed")
    return int(missed > 0)


def record_tests(args: argparse.Namespace) -> int:
    """Run the tests, or some, and record what they cover; it adds to what was recorded."""
    args.record.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        tree = copied(Path(folder))
        verdict = pytest_in(tree, ["-p", "mutants.recording", *args.tests], 3600,
                            MUTANTS_RECORD=str(args.record.resolve()))
        print((tree.parent / "output").read_text()[-2000:])
    return int(verdict != "passed")


def main() -> int:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m mutants", description=__doc__)
    parser.add_argument("--record", type=Path, default=ROOT / ".mutants", help="folder of records")
    commands = parser.add_subparsers(required=True)
    recording = commands.add_parser("record", help="run the tests and record what they cover")
    recording.add_argument("tests", nargs="*", help="files of tests; default all")
    recording.set_defaults(run=record_tests)
    running = commands.add_parser("run", help="try a sample of mutations")
    running.add_argument("--number", type=int, default=100)
    running.add_argument("--seed", type=int, default=0)
    running.add_argument("--seconds", type=float, default=MOST_SECONDS,
                         help="seconds of tests, as recorded, for each mutation")
    running.set_defaults(run=run_sample)
    patching = commands.add_parser("kernels", help="try the patches of compiled kernels")
    patching.set_defaults(run=run_patches)
    for command in (running, patching):
        command.add_argument("--only", default="", help="part of a module's path")
    args = parser.parse_args()
    return int(args.run(args))


if __name__ == "__main__":
    sys.exit(main())
