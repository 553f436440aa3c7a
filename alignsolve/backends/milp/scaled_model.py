"""What the forms of a linear model that solvers get have in common."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from alignsolve.model.arrays import Float64Array, FloatArray, IntArray

#: Relative room for the rounding of bounds themselves.
_ULPS = 1e-14


@dataclass(frozen=True, eq=False)
class ScaledModel:
    """A linear model in other units: ``maximise objective @ v`` within the bounds.

    Numbers are int64 or float64, as the solver takes them.

    Parameters
    ----------
    matrix : scipy.sparse.csr_array, shape (n_rows, n_columns)
        Scaled rows.
    row_lower, row_upper : array, shape (n_rows,)
        Scaled bounds, relaxed by the slack.
    upper : array, shape (n_columns,)
        Scaled upper column bounds; the lower ones are 0.
    shift, step : float64 array, shape (n_columns,)
        A column's original value is ``shift + step * scaled``; the step of
        columns that must be whole is 1.
    objective : array, shape (n_columns,)
        Scaled coefficients, max sense.
    objective_scale, offset : float
        Scaled objective per original objective, and the constant of the latter.
    """

    matrix: sp.csr_array
    row_lower: FloatArray | IntArray
    row_upper: FloatArray | IntArray
    upper: FloatArray | IntArray
    shift: Float64Array
    step: Float64Array
    objective: FloatArray | IntArray
    objective_scale: float
    offset: float

    def original(self, values: Float64Array) -> Float64Array:
        """Return a scaled point in original units."""
        return self.shift + self.step * values

    def scaled(self, values: Float64Array) -> Float64Array:
        """Return a point of original units in those of the model."""
        return (values - self.shift) / self.step


def whole_bounds(
    lower: Float64Array, upper: Float64Array, slack: Float64Array, per_unit: Float64Array
) -> tuple[Float64Array, Float64Array]:
    """Return the bounds of rows in units, rounded inward to whole numbers.

    The slack comes first, and room for float rounding, so that nothing is lost.
    """
    with np.errstate(invalid="ignore"):
        low = (lower - slack) * per_unit
        high = (upper + slack) * per_unit
    return np.ceil(low - _ULPS * np.abs(low)), np.floor(high + _ULPS * np.abs(high))
