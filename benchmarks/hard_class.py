"""Measure the mip class: generalized assignment and fleets, against the MIP solvers alone.

Every solve runs in a process of its own, so that memory is measured and a crash is
a result, and adds one line to ``benchmarks/results/hard_class.jsonl`` with machine and
versions. What is there already is not run again (``--again`` does), so that an
interrupted run goes on where it was. Ours is ``auto``; libraries are loaded and
kernels compiled before the time starts::

    python benchmarks/hard_class.py gap --instances ../shared/instances/orlib
    python benchmarks/hard_class.py yagiura --instances ../shared/instances/yagiura
    python benchmarks/hard_class.py yagiura --instances DIR --only d10400 --limit 20
    python benchmarks/hard_class.py yagiura --instances DIR --only e15900 \
        --backends lagrangian:search,lagrangian:search+tree
    python benchmarks/hard_class.py fleets
    python benchmarks/hard_class.py fleets --clients 1000 --backends auto,ortools-cpsat
    python benchmarks/hard_class.py generated --quick
    python benchmarks/hard_class.py generated --kinds d --limits 10
    python benchmarks/hard_class.py report

The instances are third-party files, which ``OPTIMA.csv`` beside them or above them
has to list with their senses and best known values.
"""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import _results
import psutil
import typer
from _hard_tables import tables

import alignsolve as al
from alignsolve.io.optima import find_optima

RESULTS = Path(__file__).parent / "results" / "hard_class.jsonl"
CHILD = Path(__file__).parent / "_hard_solve.py"

OURS = "auto"
PEERS = "ortools-cpsat,ortools-scip,ortools-mip"
GAP_FILES = tuple(f"gap{number}" for number in (1, 2, 3, 4, 5, 6, "a", "b"))
FLEETS = (1_000, 10_000, 100_000)
EXPERTS = 64

#: Types and sizes of generated problems, the seeds that are judged (nothing is tuned on
#: them), seconds, and the cases of which every third is given to the peers too.
KINDS = "c,d,e"
SIZES = ((5, 100), (5, 200), (10, 100), (10, 200), (20, 100), (20, 200), (10, 400), (20, 400),
         (40, 400), (15, 900), (30, 900), (60, 900), (20, 1600), (40, 1600), (80, 1600))
QUICK_SIZES = ((5, 100), (20, 100), (20, 200), (40, 400), (60, 900), (80, 1600))
SEEDS = "7,8"

#: A process that is still there this long after its limit is ended.
PATIENCE = 120.0
#: GiB of a process beyond which it is ended: so that a failure is no one else's.
MOST_GIB = 12.0

app = typer.Typer(add_completion=False, help=__doc__, no_args_is_help=True)
Again = Annotated[bool, typer.Option(help="Run even what is stored already.")]
Instances = Annotated[Path, typer.Option(help="Folder with the files.", exists=True,
                                         file_okay=False)]
Limit = Annotated[float, typer.Option(help="Seconds for each solve.")]
Only = Annotated[str, typer.Option(help="Names of files, separated by commas; default: all.")]
Backends = Annotated[str, typer.Option(help="Backends, separated by commas.")]


def stored() -> dict[str, dict[str, Any]]:
    """Return the latest record of every key."""
    return {record["key"]: record for record in _results.stored(RESULTS)}


