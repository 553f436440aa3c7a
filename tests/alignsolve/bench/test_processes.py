"""What the bench knows of processes."""

import os
import subprocess
import sys

from alignsolve.bench.processes import Family, resident_mib


def test_the_memory_of_processes_that_a_run_started_counts():
    code = "held = b'x' * (64 << 20); print('ready', flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE,
                          stdout=subprocess.PIPE) as child:
        child.stdout.readline()
        family = Family(os.getpid())
        assert family.resident_mib() >= resident_mib(os.getpid()) + 48
        child.communicate()
    assert resident_mib(child.pid) == 0
