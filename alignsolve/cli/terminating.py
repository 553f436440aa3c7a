"""SIGTERM for command lines: it ends them as Ctrl-C does, and soon."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

from alignsolve import interrupts

#: The exit code after SIGTERM, as of a process that it ends by itself: 128 and its number.
TERMINATED = 143

#: Seconds that a command gets to write what it has; a bit less than the two that are promised.
LAST_SECONDS = 1.7

#: The descriptor that signals are told to, or -1.
_fd = -1


@dataclass
class Told:
    """Whether SIGTERM came."""

    came: bool = False

    def code(self, code: int) -> int:
        """Return the exit code of a command that would end with `code`."""
        return TERMINATED if self.came else code


@contextmanager
def terminable(seconds: float | None = LAST_SECONDS) -> Iterator[Told]:
    """Let SIGTERM end a command as Ctrl-C does, with an exit code of its own.

    Parameters
    ----------
    seconds : float, optional
        When the process ends at the latest, whatever it is at; None for any time it takes.

    Notes
    -----
    Only the first SIGTERM counts, and it is never the second Ctrl-C: who sends it may
    send it twice. Python's handlers wait while the main thread is in a library; so a
    thread is woken by the signal itself, and ends the process. In other threads than the
    main one, and where the program has its own handler, nothing is done.
    """
    told = Told()
    main = threading.current_thread() is threading.main_thread()
    if not main or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield told
        return

    def take(number: int, frame: FrameType | None) -> None:
        if not told.came:
            told.came = True
            interrupts.deliver(frame, gently=True)

    with _woken(seconds):
        signal.signal(signal.SIGTERM, take)
        try:
            yield told
        finally:
            # Once it came the process is about to end, with the code that it shall have.
            if not told.came:
                signal.signal(signal.SIGTERM, signal.SIG_DFL)


@contextmanager
def _woken(seconds: float | None) -> Iterator[None]:
    """End the process some seconds after SIGTERM, whatever its main thread is at."""
    if seconds is None:
        yield
        return
    global _fd
    read, write = socket.socketpair()
    write.setblocking(False)
    threading.Thread(target=_watch, args=(read, seconds), daemon=True).start()
    before = signal.set_wakeup_fd(write.fileno(), warn_on_full_buffer=False)
    _fd = write.fileno()
    try:
        yield
    finally:
        _fd = -1
        signal.set_wakeup_fd(before)
        write.close()


def _watch(read: socket.socket, seconds: float) -> None:
    """Read the numbers of signals until the other end is closed, or it is SIGTERM."""
    with read:
        while number := read.recv(1):
            if number[0] == signal.SIGTERM:
                time.sleep(seconds)
                os._exit(TERMINATED)


def _in_child() -> None:
    """Let a forked child, which has a copy of the other end, not speak for its parent."""
    if _fd >= 0 and signal.set_wakeup_fd(-1) == _fd:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)
