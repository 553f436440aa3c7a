"""Solution files: an answer, what is claimed of it, and the problem that it is for.

JSON holds everything; CSV and TSV hold the pairs by their ids, for people and
spreadsheets. The digest of the problem tells a solution of another problem.
"""

from __future__ import annotations

import csv
import dataclasses
import io
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from alignsolve.arrays import Float64Array, IntArray
from alignsolve.conflict import Bound, Conflict
from alignsolve.digest import problem_digest
from alignsolve.dual import Multipliers
from alignsolve.errors import ProblemError
from alignsolve.feasibility import sorted_pairs
from alignsolve.io.csv_table import write_columns
from alignsolve.io.files import (
    MAX_JSON_BYTES,
    atomic_write,
    fail,
    json_text,
    located,
    one_line,
    parse_json,
    read_text,
)
from alignsolve.io.native_json import array_from_json, array_to_json
from alignsolve.io.schema import check_format, json_kind
from alignsolve.problem import AlignmentProblem
from alignsolve.result import Result, Status, Termination

FORMAT = "alignsolve-solution"
VERSION = 1

_KEYS = (
    "format", "version", "problem", "n_clients", "n_experts", "status", "termination",
    "objective", "bound", "bound_kind", "bound_source", "backend", "prices", "multipliers",
    "conflict", "row_ind", "col_ind",
)


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

    @classmethod
    def from_result(cls, result: Result) -> Solution:
        """Return what a result has to say in a file."""
        certificate = result.certificate
        return cls(
            result.row_ind, result.col_ind, result.status, result.termination,
            result.objective_value, result.dual_bound,
            "none" if certificate is None else certificate.kind,
            "" if certificate is None else certificate.source,
            result.backend, result.prices, None, result.conflict,
        )


def solution_document(solution: Solution, problem: AlignmentProblem) -> dict[str, Any]:
    """Return the JSON document of a solution, as it is written."""
    found = solution
    document: dict[str, Any] = {
        "format": FORMAT,
        "version": VERSION,
        "problem": problem_digest(problem),
        "n_clients": problem.n_clients,
        "n_experts": problem.n_experts,
        "status": None if found.status is None else found.status.value,
        "termination": None if found.termination is None else found.termination.value,
        "objective": array_to_json(found.objective_value),
        "bound": array_to_json(found.dual_bound),
        "bound_kind": found.bound_kind,
        "bound_source": found.bound_source,
        "backend": found.backend,
        "prices": None if found.prices is None else array_to_json(found.prices),
    }
    if found.multipliers is not None:
        document["multipliers"] = {
            "experts": array_to_json(found.multipliers.experts),
            "loads": {key: array_to_json(part) for key, part in found.multipliers.loads.items()},
            "budgets": {key: array_to_json(part)
                        for key, part in found.multipliers.budgets.items()},
            "fairness": None if found.multipliers.fairness is None
            else array_to_json(found.multipliers.fairness),
        }
    if found.conflict is not None:
        document["conflict"] = {
            "text": found.conflict.text,
            "bounds": [dataclasses.asdict(bound) | {"value": array_to_json(bound.value)}
                       for bound in found.conflict.bounds],
        }
    return document | {"row_ind": found.row_ind.tolist(), "col_ind": found.col_ind.tolist()}


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
        text = json_text(solution_document(solution, problem))
        with atomic_write(path) as stream:
            stream.write(text.encode())
    else:
        write_columns(
            {"client": _names(problem.client_ids, solution.row_ind),
             "expert": _names(problem.expert_ids, solution.col_ind)}, path,
        )


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


def _names(ids: tuple[str, ...] | None, index: IntArray) -> list[str]:
    return [str(at) if ids is None else ids[at] for at in index.tolist()]


def read_solution(path: str | Path, problem: AlignmentProblem) -> Solution:
    """Read a solution file for a problem.

    Raises
    ------
    ProblemError
        If the file is malformed, is for another problem, or names a pair that
        the problem has not.
    """
    text = read_text(path, MAX_JSON_BYTES)
    with located(path):
        if text.lstrip().startswith("{"):
            return _from_document(path, parse_json(path, text), problem)
        return _from_csv(path, text, problem)


def _from_document(path: str | Path, document: Any, problem: AlignmentProblem) -> Solution:
    """Check and convert a JSON document."""
    check_format(path, document, FORMAT, VERSION)
    for key in document:
        if key not in _KEYS:
            fail(path, f"unknown key {one_line(key)}; known: {', '.join(_KEYS)}")
    size = (document.get("n_clients"), document.get("n_experts"))
    if size != (problem.n_clients, problem.n_experts):
        fail(path, f"is for {one_line(size[0])[:12]} clients x {one_line(size[1])[:12]} experts, "
                   f"but the problem has {problem.n_clients} x {problem.n_experts}")
    digest = problem_digest(problem)
    if document.get("problem") != digest:
        fail(path, f"is for another problem: its digest is "
                   f"{one_line(document.get('problem'), 24)}, that of the problem "
                   f"{one_line(digest, 24)}")
    index = [array_from_json(name, document.get(name)) for name in ("row_ind", "col_ind")]
    rows, cols = sorted_pairs(problem, *index)
    multipliers = document.get("multipliers")
    conflict = document.get("conflict")
    return Solution(
        rows, cols,
        _member(Status, "status", document.get("status")),
        _member(Termination, "termination", document.get("termination")),
        _number("objective", document.get("objective")),
        _number("bound", document.get("bound")),
        _text(document, "bound_kind"), _text(document, "bound_source"), _text(document, "backend"),
        _prices("prices", document.get("prices"), problem.n_experts),
        None if multipliers is None else _multipliers(multipliers, problem),
        None if conflict is None else _conflict(conflict),
    )


