"""Problems as long tables: a row for every pair that is not forbidden.

A table has the columns ``client``, ``expert`` and ``fitness`` (or ``cost``, to be
minimised), and may have ``held`` (0 or 1), ``switch_cost`` and a column ``size:NAME``
for each resource. Two more tables complete it: the columns of the tables of clients and
experts are the arguments per client and per expert (`CLIENT_COLUMNS`, `EXPERT_COLUMNS`);
they also fix the order of clients and experts. Without them every client may hold one
expert, and clients and experts come in the order of whole-number ids, else of first
appearance. Files and data frames are read to this one form.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from types import MappingProxyType
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt

from alignsolve.errors import ProblemError
from alignsolve.model.arguments import MATRIX, Load, Resource
from alignsolve.model.arrays import Float64Array, IntArray
from alignsolve.model.ids import first_fault
from alignsolve.model.large_integers import has_large_integers
from alignsolve.model.limits import check_size
from alignsolve.model.text import nearest, one_line

#: Columns of the table of clients; ``NAME`` is that of a load or resource, or a group number.
CLIENT_COLUMNS = ("max_experts", "min_experts", "client_fitness_min", "client_cost_max",
                  "weight:NAME", "budget:NAME", "group_min:NAME", "group_max:NAME")

#: Columns of the table of experts; ``min:NAME`` and the like belong to the load NAME.
EXPERT_COLUMNS = ("load_min", "load_max", "load_target", "load_penalty", "expert_group",
                  "min:NAME", "max:NAME", "target:NAME", "penalty:NAME", "size:NAME")

#: Columns of the table of pairs, besides ``client`` and ``expert``.
PAIR_COLUMNS = ("fitness", "cost", "held", "switch_cost", "size:NAME")

#: What the column of values says of the problem's sense.
_SENSES = {matrix: sense for sense, matrix in MATRIX.items()}

#: Where a table calls its columns by their names here.
NO_NAMES: Mapping[str, str] = MappingProxyType({})

_WHOLE = re.compile(r"0|[1-9][0-9]{0,17}")

#: Parts of a load that have a column of their own in the table of experts.
OF_EXPERTS = ("min", "max", "target", "penalty")


@dataclass(frozen=True)
class Origin:
    """Where a table was read, for errors.

    Attributes
    ----------
    name : str
        The file, or the name of an argument.
    header : int, optional
        Number of the line with the names of the columns, where there are lines.
    row : callable
        Returns the number by which messages call row k, counted from 0.
    before_row : str
        What stands between the name and the number of a row.
    """

    name: str
    header: int | None = None
    row: Callable[[int], int] = int
    before_row: str = ":"

    def fail(self, message: str, row: int | None = None) -> NoReturn:
        """Raise `ProblemError` with the place of a row, or of the whole table."""
        place = "" if row is None else f"{self.before_row}{self.row(row)}"
        raise ProblemError(f"{self.name}{place}: {message}")

    def refuse_header(self, message: str) -> NoReturn:
        """Raise `ProblemError` with the place of the names of the columns."""
        place = "" if self.header is None else f":{self.header}"
        raise ProblemError(f"{self.name}{place}: {message}")


@dataclass(frozen=True, eq=False)
class Ids:
    """A column of ids: ``names[codes[k]]`` is the id in row k.

    Attributes
    ----------
    codes : int64 array, shape (n_rows,)
    names : list of str
        Distinct, in order of first appearance.
    """

    codes: IntArray
    names: list[str]

    @classmethod
    def of(cls, words: Iterable[object]) -> Ids:
        """Return the ids of the rows, as text; 1 and "1" in one column are refused."""
        codes: dict[object, int] = {}
        index = np.array([codes.setdefault(word, len(codes)) for word in words], dtype=np.int64)
        names = list(map(str, codes))
        if len(set(names)) < len(names):
            both = next(name for at, name in enumerate(names) if name in names[:at])
            raise ProblemError(f"id {one_line(both)} is there as a number and as text; make all "
                               f"ids of the column texts, or whole numbers")
        return cls(index, names)


@dataclass(frozen=True, eq=False)
class Table:
    """A table that was read: columns of ids, and columns of numbers.

    Attributes
    ----------
    origin : Origin
        Where it comes from.
    ids : mapping of column to Ids
    numbers : mapping of column to array, shape (n_rows,)
        float64, float32 or whole numbers beyond 2**53.
    header : sequence of str
        What the columns are called in the table itself.
    """

    origin: Origin
    ids: Mapping[str, Ids]
    numbers: Mapping[str, npt.NDArray[Any]]
    header: Sequence[str] = ()

    def row_of(self, column: str, name: str) -> int:
        """Return the first row with an id."""
        ids = self.ids[column]
        return int(np.argmax(ids.codes == ids.names.index(name)))


def known_names(
    origin: Origin, header: Sequence[str], ids: Sequence[str], known: Iterable[str] | None,
    columns: Mapping[str, str], otherwise: str = "",
) -> list[str]:
    """Return what the columns of a table are called here, after checking them.

    Parameters
    ----------
    origin : Origin
        For errors.
    header : sequence of str
        The names in the table.
    ids, known : iterable of str
        Columns of ids, which must be there, and others that may be. Where `known` is None, as of
        the table of a solution, any may be, and are called by their place.
    columns : mapping of str to str
        What a table calls a column where it is not its name here.
    otherwise : str, optional
        What the file is not either where the columns of ids are not those of a solution.

    Raises
    ------
    ProblemError
        If a column is unknown, there twice, or missing.
    """
    if known is None:
        for name in ids:
            count = list(header).count(name)
            if count != 1:
                origin.refuse_header(f"{otherwise}column {name!r} "
                                     f"{'appears twice' if count else 'is missing'}")
        return [name if name in ids else f"column {at}" for at, name in enumerate(header)]
    plain = [*ids, *known]
    given = {other: own for own, other in columns.items()}
    for name in header:
        if given.get(name, name) != name and given[name] in header:
            origin.refuse_header(f"has a column {one_line(given[name])} beside {one_line(name)}, "
                                 f"which is to stand for it; leave one out")
    names = [given.get(name, name) for name in header]
    for name in names:
        prefix, colon, key = name.partition(":")
        kind = f"{prefix}:NAME" if key else name
        if kind not in plain or (colon and not key):
            origin.refuse_header(f"unknown column {one_line(name)}; {nearest(kind, plain)}")
        if names.count(name) > 1:
            origin.refuse_header(f"column {one_line(name)} appears twice")
    for name in ids:
        if name not in names:
            origin.refuse_header(f"column {columns.get(name, name)!r} is missing")
    return names


def check_names(columns: Mapping[str, str]) -> None:
    """Refuse other names for columns that there are not, and one for two of them."""
    plain = ["client", "expert", *PAIR_COLUMNS, *CLIENT_COLUMNS, *EXPERT_COLUMNS]
    for own in columns:
        kind = re.sub(":.+", ":NAME", own, flags=re.DOTALL)
        if kind not in plain:
            raise ProblemError(f"columns names {one_line(own)}; {nearest(kind, plain)}")
    taken: dict[str, str] = {}
    for own, other in columns.items():
        if taken.setdefault(other, own) != own:
            raise ProblemError(f"column {one_line(other)} is to be both {taken[other]} and {own}; "
                               f"give one")


def _refuse_unused(pairs: Table, others: Sequence[Table | None], names: Mapping[str, str]) -> None:
    """Refuse other names of columns that are in no table's header."""
    headers = [table.header for table in (pairs, *others) if table is not None]
    for own, other in names.items():
        if not any(other in header for header in headers):
            pairs.origin.refuse_header(f"column {one_line(other)}, which is to be {own}, is "
                                       f"missing; {nearest(other, pairs.header)}")


