"""Standard output for what a command prints, and for nothing else."""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
from collections.abc import Iterator
from typing import IO


@contextlib.contextmanager
def own_stdout() -> Iterator[None]:
    """Send what libraries write to descriptor 1 to standard error.

    Raises
    ------
    SystemExit
        With code 1, where what was printed could not be written in the end.

    Notes
    -----
    Libraries in C++ print to the descriptor even when told to be silent, and a
    line of theirs before a JSON document spoils it. ``sys.stdout`` writes to a
    copy of the descriptor meanwhile. Where it is closed or has another
    descriptor, as in notebooks, there is nothing to keep apart.
    """
    outer = sys.stdout
    if not _is_descriptor_1(outer):
        yield
        return
    outer.flush()
    elsewhere = _elsewhere()  # first: a copy of descriptor 1 could take the number of a closed 2
    inner = open(os.dup(1), "w", encoding=outer.encoding, errors=outer.errors)  # noqa: SIM115
    _replace_descriptor_1(elsewhere)
    sys.stdout = inner
    try:
        yield
    finally:
        sys.stdout = outer
        # C keeps a buffer of its own, which must not come after the document either.
        with contextlib.suppress(AttributeError, OSError, TypeError):
            ctypes.CDLL(None).fflush(None)
        _replace_descriptor_1(os.dup(inner.fileno()))
        _close(inner)


def _is_descriptor_1(stream: IO[str]) -> bool:
    try:
        return stream.fileno() == 1
    except (AttributeError, OSError, ValueError):
        return False


def _elsewhere() -> int:
    """Return a new descriptor of standard error, or of nowhere where that is closed."""
    try:
        return os.dup(2)
    except OSError:
        return os.open(os.devnull, os.O_WRONLY)


def _replace_descriptor_1(file: int) -> None:
    """Let descriptor 1 be that of `file`, which is closed."""
    os.dup2(file, 1)
    os.close(file)


def _close(stream: IO[str]) -> None:
    """Write what is left; where that fails, say so unless the reader is gone, and exit."""
    try:
        stream.close()
    except BrokenPipeError:
        raise SystemExit(1) from None
    except OSError as error:
        print(f"error: standard output cannot be written: {error.strerror}", file=sys.stderr)
        raise SystemExit(1) from None
