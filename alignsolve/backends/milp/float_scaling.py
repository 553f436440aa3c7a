"""The linear model in the scale that suits solvers with an absolute tolerance of 1e-6.

HiGHS and SCIP accept what breaks a row by 1e-6, prune what is within 1e-6 of
the best value, and call a column whole within 1e-6. Where a row's sums are
whole multiples of a unit, the row is written in that unit and this cannot
matter. Other rows are scaled so that 1e-6 is the package's own tolerance, 1e-9
of the bound; the objective so that 1e-6 is far below 1e-9 of its largest coefficient.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from alignsolve.backends.milp.linear_model import LinearModel
from alignsolve.backends.milp.scaled_model import ScaledModel, whole_bounds
from alignsolve.backends.row_units import row_reduce, row_units
from alignsolve.model.arrays import BoolArray, Float64Array, IntArray

#: The solvers' absolute tolerance.
TOLERANCE = 1e-6

#: Size to which bounds and objective coefficients are scaled.
WANTED_SIZE, WANTED_VALUE = 2.0**10, 2.0**14

#: Largest whole coefficient, and largest whole bound, that stays as it is.
LARGEST_WHOLE = 2**20

#: Largest scaled penalty: a tolerance of 1e-6 is then within the digits of float64.
LARGEST_PENALTY = 2.0**24

#: Largest scaled coefficient; HiGHS refuses models with those above 1e15.
LARGEST_COEFFICIENT = 2.0**40

#: HiGHS ignores coefficients up to this size.
IGNORED = 1e-9


@dataclass(frozen=True, eq=False)
class FloatModel(ScaledModel):
    """A linear model in floats.

    Parameters
    ----------
    is_integer : bool array, shape (n_columns,)
        Whether a column must be whole.
    unit : float
        Every feasible value of the scaled objective is a multiple of this; 0
        if that is not known.
    """

    is_integer: BoolArray
    unit: float

    @property
    def gap(self) -> float:
        """Scaled gap within which two objective values count as equal."""
        return 0.999 * self.unit if self.unit else TOLERANCE

    def bound(self, objective: float) -> float:
        """Return the original bound that a bound on the scaled objective implies.

        Solvers prune what is within their tolerance of the best value: so much is added.
        """
        if not self.unit:
            objective += TOLERANCE
        elif np.isfinite(objective):
            objective = float(np.floor(objective / self.unit + TOLERANCE)) * self.unit
        return objective / self.objective_scale + self.offset


def scaled_model(model: LinearModel, *, loose_sums: bool = False) -> FloatModel:
    """Scale a linear model; only powers of two and whole units, so that nothing is rounded.

    Parameters
    ----------
    model : LinearModel
        The model.
    loose_sums : bool
        Whether the equations that define real loads get a slack of 1e-9 of
        the load's typical step. SCIP's presolve errs on equations of floats
        (SCIP 10.0), that of HiGHS on narrow ranges (HiGHS 1.12).
    """
    objective_scale, unit = _objective_scale(model)
    shift, step, upper = model.lower, np.ones(model.n_columns), model.upper.copy()
    for group in model.penalties:
        # Without a finite bound HiGHS 1.12 now and then ends with an error; it is so
        # far away that it implies nothing about loads.
        width = upper[group.penalty_columns] - shift[group.penalty_columns]
        upper[group.penalty_columns] += 8 * width + WANTED_SIZE / objective_scale
        step[group.penalty_columns] = 1 / objective_scale
        if not group.is_count:
            # HiGHS 1.12 may take a load for whole, and then errs on fractional bounds
            # (https://github.com/ERGO-Code/HiGHS/issues/3274).
            upper[group.load_columns] = np.inf
            step[group.load_columns] = 2.0 ** np.round(np.log2(group.unit))
    indptr = model.matrix.indptr
    counts = np.diff(indptr)
    data = model.matrix.data * step[model.matrix.indices]
    slack = model.row_slack + (_sum_slack(model) if loose_sums else 0.0)
    moved = model.matrix @ shift
    lower, higher = model.row_lower - moved, model.row_upper - moved
    whole, per_unit = row_units(data, indptr)
    whole_rows = _whole_rows(model, whole, per_unit)
    scale = _row_scale(model, data, lower, higher, objective_scale)
    scaled = np.where(np.repeat(whole_rows, counts), whole, data * np.repeat(scale, counts))
    low, high = whole_bounds(lower, higher, slack, per_unit)
    # What a solver would ignore goes here, and the bounds are widened by as much.
    tiny = (np.abs(scaled) <= IGNORED) & model.is_integer[model.matrix.indices]
    lost = row_reduce(np.add, np.where(tiny, np.abs(scaled), 0.0), indptr, 0.0)
    matrix = sp.csr_array(
        (np.where(tiny, 0.0, scaled), model.matrix.indices.copy(), indptr.copy()),
        shape=model.matrix.shape,
    )
    matrix.eliminate_zeros()
    return FloatModel(
        matrix,
        np.where(whole_rows, low, (lower - slack) * scale - lost),
        np.where(whole_rows, high, (higher + slack) * scale + lost),
        (upper - shift) / step,
        shift,
        step,
        np.rint(model.objective * objective_scale)
        if unit
        else model.objective * step * objective_scale,
        objective_scale,
        float(model.objective @ shift),
        model.is_integer,
        unit,
    )


def _sum_slack(model: LinearModel) -> Float64Array:
    """Return 1e-9 of a typical step in the rows that define real loads, 0 elsewhere."""
    slack = np.zeros(model.n_rows)
    units = [group.unit for group in model.penalties if not group.is_count]
    slack[model.rows_of("load_sum", named=True)] = 1e-9 * np.concatenate([np.empty(0), *units])
    return slack


def _objective_scale(model: LinearModel) -> tuple[float, float]:
    """Return the factor of the objective, and the unit of its values (0: none known)."""
    values = model.objective.copy()
    if model.is_integer[values != 0].all():
        whole, per_unit = row_units(values, np.array([0, values.size]))
        if per_unit[0] > 0 and np.abs(whole).max(initial=0) <= LARGEST_WHOLE:
            return float(per_unit[0]), 1.0
    for group in model.penalties:
        values[group.penalty_columns] = 0.0
    largest = float(np.abs(values).max(initial=0.0))
    scale = WANTED_VALUE / largest if largest > 0 else LARGEST_COEFFICIENT
    # A penalty far larger than the fitness must stay within the solver's digits.
    for group in model.penalties:
        least, most = group.penalty_range()
        scale = min(scale, LARGEST_PENALTY / max(float((most - least).max()), 1e-300))
        steepest = float((group.steepest() * group.unit).max())
        scale = min(scale, LARGEST_COEFFICIENT / max(steepest, 1e-300))
    return 2.0 ** float(np.floor(np.log2(scale))), 0.0


def _whole_rows(model: LinearModel, whole: IntArray, per_unit: Float64Array) -> BoolArray:
    """Return which rows are written in whole units: all columns whole, numbers moderate."""
    indptr, indices = model.matrix.indptr, model.matrix.indices
    all_integer = row_reduce(np.logical_and, model.is_integer[indices], indptr, True)
    largest = row_reduce(np.maximum, np.abs(whole), indptr, 0)
    bound = _largest_finite(model.row_lower, model.row_upper) * per_unit
    moderate = np.maximum(largest, bound) <= LARGEST_WHOLE
    return np.asarray(all_integer & moderate & (per_unit > 0))


def _largest_finite(lower: Float64Array, upper: Float64Array) -> Float64Array:
    """Return the largest absolute bound of each row, infinite ones apart."""
    sides = np.abs([lower, upper])
    return np.asarray(np.where(np.isfinite(sides), sides, 0.0).max(axis=0))


def _row_scale(
    model: LinearModel, data: Float64Array, lower: Float64Array, upper: Float64Array,
    objective_scale: float,
) -> Float64Array:
    """Return the power of two that scales each row which is not written in whole units."""
    largest = row_reduce(np.maximum, np.abs(data), model.matrix.indptr, 0.0)
    size = np.maximum(largest, _largest_finite(lower, upper))
    scale = 2.0 ** np.floor(np.log2(WANTED_SIZE / np.where(size > 0, size, WANTED_SIZE)))
    return np.where(model.rows_of("penalty"), objective_scale, scale)
