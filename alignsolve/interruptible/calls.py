"""Calls of library functions that cannot be cancelled: long ones in a process of their own."""

from __future__ import annotations

import contextlib
import io
import logging
import math
import pickle
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import IO, Any, TypeVar

from alignsolve.interruptible.waiting import Waited, wait_for
from alignsolve.interrupts import Interrupted

T = TypeVar("T")

#: What a function may be given to tell what it has found so far; None where nobody listens.
Tell = Callable[[Any], None]

#: Seconds from which on a call is worth a process, which takes about half a second to begin.
LONG = 2.0

#: What the process runs, with the caller's paths of modules as its arguments.
COMMAND = "import sys; sys.path[:] = sys.argv[1:]; " \
          "from alignsolve.interruptible.worker import main; main()"

logger = logging.getLogger(__name__)


class Calls:
    """Calls of a library's functions, one after the other, that another thread may stop.

    Parameters
    ----------
    gently : bool
        Whether a process that is stopped first gets a signal, as for Ctrl-C, and is killed
        by the next `stop`.

    Attributes
    ----------
    told : object or None
        What the function of the latest call told last.

    Notes
    -----
    The process is a fresh interpreter and not a fork: threads of libraries do not
    survive one. It is no child of `multiprocessing`: a caller's program needs no
    ``__main__`` guard, and daemonic workers may start it. The arguments go to it once,
    through its standard input, without a copy here. It ends itself where that is
    closed, so that it never outlives this process; it has no files of its own.
    Ctrl-C and signals to the caller's group do not reach it.
    """

    def __init__(self, gently: bool = False) -> None:
        self._gently = gently
        self.told: Any = None
        self._lock = threading.Lock()
        self._is_stopped = False
        self._process: subprocess.Popen[bytes] | None = None
        self._errors: IO[bytes] = io.BytesIO()

    def __call__(
        self, seconds: float, function: Callable[..., T], *arguments: Any
    ) -> T | None:
        """Return ``function(tell, *arguments)``, or None where it was stopped.

        Parameters
        ----------
        seconds : float
            How long it is expected to take: above `LONG` it runs in a process of its
            own, with a `Tell`; else here, with None, where nothing stops it.
        function : callable
            A function of a module.
        *arguments
            What `pickle` takes.

        Raises
        ------
        Exception
            What the function raised; RuntimeError if its process died.
        """
        self.told = None
        process = self._start() if seconds > LONG else None
        if process is None:
            return None if self._is_stopped else function(None, *arguments)
        try:
            kind, what = self._converse(process, (function, arguments))
        finally:
            self._close(process)
        if kind == "value":
            value: T = what
            return value
        if self._is_stopped:
            return None
        if kind == "error":
            raise what
        if kind == "nothing":
            # It is no interpreter, or one that lacks the package.
            logger.info("a solver cannot be stopped: its process %s", self._end_of(process))
            return function(None, *arguments)
        raise RuntimeError(f"its process {self._end_of(process)}")

    def stop(self) -> bool:
        """End the call at work, and those to come; tell whether it can be ended.

        Called from another thread than the call's.
        """
        with self._lock:
            first, self._is_stopped = not self._is_stopped, True
            if self._process is None:
                return False
            if self._gently and first:
                self._process.send_signal(signal.SIGINT)
            else:
                self._process.kill()
        return True

    def _start(self) -> subprocess.Popen[bytes] | None:
        """Start a process; None where that cannot be, or shall not be any more."""
        # A program that is frozen is its own interpreter.
        if not sys.executable or getattr(sys, "frozen", False):
            return None
        paths = [path for path in sys.path if isinstance(path, str)]
        with self._lock:
            if self._is_stopped:
                return None
            try:
                import tempfile  # it costs every import of alignsolve

                self._errors = tempfile.TemporaryFile()  # noqa: SIM115
                self._process = subprocess.Popen(
                    [sys.executable, "-c", COMMAND, *paths], stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE, stderr=self._errors, start_new_session=True,
                )
            except OSError as error:
                logger.info("a solver cannot be stopped, without a process of its own: %s", error)
            return self._process

    def _converse(
        self, process: subprocess.Popen[bytes], request: tuple[Any, ...]
    ) -> tuple[str, Any]:
        """Send a request and take what is told; return the last word, and what it says."""
        assert process.stdin is not None
        assert process.stdout is not None
        kind, what = "nothing", None
        with contextlib.suppress(EOFError, OSError, pickle.UnpicklingError):
            pickle.dump(request, process.stdin, protocol=5)
            process.stdin.flush()
            while kind not in ("value", "error"):
                kind, what = pickle.load(process.stdout)
                if kind == "told":
                    self.told = what
        return kind, what

    def _close(self, process: subprocess.Popen[bytes]) -> None:
        """Leave nothing of a process behind."""
        with self._lock:
            self._process = None
        process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout):
            # What was still to be written goes nowhere.
            with contextlib.suppress(OSError):
                if stream is not None:
                    stream.close()

    def _end_of(self, process: subprocess.Popen[bytes]) -> str:
        """Say how a process ended that nobody stopped, and what it said last."""
        code = process.returncode
        if code == -9:
            return "was killed; perhaps memory was short"
        how = f"ended by signal {-code}" if code < 0 else f"ended with exit code {code}"
        self._errors.seek(0)
        lines = self._errors.read(1 << 16).decode(errors="replace").strip().splitlines()
        return f"{how}: {lines[-1]}" if lines else how


def _wrapped(tell: Tell | None, function: Callable[..., T], *arguments: Any) -> tuple[T]:
    """Return what a function returns such that it is never None."""
    return (function(*arguments),)


def ended_by_key(
    function: Callable[..., T], *arguments: Any, seconds: float,
    poll: Callable[[], bool] | None = None,
) -> T:
    """Return ``function(*arguments)``; where that takes long, the poll ends it.

    Raises
    ------
    Interrupted
        Where it did.
    """
    if not seconds > LONG:
        return function(*arguments)
    waited = call(_wrapped, function, *arguments, seconds=seconds, poll=poll)
    if waited.value is None:
        raise Interrupted
    value: T = waited.value[0]
    return value


def call(
    function: Callable[..., T], *arguments: Any, seconds: float, deadline: float = math.inf,
    poll: Callable[[], bool] | None = None,
) -> Waited[Any]:
    """Wait for ``function(tell, *arguments)``, and end it when nobody waits any more.

    See `Calls` and `wait_for`, also for what the arguments mean.
    """
    calls = Calls()
    return wait_for(lambda: calls(seconds, function, *arguments), deadline,
                    lambda interrupted: calls.stop(), poll)
