"""Problems as long tables: a row for every pair that is not forbidden.

The table has the columns ``client``, ``expert`` and ``fitness`` (or ``cost``,
to be minimised), and may have ``held`` (0 or 1), ``switch_cost`` and a column
``size:NAME`` for each resource. Two more tables may lie beside it:
``scores.csv`` is completed by ``scores.clients.csv`` and
``scores.experts.csv``, in this or another format of tables, whose columns are
the arguments per client and per expert (`CLIENT_COLUMNS`, `EXPERT_COLUMNS`);
they also fix the order of clients and experts. Without them every client may
hold one expert, and clients and experts come in the order of whole-number ids,
else of first appearance.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from alignsolve.errors import ProblemError
from alignsolve.io.companions import companion_of, three_paths
from alignsolve.io.files import fail, first_repeated, located, one_line
from alignsolve.io.formats import detect
from alignsolve.io.limits import check_size
from alignsolve.io.schema import MATRIX, compact
from alignsolve.io.sets import as_written, write_set
from alignsolve.model.arrays import Float64Array, IntArray
from alignsolve.model.ids import first_fault
from alignsolve.model.problem import AlignmentProblem, Load, Resource, problem_of
from alignsolve.model.text import nearest

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

_WHOLE = re.compile(r"0|[1-9][0-9]{0,17}")

#: Parts of a load that have a column of their own in the table of experts.
_OF_EXPERTS = ("min", "max", "target", "penalty")

#: A column to be written: numbers, or strings.
Column = npt.NDArray[Any] | list[str]


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


@dataclass(frozen=True, eq=False)
class Table:
    """A table that was read: columns of ids, and columns of numbers.

    Attributes
    ----------
    path : path
        The file, for errors.
    first_line : int
        Number of the first row in error messages.
    ids : mapping of column to Ids
    numbers : mapping of column to float64 array
    """

    path: str | Path
    first_line: int
    ids: Mapping[str, Ids]
    numbers: Mapping[str, Float64Array]

    def line_of(self, column: str, name: str) -> int:
        """Return the number of the first row with an id."""
        ids = self.ids[column]
        return self.first_line + int(np.argmax(ids.codes == ids.names.index(name)))


#: Reads one table, given its path, its columns of ids and its other columns.
ReadTable = Callable[[str | Path, tuple[str, ...], tuple[str, ...]], Table]


def check_columns(path: str | Path, names: list[str], ids: Iterable[str], known: Iterable[str]) -> (
    None
):
    """Refuse a header with unknown, repeated or missing columns."""
    plain = [*ids, *known]
    for name in names:
        prefix, colon, key = name.partition(":")
        kind = f"{prefix}:NAME" if key else name
        if kind not in plain or (colon and not key):
            fail(path, f"unknown column {one_line(name)}; {nearest(kind, plain)}", 1)
        if names.count(name) > 1:
            fail(path, f"column {one_line(name)} appears twice", 1)
    for name in ids:
        if name not in names:
            fail(path, f"column {name!r} is missing", 1)


def read_tables(
    read_table: ReadTable, path: str | Path, sense: str | None
) -> AlignmentProblem:
    """Read a problem from a table of pairs and its companions.

    Parameters
    ----------
    read_table : callable
        Reads one table of the pairs' format, given its path, its columns of ids and its other
        columns.
    path : path
        The table of pairs.
    sense : {"max", "min"} or None
        What the caller takes the sense to be.
    """
    path = Path(path)

    def beside(what: str, column: str, known: tuple[str, ...]) -> Table | None:
        found = companion_of(path, what)
        if found is None:
            return None
        read: ReadTable = read_table
        if found not in three_paths(path):
            read = detect(found).function("read_table")
        return read(found, (column,), known)

    with as_written(*three_paths(path)):
        tables = (
            read_table(path, ("client", "expert"), PAIR_COLUMNS),
            beside("clients", "client", CLIENT_COLUMNS),
            beside("experts", "expert", EXPERT_COLUMNS),
        )
    return to_problem(*tables, sense)


def write_tables(
    write_table: Callable[[dict[str, Column], IO[bytes]], None], problem: AlignmentProblem,
    path: str | Path,
) -> None:
    """Write a problem as a table of pairs and its companions, each with `write_table`."""
    tables = from_problem(problem, path)
    write_set({target: partial(write_table, columns)
               for target, columns in zip(three_paths(path), tables, strict=True)})


def to_problem(
    pairs: Table, clients: Table | None, experts: Table | None, sense: str | None
) -> AlignmentProblem:
    """Build the problem of a table of pairs and, where there are any, its two companions.

    Raises
    ------
    ProblemError
        Naming file, row and column of what is missing, repeated or wrong.
    """
    matrix = _matrix_column(pairs, sense)
    rows, client_names = _coded(pairs, "client", clients)
    cols, expert_names = _coded(pairs, "expert", experts)
    n, m = len(client_names), len(expert_names)
    check_size(pairs.path, n, m, listed=rows.size)
    repeated = first_repeated(rows * m + cols)
    if repeated is not None:
        first, second = repeated
        client, expert = (one_line(ids.names[ids.codes[second]]) for ids in
                          (pairs.ids["client"], pairs.ids["expert"]))
        fail(pairs.path, f"client {client} and expert {expert} appear twice; first in row "
                         f"{pairs.first_line + first}", pairs.first_line + second)
    forbidden = -np.inf if matrix == "fitness" else np.inf

    def spread(column: str, default: float) -> Float64Array:
        given = pairs.numbers[column]
        if given.dtype.kind in "iu" and rows.size < n * m:
            fail(pairs.path, f"{column} has whole numbers beyond 2**53, and pairs are missing; "
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
            fail(pairs.path, f"held is {held[at]:g}; give 0 or 1", pairs.first_line + at)
        arguments["held"] = (rows[held == 1], cols[held == 1])
    columns = {name: column for table in (clients, experts) if table is not None
               for name, column in table.numbers.items()}
    columns |= {name: spread(name, 0.0) for name in pairs.numbers
                if name == "switch_cost" or name.startswith("size:")}
    with located(pairs.path):
        return problem_of(_SENSES[matrix], arguments | _arguments(columns))


def _matrix_column(pairs: Table, sense: str | None) -> str:
    """Return "fitness" or "cost", whichever the table has."""
    found = [name for name in _SENSES if name in pairs.numbers]
    if len(found) != 1:
        fail(pairs.path, "has both a column 'fitness' and a column 'cost'; give one" if found else
             "column 'fitness' (to be maximised) or 'cost' (to be minimised) is missing", 1)
    if sense is not None and sense != _SENSES[found[0]]:
        fail(pairs.path, f"column {found[0]!r} says the sense; drop sense {sense!r}, or rename the "
                         f"column", 1)
    return found[0]


def _coded(pairs: Table, column: str, companion: Table | None) -> tuple[IntArray, list[str]]:
    """Return the index of each row's client (or expert), and their names in order."""
    ids = pairs.ids[column]
    if companion is None:
        names = ids.names
        if all(_WHOLE.fullmatch(name) for name in names):
            names = sorted(names, key=int)
    else:
        listed = companion.ids[column]
        names = listed.names
        repeated = first_repeated(listed.codes)
        if repeated is not None:
            at = repeated[1]
            fail(companion.path, f"{column} {one_line(names[listed.codes[at]])} appears twice",
                 companion.first_line + at)
    index = {name: at for at, name in enumerate(names)}
    others = [name for name in ids.names if name not in index]
    if (found := first_fault([*names, *others])) is not None:
        at, words = found
        table, name = (companion or pairs, names[at]) if at < len(names) else (
            pairs, others[at - len(names)])
        fail(table.path, f"{column} {words}", table.line_of(column, name))
    if others and companion is not None:
        fail(pairs.path, f"{column} {one_line(others[0])} is not in {Path(companion.path).name}",
             pairs.line_of(column, others[0]))
    order = np.array([index[name] for name in ids.names], dtype=np.int64)
    return order[ids.codes], names


