"""What the bench and its workers know of processes: lines of JSON, memory, how they ended."""

from __future__ import annotations

import json
import os
import signal
from typing import IO, Any

import psutil

MIB = 2.0**20

#: Longest message kept of an error, in characters.
MESSAGE_LENGTH = 300


class Lines:
    """Objects that arrive through a pipe, as JSON, one a line.

    Parameters
    ----------
    stream : file
        The pipe's end to read from, unbuffered.

    Attributes
    ----------
    ended : bool
        Whether the other end is closed.
    """

    def __init__(self, stream: IO[bytes]) -> None:
        self.stream = stream
        self.ended = False
        self._partial = b""

    def read(self) -> list[dict[str, Any]]:
        """Return what arrived; waits where nothing did."""
        content = os.read(self.stream.fileno(), 1 << 16)
        self.ended = not content
        *lines, self._partial = (self._partial + content).split(b"\n")
        return [json.loads(line) for line in lines]


def send(file: int, message: dict[str, Any]) -> None:
    """Write an object as one line."""
    os.write(file, json.dumps(message, allow_nan=False).encode() + b"\n")


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
    """Return the telling line of what a process wrote before it ended, after a colon."""
    errors.seek(0)
    lines = errors.read(1 << 16).decode(errors="replace").strip().splitlines()
    if not lines:
        return ""
    # A traceback ends with the error; a failed check of a C++ library begins with it.
    return f": {lines[-1] if lines[0].startswith('Traceback') else lines[0]}"
