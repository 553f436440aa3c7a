"""The versions and the machine behind a result."""

from __future__ import annotations

import contextlib
import hashlib
import platform
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from alignsolve.kernels import cores

#: Libraries whose version may change a result.
LIBRARIES = ("numpy", "scipy", "ortools", "networkx", "numba")

#: Parts of the package that only read arguments, count and print.
_NO_PART = ("cli", "describe", "bench/")

#: Parts of the bench that measure.
_MEASURES = ("bench/measure.py", "bench/processes.py", "bench/worker.py")


def environment() -> dict[str, str]:
    """Return versions and machine, as text.

    A result is reused only in the environment it came from. The version of
    alignsolve carries a fingerprint of its sources, so that a changed solver
    is measured again though its version number is the same.
    """
    here = {name: str(value) for name, value in machine().items()}
    libraries = dict.fromkeys(LIBRARIES, "missing") | versions(LIBRARIES)
    return {
        "python": here.pop("python"), **libraries,
        "alignsolve": f"{version('alignsolve')}+{_fingerprint()}", **here,
    }


def versions(names: Iterable[str]) -> dict[str, str]:
    """Return the versions of those distributions that are installed."""
    found = {}
    for name in names:
        with contextlib.suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def machine() -> dict[str, str | int]:
    """Return the interpreter and the machine it runs on."""
    return {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "processor": processor(),
        "cores": cores(),
    }


def _fingerprint() -> str:
    """Return a short digest of the package's sources."""
    package = Path(__file__).parents[1]
    digest = hashlib.sha256()
    for path in sorted(package.rglob("*.py")):
        name = path.relative_to(package).as_posix()
        if name in _MEASURES or not name.startswith(_NO_PART):
            digest.update(name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:8]


def processor() -> str:
    """Return the processor's name as far as the system tells."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in text.splitlines() if "model name" in line]
    return names[0] if names else platform.machine()
