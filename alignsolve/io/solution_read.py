"""Read solution files; see `alignsolve.io.solution`. Nothing in them is believed."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from alignsolve.certificate.best_responses import Multipliers
from alignsolve.elastic import Relaxation
from alignsolve.errors import ProblemError
from alignsolve.infeasibility import Bound, Conflict
from alignsolve.io.files import MAX_JSON_BYTES, fail, located, one_line, parse_json, read_text
from alignsolve.io.native_json import array_from_json
from alignsolve.io.schema import check_format, json_kind, stated
from alignsolve.io.solution import FORMAT, VERSION, Solution
from alignsolve.model.arrays import Float64Array
from alignsolve.model.digest import problem_digest
from alignsolve.model.feasibility import sorted_pairs
from alignsolve.model.problem import AlignmentProblem
from alignsolve.status import Status, Termination

_KEYS = (
    "format", "version", "problem", "n_clients", "n_experts", "status", "termination",
    "objective", "bound", "bound_kind", "bound_source", "backend", "prices", "multipliers",
    "conflict", "relaxations", "row_ind", "col_ind",
)


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
    for key, size in (("n_clients", problem.n_clients), ("n_experts", problem.n_experts)):
        if document.get(key) != size:
            fail(path, f"is for another problem: {stated(document, key)}, not {size}")
    digest = problem_digest(problem)
    if document.get("problem") != digest:
        fail(path, f"is for another problem: {stated(document, 'problem')}, but the digest of this "
                   f"one is {digest!r}")
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
        _relaxations(document.get("relaxations", [])),
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
    found = _fields("conflict", value, Conflict, {
        "text": _is(str), "irreducible": _is(bool), "proved": _is(bool), "experts": _is_indices,
        "bounds": _is(list), "needed": _any, "possible": _any,
    })
    bounds = [_bound(f"conflict.bounds[{at}]", bound) for at, bound in enumerate(found["bounds"])]
    for key in ("needed", "possible"):
        if found.get(key) is not None:
            found[key] = _number(f"conflict.{key}", found[key])
    return Conflict(**(found | {"bounds": tuple(bounds), "experts": tuple(found["experts"])}))


def _bound(name: str, value: Any) -> Bound:
    """Return a stored bound; whether the problem has it is not for here."""
    parts = _fields(name, value, Bound, {
        "kind": _is(str), "client": _is_index, "expert": _is_index, "group": _is_index,
        "name": _is(str, type(None)), "value": _any,
        "clients": lambda v: v is None or _is_indices(v),
    })
    if parts.get("clients") is not None:
        parts["clients"] = tuple(parts["clients"])
    return Bound(**(parts | {"value": _number(f"{name}.value", parts["value"])}))


def _relaxations(value: Any) -> tuple[Relaxation, ...]:
    """Return the stored relaxations; whether they fit is for `relaxed_by` to say."""
    if not isinstance(value, list):
        raise ProblemError(f"relaxations is {json_kind(value)}; give a list")
    found = []
    for at, part in enumerate(value):
        name = f"relaxations[{at}]"
        parts = _fields(name, part, Relaxation, {
            "bound": _any, "amount": _any, "value": _any, "text": _is(str),
        })
        found.append(Relaxation(
            _bound(f"{name}.bound", parts["bound"]),
            _number(f"{name}.amount", parts["amount"]), _number(f"{name}.value", parts["value"]),
            parts["text"],
        ))
    return tuple(found)


def _fields(
    name: str, value: Any, kind: type[Any], checks: dict[str, Callable[[Any], bool]]
) -> dict[str, Any]:
    """Return the fields of a stored dataclass, each checked."""
    if not isinstance(value, dict):
        raise ProblemError(f"{name} is {json_kind(value)}; give an object")
    if set(value) != set(checks):
        raise ProblemError(f"{name} has the keys {one_line(', '.join(sorted(value)))}; give "
                           f"{', '.join(sorted(checks))}")
    for key, check in checks.items():
        if not check(value[key]):
            raise ProblemError(f"{name}.{key} is {json_kind(value[key])}, or holds what is no "
                               f"part of a {kind.__name__.lower()}")
    return dict(value)


def _any(value: Any) -> bool:
    return True


def _is(*kinds: type[Any]) -> Callable[[Any], bool]:
    """Return a check of a value's exact type."""
    return lambda value: type(value) in kinds


def _is_index(value: Any) -> bool:
    return value is None or (type(value) is int and 0 <= value < 2**53)


def _is_indices(value: Any) -> bool:
    return isinstance(value, list) and all(part is not None and _is_index(part) for part in value)


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
