"""Parquet and Arrow files as a source: a row per client, a column per expert."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from alignsolve.errors import ProblemError
from alignsolve.model.arrays import FloatArray
from alignsolve.model.sources.base import FitnessSource

#: Suffixes of Arrow's own format, also called Feather.
ARROW_SUFFIXES = (".arrow", ".feather", ".ipc")


class TableSource(FitnessSource):
    """A Parquet or Arrow file, or a folder of them: a row per client, a column per expert.

    Parameters
    ----------
    path : path
        A file, or a folder whose files are taken in the order of their names.
    columns : sequence of str, optional
        Columns of the experts; default all columns, which must be numbers.

    Raises
    ------
    ProblemError
        If pyarrow is missing, a file cannot be read, or a column is missing or
        of the wrong type.

    Notes
    -----
    A block is a row group (Parquet) or a record batch (Arrow): write them small,
    about 2**19 entries, since one of them is in memory per thread. Fitness is
    float32 if all columns are, else float64. Needs the extra ``parquet``.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> import pyarrow as pa
    >>> from pyarrow import parquet
    >>> import alignsolve as al
    >>> with TemporaryDirectory() as folder:
    ...     table = pa.table({"vision": [3.0, 2.0], "text": [1.0, 2.5]})
    ...     parquet.write_table(table, f"{folder}/fitness.parquet")
    ...     source = al.TableSource(f"{folder}/fitness.parquet")
    ...     print(source.shape, source.block(0).tolist())
    (2, 2) [[3.0, 1.0], [2.0, 2.5]]
    """

    def __init__(self, path: str | Path, columns: list[str] | None = None) -> None:
        self.path = str(Path(path).absolute())
        self.files = _files(self.path)
        found = [_Reader(file) for file in self.files]
        self.columns = list(columns or found[0].schema.names)
        kinds = [kind for reader in found for kind in reader.types_of(self.columns)]
        single = all(map(found[0].arrow.types.is_float32, kinds))
        self.homes = [(f, g) for f, reader in enumerate(found) for g in range(len(reader.sizes))]
        sizes = np.array([size for reader in found for size in reader.sizes], dtype=np.int64)
        edges = np.append(0, np.cumsum(sizes)).astype(np.int64)
        super().__init__((int(edges[-1]), len(self.columns)),
                         np.float32 if single else np.float64, edges)  # fmt: skip

    def block(self, k: int) -> FloatArray:
        """Read row group or record batch k."""
        file, group = self.homes[k]
        table = _Reader(self.files[file]).read(group, columns=self.columns)
        out = np.empty((table.num_rows, len(self.columns)), self.dtype)
        for j, name in enumerate(self.columns):
            column = table.column(name)
            if column.null_count:
                raise ProblemError(f"{self.files[file]}: column {name!r} has empty cells; give "
                                   f"-inf to forbid a pair")
            out[:, j] = column.to_numpy()
        return out


def pyarrow_for(path: str | Path) -> Any:
    """Return pyarrow with its module ``parquet``, or raise `ProblemError` with the pip line."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise ProblemError(
            f"{path}: Parquet needs pyarrow: pip install 'alignsolve[parquet]'"
        ) from None
    return pyarrow


class _Reader:
    """What is in one file, by row group or record batch."""

    #: Returns one row group or record batch, with some columns at least.
    read: Callable[..., Any]

    def __init__(self, path: str) -> None:
        self.path = path
        self.arrow = pyarrow = pyarrow_for(path)
        try:
            if path.endswith(ARROW_SUFFIXES):
                file = pyarrow.ipc.open_file(pyarrow.memory_map(path))
                batches = range(file.num_record_batches)
                self.sizes = [file.get_batch(k).num_rows for k in batches]
                self.schema = file.schema
                self.read = lambda group, columns: file.get_batch(group)
            else:
                file = pyarrow.parquet.ParquetFile(path)
                meta = file.metadata
                self.sizes = [meta.row_group(k).num_rows for k in range(meta.num_row_groups)]
                self.schema = file.schema_arrow
                self.read = file.read_row_group
        except (pyarrow.ArrowException, OSError) as error:
            first = str(error).partition("\n")[0]
            raise ProblemError(
                f"{path}: not a Parquet or Arrow file that can be read: {first}"
            ) from None

    def types_of(self, columns: list[str]) -> list[Any]:
        """Return the types of columns, or raise where one is missing or holds no numbers."""
        types, found = self.arrow.types, []
        for name in columns:
            at = self.schema.get_field_index(name)
            if at < 0:
                raise ProblemError(f"{self.path}: has no column {name!r}; give the same columns "
                                   f"in every file, each once")
            kind = self.schema.field(at).type
            if not (types.is_floating(kind) or types.is_integer(kind)):
                raise ProblemError(f"{self.path}: column {name!r} has type {kind}; give numbers, "
                                   f"a column per expert, or name the experts' columns")
            found.append(kind)
        return found


def _files(path: str) -> list[str]:
    """Return the data files at a path, in order."""
    where = Path(path)
    if not where.is_dir():
        if not where.exists():
            raise ProblemError(f"{path}: no such file or folder")
        return [path]
    suffixes = (".parquet", *ARROW_SUFFIXES)
    files = sorted(str(p) for p in where.iterdir() if p.suffix in suffixes)
    if not files:
        raise ProblemError(f"{path}: holds no file ending in {', '.join(suffixes)}")
    return files