def numbers_of(name: str, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return numbers as float64, but float32 and whole numbers beyond 2**53 as they are."""
    if values.dtype == np.float32 or (name in _SENSES and has_large_integers(values)):
        return values
    return values.astype(np.float64, copy=False)


def first_repeated(keys: IntArray) -> tuple[int, int] | None:
    """Return the first two places of the smallest key that is there twice, or None."""
    order = np.argsort(keys, kind="stable")
    twice = np.flatnonzero(keys[order][1:] == keys[order][:-1])
    return (int(order[twice[0]]), int(order[twice[0] + 1])) if twice.size else None


def to_arguments(
    pairs: Table, clients: Table | None = None, experts: Table | None = None,
    sense: str | None = None, names: Mapping[str, str] = NO_NAMES,
) -> tuple[str, dict[str, Any]]:
    """Return the sense and the arguments of the problem of a table and its two companions.

    Parameters
    ----------
    pairs, clients, experts : Table
        The table of pairs, and where there are any those of clients and of experts.
    names : mapping of str to str, optional
        What the tables call a column where it is not its name here; each must be in one.
    sense : {"max", "min"}, optional
        What the caller takes the sense to be.

    Returns
    -------
    sense : {"max", "min"}
    arguments : dict
        For `alignsolve.model.problem.problem_of`.

    Raises
    ------
    ProblemError
        Naming table, row and column of what is missing, repeated or wrong.
    """
    _refuse_unused(pairs, (clients, experts), names)
    matrix = _matrix_column(pairs, sense)
    rows, client_names = _coded(pairs, "client", clients)
    cols, expert_names = _coded(pairs, "expert", experts)
    n, m = len(client_names), len(expert_names)
    check_size(pairs.origin.name, n, m, listed=rows.size)
    _refuse_repeated(pairs, rows, cols, m, n * m)
    forbidden = -np.inf if matrix == "fitness" else np.inf

    def spread(column: str, default: float) -> Float64Array:
        given = pairs.numbers[column]
        if given.dtype.kind in "iu" and rows.size < n * m:
            pairs.origin.fail(f"{column} has whole numbers beyond 2**53, and pairs are missing; "
                              f"take a common amount off all values")
        dense = np.full((n, m), 0 if given.dtype.kind in "iu" else default, dtype=given.dtype)
        dense[rows, cols] = given
        return dense

    arguments: dict[str, Any] = {
        matrix: spread(matrix, forbidden),
        "max_experts": 1,
        "client_ids": _own_names(client_names),
        "expert_ids": _own_names(expert_names),
    }
    if "held" in pairs.numbers:
        held = pairs.numbers["held"]
        bad = (held != 0) & (held != 1)
        if bad.any():
            at = int(np.argmax(bad))
            pairs.origin.fail(f"held is {held[at]:g}; give 0 or 1", at)
        arguments["held"] = (rows[held == 1], cols[held == 1])
    columns = {name: column for table in (clients, experts) if table is not None
               for name, column in table.numbers.items()}
    columns |= {name: spread(name, 0.0) for name in pairs.numbers
                if name == "switch_cost" or name.startswith("size:")}
    try:
        return _SENSES[matrix], arguments | _arguments(columns)
    except ProblemError as error:
        raise ProblemError(f"{pairs.origin.name}: {error}") from None


def _refuse_repeated(
    pairs: Table, rows: IntArray, cols: IntArray, n_experts: int, cells: int
) -> None:
    """Refuse a pair that has two rows."""
    keys = rows * n_experts + cols
    seen = np.zeros(cells, dtype=np.bool_)
    seen[keys] = True
    if np.count_nonzero(seen) == keys.size:  # a tenth of the time that sorting takes
        return
    repeated = first_repeated(keys)
    assert repeated is not None
    first, second = repeated
    client, expert = (one_line(ids.names[ids.codes[second]]) for ids in
                      (pairs.ids["client"], pairs.ids["expert"]))
    pairs.origin.fail(f"client {client} and expert {expert} appear twice; first in row "
                      f"{pairs.origin.row(first)}", second)


def _matrix_column(pairs: Table, sense: str | None) -> str:
    """Return "fitness" or "cost", whichever the table has."""
    found = [name for name in _SENSES if name in pairs.numbers]
    if len(found) != 1:
        pairs.origin.refuse_header(
            "has both a column 'fitness' and a column 'cost'; give one" if found else
            "column 'fitness' (to be maximised) or 'cost' (to be minimised) is missing")
    if sense is not None and sense != _SENSES[found[0]]:
        pairs.origin.refuse_header(f"column {found[0]!r} says the sense; drop sense {sense!r}, or "
                                   f"rename the column")
    return found[0]


def _coded(pairs: Table, column: str, companion: Table | None) -> tuple[IntArray, list[str]]:
    """Return the index of each row's client (or expert), and their names in order."""
    ids = pairs.ids[column]
    if companion is None:
        names = ids.names
        if all(map(_WHOLE.fullmatch, names)):
            names = sorted(names, key=int)
    else:
        listed = companion.ids[column]
        names = listed.names
        repeated = first_repeated(listed.codes)
        if repeated is not None:
            at = repeated[1]
            companion.origin.fail(f"{column} {one_line(names[listed.codes[at]])} appears twice", at)
    index = {name: at for at, name in enumerate(names)}
    others = [name for name in ids.names if name not in index]
    if (found := first_fault([*names, *others])) is not None:
        at, words = found
        table, name = (companion or pairs, names[at]) if at < len(names) else (
            pairs, others[at - len(names)])
        table.origin.fail(f"{column} {words}", table.row_of(column, name))
    if others and companion is not None:
        pairs.origin.fail(f"{column} {one_line(others[0])} is not in "
                          f"{PurePath(companion.origin.name).name}",
                          pairs.row_of(column, others[0]))
    order = np.array([index[name] for name in ids.names], dtype=np.int64)
    return order[ids.codes], names


def _own_names(names: list[str]) -> list[str] | None:
    """Return names that are more than the numbers from 0."""
    return None if names == [str(at) for at in range(len(names))] else names


def _arguments(columns: Mapping[str, npt.NDArray[Any]]) -> dict[str, Any]:
    """Return the constructor arguments that the columns stand for."""
    arguments: dict[str, Any] = {}
    named: dict[str, dict[str, npt.NDArray[Any]]] = {}
    for name, column in columns.items():
        kind, _, key = name.partition(":")
        if key:
            named.setdefault(kind, {})[key] = column
        else:
            arguments[name] = column
    weights, sizes, budgets = (named.get(kind, {}) for kind in ("weight", "size", "budget"))
    loads = {key for kind in OF_EXPERTS for key in named.get(kind, {})}
    for key in sorted(loads - set(weights)):
        raise ProblemError(f"load {one_line(key)} has no column 'weight:{key}' in the table of "
                           f"clients")
    for key in sorted(set(sizes) ^ set(budgets)):
        raise ProblemError(f"resource {one_line(key)} needs a column 'budget:{key}' in the table "
                           f"of clients and 'size:{key}' in that of experts or pairs")
    arguments["loads"] = {
        key: Load(weight, **{kind: named[kind][key] for kind in OF_EXPERTS
                             if key in named.get(kind, {})})
        for key, weight in weights.items()
    }
    arguments["resources"] = {key: Resource(size, budgets[key]) for key, size in sizes.items()}
    for kind in ("group_min", "group_max"):
        if kind in named:
            arguments[kind] = _group_columns(kind, named[kind])
    return arguments


def _group_columns(kind: str, columns: Mapping[str, npt.NDArray[Any]]) -> Float64Array:
    """Return ``group_max:0``, ``group_max:1``, ... side by side."""
    wanted = [str(group) for group in range(len(columns))]
    if sorted(columns) != sorted(wanted):
        raise ProblemError(f"columns {kind}:NAME are {', '.join(sorted(columns))}; number the "
                           f"groups 0, 1, 2, ... without gaps")
    return np.stack([columns[group] for group in wanted], axis=1)
