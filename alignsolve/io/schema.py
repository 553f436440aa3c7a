"""The one schema of alignsolve's own problem files, shared by JSON and npz.

A problem is a document: a mapping of constructor arguments, with `format`,
`version`, `sense`, `dtype` and the declared size. Its leaves are arrays; how
they are spelled is the business of each format. An argument that repeats one
value along an axis is stored once: sizes per expert stay one row.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np
import numpy.typing as npt

from alignsolve.errors import ProblemError
from alignsolve.io.files import located
from alignsolve.model.arguments import FLOOR, MATRIX
from alignsolve.model.large_integers import has_large_integers
from alignsolve.model.limits import check_size
from alignsolve.model.problem import AlignmentProblem, Load, Resource, problem_of
from alignsolve.model.text import nearest, one_line

FORMAT = "alignsolve-problem"

#: Raised when a file of this version could be misread by older code.
VERSION = 1

#: Arguments that are plain arrays, with those that a maximisation and a minimisation name apart.
_ARRAYS = (
    "max_experts", "min_experts", "load_min", "load_max", "load_target", "load_penalty",
    "expert_group", "group_min", "group_max", "client_fitness_min", "client_cost_max",
    "switch_cost",
)
_IDS = ("client_ids", "expert_ids")
_PARTS: dict[str, type[Load] | type[Resource]] = {"loads": Load, "resources": Resource}
_AXES = ("rows", "cols")
_HEAD = ("format", "version", "sense", "dtype", "n_clients", "n_experts")

#: Turns a leaf of a document into an array; raises `ProblemError` naming the key path.
Decode = Callable[[str, Any], npt.NDArray[Any]]

#: Turns a leaf of a document into a list of strings.
DecodeIds = Callable[[str, Any], list[str]]


def compact(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return the smallest array that broadcasts back to `array`, bit for bit.

    Parameters
    ----------
    array : array of float64 or int64, one or two axes

    Returns
    -------
    compacted : array
        A scalar, a row (n_cols,), a column (n_rows, 1), or `array` itself.
    """
    if array.size == 0:
        return np.zeros((), dtype=array.dtype)
    bits = array.view(np.int64)  # so that -0.0 and 0.0 stay apart
    if (bits == bits[:1]).all():
        return compact(array[0]) if array.ndim == 2 else array[0]
    if array.ndim == 2 and (bits == bits[:, :1]).all():
        return array[:, :1]
    return array


def to_document(problem: AlignmentProblem) -> dict[str, Any]:
    """Return a problem as a document whose leaves are numpy arrays.

    Parameters
    ----------
    problem : AlignmentProblem
        Not copied, except that costs are the negated fitness.
    """
    arguments = problem.arguments()
    document: dict[str, Any] = {
        "format": FORMAT,
        "version": VERSION,
        "sense": problem.sense,
        "dtype": problem.fitness.dtype.name,
        "n_clients": problem.n_clients,
        "n_experts": problem.n_experts,
    }
    for name in _IDS:
        if arguments[name] is not None:
            document[name] = list(arguments[name])
    for name in _ARRAYS:
        value = arguments.get(name)
        if value is not None:
            document[name] = value if name == "expert_group" else compact(value)
    for name in _PARTS:
        document[name] = {
            key: {field: compact(np.asarray(array)) for field, array in vars(part).items()}
            for key, part in arguments[name].items()
        }
    if problem.held is not None:
        document["held"] = {"rows": problem.held.rows, "cols": problem.held.indices}
    document[MATRIX[problem.sense]] = arguments[MATRIX[problem.sense]]
    return document


