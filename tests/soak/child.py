"""Processes that tell how far they are, so that harm is done in the middle of what they do.

A process counts the calls of its main thread from where its loop begins, and tells when it has
made so many of them: moments are chosen by progress, not by a clock. Processes are forked from
one that has imported everything.
"""

from __future__ import annotations

import contextlib
import importlib
import multiprocessing
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from types import FrameType
from typing import Any

import psutil

from alignsolve.cli.terminating import LAST_SECONDS, TERMINATED

FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["tests.soak.programs"])

#: Seconds after which a process that should have ended is called stuck.
PATIENCE = 240.0


class Counter:
    """Counts calls in a loop, in the process that has it.

    Parameters
    ----------
    at : int
        After how many calls to tell; 0 for never.
    """

    def __init__(self, at: int, pipe: Connection) -> None:
        self._at, self._pipe, self._number, self._over = at, pipe, 0, False

    def begin(self) -> None:
        """Begin to count, at the first call."""
        if not (self._number or self._over):
            sys.setprofile(self._count)

    def end(self) -> None:
        """Tell that the loop is over."""
        sys.setprofile(None)
        if not self._over:
            self._over = True
            self._pipe.send(("end", self._number, time.monotonic()))

    def _count(self, frame: FrameType, event: str, argument: Any) -> None:
        self._number += 1
        if self._number == self._at:
            sys.setprofile(None)
            self._pipe.send(("at", self._number, time.monotonic()))

    def around(self, owner: Any, name: str, then: Callable[[], None] | None = None) -> None:
        """Let the loop begin, or something else happen, where a function is called."""
        real = getattr(owner, name)
        first = then or self.begin

        def called(*arguments: Any, **more: Any) -> Any:
            first()
            return real(*arguments, **more)

        setattr(owner, name, called)


@dataclass(frozen=True)
class End:
    """How a process ended.

    Attributes
    ----------
    code : int
        Its exit code; negative for a signal.
    out, err : str
    calls : int
        Calls in its loop; 0 where that did not end.
    hit : bool
        Whether the signal was sent while it was in its loop.
    left : list of str
        Processes that it left behind.
    seconds : float
        From the signal to the end.
    """

    code: int
    out: str
    err: str
    calls: int
    hit: bool
    left: list[str]
    seconds: float

    @property
    def cut_short(self) -> bool:
        """Whether it ended because its time after SIGTERM was over."""
        return self.code == TERMINATED and self.seconds >= LAST_SECONDS

    @property
    def traceback(self) -> bool:
        """Whether one was printed."""
        return "Traceback" in self.err or "Traceback" in self.out


class Run:
    """A program of `tests.soak.programs` in a process of its own.

    Parameters
    ----------
    program : str
        Name of a function there.
    folder : Path
        Its place. What it prints goes elsewhere.
    words : tuple
        Its further arguments.
    at : int
        After how many calls it tells; 0 for never.
    limits : dict
        Limits of `resource` that it gets, by name.
    """

    def __init__(
        self, program: str, folder: Path, *words: Any, at: int = 0,
        limits: dict[str, int] | None = None,
    ) -> None:
        self._told, theirs = multiprocessing.Pipe()
        self._end: tuple[str, int, float] | None = None
        self._room = tempfile.TemporaryDirectory()
        self.out, self.err = (Path(self._room.name) / kind for kind in ("out", "err"))
        self._process = FORKS.Process(
            target=_be,
            args=(program, folder, words, at, limits or {}, theirs, [self.out, self.err]))
        self._process.start()
        theirs.close()
        self._sent = 0.0
        self._family: list[psutil.Process] = []

    def harm(self, number: int, after: float = 0.0, patience: float = PATIENCE) -> bool:
        """Send a signal, some seconds after the process has told that it is where it should be.

        Tell whether it was there within `patience` seconds.
        """
        told = self._told.poll(patience)
        if told:
            self._hear()
        if self._end is not None:  # it shall come to its end
            return False
        time.sleep(after)
        self.send(number)
        return told

    def _hear(self) -> None:
        """Take the next word of the process, if there is one."""
        with contextlib.suppress(EOFError):
            message = self._told.recv()
            self._end = message if message[0] == "end" else None

    def send(self, number: int) -> None:
        """Send a signal now."""
        pid = self._process.pid
        assert pid is not None
        with contextlib.suppress(psutil.Error):
            self._family += psutil.Process(pid).children(recursive=True)
        if self._process.exitcode is None:
            self._sent = self._sent or time.monotonic()
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def alive(self, seconds: float) -> bool:
        """Wait some seconds for the end, and tell whether it has not come."""
        self._process.join(seconds)
        return self._process.exitcode is None

    def wait(self) -> End:
        """Wait for the end."""
        self._process.join(PATIENCE)
        stuck = self._process.exitcode is None
        if stuck:
            self.send(signal.SIGUSR1)  # prints what its threads are at
            self._process.join(2.0)
            self._process.kill()
            self._process.join()
        for _ in range(2):
            if self._end is None and self._told.poll():
                self._hear()
        ended = None if self._end is None else self._end[2]
        hit = bool(self._sent) and (ended is None or ended > self._sent)
        seconds = time.monotonic() - self._sent if self._sent else 0.0
        _, alive = psutil.wait_procs(self._family, timeout=20)
        left = [f"{process.pid} of {self._process.pid}" for process in alive]
        code = self._process.exitcode
        assert code is not None
        self._process.close()
        self._told.close()
        out, err = (file.read_text(errors="replace") if file.exists() else ""
                    for file in (self.out, self.err))
        self._room.cleanup()
        return End(-999 if stuck else code, out, err, self._end[1] if self._end else 0, hit, left,
                   seconds)


def _be(
    program: str, folder: Path, words: tuple[Any, ...], at: int, limits: dict[str, int],
    pipe: Connection, files: list[Path],
) -> None:
    """Be the process: run the program, with its output in files, and end as it says."""
    import faulthandler
    import resource

    for number, file in enumerate(files, 1):
        os.dup2(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666), number)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    faulthandler.register(signal.SIGUSR1, file=2, all_threads=True)
    for name, value in limits.items():
        resource.setrlimit(getattr(resource, name), (value, value))
    programs = importlib.import_module("tests.soak.programs")
    try:
        code = getattr(programs, program)(folder, Counter(at, pipe), *words)
    except KeyboardInterrupt:  # beside the loop
        code = 130
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError):
            stream.flush()
    sys.exit(code)
