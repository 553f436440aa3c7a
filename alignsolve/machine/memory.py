"""Memory: how much there is, what lack of it looks like, and living within a limit.

A limit on address space (``ulimit -v``, ``prlimit --as``) or on data (``--data``) is met
where libraries are loaded: under one, SciPy's OpenBLAS waits for ever instead of failing,
and others end the process. So room is asked for before they are loaded.
"""

from __future__ import annotations

import contextlib
import errno
import math
import mmap
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType

from alignsolve.kernels import cores
from alignsolve.machine.processes import machine_left, taken

MIB = 2**20

#: MiB of address space, and of data, that modules take when they are first imported, with room to
#: work: measured on Linux with numba 0.68, SciPy 1.17, ortools 9.15 and torch 2.13.
ROOM = {
    "numba": (300, 110),
    "scipy.linalg": (120, 60),
    "ortools": (100, 20),
    "ortools.sat": (260, 70),
    "torch": (800, 300),
}

#: Limit below which BLAS gets one thread: MiB, and MiB for each core. A thread takes 40 for its
#: buffers in each of the two copies that NumPy and SciPy bring.
FEW_THREADS, PER_CORE = 1024, 128

#: How errors that are no `MemoryError` speak of a lack of memory, in lower case.
SIGNS = ("failed to map segment", "cannot allocate memory", "can't allocate memory",
         "can't start new thread", "bad_alloc", "memoryerror", "out of memory",
         "memory allocation still failed")

#: Bytes below which nothing is asked of the machine.
LARGE = 2**28


def lack_of_memory(error: BaseException) -> str | None:
    """Return what an error says of a lack of memory, "" where nothing; None for other errors.

    Errors that led to it count: numba's and ortools' importers raise others over them.
    """
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, MemoryError):
            return str(cause)
        if getattr(cause, "errno", None) == errno.ENOMEM or tells_of_memory(str(cause)):
            return str(cause)
        cause = cause.__cause__ or cause.__context__
    return None


def tells_of_memory(text: str) -> bool:
    """Return whether the last words of a library speak of a lack of memory."""
    return any(sign in text.lower() for sign in SIGNS)


def shortage(needed: float) -> str | None:
    """Return why memory does not suffice, or None; for less than `LARGE` nothing is looked up.

    Parameters
    ----------
    needed : float
        Bytes.
    """
    if needed < LARGE or needed <= (left := available()):
        return None
    return f"needs about {_spelt(needed)} of memory, and {_spelt(left)} are left"


def _spelt(count: float) -> str:
    return f"{count / 2**30:,.1f} GiB"


def available() -> float:
    """Return the bytes that this process may still take.

    The least of what the machine has left, swap included, and what limits on the process
    and, on Linux, on its control groups leave.
    """
    beside = (limit - used for limit, used in zip(_limits(), taken(), strict=True))
    return max(0.0, min(machine_left(), *beside, *_left_in_groups()))


def _limits() -> tuple[float, float]:
    """Return the limits on address space and data of this process, in bytes."""
    try:
        import resource
    except ImportError:  # Windows
        return math.inf, math.inf
    soft = [resource.getrlimit(kind)[0] for kind in (resource.RLIMIT_AS, resource.RLIMIT_DATA)]
    space, data = (math.inf if limit == resource.RLIM_INFINITY else float(limit) for limit in soft)
    return space, data


def _left_in_groups() -> Iterator[float]:
    """Yield what control groups (version 2) leave, in bytes; infinity first."""
    yield math.inf
    with contextlib.suppress(OSError, ValueError, IndexError):
        own = Path("/proc/self/cgroup").read_text().split("::", 1)[1].splitlines()[0].strip("/")
        group = Path("/sys/fs/cgroup", own)
        for folder in (group, *group.parents[: len(Path(own).parts)]):
            with contextlib.suppress(OSError, ValueError):
                most = float((folder / "memory.max").read_text())  # "max" is no number
                cached = (folder / "memory.stat").read_text().split("inactive_file ", 1)[1]
                taken = float((folder / "memory.current").read_text())
                yield most - taken + float(cached.split()[0])


def live_within_limits() -> None:
    """Where memory is limited, let BLAS take little of it, and ask for room before imports."""
    limit = min(_limits())
    if math.isinf(limit):
        return
    if limit < (FEW_THREADS + PER_CORE * cores()) * MIB:
        os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    sys.meta_path.insert(0, _Importer())


class _Importer:
    """Finds no module; raises `MemoryError` where there is no room for what is imported."""

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> None:
        if name not in ROOM:
            return
        space, data = ROOM[name]
        for size, protection in ((space, mmap.PROT_READ), (data, mmap.PROT_WRITE)):
            try:
                mmap.mmap(-1, size * MIB, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, protection).close()
            except OSError:
                kind = "address space" if protection == mmap.PROT_READ else "data"
                raise MemoryError(f"{name} needs {size} MiB of {kind}, and the limit of this "
                                  f"process leaves less") from None
