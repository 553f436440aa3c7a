"""Rough prices from nothing: clients choose in turn, and each choice moves the prices.

Alike clients so share the experts, where at equal prices all would want the same (S. R.
Balseiro, H. Lu and V. Mirrokni, The best of many worlds: dual mirror descent for online
allocation problems, 2023, doi:10.1287/opre.2021.2242). That prices drift on from sweep
to sweep where most of them move the same way, as momentum does, and that steps shrink
from sweep to sweep, is ours.
"""

from __future__ import annotations

import numpy as np

from alignsolve.backends.lagrangian.bound import CLIENT_GAP, Relaxation
from alignsolve.model.arrays import Float64Array, IntArray

#: How far a choice moves a price in the first sweep, in typical differences of values,
#: how that shrinks, and to what.
FIRST_STEP, SHRINK, LAST_STEP = 0.5, 0.8, 0.02
#: Share of a sweep's move that the next one starts with.
MOMENTUM = 0.8
#: Nodes of a client's search.
NODES = 60


class MirrorDescent:
    """Sweeps over some clients; see the module.

    Parameters
    ----------
    relaxation : Relaxation
        The priced problem.
    clients : int64 array
        Clients of a sample, or all.
    prices : float64 array, shape (n_loads, n_experts), optional
        Where to start; 0 by default.
    first_step : float
        How far a choice moves a price at first, in typical differences of values.
    seed : int
        Seed of the clients' order.

    Attributes
    ----------
    mean : float64 array, shape (n_loads, n_experts)
        Means of the prices over the last sweep.
    held : bool array, shape (k, n_experts)
        The clients' choices in it: their loads are near the bounds.

    Notes
    -----
    Values and sizes of the clients are kept in memory.
    """

    def __init__(
        self, relaxation: Relaxation, clients: IntArray, prices: Float64Array | None = None, *,
        first_step: float = FIRST_STEP, seed: int,
    ) -> None:  # fmt: skip
        problem, loads, parts = relaxation.problem, relaxation.loads, relaxation.clients
        n, k = problem.n_clients, clients.size
        self.relaxation, self.rng = relaxation, np.random.default_rng(seed)
        self.values, self.sizes = problem.values(clients), parts.sizes(clients)
        self.rows = parts.capacity[clients], parts.room[clients]
        self.weight = np.ascontiguousarray(loads.weight[:, clients])
        self.share = loads.shared(1 / n)
        self.known = np.full((k, parts.n_rows), -1, dtype=np.int16)
        self.held = np.zeros((k, problem.n_experts), dtype=np.bool_)
        self.upper = np.empty(k)
        self.prices = np.zeros(relaxation.shape) if prices is None else prices.copy()
        self.mean = self.prices.copy()
        size = relaxation.typical_weight
        self.step = first_step * relaxation.spread / (size**2 * max(1, len(size)))
        self.last_step = LAST_STEP / first_step * self.step
        self.is_first = True

    def sweep(self) -> None:
        """Let every client choose once."""
        from alignsolve.backends.lagrangian.best_response_kernels import respond_in_turn

        before, relaxation = self.mean.copy(), self.relaxation
        respond_in_turn(
            self.rng.permutation(len(self.values)), self.values, self.sizes, *self.rows,
            self.known, relaxation.kind, relaxation.nodes(NODES), CLIENT_GAP * relaxation.spread,
            self.weight, *self.share, self.step, self.prices, self.mean, self.held,
            self.upper,
        )  # fmt: skip
        if not self.is_first:
            self.prices += MOMENTUM * (self.mean - before)
        self.is_first = False
        self.step = np.maximum(SHRINK * self.step, self.last_step)
