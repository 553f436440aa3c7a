"""Data frames in and out: pandas, polars, pyarrow and what else narwhals knows.

Matrices in frames give a problem its ids; long frames are read in
`alignsolve.model.long_frames`. A problem keeps what is needed to answer in the library that it
came from.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from alignsolve.errors import ProblemError
from alignsolve.model.arrays import IntArray
from alignsolve.model.foreign import libraries_of

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

    def with_new_ids(self, given: Collection[str]) -> FrameKind:
        """Return the kind where some of ``client_ids`` and ``expert_ids`` are given anew: texts."""
        return replace(self, whole=self.whole - {name.removesuffix("_ids") for name in given})

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
        if matrix.size and isinstance(matrix.iloc[0, 0], str):
            label = matrix.columns[0]
            raise ProblemError(f"{name} has texts in the column {label!r}; a table with a row for "
                               f"each pair goes to AlignmentProblem.from_frame, and a matrix with "
                               f"clients in a column is to be given as .set_index({label!r})")
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
