"""Results on disk: JSON lines that survive a kill, and files written whole."""

from __future__ import annotations

import contextlib
import csv
import fcntl
import io
import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from alignsolve.bench.records import ROW_FIELDS, Row
from alignsolve.errors import ProblemError

#: Columns of the CSV file: of `Row`, those that say something on their own.
CSV_FIELDS = tuple(name for name in ROW_FIELDS if name != "key")


class Store:
    """The file ``results.jsonl`` of an output folder, open for appending.

    Parameters
    ----------
    folder : Path
        Made where it does not exist.

    Raises
    ------
    ProblemError
        If the folder cannot be written, or another bench is writing it.

    Notes
    -----
    A record is one line and one ``write`` to a file opened for appending, so
    a kill leaves at most one torn line, at the end; reading passes over it.
    Nothing is forced through the disk's own cache: a power cut may cost more.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / "results.jsonl"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._file = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o666)
        except OSError as error:
            raise ProblemError(f"cannot write {self.path}: {error.strerror}") from error
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._file)
            raise ProblemError(
                f"another bench is writing {self.path}; wait for it or give another folder"
            ) from error
        self._records, torn = read_records(self.path)
        if torn:
            os.write(self._file, b"\n")

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *error: object) -> None:
        os.close(self._file)

    def get(self, kind: str, key: str) -> dict[str, Any] | None:
        """Return the last record of a kind under a key, or None."""
        return self._records.get((kind, key))

    def put(self, kind: str, key: str, record: dict[str, Any]) -> None:
        """Append a record."""
        record = {"kind": kind, "key": key, **record}
        line = json.dumps(record, allow_nan=False) + "\n"
        os.write(self._file, line.encode())
        self._records[kind, key] = record


def read_records(path: Path) -> tuple[dict[tuple[str, str], dict[str, Any]], bool]:
    """Read a file of JSON lines.

    Returns
    -------
    records : dict
        The last record under each (kind, key); lines that are no record, such
        as a torn one, are left out.
    torn : bool
        Whether the last line lacks its end.
    """
    content = path.read_bytes()
    records = {
        (str(record["kind"]), str(record["key"])): record
        for record in _objects(content)
        if "kind" in record and "key" in record
    }
    return records, bool(content) and not content.endswith(b"\n")


def stored(path: Path) -> list[dict[str, Any]]:
    """Return all results of a file of JSON lines, in order; none where there is no file."""
    return list(_objects(path.read_bytes())) if path.exists() else []


def _objects(content: bytes) -> Iterator[dict[str, Any]]:
    """Yield the JSON objects among lines; other lines, such as a torn one, are passed over."""
    for line in content.split(b"\n"):
        with contextlib.suppress(ValueError):
            found = json.loads(line)
            if isinstance(found, dict):
                yield found


def append(path: Path, result: dict[str, Any]) -> None:
    """Add a line in one write, after what an interruption may have left, and force it to disk."""
    path.parent.mkdir(exist_ok=True)
    with path.open("a+b", buffering=0) as file:
        size = file.seek(0, os.SEEK_END)
        torn = size > 0 and os.pread(file.fileno(), 1, size - 1) != b"\n"
        line = json.dumps(result, default=float).encode() + b"\n"
        file.write(b"\n" + line if torn else line)
        os.fsync(file.fileno())


def write_csv(path: Path, rows: Iterable[Row]) -> None:
    """Write rows as CSV, in the order given, with numbers short enough to read."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(CSV_FIELDS)
    for row in rows:
        fields = row.to_json()
        writer.writerow([_cell(name, fields[name]) for name in CSV_FIELDS])
    write_whole(path, text.getvalue().encode())


def _cell(name: str, value: Any) -> Any:
    """Return a CSV cell: milliseconds and tenths of MiB are as much as can be measured."""
    if value is None:
        return ""
    if name.endswith("_seconds"):
        return f"{value:.3f}"
    if name.endswith("_mib"):
        return f"{value:.1f}"
    return f"{value:.12g}" if isinstance(value, float) else value


def write_whole(path: Path, content: bytes) -> None:
    """Write a file so that a reader sees the old or the new content, never a part."""
    beside = path.with_name(f".{path.name}.part")
    beside.write_bytes(content)
    beside.replace(path)
