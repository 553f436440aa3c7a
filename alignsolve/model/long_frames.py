"""Long data frames as problems, read as the tables of `alignsolve.model.long_tables`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from alignsolve.errors import ProblemError
from alignsolve.model.frames import FrameKind, narwhals
from alignsolve.model.long_tables import (
    CLIENT_COLUMNS,
    EXPERT_COLUMNS,
    PAIR_COLUMNS,
    Ids,
    Origin,
    Table,
    check_names,
    known_names,
    numbers_of,
    to_arguments,
)
from alignsolve.model.text import one_line


def long_arguments(
    frames: Mapping[str, Any], columns: Mapping[str, str], more: Mapping[str, Any]
) -> tuple[str, dict[str, Any], FrameKind]:
    """Return the sense and arguments of a problem in a long frame, and the kind of the frame.

    Parameters
    ----------
    frames : mapping
        "frame" of the pairs, "clients" and "experts" beside it; None where there is none.
    columns : mapping of str to str
        What the frames call a column where it is not its name here.
    more : mapping of str to value
        Further arguments of the problem.

    Raises
    ------
    ProblemError
        Naming frame, row (from 0) and column of what is missing, repeated or wrong.
    """
    names = {own: other for own, other in columns.items() if own != other}
    check_names(names)
    found: dict[str, Table] = {}
    whole: set[str] = set()
    for name, ids, known in (("frame", ("client", "expert"), PAIR_COLUMNS),
                             ("clients", ("client",), CLIENT_COLUMNS),
                             ("experts", ("expert",), EXPERT_COLUMNS)):
        if frames[name] is None and name != "frame":
            continue
        frame = _eager(name, frames[name])
        found[name] = _table(frame, Origin(name, before_row=", row "), ids, known, names)
        if name == "frame":
            library = frame.implementation.value
            whole |= {own for own in ids if frame[names.get(own, own)].dtype.is_integer()}
    sense, arguments = to_arguments(found["frame"], found.get("clients"), found.get("experts"),
                                    names=names)
    _refuse_given_twice(arguments, more, found)
    kind = FrameKind(library, frozenset(whole), frozenset({"client", "expert"} - whole))
    return sense, arguments | dict(more), kind


def _eager(name: str, value: Any) -> Any:
    """Return a frame as narwhals' own, whose columns have names."""
    nw = narwhals()
    try:
        frame = nw.from_native(value, eager_only=True)
    except TypeError:
        lazy = hasattr(value, "collect")
        right = "its .collect()" if lazy else "a data frame of pandas, polars or pyarrow"
        raise ProblemError(f"{name} is {type(value).__name__}; give {right}") from None
    except nw.exceptions.DuplicateError:
        raise ProblemError(f"{name} has a column twice: {list(map(str, value.columns))}") from None
    odd = [column for column in frame.columns if not isinstance(column, str)]
    if odd:
        raise ProblemError(f"{name} has the column {odd[0]!r}; give names of text")
    return frame


def _table(
    frame: Any, origin: Origin, ids: tuple[str, ...], known: tuple[str, ...],
    names: Mapping[str, str],
) -> Table:
    """Read a frame into columns of ids and of numbers."""
    own = known_names(origin, frame.columns, ids, known, names)
    columns = {name: frame[given] for name, given in zip(own, frame.columns, strict=True)}
    return Table(
        origin,
        {name: _ids(origin, columns[name]) for name in ids},
        {name: _numbers(origin, name, column) for name, column in columns.items()
         if name not in ids},
        frame.columns,
    )


def _ids(origin: Origin, column: Any) -> Ids:
    """Return a column of strings or whole numbers as ids."""
    nw, kind = narwhals(), column.dtype
    _refuse_missing(origin, column)
    words = column.to_list()
    texts = isinstance(kind, (nw.String, nw.Categorical, nw.Enum))
    if not texts and not kind.is_integer() and not (
        isinstance(kind, nw.Object) and {str, int}.issuperset(map(type, words))
    ):
        origin.fail(f"column {one_line(column.name)} has type {kind}; give strings or whole "
                    f"numbers")
    try:
        return Ids.of(words)
    except ProblemError as error:
        origin.fail(f"column {one_line(column.name)}: {error}")


def _numbers(origin: Origin, name: str, column: Any) -> npt.NDArray[Any]:
    """Return a column of numbers as float64, or as float32 where it is."""
    nw, kind = narwhals(), column.dtype
    if isinstance(kind, nw.Boolean):
        _refuse_missing(origin, column)
        column = column.cast(nw.UInt8)
    elif not kind.is_integer() and not kind.is_float():
        origin.fail(f"column {one_line(column.name)} has type {kind}; give numbers")
    _refuse_missing(origin, column)
    return numbers_of(name, column.to_numpy())


def _refuse_missing(origin: Origin, column: Any) -> None:
    """Refuse a column with an entry that is missing or NaN."""
    missing = column.is_null()
    if column.dtype.is_float():
        missing = missing | column.is_nan().fill_null(True)
    if missing.any():
        at = int(np.argmax(missing.to_numpy()))
        origin.fail(f"{column.name} is missing; give a value", at)


def _refuse_given_twice(
    arguments: Mapping[str, Any], more: Mapping[str, Any], found: Mapping[str, Table]
) -> None:
    """Refuse arguments that columns stand for already."""
    for name in ("client_ids", "expert_ids", "fitness", "cost"):
        if name in more:
            raise ProblemError(f"from_frame got {name}; the frame has them")
    columns = {column for table in found.values() for column in table.numbers}
    for name in more:
        if name in columns or (arguments.get(name) and name in ("loads", "resources")):
            raise ProblemError(f"from_frame got {name} as an argument and in columns; give one")
