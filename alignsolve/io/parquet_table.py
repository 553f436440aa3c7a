"""Long tables as Parquet, with the extra ``parquet`` (pyarrow)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np

from alignsolve.errors import ProblemError
from alignsolve.io.arrow_columns import ids_in, numbers_in
from alignsolve.io.files import fail, read_bytes
from alignsolve.io.table import Column, read, write
from alignsolve.model.limits import LIMITS, MAX_SIDE
from alignsolve.model.long_tables import (
    NO_NAMES,
    Ids,
    Origin,
    Table,
    known_names,
    numbers_of,
)
from alignsolve.model.sources.tables import pyarrow_for
from alignsolve.model.text import one_line

#: `read` and `write` are those of every table: formats are looked up by module.
__all__ = ["read", "read_table", "write", "write_table"]

#: Most rows that are read from any file.
MAX_ROWS = 64 * MAX_SIDE


def write_table(columns: dict[str, Column], stream: IO[bytes], path: str | Path) -> None:
    """Write columns of one length as a Parquet file."""
    arrow = pyarrow_for(path)
    # Columns of ids are strings even without rows.
    arrays = {name: arrow.array(column, arrow.string()) if isinstance(column, list) else
              arrow.array(np.ascontiguousarray(column)) for name, column in columns.items()}
    arrow.parquet.write_table(arrow.table(arrays), stream)


def read_table(
    path: str | Path, ids: tuple[str, ...], known: tuple[str, ...] | None,
    columns: Mapping[str, str] = NO_NAMES,
) -> Table:
    """Read a Parquet file into columns of ids and of numbers; ids alone if `known` is None."""
    origin = Origin(str(path), 1, lambda row: row + 1)
    with _opened(path) as (arrow, file):
        header = file.schema_arrow.names
        names = known_names(origin, header, ids, known, columns)
        table = file.read(columns=list(ids) if known is None else None)
        if known is None:
            names = table.column_names  # in the order of the file
        found = dict(zip(names, table.columns, strict=True))
        numbers = [name for name in names if name not in ids]
        return Table(
            origin,
            {name: _ids(arrow, origin, name, found[name]) for name in ids},
            {name: _numbers(arrow, origin, name, found[name]) for name in numbers},
            header,
        )


@contextmanager
def _opened(path: str | Path) -> Iterator[tuple[Any, Any]]:
    """Give pyarrow and an open file that does not hold far more rows than bytes."""
    arrow = pyarrow_for(path)
    read_bytes(path, first=4)  # the errors of missing files, folders and permissions
    try:
        with arrow.parquet.ParquetFile(path) as file:
            most = min(MAX_ROWS, max(LIMITS.free_cells,
                                     LIMITS.rows_per_byte * Path(path).stat().st_size))
            if file.metadata.num_rows > most:
                fail(path, f"declares {file.metadata.num_rows:,} rows; at most {most:,} are read "
                           f"from a file of its size")
            yield arrow, file
    except (ProblemError, MemoryError):
        raise
    except (arrow.ArrowException, OSError, UnicodeError) as error:
        fail(path, f"not a Parquet file that can be read: {one_line(error)[1:-1]}")


def _ids(arrow: Any, origin: Origin, name: str, column: Any) -> Ids:
    """Return a column of strings or whole numbers as ids."""
    kind = column.type
    if arrow.types.is_dictionary(kind):
        kind = kind.value_type
    if not (arrow.types.is_integer(kind) or arrow.types.is_string(kind)
            or arrow.types.is_large_string(kind)):
        origin.fail(f"column {name!r} has type {kind}; give strings or whole numbers")
    _refuse_missing(origin, name, column)
    return ids_in(column.cast(kind).dictionary_encode())


def _numbers(arrow: Any, origin: Origin, name: str, column: Any) -> Any:
    """Return a column of numbers as float64, or as float32 where it is."""
    kind, types = column.type, arrow.types
    if not (types.is_integer(kind) or types.is_floating(kind) or types.is_boolean(kind)):
        origin.fail(f"column {one_line(name)} has type {kind}; give numbers")
    _refuse_missing(origin, name, column)
    values = numbers_in(column.cast(arrow.uint8()) if types.is_boolean(kind) else column)
    bad = np.isnan(values) if values.dtype.kind == "f" else np.zeros(0, dtype=np.bool_)
    if bad.any():
        origin.fail(f"{name} is nan; give a number, inf or -inf", int(np.argmax(bad)))
    return numbers_of(name, values)


def _refuse_missing(origin: Origin, name: str, column: Any) -> None:
    if column.null_count:
        at = int(np.argmax(column.is_null().to_numpy()))
        origin.fail(f"{one_line(name)[1:-1]} is empty; give a value", at)
