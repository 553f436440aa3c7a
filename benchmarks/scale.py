"""Measure solves beyond memory and beyond one process: sources, and Ray.

Every command measures one thing in a fresh process and adds one line to
``benchmarks/results/scale.jsonl``, with machine and versions; what is there
already is not measured again (``--again`` does). Times are of whole calls: the
problem's own look at its fitness, `al.solve`, and the certificate. The yardstick
is one pass of numpy's argmax over the same source, block by block, with as many
threads; it is measured between the solves. Memory is what no file backs. ::

    python benchmarks/scale.py plain mapped
    python benchmarks/scale.py plain function
    python benchmarks/scale.py plain factors
    python benchmarks/scale.py ray 1
    python benchmarks/scale.py ray 2
    python benchmarks/scale.py kill
    python benchmarks/scale.py sparse
    python benchmarks/scale.py all
    python benchmarks/scale.py report

``--clients`` makes everything smaller, under keys of their own. The file of 2.6 GB
is written once to ``--folder``. Ray needs the extra ``ray``.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import psutil
import scipy.sparse as sp
import typer
from _results import Peak, anonymous_memory, clocked, record, stored

import alignsolve as al
from alignsolve.model.sources.base import FitnessSource, map_blocks

RESULTS = Path(__file__).parent / "results" / "scale.jsonl"
FOLDER = Path(tempfile.gettempdir()) / "alignsolve-scale"
CLIENTS, EXPERTS, RANK = 10_000_000, 64, 16
SPARSE = (1_000_000, 512, 0.01)
BLOCK = 100_000

app = typer.Typer(add_completion=False, help=__doc__)
Again = Annotated[bool, typer.Option(help="Measure even what is stored already.")]
Runs = Annotated[int, typer.Option(help="Runs, after a small problem to warm up.")]
Clients = Annotated[int, typer.Option(help="Clients.")]
Folder = Annotated[Path, typer.Option(help="Where the mapped file is, or is written to.")]


# -- what is solved ---------------------------------------------------------------------


def mapped_file(folder: Path, n: int) -> Path:
    """Return a file of uniform float32, written where it is missing."""
    path = folder / f"uniform-{n}x{EXPERTS}.npy"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_suffix(".part")
        whole = np.lib.format.open_memmap(unfinished, "w+", np.float32, (n, EXPERTS))
        rng = np.random.default_rng(0)
        for start in range(0, n, BLOCK):
            rows = whole[start : start + BLOCK]
            rows[:] = rng.random(rows.shape, dtype=np.float32)
        whole.flush()
        unfinished.rename(path)
    return path


class FileRows:
    """Rows of a mapped file as a function, opened anew in every process."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows = np.load(path, mmap_mode="r")

    def __call__(self, start: int, stop: int) -> Any:
        """Return the rows of clients ``start`` to ``stop - 1``."""
        return np.asarray(self.rows[start:stop])

    def __reduce__(self) -> tuple[Any, ...]:
        return FileRows, (self.path,)


def source_of(kind: str, folder: Path, n: int) -> FitnessSource:
    """Return a source: a mapped file, a function that reads it, or factors in memory."""
    if kind == "mapped":
        return al.MappedSource(mapped_file(folder, n))
    if kind == "function":
        return al.FunctionSource(FileRows(mapped_file(folder, n)), (n, EXPERTS))
    if kind == "factors":
        rng = np.random.default_rng(0)
        features = rng.random((n, RANK), dtype=np.float32)
        return al.FactorSource(features, rng.random((EXPERTS, RANK), dtype=np.float32))
    raise typer.BadParameter(f"no source {kind!r}; give mapped, function or factors")


