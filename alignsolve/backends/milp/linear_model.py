"""One sparse linear model of any alignment problem, for solvers and for MPS and LP files.

Columns are, in this order: one binary per pair that may be held (row order),
then per convex penalty a pair of columns: the load, and a bound from below on
its penalty (see `alignsolve.backends.milp.penalty_pieces`). The model maximises.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import scipy.sparse as sp

from alignsolve.backends.milp.penalty_pieces import (
    FEW_LOADS,
    PenaltyGroup,
    Pieces,
    first_pieces,
    penalty_groups,
)
from alignsolve.model.arrays import BoolArray, Float64Array, IntArray, row_blocks
from alignsolve.model.pairs import Pairs
from alignsolve.model.problem import AlignmentProblem, tolerance
from alignsolve.standard_form import CouplingConstraints, Margin, client_sums


@dataclass(frozen=True, eq=False)
class RowBlock:
    """Rows of one kind.

    Parameters
    ----------
    kind : str
        "slots", "holders", "load", "resource", "group", "fairness",
        "load_sum", "penalty", "cut", or what others add.
    name : str
        Name of the load or resource; "" otherwise.
    keys : int64 array, shape (n_rows,)
        Client, expert, ``client * n_groups + group``, or a running number.
    matrix : scipy.sparse.csr_array, shape (n_rows, n_columns), float64
        Coefficients.
    lower, upper : float64 array, shape (n_rows,)
        Bounds as the problem states them, +-inf for none.
    slack : float64 array, shape (n_rows,)
        What an answer may exceed the bounds by: the package's tolerance for
        sums of floats, 0 for counts.
    """

    kind: str
    name: str
    keys: IntArray
    matrix: sp.csr_array
    lower: Float64Array
    upper: Float64Array
    slack: Float64Array


@dataclass(frozen=True, eq=False)
class LinearModel:
    """``maximise objective @ v`` within row and column bounds.

    Parameters
    ----------
    clients, experts : int64 array, shape (n_pairs,)
        Pair of each of the first columns, in row order.
    objective : float64 array, shape (n_columns,)
        Coefficients, max sense.
    lower, upper : float64 array, shape (n_columns,)
        Column bounds. Those of real loads are no part of the problem.
    is_integer : bool array, shape (n_columns,)
        Whether a column must be whole.
    blocks : tuple of RowBlock
        The rows; `matrix`, `row_lower`, `row_upper` and `row_slack` are those of all
        blocks, one after the other.
    penalties : tuple of PenaltyGroup
        Penalties that the model bounds from below by linear pieces.

    Notes
    -----
    Left out are pairs that no answer holds (forbidden, or alone over a budget
    or a load's maximum) and rows that every choice of pairs keeps. Without
    penalties the feasible points are the feasible answers, one to one. With
    penalties the model's objective is at least the true one.
    """

    clients: IntArray
    experts: IntArray
    objective: Float64Array
    lower: Float64Array
    upper: Float64Array
    is_integer: BoolArray
    blocks: tuple[RowBlock, ...]
    penalties: tuple[PenaltyGroup, ...]

    @property
    def n_pairs(self) -> int:
        """Number of columns that are pairs."""
        return int(self.clients.size)

    @property
    def n_columns(self) -> int:
        """Number of columns."""
        return int(self.objective.size)

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        return int(self.row_lower.size)

    @cached_property
    def matrix(self) -> sp.csr_array:
        """Coefficients of all rows, float64 of shape (n_rows, n_columns)."""
        none = sp.csr_array((0, self.n_columns), dtype=np.float64)
        return sp.csr_array(sp.vstack([none, *(b.matrix for b in self.blocks)], format="csr"))

    @cached_property
    def row_lower(self) -> Float64Array:
        """Lower bounds of all rows, float64 of shape (n_rows,)."""
        return np.concatenate([np.empty(0), *(b.lower for b in self.blocks)])

    @cached_property
    def row_upper(self) -> Float64Array:
        """Upper bounds of all rows, float64 of shape (n_rows,)."""
        return np.concatenate([np.empty(0), *(b.upper for b in self.blocks)])

    @cached_property
    def row_slack(self) -> Float64Array:
        """Slacks of all rows, float64 of shape (n_rows,)."""
        return np.concatenate([np.empty(0), *(b.slack for b in self.blocks)])

    def pairs(self, values: Float64Array) -> tuple[IntArray, IntArray]:
        """Return the clients and experts of the pairs whose value rounds to 1."""
        held = values[: self.n_pairs] > 0.5
        return self.clients[held], self.experts[held]

    def point(self, problem: AlignmentProblem, rows: IntArray, cols: IntArray) -> Float64Array:
        """Return the columns' values of an answer, float64 of shape (n_columns,)."""
        values = np.zeros(self.n_columns)
        held = Pairs.from_indices("answer", rows, cols, problem.n_clients, problem.n_experts)
        values[: self.n_pairs] = held.contains(self.clients, self.experts)
        for group in self.penalties:
            loads = group.loads(problem, rows, cols)
            values[group.load_columns] = loads
            values[group.penalty_columns] = group.values(loads)
        return values

    def with_rows(self, block: RowBlock) -> LinearModel:
        """Return a model with further rows."""
        return replace(self, blocks=(*self.blocks, block))

    def rows_of(self, kind: str, *, named: bool = False) -> BoolArray:
        """Return which rows are of a kind, where `named` of a named load; bool of (n_rows,)."""
        chosen = [block.kind == kind and (bool(block.name) or not named) for block in self.blocks]
        sizes = np.array([block.keys.size for block in self.blocks], dtype=np.int64)
        return np.repeat(np.array(chosen, dtype=np.bool_), sizes)

    def column_names(self) -> list[str]:
        """Return a name for each column, such as ``x_3_5``."""
        pairs = zip(self.clients.tolist(), self.experts.tolist(), strict=True)
        names = [f"x_{i}_{j}" for i, j in pairs]
        for group in self.penalties:
            suffix = f"_{group.name}" if group.name else ""
            names += [f"load{suffix}_{j}" for j in group.experts.tolist()]
            names += [f"penalty{suffix}_{j}" for j in group.experts.tolist()]
        return names


def build_linear_model(
    problem: AlignmentProblem, *, all_holder_pieces: bool = False
) -> LinearModel:
    """Build the linear model of a problem.

    Parameters
    ----------
    problem : AlignmentProblem
        Any problem with at least one client and one expert.
    all_holder_pieces : bool
        Whether to list every piece of the penalties on holders, which makes
        them exact, instead of the first few. Penalties on named loads have no
        exact list of pieces.

    Returns
    -------
    LinearModel
        See there for what is left out.

    Notes
    -----
    Time and memory are linear in the non-zeros: each pair enters one row per
    bound of its client and one per bound of its expert.
    """
    clients, experts = _possible_pairs(problem)
    penalties = penalty_groups(problem, clients, experts)
    n_columns = clients.size + 2 * sum(group.experts.size for group in penalties)
    builder = _Builder(problem, clients, experts, n_columns)
    blocks = [*builder.bounds(penalties), *map(builder.load_sums, penalties)]
    few = math.inf if all_holder_pieces else FEW_LOADS
    blocks += [piece_rows(group, first_pieces(group, few), n_columns) for group in penalties]
    objective, lower, upper = np.zeros(n_columns), np.zeros(n_columns), np.ones(n_columns)
    objective[: clients.size] = problem.pair_values(clients, experts)
    is_integer = np.ones(n_columns, dtype=np.bool_)
    for group in penalties:
        objective[group.penalty_columns] = -1.0
        lower[group.load_columns], upper[group.load_columns] = group.load_range()
        lower[group.penalty_columns], upper[group.penalty_columns] = group.penalty_range()
        is_integer[group.load_columns] = group.is_count
        is_integer[group.penalty_columns] = False
    filled = tuple(block for block in blocks if block.keys.size)
    return LinearModel(clients, experts, objective, lower, upper, is_integer, filled, penalties)


def rows_below(kind: str, matrix: sp.csr_array, upper: Float64Array) -> RowBlock:
    """Return rows ``matrix @ v <= upper``, to be kept exactly."""
    free, exact = np.full(upper.size, -np.inf), np.zeros(upper.size)
    return RowBlock(kind, "", np.arange(upper.size), matrix, free, upper, exact)


def piece_rows(group: PenaltyGroup, pieces: Pieces, n_columns: int) -> RowBlock:
    """Return the rows ``penalty - gradient * load >= value at load 0`` of some pieces."""
    which, gradient, intercept = pieces
    number = np.arange(which.size)
    column = np.concatenate([group.penalty_columns[which], group.load_columns[which]])
    entries = np.concatenate([np.ones(which.size), -gradient]), (np.tile(number, 2), column)
    matrix = sp.csr_array(entries, shape=(which.size, n_columns))
    free, exact = np.full(which.size, np.inf), np.zeros(which.size)
    return RowBlock("penalty", group.name, number, matrix, intercept, free, exact)


def _possible_pairs(problem: AlignmentProblem) -> tuple[IntArray, IntArray]:
    """Return the pairs that some answer may hold, in row order."""
    n, m = problem.n_clients, problem.n_experts
    rows: list[IntArray] = []
    cols: list[IntArray] = []
    for block in row_blocks(n, m):
        allowed = problem.fitness[block] > -np.inf
        for resource in problem.resources.values():
            budget = np.asarray(resource.budget)[block, None]
            allowed &= ~(np.asarray(resource.size)[block] > budget + tolerance(budget))
        for load in problem.loads.values():
            weight, most = np.asarray(load.weight)[block, None], np.asarray(load.max)
            allowed &= ~(weight > most + tolerance(most))
        found, experts = np.nonzero(allowed)
        rows.append(found + block.start)
        cols.append(experts)
    return np.concatenate(rows).astype(np.int64), np.concatenate(cols).astype(np.int64)


class _Builder:
    """Makes row blocks, each at once from its pairs' keys."""

    def __init__(
        self, problem: AlignmentProblem, clients: IntArray, experts: IntArray, n_columns: int
    ) -> None:
        self.problem = problem
        self.clients, self.experts, self.n_columns = clients, experts, n_columns

    def bounds(self, penalties: tuple[PenaltyGroup, ...]) -> Iterator[RowBlock]:
        """Yield the rows of every bound of the problem."""
        problem, clients, experts = self.problem, self.clients, self.experts
        yield self._counts("slots", clients, *problem.slot_bounds())
        # The bounds of penalised holders are those of their column.
        free = np.ones(problem.n_experts, dtype=np.bool_)
        for group in penalties:
            free[group.experts] &= not group.is_count
        yield self._counts("holders", experts, *problem.holder_bounds(), free)
        if problem.expert_group is not None:
            assert problem.group_min is not None and problem.group_max is not None
            keys = clients * problem.n_groups + problem.expert_group[experts]
            yield self._counts("group", keys, problem.group_min.ravel(), problem.group_max.ravel())
        loads = CouplingConstraints.of(problem, Margin.NONE)
        for name, weight, low, high in zip(
            loads.names, loads.weight, loads.low, loads.high, strict=True
        ):
            if name:
                yield from self._sums("load", name, experts, weight[clients], low, high)
        for part in client_sums(problem, Margin.NONE):
            kind = "resource" if part.name else "fairness"
            entries = part.entries((clients, experts))
            yield from self._sums(kind, part.name, clients, entries, part.low, part.high)

    def _counts(
        self, kind: str, keys: IntArray, low: IntArray, high: IntArray,
        wanted: BoolArray | bool = True,
    ) -> RowBlock:
        """Return rows that count the pairs of each key."""
        keep = ((low > 0) | (high < np.bincount(keys, minlength=low.size))) & wanted
        bounds = low.astype(np.float64), high.astype(np.float64)
        return self._rows(kind, "", keys, np.ones(keys.size), keep, *bounds, np.zeros(low.size))

    def _sums(
        self, kind: str, name: str, keys: IntArray, data: Float64Array, low: Float64Array,
        high: Float64Array,
    ) -> Iterator[RowBlock]:
        """Yield rows that sum a value over the pairs of each key."""
        data = np.asarray(data, dtype=np.float64)
        least = np.bincount(keys, weights=np.minimum(data, 0), minlength=low.size)
        most = np.bincount(keys, weights=np.maximum(data, 0), minlength=low.size)
        sides = [(low, high)]
        both = np.isfinite(low) & np.isfinite(high)
        if (tolerance(low) != tolerance(high))[both].any():
            # Bounds of very different size have different slacks, so they need a row each.
            none = np.full(low.size, np.inf)
            sides = [(low, none), (-none, high)]
        for low, high in sides:
            # A row is idle only if no rounding of its sum can reach a bound.
            keep = (low - tolerance(low) / 2 > least) | (high + tolerance(high) / 2 < most)
            slack = np.maximum(tolerance(low), tolerance(high))
            yield self._rows(kind, name, keys, data, keep, low, high, slack)

    def _rows(
        self, kind: str, name: str, keys: IntArray, data: Float64Array, keep: BoolArray,
        low: Float64Array, high: Float64Array, slack: Float64Array,
    ) -> RowBlock:
        """Return the rows `keep` of those given by one key and value per pair."""
        kept = np.flatnonzero(keep)
        number = np.cumsum(keep) - 1
        columns = np.flatnonzero(keep[keys] & (data != 0))
        entries = (data[columns], (number[keys[columns]], columns))
        matrix = sp.csr_array(entries, shape=(kept.size, self.n_columns))
        return RowBlock(kind, name, kept, matrix, low[keep], high[keep], slack[keep])

    def load_sums(self, group: PenaltyGroup) -> RowBlock:
        """Return, per penalised expert, the row that defines its load column."""
        wanted = np.zeros(self.problem.n_experts, dtype=np.bool_)
        wanted[group.experts] = True
        zero = np.zeros(wanted.size)
        sums = self._rows("load_sum", group.name, self.experts, group.weight[self.clients], wanted,
                          zero, zero, zero)
        size = group.experts.size
        loads = sp.csr_array((np.ones(size), (np.arange(size), group.load_columns)),
                             shape=sums.matrix.shape)
        return replace(sums, matrix=sp.csr_array(sums.matrix - loads))
