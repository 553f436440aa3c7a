"""Waiting for a solver's thread: what is left behind, and who waits for it at the end."""

import math
import threading

import pytest

from alignsolve.backends import interruptible


def stop_by_poll():
    return True


def stop_by_key():
    raise KeyboardInterrupt


@pytest.mark.parametrize(("poll", "waited_for"), [(stop_by_poll, 1), (stop_by_key, 0)])
def test_a_call_left_behind_is_waited_for_unless_ctrl_c_ended_it(monkeypatch, poll, waited_for):
    registered, asked, release = [], [], threading.Event()
    quick = interruptible.Patience(stop=0.01)
    monkeypatch.setattr(interruptible.atexit, "register", lambda *what: registered.append(what))

    def stop(interrupted):
        asked.append(interrupted)
        return True

    waited = interruptible.wait_for(lambda: release.wait(30), math.inf, stop, poll, quick)
    release.set()
    assert waited.value is None
    assert waited.interrupted
    assert asked == [True]
    assert len(registered) == waited_for
