"""Rows of floats as rows of integers that neither lose nor, where provable, admit answers.

A row whose coefficients are whole multiples of one unit, such as decimals with
a few digits or float32 values, is written in that unit: its sums are whole, so
its bounds round inward and a solver's tolerance cannot break them. Any other
row is rounded outward on a fine grid: no answer is lost, and the few that are
admitted wrongly are cut off by `alignsolve.backends.milp.exact_cuts`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import scipy.sparse as sp

from alignsolve.backends.milp.linear_model import LinearModel
from alignsolve.backends.milp.scaled_model import ScaledModel, whole_bounds
from alignsolve.backends.row_units import row_reduce, row_units
from alignsolve.model.arrays import Float64Array, IntArray

#: Largest possible sum of a row or of the objective: exact in float64, far from
#: the limits of int64, and rounding on this grid is far below the package's tolerance.
LARGEST_SUM = 2.0**52


@dataclass(frozen=True, eq=False)
class IntegerModel(ScaledModel):
    """A linear model in integers, whose bound holds for the original.

    The original value of any point is at most ``objective @ integers / objective_scale +
    offset``; a column that need not be whole is up to half a step off.

    Parameters
    ----------
    is_exact : bool
        Whether nothing was rounded: neither rows nor objective.
    """

    is_exact: bool

    def integers(self, values: Float64Array) -> IntArray:
        """Return the integer point nearest to scaled values, within the bounds."""
        return np.clip(np.rint(values), 0, self.upper).astype(np.int64)

    def bound(self, objective: float) -> float:
        """Return the original bound that a bound on the integer objective implies."""
        value = objective / self.objective_scale + self.offset
        return value if self.is_exact else value + 1e-15 * abs(value)


def integer_model(model: LinearModel) -> IntegerModel:
    """Return a linear model in integers, for solvers that need them.

    Notes
    -----
    Every feasible answer stays feasible, and the bound of the result bounds
    the original optimum. Sums stay below 2**53, so that they are exact in
    float64 too. Columns of real loads are replaced by their sums: a grid for
    them would be too coarse. Columns of penalties take the objective's unit as
    their step; half a step of error enters their rows.
    """
    model = _without_real_loads(model)
    shift, width = model.lower, np.maximum(model.upper - model.lower, 0)
    real = ~model.is_integer & (width > 0)
    whole, scale, is_exact = _integer_objective(model, width)
    step = np.where(real, 1 / scale, 1.0)
    upper = np.where(real, np.ceil(width / step), np.floor(width + 1e-9)).astype(np.int64)
    rounding = np.where(real, step / 2, 0.0)
    matrix, low, high, are_exact = _integer_rows(model, step, rounding, upper)
    offset = float(model.objective @ shift) + float(np.abs(model.objective) @ rounding)
    return IntegerModel(
        matrix, low, high, upper, shift, step, np.where(real, -1, whole), scale, offset,
        is_exact and are_exact,
    )


def _without_real_loads(model: LinearModel) -> LinearModel:
    """Return a model with the columns of real loads replaced by the sums that they stand for."""
    defining = [block for block in model.blocks if block.kind == "load_sum" and block.name]
    if not defining:
        return model
    is_load = np.zeros(model.n_columns, dtype=np.bool_)
    for group in model.penalties:
        is_load[group.load_columns] = not group.is_count
    sums = sp.vstack([block.matrix for block in defining], format="csr")
    # Row k of `meaning` is what column k stands for: itself, or its sum, as "sum - load = 0" says.
    loads = sums @ sp.diags_array(is_load.astype(np.float64))
    meaning = sp.eye_array(model.n_columns, format="csr") - loads.T @ sums
    return replace(
        model, lower=np.where(is_load, 0.0, model.lower), upper=np.where(is_load, 0.0, model.upper),
        blocks=tuple(replace(block, matrix=sp.csr_array(block.matrix @ meaning))
                     for block in model.blocks if block not in defining),
    )


def _integer_objective(model: LinearModel, width: Float64Array) -> tuple[IntArray, float, bool]:
    """Return the objective of whole columns in integers, its scale, and whether it is exact."""
    values = np.where(model.is_integer, model.objective, 0.0)
    total = float(np.abs(model.objective) @ width)
    if model.penalties:
        # The objective's unit is that of the penalties' rows too, which must not overflow.
        matrix = model.matrix
        activity = row_reduce(np.add, np.abs(matrix.data) * width[matrix.indices],
                              matrix.indptr, 0.0)
        total = max(total, float(activity[model.rows_of("penalty")].max(initial=0.0)) / 2.0**8)
    whole, per_unit = row_units(values, np.array([0, values.size]))
    if not model.penalties and per_unit[0] > 0 and total * per_unit[0] < LARGEST_SUM:
        return whole, float(per_unit[0]), True
    scale = float(_power_below(LARGEST_SUM, np.array(total)))
    return np.ceil(values * scale).astype(np.int64), scale, False


def _power_below(most: float, sums: Float64Array) -> Float64Array:
    """Return powers of two that bring sums below a limit, and keep their inverses finite."""
    exponent = np.frexp(most)[1] - 1 - np.frexp(np.where(sums > 0, sums, 1.0))[1]
    return np.asarray(np.ldexp(1.0, np.clip(exponent, -1000, 1000)))


def _integer_rows(
    model: LinearModel, step: Float64Array, rounding: Float64Array, upper: IntArray
) -> tuple[sp.csr_array, IntArray, IntArray, bool]:
    """Return integer rows, their bounds, and whether they are exact."""
    # Sorted, because the parts below share its columns.
    matrix = model.matrix.sorted_indices()
    indptr, columns = matrix.indptr, matrix.indices
    # Fixed columns enter the bounds alone: on a fine grid their entries could overflow.
    data = np.where(upper[columns] > 0, matrix.data * step[columns], 0.0)
    moved = matrix @ model.lower
    error = abs(matrix) @ rounding
    slack = model.row_slack + error
    low, high = model.row_lower - moved, model.row_upper - moved
    whole, per_unit = row_units(data, indptr)
    exact = (per_unit > 0) & (error == 0)
    activity = row_reduce(np.add, np.abs(data) * upper[columns], indptr, 0.0)
    scale = _power_below(LARGEST_SUM, activity)
    # A penalty's own coefficient must come out whole.
    unit = step[rounding > 0].min(initial=np.inf)
    scale = np.where(error > 0, np.maximum(scale, 1 / unit), scale)
    scaled = data * np.repeat(scale, np.diff(indptr))
    infinite = np.full(low.size, np.inf)
    parts = []
    # Rounding up loses nothing below a bound from below, rounding down nothing above one.
    for numbers, chosen, least, most, units in (
        (whole, exact, low, high, per_unit),
        (np.ceil(scaled), ~exact & np.isfinite(low), low, infinite, scale),
        (np.floor(scaled), ~exact & np.isfinite(high), -infinite, high, scale),
    ):
        part = sp.csr_array((numbers.astype(np.int64), columns, indptr), shape=matrix.shape)
        bounds = whole_bounds(least[chosen], most[chosen], slack[chosen], units[chosen])
        parts.append((part[chosen], np.clip(bounds, -(2.0**62), 2.0**62).astype(np.int64)))
    rows, ranges = zip(*parts, strict=True)
    lower, higher = np.concatenate(ranges, axis=1)
    return sp.csr_array(sp.vstack(rows, format="csr")), lower, higher, bool(exact.all())
