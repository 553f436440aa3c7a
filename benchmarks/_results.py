"""Results as JSON lines, the machine behind them, and what work takes: time and memory."""

from __future__ import annotations

import datetime
import json
import os
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

import psutil

from alignsolve.bench.environment import machine, versions
from alignsolve.bench.store import append_line, read_lines, write_whole

#: Distributions whose version is kept with every result.
RECORDED = ("alignsolve", "numpy", "scipy", "ortools", "networkx", "numba", "pyarrow", "pandas",
            "polars", "ray", "flwr", "torch")  # fmt: skip


T = TypeVar("T")


def machine_record() -> dict[str, Any]:
    """Return date, machine, load and versions, ready for JSON: kept with every result."""
    return {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        **machine(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "load_average_1min": round(psutil.getloadavg()[0], 2),
        "versions": versions(RECORDED),
    }


def stored(path: Path) -> list[dict[str, Any]]:
    """Return all results of a file of JSON lines, in order; none where there is no file."""
    return read_lines(path)[0] if path.exists() else []


def append(path: Path, result: dict[str, Any]) -> None:
    """Add a line, and force it to disk."""
    path.parent.mkdir(exist_ok=True)
    with path.open("ab", buffering=0) as file:
        append_line(file.fileno(), json.dumps(result, default=float), read_lines(path)[1])
        os.fsync(file.fileno())


def replace(path: Path, results: Iterable[dict[str, Any]]) -> None:
    """Write all results anew, or leave the file as it was."""
    path.parent.mkdir(exist_ok=True)
    write_whole(path, "".join(json.dumps(result) + "\n" for result in results).encode())


def record(path: Path, key: str, again: bool, measure: Callable[[], dict[str, Any]]) -> None:
    """Measure and store under a key, unless it is stored already."""
    if not again and any(result["key"] == key for result in stored(path)):
        print(f"{key}: stored already")
        return
    result = {"key": key} | measure() | {"machine": machine_record()}
    append(path, result)
    shown = {name: value for name, value in result.items() if name not in ("machine", "key")}
    print(key, json.dumps(shown, default=float)[:400])


def clocked(work: Callable[[], T]) -> tuple[T, float, float]:
    """Return what work returns, its seconds, and the seconds of processor of this process."""
    started, busy = time.perf_counter(), time.process_time()
    found = work()
    return found, time.perf_counter() - started, time.process_time() - busy


def anonymous_memory(process: int | str = "self") -> int:
    """Return the memory of a process that no file backs, in bytes; 0 where it has ended."""
    try:
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon")), 0)


class Peak(threading.Thread):
    """Follows the anonymous memory of this process, in bytes, until it is stopped."""

    def __init__(self, interval: float = 0.001) -> None:
        super().__init__(daemon=True)
        self.first = self.most = anonymous_memory()
        if not self.first:
            raise RuntimeError("this system does not tell the memory of a process")
        self.interval = interval
        self.ended = threading.Event()

    def run(self) -> None:
        """Look again and again."""
        while not self.ended.wait(self.interval):
            self.look()

    def look(self) -> None:
        """Note what memory there is now."""
        self.most = max(self.most, anonymous_memory())

    def stop(self) -> int:
        """Stop looking; return the most there was."""
        self.ended.set()
        self.join()
        return self.most
