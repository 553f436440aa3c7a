"""Columns of pyarrow as arrays and ids; its own way to numpy imports pandas where it is there."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from alignsolve.model.long_tables import Ids


def numbers_in(column: Any) -> npt.NDArray[Any]:
    """Return a chunked array of whole numbers or floats, none of which is missing."""
    return np.from_dlpack(column.combine_chunks())


def ids_in(column: Any) -> Ids:
    """Return a chunked array of texts, of type dictionary, as ids."""
    coded = column.combine_chunks()
    return Ids(np.from_dlpack(coded.indices).astype(np.int64),
               [str(name) for name in coded.dictionary.to_pylist()])
