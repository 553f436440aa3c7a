"""Which numbers settings, declarations and reports may hold, and what is said of a wrong one."""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass
from typing import Any, TypeGuard

import numpy as np

from alignsolve.errors import ProblemError

#: Longest text of a wrong value in an error.
LONGEST_TEXT = 40


@dataclass(frozen=True)
class Range:
    """Numbers that are right.

    Attributes
    ----------
    text : str
        What they are, to end an error.
    low, high : float
        The least and the largest of them.
    whole : bool
        Whether fractions are wrong.
    floats : bool
        Whether floats are right at all.
    """

    text: str
    low: float
    high: float
    whole: bool = False
    floats: bool = True

    def fault(self, name: str, value: Any) -> str:
        """Return what is wrong with a value, or "" if nothing is."""
        number = is_whole(value) or (self.floats and isinstance(value, (float, np.floating)))
        # False for NaN.
        if number and self.low <= value <= self.high and not (self.whole and value != int(value)):
            return ""
        return f"{name} is {short(value)}; give {self.text}"


_LEAST, _LARGEST = math.ulp(0.0), sys.float_info.max

#: In reports and profiles: far beyond any real number, far below where sums overflow.
AMOUNT = Range("a number from 0 to 1e+12", 0.0, 1e12)
SCORE = Range("a number from -1e+12 to 1e+12", -1e12, 1e12)
SHARE = Range("a number from 0 to 1", 0.0, 1.0)
ONE_OR_MORE = Range("a whole number from 1 to 2**53", 1, 2**53, floats=False)
COUNT = Range("a whole number from 0 to 2**53", 0, 2**53, whole=True)
ANY = Range("a finite number", -_LARGEST, _LARGEST)
NON_NEGATIVE = Range("a finite number >= 0", 0.0, _LARGEST)
POSITIVE = Range("a number > 0", _LEAST, math.inf)
FINITE_POSITIVE = Range("a finite number > 0", _LEAST, _LARGEST)
KERNEL_WIDTH = Range("a number from 0.001 to 1e+06", 1e-3, 1e6)
POSITIVE_SHARE = Range("a number > 0, at most 1", _LEAST, 1.0)


def is_whole(value: object) -> TypeGuard[int]:
    """Tell whether a value is an integer, and no bool."""
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)


def fault_of(record: Any, **ranges: Range) -> str:
    """Return what is wrong with the numbers of a dataclass, field by field, or "" if nothing is.

    None is right in fields that are None by default.
    """
    for name, wanted in ranges.items():
        value, optional = getattr(record, name), getattr(type(record), name, 0) is None
        if (value is not None or not optional) and (fault := wanted.fault(name, value)):
            return f"{fault}, or None" if optional else fault
    return ""


def expert_fault(expert: object, n_experts: int) -> str:
    """Return what is wrong with the index of an expert, or "" if nothing is."""
    if not is_whole(expert):
        return f"expert {short(expert)} is {type(expert).__name__}; give its index"
    if not 0 <= expert < n_experts:
        return f"expert {short(expert)} does not exist; give 0 to {n_experts - 1}"
    return ""


def require(settings: Any, **ranges: Range) -> None:
    """Raise `ProblemError` where a number of a dataclass is wrong; see `fault_of`."""
    if fault := fault_of(settings, **ranges):
        raise ProblemError(fault)


def short(value: object) -> str:
    """Shorten a value for a message."""
    if isinstance(value, int) and abs(value) > 10**18:
        return f"a whole number of {math.floor(value.bit_length() * math.log10(2)) + 1} digits"
    text = repr(value)
    return text if len(text) <= LONGEST_TEXT else text[: LONGEST_TEXT - 3] + "..."
