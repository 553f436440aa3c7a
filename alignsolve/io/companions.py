"""Where the tables of clients and experts lie beside a table of pairs."""

from __future__ import annotations

from pathlib import Path

from alignsolve.io.files import fail
from alignsolve.io.formats import FORMATS
from alignsolve.model.text import listing

#: Formats of tables; their modules have a function ``read_table``.
_TABLES = ("csv", "parquet")


def three_paths(path: str | Path) -> tuple[Path, Path, Path]:
    """Return where the tables of pairs, clients and experts lie."""
    path = Path(path)
    clients, experts = (path.with_name(f"{path.stem}.{what}{path.suffix}")
                        for what in ("clients", "experts"))
    return path, clients, experts


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
    known = [suffix for name in _TABLES for suffix in FORMATS[name].suffixes]
    for suffix in dict.fromkeys([path.suffix, *known, *map(str.upper, known)]):
        table = path.with_name(f"{path.stem}.{what}{suffix}")
        if table.exists():
            found.setdefault((table.stat().st_dev, table.stat().st_ino), table)
    tables = list(found.values())
    own = [table for table in tables if table in three_paths(path)]
    stray = [table for table in tables
             if table not in own and not path.with_suffix(table.suffix).exists()]
    if len(tables) > 1 and (stray or not own):
        fail(path, f"has several tables of {what}: "
                   f"{listing([table.name for table in tables])}; keep one")
    return tables[0] if tables else None
