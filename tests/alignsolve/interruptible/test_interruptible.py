"""Waiting for a solver, ending it, and what is left of it."""

import math
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import psutil
import pytest

from alignsolve.interruptible import (
    Calls,
    Waited,
    call,
    calls,
    ended_by_key,
    left_behind,
    wait_for,
    waiting,
)
from alignsolve.interrupts import Call, Interrupted
from tests.alignsolve.interruptible import calling
from tests.files import ROOT

LONG = 100.0


def stop_by_poll():
    return True


def stop_by_key():
    raise Interrupted


def is_gone(process):
    return not psutil.pid_exists(process) or psutil.Process(process).status() == "zombie"


def until(true):
    deadline = time.monotonic() + 60
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.parametrize("poll", [stop_by_poll, stop_by_key])
def test_a_call_left_behind_is_asked_twice_and_waited_for_at_the_end(monkeypatch, poll):
    registered, asked, release = [], [], threading.Event()
    monkeypatch.setattr(waiting.atexit, "register", lambda *what: registered.append(what))

    def stop(interrupted):
        asked.append(interrupted)
        return True

    def waited():
        return wait_for(lambda: release.wait(30), math.inf, stop, poll, 0.01)

    if poll is stop_by_poll:
        assert waited() == Waited(None, interrupted=True)
    else:
        with pytest.raises(Interrupted):
            waited()
    assert left_behind()
    release.set()
    until(lambda: not left_behind())
    assert asked == [True, True]
    assert len(registered) == 1


def test_short_calls_are_made_here_and_long_ones_elsewhere():
    matrix = np.arange(1 << 16, dtype=np.float64)
    here, _ = call(calling.process_of, seconds=1.0).value
    there, arguments = call(calling.process_of, matrix, seconds=LONG).value
    assert here == os.getpid() != there
    np.testing.assert_array_equal(arguments[0], matrix)
    assert is_gone(there)
    assert call(calling.be_noisy, seconds=LONG).value == "done"


def test_a_stopped_call_is_gone_and_what_it_told_stays():
    work = Calls()
    began = []

    def poll():
        if work.told is not None:
            began.extend(psutil.Process().children())
        return work.told is not None

    waited = wait_for(lambda: work(LONG, calling.tell_and_stay, "half way"), math.inf,
                      lambda interrupted: work.stop(), poll)
    assert (waited.value, waited.interrupted, work.told) == (None, True, "half way")
    assert began
    assert all(is_gone(process.pid) for process in began)
    assert not left_behind()
    # What is stopped does not begin again.
    assert work(LONG, calling.process_of) is None


def test_ctrl_c_kills_a_call_once_it_is_noted_and_one_that_raises_at_once():
    def children():
        return [child for child in psutil.Process().children() if not is_gone(child.pid)]

    def press():
        until(children)
        signal.raise_signal(signal.SIGINT)
        return noted()

    with Call("answer") as work:
        def noted():
            return work.noted

        with pytest.raises(Interrupted):
            ended_by_key(calling.tell_and_stay, print, 1, seconds=LONG, poll=press)
    assert not children()
    with pytest.raises(KeyboardInterrupt), Call("raise"):
        ended_by_key(calling.tell_and_stay, print, 1, seconds=LONG, poll=press)
    until(lambda: not children() and not left_behind())


def test_a_deadline_ends_a_call():
    waited = call(calling.tell_and_stay, 1, seconds=LONG, deadline=time.perf_counter() + 0.2)
    assert (waited.value, waited.interrupted) == (None, False)
    assert not left_behind()


def test_a_signal_comes_before_the_end_where_that_helps():
    work = Calls(gently=True)
    waited = wait_for(lambda: work(LONG, calling.wait_for_a_signal), math.inf,
                      lambda interrupted: work.stop(), lambda: work.told is not None,
                      grace=30)
    assert waited.value == "gently"


def test_errors_and_deaths_are_told():
    with pytest.raises(MemoryError, match="too large"):
        call(calling.fail, MemoryError("too large"), seconds=LONG)
    with pytest.raises(RuntimeError, match="its process was killed; perhaps memory was short"):
        call(calling.die, signal.SIGKILL, seconds=LONG)
    with pytest.raises(RuntimeError, match="ended with exit code 3: Check failed: a != b"):
        call(calling.die, 0, seconds=LONG)


@pytest.mark.parametrize("program", ["", "/nowhere/python", "/bin/true"])
def test_where_no_process_can_start_the_call_is_made_here(monkeypatch, program):
    monkeypatch.setattr(calls.sys, "executable", program)
    assert call(calling.process_of, seconds=LONG).value[0] == os.getpid()


def test_daemonic_workers_may_make_long_calls():
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    worker = context.Process(target=calling.from_daemonic_worker, args=(queue,), daemon=True)
    worker.start()
    process, (elsewhere, arguments) = queue.get(timeout=60)
    worker.join()
    assert process != elsewhere
    assert arguments == (1,)


NO_GUARD = """
import threading
from alignsolve.interruptible import Calls
from tests.alignsolve.interruptible import calling
work = Calls()
threading.Thread(target=work, args=(100.0, calling.tell_and_stay, 1), daemon=True).start()
while work.told is None:
    pass
print(work._process.pid, flush=True)
input()
"""


def test_nothing_is_left_of_a_program_that_is_killed():
    program = subprocess.Popen([sys.executable, "-c", NO_GUARD], stdin=subprocess.PIPE,
                               stdout=subprocess.PIPE, cwd=ROOT)
    process = int(program.stdout.readline())
    assert not is_gone(process)
    program.kill()
    program.communicate()
    until(lambda: is_gone(process))
