"""SIGTERM for command lines: it ends them as Ctrl-C does, and soon."""

from __future__ import annotations

import atexit
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from types import FrameType

from alignsolve import interrupts
from alignsolve.cli.common import INTERRUPTED, note

#: The exit code after SIGTERM, as of a process that it ends by itself: 128 and its number.
TERMINATED = 143

#: Seconds that a command gets to write what it has; a bit less than the two that are promised.
LAST_SECONDS = 1.5

#: The descriptor that signals are told to, or -1.
_fd = -1


def run_command(
    command: Callable[[], int], last_word: str = "", seconds: float | None = LAST_SECONDS
) -> int:
    """Run a command and return its exit code; SIGTERM ends it, and the process, as Ctrl-C does.

    Parameters
    ----------
    command : callable
        Returns an exit code.
    last_word : str
        What to note where it was interrupted, if anything.
    seconds : float, optional
        After SIGTERM, when the process ends at the latest, whatever it is at; None for
        any time it takes.

    Notes
    -----
    Only the first SIGTERM counts, and it is never the second Ctrl-C: who sends it may
    send it twice. Python's handlers wait while the main thread is in a library; so a
    thread is woken by the signal itself, and ends the process. In other threads than the
    main one, and where the program has its own handler, nothing is done.
    """
    unsaid = threading.Lock()

    def say() -> None:  # by whoever comes first, once
        if last_word and unsaid.acquire(blocking=False):
            note(last_word)

    def run() -> int:
        """Run the command, and say the last word where it was interrupted."""
        code = INTERRUPTED
        with suppress(KeyboardInterrupt):
            code = command()
        if came or code == INTERRUPTED:
            say()
        return code

    came = False
    main = threading.current_thread() is threading.main_thread()
    if not main or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        return run()

    def take(number: int, frame: FrameType | None) -> None:
        nonlocal came
        if not came:
            came = True
            interrupts.deliver(frame, gently=True)

    code = INTERRUPTED
    woken = nullcontext() if seconds is None else _woken(seconds, say)
    try:
        with woken, suppress(KeyboardInterrupt):
            signal.signal(signal.SIGTERM, take)
            code = run()
        if came:
            _end()
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
    return code


def _end() -> None:
    """End the process, without what Python and libraries take time for when they are unloaded."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(Exception):
            stream.flush()
    atexit._run_exitfuncs()
    os._exit(TERMINATED)


@contextmanager
def _woken(seconds: float, say: Callable[[], None]) -> Iterator[None]:
    """End the process some seconds after SIGTERM, whatever its main thread is at."""
    global _fd
    read, write = socket.socketpair()
    write.setblocking(False)
    watching = threading.Thread(target=_watch, args=(read, seconds, say), daemon=True)
    watching.start()
    before = signal.set_wakeup_fd(write.fileno(), warn_on_full_buffer=False)
    _fd = write.fileno()
    try:
        yield
    finally:
        _fd = -1
        signal.set_wakeup_fd(before)
        with suppress(OSError):
            write.shutdown(socket.SHUT_WR)  # closing does not end it where a child has a copy
        write.close()
        watching.join(0.2)  # after SIGTERM it sleeps


def _watch(read: socket.socket, seconds: float, say: Callable[[], None]) -> None:
    """Read the numbers of signals until the other end is closed, or it is SIGTERM."""
    with read:
        while number := read.recv(1):
            if number[0] == signal.SIGTERM:
                time.sleep(seconds)
                saying = threading.Thread(target=say, daemon=True)  # nobody may read it
                saying.start()
                saying.join(0.2)
                os._exit(TERMINATED)


def _in_child() -> None:
    """Let a forked child, which has a copy of the other end, not speak for its parent."""
    if _fd >= 0 and signal.set_wakeup_fd(-1) == _fd:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)
