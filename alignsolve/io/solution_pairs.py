"""The pairs of an answer as a table with the columns client and expert: CSV, TSV, Parquet."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from alignsolve.io import csv_table, parquet_table
from alignsolve.io.table import Column, shown_ids, write_columns
from alignsolve.model.arrays import IntArray
from alignsolve.model.feasibility import sorted_pairs
from alignsolve.model.ids import alike
from alignsolve.model.limits import MAX_SIDE
from alignsolve.model.long_tables import Ids
from alignsolve.model.problem import AlignmentProblem
from alignsolve.model.text import one_line

_AXES = ("client", "expert")


def write_pairs(
    problem: AlignmentProblem, rows: IntArray, cols: IntArray, path: str | Path
) -> None:
    """Write pairs by their ids."""
    columns: dict[str, Column] = {
        axis: [ids[at] for at in index.tolist()]
        for axis, ids, index in zip(_AXES, shown_ids(problem), (rows, cols), strict=True)
    }
    write_columns(columns, path)


def read_pairs(path: str | Path, problem: AlignmentProblem | None) -> dict[str, Any]:
    """Return the pairs of a table, which may have further columns, in any order.

    Returns
    -------
    fields : dict
        Fields of a `Solution`: sorted pairs of the problem, and its ids; without a problem, pairs
        of the ids that the table has.
    """
    is_parquet = Path(path).suffix.lower() == ".parquet"
    table = (parquet_table if is_parquet else csv_table).read_table(path, _AXES, None)
    found = [table.ids[axis] for axis in _AXES]
    if problem is None:
        clients, experts = map(_numbered, found)
        order = np.lexsort((experts.codes, clients.codes))
        return {"row_ind": clients.codes[order], "col_ind": experts.codes[order],
                "client_ids": tuple(clients.names), "expert_ids": tuple(experts.names)}
    known = [{name: at for at, name in enumerate(names)} for names in shown_ids(problem)]
    index = [np.array([places.get(name, -1) for name in ids.names], dtype=np.int64)[ids.codes]
             for ids, places in zip(found, known, strict=True)]
    unknown = (index[0] < 0) | (index[1] < 0)
    if unknown.any():
        at = int(np.argmax(unknown))
        pair = [ids.names[ids.codes[at]] for ids in found]
        near = "".join(alike(name, places) for name, places in zip(pair, known, strict=True)
                       if name not in places)
        table.origin.fail(f"{one_line(','.join(pair))} is not a client and an expert of the "
                          f"problem{near}", at)
    rows, cols = sorted_pairs(problem, *index)
    return {"row_ind": rows, "col_ind": cols, "client_ids": problem.client_ids,
            "expert_ids": problem.expert_ids}


def _numbered(ids: Ids) -> Ids:
    """Return ids that are all whole numbers as those numbers: positions, where there are no ids."""
    numbers = [int(name) if name.isdecimal() else -1 for name in ids.names]
    most = max(numbers, default=-1)
    if most >= MAX_SIDE or [str(number) for number in numbers] != ids.names:
        return ids
    return Ids(np.array(numbers, dtype=np.int64)[ids.codes], list(map(str, range(most + 1))))
