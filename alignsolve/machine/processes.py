"""What processes take and the machine has left: from ``/proc`` on Linux, elsewhere from psutil.

psutil is installed on other systems only; its quantities are the same (proc(5) has the files).
"""

from __future__ import annotations

import math
import os
import sys
from pathlib import Path

PROC = Path("/proc")
ON_LINUX = sys.platform == "linux"


def machine_left() -> float:
    """Return the bytes that the machine has left, its swap included; inf where it is not told."""
    if not ON_LINUX:
        import psutil

        return float(psutil.virtual_memory().available + psutil.swap_memory().free)
    try:
        lines = (PROC / "meminfo").read_text().splitlines()
        parts = (line.partition(":") for line in lines)
        kib = {name: float(text.split()[0]) for name, _, text in parts}
        # Before Linux 3.14, and in WSL 1, what is free and the caches stand for it.
        if "MemAvailable" not in kib:
            kib["MemAvailable"] = kib["MemFree"] + kib["Buffers"] + kib["Cached"]
        return 1024.0 * (kib["MemAvailable"] + kib["SwapFree"])
    except (OSError, LookupError, ValueError):
        return math.inf


def taken() -> tuple[float, float]:
    """Return the bytes of address space and of data that this process takes."""
    if not ON_LINUX:
        import psutil

        used = psutil.Process().memory_info()
        return float(used.vms), float(getattr(used, "data", 0))
    pages = (PROC / "self" / "statm").read_text().split()
    return float(pages[0]) * _page(), float(pages[5]) * _page()


def resident(process: int) -> float:
    """Return the bytes of resident memory of a process; 0 once it has ended."""
    if not ON_LINUX:
        import psutil

        try:
            return float(psutil.Process(process).memory_info().rss)
        except psutil.Error:
            return 0.0
    try:
        return float((PROC / str(process) / "statm").read_text().split()[1]) * _page()
    except OSError:
        return 0.0


def descendants(process: int) -> list[int]:
    """Return the processes that a process started, and those that they did; none once it ended."""
    if not ON_LINUX:
        import psutil

        try:
            return [child.pid for child in psutil.Process(process).children(recursive=True)]
        except psutil.Error:
            return []
    children: dict[int, list[int]] = {}
    for folder in PROC.iterdir():
        if folder.name.isdecimal():
            try:
                # The name of the program, in brackets, may hold anything; its parent comes after.
                text = (folder / "stat").read_text(errors="replace").rpartition(")")[2]
            except OSError:
                continue  # it has ended since
            children.setdefault(int(text.split()[1]), []).append(int(folder.name))
    found = list(children.get(process, []))
    for child in found:
        found += children.get(child, [])
    return found


def _page() -> int:
    """Return the bytes of a page of memory."""
    return os.sysconf("SC_PAGE_SIZE")
