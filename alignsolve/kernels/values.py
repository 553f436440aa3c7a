"""What kernels read and write: matrices of float32 or float64, compiled once for both; copies."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from alignsolve.kernels.decorator import kernel


def by_type(values: npt.NDArray[Any]) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Return a matrix as the float32 and the float64 one that kernels read.

    Parameters
    ----------
    values : float32 or float64 array, shape (n, m)
        The matrix, in C order.

    Returns
    -------
    single, double : float32 array, float64 array
        The matrix in the place of its type, and one without rows in the other; both read-only.
    """
    is_single = values.dtype == np.float32
    other = np.empty((0, values.shape[1]), np.float64 if is_single else np.float32)
    values = values.view()
    values.flags.writeable = other.flags.writeable = False
    return (values, other) if is_single else (other, values)


@kernel(called=False)
def entry(values, i, j):
    """Return an entry of a matrix, as `by_type` returns it."""
    single, double = values
    return np.float64(single[i, j]) if single.size > 0 else double[i, j]


@kernel(called=False)
def read_row(values, i, out):
    """Write a row of a matrix, as `by_type` returns it, to ``out[:m]``."""
    single, double = values
    if single.size > 0:
        for j in range(single.shape[1]):
            out[j] = single[i, j]
    else:
        for j in range(double.shape[1]):
            out[j] = double[i, j]


@kernel(called=False)
def copy_entries(values, out):
    """Write all entries of a vector to another; ``out[:] = values`` compiles for 2 s, once."""
    for t in range(values.size):
        out[t] = values[t]


@kernel(called=False)
def holds_any(values):
    """Tell whether an entry is not 0; a method of arrays takes four times as long to compile."""
    found = False
    for t in range(values.size):
        found = found or values[t] != 0
    return found
