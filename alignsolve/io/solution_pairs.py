"""The pairs of an answer as a table with the columns client and expert: CSV, TSV, Parquet."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from alignsolve.io import csv_table, parquet_table
from alignsolve.io.csv_table import csv_reader, filled_rows, read_header
from alignsolve.io.files import fail
from alignsolve.io.table import Column, shown_ids
from alignsolve.model.arrays import IntArray
from alignsolve.model.feasibility import sorted_pairs
from alignsolve.model.ids import alike
from alignsolve.model.limits import MAX_SIDE
from alignsolve.model.long_tables import Ids
from alignsolve.model.problem import AlignmentProblem
from alignsolve.model.text import one_line

_AXES = ("client", "expert")

#: Fields of a `Solution`: sorted pairs of the problem, or of the ids, and the ids.
PairFields = dict[str, Any]


def write_pairs(
    problem: AlignmentProblem, rows: IntArray, cols: IntArray, path: str | Path
) -> None:
    """Write pairs by their ids."""
    clients, experts = shown_ids(problem)
    columns: dict[str, Column] = {"client": [clients[at] for at in rows.tolist()],
                                  "expert": [experts[at] for at in cols.tolist()]}  # fmt: skip
    is_parquet = Path(path).suffix.lower() == ".parquet"
    write = parquet_table.write_columns if is_parquet else csv_table.write_columns
    write(columns, path)


def parquet_pairs(path: str | Path, problem: AlignmentProblem | None) -> PairFields:
    """Return the pairs of a Parquet file, which may have further columns, in any order."""
    words = parquet_table.read_words(path, _AXES)
    return _pairs(path, enumerate(words, start=1), problem)


def csv_pairs(path: str | Path, text: str, problem: AlignmentProblem | None) -> PairFields:
    """Return the pairs of a CSV file, which may have further columns, in any order."""
    reader = csv_reader(text)
    try:
        line, header = read_header(reader)
        if any(header.count(name) != 1 for name in _AXES):
            fail(path, "is neither a solution in JSON nor a table with the columns client, expert",
                 line)
        places = [header.index(name) for name in _AXES]

        def words() -> Iterator[tuple[int, tuple[str, ...]]]:
            for at, row in filled_rows(reader):
                whole = len(row) == len(header)
                yield at, tuple(row[place] for place in places) if whole else tuple(row)

        return _pairs(path, words(), problem)
    except csv.Error as error:
        fail(path, f"not CSV: {error}", reader.line_num)


def _pairs(
    path: str | Path, words: Iterable[tuple[int, tuple[str, ...]]],
    problem: AlignmentProblem | None,
) -> PairFields:
    """Return the pairs of numbered rows."""
    if problem is None:
        return _by_themselves(path, words)
    index = [{name: at for at, name in enumerate(names)} for names in shown_ids(problem)]
    pairs: list[tuple[int, int]] = []
    for line, row in words:
        if len(row) != 2 or row[0] not in index[0] or row[1] not in index[1]:
            near = "".join(alike(name, known) for name, known in zip(row, index, strict=False)
                           if name not in known)
            _refuse(path, line, row, f"is not a client and an expert of the problem{near}")
        pairs.append((index[0][row[0]], index[1][row[1]]))
    array = np.array(pairs, dtype=np.int64).reshape(-1, 2)
    rows, cols = sorted_pairs(problem, array[:, 0], array[:, 1])
    return {"row_ind": rows, "col_ind": cols, "client_ids": problem.client_ids,
            "expert_ids": problem.expert_ids}


def _by_themselves(path: str | Path, words: Iterable[tuple[int, tuple[str, ...]]]) -> PairFields:
    """Return the pairs of numbered rows by the ids that the rows have."""
    found: list[tuple[str, ...]] = []
    for line, row in words:
        if len(row) != 2:
            _refuse(path, line, row, "is not a client and an expert")
        found.append(row)
    clients, experts = (_numbered(Ids.of([row[axis] for row in found])) for axis in (0, 1))
    order = np.lexsort((experts.codes, clients.codes))
    return {"row_ind": clients.codes[order], "col_ind": experts.codes[order],
            "client_ids": tuple(clients.names), "expert_ids": tuple(experts.names)}


def _numbered(ids: Ids) -> Ids:
    """Return ids that are all whole numbers as those numbers: positions, where there are no ids."""
    numbers = [int(name) if name.isdecimal() else -1 for name in ids.names]
    most = max(numbers, default=-1)
    if most >= MAX_SIDE or [str(number) for number in numbers] != ids.names:
        return ids
    return Ids(np.array(numbers, dtype=np.int64)[ids.codes], list(map(str, range(most + 1))))


def _refuse(path: str | Path, line: int, row: tuple[str, ...], what: str) -> NoReturn:
    fail(path, f"{one_line(','.join(row))} {what}", line)
