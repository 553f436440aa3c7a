"""What a kernel's arguments tell: how much there is to do, and in which type of numbers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any


def largest(args: Iterable[Any]) -> int:
    """Return the entries of the largest array of numbers; a pool of records is no measure."""
    most = 0
    for arg in args:
        if isinstance(arg, tuple):
            most = max(most, largest(arg))
        elif hasattr(arg, "dtype") and arg.dtype.names is None and arg.size > most:
            most = arg.size
    return most


def kind_of(args: Iterable[Any]) -> str:
    """Return the name of the type of the first array, of values or of numba's types."""
    for arg in args:
        if isinstance(arg, tuple) or hasattr(arg, "types"):
            inner = kind_of(arg)
            if inner:
                return inner
        elif hasattr(arg, "dtype") and hasattr(arg, "ndim"):
            return str(arg.dtype)
    return ""
