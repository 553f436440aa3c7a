"""Compiled kernels on disk: one file for each, found wherever one was written.

Files, unlike numba's own cache, need no index: processes that compile at once cannot hurt each
other, and a folder that cannot be written is still read. A file's name tells the kernel, the type
of its first array, the Python and the source that it belongs to; the rest is a checksum.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from alignsolve.kernels.arguments import kind_of

logger = logging.getLogger(__name__)

#: The package's folder.
HOME = Path(__file__).parent.parent

TAG = f"cp{sys.version_info[0]}{sys.version_info[1]}"


def _checksum(text: str) -> str:
    """Return SHA-256 in hexadecimal digits."""
    import hashlib

    return hashlib.sha256(text.encode()).hexdigest()


def is_writable(folder: Path) -> bool:
    """Say whether a folder is there, or can be made, and takes files."""
    import tempfile  # with hashlib it takes megabytes, as below

    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


def _of_user() -> Path | None:
    """Return the user's folder for what can be made again, if there is a home."""
    try:
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "alignsolve"
    except RuntimeError:
        return None


def _temporary() -> Path | None:
    """Return a folder for temporary files that nobody else can put machine code into."""
    import tempfile

    user = os.getuid() if hasattr(os, "getuid") else os.environ.get("USERNAME", "user")
    try:
        folder = Path(tempfile.gettempdir()) / f"alignsolve-{user}"
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
    except OSError:
        return None
    is_own = not hasattr(os, "getuid") or (
        found.st_uid == os.getuid() and not found.st_mode & 0o022
    )
    return folder if is_own and not folder.is_symlink() else None


class Places:
    """Where compiled kernels are read and written.

    Notes
    -----
    They are looked for in ``NUMBA_CACHE_DIR``, beside the sources, in the user's cache
    folder and in a temporary one, and written to the first of these that takes files: where
    ``NUMBA_CACHE_DIR`` is set, there or nowhere. Where nothing can be written, they are compiled
    in memory.
    """

    @functools.cached_property
    def named(self) -> list[Path]:
        """The folder that the environment names, if it does."""
        folder = os.environ.get("NUMBA_CACHE_DIR")
        return [Path(folder) / f"alignsolve-{self.copy}"] if folder else []

    @functools.cached_property
    def found(self) -> list[Path]:
        """Folders beside the sources, of the user, and for temporary files."""
        users = [folder / self.copy for folder in (_of_user(), _temporary()) if folder is not None]
        return [HOME / "__pycache__" / "kernels", *users]

    @property
    def copy(self) -> str:
        """A name for this copy of the package: another one has other kernels."""
        return _checksum(str(HOME))[:10]

    @functools.cached_property
    def target(self) -> Path | None:
        """The folder to write to, or None."""
        target = next(filter(is_writable, self.named or self.found), None)
        if target is None:
            logger.info("compiled kernels cannot be kept: no folder can be written")
        return target

    @functools.cached_property
    def names(self) -> dict[str, Path]:
        """Every file that there is, by its name."""
        names: dict[str, Path] = {}
        for folder in reversed(self.named + self.found):
            with contextlib.suppress(OSError):
                names.update((name, folder / name) for name in os.listdir(folder))
        return names


places = Places()


@functools.cache
def _stamp(file: str) -> tuple[int, int]:
    """Return what changes with a source file: its time in nanoseconds, and its bytes."""
    try:
        found = os.stat(file)
    except OSError:
        return 0, 0
    return found.st_mtime_ns, found.st_size


def exist(stem: str, kind: str) -> bool:
    """Tell whether a kernel of any source is there, compiled for a type of the first array."""
    start = f"{stem}-{kind}-{TAG}-"
    return any(name.startswith(start) for name in places.names)


class KernelFiles:
    """The files of one kernel; what numba asks of a cache.

    Parameters
    ----------
    source : callable
        The function as it was written.
    """

    cache_path = None

    def __init__(self, source: Callable[..., Any]) -> None:
        module = source.__module__.removeprefix("alignsolve.")
        self.source = source
        self.stem = f"{module}.{source.__qualname__}"

    @functools.cached_property
    def stamp(self) -> str:
        """What changes with the source file, and with those of the kernels that are compiled in."""
        times, sizes = zip(*map(_stamp, self._sources(set())), strict=True)
        return f"{sum(times):x}.{sum(sizes):x}"

    def _sources(self, seen: set[KernelFiles]) -> set[str]:
        """Return the source files of this kernel and of those that it calls, but for `seen`."""
        seen.add(self)
        code, known = self.source.__code__, self.source.__globals__
        found = {code.co_filename}
        for name in code.co_names:
            files = getattr(known.get(name), "files", None)
            if isinstance(files, KernelFiles) and files not in seen:
                found |= files._sources(seen)
        return found

    def prefix(self, kind: str) -> str:
        """Return how names of its files begin, for a type of the first array."""
        return f"{self.stem}-{kind}-{TAG}-{self.stamp}-"

    def exist(self, kind: str) -> bool:
        """Tell whether it is there, compiled for a type of the first array."""
        start = self.prefix(kind)
        return any(name.startswith(start) for name in places.names)

    def hold(self, types: tuple[Any, ...], context: Any) -> bool:
        """Tell whether there is code for numba's types of arguments on this processor."""
        return self._name(types, context.codegen()) in places.names

    def load_overload(self, signature: Any, context: Any) -> Any:
        """Return compiled code, or None."""
        context.refresh()
        path = places.names.get(self._name(signature, context.codegen()))
        if path is None:
            return None
        import pickle

        from numba.core.compiler import CompileResult

        try:
            return CompileResult._rebuild(context, *pickle.loads(path.read_bytes()))
        except Exception as error:  # damaged, or gone
            logger.info("a compiled kernel cannot be read: %s: %s", path, error)
            return None

    def save_overload(self, signature: Any, compiled: Any) -> None:
        """Keep compiled code, where there is a place."""
        folder = places.target
        if folder is None or compiled.library.has_dynamic_globals:
            return
        from numba.core.serialize import dumps

        name = self._name(signature, compiled.codegen)
        try:
            self._forget_others(folder)
            _write(folder / name, dumps(compiled._reduce()))
        except OSError as error:
            logger.info("a compiled kernel cannot be kept: %s", error)
            return
        places.names[name] = folder / name

    def _forget_others(self, folder: Path) -> None:
        """Remove files of this kernel that belong to an earlier source."""
        for name in [name for name in places.names if name.startswith(f"{self.stem}-")]:
            is_old = f"-{TAG}-" in name and f"-{self.stamp}-" not in name
            if is_old and places.names.pop(name).parent == folder:
                (folder / name).unlink(missing_ok=True)

    def _name(self, signature: Any, codegen: Any) -> str:
        """Return the name of the file of a signature."""
        from numba import __version__

        args = getattr(signature, "args", signature)
        code = self.source.__code__
        key = repr((__version__, [str(arg) for arg in args], codegen.magic_tuple(),
                    code.co_code, code.co_names))  # fmt: skip
        return self.prefix(kind_of(args)) + _checksum(key)[:20]


def _write(path: Path, data: bytes) -> None:
    """Write a file whole, or not at all."""
    import tempfile

    handle, name = tempfile.mkstemp(dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        os.chmod(name, 0o644)
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise
