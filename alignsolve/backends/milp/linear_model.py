"""One sparse linear model of any alignment problem, for solvers and for MPS and LP files.

Columns are, in this order: one binary per pair that may be held (row order),
then per convex penalty a pair of columns: the load, and a bound from below on
its penalty (see `alignsolve.backends.milp.penalty_pieces`). The model maximises.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import scipy.sparse as sp

from alignsolve.backends.milp.penalty_pieces import (
    PenaltyGroup,
    all_pieces,
    first_pieces,
    penalty_groups,
    piece_rows,
)
from alignsolve.model.arrays import BoolArray, Float64Array, IntArray, row_blocks
from alignsolve.model.problem import AlignmentProblem, tolerance


@dataclass(frozen=True, eq=False)
class RowBlock:
    """Rows of one kind.

    Parameters
    ----------
    kind : str
        "slots", "holders", "load", "resource", "group", "fairness",
        "load_sum", "penalty" or "cut".
    name : str
        Name of the load or resource; "" otherwise.
    keys : int64 array, shape (n_rows,)
        Client, expert, ``client * n_groups + group``, or a running number.
    """

    kind: str
    name: str
    keys: IntArray


@dataclass(frozen=True, eq=False)
class LinearModel:
    """``maximise objective @ v + offset`` within row and column bounds.

    Parameters
    ----------
    clients, experts : int64 array, shape (n_pairs,)
        Pair of each of the first columns, in row order.
    objective : float64 array, shape (n_columns,)
        Coefficients, max sense.
    offset : float
        Constant of the objective.
    matrix : scipy.sparse.csr_array, shape (n_rows, n_columns), float64
        Rows.
    row_lower, row_upper : float64 array, shape (n_rows,)
        Bounds as the problem states them, +-inf for none.
    row_slack : float64 array, shape (n_rows,)
        What an answer may exceed a row's bounds by: the package's tolerance
        for sums of floats, 0 for counts.
    lower, upper : float64 array, shape (n_columns,)
        Column bounds. Those of real loads are no part of the problem.
    is_integer : bool array, shape (n_columns,)
        Whether a column must be whole.
    blocks : tuple of RowBlock
        What the rows are, in order.
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
    offset: float
    matrix: sp.csr_array
    row_lower: Float64Array
    row_upper: Float64Array
    row_slack: Float64Array
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

    def pairs(self, values: Float64Array) -> tuple[IntArray, IntArray]:
        """Return the clients and experts of the pairs whose value rounds to 1."""
        held = values[: self.n_pairs] > 0.5
        return self.clients[held], self.experts[held]

    def point(self, problem: AlignmentProblem, rows: IntArray, cols: IntArray) -> Float64Array:
        """Return the columns' values of an answer, float64 of shape (n_columns,)."""
        wanted = np.sort(rows * problem.n_experts + cols)
        keys = self.clients * problem.n_experts + self.experts
        values = np.zeros(self.n_columns)
        if wanted.size:
            at = np.minimum(np.searchsorted(wanted, keys), wanted.size - 1)
            values[: self.n_pairs] = wanted[at] == keys
        for group in self.penalties:
            loads = group.loads(problem, rows, cols)
            values[group.load_columns] = loads
            values[group.penalty_columns] = group.values(loads)
        return values

    def with_rows(
        self, kind: str, matrix: sp.csr_array, lower: Float64Array, upper: Float64Array
    ) -> LinearModel:
        """Return a model with further rows, whose bounds have no slack."""
        stacked = sp.csr_array(sp.vstack([self.matrix, matrix], format="csr"))
        return replace(
            self, matrix=stacked, row_lower=np.concatenate([self.row_lower, lower]),
            row_upper=np.concatenate([self.row_upper, upper]),
            row_slack=np.concatenate([self.row_slack, np.zeros(lower.size)]),
            blocks=(*self.blocks, RowBlock(kind, "", np.arange(lower.size))),
        )

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
    builder.add_rows(penalties)
    pieces = all_pieces if all_holder_pieces else first_pieces
    for group in penalties:
        matrix, lower = piece_rows(group, *pieces(group), n_columns)
        numbers = np.arange(lower.size)
        infinite = np.full(lower.size, np.inf)
        builder.add_block("penalty", group.name, numbers, matrix, lower, infinite)
    objective, lower, upper = np.zeros(n_columns), np.zeros(n_columns), np.ones(n_columns)
    objective[: clients.size] = problem.pair_values(clients, experts)
    is_integer = np.ones(n_columns, dtype=np.bool_)
    for group in penalties:
        objective[group.penalty_columns] = -1.0
        lower[group.load_columns], upper[group.load_columns] = group.load_range()
        lower[group.penalty_columns], upper[group.penalty_columns] = group.penalty_range()
        is_integer[group.load_columns] = group.is_count
        is_integer[group.penalty_columns] = False
    return LinearModel(
        clients,
        experts,
        objective,
        0.0,
        sp.csr_array(sp.vstack(builder.matrices, format="csr"))
        if builder.matrices
        else sp.csr_array((0, n_columns), dtype=np.float64),
        np.concatenate([np.empty(0), *builder.lower]),
        np.concatenate([np.empty(0), *builder.upper]),
        np.concatenate([np.empty(0), *builder.slack]),
        lower,
        upper,
        is_integer,
        tuple(builder.blocks),
        penalties,
    )


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
    """Collects row blocks; every block is built at once from its pairs' keys."""

    def __init__(
        self, problem: AlignmentProblem, clients: IntArray, experts: IntArray, n_columns: int
    ) -> None:
        self.problem = problem
        self.clients, self.experts, self.n_columns = clients, experts, n_columns
        self.blocks: list[RowBlock] = []
        self.matrices: list[sp.csr_array] = []
        self.lower: list[Float64Array] = []
        self.upper: list[Float64Array] = []
        self.slack: list[Float64Array] = []

    def add_block(
        self, kind: str, name: str, keys: IntArray, matrix: sp.csr_array, lower: Float64Array,
        upper: Float64Array, slack: Float64Array | None = None,
    ) -> None:
        """Append finished rows."""
        if not keys.size:
            return
        self.blocks.append(RowBlock(kind, name, keys))
        self.matrices.append(matrix)
        self.lower.append(np.asarray(lower, dtype=np.float64))
        self.upper.append(np.asarray(upper, dtype=np.float64))
        self.slack.append(np.zeros(keys.size) if slack is None else slack)

    def add_rows(self, penalties: tuple[PenaltyGroup, ...]) -> None:
        """Append the rows of every bound of the problem."""
        problem, n, m = self.problem, self.problem.n_clients, self.problem.n_experts
        self._counts("slots", self.clients, *problem.slot_bounds())
        # The bounds of penalised holders are those of their column.
        free = np.ones(m, dtype=np.bool_)
        for group in penalties:
            free[group.experts] &= not group.is_count
        self._counts("holders", self.experts, *problem.holder_bounds(), free)
        if problem.expert_group is not None and problem.group_min is not None:
            keys = self.clients * problem.n_groups + problem.expert_group[self.experts]
            fewest, most = problem.group_min.ravel(), problem.group_max.ravel()  # type: ignore[union-attr]
            self._counts("group", keys, fewest, most)
        for name, load in problem.loads.items():
            weight = np.asarray(load.weight)[self.clients]
            low, high = np.asarray(load.min), np.asarray(load.max)
            self._sums("load", name, self.experts, weight, low, high)
        for name, resource in problem.resources.items():
            size = np.asarray(resource.size)[self.clients, self.experts]
            budget = np.asarray(resource.budget)
            self._sums("resource", name, self.clients, size, np.full(n, -np.inf), budget)
        floor = problem.client_fitness_min
        if (floor > -np.inf).any():
            fitness = problem.fitness[self.clients, self.experts].astype(np.float64)
            self._sums("fairness", "", self.clients, fitness, floor, np.full(n, np.inf))
        for group in penalties:
            self._load_sums(group)

    def _counts(
        self, kind: str, keys: IntArray, low: IntArray, high: IntArray,
        wanted: BoolArray | bool = True,
    ) -> None:
        """Append rows that count the pairs of each key."""
        most = np.bincount(keys, minlength=low.size)
        keep = ((low > 0) | (high < most)) & wanted
        ones = np.ones(keys.size)
        self._append(kind, "", keys, ones, keep, low.astype(np.float64), high.astype(np.float64))

    def _sums(
        self, kind: str, name: str, keys: IntArray, data: Float64Array, low: Float64Array,
        high: Float64Array,
    ) -> None:
        """Append rows that sum a value over the pairs of each key."""
        n_keys = low.size
        least = np.bincount(keys, weights=np.minimum(data, 0), minlength=n_keys)
        most = np.bincount(keys, weights=np.maximum(data, 0), minlength=n_keys)
        # A row is idle only if no rounding of its sum can reach a bound.
        keep = (low - tolerance(low) / 2 > least) | (high + tolerance(high) / 2 < most)
        slack = np.maximum(tolerance(low), tolerance(high))
        both = np.isfinite(low) & np.isfinite(high)
        # Bounds of very different size have different slacks, so they need a row each.
        if both.any() and (tolerance(low) != tolerance(high))[both].any():
            none = np.full(n_keys, np.inf)
            self._append(kind, name, keys, data, keep & (low > -np.inf), low, none, tolerance(low))
            self._append(kind, name, keys, data, keep & (high < np.inf), -none, high,
                         tolerance(high))
            return
        self._append(kind, name, keys, data, keep, low, high, slack)

    def _append(
        self, kind: str, name: str, keys: IntArray, data: Float64Array, keep: BoolArray,
        low: Float64Array, high: Float64Array, slack: Float64Array | None = None,
    ) -> None:
        """Append the rows `keep` of those given by one key and value per pair."""
        kept = np.flatnonzero(keep)
        number = np.cumsum(keep) - 1
        columns = np.flatnonzero(keep[keys] & (data != 0))
        shape = (kept.size, self.n_columns)
        entries = (data[columns], (number[keys[columns]], columns))
        matrix = sp.csr_array(sp.coo_array(entries, shape=shape))
        self.add_block(kind, name, kept, matrix, low[keep], high[keep],
                       None if slack is None else slack[keep])

    def _load_sums(self, group: PenaltyGroup) -> None:
        """Append, per penalised expert, the row that defines its load column."""
        rank = np.full(self.problem.n_experts, -1)
        rank[group.experts] = np.arange(group.experts.size)
        columns = np.flatnonzero(rank[self.experts] >= 0)
        weight = group.weight[self.clients[columns]]
        row = np.concatenate([rank[self.experts[columns]], np.arange(group.experts.size)])
        column = np.concatenate([columns, group.load_columns])
        data = np.concatenate([weight, np.full(group.experts.size, -1.0)])
        shape = (group.experts.size, self.n_columns)
        matrix = sp.csr_array(sp.coo_array((data, (row, column)), shape=shape))
        zero = np.zeros(group.experts.size)
        self.add_block("load_sum", group.name, group.experts, matrix, zero, zero)
