"""Parquet and Arrow files as a source: a row per client, a column per expert."""

from __future__ import annotations

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
        self.columns = list(columns or found[0].names)
        for reader in found:
            reader.check(self.columns)
        single = all(reader.is_single(self.columns) for reader in found)
        self.homes = [(f, g) for f, reader in enumerate(found) for g in range(len(reader.sizes))]
        sizes = np.array([size for reader in found for size in reader.sizes], dtype=np.int64)
        edges = np.append(0, np.cumsum(sizes)).astype(np.int64)
        super().__init__((int(edges[-1]), len(self.columns)),
                         np.float32 if single else np.float64, edges)  # fmt: skip

    def block(self, k: int) -> FloatArray:
        """Read row group or record batch k."""
        file, group = self.homes[k]
        table = _Reader(self.files[file]).read(group, self.columns)
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

    def __init__(self, path: str) -> None:
        self.path = path
        self.arrow = pyarrow = pyarrow_for(path)
        try:
            if path.endswith(ARROW_SUFFIXES):
                self.file = pyarrow.ipc.open_file(pyarrow.memory_map(path))
                batches = range(self.file.num_record_batches)
                self.sizes = [self.file.get_batch(k).num_rows for k in batches]
                self.schema = self.file.schema
            else:
                self.file = pyarrow.parquet.ParquetFile(path)
                meta = self.file.metadata
                self.sizes = [meta.row_group(k).num_rows for k in range(meta.num_row_groups)]
                self.schema = self.file.schema_arrow
        except (pyarrow.ArrowException, OSError) as error:
            first = str(error).partition("\n")[0]
            raise ProblemError(
                f"{path}: not a Parquet or Arrow file that can be read: {first}"
            ) from None

    @property
    def names(self) -> list[str]:
        return list(self.schema.names)

    def check(self, columns: list[str]) -> None:
        """Raise where a column is missing or holds no numbers."""
        types = self.arrow.types
        for name in columns:
            at = self.schema.get_field_index(name)
            if at < 0:
                raise ProblemError(f"{self.path}: has no column {name!r}; give the same columns "
                                   f"in every file, each once")
            kind = self.schema.field(at).type
            if not (types.is_floating(kind) or types.is_integer(kind)):
                raise ProblemError(f"{self.path}: column {name!r} has type {kind}; give numbers, "
                                   f"a column per expert, or name the experts' columns")

    def is_single(self, columns: list[str]) -> bool:
        """Say whether all columns are float32."""
        return all(self.arrow.types.is_float32(self.schema.field(name).type) for name in columns)

    def read(self, group: int, columns: list[str]) -> Any:
        """Return one row group or record batch."""
        if self.path.endswith(ARROW_SUFFIXES):
            return self.file.get_batch(group)
        return self.file.read_row_group(group, columns=columns)


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
