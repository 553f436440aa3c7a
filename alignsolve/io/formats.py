"""Which format a file has: by its suffix, and where that does not say, by its content."""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alignsolve.io.files import fail, read_bytes
from alignsolve.model.long_tables import NO_NAMES
from alignsolve.model.text import one_line


@dataclass(frozen=True)
class Format:
    """A file format.

    Attributes
    ----------
    name : str
        How `alignsolve info` calls it.
    module : str
        Module under `alignsolve.io` with its ``read`` and ``write``.
    suffixes : tuple of str
        File suffixes, in lower case; the first is the usual one.
    reads, writes : bool
        What the module can do.
    asks_sense : bool
        Whether ``read`` is told the caller's sense: its files may leave it open.
    takes_columns : bool
        Whether ``read`` is told what the files call the columns.
    is_text : bool
        Whether files may be compressed with gzip.
    """

    name: str
    module: str
    suffixes: tuple[str, ...]
    reads: bool = True
    writes: bool = True
    asks_sense: bool = False
    takes_columns: bool = False
    is_text: bool = True

    def function(self, name: str) -> Callable[..., Any]:
        """Return the module's ``read`` or ``write``; it is imported only now."""
        found: Callable[..., Any] = getattr(
            importlib.import_module(f"alignsolve.io.{self.module}"), name
        )
        return found


FORMATS = {
    format_.name: format_
    for format_ in (
        Format("json", "native_json", (".json",)),
        Format("npz", "native_npz", (".npz",), is_text=False),
        Format("csv", "csv_table", (".csv", ".tsv"), asks_sense=True, takes_columns=True),
        Format("parquet", "parquet_table", (".parquet",), asks_sense=True,
               takes_columns=True, is_text=False),
        Format("matrix", "matrix", (".npy", ".arrow", ".feather", ".ipc"), writes=False,
               asks_sense=True, is_text=False),
        Format("dimacs", "dimacs", (".min", ".dmx", ".dimacs")),
        Format("mps", "mps", (".mps",)),
        Format("lp", "lp", (".lp",), reads=False),
        Format("orlib", "orlib", (), writes=False, asks_sense=True),
        Format("spec", "specs", (".toml",), writes=False),
    )
}

_BY_SUFFIX = {suffix: format_ for format_ in FORMATS.values() for suffix in format_.suffixes}

#: What ends the name of a text that is compressed.
PACKED = ".gz"

#: How files start, for suffixes that do not say; tried in this order.
_STARTS = (
    (re.compile(rb"PK\x03\x04"), "npz"),
    (re.compile(rb"PAR1"), "parquet"),
    (re.compile(rb"(\xef\xbb\xbf)?\s*\{"), "json"),
    (re.compile(rb"(\xef\xbb\xbf)?\s*(c\s|p +min\s)"), "dimacs"),
    (re.compile(rb"(\xef\xbb\xbf)?\s*[-+.0-9]+\s"), "orlib"),
    (re.compile(rb"\* AlignmentProblem\("), "mps"),
)

#: A first line that is not blank, and the words in it.
_FILLED = re.compile(rb"[^\s,;][^\n]*")
_WORDS = re.compile(rb"\w+")


def detect(path: str | Path, columns: Mapping[str, str] = NO_NAMES) -> Format:
    """Return the format of a file that exists.

    Parameters
    ----------
    path : path
    columns : mapping of str to str, optional
        What the caller says that tables call a column; only these have columns.

    Raises
    ------
    ProblemError
        If the file cannot be read, or is in no known format.
    """
    start = read_bytes(path, first=4096)
    if not start:
        fail(path, "is empty; give an instance")
    name = Path(path).name.lower()
    by_suffix = _BY_SUFFIX.get(Path(name.removesuffix(PACKED)).suffix)
    if by_suffix is not None:
        if name.endswith(PACKED) and not by_suffix.is_text:
            fail(path, f"is compressed, and {by_suffix.name} is read only as it is; unpack it "
                       f"with gunzip")
        return by_suffix
    for pattern, name in _STARTS:
        # A table whose columns have other names may start like these: "c", or a number.
        if pattern.match(start + b"\n") and not (columns and name in ("dimacs", "orlib")):
            return FORMATS[name]
    first = _FILLED.search(start.removeprefix(b"\xef\xbb\xbf"))
    if columns or (first and {b"client", b"expert"}.issubset(_WORDS.findall(first[0]))):
        return FORMATS["csv"]
    return fail(path, f"is in no known format; it starts with {ascii(start[:20])[1:]}")


def for_writing(path: str | Path) -> Format:
    """Return the format that a file name asks for.

    Raises
    ------
    ProblemError
        If no format that can be written has the suffix.
    """
    suffix = Path(path).suffix.lower()
    found = _BY_SUFFIX.get(suffix)
    if found is None or not found.writes:
        known = ", ".join(suffix for suffix, format_ in _BY_SUFFIX.items() if format_.writes)
        what = f"suffix {one_line(suffix)} is not written" if suffix else "has no suffix"
        fail(path, f"{what}; give one of {known}")
    return found
