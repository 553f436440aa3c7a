"""What changes cost at fixed prices: every client's own problem, solved again with the change.

Where an answer is not proved by prices, as in the mip class, what a change costs is as hard to
say as the problem itself. At the prices of the Lagrangian dual it falls apart into the clients'
own problems, which are solved exactly. What that says of the whole is an estimate, as a shadow
price is: others are taken to pay the same prices before and after (A. M. Geoffrion, Lagrangean
relaxation for integer programming, 1974, doi:10.1007/BFb0120690).
"""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property

import numpy as np

from alignsolve.certificate.answer import Answer, Changes
from alignsolve.explain.own_problem import LoadPrices, OwnProblems
from alignsolve.model.arrays import BoolArray, Float64Array, IntArray
from alignsolve.model.problem import AlignmentProblem
from alignsolve.result import Result

#: An alternative counts as indifferent up to this, relative to the largest value.
INDIFFERENT = 1e-9


class Estimates(Answer):
    """What single changes of an answer cost at the prices of its loads.

    Parameters
    ----------
    problem : AlignmentProblem
        A problem of either class.
    result : Result
        A feasible answer.

    Notes
    -----
    Losses are in units of fitness (max sense), and at least 0. All changes of one client take
    two searches an expert; one change of every client two searches a client.
    """

    def __init__(self, problem: AlignmentProblem, result: Result) -> None:
        super().__init__(problem, result.row_ind, result.col_ind)
        self.prices = LoadPrices.of_result(problem, result)
        self.own = OwnProblems(problem, self.prices)

    # -- clients ------------------------------------------------------------------

    def changes(self, clients: IntArray) -> Changes:
        """Return what it costs to give some clients each expert, and to take it away."""
        k, m = clients.size, self.problem.n_experts
        experts = np.tile(np.arange(m), k)
        held = self.held.mask(clients)
        found = self._exchanged(np.repeat(clients, m), experts, held.ravel())
        cost, other, gain = (part.reshape(k, m) for part in found)
        nothing = np.full((k, m), -1)
        return Changes(
            loss=np.where(held, 0.0, cost), given=np.where(held, nothing, other),
            margin=np.where(held, cost, np.inf), taken=np.where(held, other, nothing),
            gain=np.where(held | np.isinf(cost), 0.0, gain),
        )  # fmt: skip

    def of_expert(self, clients: IntArray, expert: int) -> Float64Array:
        """Return what it costs to take an expert from its holders, or to give it to others."""
        held = self.held.mask(clients)[:, expert]
        return self._exchanged(clients, np.full(clients.size, expert), held)[0]

    def _exchanged(
        self, clients: IntArray, experts: IntArray, held: BoolArray
    ) -> tuple[Float64Array, IntArray, Float64Array]:
        """Return by how much best sets without held experts, or with others, are worse.

        The second array names the most valuable expert of the set without the expert that the
        set with it lacks, -1 for none; the third has the sets' difference without prices.
        """
        inside, with_it = self.own.best(clients, forced=experts)
        outside, without = self.own.best(clients, forbidden=experts)
        with np.errstate(invalid="ignore"):
            cost = np.where(held, inside - outside, outside - inside)
        # Where neither exists, the answer itself is within rounding of a bound.
        cost = np.where(np.isnan(cost), np.inf, np.maximum(cost, 0.0))
        values = self.problem.values(clients)
        worth = [np.where(chosen, values, 0.0).sum(axis=1) for chosen in (with_it, without)]
        gain = worth[0] - worth[1]
        differs = np.where(without & ~with_it, values, -np.inf)
        best = differs.argmax(axis=1) if differs.shape[1] else np.zeros(clients.size, np.int64)
        found = differs.max(axis=1, initial=-np.inf) > -np.inf
        return cost, np.where(found, best, -1), gain

    def slot_suffices(self, client: int, expert: int, missing: float) -> bool:
        """Tell whether a further slot of an expert goes to a client that is indifferent to it."""
        indifferent = missing <= INDIFFERENT * max(1.0, self.problem.largest)
        return bool(self.slot_worth[expert] > 0 and indifferent)

    def displaces(self, expert: int, given: int | None) -> bool:
        """Return False: what holders would do is not known."""
        return False

    def price_cuts(self, client: int, loss: Float64Array) -> Float64Array:
        """Return by how much each expert is too dear for a client: by what giving it costs."""
        return loss

    def gain_of_slot(self, clients: IntArray) -> Float64Array:
        """Return what one more slot would gain each client, (len(clients),)."""
        return self._gain(self._more_slots, clients)

    def gain_of_minimum(self, clients: IntArray) -> Float64Array:
        """Return what one required expert fewer would gain, (len(clients),)."""
        return self._gain(self._smaller_minima, clients)

    def gain_without_budget(self, name: str, clients: IntArray) -> Float64Array:
        """Return what each client would gain without its budget of a resource."""
        resource = replace(self.problem.resources[name], budget=np.inf)
        free = self.problem.replace(resources={**self.problem.resources, name: resource})
        return self._gain(OwnProblems(free, self.prices), clients)

    def _gain(self, changed: OwnProblems, clients: IntArray) -> Float64Array:
        return np.maximum(0.0, changed.best(clients)[0] - self.own.best(clients)[0])

    @cached_property
    def _more_slots(self) -> OwnProblems:
        problem = self.problem
        return OwnProblems(problem.replace(max_experts=problem.max_experts + 1), self.prices)

    @cached_property
    def _smaller_minima(self) -> OwnProblems:
        fewer = np.maximum(self.problem.min_experts - 1, 0)
        return OwnProblems(self.problem.replace(min_experts=fewer), self.prices)

    # -- experts ------------------------------------------------------------------

    @property
    def one_more(self) -> Float64Array:
        """Loss of one more holder of each expert than now, < 0 for a gain, (n_experts,)."""
        return self.up - self.prices.holder()

    @property
    def one_fewer(self) -> Float64Array:
        """Loss of one holder fewer of each expert, < 0 for a gain, (n_experts,)."""
        return self.down + self.prices.holder()

    def next_holder(self, expert: int, cost: Float64Array) -> int | None:
        """Return who is nearest to taking an expert's further slot, where one would be used.

        Parameters
        ----------
        expert : int
            The expert.
        cost : float64 array, shape (n_clients,)
            What `of_expert` returns, and infinite for those that hold it.
        """
        if not self.slot_worth[expert] > 0:
            return None
        best = int(cost.argmin())
        return best if np.isfinite(cost[best]) else None
