"""The file name ``-``: standard input, and standard output."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import click

from alignsolve.errors import ProblemError

Read = TypeVar("Read")

#: What stands for standard input, and for standard output.
STANDARD = "-"

#: Where a command keeps the name of its copy of standard input.
_COPY = f"{__name__}.copy"


def local_copy(path: str) -> str:
    """Return a file's path, and for ``-`` that of a copy of standard input.

    The copy is a file, as readers seek and map, and goes when the command ends. It has
    no suffix: the content tells the format.
    """
    if path != STANDARD:
        return path
    context = click.get_current_context()
    if _COPY not in context.meta:
        import tempfile  # for "-" alone

        folder = context.with_resource(tempfile.TemporaryDirectory(prefix="alignsolve-"))
        copy = Path(folder) / "stdin"
        with copy.open("wb") as stream:
            shutil.copyfileobj(sys.stdin.buffer, stream)
        context.meta[_COPY] = str(copy)
    return str(context.meta[_COPY])


def read_from(path: str, read: Callable[[str], Read]) -> Read:
    """Return what a reader makes of a file, or of standard input, which errors then name."""
    place = local_copy(path)
    try:
        return read(place)
    except ProblemError as error:
        if path != STANDARD:
            raise
        raise ProblemError(str(error).replace(place, "standard input")) from None


@contextmanager
def written_to(path: str) -> Iterator[str]:
    """Yield the path to write to; what is written to that of ``-`` is printed, as JSON."""
    if path != STANDARD:
        yield path
        return
    import tempfile  # for "-" alone

    with tempfile.TemporaryDirectory(prefix="alignsolve-") as folder:
        copy = Path(folder) / "stdout.json"
        yield str(copy)
        sys.stdout.write(copy.read_text(encoding="utf-8"))
