"""Long tables as Parquet, with the extra ``parquet`` (pyarrow)."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import IO, Any

import numpy as np

from alignsolve.errors import ProblemError
from alignsolve.io import table
from alignsolve.io.files import fail, one_line, read_bytes
from alignsolve.io.limits import LIMITS, MAX_SIDE, ReadLimits
from alignsolve.io.schema import MATRIX
from alignsolve.io.table import Column, Ids, Table
from alignsolve.model.large_integers import has_large_integers
from alignsolve.model.problem import AlignmentProblem

#: Most rows that are read from any file.
MAX_ROWS = 64 * MAX_SIDE


def read(path: str | Path, sense: str | None, limits: ReadLimits = LIMITS) -> AlignmentProblem:
    """Read a problem from a table of pairs and its companions; see `alignsolve.io.table`."""
    return table.read_tables(partial(read_table, limits=limits), path, sense)


def write(problem: AlignmentProblem, path: str | Path) -> None:
    """Write a problem as a table of pairs and its two companions."""
    arrow, parquet = _library(path)

    def write_table(columns: dict[str, Column], stream: IO[bytes]) -> None:
        # Columns of ids are strings even without rows.
        arrays = {name: arrow.array(column, arrow.string()) if isinstance(column, list) else
                  arrow.array(np.ascontiguousarray(column)) for name, column in columns.items()}
        parquet.write_table(arrow.table(arrays), stream)

    table.write_tables(write_table, problem, path)


def _library(path: str | Path) -> tuple[Any, Any]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        fail(path, "Parquet needs pyarrow: pip install 'alignsolve[parquet]'")
    return pyarrow, pyarrow.parquet


def read_table(
    path: str | Path, ids: tuple[str, ...], known: tuple[str, ...], limits: ReadLimits = LIMITS
) -> Table:
    """Read a Parquet file into columns of ids and of numbers."""
    arrow, parquet = _library(path)
    read_bytes(path, first=4)  # the errors of missing files, folders and permissions
    try:
        with parquet.ParquetFile(path) as file:
            table.check_columns(path, file.schema_arrow.names, ids, known)
            most = min(MAX_ROWS, max(limits.free_cells,
                                     limits.rows_per_byte * Path(path).stat().st_size))
            if file.metadata.num_rows > most:
                fail(path, f"declares {file.metadata.num_rows:,} rows; at most {most:,} are read "
                           f"from a file of its size")
            columns = file.read()
        return Table(
            path, 1,
            {name: _ids(arrow, path, name, columns[name]) for name in ids},
            {name: _numbers(arrow, path, name, columns[name])
             for name in columns.column_names if name not in ids},
        )
    except (ProblemError, MemoryError):
        raise
    except (arrow.ArrowException, OSError, UnicodeError) as error:
        fail(path, f"not a Parquet file that can be read: {one_line(error)[1:-1]}")


def _ids(arrow: Any, path: str | Path, name: str, column: Any) -> Ids:
    """Return a column of strings or whole numbers as ids."""
    kind = column.type
    if arrow.types.is_dictionary(kind):
        kind = kind.value_type
    if not (arrow.types.is_integer(kind) or arrow.types.is_string(kind)
            or arrow.types.is_large_string(kind)):
        fail(path, f"column {name!r} has type {kind}; give strings or whole numbers")
    _refuse_missing(path, name, column)
    coded = column.cast(kind).combine_chunks().dictionary_encode()
    return Ids(np.asarray(coded.indices, dtype=np.int64),
               [str(value) for value in coded.dictionary.to_pylist()])


def _numbers(arrow: Any, path: str | Path, name: str, column: Any) -> Any:
    """Return a column of numbers as float64, or as float32 where it is."""
    kind, types = column.type, arrow.types
    if not (types.is_integer(kind) or types.is_floating(kind) or types.is_boolean(kind)):
        fail(path, f"column {one_line(name)} has type {kind}; give numbers")
    _refuse_missing(path, name, column)
    values = column.to_numpy()
    bad = np.isnan(values) if values.dtype.kind == "f" else np.zeros(0, dtype=np.bool_)
    if bad.any():
        fail(path, f"{name} is nan; give a number, inf or -inf", 1 + int(np.argmax(bad)))
    if values.dtype == np.float32 or (name in MATRIX.values() and has_large_integers(values)):
        return values
    return values.astype(np.float64)


def _refuse_missing(path: str | Path, name: str, column: Any) -> None:
    if column.null_count:
        at = int(np.argmax(column.is_null().to_numpy()))
        fail(path, f"{one_line(name)[1:-1]} is empty; give a value", 1 + at)
