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
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from alignsolve.backends.milp.linear_model import LinearModel
from alignsolve.model.arrays import BoolArray, Float64Array, IntArray
from alignsolve.model.feasibility import Violation, violations
from alignsolve.model.problem import AlignmentProblem, tolerance

#: Kinds of violation whose sums are over floats; all others are counts, which
#: solvers keep exactly.
_FLOAT_KINDS = ("load_min", "load_max", "resource", "client_fitness_min")


@dataclass(frozen=True, eq=False)
class _Sum:
    """A broken bound as ``sum coefficients @ x[columns] <= limit``."""

    columns: IntArray
    coefficients: Float64Array
    limit: float


def exact_cuts(
    problem: AlignmentProblem, model: LinearModel, rows: IntArray, cols: IntArray,
    most: int = 10_000,
) -> tuple[sp.csr_array, Float64Array] | None:
    """Return rows that cut off an infeasible answer, and their upper bounds.

    Parameters
    ----------
    problem : AlignmentProblem
        The problem.
    model : LinearModel
        Its model, whose columns the cuts refer to.
    rows, cols : int64 array, shape (n_pairs,)
        The answer.
    most : int
        Most cuts.

    Returns
    -------
    matrix, upper
        One row per broken bound; None if nothing is broken that a cut could
        name.

    Notes
    -----
    No feasible answer is cut off: a cut is shrunk only while the exact sum of
    what is left exceeds the bound and its tolerance by more than the rounding
    of the package's own sums.
    """
    held = model.point(problem, rows, cols)[: model.n_pairs] > 0.5
    found = [
        _cover(_broken_sum(problem, model, violation), held)
        for violation in violations(problem, rows, cols, limit=most)
        if violation.kind in _FLOAT_KINDS and _is_sum(violation)
    ]
    if not found:
        return None
    lengths = [columns.size for columns, _, _ in found]
    shape = (len(found), model.n_columns)
    matrix = sp.csr_array(
        (
            np.concatenate([signs for _, signs, _ in found]),
            np.concatenate([columns for columns, _, _ in found]),
            np.concatenate([[0], np.cumsum(lengths)]),
        ),
        shape=shape,
    )
    return matrix, np.array([upper for _, _, upper in found])


def _is_sum(violation: Violation) -> bool:
    """Tell whether a violation is of a float sum: holder counts have no name."""
    return violation.name is not None or violation.kind == "client_fitness_min"


def _broken_sum(problem: AlignmentProblem, model: LinearModel, violation: Violation) -> _Sum:
    """Return the bound behind a violation over the model's columns."""
    if violation.client is not None:
        at = violation.client
        start, stop = np.searchsorted(model.clients, [at, at + 1])
        columns = np.arange(start, stop)
    else:
        assert violation.expert is not None
        columns = np.flatnonzero(model.experts == violation.expert)
    clients, experts = model.clients[columns], model.experts[columns]
    if violation.kind == "resource":
        assert violation.name is not None
        sizes = np.asarray(problem.resources[violation.name].size)[clients, experts]
        return _Sum(columns, sizes, violation.bound + float(tolerance(violation.bound)))
    if violation.kind == "client_fitness_min":
        # The violation speaks in the problem's own sense, the sum in max sense.
        floor = float(problem.client_fitness_min[at])
        fitness = problem.fitness[clients, experts].astype(np.float64)
        return _Sum(columns, -fitness, float(tolerance(floor)) - floor)
    assert violation.name is not None
    weight = np.asarray(problem.loads[violation.name].weight)[clients]
    slack = float(tolerance(violation.bound))
    if violation.kind == "load_max":
        return _Sum(columns, weight, violation.bound + slack)
    return _Sum(columns, -weight, slack - violation.bound)


def _cover(broken: _Sum, held: BoolArray) -> tuple[IntArray, Float64Array, float]:
    """Return a cut ``signs @ x[columns] <= upper`` that an answer breaks.

    The blame starts with all chosen pairs that add to the sum and all absent
    ones that would lower it, and is shrunk from the smallest coefficient up.
    """
    values = broken.coefficients
    chosen = held[broken.columns]
    blamed = np.flatnonzero((chosen & (values > 0)) | (~chosen & (values < 0)))
    order = blamed[np.argsort(np.abs(values[blamed]), kind="stable")]
    terms = np.concatenate([values[chosen], [-broken.limit]])
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
    return broken.columns[blamed], signs, n_chosen - 1.0
