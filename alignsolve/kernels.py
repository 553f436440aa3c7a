"""Where compiled kernels are kept, and the word to the user while they compile."""

from __future__ import annotations

import contextlib
import importlib
import logging
import os
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any

from alignsolve.interrupts import Call

logger = logging.getLogger("alignsolve")

_told = False
_prepared = False
_seen: set[str] = set()


def cores() -> int:
    """Return the number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _writable(folder: Path) -> bool:
    """Say whether a folder is there, or can be made, and takes files."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


def _load() -> None:
    """Import numba, if it is there, with what it imports at the first call of a kernel."""
    with contextlib.suppress(ImportError, AttributeError):
        target = importlib.import_module("numba.core.registry").cpu_target
        target.typing_context.refresh()
        target.target_context.refresh()


def prepare() -> None:
    """Make sure that numba finds a place for compiled kernels; call before importing them.

    Notes
    -----
    Numba keeps them in ``NUMBA_CACHE_DIR``, else beside the sources, else in the
    user's cache folder, and cannot even be imported against if it may write to
    none of them. In that last case a folder of the user's own in the system's
    folder for temporary files is taken. Kernels that cannot be kept, on a full disk,
    are used all the same.
    """
    global _prepared
    if not _prepared:
        with Call("finish"):
            _prepare()
            _prepared = True


def _prepare() -> None:
    # In a thread, where no handler of the program's own can break it either: numba that is
    # imported halfway cannot be imported again.
    loading = threading.Thread(target=_load)
    loading.start()
    loading.join()
    import numba

    _keep_if_possible()
    if numba.config.CACHE_DIR:
        return
    if _writable(Path(__file__).parent / "__pycache__"):
        return
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    if _writable(home / "numba"):
        return
    user = os.getuid() if hasattr(os, "getuid") else os.environ.get("USERNAME", "user")
    folder = Path(tempfile.gettempdir()) / f"alignsolve-{user}"
    folder.mkdir(mode=0o700, exist_ok=True)
    if hasattr(os, "getuid") and folder.stat().st_uid != os.getuid():
        # Another user's folder could hold another user's machine code.
        folder = Path(tempfile.mkdtemp(prefix="alignsolve-"))
    numba.config.CACHE_DIR = str(folder)


def _keep_if_possible() -> None:
    """Let numba go on where it cannot keep a kernel on disk; it would raise."""
    from numba.core.caching import Cache

    keep = Cache.save_overload

    def keep_if_possible(self: Any, signature: Any, data: Any) -> None:
        try:
            keep(self, signature, data)
        except OSError as error:
            logger.info("a compiled kernel cannot be kept: %s", error)

    Cache.save_overload = keep_if_possible


def is_compiled(kernel: Any, dtype: str) -> bool:
    """Say whether a kernel is compiled, or kept, for a matrix of this dtype."""
    if any(dtype in str(signature) for signature in kernel.signatures):
        return True
    try:
        kept = kernel._cache._cache_file._load_index()
    except Exception:  # numba's own business, and different in other versions
        return False
    return any(dtype in str(key[0]) for key in kept)


def announce(kernels: tuple[Any, ...], dtype: str) -> None:
    """Say once that kernels are being compiled, if they are: to the log and a terminal."""
    global _told
    if dtype in _seen:
        return
    _seen.add(dtype)
    if _told or all(is_compiled(kernel, dtype) for kernel in kernels):
        return
    _told = True
    message = "alignsolve: compiling the exchange solver, once (about half a minute)"
    logger.info(message)
    if sys.stderr is not None and sys.stderr.isatty():
        print(message, file=sys.stderr)
