"""What pairs and assignments are worth: the values of a problem."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np

from alignsolve.model.arguments import Load
from alignsolve.model.arrays import Float64Array, FloatArray, IntArray, entries
from alignsolve.model.features import Feature
from alignsolve.model.large_integers import OffsetMatrix
from alignsolve.model.pairs import Pairs


class Valued:
    """What `alignsolve.model.problem.AlignmentProblem` says of values, in max sense but for totals.

    Attributes are those of the problem.
    """

    sense: Literal["max", "min"]
    #: A matrix, or a source that reads like one by rows; see `AlignmentProblem.source`.
    fitness: FloatArray
    switch_cost: Float64Array
    held: Pairs | None
    load_penalty: Float64Array
    load_target: Float64Array
    loads: Mapping[str, Load]
    features: frozenset[Feature]
    #: Whole numbers beyond 2**53; `fitness` is then relative to each client's best one.
    integers: OffsetMatrix | None

    @property
    def n_experts(self) -> int:
        """Number of experts."""
        return int(self.fitness.shape[1])

    @property
    def sign(self) -> float:
        """+1 where the problem maximises, -1 where it minimises."""
        return 1.0 if self.sense == "max" else -1.0

    def values(self, rows: slice | IntArray) -> Float64Array:
        """Return fitness less switching cost of some clients, float64, a fresh array.

        Parameters
        ----------
        rows : slice or int array
            Clients; a slice must have step 1.

        Returns
        -------
        values : float64 array, shape (len(rows), n_experts)
            ``-inf`` where the pair is forbidden.
        """
        return self.less_switching(rows, self.fitness[rows])

    def less_switching(self, rows: slice | IntArray, fitness: FloatArray) -> Float64Array:
        """Return the fitness of some clients less their switching costs; see `values`."""
        block = fitness.astype(np.float64)
        if Feature.SWITCHING in self.features:
            cost = self.switch_cost[rows]
            if self.held is not None:
                cost = np.where(self.held.mask(rows), 0.0, cost)
            block -= cost
        return block

    def pair_fitness(self, row_ind: IntArray, col_ind: IntArray) -> Float64Array:
        """Return fitness (max sense) of the given pairs, float64."""
        rows, cols = np.asarray(row_ind, np.int64), np.asarray(col_ind, np.int64)
        return entries(self.fitness, rows, cols).astype(np.float64, copy=False)

    def pair_values(self, row_ind: IntArray, col_ind: IntArray) -> Float64Array:
        """Return fitness less switching cost of the given pairs, float64."""
        values = self.pair_fitness(row_ind, col_ind)
        if Feature.SWITCHING in self.features:
            cost = self.switch_cost[row_ind, col_ind]
            if self.held is not None:
                cost = np.where(self.held.contains(row_ind, col_ind), 0.0, cost)
            values -= cost
        return values

    def objective(
        self, row_ind: IntArray, col_ind: IntArray, values: Float64Array | None = None
    ) -> float:
        """Return the objective of an assignment, in the problem's own sense.

        `values` are its `pair_values` where they are known already.
        """
        if values is None:
            values = self.pair_values(row_ind, col_ind)
        return self.stated(float(values.sum()) - self.penalty(row_ind, col_ind), row_ind)

    def stated(self, value: float, row_ind: IntArray) -> float:
        """Return the value of an assignment in max sense as the objective that it is."""
        if self.integers is not None:
            value = self.integers.added_to(value, row_ind)
        return self.sign * value

    def penalty(self, row_ind: IntArray, col_ind: IntArray) -> float:
        """Return the sum of all load penalties of an assignment, >= 0."""
        total = self.holder_penalty(np.bincount(col_ind, minlength=self.n_experts))
        for name, load in self.loads.items():
            amount = self.load_amounts(name, row_ind, col_ind)
            slope, target = np.asarray(load.penalty), np.asarray(load.target)
            total += float((slope * (amount - target) ** 2).sum())
        return total

    def holder_penalty(self, holders: IntArray) -> float:
        """Return the sum of the penalties on some numbers of holders, shape (n_experts,)."""
        return float((self.load_penalty * (holders - self.load_target) ** 2).sum())

    def load_amounts(self, name: str, row_ind: IntArray, col_ind: IntArray) -> Float64Array:
        """Return the named load of every expert under an assignment, float64."""
        return self.loads[name].amounts(row_ind, col_ind, self.n_experts)
