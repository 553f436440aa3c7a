"""Solution files: an answer, what is claimed of it, and the problem that it is for.

JSON holds everything; CSV and TSV hold the pairs by their ids, for people and
spreadsheets. The digest of the problem tells a solution of another problem.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alignsolve.certificate.best_responses import Multipliers
from alignsolve.elastic import Relaxation
from alignsolve.errors import ProblemError
from alignsolve.infeasibility import Conflict
from alignsolve.io.csv_table import write_columns
from alignsolve.io.files import fail, json_text, one_line, write_text
from alignsolve.io.native_json import plain
from alignsolve.io.table import shown_ids
from alignsolve.model.arrays import Float64Array, IntArray
from alignsolve.model.digest import problem_digest
from alignsolve.model.problem import AlignmentProblem
from alignsolve.result import Result
from alignsolve.status import Status, Termination

FORMAT = "alignsolve-solution"

#: Version 2 has the key "relaxations". Files without are written as version 1.
VERSION = 2


@dataclass(frozen=True, eq=False)
class Solution:
    """What a solution file says; nothing of it is believed.

    Attributes
    ----------
    row_ind, col_ind : int64 array, shape (n_pairs,)
        The assignment, sorted by (row, col); empty without an answer.
    status : Status or None
        What is claimed; None where the file holds pairs alone.
    termination : Termination or None
        What ended the solve.
    objective_value, dual_bound : float
        Claimed value and bound, in the problem's own sense; NaN for none.
    bound_kind, bound_source : str
        "prices", "solver" or "none", and the solver with its version.
    backend : str
        Who answered.
    prices : float64 array, shape (n_experts,), or None
        Shadow prices, in the problem's own sense.
    multipliers : Multipliers or None
        Prices of further bounds, in max sense, for problems of the mip class.
    conflict : Conflict or None
        Bounds that are claimed to contradict each other.
    relaxations : tuple of Relaxation
        Relaxed bounds; value, bound and prices are then those of the
        problem that they loosen.
    """

    row_ind: IntArray
    col_ind: IntArray
    status: Status | None = None
    termination: Termination | None = None
    objective_value: float = math.nan
    dual_bound: float = math.nan
    bound_kind: str = "none"
    bound_source: str = ""
    backend: str = ""
    prices: Float64Array | None = None
    multipliers: Multipliers | None = None
    conflict: Conflict | None = None
    relaxations: tuple[Relaxation, ...] = ()

    @classmethod
    def from_result(cls, result: Result) -> Solution:
        """Return what a result has to say in a file."""
        certificate = result.certificate
        return cls(
            result.row_ind, result.col_ind, result.status, result.termination,
            result.objective_value, result.dual_bound,
            "none" if certificate is None else certificate.kind,
            "" if certificate is None else certificate.source,
            result.backend, result.prices, None, result.conflict, result.relaxations,
        )


def solution_document(solution: Solution, problem: AlignmentProblem) -> dict[str, Any]:
    """Return the JSON document of a solution, as it is written."""
    document: dict[str, Any] = {
        "format": FORMAT,
        "version": VERSION if solution.relaxations else 1,
        "problem": problem_digest(problem),
        "n_clients": problem.n_clients,
        "n_experts": problem.n_experts,
        "status": solution.status,
        "termination": solution.termination,
        "objective": solution.objective_value,
        "bound": solution.dual_bound,
    }
    for name in ("bound_kind", "bound_source", "backend", "prices"):
        document[name] = getattr(solution, name)
    for name in ("multipliers", "conflict", "relaxations"):
        if getattr(solution, name):
            document[name] = getattr(solution, name)
    document |= {"row_ind": solution.row_ind, "col_ind": solution.col_ind}
    return {key: plain(value) for key, value in document.items()}


def write_solution(
    result: Result | Solution, path: str | Path, problem: AlignmentProblem | None = None
) -> None:
    """Write an answer as JSON, or its pairs as CSV or TSV.

    Parameters
    ----------
    result : Result or Solution
        The answer; infeasibility is written with its conflict.
    path : path
        ``.json``, ``.csv`` or ``.tsv``.
    problem : AlignmentProblem, optional
        Needed for a `Solution`; a `Result` has its own.

    Raises
    ------
    ProblemError
        If the suffix is another, or the file cannot be written.
    """
    if isinstance(result, Result):
        solution, problem = Solution.from_result(result), result.problem
    else:
        solution = result
    if problem is None:
        raise ProblemError("write_solution needs the problem of a Solution")
    if check_solution_path(path) == ".json":
        write_text(path, [json_text(solution_document(solution, problem))])
    else:
        clients, experts = shown_ids(problem)
        write_columns({"client": [clients[at] for at in solution.row_ind.tolist()],
                       "expert": [experts[at] for at in solution.col_ind.tolist()]}, path)


def check_solution_path(path: str | Path) -> str:
    """Return the suffix of a solution file that can be written, before anything is solved.

    Raises
    ------
    ProblemError
        If the suffix is another, or there is no such folder.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in (".json", ".csv", ".tsv"):
        fail(path, f"suffix {one_line(suffix)} is not that of a solution; give .json, or .csv for "
                   f"the pairs alone")
    if not Path(path).parent.is_dir():
        fail(path, "cannot be written: there is no such folder")
    return suffix
