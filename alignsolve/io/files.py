"""Read and write files with limits, and say in one line where one is wrong."""

from __future__ import annotations

import errno
import json
import os
import re
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, NoReturn

from alignsolve.errors import ProblemError
from alignsolve.model.limits import LIMITS, MAX_TEXT_BYTES
from alignsolve.model.text import one_line
from alignsolve.model.whole_files import replacing

#: How gzip files start, and zip archives.
_GZIP, _ZIP = b"\x1f\x8b", b"PK\x03\x04"

#: JSON constants that Python reads and the standard forbids, and the strings around them.
_CONSTANTS = re.compile(r'"(?:[^"\\]|\\.)*"|(NaN|-?Infinity)')


def fail(
    path: str | Path, message: str, line: int | None = None, column: int | None = None
) -> NoReturn:
    """Raise `ProblemError` with ``file:line:column: message``."""
    place = "".join(f":{number}" for number in (line, column) if number is not None)
    raise ProblemError(f"{path}{place}: {message}")


@contextmanager
def located(path: str | Path) -> Iterator[None]:
    """Put the file's name before errors about its content; turn a lack of memory into one."""
    try:
        yield
    except ProblemError as error:
        text = str(error)
        if text.startswith(f"{path}:"):
            raise
        raise ProblemError(f"{path}: {text}") from None
    except MemoryError as error:
        fail(path, f"does not fit into memory{f': {error}' if str(error) else ''}")


def read_bytes(path: str | Path, limit: int = MAX_TEXT_BYTES, first: int | None = None) -> bytes:
    """Return the content of a regular file, unpacked where it is gzip, or its `first` bytes.

    Raises
    ------
    ProblemError
        If the file is missing, no regular file, not readable, or has more
        than `limit` bytes.
    """
    if "\0" in str(path):
        fail(one_line(path), "is not a file name")
    try:
        status = os.stat(path)
        if stat.S_ISDIR(status.st_mode):
            fail(path, "is a directory; give a file")
        if not stat.S_ISREG(status.st_mode):
            fail(path, "is not a regular file; save the data to a file first")
        if status.st_size > limit and first is None:
            fail(path, f"has {status.st_size:,} bytes; at most {limit:,} are read in this format")
        with open(path, "rb") as stream:
            is_packed = stream.read(2) == _GZIP
            stream.seek(0)
            if is_packed:
                return _unpacked(path, stream, limit, first)
            return stream.read(limit if first is None else first)
    except OSError as error:
        fail(path, f"cannot be read: {_reason(error)}")


def _unpacked(path: str | Path, stream: IO[bytes], limit: int, first: int | None) -> bytes:
    """Return what a gzip file holds, or the `first` bytes of it."""
    import gzip  # with zlib only where there is something to unpack
    import zlib

    size = os.fstat(stream.fileno()).st_size
    limit = min(limit, max(LIMITS.free_bytes, LIMITS.unpacked_ratio * size))
    try:
        with gzip.open(stream) as content:
            data = content.read(limit + 1 if first is None else first)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        fail(path, f"is not a complete gzip file: {one_line(error)[1:-1]}")
    if len(data) > limit:
        fail(path, f"has {size:,} bytes and would unpack to more than {limit:,}; unpack it first")
    return data


def _reason(error: OSError) -> str:
    """Return the operating system's words, in lower case."""
    text = error.strerror or type(error).__name__
    return text[:1].lower() + text[1:]


def read_text(path: str | Path, limit: int = MAX_TEXT_BYTES) -> str:
    """Return a UTF-8 file as text, without a byte order mark."""
    return decoded(path, read_bytes(path, limit))


def decoded(path: str | Path, data: bytes) -> str:
    """Return the content of a file as `read_text` does."""
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        fail(path, "is UTF-16 text; save it as UTF-8")
    if data.startswith(_ZIP):
        fail(path, "is a zip archive; unpack it, and give the file inside")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        fail(path, f"byte 0x{data[error.start]:02x} is not UTF-8 text; save the file as UTF-8",
             *position(data.decode("latin-1"), error.start))
    if "\0" in text:
        fail(path, "holds a null character, so it is not a text file", *position(text, "\0"))
    return text


