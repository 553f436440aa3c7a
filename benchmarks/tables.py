"""Measure what reading a million rows costs: our readers beside those of pandas and pyarrow.

Each reader has a process of its own, whose processor seconds (user and system, all threads) are
counted from before the first import of the library to the end of the read; `alignsolve` itself
is imported before, as it is in whatever calls it. ``ours`` makes a checked problem; the peers
make their own frame and no more. Run it as ``python benchmarks/tables.py``; it stores all
figures in ``benchmarks/results/tables.jsonl``.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from _results import machine_record, replace

ROOT = Path(__file__).resolve().parent.parent
RESULTS = Path(__file__).parent / "results" / "tables.jsonl"
CLIENTS, EXPERTS = 15_625, 64

OURS = "problem = al.read_instance(path)"
BY = "csv_fast._library = lambda: {!r}\n" + OURS
FRAME = "problem = al.AlignmentProblem.from_frame({})"
#: What is measured: its file, what is done before, and what is timed.
CASES = {
    "ours, csv, Python's reader": ("csv", "", BY.format(None)),
    "ours, csv, pyarrow": ("csv", "", BY.format("pyarrow")),
    "ours, csv, polars": ("csv", "", BY.format("polars")),
    "ours, parquet": ("parquet", "", OURS),
    "pandas, csv": ("csv", "", "import pandas\nframe = pandas.read_csv(path)"),
    "pyarrow, csv": ("csv", "", "from pyarrow import csv\nframe = csv.read_csv(path)"),
    "polars, csv": ("csv", "", "import polars\nframe = polars.read_csv(path)"),
    "pandas, parquet": ("parquet", "", "import pandas\nframe = pandas.read_parquet(path)"),
    "ours, pandas frame": ("parquet", "import pandas\nframe = pandas.read_parquet(path)",
                           FRAME.format("frame")),
    "ours, polars frame": ("parquet", "import polars\nframe = polars.read_parquet(path)",
                           FRAME.format("frame")),
    "ours, pyarrow frame": ("parquet", "import pyarrow.parquet\n"
                            "frame = pyarrow.parquet.read_table(path)", FRAME.format("frame")),
}  # fmt: skip
PROGRAM = """
import sys, time
path = sys.argv[1]
import alignsolve as al
from alignsolve.io import csv_fast
{before}
start = time.process_time()
{timed}
seconds = time.process_time() - start
rows = problem.fitness.size if "problem" in dir() else len(frame)
print(rows, seconds)
"""


def write_tables(folder: Path) -> None:
    """Write a dense problem of a million pairs as one table, in both formats."""
    import pyarrow as pa
    from pyarrow import csv, parquet

    rng = np.random.default_rng(0)
    table = pa.table({
        "client": [f"client-{i}" for i in range(CLIENTS) for _ in range(EXPERTS)],
        "expert": [f"expert-{j}" for j in range(EXPERTS)] * CLIENTS,
        "fitness": rng.random(CLIENTS * EXPERTS),
    })  # fmt: skip
    csv.write_csv(table, folder / "scores.csv", csv.WriteOptions(quoting_style="needed"))
    parquet.write_table(table, folder / "scores.parquet")


def seconds_of(path: Path, before: str, timed: str) -> float:
    """Return the processor seconds of a read in a fresh process."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(before=before, timed=timed), str(path)],
        capture_output=True, text=True, check=True, cwd=ROOT,
    )  # fmt: skip
    rows, seconds = done.stdout.split()
    assert int(rows) == CLIENTS * EXPERTS
    return float(seconds)


def main() -> None:
    """Measure all cases in turn, and store their medians."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--repeats", type=int, default=5, help="processes of each case")
    repeats = parser.parse_args().repeats
    found: dict[str, list[float]] = {name: [] for name in CASES}
    with tempfile.TemporaryDirectory() as folder:
        write_tables(Path(folder))
        for _ in range(repeats):
            for name, (suffix, before, timed) in CASES.items():
                path = Path(folder) / f"scores.{suffix}"
                found[name].append(seconds_of(path, before, timed))
    machine = machine_record()
    results = []
    for name, seconds in found.items():
        result = {"key": name, "rows": CLIENTS * EXPERTS,
                  "processor_seconds": round(float(np.median(seconds)), 3),
                  "all": [round(value, 3) for value in seconds]}  # fmt: skip
        print(json.dumps(result))
        results.append(result | {"machine": machine})
    replace(RESULTS, results)


if __name__ == "__main__":
    main()
