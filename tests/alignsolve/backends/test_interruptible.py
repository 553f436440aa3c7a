"""Waiting for a solver's thread: what is left behind, and who waits for it at the end."""

import math
import threading

import pytest

from alignsolve.backends import interruptible


def test_a_call_left_behind_is_asked_to_stop_and_waited_for(monkeypatch):
    registered, asked, release = [], [], threading.Event()
    quick = interruptible.Patience(stop=0.01)
    monkeypatch.setattr(interruptible.atexit, "register", lambda *what: registered.append(what))

    def stop(interrupted):
        asked.append(interrupted)
        return True

    waited = interruptible.wait_for(lambda: release.wait(30), math.inf, stop, lambda: True, quick)
    release.set()
    assert waited.value is None
    assert waited.interrupted
    assert asked == [True]
    assert len(registered) == 1


def test_an_exception_in_the_waiting_thread_stops_the_call():
    asked, release = [], threading.Event()

    def pressed():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interruptible.wait_for(lambda: release.wait(30), math.inf, asked.append, pressed)
    release.set()
    assert asked == [True]
