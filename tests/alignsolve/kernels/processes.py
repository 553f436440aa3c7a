"""Run code in fresh processes."""

import ctypes
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import alignsolve

PACKAGE = Path(alignsolve.__file__).parent

#: Of prctl(2): take a right from all processes that are started; the right to write anywhere.
PR_CAPBSET_DROP, CAP_DAC_OVERRIDE = 24, 1


def obey_rights():
    """Let folders that are read-only stop root, too."""
    if os.geteuid() == 0:
        assert ctypes.CDLL(None).prctl(PR_CAPBSET_DROP, CAP_DAC_OVERRIDE, 0, 0, 0) == 0


def run(code, *, bound=False, **environment):
    """Run Python code in a fresh process, bound to the rights of files or not; return its output.

    Root is bound by taking a capability: another user may not be able to run this Python.
    """
    settings = {"PYTHONPATH": str(PACKAGE.parent)} | environment
    others = {key: value for key, value in os.environ.items() if key not in UNSET}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=250,
        cwd=tempfile.gettempdir(), env={**others, **settings},
        preexec_fn=obey_rights if bound else None,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


#: What tells where compiled code is kept.
UNSET = ("NUMBA_CACHE_DIR", "XDG_CACHE_HOME", "NUMBA_DISABLE_JIT")
