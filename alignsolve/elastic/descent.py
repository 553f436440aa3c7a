"""Less violation by small moves: clients add, drop, swap or exchange experts while that helps.

For problems of the mip class whose model is too large for the time there is. It
proves nothing.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import numpy.typing as npt

from alignsolve.elastic.moves import Block, Loads, exchange, improve
from alignsolve.elastic.violation_weights import ViolationWeights
from alignsolve.model.arrays import BoolArray, Float64Array, IntArray, row_blocks, weighted_count
from alignsolve.model.feasibility import resource_use, sorted_pairs
from alignsolve.model.problem import AlignmentProblem
from alignsolve.standard_form import CouplingConstraints, Margin, client_sums

#: Passes over all clients at most, and rounds of passes with exchanges after each.
MOST_PASSES, MOST_ROUNDS = 30, 10

#: Exchanges of two clients looked at at most, a few seconds' work that nothing ends early,
#: and how many for each second left.
MOST_EXCHANGES, EXCHANGES_PER_SECOND = 100_000_000, 10_000_000

#: Bytes of the rows of a block of clients, in float64.
BLOCK_BYTES = 1 << 22

#: Changes of the violation, relative to its weights, that count as none.
ROUNDING = 1e-9

#: What experts add to clients' sums, (k, n_experts), the bound of each sum, and its weight.
Rows = tuple[npt.NDArray[Any], ...]


def descended(
    problem: AlignmentProblem, weights: ViolationWeights, rows: IntArray, cols: IntArray,
    deadline: float,
) -> tuple[IntArray, IntArray]:
    """Return an assignment that violates less, or as much with more fitness.

    Parameters
    ----------
    problem : AlignmentProblem
        The problem. Load penalties are not looked at.
    weights : ViolationWeights
        What violations cost.
    rows, cols : int64 array, shape (n_pairs,)
        Where to start: within slots, ``group_max``, budgets and allowed pairs,
        which the moves keep.
    deadline : float
        Value of ``time.perf_counter()`` at which to stop.

    Notes
    -----
    Each client in turn makes its best move, until a pass changes nothing, or
    for `MOST_PASSES`: O(n_clients n_experts) time a pass, and as much again for
    each expert held. Where bounds on loads are still missed, pairs of clients
    exchange experts, at most `MOST_EXCHANGES` being looked at, and fewer where the
    deadline is near.
    """
    return _Descent(problem, weights, rows, cols).run(deadline)


def within_budgets(
    problem: AlignmentProblem, rows: IntArray, cols: IntArray
) -> tuple[IntArray, IntArray]:
    """Return an assignment without the pairs of least value of clients over a budget."""
    values = problem.pair_values(rows, cols)
    order = np.lexsort((values, rows))
    rows, cols = rows[order], cols[order]
    budgets = [part for part in client_sums(problem, Margin.INWARD) if part.name]
    while True:
        over = np.zeros(problem.n_clients, dtype=np.bool_)
        for part in budgets:
            over |= resource_use(problem, part.name, rows, cols) > part.high
        dropped = over[rows]
        # The first of a client has the least value.
        dropped[1:] &= rows[1:] != rows[:-1]
        if not dropped.any():
            return sorted_pairs(problem, rows, cols)
        rows, cols = rows[~dropped], cols[~dropped]


class _Descent:
    """An assignment, its loads, and the rows of its clients."""

    def __init__(
        self, problem: AlignmentProblem, weights: ViolationWeights, rows: IntArray, cols: IntArray
    ) -> None:
        self.problem, self.weights = problem, weights
        n, m = problem.n_clients, problem.n_experts
        self.held: BoolArray = np.zeros((n, m), dtype=np.bool_)
        self.held[rows, cols] = True
        loads = CouplingConstraints.of(problem, Margin.INWARD, all_holders=True)
        self.weight, self.sums = loads.weight, client_sums(problem, Margin.INWARD)
        # Infinite bounds are missed infinitely, or never: no move changes that.
        self.loads = Loads(
            np.where(np.isfinite(loads.low), loads.low, -np.inf),
            np.where(np.isfinite(loads.high), loads.high, np.inf),
            np.array([weights.of("load_min", name or None) for name in loads.names]),
            np.array([weighted_count(cols, weight[rows], m) for weight in loads.weight]),
        )
        self.slack = ROUNDING * float(weights.load.max(initial=1.0))
        self.gain = ROUNDING * (1.0 + problem.largest)

    def run(self, deadline: float) -> tuple[IntArray, IntArray]:
        """Move until nothing helps, or time is up."""
        seconds = max(0.0, deadline - time.perf_counter())
        left = int(min(MOST_EXCHANGES, EXCHANGES_PER_SECOND * seconds))
        for _ in range(MOST_ROUNDS):
            self._passes(deadline)
            missed = (self.loads.amount < self.loads.low) | (self.loads.amount > self.loads.high)
            if time.perf_counter() > deadline or left <= 0 or not missed.any():
                break
            if 8 * self.held.size > BLOCK_BYTES:
                break
            everyone = self._block(slice(0, self.problem.n_clients))
            moved, left = exchange(everyone, self.loads, self.held, self.slack, left)
            if not moved:
                break
        rows, cols = np.nonzero(self.held)
        return rows, cols

    def _passes(self, deadline: float) -> None:
        """Let clients move one by one until that changes nothing."""
        for _ in range(MOST_PASSES):
            moved = 0
            for rows in row_blocks(self.problem.n_clients, self.problem.n_experts, BLOCK_BYTES):
                if time.perf_counter() > deadline:
                    return
                block = self._block(rows)
                moved += improve(block, self.loads, self.held[rows], self.slack, self.gain)
            if not moved:
                return

    def _block(self, rows: slice) -> tuple[Float64Array, ...]:
        """Return the rows of some clients; see `alignsolve.elastic.moves.Block`."""
        problem, weights = self.problem, self.weights
        k, m = rows.stop - rows.start, problem.n_experts
        hard: list[Rows] = [(np.ones((k, m)), problem.max_experts[rows])]
        soft: list[Rows] = []
        if problem.min_experts[rows].any():
            soft.append((np.ones((k, m)), problem.min_experts[rows], weights.min_experts[rows]))
        if problem.group_min is not None and problem.group_max is not None:
            for g in range(problem.n_groups):
                member = np.broadcast_to(problem.expert_group == g, (k, m))
                hard.append((member, problem.group_max[rows, g]))
                soft.append((member, problem.group_min[rows, g], weights.group[rows, g]))
        for part in self.sums:
            if part.name:
                hard.append((part.entries(rows), part.high[rows]))
            else:
                soft.append((part.entries(rows), part.low[rows], weights.fitness_floor[rows]))

        def stacked(parts: list[Rows], at: int) -> Float64Array:
            shape = (len(parts), k) if at else (len(parts), k, m)
            return np.array([row[at] for row in parts], dtype=np.float64).reshape(shape)

        floor = stacked(soft, 1)
        return Block(
            problem.values(rows), np.ascontiguousarray(self.weight[:, rows]),
            stacked(hard, 0), stacked(hard, 1), stacked(soft, 0),
            np.where(np.isfinite(floor), floor, -np.inf), stacked(soft, 2),
        )  # fmt: skip
