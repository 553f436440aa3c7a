"""Ctrl-C during a call: it raises where no harm is done, and an answer is kept.

Python raises KeyboardInterrupt between any two instructions: also while a module is imported or a
kernel compiled, which the whole process then lacks, and while an answer is put in its place. During
a `Call` a handler of our own takes the place of Python's. It is there during a call only, in the
main thread, and only over Python's own handler; where the program has another, that one decides
what happens.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]
import _thread
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Literal

#: What the first Ctrl-C does to a call: it is noted, and the call looks for it where it can return
#: its best answer; KeyboardInterrupt is raised at once; or at the call's end, which comes soon.
Kind = Literal["answer", "raise", "finish"]

#: Seconds after the Ctrl-C of an answer within which another one, in a later call, is the second.
AGAIN = 2.0

#: Seconds after which one that met an import or a compilation, and has to raise, is tried again.
RETRY = 0.05

#: Modules whose work must not be left halfway.
LOADING = ("importlib._", "_frozen_importlib", "numba.", "llvmlite.", "torch._functorch.")

clock = time.monotonic

#: `signal.signal` and `signal.getsignal` without their conversion to enums: 1 for 8 microseconds
#: a call, of 400 that a small solve takes.
_set_handler, _get_handler = _signal.signal, _signal.getsignal

#: The calls at work in the main thread, the innermost last; and when Ctrl-C last met one that
#: answers.
_calls: list[Call] = []
_answered = -float("inf")


class Interrupted(KeyboardInterrupt):
    """The caller ended a part of a solve, which is an outcome; see `alignsolve.errors.guarded`."""


class Call:
    """A call that Ctrl-C does not cut off just anywhere; a context manager.

    Parameters
    ----------
    kind : {"answer", "raise", "finish"}
        What the first Ctrl-C does. With "answer" the second one raises
        KeyboardInterrupt at once.

    Attributes
    ----------
    noted : bool
        Whether Ctrl-C was pressed; False outside the main thread.
    """

    def __init__(self, kind: Kind = "raise") -> None:
        self.kind, self.noted, self.open_cuts = kind, False, 0
        self._urgent = False
        self._frame: FrameType | None = None
        self._again: threading.Timer | None = None

    def __enter__(self) -> Call:
        if threading.current_thread() is threading.main_thread():
            self._frame = sys._getframe(1)
            _drop_stale(self._frame)
            if _get_handler(signal.SIGINT) is signal.default_int_handler:
                _set_handler(signal.SIGINT, _handle)
            _calls.append(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:  # fmt: skip
        if self._frame is None:
            return
        _calls.remove(self)
        self._frame = None
        if not _calls:
            _restore()
        if self._again is not None:
            self._again.cancel()
        # What was raised may have been lost, as in a destructor.
        owed = self._urgent or (self.noted and self.kind == "finish")
        if owed and not isinstance(error, KeyboardInterrupt):
            deliver()

    def take(self, frame: FrameType | None, gently: bool) -> None:
        """Note an interrupt at a frame, or raise."""
        if self._again is not None:
            self._again.cancel()
            self._again = None
        else:
            self._urgent = self._raises_now(gently)
            self.noted = True
        if not (self._urgent or self.open_cuts):
            return
        if not self._is_loading(frame):
            raise KeyboardInterrupt if self._urgent else Interrupted
        self._again = threading.Timer(RETRY, _thread.interrupt_main)
        self._again.daemon = True
        self._again.start()

    def _raises_now(self, gently: bool) -> bool:
        """Tell whether an interrupt, which is not noted yet, has to raise KeyboardInterrupt."""
        global _answered
        if self.kind != "answer":
            return self.kind == "raise"
        now, before = clock(), _answered
        _answered = now
        return not gently and (self.noted or now - before < AGAIN)

    def is_at_work(self, frame: FrameType | None) -> bool:
        """Tell whether a frame is within this call."""
        while frame is not None and frame is not self._frame:
            frame = frame.f_back
        return frame is not None

    def _is_loading(self, frame: FrameType | None) -> bool:
        """Tell whether something is imported or compiled, within this call."""
        while frame is not None and frame is not self._frame:
            if str(frame.f_globals.get("__name__")).startswith(LOADING):
                return True
            frame = frame.f_back
        return False


def deliver(frame: FrameType | None = None, gently: bool = False) -> None:
    """Let an interrupt meet the innermost call, or raise KeyboardInterrupt where there is none.

    Parameters
    ----------
    frame : frame, optional
        What the main thread is at.
    gently : bool
        Whether it is never the second one: a program that is asked to end still answers.
    """
    frame = frame or sys._getframe(1)
    _drop_stale(frame)
    if not _calls:
        _restore()
        raise KeyboardInterrupt
    _calls[-1].take(frame, gently)


def _drop_stale(frame: FrameType) -> None:
    """Forget calls that were cut off at their very beginning or end."""
    while _calls and not _calls[-1].is_at_work(frame):
        _calls.pop()


def _restore() -> None:
    found = _set_handler(signal.SIGINT, signal.default_int_handler)
    if found is not _handle:
        _set_handler(signal.SIGINT, found)


def _handle(number: int, frame: FrameType | None) -> None:
    deliver(frame)


@contextmanager
def cuttable() -> Iterator[None]:
    """Let the first Ctrl-C raise `Interrupted` at once, where nothing is lost by it."""
    call = _calls[-1] if _calls and threading.current_thread() is threading.main_thread() else None
    if call is None:
        yield
        return
    call.open_cuts += 1
    try:
        if call.noted:
            raise Interrupted
        yield
    finally:
        call.open_cuts -= 1


def is_default() -> bool:
    """Tell whether Ctrl-C is left to Python, or to a call of ours in its place."""
    return _get_handler(signal.SIGINT) in (signal.default_int_handler, _handle)
