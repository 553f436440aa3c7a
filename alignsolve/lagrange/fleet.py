"""Answers for many clients: the replies to good prices, corrected by best responses.

Near the best prices the replies break the loads' bounds by a little. Clients then
take turns, each choosing its best set again, while what is out of bounds costs
more from sweep to sweep: those leave an expert first that lose least by it. At the
end the prices go, and every change gains within all bounds.
"""

from __future__ import annotations

import time

import numpy as np

from alignsolve.arrays import BoolArray, Float64Array, IntArray
from alignsolve.lagrange.best import Best
from alignsolve.lagrange.bound import NODES, Relaxation
from alignsolve.lagrange.parts import Clients, Loads

#: Sweeps in which being out of bounds costs more each time, and by what factor.
SWEEPS, GROWTH = 12, 3.0
#: Sweeps without prices that still gain.
GAINING_SWEEPS = 6


class FleetSearch:
    """Best responses within strict bounds; see the module.

    Parameters
    ----------
    relaxation : Relaxation
        The priced problem.
    best : Best
        Where answers go.
    """

    def __init__(self, relaxation: Relaxation, best: Best) -> None:
        self.relaxation, self.best = relaxation, best
        self.problem = relaxation.problem
        self.loads, self.clients = Loads.of(self.problem, True), Clients.of(self.problem, True)
        self.rng = np.random.default_rng(best.options.seed)
        self.blocks = list(relaxation.blocks(np.arange(self.problem.n_clients)))
        self.sweeps = 0

    def improve(self, prices: Float64Array, held: BoolArray) -> bool:
        """Make replies feasible, and better; offer what comes of it.

        Parameters
        ----------
        prices : float64 array, shape (n_loads, n_experts)
            Prices at which the sets are replies.
        held : bool array, shape (n_clients, n_experts)
            Sets; changed in place.

        Returns
        -------
        bool
            Whether the answer is feasible.
        """
        multipliers = self.relaxation.multipliers.copy()
        amounts = self._amounts(held)
        scale = self._scale(prices)
        typical = self._typical_weight()
        pull = 0.1 * scale / typical**2
        none = np.zeros(len(typical))
        for _ in range(SWEEPS):
            if self.best.is_over or self._is_within(amounts):
                break
            self._sweep(prices, held, multipliers, amounts, none, pull)
            amounts = self._amounts(held)
            pull = pull * GROWTH
        strain = 100.0 * scale / typical
        free = np.zeros_like(prices)
        for _ in range(GAINING_SWEEPS):
            changed = self._sweep(free, held, multipliers, amounts, strain, pull)
            amounts = self._amounts(held)
            if not changed or self.best.is_over:
                break
        return self.best.offer(*np.nonzero(held))

    def _sweep(
        self,
        prices: Float64Array,
        held: BoolArray,
        multipliers: Float64Array,
        amounts: Float64Array,
        strain: Float64Array,
        pull: Float64Array,
    ) -> int:
        """Let every client respond once; return how many changed."""
        from alignsolve.lagrange.client_kernels import respond

        parts, loads, changed = self.clients, self.loads, 0
        self.sweeps += 1
        for at in self.rng.permutation(len(self.blocks)):
            block = self.blocks[at]
            if time.perf_counter() >= self.best.options.deadline:
                break
            changed += respond(
                self.rng.permutation(block.stop - block.start), self.problem.values(block),
                parts.sizes(block), parts.capacity[block], multipliers[block], parts.order,
                parts.start, parts.low[block], parts.high[block], parts.is_plain, NODES,
                held[block], np.ascontiguousarray(loads.weight[:, block]), amounts, prices,
                loads.low, loads.high, loads.slope, loads.target, strain, pull,
            )  # fmt: skip
        return changed

    def _amounts(self, held: BoolArray) -> Float64Array:
        """Count the loads afresh."""
        total = np.zeros(self.relaxation.shape)
        for block in self.blocks:
            rows: IntArray = np.arange(block.start, block.stop)
            total += self.relaxation.amounts(held[block], rows)
        return total

    def _is_within(self, amounts: Float64Array) -> bool:
        return bool(((amounts >= self.loads.low) & (amounts <= self.loads.high)).all())

    def _typical_weight(self) -> Float64Array:
        """Return a typical weight of each load."""
        typical = np.sqrt((self.loads.weight**2).mean(axis=1))
        return np.where(typical > 0, typical, 1.0)

    def _scale(self, prices: Float64Array) -> float:
        """Return how much the values of a client typically differ."""
        rows = self.rng.permutation(self.problem.n_clients)[:1000]
        values = self.problem.values(np.sort(rows))
        finite = values[np.isfinite(values)]
        return float(finite.std()) or 1.0 if finite.size else 1.0
