"""Prices where clients are many: quasi-Newton steps to where demand meets supply.

Of many clients the bound is nearly smooth in the prices. Its slope is less what the
clients' best sets put on the loads (demand), plus the experts' best loads (supply),
which jump where a price changes sign: that part is kept as it is. The curvature of the
first part is learnt from one pass to the next (C. G. Broyden, 1970; R. Fletcher, 1970,
doi:10.1093/comjnl/13.3.317), and a step minimises the quadratic model plus the exact
second part (J. D. Lee, Y. Sun and M. A. Saunders, Proximal Newton-type methods for
minimizing composite functions, 2014, doi:10.1137/130921428).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from alignsolve.backends.lagrangian.bound import Relaxation, Responses, best_loads
from alignsolve.model.arrays import Float64Array, IntArray

#: Prices beyond which the model's matrix takes too long to make, and its steps to look at a clock.
MOST_PRICES = 1 << 11
#: Predicted gain of a step, relative to the bound, at which steps end.
FINEST = 1e-6
#: Factor of the damping after a step that gains nothing, and passes without gain that end.
DAMPING, PATIENCE = 4.0, 5


@dataclass(eq=False)
class Curvature:
    """How demand falls with prices, per client: the model's matrix.

    Parameters
    ----------
    matrix : float64 array, shape (n_loads * n_experts,) * 2
        Positive definite.
    is_guess : bool
        Whether nothing has been learnt yet.
    """

    matrix: Float64Array
    is_guess: bool = True

    @classmethod
    def guess(cls, relaxation: Relaxation) -> Curvature:
        """Start from a demand that falls as if values were spread evenly.

        Parameters
        ----------
        relaxation : Relaxation
            The problem.
        """
        weight = relaxation.loads.weight
        between = weight @ weight.T / max(1, weight.shape[1])
        # Loads that are nearly the same would leave the matrix singular.
        between += 1e-3 * np.diag(np.diag(between))
        return cls(np.kron(between, np.eye(relaxation.shape[1])) / relaxation.spread)

    def learn(self, step: Float64Array, change: Float64Array) -> None:
        """Fit the matrix to what a step changed the slope by."""
        with np.errstate(over="ignore", invalid="ignore"):
            along = float(step @ change)
            expected = self.matrix @ step
            size = float(step @ expected)
        if not 0 < size < math.inf:
            # Prices that no step moves any more, as those without limit of what cannot hold.
            return
        if along <= 1e-3 * size:
            # Flat, or noise: a step of the same size shall not be repeated for ever.
            change = change + (1e-3 * size - along) / size * expected
            along = 1e-3 * size
        if self.is_guess:
            self.matrix *= along / size
            self.is_guess = False
            expected = self.matrix @ step
            size = float(step @ expected)
        self.matrix += np.outer(change, change) / along - np.outer(expected, expected) / size


def clear(
    relaxation: Relaxation,
    prices: Float64Array,
    curvature: Curvature,
    *,
    deadline: float,
    max_passes: int,
    sample: IntArray | None = None,
    seen: Callable[[Responses], bool] | None = None,
) -> Responses:
    """Improve prices by quasi-Newton steps.

    Parameters
    ----------
    relaxation : Relaxation
        The priced problem.
    prices : float64 array, shape (n_loads, n_experts)
        Where to start.
    curvature : Curvature
        The model; it learns.
    deadline : float
        Value of ``time.perf_counter()`` at which to stop.
    max_passes : int
        Most passes over the clients.
    sample : int64 array, optional
        Clients of a sample.
    seen : callable, optional
        Called with the best responses after every pass; true ends the search.

    Returns
    -------
    Responses
        Those to the best prices met, not worse than the first ones.
    """
    from alignsolve.backends.lagrangian.best_response_kernels import clearing_prices

    n = relaxation.problem.n_clients if sample is None else sample.size
    supply = relaxation.loads.shared(n / relaxation.problem.n_clients)
    flat = [part.ravel() for part in supply]
    best = relaxation.responses(prices, sample)
    damping, idle = 0.0, 0
    for _ in range(max_passes - 1):
        if best.infeasible or not math.isfinite(best.bound):
            break
        if (seen is not None and seen(best)) or time.perf_counter() >= deadline:
            break
        prices = best.prices.copy()
        matrix = n * (1.0 + damping) * curvature.matrix
        gain = clearing_prices(matrix, best.demand.ravel(), *flat, prices.ravel())
        gain += float((best_loads(best.prices, *supply)[1] - best_loads(prices, *supply)[1]).sum())
        if gain <= FINEST * abs(best.bound):
            break
        tried = relaxation.responses(prices, sample)
        fall = (best.demand - tried.demand) / n
        curvature.learn((prices - best.prices).ravel(), fall.ravel())
        if tried.bound < best.bound:
            if best.bound - tried.bound < 0.1 * gain:
                idle += 1
            else:
                idle, damping = 0, damping / DAMPING if damping > 0.1 else 0.0
            best = tried
        else:
            damping, idle = max(0.5, DAMPING * damping), idle + 1
        if idle >= PATIENCE:
            break
    return best