def position(text: str, mark: str | int) -> tuple[int, int]:
    """Return line and column, from 1, of an offset or of the first `mark` in `text`."""
    offset = mark if isinstance(mark, int) else text.index(mark)
    return text.count("\n", 0, offset) + 1, offset - (text.rfind("\n", 0, offset) + 1) + 1


def parse_json(path: str | Path, text: str) -> Any:
    """Parse strict JSON: no NaN, no repeated keys; errors carry line and column."""

    def pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(items)
        if len(found) < len(items):
            keys = [key for key, _ in items]
            twice = next(key for at, key in enumerate(keys) if key in keys[:at])
            fail(path, f"key {one_line(twice)} appears twice in one object")
        return found

    def constant(name: str) -> NoReturn:
        found = next(match for match in _CONSTANTS.finditer(text) if match[1])
        fail(path, f'{name} is not JSON; write numbers, "inf" or "-inf"',
             *position(text, found.start()))

    try:
        return json.loads(text, object_pairs_hook=pairs, parse_constant=constant)
    except json.JSONDecodeError as error:
        reason = error.msg[:1].lower() + error.msg[1:].removesuffix(" starting at")
        fail(path, f"not JSON: {reason}", error.lineno, error.colno)
    except RecursionError:
        fail(path, "nested too deeply for a problem or solution")
    except ProblemError:
        raise
    except ValueError:  # Python's limit on the digits of a whole number
        fail(path, "holds a whole number of more than 4,300 digits")


def json_text(document: dict[str, Any]) -> str:
    """Return a document as JSON text: one key a line, one row of a matrix a line."""
    parts = []
    for key, value in document.items():
        if isinstance(value, list) and value and isinstance(value[0], list):
            rows = ",\n  ".join(json.dumps(row, allow_nan=False) for row in value)
            encoded = f"[\n  {rows}\n ]"
        else:
            encoded = json.dumps(value, allow_nan=False)
        parts.append(f" {json.dumps(key)}: {encoded}")
    return "{\n" + ",\n".join(parts) + "\n}\n"


@contextmanager
def atomic_write(path: str | Path, keep: bool = False) -> Iterator[IO[bytes]]:
    """Open a file for writing that appears under its name only when complete.

    The data goes to a temporary file in the same folder, which then replaces
    `path`; a power cut leaves the old or the new one. What is not a regular file
    (a terminal, a pipe) is written directly.

    Parameters
    ----------
    path : path
        The file.
    keep : bool
        Whether to keep what is replaced, as `previous` says.

    Raises
    ------
    ProblemError
        If the file cannot be written.
    """
    target = Path(os.path.realpath(path))
    if target.is_dir():
        fail(path, "is a directory; give a file")
    try:
        if target.exists() and not target.is_file():
            with open(path, "wb") as stream:
                yield stream
            return
        with replacing(target, previous(target) if keep else None) as stream:
            yield stream
    except OSError as error:
        fail_to_write(path, error)


def fail_to_write(path: str | Path, error: OSError) -> NoReturn:
    """Raise `ProblemError` for a file, or a folder, that the operating system does not take."""
    raise ProblemError(f"{path}: cannot be written: {_reason(error)}") from error


class TornWriteError(OSError):
    """A full disk took a part of what was to be appended."""


def append_whole(file: int, data: bytes) -> None:
    """Write to a descriptor in one call.

    Raises
    ------
    TornWriteError
        If a part of `data` was written.
    OSError
        If nothing was.
    """
    if os.write(file, data) < len(data):
        raise TornWriteError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def append_text(path: str | Path, text: str) -> None:
    """Append to a file, or raise `ProblemError` naming it."""
    try:
        with open(path, "ab") as stream:
            append_whole(stream.fileno(), text.encode())
    except OSError as error:
        fail_to_write(path, error)


def previous(path: Path) -> Path:
    """Return where the file that was replaced is kept: ``state.before.npz`` for ``state.npz``."""
    return path.with_name(f"{path.stem}.before{path.suffix}")


def write_text(path: str | Path, parts: Iterable[str]) -> None:
    """Write the parts of a text one after the other as UTF-8, whole or not at all."""
    with atomic_write(path) as stream:
        stream.writelines(part.encode() for part in parts)
