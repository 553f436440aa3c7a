"""Checksums of whole files, kept in the file itself, and what to do where one does not fit."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import IO

from alignsolve.errors import AlignSolveError, CheckpointError
from alignsolve.io.files import previous

#: What stands in place of a SHA-256 while it is computed.
BLANK = "0" * 64

_PIECE = 1 << 20


def seal(stream: IO[bytes], at: int) -> None:
    """Put the SHA-256 of a file into it, where `BLANK` stands."""
    digest = _digest(stream, at)
    stream.seek(at)
    stream.write(digest)
    stream.seek(0, os.SEEK_END)


def is_sealed(stream: IO[bytes], at: int) -> bool:
    """Tell whether the SHA-256 in a file is that of all its other bytes."""
    stream.seek(at)
    return stream.read(len(BLANK)) == _digest(stream, at)


def _digest(stream: IO[bytes], at: int) -> bytes:
    """Return the SHA-256 of a file in hexadecimal digits, taken with `BLANK` at a place."""
    import hashlib  # loads OpenSSL

    found = hashlib.sha256()
    stream.seek(0)
    left = at
    while piece := stream.read(min(_PIECE, left)):
        found.update(piece)
        left -= len(piece)
    found.update(BLANK.encode())
    stream.seek(at + len(BLANK))
    while piece := stream.read(_PIECE):
        found.update(piece)
    return found.hexdigest().encode()


def refusal(
    path: Path, fault: str, anew: str, read: Callable[[Path], object]
) -> CheckpointError:
    """Return the error that refuses a file, and offers the one before it where `read` takes it.

    Parameters
    ----------
    path : Path
        The file.
    fault : str
        What is wrong.
    anew : str
        What to do where there is no sound one before.
    read : callable
        Reads a file of its kind, or raises `AlignSolveError`.
    """
    target = Path(os.path.realpath(path))
    before = previous(target)
    try:
        read(before)
    except AlignSolveError:
        advice = anew
    else:
        advice = (f"the one before it is sound; to go on from there: "
                  f"mv {shlex.quote(str(before))} {shlex.quote(str(target))}")
    return CheckpointError(f"{path}: {fault}; {advice}")
