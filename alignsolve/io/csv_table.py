"""Long tables as CSV: comma, semicolon or tab between the columns."""

from __future__ import annotations

import contextlib
import csv
import io
import itertools
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from alignsolve.io.csv_fast import Columns, read_rows
from alignsolve.io.files import decoded, fail, read_bytes
from alignsolve.io.table import Column, read, write
from alignsolve.model.arguments import MATRIX
from alignsolve.model.foreign import as_integers
from alignsolve.model.large_integers import EXACT, MIXED, has_large_integers
from alignsolve.model.long_tables import NO_NAMES, Ids, Origin, Table, known_names
from alignsolve.model.text import counted, one_line

if TYPE_CHECKING:
    from _csv import Reader

#: `read` and `write` are those of every table: formats are looked up by module.
__all__ = ["read", "read_table", "write", "write_table"]

#: Rows converted at a time, so that a large table is never held as strings.
_CHUNK = 1 << 16

#: Characters in which a header is looked for first.
_HEAD = 1 << 16

#: What is said first of a text file that is to be a solution and has not its columns.
_NO_SOLUTION = "is neither a solution in JSON nor a table of pairs: "

#: What a line has that is not blank.
_FILLED = re.compile(r'[^\s,;"]')


def write_table(columns: dict[str, Column], stream: IO[bytes], path: str | Path) -> None:
    """Write columns of one length as CSV, tab-separated where the suffix is ``.tsv``."""
    # float() of a float32 has more digits than it needs, but is the same number everywhere.
    lists = [column if isinstance(column, list) else column.tolist() for column in columns.values()]
    # Before Python 3.13 a carriage return alone is not quoted by itself.
    returns = any("\r" in cell for column in lists for cell in column if isinstance(cell, str))
    text = io.TextIOWrapper(stream, "utf-8", newline="")
    delimiter = "\t" if Path(path).suffix == ".tsv" else ","
    writer = csv.writer(text, delimiter=delimiter, lineterminator="\n",
                        quoting=csv.QUOTE_NONNUMERIC if returns else csv.QUOTE_MINIMAL)
    writer.writerow(columns)
    writer.writerows(zip(*lists, strict=True))
    text.flush()
    text.detach()


def csv_reader(text: str) -> Reader:
    """Return a strict reader of CSV, by the separator that its first filled line has most of."""
    filled = _FILLED.search(text)
    at = filled.start() if filled else 0
    end = text.find("\n", at)
    first = text[text.rfind("\n", 0, at) + 1 : end if end >= 0 else len(text)]
    delimiter = max(",;\t", key=first.count)
    return csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)


def filled_rows(reader: Reader) -> Iterator[tuple[int, list[str]]]:
    """Yield the rows that are not blank, each with the line where it begins."""
    last = reader.line_num
    for row in reader:
        if any(row):
            yield last + 1, row
        last = reader.line_num


def read_header(reader: Reader) -> tuple[int, list[str]]:
    """Return the line of the first row that holds more than white space, and its cells."""
    for line, row in filled_rows(reader):
        header = [name.strip() for name in row]
        if any(header):
            return line, header
    return 1, []


def read_table(
    path: str | Path, ids: tuple[str, ...], known: tuple[str, ...] | None,
    columns: Mapping[str, str] = NO_NAMES,
) -> Table:
    """Read a CSV file into columns of ids and of numbers; ids alone if `known` is None."""
    data = read_bytes(path)
    text, header = decoded(path, data), list[str]()
    # The reader copies what it is given: of a large table first no more than the header.
    reader = csv_reader(text[: text.rfind("\n", 0, _HEAD) + 1])
    try:
        with contextlib.suppress(csv.Error):
            at, header = read_header(reader)
        if not header:
            reader = csv_reader(text)
            at, header = read_header(reader)
        if not header:
            fail(path, f"is empty; the first line names the columns: {', '.join(ids)}, ...")
        origin = Origin(str(path), at, lambda row: _line_of(text, row))
        names = known_names(origin, header, ids, known, columns, _NO_SOLUTION)
        kept = names if known is not None else [name for name in names if name in ids]
        start = _after_lines(data, reader.line_num)
        found = read_rows(data, start, reader.dialect.delimiter, names, ids, kept)
        if found is None:
            reader = csv_reader(text)
            read_header(reader)
            found = _read_slowly(origin, reader, names, ids, kept)
    except csv.Error as error:
        fail(path, f"not CSV: {error}", reader.line_num)
    return Table(origin, *found, header)


