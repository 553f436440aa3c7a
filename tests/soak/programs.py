"""What is killed, interrupted and starved: the command lines, and loops of the libraries."""

from __future__ import annotations

import json
import multiprocessing
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import matplotlib.pyplot  # noqa: F401 (so that no process has to import it)
import numpy as np

import alignsolve as al
import alignsolve.cli.solve as cli_solve
import fedloop.experiment
import fedloop.plot
import fedloop.train
from alignsolve.bench.report import BenchReport
from alignsolve.bench.runner import _Bench
from alignsolve.cli import main as alignsolve_main
from alignsolve.progress import Callback
from fedloop.cli import main as fedloop_main
from fedloop.config import read_config
from tests.soak.child import Counter

#: Rounds after which `aligner` saves, and `fedloop` writes a checkpoint.
EVERY = 3

SMALL = {
    "checkpoint_every": EVERY, "participants": 6, "partition.clients": 8,
    "partition.test_images": 10, "model.experts": 4, "model.width": 8, "model.expert_width": 6,
    "local.steps": 2, "local.batch_size": 8, "local.probe_images": 8, "server.momentum": 0.5,
    "fleet.failure_rate": 0.2, "fleet.corruption_rate": 0.1, "fleet.deadline_s": 0.1,
}


def _command(main: Callable[[], int], name: str, *words: object) -> int:
    """Run a command line as its process does."""
    sys.argv = [name, *map(str, words)]
    return main()


def federated(folder: Path, counter: Counter, rounds: int, command: str = "run") -> int:
    """Run `fedloop run`."""
    counter.around(fedloop.experiment, "play_round")
    counter.around(fedloop.plot, "run_figure", counter.end)
    settings = SMALL | {"rounds": rounds}
    more = ("--strategies", "optimal,random", "--seeds", "0") if command == "compare" else ()
    return _command(fedloop_main, "fedloop", command, "--json", "--out", folder, *more,
                    *(word for name, value in settings.items()
                      for word in ("--set", f"{name}={value}")))


def bench(folder: Path, counter: Counter, paths: list[Path], backends: str) -> int:
    """Run `alignsolve bench`."""
    write = BenchReport.write.__func__  # type: ignore[attr-defined]
    counter.around(_Bench, "_run")

    def written(cls: type[BenchReport], *arguments: object) -> BenchReport:
        counter.end()
        report: BenchReport = write(cls, *arguments)
        return report

    BenchReport.write = classmethod(written)  # type: ignore[method-assign, assignment]
    return _command(alignsolve_main, "alignsolve", "bench", *paths, "--backends", backends,
                    "--time-limit", 20, "--out", folder, "--json")


def solve(
    folder: Path, counter: Counter, path: Path, backend: str, out: str,
    answered_first: bool = False,
) -> int:
    """Run `alignsolve solve`; its loop may begin where it has a first answer."""

    @contextmanager
    def live_line(text: str, quiet: bool) -> Iterator[Callback]:
        yield lambda state: None if np.isnan(state.objective_value) else counter.begin()

    if answered_first:
        cli_solve.live_line = live_line
    else:
        counter.around(cli_solve, "solve_problem")
    counter.around(cli_solve, "_exit_code", counter.end)
    folder.mkdir(exist_ok=True)
    return _command(alignsolve_main, "alignsolve", "solve", path, "--backend", backend, "--json",
                    "--out", folder / out)


def command(folder: Path, counter: Counter, *words: object) -> int:
    """Run another command of `alignsolve`."""
    return _command(alignsolve_main, "alignsolve", *words)


def solving(folder: Path, counter: Counter, path: Path, backend: str) -> int:
    """Solve the same problem for ever, and say how each solve ended."""
    problem = al.read_instance(path)
    counter.begin()
    try:
        while True:
            print(al.solve(problem, backend).termination.value, flush=True)
    except KeyboardInterrupt:
        return 130


def writing(folder: Path, counter: Counter, suffix: str, times: int) -> int:
    """Write two sets of one size in turn to one place."""
    folder.mkdir(exist_ok=True)
    counter.begin()
    for number in range(times):
        al.write_instance(two_sets()[number % 2], folder / f"set{suffix}")
    counter.end()
    return 0