def problem_of(source: FitnessSource) -> al.AlignmentProblem:
    """Return one slot a client, all filled, and equal loads."""
    n, m = source.shape
    return al.AlignmentProblem(source, 1, min_experts=1, load_max=-(-n // m))


def warm_up() -> None:
    """Compile and load everything on a small problem, in memory and over a source."""
    small = np.random.default_rng(1).random((50_000, EXPERTS), dtype=np.float32)
    al.solve(problem_of(al.ArraySource(small)), "exchange")
    al.solve(problem_of(al.FactorSource(small[:, :RANK], small[:EXPERTS, :RANK])), "exchange")


# -- how it is measured -----------------------------------------------------------------


def argmax_pass(source: FitnessSource, threads: int | None = None) -> None:
    """Take the argmax of all rows, block by block."""
    map_blocks(source, lambda _, block: block.argmax(axis=1), threads)


def fingerprint(result: al.Result) -> str:
    """Return a short digest of an assignment."""
    pairs = np.stack([result.row_ind, result.col_ind])
    return hashlib.sha256(np.ascontiguousarray(pairs).data).hexdigest()[:16]


def outcome(result: al.Result) -> dict[str, Any]:
    """Return what an answer is worth, and what it took in numbers."""
    return {
        "status": result.status.value, "gap_abs": result.gap_abs,
        "objective": result.objective_value, "assignment": fingerprint(result),
        "stats": {k: v for k, v in result.stats.items() if isinstance(v, (int, float))},
    }  # fmt: skip


def medians(times: dict[str, list[float]]) -> dict[str, float]:
    """Return the median of every list."""
    return {name: float(np.median(some)) for name, some in times.items()}


def in_child(*command: str) -> dict[str, Any]:
    """Run a hidden command of this file in a fresh process; return the JSON it prints last."""
    done = subprocess.run([sys.executable, __file__, *command], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stderr[-2000:]}")
    return dict(json.loads(done.stdout.splitlines()[-1]))


def say(result: dict[str, Any]) -> None:
    """Print a child's result."""
    print(json.dumps(result, default=float))


# -- commands ----------------------------------------------------------------------------


@app.command()
def plain(
    kind: str, clients: Clients = CLIENTS, runs: Runs = 3, folder: Folder = FOLDER,
    again: Again = False,
) -> None:  # fmt: skip
    """Solve over a source in one process: ``mapped``, ``function`` or ``factors``."""
    record(RESULTS, f"plain/{clients}x{EXPERTS}/{kind}", again,
           lambda: in_child("plain-child", kind, str(clients), str(runs), str(folder)))


@app.command(hidden=True)
def plain_child(kind: str, n: int, runs: int, folder: Path) -> None:
    """Measure memory in the first solve, and time in all of them."""
    warm_up()
    idle = anonymous_memory()
    source = source_of(kind, folder, n)
    argmax_pass(source)
    peak = Peak(0.005)
    peak.start()
    times: dict[str, list[float]] = {
        name: [] for name in ("seconds", "cpu", "argmax", "argmax_cpu", "ratio", "cpu_ratio")
    }
    most = 0
    for _ in range(runs):
        result, seconds, cpu = clocked(lambda: al.solve(problem_of(source), "exchange"))
        # One solve's memory: in later ones the result before is still there.
        most = most or peak.stop()
        found = outcome(result)
        del result
        _, argmax, argmax_cpu = clocked(lambda: argmax_pass(source))
        new = (seconds, cpu, argmax, argmax_cpu, seconds / argmax, cpu / argmax_cpu)
        for name, value in zip(times, new, strict=True):
            times[name].append(value)
    say({"runs": runs, **medians(times), "peak_bytes": most, "idle_bytes": idle, **found})


@app.command()
def ray(
    workers: int, clients: Clients = CLIENTS, runs: Runs = 3, folder: Folder = FOLDER,
    again: Again = False,
) -> None:  # fmt: skip
    """Solve the mapped file on Ray, and in this process with as many threads."""
    record(RESULTS, f"ray/{clients}x{EXPERTS}/{workers}", again,
           lambda: in_child("ray-child", str(workers), str(clients), str(runs), str(folder)))


def connect(workers: int) -> float:
    """Start Ray here; return how long that took."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    import ray as ray_module

    started = time.perf_counter()
    ray_module.init(num_cpus=workers, include_dashboard=False, log_to_driver=False,
                    logging_level="error", object_store_memory=2**28)  # fmt: skip
    return time.perf_counter() - started


def ray_workers() -> list[psutil.Process]:
    """Return the processes of the shards' actors that this process started."""
    found = []
    for process in psutil.Process().children(recursive=True):
        try:
            # Ray names a process after its actor.
            if process.cmdline()[:1] and process.cmdline()[0].startswith("ray::Worker"):
                found.append(process)
        except psutil.Error:
            continue
    return found


class WorkerPeak(Peak):
    """Follows the memory of the largest worker."""

    def look(self) -> None:
        """Note what memory the largest worker has now."""
        for process in ray_workers():
            self.most = max(self.most, anonymous_memory(process.pid))


@app.command(hidden=True)
def ray_child(workers: int, n: int, runs: int, folder: Path) -> None:
    """Measure solves on Ray and plain ones in turn; the workers' memory in one of its own."""
    warm_up()
    # The plain run streams, as workers do: no process holds more than blocks.
    source, plain_source = source_of("mapped", folder, n), source_of("function", folder, n)
    engine = al.RayEngine(workers=workers)
    started = connect(workers)
    al.solve(problem_of(al.ArraySource(np.random.default_rng(1).random((50_000, 64)))),
             engine=engine)  # fmt: skip
    problem, plain_problem = problem_of(source), problem_of(plain_source)
    peak = WorkerPeak(0.05)
    peak.most = 0
    peak.start()
    al.solve(problem, engine=engine)
    most = peak.stop()
    times: dict[str, list[float]] = {name: [] for name in ("seconds", "plain_seconds", "overhead")}
    for _ in range(runs):
        there, seconds, _ = clocked(lambda: al.solve(problem, engine=engine))
        here, plain_seconds, _ = clocked(
            lambda: al.solve(plain_problem, "exchange", threads=workers)
        )
        for name, value in zip(times, (seconds, plain_seconds, seconds / plain_seconds),
                               strict=True):
            times[name].append(value)
        same = fingerprint(there) == fingerprint(here)
    say({"runs": runs, **medians(times), "ray_start": started, "worker_peak_bytes": most,
         "same_assignment": same, **outcome(there)})  # fmt: skip


@app.command()
def kill(
    clients: Clients = CLIENTS, folder: Folder = FOLDER, again: Again = False
) -> None:
    """Kill one of two Ray workers in the middle of a solve."""
    record(RESULTS, f"kill/{clients}x{EXPERTS}/2", again,
           lambda: in_child("kill-child", str(clients), str(folder)))


@app.command(hidden=True)
def kill_child(n: int, folder: Path) -> None:
    """Solve undisturbed; solve again and kill a worker after half of that time."""
    connect(2)
    engine = al.RayEngine(workers=2)
    problem = problem_of(source_of("mapped", folder, n))
    al.solve(problem, engine=engine)
    undisturbed, seconds, _ = clocked(lambda: al.solve(problem, engine=engine))
    killed: list[float] = []

    def murder() -> None:
        working = ray_workers()
        if working:
            os.kill(working[0].pid, signal.SIGKILL)
            killed.append(time.perf_counter())

    timer = threading.Timer(seconds / 2, murder)
    timer.start()
    begun = time.perf_counter()
    survived, disturbed_seconds, _ = clocked(lambda: al.solve(problem, engine=engine))
    timer.cancel()
    say({"seconds": disturbed_seconds, "undisturbed_seconds": seconds,
         "killed_after": killed[0] - begun if killed else None,
         "same_assignment": fingerprint(survived) == fingerprint(undisturbed),
         **outcome(survived)})  # fmt: skip


@app.command()
def sparse(clients: Clients = SPARSE[0], runs: Runs = 3, again: Again = False) -> None:
    """Solve a CSR matrix of 1% of the pairs, and the same arcs with ``ortools-mcf``."""
    key = f"sparse/{clients}x{SPARSE[1]}"
    record(RESULTS, f"{key}/exchange", again,
           lambda: in_child("sparse-child", "exchange", str(clients), str(runs)))
    record(RESULTS, f"{key}/ortools-mcf", again,
           lambda: in_child("sparse-child", "ortools-mcf", str(clients), "1"))


def sparse_matrix(n: int, m: int, share: float) -> sp.csr_array:
    """Return uniform values at places drawn for each client with repetition, then made unique."""
    rng = np.random.default_rng(0)
    counts = rng.binomial(m, share, n)
    rows = np.repeat(np.arange(n, dtype=np.int64), counts)
    keys = np.unique(rows * m + rng.integers(0, m, rows.size))
    values = rng.random(keys.size, dtype=np.float32)
    return sp.csr_array((values, (keys // m, keys % m)), shape=(n, m))


@app.command(hidden=True)
def sparse_child(backend: str, n: int, runs: int) -> None:
    """Measure a backend; clients may hold nothing, as some have no pair at all."""
    m, share = SPARSE[1:]
    small = al.SparseSource(sparse_matrix(20_000, m, share))
    al.solve(al.AlignmentProblem(small, 1, load_max=20_000 // m), backend)
    source = al.SparseSource(sparse_matrix(n, m, share))
    problem = al.AlignmentProblem(source, 1, load_max=-(-n // m))
    peak = Peak(0.005)
    peak.start()
    times: dict[str, list[float]] = {name: [] for name in ("seconds", "cpu")}
    for _ in range(runs):
        result, seconds, cpu = clocked(lambda: al.solve(problem, backend))
        times["seconds"].append(seconds)
        times["cpu"].append(cpu)
    say({"runs": runs, **medians(times), "arcs": int(source.matrix.nnz),
         "peak_bytes": peak.stop(), **outcome(result)})  # fmt: skip


@app.command(name="all")
def run_all(folder: Folder = FOLDER) -> None:
    """Run every command that is not stored yet."""
    there = ["--folder", str(folder)]
    commands = [["plain", kind, *there] for kind in ("mapped", "function", "factors")]
    commands += [["ray", "1", *there], ["ray", "2", *there], ["kill", *there], ["sparse"]]
    for command in commands:
        subprocess.run([sys.executable, __file__, *command], check=False)


@app.command()
def report() -> None:
    """Print a line per result."""
    results = {result["key"]: result for result in stored(RESULTS)}
    for key, found in sorted(results.items()):
        stats = found["stats"]
        line = f"{key:34s} {found['seconds']:7.2f} s  {found['status']} gap {found['gap_abs']:.2g}"
        if "ratio" in found:
            line += (f"  argmax x {found['ratio']:.1f} (processor x {found['cpu_ratio']:.1f})"
                     f"  peak {found['peak_bytes'] / 1e9:.2f} GB  passes {stats['passes']:.2f}")
        if "overhead" in found:
            moved = stats["bytes_sent"] + stats["bytes_received"]
            line += (f"  plain x {found['overhead']:.2f}  {moved / 1e6:.0f} MB moved"
                     f"  worker {found['worker_peak_bytes'] / 1e9:.2f} GB"
                     f"  same assignment: {found['same_assignment']}")
        if "killed_after" in found:
            line += (f"  undisturbed {found['undisturbed_seconds']:.2f} s  restarts "
                     f"{stats['restarts']:.0f}  same assignment: {found['same_assignment']}")
        other = results.get(key.replace("/exchange", "/ortools-mcf"))
        if other is not None and other is not found:
            line += f"  ortools-mcf x {other['seconds'] / found['seconds']:.1f}"
        print(line)


if __name__ == "__main__":
    app()
