"""Results as JSON lines, one per key, and the memory of a process while it is measured."""

from __future__ import annotations

import contextlib
import json
import os
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from _machine import machine_record


def stored(path: Path) -> list[dict[str, Any]]:
    """Return all results of a file in order; a line that an interruption cut short is none."""
    found = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
        with contextlib.suppress(json.JSONDecodeError):
            found.append(json.loads(line))
    return found


def append(path: Path, result: dict[str, Any]) -> None:
    """Add a line in one write, after what an interruption may have left."""
    path.parent.mkdir(exist_ok=True)
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND)
    try:
        size = os.fstat(file).st_size
        torn = size > 0 and os.pread(file, 1, size - 1) != b"\n"
        line = json.dumps(result, default=float).encode()
        os.write(file, (b"\n" if torn else b"") + line + b"\n")
        os.fsync(file)
    finally:
        os.close(file)


def replace(path: Path, results: Iterable[dict[str, Any]]) -> None:
    """Write all results anew, or leave the file as it was."""
    path.parent.mkdir(exist_ok=True)
    temporary = path.with_suffix(".tmp")
    text = "".join(json.dumps(result) + "\n" for result in results)
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)


def record(path: Path, key: str, again: bool, measure: Callable[[], dict[str, Any]]) -> None:
    """Measure and store under a key, unless it is stored already."""
    if not again and any(result["key"] == key for result in stored(path)):
        print(f"{key}: stored already")
        return
    result = {"key": key} | measure() | {"machine": machine_record()}
    append(path, result)
    shown = {name: value for name, value in result.items() if name not in ("machine", "key")}
    print(key, json.dumps(shown, default=float)[:400])


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
