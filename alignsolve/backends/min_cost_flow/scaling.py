"""Exact scaling of float values to the int64 costs of a flow network.

Values are multiplied by a power of two and rounded to integers, which is exact
as soon as the power reaches the smallest bit that any value uses. How large the
power may be follows from what a cost-scaling solver does to costs; see
`cost_bits`. Where that is too small for the values as they are, offsets that do
not change the best answer are taken off first.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from alignsolve.backends.row_units import last_digit
from alignsolve.model.arrays import BoolArray, Float64Array, IntArray, row_blocks
from alignsolve.model.problem import AlignmentProblem

#: Scaled values stay below this power of two, so that int64 holds their differences.
VALUE_BITS = 61


@dataclass(frozen=True, eq=False)
class Scaling:
    """How costs of a network stand for values of a problem.

    The cost of pair (i, j) is ``client_offset[i] - round(value[i, j] *
    2**exponent)``, and that of an unused slot of client i is
    ``client_offset[i] - common_offset``.

    Attributes
    ----------
    exponent : int
        Power of two by which values are multiplied; 0 for whole values.
    error_bound : float
        A best answer of the network is worse than a best answer of the problem
        by at most this, in units of fitness; 0 where the scaling is exact.
    common_offset : int
        Taken off every value, in units of cost.
    client_offset : int64 array, shape (n_clients,)
        Added to every cost of a client; it includes `common_offset`.
    """

    exponent: int
    error_bound: float
    common_offset: int
    client_offset: IntArray

    @property
    def exact(self) -> bool:
        """Whether a best answer of the network is one of the problem."""
        return self.error_bound == 0

    def rounded(self, values: Float64Array) -> IntArray:
        """Return finite values as int64 in units of cost, before offsets."""
        return _rounded(values, self.exponent)


@dataclass(frozen=True, eq=False)
class ValueRange:
    """What the choice of a scale needs to know of the values.

    Attributes
    ----------
    smallest, largest : float64 array, shape (n_clients,)
        Range of each client's allowed values; +inf and -inf for none.
    allowed : int64 array, shape (n_experts,)
        Clients that may hold each expert.
    fraction_bits : int
        Binary digits after the point that the values use; 0 for whole values.
    """

    smallest: Float64Array
    largest: Float64Array
    allowed: IntArray
    fraction_bits: int

    @classmethod
    def of(cls, problem: AlignmentProblem) -> ValueRange:
        """Read the matrix once, in row blocks."""
        n, m = problem.n_clients, problem.n_experts
        smallest, largest = np.empty(n), np.empty(n)
        allowed, bits = np.zeros(m, dtype=np.int64), 0
        for rows in row_blocks(n, m):
            values = problem.values(rows)
            largest[rows] = values.max(axis=1, initial=-np.inf)
            smallest[rows] = values.min(axis=1, initial=np.inf)
            if smallest[rows].min() == -np.inf:
                finite = values > -np.inf
                smallest[rows] = np.where(finite, values, np.inf).min(axis=1)
                allowed += finite.sum(axis=0)
                values = values[finite]
            else:
                allowed += values.shape[0]
            bits = max(bits, fraction_bits(values))
        return cls(smallest, largest, allowed, bits)


def fraction_bits(values: Float64Array) -> int:
    """Return how many binary digits after the point any of some finite values uses."""
    fractions = values[np.floor(values) != values]
    return -int(last_digit(fractions).min(initial=0))


def cost_bits(n_clients: int, n_experts: int, n_nodes: int) -> int:
    """Return a power of two that costs of the network must stay below.

    Notes
    -----
    A cost-scaling solver multiplies costs by ``n_nodes + 1`` and lets node
    prices grow to at most ``8 * path * largest scaled cost``, where ``path`` is
    the most nodes of a simple residual path (the prices of one refinement move
    by at most 6 epsilon per arc of such a path, and epsilon falls
    geometrically; A V Goldberg and R E Tarjan, Finding minimum-cost
    circulations by successive approximation, 1990, doi:10.1287/moor.15.3.430).
    A path meets each expert once, and between two of them at most a client and
    its two group nodes. All of it must stay below 2**63; a total cost, of at
    most ``n_clients * n_experts`` pairs, then does as well.
    """
    path = min(n_nodes, 4 * (n_experts + 2))
    growth = max(8 * path * (n_nodes + 1), n_clients * n_experts)
    return 63 - growth.bit_length()


def choose_scaling(
    values: ValueRange, steps: Float64Array, optional: BoolArray, most_pairs: int, limit: int,
    common: tuple[float, float] = (0.0, 0.0),
) -> Scaling:
    """Choose the power of two and the offsets of a network's costs.

    Parameters
    ----------
    values : ValueRange
        Range of the values.
    steps : float64 array
        Penalty of each further holder, of all experts, in units of fitness.
    optional : bool array, shape (n_clients,)
        Clients that may leave a slot unused.
    most_pairs : int
        No answer has more pairs.
    limit : int
        Costs stay below this power of two; see `cost_bits`.
    common : float, float
        What `alignsolve.model.offsets.common_amount` says of clients with optional slots.

    Notes
    -----
    With costs rounded to the nearest integer, an answer loses at most one unit
    of cost per pair (half for a pair it lacks and half for one it has), and as
    much again by the penalty steps, each of which counts half a unit.
    """
    n = optional.size
    some = values.largest > -np.inf
    largest = max(_most(values.largest[some]), _most(values.smallest[some]))
    steepest = _most(steps)
    needed = max(values.fraction_bits, fraction_bits(steps))
    plain = _exponent_below(limit, max(largest, steepest))
    if needed <= plain:
        return Scaling(needed, 0.0, 0, np.zeros(n, dtype=np.int64))
    exponent = min(needed, _exponent_below(VALUE_BITS, largest), _exponent_below(limit, steepest))
    lost = float(most_pairs + min(most_pairs, steps.size / 2))
    while exponent > plain:
        amount, offset, size = _offsets(values, steps, optional, common, exponent)
        if size < 1 << limit:
            error = 0.0 if exponent >= needed else math.ldexp(lost, -exponent)
            return Scaling(exponent, error, amount, offset)
        exponent -= max(1, size.bit_length() - limit)
    return Scaling(plain, math.ldexp(lost, -plain), 0, np.zeros(n, dtype=np.int64))


def _most(values: Float64Array) -> float:
    return float(np.abs(values).max(initial=0.0))


def _exponent_below(bits: int, size: float) -> int:
    """Return the largest k with ``size * 2**k <= 2**bits``, up to a factor of 2."""
    return bits - math.frexp(size)[1] if size else bits + 1100


def _rounded(values: Float64Array, exponent: int) -> IntArray:
    scaled = np.ldexp(values, exponent) if exponent else values
    return np.rint(scaled).astype(np.int64)


def _offsets(
    values: ValueRange, steps: Float64Array, optional: BoolArray, common: tuple[float, float],
    exponent: int,
) -> tuple[int, IntArray, int]:
    """Return the common offset, the client offsets, and the largest cost they leave.

    A client uses all its slots or leaves them unused: an amount added to both
    is a constant. That suffices where no slot is optional.
    """
    some = values.largest > -np.inf
    small = _rounded(np.where(some, values.smallest, 0.0), exponent)
    large = _rounded(np.where(some, values.largest, 0.0), exponent)
    steepest = int(np.abs(_rounded(steps, exponent)).max(initial=0))
    amount, decided = common
    # Rounding of the values on a path must not undo what the amount leaves.
    is_kept = math.ldexp(decided, exponent) > values.allowed.size + 1
    taken = int(_rounded(np.array(amount), exponent)) if is_kept else 0
    best = np.where(some, large, taken)
    best = np.where(optional, np.maximum(best, taken), best)
    unused = np.where(optional, best - taken, 0)
    costs = np.maximum(best - np.where(some, small, taken), unused)
    return taken, best, max(int(costs.max(initial=0)), steepest)
