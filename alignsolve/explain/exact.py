"""What changes of an optimal answer of the flow class cost, exactly."""

from __future__ import annotations

from functools import cached_property

import numpy as np

from alignsolve.certificate.answer import Changes
from alignsolve.certificate.exchanges import Exchanges
from alignsolve.explain.own_problem import LoadPrices
from alignsolve.model.arrays import Float64Array, IntArray
from alignsolve.model.problem import AlignmentProblem
from alignsolve.result import Result


class Exact(Exchanges):
    """What single changes of an optimal answer cost, with what its prices tell.

    Parameters
    ----------
    problem : AlignmentProblem
        A problem of the flow class.
    result : Result
        An optimal answer.
    """

    def __init__(self, problem: AlignmentProblem, result: Result) -> None:
        super().__init__(problem, result.row_ind, result.col_ind)
        self.prices = LoadPrices.of_result(problem, result)

    @cached_property
    def _held_counts(self) -> IntArray:
        """How many experts each client holds."""
        return np.bincount(self.rows, minlength=self.problem.n_clients)

    def changes(self, clients: IntArray, slot_of: int | None = None) -> Changes:
        """Return least losses as `Exchanges` does; gains out of reach are those without groups."""
        found = super().changes(clients, slot_of)
        values, held = self.block(clients)
        far = np.isinf(found.loss)
        if self.problem.expert_group is not None:
            found.gain[far] = 0.0
            return found
        is_full = self._held_counts[clients] >= self.problem.max_experts[clients]
        least = np.where(held, values, np.inf).min(axis=1, initial=np.inf)
        gain = np.maximum(0.0, values - np.where(is_full, least, 0.0)[:, None])
        found.gain[far] = gain[far]
        return found

    def displaces(self, expert: int, given: int | None) -> bool:
        """Tell whether each holder can leave its place for nothing, or for what is given up."""
        problem = self.problem
        if problem.expert_group is not None:
            return False
        holders = self.rows[self.cols == expert]
        leaves = self._held_counts[holders] > problem.min_experts[holders]
        if given is None:
            return bool(leaves.all())
        leaves &= self.loads[given] > self.low[given] and problem.load_penalty[given] == 0
        takes = problem.pair_values(holders, np.full(holders.size, given)) > -np.inf
        takes &= ~np.isin(holders, self.rows[self.cols == given])
        return bool((leaves | takes).all())

    def price_cuts(self, client: int, loss: Float64Array) -> Float64Array:
        """Return by how much each expert is too dear for a client at the prices of the others.

        NaN where no price suffices. Of `loss`, what giving each expert costs, it makes no use.
        """
        at = np.array([client])
        (values,), (held,) = self.block(at)
        net = values - self.prices.paid(at)[0]
        add, drop = self.moves.room(at)
        given = np.where(self.moves.may_add[client] & add[0], 0.0, np.inf)
        for other in np.flatnonzero(held).tolist():
            swap = self.moves.swaps(other, add, drop)[0]
            given[swap] = np.minimum(given[swap], net[other])
        with np.errstate(invalid="ignore"):
            return np.where(given < np.inf, np.maximum(0.0, given - net), np.nan)