def from_document(
    path: str | Path, document: Any, decode: Decode, decode_ids: DecodeIds
) -> AlignmentProblem:
    """Build the problem of a document.

    Raises
    ------
    ProblemError
        Naming the file and the key that is missing, unknown or wrong.
    """
    with located(path):
        shape = _checked_head(path, document)
        sense = document["sense"]
        other_sense, matrix = "min" if sense == "max" else "max", MATRIX[sense]
        for names in (MATRIX, FLOOR):
            if names[other_sense] in document:
                raise ProblemError(f'key "{names[other_sense]}" is there, but sense "{sense}" '
                                   f'takes "{names[sense]}" in its place')
        known = {*_HEAD, *_IDS, *_PARTS, *_ARRAYS, "held", matrix} - {FLOOR[other_sense]}
        check_keys("", document, sorted(known), required=(matrix, "max_experts"))
        arguments: dict[str, Any] = {
            name: decode(name, document[name]) for name in _ARRAYS if name in document
        }
        for name in _IDS:
            if name in document:
                arguments[name] = decode_ids(name, document[name])
        for name, kind in _PARTS.items():
            arguments[name] = _parts(name, document.get(name, {}), kind, decode)
        if "held" in document:
            held = expect("held", document["held"], Mapping, "an object")
            check_keys("held.", held, sorted(_AXES), required=_AXES)
            arguments["held"] = tuple(decode(f"held.{axis}", held[axis]) for axis in _AXES)
        values = decode(matrix, document[matrix])
        if values.size == 0 and 0 in shape:
            values = values.reshape(shape)
        if values.shape != shape:
            raise ProblemError(f"{matrix} has shape {values.shape}, but n_clients and n_experts "
                               f"declare {shape}")
        if not has_large_integers(values):
            values = values.astype(document["dtype"], copy=False)
        arguments[matrix] = values
        return problem_of(sense, arguments)


def check_format(document: Any, name: str, version: int) -> None:
    """Refuse a document that is of another kind, or of a version yet unknown."""
    if not isinstance(document, dict):
        raise ProblemError(f'holds {json_kind(document)}; give an object with the key "format"')
    if document.get("format") != name:
        raise ProblemError(f'{stated(document, "format")}; give "{name}"')
    found = document.get("version")
    if not _is_count(found) or not 1 <= found <= version:
        raise ProblemError(f'{stated(document, "version")}; this alignsolve reads 1 to {version}')


def stated(document: Mapping[str, Any], key: str) -> str:
    """Return what a document says under a key, for the start of an error."""
    if key not in document:
        return f'key "{key}" is missing'
    value = document[key]
    if isinstance(value, str):
        return f'key "{key}" is {one_line(value)}'
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return f'key "{key}" is {one_line(value, 30)[1:-1]}'
    return f'key "{key}" is {json_kind(value)}'


def _checked_head(path: str | Path, document: Any) -> tuple[int, int]:
    """Check format, version, sense, dtype and size; return the last."""
    check_format(document, FORMAT, VERSION)
    for key, allowed in (("sense", ("max", "min")), ("dtype", ("float64", "float32"))):
        if document.get(key) not in allowed:
            wanted = " or ".join(f'"{name}"' for name in allowed)
            raise ProblemError(f"{stated(document, key)}; give {wanted}")
    return declared_shape(path, document)


def declared_shape(path: str | Path, document: Mapping[str, Any]) -> tuple[int, int]:
    """Return the numbers of clients and experts that a document declares, within the limits."""
    for key in ("n_clients", "n_experts"):
        if not _is_count(document.get(key)):
            raise ProblemError(f"{stated(document, key)}; give a whole number >= 0")
    shape = document["n_clients"], document["n_experts"]
    check_size(path, *shape)
    return shape


def _is_count(value: Any) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def check_keys(
    prefix: str, mapping: Mapping[str, Any], known: Collection[str],
    required: Collection[str] = (),
) -> None:
    """Refuse unknown and missing keys."""
    for key in mapping:
        if key not in known:
            raise ProblemError(f"unknown key {one_line(prefix + key)}; {nearest(key, known)}")
    for key in required:
        if key not in mapping:
            raise ProblemError(f'key "{prefix}{key}" is missing')


def _parts(
    name: str, parts: Any, kind: type[Load] | type[Resource], decode: Decode
) -> dict[str, Load | Resource]:
    """Build the named loads or resources."""
    fields = dataclasses.fields(kind)
    required = [field.name for field in fields if field.default is dataclasses.MISSING]
    built = {}
    for key, part in expect(name, parts, Mapping, "an object of names").items():
        at = f"{name}.{one_line(key)[1:-1]}"
        expect(at, part, Mapping, "an object")
        check_keys(f"{at}.", part, sorted(field.name for field in fields), required)
        built[key] = kind(**{field: decode(f"{at}.{field}", part[field]) for field in part})
    return built


def expect(name: str, value: Any, kind: type[Any], would_be_right: str) -> Any:
    """Return a JSON value that is of a kind, or raise `ProblemError`."""
    if not isinstance(value, kind):
        raise ProblemError(f"{name} is {json_kind(value)}; give {would_be_right}")
    return value


def json_kind(value: Any) -> str:
    """Return what JSON calls a value."""
    kinds = {dict: "an object", list: "a list", str: "a string", bool: "true or false",
             int: "a number", float: "a number", type(None): "null"}
    return kinds.get(type(value), type(value).__name__)
