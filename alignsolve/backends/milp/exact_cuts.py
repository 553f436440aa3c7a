"""Cuts for answers that a solver's tolerance let through.

A solver in floating point may return pairs that break a budget by a millionth,
or a model on a grid of integers may admit them. Every such answer breaks a
bound ``sum a_k x_k <= b`` over the pairs of one client or one expert. Chosen
pairs with a_k > 0 and absent pairs with a_k < 0 are to blame; a subset of them
that breaks the bound whatever the other pairs do cannot occur in any feasible
answer. That is a cover inequality, exact and without numbers.

References
----------
E Balas, Facets of the knapsack polytope, 1975, doi:10.1007/BF01580440.
"""

from __future__ import annotations

import math

import numpy as np
import scipy.sparse as sp

from alignsolve.backends.milp.linear_model import LinearModel, RowBlock, rows_below
from alignsolve.model.arrays import BoolArray, Float64Array, IntArray
from alignsolve.model.feasibility import Violation, violations
from alignsolve.model.problem import AlignmentProblem

#: Most cuts from one answer.
MOST_CUTS = 10_000

#: Rows behind the kinds of violation whose sums are over floats, and which side they break; all
#: others are counts, which solvers keep exactly.
_FLOAT_ROWS = {
    "load_min": ("load", -1), "load_max": ("load", 1), "resource": ("resource", 1),
    "client_fitness_min": ("fairness", -1),
}  # fmt: skip


def exact_cuts(
    problem: AlignmentProblem, model: LinearModel, rows: IntArray, cols: IntArray
) -> RowBlock | None:
    """Return rows that cut off an infeasible answer.

    Parameters
    ----------
    problem : AlignmentProblem
        The problem.
    model : LinearModel
        Its model, whose columns the cuts refer to.
    rows, cols : int64 array, shape (n_pairs,)
        The answer.

    Returns
    -------
    RowBlock or None
        One row per broken bound, bounded from above; None if nothing is broken that a
        cut could name.

    Notes
    -----
    No feasible answer is cut off: a cut is shrunk only while the exact sum of
    what is left exceeds the bound and its tolerance by more than the rounding
    of the package's own sums.
    """
    held = model.point(problem, rows, cols)[: model.n_pairs] > 0.5
    found = violations(problem, rows, cols, limit=MOST_CUTS)
    broken = (_broken_sum(model, violation) for violation in found)
    covers = [_cover(held, *part) for part in broken if part is not None]
    if not covers:
        return None
    columns, signs, upper = zip(*covers, strict=True)
    starts = np.concatenate([[0], np.cumsum([part.size for part in columns])])
    entries = np.concatenate(signs), np.concatenate(columns), starts
    matrix = sp.csr_array(entries, shape=(len(covers), model.n_columns))
    return rows_below("cut", matrix, np.array(upper))


def _broken_sum(
    model: LinearModel, violation: Violation
) -> tuple[IntArray, Float64Array, float] | None:
    """Return the row behind a violation, None for a count.

    Returns
    -------
    columns, coefficients, limit
        Of a bound from above, ``coefficients @ x[columns] <= limit``.
    """
    kind, sign = _FLOAT_ROWS.get(violation.kind, ("", 0))
    owner = violation.expert if violation.client is None else violation.client
    for block in model.blocks:
        if (block.kind, block.name) != (kind, violation.name or ""):
            continue
        at = np.flatnonzero(block.keys == owner)
        limit = (block.upper if sign > 0 else -block.lower)[at] + block.slack[at]
        # Bounds of very different size have a row each.
        if np.isfinite(limit).any():
            row = block.matrix[at]
            return row.indices.astype(np.int64), sign * row.data, float(limit[0])
    return None


def _cover(
    held: BoolArray, columns: IntArray, values: Float64Array, limit: float
) -> tuple[IntArray, Float64Array, float]:
    """Return a cut ``signs @ x[columns] <= upper`` that an answer breaks.

    The blame starts with all chosen pairs that add to the sum and all absent
    ones that would lower it, and is shrunk from the smallest coefficient up.
    """
    chosen = held[columns]
    blamed = np.flatnonzero((chosen & (values > 0)) | (~chosen & (values < 0)))
    order = blamed[np.argsort(np.abs(values[blamed]), kind="stable")]
    terms = np.concatenate([values[chosen], [-limit]])
    excess = math.fsum(terms.tolist())
    # Sums of floats err by less than this, in whatever order they are added.
    error = 2.0**-50 * values.size * float(np.abs(terms).sum())
    # Freeing the smallest ones costs their coefficients.
    freed = int(np.searchsorted(np.cumsum(np.abs(values[order])), excess - error, side="left"))
    blamed = np.sort(order[freed:])
    signs = np.where(values[blamed] > 0, 1.0, -1.0)
    n_chosen = float((signs > 0).sum())
    if blamed.size and (signs > 0).all() and excess > error:
        # Any as many pairs, each at least as large as the largest, break it too.
        largest = values[blamed].max()
        others = np.flatnonzero(values >= largest)
        blamed = np.union1d(blamed, others)
        signs = np.ones(blamed.size)
    return columns[blamed], signs, n_chosen - 1.0
