"""Large CSV tables by pyarrow or polars, where these and Python's reader cannot differ.

What follows is given up, and left to `alignsolve.io.csv_table`, wherever the two could read
another thing, or one of them nothing: that reader alone accepts, refuses and words errors.
"""

from __future__ import annotations

import csv
import importlib.util
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from alignsolve.io.arrow_columns import ids_in, numbers_in
from alignsolve.model.large_integers import EXACT
from alignsolve.model.long_tables import Ids

#: Bytes of rows from which on a library is worth importing.
LARGE = 1 << 20

#: What is read: columns of ids, and of numbers.
Columns = tuple[dict[str, Ids], dict[str, npt.NDArray[Any]]]

_QUOTE, _NEWLINE, _RETURN = b'"\n\r'


def read_rows(
    data: bytes, start: int, delimiter: str, names: list[str], ids: Iterable[str],
    kept: list[str],
) -> Columns | None:
    """Read the rows of a table by a library that is installed.

    Parameters
    ----------
    data : bytes
        A UTF-8 file.
    start : int
        Where its rows begin.
    delimiter : str
        What stands between cells.
    names : list of str
        The columns, all distinct.
    ids : iterable of str
        Those that hold ids; the others hold numbers.
    kept : list of str
        Those that are read.

    Returns
    -------
    columns : tuple, or None
        Ids and numbers (float64); None where the rows are few, no library is installed, or
        anything is not plain: a cell that is no number, a row with other cells, quotes within a
        cell, whole numbers beyond 2**53.
    """
    library = _library() if len(data) - start >= LARGE else None
    if library is None:
        return None
    if data.startswith(b"\xef\xbb\xbf", start):  # which libraries take for a mark of the file
        return None
    rows = memoryview(data)[start:]
    quoted = _is_quoted(np.frombuffer(rows, dtype=np.uint8), ord(delimiter))
    if quoted is None or (b"\r" in data and data.count(b"\r") != data.count(b"\r\n")):
        return None
    if _may_exceed(data, start, csv.field_size_limit()):
        return None
    found = _LIBRARIES[library](rows, delimiter, names, frozenset(ids), kept, quoted)
    if found is None:
        return None
    for values in found[1].values():
        finite = np.isfinite(values)
        if np.isnan(values).any() or (np.abs(values, where=finite, out=np.zeros_like(values))
                                      > EXACT).any():
            return None
    # Without numbers an empty cell may be a blank line.
    return None if not found[1] and any("" in part.names for part in found[0].values()) else found


def _library() -> str | None:
    """Return the first library that is installed."""
    return next((name for name in _LIBRARIES if importlib.util.find_spec(name)), None)


def _is_quoted(rows: npt.NDArray[np.uint8], delimiter: int) -> bool | None:
    """Tell whether cells are quoted as a whole; None where there are other quotes."""
    at = np.flatnonzero(rows == _QUOTE)
    if not at.size:
        return False
    if at.size % 2:
        return None
    opening, closing = at[::2], at[1::2]
    before = rows[opening[opening > 0] - 1]
    after = rows[closing[closing < rows.size - 1] + 1]
    plain = np.isin(before, (delimiter, _NEWLINE)).all() and np.isin(
        after, (delimiter, _NEWLINE, _RETURN)).all()
    short = (closing - opening).max() <= csv.field_size_limit()
    return True if plain and short else None


def _may_exceed(data: bytes, start: int, limit: int) -> bool:
    """Tell whether a cell may have more characters than Python's reader takes."""
    step = max(1, limit // 2)
    return any(data.find(b"\n", at, at + step) < 0 for at in range(start, len(data) - step, step))


def _by_arrow(
    rows: memoryview, delimiter: str, names: list[str], ids: frozenset[str], kept: list[str],
    quoted: bool,
) -> Columns | None:
    """Read rows by pyarrow."""
    import pyarrow
    from pyarrow import csv as arrow_csv

    text = pyarrow.dictionary(pyarrow.int32(), pyarrow.string())
    try:
        table = arrow_csv.read_csv(
            pyarrow.py_buffer(rows),
            arrow_csv.ReadOptions(column_names=names),
            arrow_csv.ParseOptions(delimiter=delimiter, newlines_in_values=quoted),
            arrow_csv.ConvertOptions(
                column_types={name: text if name in ids else pyarrow.float64() for name in kept},
                include_columns=kept,
                null_values=[], strings_can_be_null=False, check_utf8=False,
            ),
        )
    except pyarrow.ArrowInvalid:
        return None
    found = {name: ids_in(table[name]) for name in kept if name in ids}
    return found, {name: numbers_in(table[name]) for name in kept if name not in ids}


def _by_polars(
    rows: memoryview, delimiter: str, names: list[str], ids: frozenset[str], kept: list[str],
    quoted: bool,
) -> Columns | None:
    """Read rows by polars."""
    import polars

    numbers = set(kept) - ids
    kinds = {name: polars.Float64 if name in numbers else polars.String for name in names}
    try:
        table = polars.read_csv(
            bytes(rows), has_header=False, separator=delimiter, schema=kinds,
            quote_char='"' if quoted else None,
        ).select(kept)  # fmt: skip
    except polars.exceptions.PolarsError:
        return None
    if any(table.null_count().row(0)):
        return None
    found = {}
    for name in kept:
        if name in ids:
            distinct = table[name].unique(maintain_order=True)
            codes = table[name].cast(polars.Enum(distinct)).to_physical().to_numpy()
            found[name] = Ids(codes.astype(np.int64), distinct.to_list())
    return found, {name: table[name].to_numpy() for name in numbers}


_LIBRARIES: dict[str, Callable[..., Columns | None]] = {"pyarrow": _by_arrow, "polars": _by_polars}
