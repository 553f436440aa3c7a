"""Matrices of fitness that are read where they are: ``.npy``, and tables of Arrow.

A row per client and a column per expert, one slot a client and no bound on loads until
``--set`` or `AlignmentProblem.replace` says otherwise.
"""

from __future__ import annotations

from pathlib import Path

from alignsolve.model.arguments import MATRIX
from alignsolve.model.problem import AlignmentProblem, problem_of
from alignsolve.model.sources import FitnessSource, MappedSource, TableSource


def read(path: str | Path, sense: str | None) -> AlignmentProblem:
    """Read a problem whose fitness stays in its file.

    Parameters
    ----------
    path : path
        A ``.npy`` file of numbers, or a file of Arrow (Feather).
    sense : {"max", "min"}, optional
        Whether the values are fitness (default) or cost.

    Raises
    ------
    ProblemError
        If the file cannot be read, or holds something else.
    """
    is_npy = Path(path).suffix.lower() == ".npy"
    source: FitnessSource = MappedSource(path) if is_npy else TableSource(path)
    return problem_of(sense or "max", {MATRIX[sense or "max"]: source, "max_experts": 1})
