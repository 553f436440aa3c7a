"""Files of long tables, and the two that may lie beside each: `alignsolve.model.long_tables`.

``scores.csv`` is completed by ``scores.clients.csv`` and ``scores.experts.csv``, in this or
another format of tables.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from alignsolve.io.companions import companion_of, three_paths
from alignsolve.io.files import atomic_write, fail, located
from alignsolve.io.formats import detect, for_writing
from alignsolve.io.schema import compact
from alignsolve.io.sets import as_written, write_set
from alignsolve.model.arguments import MATRIX
from alignsolve.model.long_tables import (
    CLIENT_COLUMNS,
    EXPERT_COLUMNS,
    OF_EXPERTS,
    PAIR_COLUMNS,
    Table,
    check_names,
    to_arguments,
)
from alignsolve.model.problem import AlignmentProblem, problem_of
from alignsolve.model.text import one_line

#: A column to be written: numbers, or strings.
Column = npt.NDArray[Any] | list[str]


def read(
    path: str | Path, sense: str | None, columns: Mapping[str, str] | None = None
) -> AlignmentProblem:
    """Read a problem from a table of pairs and its companions.

    Parameters
    ----------
    path : path
        The table of pairs.
    sense : {"max", "min"} or None
        What the caller takes the sense to be.
    columns : mapping of str to str, optional
        What the files call a column, where it is not its name here.
    """
    path, names = Path(path), dict(columns or {})
    check_names(names)
    read_table = detect(path, names).function("read_table")

    def beside(what: str, column: str, known: tuple[str, ...]) -> Table | None:
        found = companion_of(path, what)
        if found is None:
            return None
        is_own = found in three_paths(path)
        of_its_format = read_table if is_own else detect(found).function("read_table")
        table: Table = of_its_format(found, (column,), known, names)
        return table

    with as_written(*three_paths(path)):
        pairs = read_table(path, ("client", "expert"), PAIR_COLUMNS, names)
        clients = beside("clients", "client", CLIENT_COLUMNS)
        experts = beside("experts", "expert", EXPERT_COLUMNS)
    sense, arguments = to_arguments(pairs, clients, experts, sense, names)
    with located(path):
        return problem_of(sense, arguments)


def write(problem: AlignmentProblem, path: str | Path) -> None:
    """Write a problem as a table of pairs and its companions."""
    write_table = for_writing(path).function("write_table")
    tables = from_problem(problem, path)
    write_set({target: partial(write_table, columns, path=path)
               for target, columns in zip(three_paths(path), tables, strict=True)})


def write_columns(columns: dict[str, Column], path: str | Path) -> None:
    """Write columns of one length as a table."""
    with atomic_write(path) as stream:
        for_writing(path).function("write_table")(columns, stream, path)


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
        for part in OF_EXPERTS:
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
