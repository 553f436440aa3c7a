"""What the bench and its workers know of processes: their memory, and how they ended."""

from __future__ import annotations

import signal
from typing import IO

from alignsolve.machine.processes import descendants, resident

MIB = 2.0**20

#: Longest message kept of an error, in characters.
MESSAGE_LENGTH = 300


def resident_mib(process: int) -> float:
    """Return the resident memory of a process, MiB; 0 once it has ended."""
    return resident(process) / MIB


class Family:
    """A process and those it started: solvers that cannot be cancelled have some.

    Parameters
    ----------
    process : int
        Number of the process.
    """

    #: Looks for which the list of children is good: to make it takes milliseconds.
    looks = 10

    def __init__(self, process: int) -> None:
        self._process, self._looks = process, 0
        self._children: list[int] = []

    def resident_mib(self) -> float:
        """Return the resident memory of all, MiB; 0 once they have ended."""
        if self._looks % self.looks == 0:
            self._children = descendants(self._process)
        self._looks += 1
        return resident_mib(self._process) + sum(map(resident_mib, self._children))


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