def run(task: dict[str, Any]) -> dict[str, Any]:
    """Run a task in a process of its own; say how it failed where it did."""
    process = subprocess.Popen([sys.executable, str(CHILD)], stdin=subprocess.PIPE,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdin is not None
    process.stdin.write(json.dumps(task))
    process.stdin.close()
    process.stdin = None
    started, peak, failure = time.monotonic(), 0.0, None
    watched = psutil.Process(process.pid)
    try:
        while failure is None:
            try:
                out, errors = process.communicate(timeout=0.2)
                break
            except subprocess.TimeoutExpired:
                peak = max(peak, watched.memory_info().rss / 2**30)
            if peak > MOST_GIB:
                failure = f"ended at {MOST_GIB:g} GiB"
            elif time.monotonic() - started > task["limit"] + PATIENCE:
                failure = f"ended {PATIENCE:g} s after its limit"
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate()
    seconds = round(time.monotonic() - started, 1)
    if failure is None and process.returncode == 0:
        return dict(json.loads(out.splitlines()[-1]))
    if failure is None:
        last = (errors.strip().splitlines() or [""])[-1]
        failure = f"exit code {process.returncode}: {last[:200]}"
    return {"status": "failed", "failure": failure, "seconds": seconds,
            "peak_mib": round(1024 * peak)}


def measure(key: str, task: dict[str, Any], known: dict[str, Any], again: bool) -> None:
    """Run a task and store its record, unless it is there."""
    if not again and key in stored():
        typer.echo(f"{key}: there already")
        return
    record = {"key": key} | known | {name: value for name, value in task.items() if name != "file"}
    record |= run(task)
    record["machine"] = _results.machine_record()
    _results.append(RESULTS, record)
    words = [record["status"], f"value {record.get('value')}", f"bound {record.get('bound')}",
             f"{record['seconds']} s"]
    typer.echo(f"{key}: {', '.join(words)} {record.get('failure', '')}")


def problems(folder: Path, only: str, names: tuple[str, ...] = ()) -> Iterator[tuple[Path, int]]:
    """Yield the files of a folder that are asked for, and how many problems each has."""
    wanted = tuple(part.strip() for part in only.split(",") if part.strip()) or names
    files = {path.stem: path for path in sorted(folder.glob("*.txt"))}
    for name in wanted or files:
        if name not in files:
            raise typer.BadParameter(f"{folder} has no {name}.txt; it has {', '.join(files)}")
        yield files[name], len(al.read_instances(files[name]))


def listed(path: Path, number: int) -> dict[str, Any]:
    """Return what `OPTIMA.csv` says of a problem."""
    optimum = find_optima(path).get(number)
    if optimum is None:
        raise typer.BadParameter(f"no OPTIMA.csv beside or above lists problem {number} of {path}")
    return {"best_known": optimum.best_known, "best_bound": optimum.best_bound}


@app.command()
def gap(
    instances: Instances, only: Only = "", limit: Limit = 10, backends: Backends = OURS,
    again: Again = False,
) -> None:
    """Prove the OR-Library's gap1 to gap6, gapa and gapb."""
    for path, count in problems(instances, only, GAP_FILES):
        for number in range(1, count + 1):
            for backend in backends.split(","):
                task = {"backend": backend, "limit": limit, "file": str(path), "index": number}
                measure(f"gap/{path.stem}#{number}/{backend}/{limit:g}", task,
                        {"group": "gap", "name": path.stem} | listed(path, number), again)


@app.command()
def yagiura(
    instances: Instances, only: Only = "", limit: Limit = 60,
    backends: Backends = f"{OURS},{PEERS}", again: Again = False,
) -> None:
    """Solve generalized assignment of types C, D and E beside the MIP solvers alone."""
    for path, count in problems(instances, only):
        for number in range(1, count + 1):
            for backend in backends.split(","):
                task = {"backend": backend, "limit": limit, "file": str(path), "index": number}
                measure(f"yagiura/{path.stem}#{number}/{backend}/{limit:g}", task,
                        {"group": "yagiura", "name": path.stem} | listed(path, number), again)


@app.command()
def fleets(
    clients: Annotated[str, typer.Option(help="Sizes, separated by commas.")] =
    ",".join(map(str, FLEETS)),
    limit: Limit = 60, backends: Backends = f"{OURS},{PEERS}", again: Again = False,
    seed: Annotated[int, typer.Option(help="Seed of the fleet.")] = 1,
) -> None:
    """Solve fleets of scarce budgets x 64 experts: time to within 1% and 0.1% of the bound."""
    for size in map(int, clients.split(",")):
        for backend in backends.split(","):
            task = {"backend": backend, "limit": limit, "family": "scarce", "seed": seed,
                    "parameters": {"clients": size, "experts": EXPERTS}}
            measure(f"fleets/{size}x{EXPERTS}-{seed}/{backend}/{limit:g}", task,
                    {"group": "fleets", "name": f"{size:,} x {EXPERTS}"}, again)


@app.command()
def generated(
    kinds: Annotated[str, typer.Option(help="Types, separated by commas.")] = KINDS,
    limits: Annotated[str, typer.Option(help="Seconds, separated by commas.")] = "1,10,60",
    quick: Annotated[bool, typer.Option(help="Six sizes, one seed and 10 seconds.")] = False,
    seeds: Annotated[str, typer.Option(help="Seeds, separated by commas.")] = SEEDS,
    peers: Annotated[str, typer.Option(help="Backends for every third case; may be none.")] = PEERS,
    again: Again = False,
) -> None:
    """Solve generated generalized assignment of seeds that nothing was tuned on."""
    sizes, used = (QUICK_SIZES, seeds.split(",")[:1]) if quick else (SIZES, seeds.split(","))
    cases = itertools.product(enumerate(kinds.split(",")), enumerate(sizes), map(int, used))
    for (row, kind), (column, (agents, jobs)), seed in cases:
        third = (row + column + seed) % 3 == 1  # each kind meets the peers at other sizes
        others = [peer for peer in peers.split(",") if peer] if third else []
        for limit in [10.0] if quick else map(float, limits.split(",")):
            for backend in (OURS, *others):
                name = f"{kind} {agents} x {jobs}"
                task = {"backend": backend, "limit": limit, "family": f"gap-{kind}", "seed": seed,
                        "parameters": {"agents": agents, "jobs": jobs}}
                measure(f"generated/{name}-{seed}/{backend}/{limit:g}", task,
                        {"group": "generated", "name": name}, again)


@app.command()
def report(
    ours: Annotated[str, typer.Option(help="Backend that the others are compared with.")] = OURS,
) -> None:
    """Print the tables of what is stored, in Markdown."""
    records = list(stored().values())
    if not records:
        typer.echo("no results: run something first", err=True)
        raise typer.Exit(1)
    typer.echo("\n".join(tables(records, ours)))


if __name__ == "__main__":
    app()
