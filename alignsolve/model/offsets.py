"""Take off what is common to a client's values, so that floats hold what tells them apart.

Time stamps, or costs above a common base, differ in their last digits alone. Where a client's
number of experts is fixed, an amount taken off all its values changes nothing. Where it is not,
the amount is real, and can only become smaller.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from alignsolve.model.arrays import BoolArray, Float64Array, FloatArray, row_blocks
from alignsolve.model.problem import AlignmentProblem, Feature

#: A client's values have a large offset where their largest is more than this many times their
#: least difference from it: solvers in float64 would see 10 digits of such a difference or less.
LARGE = 2.0**20

#: Clients whose values are looked at before a problem is solved. Where they have no large
#: offset, all clients are looked at once an answer could not be proved.
SAMPLE = 16


def least_step(values: FloatArray) -> float:
    """Return the least positive difference between two values of a row; +inf for none.

    Parameters
    ----------
    values : float32 or float64 array, shape (n, m)
        Values; ``-inf`` is beyond all others.

    Notes
    -----
    Sorts a copy: for small matrices, where a few calls cost less than looking for maxima.
    """
    ordered = np.sort(values, axis=1)
    with np.errstate(invalid="ignore"):
        steps = ordered[:, 1:] - ordered[:, :-1]
    return float(steps.min(where=steps > 0, initial=np.inf))


def has_large_offsets(problem: AlignmentProblem, rows: slice | None = None) -> bool:
    """Tell whether values of some clients (default all) have a large common offset.

    Parameters
    ----------
    problem : AlignmentProblem
        The problem. A streamed one is not looked at: its values cannot be changed.
    rows : slice, optional
        The clients.
    """
    if problem.integers is not None:
        return True
    if problem.streamed or not problem.n_experts:
        return False
    # No value is larger than this in most problems, and one look is enough.
    if rows is not None and LARGE * least_step(problem.fitness[rows]) > problem.largest:
        return False
    blocks = [rows] if rows is not None else row_blocks(problem.n_clients, problem.n_experts)
    for block in blocks:
        values = np.asarray(problem.fitness[block], dtype=np.float64)
        top = values.max(axis=1, initial=-np.inf)
        below = np.where(values < top[:, None], values, -np.inf).max(axis=1, initial=-np.inf)
        some = below > -np.inf
        if (np.abs(top[some]) / LARGE > top[some] - below[some]).any():
            return True
    return False


@dataclass(frozen=True, eq=False)
class Relative:
    """A problem of the same best answers whose values have no large offset.

    Attributes
    ----------
    problem : AlignmentProblem
        That problem.
    amount : float
        What a pair of a client with a free number of experts lost of its value.
    decided : float
        An answer whose gap is below this has a best number of pairs.
    """

    problem: AlignmentProblem
    amount: float
    decided: float

    def gap_of(self, gap_abs: float) -> float:
        """Return the gap of an answer to the original problem; infinite where it is not known."""
        return gap_abs if self.amount == 0 or gap_abs < self.decided else np.inf


def without_offsets(problem: AlignmentProblem) -> Relative | None:
    """Return a problem of the same best answers whose values have no large offset.

    Parameters
    ----------
    problem : AlignmentProblem
        The problem, not streamed.

    Returns
    -------
    Relative or None
        None where nothing can be taken off: fairness floors are sums of the values as they are.

    Notes
    -----
    The values of a client with a fixed number of experts are taken relative to its largest one,
    where that is exact in float64. The values of other clients lose one common amount, if they
    are all above, or all below, what exchanges could gain otherwise; see `common_amount`. Best
    answers stay best answers, and differences between answers with equally many pairs stay what
    they are.
    """
    if problem.integers is not None:
        # They are kept relative already, of clients with a fixed number of experts alone.
        return Relative(problem.replace(fitness=problem.fitness), 0.0, 0.0)
    if Feature.FAIRNESS in problem.features or not problem.fitness.size:
        return None
    fewest, most = problem.slot_bounds()
    fixed = fewest == most
    values = np.asarray(problem.fitness, dtype=np.float64)
    top = values.max(axis=1)
    allowed = top > -np.inf
    reference = np.where(fixed & allowed, top, 0.0)
    free = ~fixed & allowed & (most > 0)
    amount = decided = 0.0
    if free.any():
        net = values
        if Feature.SWITCHING in problem.features:
            net = problem.values(slice(0, problem.n_clients))
        least = net.min(axis=1, where=net > -np.inf, initial=np.inf)
        amount, decided = common_amount(problem, least, net.max(axis=1), free)
        reference[free] = amount
    relative, exact = _difference(values, reference[:, None])
    # Where a difference had to be rounded the client keeps its values, and so do, then, all
    # clients that share the common amount.
    unchanged = ~exact.all(axis=1)
    if (unchanged & free).any():
        unchanged |= free
        amount = 0.0
    relative[unchanged] = values[unchanged]
    if (unchanged | (reference == 0)).all():
        return None
    return Relative(problem.replace(fitness=relative), amount, decided)


def _difference(
    values: Float64Array, reference: Float64Array
) -> tuple[Float64Array, BoolArray]:
    """Return values less their reference, and where that is exact (T J Dekker, 1971)."""
    with np.errstate(invalid="ignore"):
        found = values - reference
        part = found - values
        lost = (values - (found - part)) - (reference + part)
    return found, np.asarray((lost == 0) | np.isneginf(values))


def common_amount(
    problem: AlignmentProblem, least: Float64Array, most: Float64Array, free: BoolArray
) -> tuple[float, float]:
    """Return what all values of clients with a free number of experts can lose, and `decided`.

    Parameters
    ----------
    problem : AlignmentProblem
        The problem.
    least, most : float64 array, shape (n_clients,)
        Range of each client's values less switching costs; +inf and -inf for none.
    free : bool array, shape (n_clients,)
        Clients with a value whose number of experts is free: at least one.

    Notes
    -----
    Where every value is above what else an answer could gain, more pairs are always better, and
    where it is below what else it could lose, fewer are; among answers of as many pairs an amount
    taken off every value is a constant. What is left keeps these relations.
    """
    low, high = float(least[free].min()), float(most[free].max())
    with np.errstate(over="ignore"):
        else_gained = _most_gained_else(problem, np.where(most > -np.inf, most - least, 0.0))
        # What is left is a power of two, so that it takes few digits.
        left = float(2.0 ** np.ceil(np.log2(4 * else_gained))) if else_gained else 1.0
    if low > 2 * left:
        return float(np.rint((low - left) / left) * left), left / 4
    if high < -2 * left:
        return float(np.rint((high + left) / left) * left), left / 4
    return 0.0, 0.0


def _most_gained_else(problem: AlignmentProblem, spread: Float64Array) -> float:
    """Return what an answer can gain at most by other means than a pair more, or less.

    In the flow class one pair more is an exchange along a path that meets each expert at most
    once: swaps, each within one client's values, and a step of a penalty. In the mip class all
    clients may have to change, and all penalties with them.
    """
    if problem.problem_class == "flow":
        loads = np.array([[0], [problem.n_clients]])
        steps = problem.load_penalty * (np.abs(2 * (loads - problem.load_target)) + 1)
        return problem.n_experts * float(spread.max(initial=0.0)) + float(steps.max(initial=0.0))
    ends = [(problem.load_penalty, problem.load_target, float(problem.n_clients))]
    ends += [(np.asarray(load.penalty), np.asarray(load.target), float(np.sum(load.weight)))
             for load in problem.loads.values()]  # fmt: skip
    penalties = sum(float((slope * np.maximum(np.abs(target), np.abs(most - target)) ** 2).sum())
                    for slope, target, most in ends)
    return float((spread * problem.slot_bounds()[1]).sum()) + penalties