def _line_of(text: str, row: int) -> int:
    """Return the line where a row begins, from 1; the rows are counted from 0, after the header."""
    reader = csv_reader(text)
    read_header(reader)
    return next(itertools.islice(filled_rows(reader), row, None))[0]


def _after_lines(data: bytes, lines: int) -> int:
    """Return where a number of lines ends."""
    at = 0
    for _ in range(lines):
        at = data.find(b"\n", at) + 1 or len(data)
    return at


def _read_slowly(
    origin: Origin, reader: Reader, names: list[str], ids: tuple[str, ...], kept: list[str]
) -> Columns:
    """Read the rows by Python's own reader, which alone says what is wrong."""
    codes: dict[str, dict[str, int]] = {name: {} for name in ids}
    parts: dict[str, list[npt.NDArray[Any]]] = {
        name: [np.empty(0, np.int64 if name in ids else np.float64)] for name in kept
    }
    done = 0
    filled = _checked_rows(origin, reader, len(names))
    while rows := list(itertools.islice(filled, _CHUNK)):
        for name, words in zip(names, zip(*rows, strict=True), strict=True):
            if name in codes:
                seen = codes[name]  # ids are numbered by their first appearance
                part = np.array([seen.setdefault(word, len(seen)) for word in words])
            elif name not in parts:
                continue
            else:
                part = _numbers(origin, name, words, done)
            parts[name].append(part)
        done += len(rows)
    columns = {name: _joined(origin, name, part) for name, part in parts.items()}
    return {name: Ids(columns.pop(name), list(codes[name])) for name in ids}, columns


def _checked_rows(origin: Origin, reader: Reader, width: int) -> Iterator[list[str]]:
    """Yield the rows that are not blank, each as wide as the header."""
    for line, row in filled_rows(reader):
        if len(row) != width:
            fail(origin.name, f"{counted(len(row), 'cell')} under {counted(width, 'column')}", line)
        yield row


def _numbers(
    origin: Origin, name: str, words: tuple[str, ...], first: int
) -> npt.NDArray[Any]:
    """Convert the cells of rows from `first` on to numbers; "inf" and "-inf" are allowed."""
    try:
        values = np.array(words, dtype=np.float64)
    except ValueError:
        values = np.array([_number(word) for word in words])
    if np.isnan(values).any():
        at = int(np.argmax(np.isnan(values)))
        shown = one_line(words[at]) if words[at].strip() else "empty"
        # German and French spreadsheets have commas in numbers; before three digits a comma
        # may mark thousands.
        comma = re.fullmatch(r"[+-]?\d+,(?!\d{3}$)\d+", words[at].strip())
        right = "a decimal point in place of the comma" if comma else "a number, inf or -inf"
        origin.fail(f"{name} is {shown}; give {right}", first + at)
    if name in MATRIX.values() and ((np.abs(values) > EXACT) & np.isfinite(values)).any():
        with contextlib.suppress(ValueError):  # fractions, or infinite
            whole = as_integers([int(word) for word in words])
            return values if whole is None else whole
    return values


def _joined(origin: Origin, name: str, parts: list[npt.NDArray[Any]]) -> npt.NDArray[Any]:
    """Return the chunks of a column as one; whole numbers beyond 2**53 stay what they are."""
    if name not in MATRIX.values() or not any(map(has_large_integers, parts)):
        return np.concatenate(parts)
    whole = as_integers([number for part in parts for number in part.tolist()])
    return origin.fail(f"{name} {MIXED}") if whole is None else whole


def _number(word: str) -> float:
    """Return the number that a word spells, or NaN."""
    try:
        return float(word)
    except ValueError:
        return np.nan
