"""Less violation by small moves: clients add, drop or swap one expert while that helps.

For problems of the mip class whose model is too large for the time there is. It
proves nothing.
"""

from __future__ import annotations

import time

import numpy as np

from alignsolve.arrays import BoolArray, Float64Array, IntArray
from alignsolve.elastic.prices import Prices
from alignsolve.elastic.relaxation import whole_holder_bounds
from alignsolve.feasibility import resource_use
from alignsolve.problem import AlignmentProblem, tolerance

#: Passes over all clients at most.
MOST_PASSES = 30

#: Changes of the violation, relative to its prices, that count as none.
ROUNDING = 1e-9


def descended(
    problem: AlignmentProblem, prices: Prices, rows: IntArray, cols: IntArray, deadline: float
) -> tuple[IntArray, IntArray]:
    """Return an assignment that violates less, or as much with more fitness.

    Parameters
    ----------
    problem : AlignmentProblem
        The problem. Load penalties are not looked at.
    prices : Prices
        What violations cost.
    rows, cols : int64 array, shape (n_pairs,)
        Where to start: within slots, ``group_max``, budgets and allowed pairs,
        which the moves keep.
    deadline : float
        Value of ``time.perf_counter()`` at which to stop.

    Notes
    -----
    Each client in turn makes its best move, until a pass changes nothing, or
    for `MOST_PASSES`. A pass takes O(n_pairs n_experts) time.
    """
    state = _State(problem, prices, rows, cols)
    for _ in range(MOST_PASSES):
        moved = False
        for client in range(problem.n_clients):
            if time.perf_counter() > deadline:
                return state.pairs()
            moved |= state.improve(client)
        if not moved:
            break
    return state.pairs()


def within_budgets(
    problem: AlignmentProblem, rows: IntArray, cols: IntArray
) -> tuple[IntArray, IntArray]:
    """Return an assignment without the pairs of least value of clients over a budget."""
    values = problem.pair_values(rows, cols)
    order = np.lexsort((values, rows))
    rows, cols = rows[order], cols[order]
    while True:
        over = np.zeros(problem.n_clients, dtype=np.bool_)
        for name, resource in problem.resources.items():
            budget = np.asarray(resource.budget)
            over |= resource_use(problem, name, rows, cols) > budget + tolerance(budget) / 2
        is_first = np.append(True, rows[1:] != rows[:-1])
        dropped = is_first & over[rows] if rows.size else np.zeros(0, dtype=np.bool_)
        if not dropped.any():
            order = np.lexsort((cols, rows))
            return rows[order], cols[order]
        rows, cols = rows[~dropped], cols[~dropped]


class _Load:
    """The bounds of one load of every expert, and what it is now."""

    def __init__(
        self, weight: Float64Array, low: Float64Array, high: Float64Array, price: Float64Array,
        amount: Float64Array,
    ) -> None:
        self.weight, self.price, self.amount = weight, price, amount
        # Infinite bounds are missed infinitely, or never: no move changes that.
        self.low = np.where(np.isfinite(low), low, -np.inf)
        self.high = np.where(np.isfinite(high), high, np.inf)

    def change(self, amount: Float64Array) -> Float64Array:
        """Return what each expert's priced violation changes if all loads change by `amount`."""
        return self._missed(self.amount + amount) - self._missed(self.amount)

    def _missed(self, amount: Float64Array) -> Float64Array:
        over = np.maximum(self.low - amount, 0.0) + np.maximum(amount - self.high, 0.0)
        return np.asarray(self.price * over)


