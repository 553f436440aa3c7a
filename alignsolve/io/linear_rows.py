"""What MPS and LP files have in common: named one-sided rows and columns of a problem."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from alignsolve.io.files import atomic_write, fail
from alignsolve.model.arrays import BoolArray, Float64Array
from alignsolve.model.problem import AlignmentProblem, Feature

if TYPE_CHECKING:
    import scipy.sparse as sp

    from alignsolve.backends.milp.linear_model import RowBlock

#: First words of a file.
HEADING = "alignsolve: x_i_j = 1 where client i holds expert j"


@dataclass(frozen=True, eq=False)
class LinearFile:
    """A linear model in the problem's own sense, every row with one bound.

    Attributes
    ----------
    sense : {"max", "min"}
        Of the objective.
    columns, rows : list of str
        Names.
    objective : float64 array, shape (n_columns,)
    matrix : scipy.sparse.csr_array, shape (n_rows, n_columns)
    kinds : list of str
        "E", "L" (at most) or "G" (at least), per row.
    sides : float64 array, shape (n_rows,)
        Right-hand sides.
    lower, upper : float64 array, shape (n_columns,)
    is_integer : bool array, shape (n_columns,)
    n_binaries : int
        That many first columns are 0 or 1.
    notes : list of str
        What the rows are.
    """

    sense: str
    columns: list[str]
    rows: list[str]
    objective: Float64Array
    matrix: sp.csr_array
    kinds: list[str]
    sides: Float64Array
    lower: Float64Array
    upper: Float64Array
    is_integer: BoolArray
    n_binaries: int
    notes: list[str]


def linear_file(problem: AlignmentProblem, path: str | Path) -> LinearFile:
    """Build the content of an MPS or LP file.

    Raises
    ------
    ProblemError
        If a linear file cannot hold the problem.

    Notes
    -----
    A row with two different bounds becomes two rows: not all readers agree on
    ranges, least of all on those that contradict themselves. Bounds are written
    as the problem states them; solvers have tolerances of their own.
    """
    from alignsolve.backends.milp.linear_model import build_linear_model

    if Feature.NAMED_LOAD_PENALTY in problem.features:
        name = next(name for name, load in problem.loads.items() if np.any(load.penalty))
        fail(path, f"a linear file cannot hold the quadratic penalty of load {name!r}; write JSON "
                   f"or npz, or set the penalty to 0")
    if not (problem.n_clients and problem.n_experts):
        fail(path, "a model without a client or without an expert is not written")
    model = build_linear_model(problem, all_holder_pieces=True)
    if not model.n_columns:
        fail(path, "no client may hold any expert, so that the model has no columns; it is not "
                   "written")
    low, high = model.row_lower, model.row_upper
    equal = low == high
    above, below = np.isfinite(low) & ~equal, np.isfinite(high) & ~equal
    picked = [np.flatnonzero(kind) for kind in (equal, above, below)]
    order = np.concatenate(picked)
    names, notes = _row_names(problem, model.blocks)
    return LinearFile(
        problem.sense,
        model.column_names(),
        [names[at] + suffix for rows, suffix in zip(picked, ("", "_min", "_max"), strict=True)
         for at in rows.tolist()],
        0 + problem.sign * model.objective,
        model.matrix[order],
        [kind for rows, kind in zip(picked, "EGL", strict=True) for _ in rows],
        np.concatenate([low[picked[0]], low[picked[1]], high[picked[2]]]),
        model.lower,
        model.upper,
        model.is_integer,
        model.n_pairs,
        [repr(problem), HEADING, *notes],
    )


def write_lines(path: str | Path, lines: Iterable[str]) -> None:
    """Write a text file line by line, whole or not at all."""
    with atomic_write(path) as stream:
        stream.writelines(f"{line}\n".encode() for line in lines)


def _row_names(
    problem: AlignmentProblem, blocks: tuple[RowBlock, ...]
) -> tuple[list[str], list[str]]:
    """Return a plain name for each row, and what the names of loads and resources stand for.

    Names of loads and resources can be anything, so that their rows are
    numbered: ``resource2_7`` is resource 2 of client 7.
    """
    names: list[str] = []
    notes: list[str] = []
    for number, block in enumerate(blocks):
        prefix = f"{block.kind}{number}" if block.name else block.kind
        if block.name:
            notes.append(f"{prefix}: {block.kind} {block.name!a}")
        for key in block.keys.tolist():
            where = (f"{key // problem.n_groups}_{key % problem.n_groups}"
                     if block.kind == "group" else str(key))
            names.append(f"{prefix}_{where}")
    return names, notes
