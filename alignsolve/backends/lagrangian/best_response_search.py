"""Answers for many clients: the responses to good prices, corrected by best responses.

Near the best prices the responses break the loads' bounds by a little. Clients then
take turns, each choosing its best set again, while what is out of bounds costs
more from sweep to sweep: those leave an expert first that lose least by it. At the
end the prices go, and every change gains within all bounds.
"""

from __future__ import annotations

import time

import numpy as np
import numpy.typing as npt

from alignsolve.backends.incumbent import SharedIncumbent
from alignsolve.backends.lagrangian.bound import NODES, Relaxation
from alignsolve.backends.lagrangian.client_rows import Clients
from alignsolve.model.arrays import BoolArray, Float64Array
from alignsolve.standard_form import CouplingConstraints, Margin

#: Sweeps in which being out of bounds costs more each time, and by what factor.
SWEEPS, GROWTH = 20, 1.3
#: Sweeps without prices that still gain, and what being out of bounds costs then at
#: least, in typical differences of values.
GAINING_SWEEPS, FINE = 6, 1e3


class BestResponseSearch:
    """Best responses within strict bounds; see the module.

    Parameters
    ----------
    relaxation : Relaxation
        The priced problem.
    best : Incumbent
        Where answers go.
    """

    def __init__(self, relaxation: Relaxation, best: SharedIncumbent) -> None:
        self.relaxation, self.best = relaxation, best
        self.problem = relaxation.problem
        self.loads = CouplingConstraints.of(self.problem, Margin.INWARD).reachable()
        self.clients = Clients.of(self.problem, Margin.INWARD)
        self.rng = np.random.default_rng(best.limits.seed)
        self.blocks = list(relaxation.blocks(np.arange(self.problem.n_clients)))
        self.sweeps = 0

    def improve(self, prices: Float64Array, held: BoolArray) -> bool:
        """Make responses feasible, and better; offer what comes of it.

        Parameters
        ----------
        prices : float64 array, shape (n_loads, n_experts)
            Prices at which the sets are responses.
        held : bool array, shape (n_clients, n_experts)
            Sets; changed in place.

        Returns
        -------
        bool
            Whether the answer is feasible.
        """
        known = self.relaxation.known.copy()
        amounts = self._amounts(held)
        scale = self.relaxation.spread
        pull, fine = 0.1 * scale / self.relaxation.typical_weight**2, 0.0
        for _ in range(SWEEPS):
            if self.best.is_over or not self._out(amounts).any():
                break
            self._sweep(prices, held, known, amounts, fine, pull)
            amounts = self._amounts(held)
            prices = prices + pull[:, None] * self._out(amounts)
            pull, fine = pull * GROWTH, max(scale, fine * GROWTH)
        fine = max(fine, FINE * scale)
        free = np.zeros_like(prices)
        for _ in range(GAINING_SWEEPS):
            changed = self._sweep(free, held, known, amounts, fine, pull)
            amounts = self._amounts(held)
            if not changed or self.best.is_over:
                break
        return self.best.offer(*np.nonzero(held))

    def _sweep(
        self,
        prices: Float64Array,
        held: BoolArray,
        known: npt.NDArray[np.int16],
        amounts: Float64Array,
        fine: float,
        pull: Float64Array,
    ) -> int:
        """Let every client respond once; return how many changed."""
        from alignsolve.backends.lagrangian.best_response_kernels import respond

        parts, loads, changed = self.clients, self.loads, 0
        self.sweeps += 1
        for at in self.rng.permutation(len(self.blocks)):
            block = self.blocks[at]
            if time.perf_counter() >= self.best.limits.deadline:
                break
            changed += respond(
                self.rng.permutation(block.stop - block.start), self.problem.values(block),
                parts.sizes(block), parts.capacity[block], parts.room[block], known[block],
                self.relaxation.kind, NODES,
                held[block], np.ascontiguousarray(loads.weight[:, block]), amounts, prices,
                loads.low, loads.high, loads.slope, loads.target, fine, pull,
            )  # fmt: skip
        return changed

    def _amounts(self, held: BoolArray) -> Float64Array:
        """Count the loads afresh."""
        total = np.zeros(self.relaxation.shape)
        for block in self.blocks:
            total += self.loads.weight[:, block] @ held[block]
        return total

    def excess(self, amounts: Float64Array) -> float:
        """Return the largest share, over the loads, that is out of bounds."""
        total = np.maximum(amounts.sum(axis=1), 1e-300)
        return float((np.abs(self._out(amounts)).sum(axis=1) / total).max(initial=0.0))

    def _out(self, amounts: Float64Array) -> Float64Array:
        """Return how far the loads are above their bounds, or, negative, below."""
        return amounts - np.clip(amounts, self.loads.low, self.loads.high)
