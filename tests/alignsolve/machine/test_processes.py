"""What processes take is the same from /proc and from psutil."""

import math
import os
import subprocess
import sys

import pytest

from alignsolve.machine import processes

#: Starts a process that waits, and says that one's number.
PARENT = """
import subprocess, sys
code = "print(flush=True); input()"
with subprocess.Popen([sys.executable, "-c", code], stdin=-1, stdout=-1) as child:
    child.stdout.readline()
    print(child.pid, flush=True)
    input()
    child.communicate(b"1\\n")
"""


@pytest.mark.skipif(not processes.ON_LINUX, reason="reads /proc")
def test_linux_and_psutil_say_the_same(monkeypatch):
    with subprocess.Popen([sys.executable, "-c", PARENT], stdin=subprocess.PIPE,
                          stdout=subprocess.PIPE) as parent:
        child = int(parent.stdout.readline())

        def told():
            return (*processes.taken(), processes.machine_left(),
                    processes.resident(os.getpid()), processes.resident(child))

        linux, found = told(), processes.descendants(os.getpid())
        with monkeypatch.context() as patch:
            patch.setattr(processes, "ON_LINUX", False)
            assert told() == pytest.approx(linux, rel=0.2)
            assert processes.descendants(parent.pid) == [child]
        assert processes.descendants(parent.pid) == [child] and {parent.pid, child} <= set(found)
        parent.communicate(b"1\n")
    for on_linux in (True, False):
        monkeypatch.setattr(processes, "ON_LINUX", on_linux)
        assert processes.resident(child) == 0.0 and processes.descendants(child) == []


@pytest.mark.parametrize(("meminfo", "kib"), [
    ("MemFree: 10 kB\nMemAvailable: 40 kB\nBuffers: 1 kB\nCached: 20 kB\nSwapFree: 5 kB\n", 45),
    ("MemFree: 10 kB\nBuffers: 1 kB\nCached: 20 kB\nSwapFree: 5 kB\n", 36),
    ("MemFree: 10 kB\nSwapFree: 5 kB\n", math.inf),
    ("MemAvailable: many\n", math.inf),
    ("MemAvailable:\n", math.inf),
    (None, math.inf),
])
def test_memory_of_kernels_that_tell_less(meminfo, kib, monkeypatch, tmp_path):
    monkeypatch.setattr(processes, "PROC", tmp_path)
    monkeypatch.setattr(processes, "ON_LINUX", True)
    if meminfo is not None:
        (tmp_path / "meminfo").write_text(meminfo)
    assert processes.machine_left() == 1024 * kib


@pytest.mark.skipif(not processes.ON_LINUX, reason="psutil is needed elsewhere")
def test_the_core_needs_no_psutil_on_linux():
    code = ("import sys; sys.modules['psutil'] = None\n"
            "import alignsolve.bench.runner, alignsolve.machine.memory as memory\n"
            "print(memory.available() > 0)")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "True\n"