def _member(kind: type[Any], key: str, value: Any) -> Any:
    """Return the member of an enumeration that a string names."""
    if value is None:
        return None
    known = [member.value for member in kind]
    if value not in known:
        raise ProblemError(f"{key} is {one_line(value)}; give one of {', '.join(known)}")
    return kind(value)


def _number(key: str, value: Any) -> float:
    if value is None:
        return math.nan
    array = array_from_json(key, value)
    if array.ndim:
        raise ProblemError(f"{key} is a list; give a number")
    return float(array)


def _text(document: dict[str, Any], key: str) -> str:
    value = document.get(key, "")
    if not isinstance(value, str):
        raise ProblemError(f"{key} is {json_kind(value)}; give a string")
    return value


def _prices(key: str, value: Any, length: int) -> Float64Array | None:
    """Return finite prices of the wanted length."""
    if value is None:
        return None
    array = array_from_json(key, value)
    if array.shape != (length,) or not np.isfinite(array).all():
        raise ProblemError(f"{key} has shape {array.shape}; give {length} finite numbers")
    return array.astype(np.float64)


def _multipliers(value: Any, problem: AlignmentProblem) -> Multipliers:
    """Return the stored multipliers, each checked against the problem."""
    keys = {"experts", "loads", "budgets", "fairness"}
    if not isinstance(value, dict) or not set(value) <= keys:
        raise ProblemError(f"multipliers is not an object with the keys {', '.join(sorted(keys))}")
    n, m = problem.n_clients, problem.n_experts
    named: dict[str, dict[str, Float64Array]] = {}
    for part, known, length in (("loads", problem.loads, m), ("budgets", problem.resources, n)):
        given = value.get(part, {})
        if not isinstance(given, dict) or not set(given) <= set(known):
            raise ProblemError(f"multipliers.{part} is not an object with keys among "
                               f"{', '.join(map(repr, known)) or 'none'}")
        named[part] = {key: _non_null(f"multipliers.{part}.{key}", prices, length)
                       for key, prices in given.items()}
    fairness = _prices("multipliers.fairness", value.get("fairness"), n)
    for key, prices in [*named["budgets"].items(), ("fairness", fairness)]:
        if prices is not None and (prices < 0).any():
            raise ProblemError(f"multipliers of {one_line(key)} has a negative price; give prices "
                               f">= 0")
    experts = _non_null("multipliers.experts", value.get("experts"), m)
    return Multipliers(experts, named["loads"], named["budgets"], fairness)


def _non_null(key: str, value: Any, length: int) -> Float64Array:
    prices = _prices(key, value, length)
    if prices is None:
        raise ProblemError(f"{key} is missing; give {length} numbers")
    return prices


def _conflict(value: Any) -> Conflict:
    """Return the stored conflict; whether it holds is for `check_conflict` to say."""
    names = {part.name for part in dataclasses.fields(Bound)}
    try:
        bounds = tuple(
            Bound(**(bound | {"value": _number("conflict value", bound["value"])}))
            for bound in value["bounds"] if set(bound) == names
        )
        if len(bounds) == len(value["bounds"]) and isinstance(value["text"], str):
            return Conflict(bounds, value["text"])
    except (TypeError, KeyError):
        pass
    raise ProblemError(f"conflict is not an object with a text and bounds of {', '.join(names)}")


def _from_csv(path: str | Path, text: str, problem: AlignmentProblem) -> Solution:
    """Read the pairs of a CSV file with the columns client and expert."""
    delimiter = max(",;\t", key=text.split("\n", 1)[0].count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    index = [
        {name: at for at, name in enumerate(ids or map(str, range(size)))}
        for ids, size in ((problem.client_ids, problem.n_clients),
                          (problem.expert_ids, problem.n_experts))
    ]
    pairs: list[tuple[int, int]] = []
    try:
        if [name.strip() for name in next(reader, [])] != ["client", "expert"]:
            fail(path, "is neither a solution in JSON nor a table with the columns client, expert",
                 1)
        for row in reader:
            if not any(row):
                continue
            if len(row) != 2 or row[0] not in index[0] or row[1] not in index[1]:
                fail(path, f"{one_line(delimiter.join(row))} is not a client and an expert of the "
                           f"problem", reader.line_num)
            pairs.append((index[0][row[0]], index[1][row[1]]))
    except csv.Error as error:
        fail(path, f"not CSV: {error}", reader.line_num)
    array = np.array(pairs, dtype=np.int64).reshape(-1, 2)
    rows, cols = sorted_pairs(problem, array[:, 0], array[:, 1])
    return Solution(rows, cols)