def two_sets() -> list[al.AlignmentProblem]:
    """Return two problems whose files differ, and are of one size."""
    fitness = np.arange(60.0).reshape(10, 6) + 100
    return [al.AlignmentProblem(fitness, [2] * 10, load_max=[3, 3, 4, 4, 5, 5]),
            al.AlignmentProblem(fitness[::-1], [1] * 10, load_max=[5, 5, 4, 4, 3, 3])]


# -- an aligner ----------------------------------------------------------------------------


def aligner(folder: Path, counter: Counter, rounds: int, log: Path | None = None) -> int:
    """Play rounds with an aligner that is saved now and then, as a service does.

    A line of ``plans.jsonl`` tells of every plan. At Ctrl-C what the aligner says of
    itself must be as before the call, or after it; it is saved then.
    """
    folder.mkdir(exist_ok=True)
    path = folder / "state.npz"
    log = log or folder / "log.jsonl"
    service = al.Aligner.load(path, log=log) if path.exists() else _fleet(log)
    counter.begin()
    try:
        while service.round < rounds or service.open_plan is not None:
            _play(service, folder)
            if service.round % EVERY == 0:
                service.save(path)
        counter.end()
        service.save(path)
    except KeyboardInterrupt:
        # Nothing more is waited for.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        service.save(path)
        return 130
    except (al.ProblemError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def logging(folder: Path, counter: Counter, rounds: int, elsewhere: Path) -> int:
    """Play rounds with an aligner that has only its log in the folder."""
    shutil.rmtree(elsewhere, ignore_errors=True)
    return aligner(elsewhere, counter, rounds, folder / "log.jsonl")


def _fleet(log: Path) -> al.Aligner:
    service = al.Aligner(6, seed=3, log=log, forget_after=5,
                         expert_mb=[1.0, 2.0, 1.0, 2.0, 1.0, 2.0])
    for client in range(12):
        service.declare(f"c{client}", memory_mb=3.0 + client % 3)
    return service


def _play(service: al.Aligner, folder: Path) -> None:
    """Plan a round, or go on with the open one, and observe it."""
    plan = service.open_plan
    if plan is None:
        rng = np.random.default_rng((7, service.round + 1))
        clients = sorted(rng.choice(20, 9, replace=False).tolist())
        before = service.state_dict()
        try:
            plan = service.plan([f"c{client}" for client in clients])
        except KeyboardInterrupt:
            if not same_state(before, service.state_dict()):
                print("another state after a plan that was interrupted", flush=True)
            raise
    with (folder / "plans.jsonl").open("a") as stream:
        stream.write(json.dumps([plan.round, plan.clients, plan.row_ind.tolist(),
                                 plan.col_ind.tolist()]) + "\n")
    if plan.round % 4 == 0 and len(plan.clients) == 9:
        plan = service.replan(plan, [plan.clients[0]])
    rng = np.random.default_rng((8, plan.round))
    service.observe(plan, [
        al.ClientReport(client, plan.round, samples=20, seconds=1.0 + rng.random(), experts={
            int(expert): al.ExpertReport(samples=10, loss=float(rng.random()))
            for expert in plan.experts_of(client)})
        for client in plan.clients if rng.random() < 0.9])


def same_state(one: dict, other: dict) -> bool:  # type: ignore[type-arg]
    """Tell whether two states of aligners are the same to the last bit."""
    mine, theirs = dict(one), dict(other)
    arrays, others = mine.pop("arrays"), theirs.pop("arrays")
    return mine == theirs and arrays.keys() == others.keys() and all(
        np.array_equal(array, others[name], equal_nan=True) for name, array in arrays.items())


def _warm() -> None:
    """Load what every process would have to, so that moments lie in rounds."""
    with tempfile.TemporaryDirectory() as folder:
        _, theirs = multiprocessing.Pipe()
        aligner(Path(folder) / "aligner", Counter(0, theirs), 2)
        writing(Path(folder), Counter(0, theirs), ".parquet", 1)
        settings = {"rounds": 1} | SMALL
        fedloop.train.train(read_config(None, [f"{k}={v}" for k, v in settings.items()]))
        sys.setprofile(None)


_warm()
