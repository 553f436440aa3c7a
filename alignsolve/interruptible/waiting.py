"""Wait for a call that runs in a thread of its own."""

from __future__ import annotations

import atexit
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, wait
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")

#: Threads of calls that were left behind.
_left: list[threading.Thread] = []


#: Seconds that a call gets to return after it was asked to stop, and between two polls.
STOP, POLL = 0.4, 0.1

#: Seconds for which the end of the process waits for calls that were left behind: one that
#: returns while the interpreter shuts down aborts the process.
EXIT = 3.0


@dataclass(frozen=True)
class Waited(Generic[T]):
    """What came of a call.

    Attributes
    ----------
    value : T or None
        What it returned; None if it was left behind.
    interrupted : bool
        Whether the poll ended the waiting.
    """

    value: T | None
    interrupted: bool


def wait_for(
    call: Callable[[], T],
    deadline: float,
    stop: Callable[[bool], bool],
    poll: Callable[[], bool] | None = None,
    grace: float = STOP,
) -> Waited[T]:
    """Run a call in a thread and wait until it returns, the poll ends it, or the time is over.

    Parameters
    ----------
    call : callable
        Releases the interpreter lock now and then.
    deadline : float
        Value of ``time.perf_counter()`` until which to wait; +inf for ever.
    stop : callable
        Asks the call to return early, and tells whether it can. If so, it gets
        `grace` to do so, and is then asked again. Its argument tells whether
        the poll, or an exception in this thread, was the cause.
    poll : callable, optional
        Called every `POLL` seconds in the caller's thread; true ends the waiting.
    grace : float
        Seconds that a call gets to return after it was asked to stop.

    Returns
    -------
    Waited

    Raises
    ------
    Exception
        Whatever the call raised.

    Notes
    -----
    A call that does not return in time is left behind: its thread works on
    until the library's own limit, or the end of the process, and its result
    is dropped. See `left_behind`.
    """
    # A future's own state: before Python 3.13 `Thread.is_alive` says no where Ctrl-C interrupts
    # joining it.
    outcome: Future[T] = Future()

    def work() -> None:
        try:
            outcome.set_result(call())
        except BaseException as error:
            outcome.set_exception(error)

    thread = threading.Thread(target=work, daemon=True)
    interrupted = False
    try:
        thread.start()
        # Waits of at most a second: on some systems a longer one blocks Ctrl-C.
        longest = 1.0 if poll is None else POLL
        while not outcome.done() and time.perf_counter() < deadline and not interrupted:
            wait([outcome], min(longest, max(0.001, deadline - time.perf_counter())))
            interrupted = poll is not None and not outcome.done() and poll()
        for _ in range(2):
            if not outcome.done() and stop(interrupted):
                wait([outcome], grace)
    except BaseException:
        # Twice, as what takes a first word gently ends by the second.
        if stop(True):
            stop(True)
        if thread.is_alive():
            _leave(thread)
        raise
    if outcome.done():
        return Waited(outcome.result(), interrupted)
    _leave(thread)
    return Waited(None, interrupted)


def left_behind() -> bool:
    """Tell whether a call that nobody waits for any more is still at work.

    A command line then ends the process by ``os._exit``, once its answer is written.
    """
    _left[:] = [thread for thread in _left if thread.is_alive()]
    return bool(_left)


def _leave(thread: threading.Thread) -> None:
    """Leave a thread behind; the end of the process waits for it, but not for long."""
    _left.append(thread)
    atexit.register(thread.join, EXIT)
