"""Data frames in and out: pandas, polars, pyarrow and what else narwhals knows.

Long frames are read as the tables of `alignsolve.model.long_tables`. Matrices in frames give
a problem its ids. A problem keeps what is needed to answer in the library that it came from.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from alignsolve.errors import ProblemError
from alignsolve.model.arrays import IntArray
from alignsolve.model.foreign import libraries_of
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
    refuse_unused,
    to_arguments,
)
from alignsolve.model.text import one_line

#: Libraries that frames are made in, and the extras that install them.
EXTRAS = {"pandas": "pandas", "polars": "polars", "pyarrow": "parquet"}

#: Library of frames where a problem came from none.
DEFAULT = "pandas"


@dataclass(frozen=True)
class FrameKind:
    """What a problem's frames were, so that answers come in the same kind.

    Attributes
    ----------
    library : str
        As narwhals calls it: "pandas", "polars", "pyarrow", ...
    whole, texts : frozenset of str
        Columns of ids, of "client" and "expert", that held whole numbers, and that held texts.
    """

    library: str
    whole: frozenset[str] = frozenset()
    texts: frozenset[str] = frozenset()

    def ids(self, axis: str, ids: Sequence[str] | None, index: IntArray) -> Any:
        """Return the ids of some clients (or experts) as a column; without ids, the index."""
        if ids is None and axis not in self.texts:
            return index
        if ids is None:
            return [str(at) for at in index.tolist()]
        if axis in self.whole:
            return np.array(list(map(int, ids)))[index]
        return [ids[at] for at in index.tolist()]


def narwhals() -> Any:
    """Return the library, or raise `ProblemError` with what installs it."""
    try:
        import narwhals
    except ImportError:
        raise ProblemError("data frames need narwhals: pip install 'alignsolve[frames]'") from None
    return narwhals


# -- long frames in -----------------------------------------------------------------------


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
    headers: list[tuple[Origin, list[str]]] = []
    whole: set[str] = set()
    for name, ids, known in (("frame", ("client", "expert"), PAIR_COLUMNS),
                             ("clients", ("client",), CLIENT_COLUMNS),
                             ("experts", ("expert",), EXPERT_COLUMNS)):
        if frames[name] is None and name != "frame":
            continue
        frame = _eager(name, frames[name])
        origin = Origin(name, before_row=", row ")
        found[name] = _table(frame, origin, ids, known, names)
        headers.append((origin, frame.columns))
        if name == "frame":
            library = frame.implementation.value
            whole |= {own for own in ids if frame[names.get(own, own)].dtype.is_integer()}
    refuse_unused(headers, names)
    sense, arguments = to_arguments(found["frame"], found.get("clients"), found.get("experts"))
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
    return Ids.of(words)


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


# -- matrices in frames -------------------------------------------------------------------


def with_labels(name: str, arguments: dict[str, Any]) -> tuple[dict[str, Any], FrameKind | None]:
    """Return arguments with the ids that a matrix in a frame has, and the frame's kind.

    Parameters
    ----------
    name : {"fitness", "cost"}
        The argument with the matrix.
    arguments : dict
        Arguments of a problem. Ids among them stay.

    Notes
    -----
    Of pandas, an index and columns that have a name or hold texts are ids. Others, as the default
    ones, are not. Polars and pyarrow have no index: the names of the columns are the experts, but
    for "column_0", "column_1", ..., and a first column of texts are the clients.
    """
    matrix = arguments[name]
    library = _library_of(matrix)
    if library is None:
        return arguments, None
    clients = experts = None
    if library == "pandas":
        clients, experts = _labels(matrix.index), _labels(matrix.columns)
    else:
        labels = list(matrix.columns if library == "polars" else matrix.column_names)
        if labels and _holds_texts(library, matrix, labels[0]):
            clients = (matrix[labels[0]].to_list() if library == "polars"
                       else matrix[labels[0]].to_pylist())
            labels, matrix = labels[1:], matrix.drop([labels[0]])
        if labels != [f"column_{at}" for at in range(len(labels))]:
            experts = labels
    found = {name: matrix}
    for ids, labels_of in (("client_ids", clients), ("expert_ids", experts)):
        if arguments.get(ids) is None and labels_of is not None:
            found[ids] = labels_of
    return arguments | found, FrameKind(library)


def _library_of(value: Any) -> str | None:
    """Return the library of a frame, or None where it is no frame."""
    if type(value) is np.ndarray or not (hasattr(value, "columns") and hasattr(value, "shape")):
        return None
    found = libraries_of(value)
    return next((name for name in EXTRAS if name in found), None)


def _labels(index: Any) -> list[Any] | None:
    """Return the labels of pandas that are ids, or None where they are not."""
    if index.nlevels > 1:
        return None
    labels = index.tolist()
    is_text = bool(labels) and all(isinstance(label, str) for label in labels)
    return labels if is_text or index.name is not None else None


def _holds_texts(library: str, matrix: Any, label: str) -> bool:
    """Tell whether a column of a frame without an index holds texts."""
    kind = matrix[label].dtype if library == "polars" else matrix[label].type
    return str(kind).split("(")[0].split("<")[0] in (
        "String", "Categorical", "Enum", "string", "large_string", "dictionary"
    )


# -- frames out ---------------------------------------------------------------------------


def to_frame(
    columns: Mapping[str, Any], library: str | None = None, kind: FrameKind | None = None
) -> Any:
    """Return columns of one length as a data frame.

    Parameters
    ----------
    columns : mapping of str to array or list
        Numbers, truth values, or a list of str. NaN stands for a value that is not known.
    library : str, optional
        "pandas", "polars", "pyarrow" or another one that narwhals makes frames in.
    kind : FrameKind, optional
        Whose library is taken where none is given; else `DEFAULT`.

    Raises
    ------
    ProblemError
        If the library is missing, with what installs it, or is none that frames are made in.
    """
    nw = narwhals()
    name = library or (DEFAULT if kind is None else kind.library)
    schema = {column: _type(nw, values) for column, values in columns.items()}
    lists = {column: values if isinstance(values, list) else values.tolist()
             for column, values in columns.items()}  # fmt: skip
    try:
        return nw.from_dict(lists, schema=schema, backend=name).to_native()
    except (ImportError, AttributeError):
        extra = EXTRAS.get(name)
        if extra is None:
            raise ProblemError(f"library is {name!r}, in which no frames are made here; give one "
                               f"of {', '.join(EXTRAS)}") from None
        raise ProblemError(f"frames of {name} need it: pip install 'alignsolve[{extra}]'") from None
    except (ValueError, TypeError):
        raise ProblemError(f"library is {name!r}; give one of {', '.join(EXTRAS)}") from None


def _type(nw: Any, values: Any) -> Any:
    """Return the type of a column of a frame."""
    if isinstance(values, list):
        return nw.String
    return {"b": nw.Boolean, "i": nw.Int64, "u": nw.UInt64, "f": nw.Float64}[values.dtype.kind]
