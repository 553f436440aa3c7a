"""What MPS and LP files have in common: named one-sided rows and columns of a problem."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from alignsolve.io.files import fail
from alignsolve.model.arrays import Float64Array
from alignsolve.model.problem import AlignmentProblem, Feature

if TYPE_CHECKING:
    import scipy.sparse as sp

    from alignsolve.backends.milp.linear_model import LinearModel, RowBlock

#: First words of a file.
HEADING = "alignsolve: x_i_j = 1 where client i holds expert j"


@dataclass(frozen=True, eq=False)
class LinearFile:
    """A linear model in the problem's own sense, every row with one bound.

    Attributes
    ----------
    sense : {"max", "min"}
        Of the objective.
    model : LinearModel
        Bounds and types of the columns, of which the first `model.n_pairs` are 0 or 1.
    columns : list of str
        Names.
    objective : float64 array, shape (n_columns,)
    rows : list of (str, str, float)
        Name, kind ("E", "L" for at most or "G" for at least) and right-hand side.
    matrix : scipy.sparse.csr_array, shape (n_rows, n_columns)
    notes : list of str
        What the rows are.
    """

    sense: str
    model: LinearModel
    columns: list[str]
    objective: Float64Array
    rows: list[tuple[str, str, float]]
    matrix: sp.csr_array
    notes: list[str]

    def further_bounds(self) -> Iterator[tuple[str, float, float]]:
        """Yield name, lower and upper bound of the columns that are not 0 or 1."""
        bounds = zip(self.columns, self.model.lower.tolist(), self.model.upper.tolist(),
                     strict=True)
        return itertools.islice(bounds, self.model.n_pairs, None)


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
    _refuse_infinite(path, model.blocks)
    low, high = model.row_lower, model.row_upper
    equal = low == high
    names, notes = _row_names(problem, model.blocks)
    rows: list[tuple[str, str, float]] = []
    order: list[int] = []
    for kind, suffix, side, picked in (
        ("E", "", low, equal),
        ("G", "_min", low, np.isfinite(low) & ~equal),
        ("L", "_max", high, np.isfinite(high) & ~equal),
    ):
        index = np.flatnonzero(picked).tolist()
        rows += [(names[at] + suffix, kind, float(side[at])) for at in index]
        order += index
    return LinearFile(
        problem.sense,
        model,
        model.column_names(),
        0 + problem.sign * model.objective,
        rows,
        model.matrix[order],
        [repr(problem), HEADING, *notes],
    )


def _refuse_infinite(path: str | Path, blocks: tuple[RowBlock, ...]) -> None:
    """Refuse rows that ask for an infinite sum; each other row has a finite side."""
    for block in blocks:
        broken = (block.lower == np.inf) | (block.upper == -np.inf)
        if broken.any():
            what = f"{block.kind} {block.name}".strip()
            fail(path, f"no answer keeps the infinite bound on {what}"
                       f"[{block.keys[broken.argmax()]}], which a linear file cannot hold; give a "
                       f"finite one")


def entries(matrix: sp.csr_array | sp.csc_array) -> Iterator[list[tuple[int, float]]]:
    """Yield index and value of the entries of each row (csr), or of each column (csc)."""
    indices, values = matrix.indices.tolist(), matrix.data.tolist()
    for start, stop in itertools.pairwise(matrix.indptr.tolist()):
        yield list(zip(indices[start:stop], values[start:stop], strict=True))


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
