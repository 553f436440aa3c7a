"""Long tables as CSV: comma, semicolon or tab between the columns."""

from __future__ import annotations

import contextlib
import csv
import io
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from alignsolve.io import table
from alignsolve.io.files import atomic_write, fail, one_line, read_text
from alignsolve.io.schema import MATRIX
from alignsolve.io.table import Column, Ids, Table
from alignsolve.model.arrays import IntArray
from alignsolve.model.large_integers import EXACT, has_large_integers
from alignsolve.model.problem import AlignmentProblem

if TYPE_CHECKING:
    from _csv import Reader

#: Rows converted at a time, so that a large table is never held as strings.
_CHUNK = 1 << 16


def read(path: str | Path, sense: str | None) -> AlignmentProblem:
    """Read a problem from a table of pairs and its companions; see `alignsolve.io.table`."""
    return table.read_tables(read_table, path, sense)


def write(problem: AlignmentProblem, path: str | Path) -> None:
    """Write a problem as a table of pairs and its two companions."""
    table.write_tables(partial(_write_stream, delimiter=_delimiter(path)), problem, path)


def write_columns(columns: dict[str, Column], path: str | Path) -> None:
    """Write columns of one length as CSV (tab-separated where the suffix is ``.tsv``)."""
    with atomic_write(path) as stream:
        _write_stream(columns, stream, _delimiter(path))


def _delimiter(path: str | Path) -> str:
    return "\t" if Path(path).suffix == ".tsv" else ","


def _write_stream(columns: dict[str, Column], stream: IO[bytes], delimiter: str) -> None:
    # float() of a float32 has more digits than it needs, but is the same number everywhere.
    lists = [column if isinstance(column, list) else column.tolist() for column in columns.values()]
    # Before Python 3.13 a carriage return alone is not quoted by itself.
    returns = any("\r" in cell for column in lists for cell in column if isinstance(cell, str))
    text = io.TextIOWrapper(stream, "utf-8", newline="")
    writer = csv.writer(text, delimiter=delimiter, lineterminator="\n",
                        quoting=csv.QUOTE_NONNUMERIC if returns else csv.QUOTE_MINIMAL)
    writer.writerow(columns)
    writer.writerows(zip(*lists, strict=True))
    text.flush()
    text.detach()


def csv_reader(text: str) -> Reader:
    """Return a strict reader of CSV, by the separator that its first line has most of."""
    delimiter = max(",;\t", key=text.split("\n", 1)[0].count)
    return csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)


def read_table(path: str | Path, ids: tuple[str, ...], known: tuple[str, ...]) -> Table:
    """Read a CSV file into columns of ids and of numbers."""
    reader = csv_reader(read_text(path))
    try:
        header = [name.strip() for name in next(reader, [])]
        if not any(header):
            fail(path, f"is empty; the first line names the columns: {', '.join(ids)}, ...")
        table.check_columns(path, header, ids, known)
        seen: dict[str, dict[str, int]] = {name: {} for name in ids}
        parts: dict[str, list[npt.NDArray[Any]]] = {
            name: [np.empty(0, np.int64 if name in ids else np.float64)] for name in header
        }
        for rows, lines in _chunks(path, reader, header):
            for name, words in zip(header, zip(*rows, strict=True), strict=True):
                parts[name].append(_codes(words, seen[name]) if name in seen else
                                   _numbers(path, name, words, lines))
    except csv.Error as error:
        fail(path, f"not CSV: {error}", reader.line_num)
    columns = {name: _joined(path, name, part) for name, part in parts.items()}
    return Table(path, 2, {name: Ids(columns.pop(name), list(seen[name])) for name in ids}, columns)


def _chunks(path: str | Path, reader: Reader, header: list[str]) -> (
    Iterator[tuple[list[list[str]], list[int]]]
):
    """Yield rows in chunks, with the line where each begins; blank ones at the end are left out."""
    rows, lines, waiting = list[list[str]](), list[int](), list[tuple[list[str], int]]()
    last = reader.line_num
    for row in reader:
        waiting.append((row, last + 1))
        last = reader.line_num
        if not any(row):
            continue
        for one, line in waiting:
            if len(one) != len(header):
                fail(path, f"{len(one)} cells under {len(header)} columns", line)
            rows.append(one)
            lines.append(line)
        waiting.clear()
        if len(rows) >= _CHUNK:
            yield rows, lines
            rows, lines = [], []
    if rows:
        yield rows, lines


def _codes(words: tuple[str, ...], codes: dict[str, int]) -> IntArray:
    """Number the words, those not seen before on from those seen."""
    return np.array([codes.setdefault(word, len(codes)) for word in words], dtype=np.int64)


def _numbers(
    path: str | Path, name: str, words: tuple[str, ...], lines: list[int]
) -> npt.NDArray[Any]:
    """Convert cells to numbers; "inf" and "-inf" are allowed."""
    try:
        values = np.array(words, dtype=np.float64)
    except ValueError:
        values = np.array([_number(word) for word in words])
    if np.isnan(values).any():
        at = int(np.argmax(np.isnan(values)))
        shown = one_line(words[at]) if words[at].strip() else "empty"
        fail(path, f"{name} is {shown}; give a number, inf or -inf", lines[at])
    if name in MATRIX.values() and ((np.abs(values) > EXACT) & np.isfinite(values)).any():
        with contextlib.suppress(ValueError):  # fractions, or infinite
            whole = np.array([int(word) for word in words], dtype=object)
            kind = np.uint64 if whole.max() >= 2**63 else np.int64
            if whole.min() >= np.iinfo(kind).min and whole.max() <= np.iinfo(kind).max:
                return whole.astype(kind)
    return values


def _joined(path: str | Path, name: str, parts: list[npt.NDArray[Any]]) -> npt.NDArray[Any]:
    """Return the chunks of a column as one; whole numbers beyond 2**53 stay what they are."""
    if not any(has_large_integers(part) for part in parts) or name not in MATRIX.values():
        return np.concatenate(parts)
    floats = [part for part in parts if part.dtype.kind == "f"]
    if any(not np.isfinite(part).all() or (part != np.rint(part)).any() for part in floats):
        fail(path, f"{name} has whole numbers beyond 2**53 beside fractions or infinities; take a "
                   f"common amount off all values")
    kind = np.uint64 if any(part.dtype == np.uint64 for part in parts) else np.int64
    if kind is np.uint64 and any((part < 0).any() for part in parts):
        fail(path, f"{name} has numbers below 0 beside others from 2**63 on; take a common amount "
                   f"off all values")
    return np.concatenate([part.astype(kind) for part in parts])


def _number(word: str) -> float:
    """Return the number that a word spells, or NaN."""
    try:
        return float(word)
    except ValueError:
        return np.nan
