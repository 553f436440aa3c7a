"""Run code in fresh processes."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import alignsolve

PACKAGE = Path(alignsolve.__file__).parent

#: Another user than root, whom no folder stops.
NOBODY = 65534


def run(code, *, nobody=False, **environment):
    """Run Python code in a fresh process, as nobody where root is asked to; return its output."""
    settings = {"PYTHONPATH": str(PACKAGE.parent)} | environment
    others = {key: value for key, value in os.environ.items() if key not in UNSET}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=250,
        cwd=tempfile.gettempdir(), env={**others, **settings},
        user=NOBODY if nobody and os.geteuid() == 0 else None,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


#: What tells where compiled code is kept.
UNSET = ("NUMBA_CACHE_DIR", "XDG_CACHE_HOME", "NUMBA_DISABLE_JIT")
