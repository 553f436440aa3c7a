"""Problems as JSON: for people, small instances and version control.

Infinite numbers are the strings ``"inf"`` and ``"-inf"``, because JSON has
none; NaN never occurs.
"""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from alignsolve.errors import ProblemError
from alignsolve.io.files import json_text, parse_json, read_text, write_text
from alignsolve.io.schema import expect, from_document, json_kind, to_document
from alignsolve.model.large_integers import EXACT, MIXED
from alignsolve.model.limits import MAX_JSON_BYTES
from alignsolve.model.problem import AlignmentProblem
from alignsolve.model.text import one_line

_INFINITE = {"inf": np.inf, "-inf": -np.inf}

#: Whole numbers from here on do not fit into a float64.
_TOO_LARGE = 2**1024


def read(path: str | Path) -> AlignmentProblem:
    """Read a problem from a JSON file; see `alignsolve.io.schema`."""
    document = parse_json(path, read_text(path, MAX_JSON_BYTES))
    return from_document(path, document, array_from_json, ids_from_json)


def write(problem: AlignmentProblem, path: str | Path) -> None:
    """Write a problem as JSON, lossless."""
    write_text(path, [json_text(plain(to_document(problem)))])


def plain(value: Any) -> Any:
    """Return a value as JSON can hold it: NaN becomes null, infinities "inf" and "-inf"."""
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, Mapping):
        return {str(key): plain(part) for key, part in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(part) for part in value]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = dataclasses.fields(value)
        return {field.name: plain(getattr(value, field.name)) for field in fields}
    if isinstance(value, (float, np.ndarray, np.generic)):
        return array_to_json(value)
    return value if value is None or isinstance(value, (bool, int, str)) else str(value)


def array_to_json(array: Any) -> Any:
    """Return an array as nested lists of numbers, infinities as strings.

    Numbers are written so that reading gives the same bits; float32 in as few
    digits as tell it apart from other float32 numbers.
    """
    array = np.asarray(array)
    if array.dtype == np.float32:
        array = array.astype(np.str_).astype(np.float64)
    if array.dtype.kind != "f" or np.isfinite(array).all():
        return array.tolist()
    listed = array.astype(object)
    listed[array == np.inf], listed[array == -np.inf], listed[np.isnan(array)] = "inf", "-inf", None
    return listed.tolist()


def array_from_json(name: str, value: Any) -> npt.NDArray[Any]:
    """Return a number or (nested) list of numbers as an array.

    Raises
    ------
    ProblemError
        Naming the entry that is no number, or the row of another length.
    """
    try:
        array = np.asarray(value)
    except ValueError:  # rows of different lengths
        array = np.asarray(None)
    # Infinity is spelled as a string, so an infinite number was one like 1e999; and numpy takes
    # true and false for 1 and 0.
    listed = np.asarray(value, dtype=object)
    if (array.dtype.kind in "iuf" and not np.isinf(array).any()
            and bool not in map(type, listed.flat)):
        # Whole numbers of both signs beyond int64 become floats.
        if array.dtype.kind == "f" and any(
            type(entry) is int and abs(entry) > EXACT and int(float(entry)) != entry
            for entry in listed.flat
        ):
            raise ProblemError(f"{name} {MIXED}")
        return array
    return np.asarray(_numbers(name, value), dtype=np.float64)


def _numbers(name: str, value: Any, depth: int = 0) -> Any:
    """Return a number, or a list or rows of one length, with "inf" and "-inf" as numbers."""
    if not isinstance(value, list):
        return _number(name, value)
    if depth == 2:
        raise ProblemError(f"{name} is nested more than twice; give a list or a list of rows")
    converted = []
    for at, part in enumerate(value):
        converted.append(_numbers(f"{name}[{at}]", part, depth + 1))
        if isinstance(part, list) is not isinstance(value[0], list):
            raise ProblemError(f"{name}[{at}] is {json_kind(part)} among others that are "
                               f"{json_kind(value[0])}")
        if isinstance(part, list) and len(part) != len(value[0]):
            raise ProblemError(f"{name}[{at}] has {len(part)} entries, but {name}[0] has "
                               f"{len(value[0])}")
    return converted


def _number(name: str, value: Any) -> float:
    if isinstance(value, str) and value in _INFINITE:
        return _INFINITE[value]
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        shown = one_line(value) if isinstance(value, str) else json_kind(value)
        raise ProblemError(f'{name} is {shown}; give a number, "inf" or "-inf"')
    if not abs(value) < _TOO_LARGE:
        raise ProblemError(f"{name} is a number beyond 1e308; give a smaller one")
    return value


def ids_from_json(name: str, value: Any) -> list[str]:
    """Return a list of strings, or raise `ProblemError`."""
    strings: list[str] = expect(name, value, list, "a list of strings")
    for at, part in enumerate(strings):
        expect(f"{name}[{at}]", part, str, "a string")
    return strings
