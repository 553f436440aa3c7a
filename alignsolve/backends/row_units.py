"""Rows of floats as whole multiples of one unit each, where they are."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from alignsolve.model.arrays import BoolArray, Float64Array, IntArray, concatenated_ranges

#: Decimals with up to this many digits are recognised.
MOST_DIGITS = 12

#: Largest coefficient of a row in its own unit.
LARGEST_UNITS = 2**40


def row_reduce(
    ufunc: np.ufunc, data: npt.NDArray[Any], indptr: npt.NDArray[np.integer[Any]], empty: float
) -> npt.NDArray[Any]:
    """Reduce each CSR row; rows without entries get `empty`."""
    counts = np.diff(indptr)
    result = np.full(counts.size, empty, dtype=data.dtype)
    filled = counts > 0
    if filled.any():
        result[filled] = ufunc.reduceat(data, indptr[:-1][filled])
    return result


def row_units(
    data: Float64Array, indptr: npt.NDArray[np.integer[Any]]
) -> tuple[IntArray, Float64Array]:
    """Write the rows of a CSR matrix as whole multiples of one unit each, where possible.

    Parameters
    ----------
    data : float64 array, shape (n_entries,)
        Coefficients.
    indptr : int array, shape (n_rows + 1,)
        Where each row starts.

    Returns
    -------
    whole : int64 array, shape (n_entries,)
        Coefficients in units; 0 in rows without a unit.
    per_unit : float64 array, shape (n_rows,)
        Units per 1.0, so that ``data = whole / per_unit`` up to float rounding;
        0 where there is no unit.

    Notes
    -----
    Tried in turn: decimals with 0 to `MOST_DIGITS` digits (a float counts as
    a decimal if it is the float nearest to it), then powers of two. The result
    is divided by each row's greatest common divisor.
    """
    counts = np.diff(indptr)
    whole = np.zeros(data.size, dtype=np.int64)
    per_unit = np.zeros(counts.size)
    pending = counts > 0
    per_unit[~pending] = 1.0
    for digits in range(MOST_DIGITS + 1):
        scale = 10.0**digits
        # Most rows that do not fit show it in their first entry.
        hopeful = np.flatnonzero(pending)
        hopeful = hopeful[_is_decimal(data[indptr[:-1][hopeful]], scale)]
        entries, of_row = concatenated_ranges(indptr[hopeful], indptr[hopeful + 1])
        fits = np.ones(hopeful.size, dtype=np.bool_)
        np.logical_and.at(fits, of_row, _is_decimal(data[entries], scale))
        kept = fits[of_row]
        whole[entries[kept]] = np.rint(data[entries[kept]] * scale).astype(np.int64)
        per_unit[hopeful[fits]] = scale
        pending[hopeful[fits]] = False
    rest = np.flatnonzero(pending)
    if rest.size:
        entries, of_row = concatenated_ranges(indptr[rest], indptr[rest + 1])
        starts = np.concatenate([[0], np.cumsum(counts[rest])])
        scales = _power_of_two(data[entries], starts)
        per_unit[rest] = scales
        whole[entries] = np.rint(data[entries] * scales[of_row]).astype(np.int64)
    divisor = np.maximum(row_reduce(np.gcd, np.abs(whole), indptr, 1), 1)
    whole //= np.repeat(divisor, counts)
    per_unit = per_unit / divisor
    too_fine = row_reduce(np.maximum, np.abs(whole), indptr, 0) > LARGEST_UNITS
    per_unit[too_fine] = 0.0
    whole[np.repeat(too_fine, counts)] = 0
    return whole, per_unit


def _is_decimal(values: Float64Array, scale: float) -> BoolArray:
    """Tell which floats are the nearest to a whole number over `scale`."""
    scaled = np.rint(values * scale)
    return np.asarray((scaled / scale == values) & (np.abs(scaled) < 2.0**53))


def last_digit(values: Float64Array) -> IntArray:
    """Return the largest k with which each float, not 0, is a whole multiple of 2**k."""
    mantissa, exponent = np.frexp(values)
    digits = np.ldexp(mantissa, 53).astype(np.int64)
    lowest = np.frexp((digits & -digits).astype(np.float64))[1]
    return np.asarray(exponent + (lowest - 54))


def _power_of_two(data: Float64Array, indptr: npt.NDArray[np.integer[Any]]) -> Float64Array:
    """Return per row the power of two that makes it whole, below 2**53; 0 for none."""
    finest = np.where(data == 0, 2000, last_digit(data))
    least = row_reduce(np.minimum, finest, indptr, 0)
    largest = row_reduce(np.maximum, np.abs(data), indptr, 0.0)
    usable = (np.abs(least) < 500) & (largest > 0)
    scale = np.where(usable, 2.0 ** -np.where(usable, least, 0).astype(np.float64), 0.0)
    return np.where(largest * scale < 2.0**53, scale, 0.0)
