"""Whole numbers beyond 2**53, which float64 rounds: kept relative to each client's best one."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from alignsolve.errors import ProblemError
from alignsolve.model.arrays import Float64Array, IntArray

#: Whole numbers up to this are exact in float64.
EXACT = 2**53

#: Why a column or matrix of a file with such numbers is refused.
MIXED = ("has whole numbers beyond 2**53 among others that are none, or too far apart; take a "
         "common amount off all values")


@dataclass(frozen=True, eq=False)
class OffsetMatrix:
    """A matrix of whole numbers as floats and an offset of each row, in max sense.

    Attributes
    ----------
    relative : float64 array, shape (n_clients, n_experts)
        Values less the row's offset.
    offset : object array of int, shape (n_clients,)
        0 where float64 holds the row's values as they are.
    name : str
        "fitness" or "cost": what was given.
    """

    relative: Float64Array
    offset: npt.NDArray[Any]
    name: str

    def refuse_free(self, fewest: IntArray, most: IntArray, floors: Float64Array) -> None:
        """Refuse an offset of a client whose number of experts is not fixed, or whose sum counts.

        Parameters
        ----------
        fewest, most : int64 array, shape (n_clients,)
            Bounds on a client's number of experts, the latter at most n_experts.
        floors : float64 array, shape (n_clients,)
            Fairness floors, -inf for none.
        """
        large = self.offset != 0
        free = np.flatnonzero(large & (fewest != most))
        if free.size:
            i = int(free[0])
            raise ProblemError(
                f"{self.name}[{i}] holds whole numbers beyond 2**53, which matter as they are "
                f"where client {i} may hold {fewest[i]} to {most[i]} experts; take a common amount "
                f"off all values, or fix the number of experts (min_experts = max_experts)"
            )
        summed = np.flatnonzero(large & (floors > -np.inf))
        if summed.size:
            raise ProblemError(
                f"{self.name}[{summed[0]}] holds whole numbers beyond 2**53, and a bound on their "
                f"sum; take a common amount off the values and the bound"
            )

    def added_to(self, value: float, row_ind: IntArray) -> float:
        """Return the objective of some pairs from its relative value, rounded once."""
        whole = math.floor(value)
        exact = whole + sum(self.offset[row_ind].tolist())
        return float(exact) + (value - whole)

    def given(self) -> npt.NDArray[Any]:
        """Return the matrix as it was given, whole numbers of int64 or uint64."""
        sign = 1 if self.name == "fitness" else -1
        whole = sign * (self.relative.astype(np.int64).astype(object) + self.offset[:, None])
        kind = np.int64 if whole.max() < 2**63 else np.uint64
        return np.asarray(whole.astype(kind))


def has_large_integers(array: npt.NDArray[Any]) -> bool:
    """Tell whether an array holds whole numbers that float64 may round."""
    if array.dtype.kind not in "iu" or array.dtype.itemsize < 8 or not array.size:
        return False
    return int(array.max()) > EXACT or int(array.min()) < -EXACT


def offset_matrix(name: str, array: npt.NDArray[Any]) -> OffsetMatrix:
    """Return int64 or uint64 values relative to each row's best one.

    Parameters
    ----------
    name : str
        "fitness" or "cost"; costs are turned to max sense.
    array : int64 or uint64 array, shape (n_clients, n_experts)
        The values.

    Raises
    ------
    ProblemError
        If values of a client differ by more than 2**53.
    """
    if array.ndim != 2:
        raise ProblemError(
            f"{name} has {array.ndim} dimensions; give a matrix of clients x experts"
        )
    best = array.max(axis=1) if name == "fitness" else array.min(axis=1)
    # Differences modulo 2**64 are exact as unsigned ones: nothing is better than the best.
    wrapped, reference = array.astype(np.uint64), best.astype(np.uint64)[:, None]
    worse = reference - wrapped if name == "fitness" else wrapped - reference
    sign = 1 if name == "fitness" else -1
    large = (array.max(axis=1) > EXACT) | (array.min(axis=1) < -EXACT)
    wide = np.flatnonzero(large & (worse > EXACT).any(axis=1))
    if wide.size:
        i = int(wide[0])
        raise ProblemError(
            f"{name}[{i}] holds whole numbers beyond 2**53 that differ by {int(worse[i].max())}, "
            f"more than float64 holds exactly; give values that differ by at most 2**53"
        )
    relative = np.where(large[:, None], -worse.astype(np.float64), sign * array.astype(np.float64))
    offset = sign * best.astype(object)
    offset[~large] = 0
    return OffsetMatrix(relative, offset, name)
