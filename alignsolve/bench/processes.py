"""What the bench and its workers know of processes: their memory, and how they ended."""

from __future__ import annotations

import signal
from typing import IO

import psutil

MIB = 2.0**20

#: Longest message kept of an error, in characters.
MESSAGE_LENGTH = 300


def resident_mib(process: int) -> float:
    """Return the resident memory of a process, MiB; 0 once it has ended."""
    try:
        return float(psutil.Process(process).memory_info().rss) / MIB
    except psutil.Error:
        return 0.0


def how_ended(code: int) -> str:
    """Say how a process of an exit code ended; negative ones are signals."""
    if code < 0:
        return f"ended by signal {signal.Signals(-code).name}"
    return f"exited with code {code}"


def one_line(text: str) -> str:
    """Return a message on one line, cut where it is long."""
    line = " ".join(text.split())
    return line if len(line) <= MESSAGE_LENGTH else line[: MESSAGE_LENGTH - 1] + "…"


def last_words(errors: IO[bytes]) -> str:
    """Return the most informative line of what a process wrote before it ended, after a colon."""
    errors.seek(0)
    lines = errors.read(1 << 16).decode(errors="replace").strip().splitlines()
    if not lines:
        return ""
    # A traceback ends with the error; a failed check of a C++ library begins with it.
    return f": {lines[-1] if lines[0].startswith('Traceback') else lines[0]}"