def _own_names(names: list[str]) -> list[str] | None:
    """Return names that are more than the numbers from 0."""
    return None if names == [str(at) for at in range(len(names))] else names


def _arguments(columns: Mapping[str, Float64Array]) -> dict[str, Any]:
    """Return the constructor arguments that the columns stand for."""
    arguments: dict[str, Any] = {}
    named: dict[str, dict[str, Float64Array]] = {}
    for name, column in columns.items():
        kind, _, key = name.partition(":")
        if key:
            named.setdefault(kind, {})[key] = column
        else:
            arguments[name] = column
    weights, sizes, budgets = (named.get(kind, {}) for kind in ("weight", "size", "budget"))
    loads = {key for kind in _OF_EXPERTS for key in named.get(kind, {})}
    for key in sorted(loads - set(weights)):
        raise ProblemError(f"load {one_line(key)} has no column 'weight:{key}' in the table of "
                           f"clients")
    for key in sorted(set(sizes) ^ set(budgets)):
        raise ProblemError(f"resource {one_line(key)} needs a column 'budget:{key}' in the table "
                           f"of clients and 'size:{key}' in that of experts or pairs")
    arguments["loads"] = {
        key: Load(weight, **{kind: named[kind][key] for kind in _OF_EXPERTS
                             if key in named.get(kind, {})})
        for key, weight in weights.items()
    }
    arguments["resources"] = {key: Resource(size, budgets[key]) for key, size in sizes.items()}
    for kind in ("group_min", "group_max"):
        if kind in named:
            arguments[kind] = _group_columns(kind, named[kind])
    return arguments


