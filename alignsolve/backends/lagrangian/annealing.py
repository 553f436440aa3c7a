"""Answers to generalized assignment by annealing: what binds is priced, then enforced.

At prices of the budgets every job has a few agents where it loses little. Each round starts
where budgets hardly count, so that jobs lose next to nothing, and makes what a budget is out of
balance by cost more and more, while chains of shifts keep the jobs' losses low (S. Kirkpatrick,
C. D. Gelatt and M. P. Vecchi, Optimization by simulated annealing, 1983,
doi:10.1126/science.220.4598.671, with penalties in place of the temperature). Rounds take
longer and longer.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

import numpy as np

from alignsolve.backends.incumbent import SharedIncumbent
from alignsolve.backends.lagrangian.bound import Priced, Relaxation
from alignsolve.backends.lagrangian.params import AnnealingParams
from alignsolve.backends.lagrangian.subgradient import Target, follow_subgradients
from alignsolve.model.arrays import Float64Array, IntArray
from alignsolve.standard_form import ROUNDING


class Annealing:
    """The search; see the module.

    Parameters
    ----------
    relaxation : Relaxation
        A problem of generalized assignment.
    best : SharedIncumbent
        Where answers go.
    params : AnnealingParams
        What steers the search.

    Attributes
    ----------
    rounds, seconds : int, float
        What was done so far, and how long that took.
    """

    def __init__(
        self, relaxation: Relaxation, best: SharedIncumbent, params: AnnealingParams
    ) -> None:
        assert relaxation.whole is not None
        self.best, self.params = best, params
        self.size, self.cap = relaxation.whole
        self.values = relaxation.problem.values(slice(0, self.cap.size))
        self.values[self.size > self.cap[:, None]] = -np.inf
        self.rng = np.random.default_rng(best.limits.seed)
        #: A job that fits no agent is a proof.
        best.infeasible |= not (self.values.max(axis=0) > -np.inf).all()
        #: What a unit of each budget is worth, near enough to the best such prices.
        self.prices = self._price_budgets()
        self.rounds, self.seconds = 0, 0.0
        self._steps = self._search()

    def _price_budgets(self) -> Float64Array:
        """Return prices of the budgets, by subgradient steps as in `subgradient`; O(n m) each.

        Their bounds are valid, and told.
        """
        params = self.params

        def seen(priced: Priced) -> bool:
            self.best.lower(priced.bound)
            self.best.report()
            return self.best.is_over

        start = self._respond(np.zeros(self.cap.size))
        return follow_subgradients(
            self._respond, start, Target(params.price_distance * abs(start.bound),
                                         params.price_patience),
            least=0.0, most=np.inf, memory=params.price_momentum, max_passes=params.price_rounds,
            deadline=time.perf_counter() + params.price_share * self.best.limits.remaining(),
            seen=seen,
        ).prices  # fmt: skip

    def _respond(self, prices: Float64Array) -> Priced:
        """Return what prices of the budgets bound by, where each job takes its best agent."""
        worth = self.values - prices[:, None] * self.size
        agent, jobs = worth.argmax(axis=0), np.arange(worth.shape[1])
        used = np.bincount(agent, self.size[agent, jobs], self.cap.size)
        summed = float(np.abs(self.values[agent, jobs]).sum() + prices @ (used + self.cap))
        bound = float(worth[agent, jobs].sum() + prices @ self.cap)
        gradient = np.asarray(used - self.cap, dtype=np.float64)
        return Priced(prices, bound + ROUNDING * summed, gradient, infeasible=False)

    @property
    def job_prices(self) -> Float64Array:
        """Prices of the jobs at which no agent can gain more than its budget is worth."""
        worth: Float64Array = (self.values - self.prices[:, None] * self.size).max(axis=0)
        return worth

    def step(self) -> None:
        """Go on for less than a tenth of a second or so."""
        began = time.perf_counter()
        next(self._steps, None)
        self.seconds += time.perf_counter() - began

    def _search(self) -> Iterator[None]:
        """Run one round after the other, each longer than the one before; yield in between."""
        params = self.params
        prices, typical = self.prices, np.maximum(self.size.mean(axis=1), 1.0)
        loss = prices[:, None] * self.size - self.values
        ordered = _least(loss.T, min(params.agents, len(loss)))[1]
        regret = ordered - ordered[:, :1]
        scale = float(regret[np.isfinite(regret)].mean()) or 1.0
        # A budget that the prices leave free binds where nothing costs anything; its price tells
        # agents apart at which a job costs the same, but takes unlike room.
        prices = np.maximum(prices, params.free_price * scale / typical)
        loss = prices[:, None] * self.size - self.values
        likely, ordered = _least(loss.T, min(params.agents, len(loss)))
        # Where few agents may hold a job, its best one stands for the others.
        likely = np.where(np.isfinite(ordered), likely, likely[:, :1])
        moves = params.first_moves
        while True:
            temperature = params.temperature * scale
            yield from self._round(loss, likely, prices, typical, temperature, moves)
            self.rounds += 1
            moves = int(moves * params.growth)

    def _round(
        self, loss: Float64Array, likely: IntArray, prices: Float64Array, typical: Float64Array,
        temperature: float, moves: int,
    ) -> Iterator[None]:  # fmt: skip
        """Run one round, in steps in which a budget that is out of balance costs the same."""
        from alignsolve.backends.lagrangian.annealing_kernels import anneal

        params = self.params
        owner, found = likely[:, 0].copy(), np.empty(len(likely), dtype=np.int64)
        agents, jobs = loss.shape
        steps = max(params.steps, moves * jobs // (agents * params.most_looks))
        # At first a typical job too much costs a few times what is accepted.
        first = params.first_weight * temperature / float((prices * typical).mean()) * prices
        # Where a budget is all but free, prices alone would not enforce its last units.
        last = np.maximum(params.last_weight * prices, params.last_unit * temperature)
        for part in np.linspace(0.0, 1.0, steps):
            over = first * (last / first) ** part
            under = np.minimum(over, prices)
            before = self.best.value
            value = anneal(
                loss, self.values, self.size, self.cap, over, under, likely, temperature,
                params.chained, moves // steps, int(self.rng.integers(1 << 31)), owner, before,
                found,
            )  # fmt: skip
            if value > before:
                order = np.lexsort((np.arange(found.size), found))
                self.best.offer(found[order], order)
            yield


def _least(loss: Float64Array, count: int) -> tuple[IntArray, Float64Array]:
    """Return the columns of the least entries of each row, ascending, and these entries."""
    # In order of columns first, so that the first of equals leads.
    some = np.sort(np.argpartition(loss, count - 1, axis=1)[:, :count], axis=1)
    entries = np.take_along_axis(loss, some, axis=1)
    order = np.argsort(entries, axis=1, kind="stable")
    return np.take_along_axis(some, order, axis=1), np.take_along_axis(entries, order, axis=1)
