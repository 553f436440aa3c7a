"""SIGTERM and Ctrl-C for command lines, sent to processes of their own."""

import signal
import subprocess
import sys

import pytest

import alignsolve as al
from alignsolve.cli.terminating import run_command
from alignsolve.generators import generate
from tests.files import ROOT

#: Says on standard error that it has an answer, and gets all the time it needs to write it.
SOLVE = """
import sys, time
from contextlib import contextmanager
from types import SimpleNamespace
import alignsolve.cli.solve, alignsolve.cli.terminating as terminating
from alignsolve.cli import main

@contextmanager
def live_line(text, quiet):
    def show(state):
        if state.objective_value == state.objective_value:
            print("has an answer", file=sys.stderr, flush=True)
    yield show

alignsolve.cli.solve.live_line = live_line
terminating.time = SimpleNamespace(sleep=lambda seconds: time.sleep(100))
sys.exit(main(sys.argv[1:]))
"""

STUCK = """
import sys, time
from alignsolve.cli.terminating import run_command

def stuck():
    print("begun", flush=True)
    while True:
        try:
            time.sleep(10)
        except KeyboardInterrupt:
            pass

sys.exit(run_command(stuck, "told to end", seconds=0.1))
"""

QUICK = """
import os, signal, sys, time
from alignsolve.cli.terminating import run_command

def quick():
    os.kill(os.getpid(), signal.SIGTERM)
    sys.exit("not reached")

def parent():
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(write, b".")
        time.sleep(100)
        os._exit(0)
    os.read(read, 1)
    os.kill(child, signal.SIGTERM)
    assert os.waitpid(child, 0)[1] == signal.SIGTERM
    time.sleep(0.3)
    return 3

before = signal.getsignal(signal.SIGTERM)
print(run_command(parent, seconds=0), signal.getsignal(signal.SIGTERM) is before, flush=True)
sys.exit(run_command(quick, "told to end") - 140)
"""


def start(script, *words):
    return subprocess.Popen([sys.executable, "-c", script, *words], stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, text=True, cwd=ROOT,
                            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 0)])
def test_the_best_answer_is_written(tmp_path, number, code):
    problem = generate("gap-d", seed=3, agents=20, jobs=100)
    al.write_instance(problem, tmp_path / "gap.json")
    out = tmp_path / "answer.json"
    command = start(SOLVE, "solve", str(tmp_path / "gap.json"), "--backend", "ortools-cpsat",
                    "--out", str(out))
    assert "has an answer" in command.stderr.readline()
    command.send_signal(number)
    text, _ = command.communicate(timeout=100)
    assert command.returncode == code
    assert "feasible (interrupted)" in text
    answer = al.read_solution(out, problem)
    assert al.certify(problem, answer.row_ind, answer.col_ind).feasible


def test_whatever_it_is_at_a_process_ends():
    command = start(STUCK)
    assert command.stdout.readline() == "begun\n"
    command.send_signal(signal.SIGTERM)
    assert command.communicate(timeout=100) == ("", "told to end\n")
    assert command.returncode == 143


def test_a_childs_sigterm_is_its_own_and_the_handler_goes_with_the_command():
    command = start(QUICK)
    assert command.communicate(timeout=100) == ("3 True\n", "told to end\n")
    assert command.returncode == 143


def test_what_fails_leaves_no_handler():
    before = signal.signal(signal.SIGTERM, signal.SIG_DFL)  # Ray has one of its own
    try:
        with pytest.raises(ZeroDivisionError):
            run_command(lambda: 1 // 0)
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    finally:
        signal.signal(signal.SIGTERM, before)
