"""The line of ``alignsolve solve`` on a terminal, through a pseudo terminal."""

import contextlib
import json
import math
import os
import re
import select
import subprocess
import sys
import time

import pytest

import alignsolve as al
from alignsolve.cli.live import described
from tests.files import ROOT

pty = pytest.importorskip("pty", reason="this system has no pseudo terminals")

FOLDER = ROOT / "instances"
COMMAND = [sys.executable, "-m", "alignsolve", "solve"]
#: Seconds after which a test gives up.
PATIENCE = 120


def on_terminal(arguments, until=None):
    """Run the command on a terminal, press Ctrl-C once `until` shows; return text and code."""
    child, terminal = pty.fork()
    if child == 0:
        os.environ |= {"TERM": "xterm", "COLUMNS": "160"}
        os.execv(COMMAND[0], [*COMMAND, *arguments])
    output, started = b"", time.monotonic()
    with contextlib.suppress(OSError):  # Linux's way to say that the child has gone
        while time.monotonic() < started + PATIENCE:
            if select.select([terminal], [], [], 0.2)[0]:
                part = os.read(terminal, 1 << 16)
                if not part:
                    break
                output += part
            if until is not None and until in output:
                os.write(terminal, b"\x03")
                until = None
    with contextlib.suppress(ProcessLookupError):
        os.kill(child, 0 if time.monotonic() < started + PATIENCE else 9)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    os.close(terminal)
    plain = re.sub(rb"\x1b\[[0-9;?]*[A-Za-z]", b"", output)
    return plain.decode(errors="replace"), code


@pytest.mark.parametrize("backend", ["ortools-cpsat", "ortools-mip"])
def test_the_line_tells_and_ctrl_c_keeps_the_best_answer(backend, tmp_path):
    out = tmp_path / "plan.json"
    spec = FOLDER / "medium" / "scarce.toml"
    text, code = on_terminal(
        [str(spec), "--backend", backend, "--time-limit", "100", "--out", str(out)], until=b"gap"
    )
    number = r"[\d.e+]+"
    line = rf"solving 200 x 16: {backend}, best {number}, bound {number}, gap {number}% 0:\d\d:\d\d"
    assert re.search(line, text), text[-2000:]
    assert code == 0
    assert "feasible (interrupted)" in text
    problem = al.read_instance(spec)
    kept = al.read_solution(out, problem)
    assert al.certify(problem, kept.row_ind, kept.col_ind).feasible


def test_nothing_but_the_document_with_json():
    text, code = on_terminal([str(FOLDER / "small" / "uniform.toml"), "--json"])
    assert code == 0
    assert json.loads(text)["status"] == "optimal"


def test_nothing_where_there_is_no_terminal():
    done = subprocess.run(
        [*COMMAND, str(FOLDER / "small" / "scarce.toml"), "--backend", "greedy"],
        capture_output=True, text=True, check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "solving" not in done.stdout


def test_only_what_is_known_is_said():
    unknown = al.Progress("greedy", math.nan, math.inf, math.inf, 0.1)
    assert described(unknown) == "greedy"
    known = al.Progress("greedy", -1250000.0, math.inf, math.inf, 0.1)
    assert described(known) == "greedy, best -1250000"
    both = al.Progress("lagrangian", 999.0, 1000.0, 1 / 999, 0.1)
    assert described(both) == "lagrangian, best 999, bound 1000, gap 0.10%"
