"""Files that belong together: the SHA-256 of each stands beside the first, as `sha256sum` writes.

Whoever writes a set replaces the list of digests first, then the files that complete
the first one, and that last. So a set that was written in part is missing its first
file, or is refused.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO

from alignsolve.io.files import atomic_write, fail, read_bytes

#: What the list of digests is called, after the name of the first file.
SUFFIX = ".sha256"


def write_set(writers: Mapping[Path, Callable[[IO[bytes]], None]]) -> None:
    """Write files that belong together, and their digests.

    Parameters
    ----------
    writers : mapping of Path to callable
        Writes the content of each file to a stream; first the file that the others complete.

    Raises
    ------
    ProblemError
        If one cannot be written; its name is then untouched.
    """
    lines = []
    with ExitStack() as stack:  # what is opened last appears first
        for path, write in writers.items():
            stream = stack.enter_context(atomic_write(path))
            write(stream)
            if not stream.readable():  # a pipe or a device
                continue
            stream.flush()
            os.fsync(stream.fileno())  # now, so that all then appear at about the same time
            stream.seek(0)
            lines.append(_line(stream, path))
        if len(lines) == len(writers):
            stream = stack.enter_context(atomic_write(_list_of(next(iter(writers)))))
            stream.write("".join(lines).encode())


@contextmanager
def as_written(first: Path, *others: Path) -> Iterator[None]:
    """Refuse files that do not belong together, or are replaced while the body reads them.

    Files without a list of digests are taken as they are.

    Raises
    ------
    ProblemError
        Naming the file that does not fit, and how to accept it.
    """
    paths = [_list_of(first), first, *others]
    before = [_stamp(path) for path in paths]
    if before[0] is not None:
        _check(first, [path for path, stamp in zip(paths[1:], before[1:], strict=True) if stamp])
    yield
    if before != [_stamp(path) for path in paths]:
        fail(first, "was written while it was being read; read it again")


def _check(first: Path, paths: list[Path]) -> None:
    """Refuse files that are not those of a list."""
    listing = _list_of(first)
    found, lines = read_bytes(listing), []
    for path in paths:
        read_bytes(path, first=1)  # the errors of folders and permissions
        with path.open("rb") as stream:
            lines.append(_line(stream, path))
    if sorted(found.split(b"\n")) == sorted("".join(lines).encode().split(b"\n")):
        return
    odd = next((path.name for path, line in zip(paths, lines, strict=True)
                if line.encode() not in found), "a file that is not there")
    fail(first, f"does not belong together with what was written with it: {odd} is not as in "
                   f"{listing.name}. Writing was cut short, or a file was changed; write them "
                   f"again, or, to take the files as they are, remove {listing}")


def _list_of(path: Path) -> Path:
    return path.with_name(path.name + SUFFIX)


def _line(stream: IO[bytes], path: Path) -> str:
    """Return the line of a file in a list of digests."""
    return f"{hashlib.file_digest(stream, 'sha256').hexdigest()}  {path.name}\n"  # type: ignore[arg-type]


def _stamp(path: Path) -> tuple[int, int, int] | None:
    """Return what changes when a file is replaced; None where there is none."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns
