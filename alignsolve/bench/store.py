"""Results on disk: JSON lines that survive a kill, and files written whole."""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import io
import json
import math
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from alignsolve.bench import quality
from alignsolve.bench.records import Row
from alignsolve.bench.score import Judgement
from alignsolve.errors import ProblemError
from alignsolve.io.files import TornWriteError, append_whole, atomic_write, fail_to_write
from alignsolve.model.whole_files import hold, remove_leftovers

#: Columns of the CSV file: of `Row`, those that say something on their own, and time to quality.
CSV_FIELDS = (*(field.name for field in dataclasses.fields(Row)
                if field.name not in ("key", "incumbents")), *quality.FIELDS)


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
            fail_to_write(self.path, error)
        if not hold(self._file, otherwise=True):
            os.close(self._file)
            raise ProblemError(
                f"another bench is writing {self.path}; wait for it or give another folder"
            )
        remove_leftovers(folder)
        self._records, self._torn = read_records(self.path)

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *error: object) -> None:
        os.close(self._file)

    def get(self, kind: str, key: str) -> dict[str, Any] | None:
        """Return the last record of a kind under a key, or None."""
        return self._records.get((kind, key))

    def put(self, kind: str, key: str, record: dict[str, Any]) -> None:
        """Append a record.

        Raises
        ------
        ProblemError
            If the disk is full; what it took of the record is passed over later.
        """
        record = {"kind": kind, "key": key, **record}
        try:
            append_line(self._file, json.dumps(record, allow_nan=False), self._torn)
        except OSError as error:
            self._torn |= isinstance(error, TornWriteError)
            fail_to_write(self.path, error)
        self._torn = False
        self._records[kind, key] = record


def append_line(file: int, line: str, torn: bool = False) -> None:
    """Write a line in one go, after the end of the last one where that is torn."""
    append_whole(file, b"\n" * torn + line.encode() + b"\n")


def read_lines(path: Path) -> tuple[list[dict[str, Any]], bool]:
    """Return the records of a file of JSON lines, and whether the last line lacks its end.

    Lines that are no record, such as a torn one, are left out.
    """
    content = path.read_bytes()
    records = []
    for line in content.split(b"\n"):
        with contextlib.suppress(ValueError):
            record = json.loads(line)
            if isinstance(record, dict):
                records.append(record)
    return records, bool(content) and not content.endswith(b"\n")


def read_records(path: Path) -> tuple[dict[tuple[str, str], dict[str, Any]], bool]:
    """Return the last record under each (kind, key), and the second of `read_lines`."""
    found, torn = read_lines(path)
    return {(str(record["kind"]), str(record["key"])): record
            for record in found if {"kind", "key"} <= record.keys()}, torn


def write_csv(path: Path, judgements: Iterable[Judgement]) -> None:
    """Write rows as CSV, in the order given, with numbers short enough to read."""
    text = io.StringIO()
    writer = csv.DictWriter(text, CSV_FIELDS, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    for one in judgements:
        cells = vars(one.row) | one.quality.figures()
        writer.writerow({name: _cell(name, value) for name, value in cells.items()})
    write_whole(path, text.getvalue().encode())


def _cell(name: str, value: Any) -> Any:
    """Return a CSV cell: milliseconds and tenths of MiB are as much as can be measured."""
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return ""
    if name.endswith("_seconds"):
        return f"{value:.3f}"
    if name.endswith("_mib"):
        return f"{value:.1f}"
    return f"{value:.12g}" if isinstance(value, float) else value


def write_whole(path: Path, content: bytes) -> None:
    """Write a file so that a reader sees the old or the new content, never a part."""
    with atomic_write(path) as stream:
        stream.write(content)