def _group_columns(kind: str, columns: Mapping[str, Float64Array]) -> Float64Array:
    """Return ``group_max:0``, ``group_max:1``, ... side by side."""
    wanted = [str(group) for group in range(len(columns))]
    if sorted(columns) != sorted(wanted):
        raise ProblemError(f"columns {kind}:NAME are {', '.join(sorted(columns))}; number the "
                           f"groups 0, 1, 2, ... without gaps")
    return np.stack([columns[group] for group in wanted], axis=1)


def from_problem(
    problem: AlignmentProblem, path: str | Path
) -> tuple[dict[str, Column], dict[str, Column], dict[str, Column]]:
    """Return the columns of the tables of pairs, clients and experts.

    Sizes, switching costs and held pairs are kept where the pair is allowed;
    held pairs that are forbidden have a row with an infinite value.

    Raises
    ------
    ProblemError
        If an id or name cannot stand in a table.
    """
    _refuse_names(problem, path)
    listed = problem.fitness > -np.inf
    if problem.held is not None:
        listed[problem.held.rows, problem.held.indices] = True
    rows, cols = np.nonzero(listed)
    names = [np.array(part, dtype=object) for part in shown_ids(problem)]
    arguments = problem.arguments()
    matrix = MATRIX[problem.sense]
    pairs: dict[str, Column] = {
        "client": names[0][rows].tolist(),
        "expert": names[1][cols].tolist(),
        matrix: arguments[matrix][rows, cols],
    }
    clients: dict[str, Column] = {"client": names[0].tolist()}
    experts: dict[str, Column] = {"expert": names[1].tolist()}
    if problem.held is not None:
        pairs["held"] = problem.held.contains(rows, cols).astype(np.int64)
    if problem.switch_cost.any():
        pairs["switch_cost"] = problem.switch_cost[rows, cols]
    for columns, listed_columns in ((clients, CLIENT_COLUMNS), (experts, EXPERT_COLUMNS)):
        for name in listed_columns:
            if arguments.get(name) is not None:
                columns[name] = arguments[name]
    for name in ("group_min", "group_max"):
        for group in range(problem.n_groups):
            clients[f"{name}:{group}"] = arguments[name][:, group]
    for key, load in problem.loads.items():
        clients[f"weight:{key}"] = np.asarray(load.weight)
        for part in _OF_EXPERTS:
            experts[f"{part}:{key}"] = np.asarray(getattr(load, part))
    for key, resource in problem.resources.items():
        clients[f"budget:{key}"] = np.asarray(resource.budget)
        size = np.asarray(resource.size)
        if compact(size).ndim < 2:
            experts[f"size:{key}"] = size[0] if len(size) else np.zeros(problem.n_experts)
        else:
            pairs[f"size:{key}"] = size[rows, cols]
    return pairs, clients, experts


def shown_ids(problem: AlignmentProblem) -> tuple[list[str], list[str]]:
    """Return the ids of clients and experts; those without are numbered from 0."""
    clients, experts = problem.client_ids, problem.expert_ids
    return (list(clients or map(str, range(problem.n_clients))),
            list(experts or map(str, range(problem.n_experts))))


def _refuse_names(problem: AlignmentProblem, path: str | Path) -> None:
    """Refuse ids and names that a table would not give back."""
    for name in (*problem.loads, *problem.resources):
        if name != name.strip():
            fail(path, f"a table cannot hold the name {one_line(name)} with space around it")
    for name in (*(problem.client_ids or ()), *(problem.expert_ids or ()),
                 *problem.loads, *problem.resources):
        # What UTF-8 cannot hold is lost on the way there and back.
        if "\0" in name or name.encode(errors="ignore").decode() != name:
            fail(path, f"a table cannot hold the name {one_line(name)}: it is not UTF-8 text")
