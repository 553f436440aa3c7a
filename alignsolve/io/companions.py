"""Where the tables of clients and experts lie beside a table of pairs."""

from __future__ import annotations

from pathlib import Path

from alignsolve.io.files import fail
from alignsolve.io.formats import FORMATS, PACKED
from alignsolve.model.text import listing

#: Formats of tables; their modules have a function ``read_table``.
_TABLES = ("csv", "parquet")
_PLAIN = [(suffix, FORMATS[name].is_text) for name in _TABLES for suffix in FORMATS[name].suffixes]
_SUFFIXES = [suffix for suffix, _ in _PLAIN] + [suffix + PACKED for suffix, text in _PLAIN if text]

#: What the tables beside one of pairs are of.
WHAT = ("clients", "experts")


def three_paths(path: str | Path) -> tuple[Path, Path, Path]:
    """Return where the tables of pairs, clients and experts lie."""
    path = Path(path)
    stem, suffix = _parts(path)
    clients, experts = (path.with_name(f"{stem}.{what}{suffix}") for what in WHAT)
    return path, clients, experts


def is_companion(path: Path) -> bool:
    """Tell whether a file lies beside a table of pairs as its table of clients or experts."""
    stem, suffix = _parts(path)
    pairs, _, what = stem.rpartition(".")
    if not pairs or what not in WHAT or suffix.lower() not in _SUFFIXES:
        return False
    return any(path.with_name(pairs + suffix).is_file() for suffix in _known(suffix))


def _parts(path: Path) -> tuple[str, str]:
    """Return a table's name without its suffix, and the suffix, as ".csv" or ".csv.gz"."""
    packed = path.suffix if path.suffix.lower() == PACKED else ""
    plain = Path(path.name.removesuffix(packed))
    return plain.stem, plain.suffix + packed


def _known(suffix: str) -> list[str]:
    """Return the suffixes that a table beside one of a suffix may have, this one first."""
    return list(dict.fromkeys([suffix, *_SUFFIXES, *map(str.upper, _SUFFIXES)]))


def companion_of(path: Path, what: str) -> Path | None:
    """Return the table of clients or experts that lies beside a table of pairs, or None.

    It may have any format of tables. One of the pairs' own format comes before those that
    belong to other tables of pairs, as where a problem was written in two formats.

    Raises
    ------
    ProblemError
        If several tables may be meant.
    """
    found: dict[tuple[int, int], Path] = {}
    stem, own_suffix = _parts(path)
    for suffix in _known(own_suffix):
        table = path.with_name(f"{stem}.{what}{suffix}")
        if table.exists():
            found.setdefault((table.stat().st_dev, table.stat().st_ino), table)
    tables = list(found.values())
    own = [table for table in tables if table in three_paths(path)]
    stray = [table for table in tables
             if table not in own and not path.with_name(stem + _parts(table)[1]).exists()]
    if len(tables) > 1 and (stray or not own):
        fail(path, f"has several tables of {what}: "
                   f"{listing([table.name for table in tables])}; keep one")
    return tables[0] if tables else None
