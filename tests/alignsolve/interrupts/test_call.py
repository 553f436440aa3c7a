"""Ctrl-C in a call: an answer, or KeyboardInterrupt where no harm is done; never nothing."""

import importlib
import signal
import sys
import threading
import time

import pytest

from alignsolve import interrupts
from alignsolve.interrupts import Call, Interrupted, cuttable, deliver


def press():
    signal.raise_signal(signal.SIGINT)


def within(kind, *steps):
    """Take some steps in a call."""
    with Call(kind) as call:
        for step in steps:
            step()
    return call


def handler():
    return signal.getsignal(signal.SIGINT)


def test_the_handler_is_there_during_a_call_only():
    assert handler() is signal.default_int_handler
    with Call("answer"), Call("raise"):
        assert handler() is not signal.default_int_handler
    assert handler() is signal.default_int_handler
    with pytest.raises(ZeroDivisionError), Call("answer"):
        raise ZeroDivisionError
    assert handler() is signal.default_int_handler


@pytest.mark.parametrize("other", [signal.SIG_IGN, lambda *_: None])
def test_the_programs_own_handler_stays(other):
    signal.signal(signal.SIGINT, other)
    try:
        with Call("answer") as call:
            assert handler() is other
            press()
        assert handler() is other
        assert not call.noted
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def test_sigterm_has_no_handler_of_ours():
    before = signal.getsignal(signal.SIGTERM)  # Ray has one of its own
    with Call("answer"):
        assert signal.getsignal(signal.SIGTERM) is before


def test_other_threads_are_left_alone():
    seen = []

    def work():
        with Call("answer") as call, cuttable():
            seen.append((call.noted, handler()))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [(False, signal.default_int_handler)]


@pytest.mark.parametrize(("seconds", "raises"), [(1.9, True), (2.1, False)])
def test_the_second_raises_in_this_call_or_soon_after_in_the_next(monkeypatch, seconds, raises):
    now = [100.0]
    monkeypatch.setattr(interrupts, "clock", lambda: now[0])
    assert within("answer", press).noted
    now[0] += seconds
    if raises:
        with pytest.raises(KeyboardInterrupt):
            within("answer", press, pytest.fail)
    else:
        assert within("answer", press).noted
    now[0] += 1000
    # However slow the answer is.
    with pytest.raises(KeyboardInterrupt):
        within("answer", press, lambda: now.__setitem__(0, 9999), press, pytest.fail)


def test_raising_is_at_once_and_finishing_at_the_end():
    reached = []
    with pytest.raises(KeyboardInterrupt):
        within("raise", press, pytest.fail)
    with pytest.raises(KeyboardInterrupt):
        within("finish", press, press, lambda: reached.append("end"))
    assert reached == ["end"]


def test_what_must_be_whole_hands_over_to_the_call_around_it():
    assert within("answer", lambda: within("finish", press)).noted
    with pytest.raises(KeyboardInterrupt):
        within("raise", lambda: within("finish", press), pytest.fail)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_what_a_destructor_swallows_is_raised_in_the_end():
    class Closing:
        def __del__(self):
            press()

    with pytest.raises(KeyboardInterrupt), Call("raise"):
        Closing()


def test_an_error_does_not_hide_it():
    with pytest.raises(KeyboardInterrupt):
        within("finish", press, lambda: 1 / 0)


def test_a_part_can_be_cut_off_without_losing_the_call():
    with Call("answer") as call:
        with pytest.raises(Interrupted), cuttable():
            press()
        with pytest.raises(Interrupted), cuttable():
            pytest.fail("begun all the same")
    assert call.noted


def test_asking_gently_is_never_the_second():
    with Call("answer") as call:
        press()
        deliver(gently=True)
        deliver(gently=True)
    assert call.noted
    with pytest.raises(KeyboardInterrupt):
        deliver(gently=True)


MODULE = """
import signal
signal.raise_signal(signal.SIGINT)
loaded = True
"""


def wait():
    """Wait until something is raised."""
    for _ in range(3000):
        time.sleep(0.01)
    pytest.fail("swallowed")


@pytest.mark.parametrize("kind", ["raise", "answer"])
def test_an_import_is_never_left_halfway(tmp_path, monkeypatch, kind):
    (tmp_path / "half_loaded.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    first = [press] if kind == "answer" else []
    with pytest.raises(KeyboardInterrupt):
        within(kind, *first, lambda: importlib.import_module("half_loaded"), wait)
    assert sys.modules.pop("half_loaded").loaded