class _State:
    """An assignment, its loads, and what its clients use."""

    def __init__(
        self, problem: AlignmentProblem, prices: Prices, rows: IntArray, cols: IntArray
    ) -> None:
        self.problem, self.prices = problem, prices
        n, m = problem.n_clients, problem.n_experts
        self.held: list[list[int]] = [[] for _ in range(n)]
        for i, j in zip(rows.tolist(), cols.tolist(), strict=True):
            self.held[i].append(j)
        holders = np.bincount(cols, minlength=m).astype(np.float64)
        self.loads = [_Load(np.ones(n), *whole_holder_bounds(problem), prices.load, holders)]
        for name, load in problem.loads.items():
            low, high = np.asarray(load.min), np.asarray(load.max)
            amount = problem.load_amounts(name, rows, cols)
            price = prices.named_loads[name]
            self.loads.append(_Load(np.asarray(load.weight), low, high, price, amount))
        self.slack = ROUNDING * float(prices.load.max(initial=1.0))

    def pairs(self) -> tuple[IntArray, IntArray]:
        """Return the assignment, sorted."""
        counts = [len(held) for held in self.held]
        cols = [j for held in self.held for j in sorted(held)]
        return np.repeat(np.arange(len(counts)), counts), np.array(cols, dtype=np.int64)

    def improve(self, i: int) -> bool:
        """Make the best move of one client; tell whether there is one.

        Moves are the cells of a table: rows give up a held expert, or none (the
        first); columns take an expert, or none (the last).
        """
        held, m = self.held[i], self.problem.n_experts
        missed = np.zeros((1 + len(held), m + 1))
        for load in self.loads:
            missed[:, :m] += load.change(load.weight[i])
            missed[1:] += load.change(-load.weight[i])[held][:, None]
        (values,) = self.problem.values(slice(i, i + 1))
        allowed = np.append(values > -np.inf, True)
        allowed[held] = False
        gain = np.tile(np.append(np.where(allowed[:m], values, 0.0), 0.0), (1 + len(held), 1))
        gain[1:] -= values[held][:, None]
        missed += self._own(i, held)
        possible = allowed & self._possible(i, held)
        missed[~possible] = np.inf
        best = float(missed.min())
        if best > self.slack:
            return False
        # Among moves that help as much, the one with the most fitness.
        gain[missed > best + self.slack] = -np.inf
        row, k = divmod(int(gain.argmax()), m + 1)
        if best >= -self.slack and not gain[row, k] > ROUNDING * (1.0 + self.problem.largest):
            return False
        self._move(i, held[row - 1] if row else None, k if k < m else None)
        return True

    def _move(self, i: int, drop: int | None, add: int | None) -> None:
        for expert, sign in ((drop, -1.0), (add, 1.0)):
            if expert is None:
                continue
            for load in self.loads:
                load.amount[expert] += sign * load.weight[i]
            if sign > 0:
                self.held[i].append(expert)
            else:
                self.held[i].remove(expert)

    def _own(self, i: int, held: list[int]) -> Float64Array:
        """Return what the violation of the client's own bounds changes by each move."""
        problem, prices, m = self.problem, self.prices, self.problem.n_experts
        shape = 1 + len(held), m + 1

        def missed(has: Float64Array, low: float, price: float) -> Float64Array:
            if not np.isfinite(low):
                return np.zeros(shape)
            return np.asarray(price * np.maximum(low - has, 0.0))

        after = self._sums(np.ones(m), held)
        total = missed(after, float(problem.min_experts[i]), float(prices.min_experts[i]))
        floor = float(problem.client_fitness_min[i])
        if floor > -np.inf:
            fitness = np.asarray(problem.fitness[i : i + 1], dtype=np.float64)[0]
            fitness = np.where(fitness > -np.inf, fitness, 0.0)
            total = total + missed(self._sums(fitness, held), floor, float(prices.fitness_floor[i]))
        if problem.expert_group is not None and problem.group_min is not None:
            for g in np.flatnonzero(problem.group_min[i]).tolist():
                after = self._sums((problem.expert_group == g).astype(np.float64), held)
                total = total + missed(after, float(problem.group_min[i, g]),
                                       float(prices.group[i, g]))
        return np.asarray(total - total[0, m])

    def _sums(self, size: Float64Array, held: list[int]) -> Float64Array:
        """Return the sum of a size over what the client holds after each move."""
        now = float(size[held].sum())
        dropped = np.concatenate([[0.0], size[held]])
        return np.asarray(now - dropped[:, None] + np.append(size, 0.0)[None, :])

    def _possible(self, i: int, held: list[int]) -> BoolArray:
        """Tell which moves keep the bounds that never give way."""
        problem, m = self.problem, self.problem.n_experts
        possible = self._sums(np.ones(m), held) <= problem.max_experts[i]
        for resource in problem.resources.values():
            budget = float(np.asarray(resource.budget)[i])
            use = self._sums(np.asarray(resource.size)[i], held)
            # Half the tolerance: sums in another order round otherwise.
            possible &= use <= budget + float(tolerance(budget)) / 2
        if problem.expert_group is not None and problem.group_max is not None:
            for g in range(problem.n_groups):
                count = self._sums((problem.expert_group == g).astype(np.float64), held)
                possible &= count <= problem.group_max[i, g]
        return np.asarray(possible)
