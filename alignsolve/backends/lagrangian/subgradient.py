"""Prices that make the Lagrangian bound small: subgradient steps towards a moving target.

The step is Polyak's, ``(D(p) - target) / |g|^2``, with a target below the best
bound met by a distance that grows while bounds improve and shrinks while they do
not (J.-L. Goffin and K. C. Kiwiel, Convergence of a simple subgradient level
method, 1999, doi:10.1007/s101070050053). Steps are deflected by the direction
before (P. M. Camerini, L. Fratta and F. Maffioli, On improving relaxation methods
by modified gradient techniques, 1975, doi:10.1007/BFb0120697). No target depends on
the best known answer: prices, and the search that follows them, are then those of a
solve that knows none.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable

import numpy as np

from alignsolve.backends.lagrangian.bound import Relaxation, Responses

#: Share of the direction before that is kept.
MEMORY = 0.9
#: Passes without progress after which the target comes closer.
PATIENCE = 20
#: Distance of the target, relative to the bound, at which the search ends.
FINEST = 1e-7


def subgradient_ascent(
    relaxation: Relaxation,
    start: Responses,
    *,
    distance: float,
    deadline: float,
    max_passes: int,
    seen: Callable[[Responses], bool] | None = None,
) -> Responses:
    """Improve prices by subgradient steps.

    Parameters
    ----------
    relaxation : Relaxation
        The priced problem.
    start : Responses
        Where to start: the responses to some prices.
    distance : float
        First distance of the target from the bound, in units of fitness.
    deadline : float
        Value of ``time.perf_counter()`` at which to stop.
    max_passes : int
        Most passes over the clients.
    seen : callable, optional
        Called with the best responses after every pass; true ends the search.

    Returns
    -------
    Responses
        Those to the best prices met, not worse than `start`.
    """
    loads = relaxation.loads
    unit = relaxation.typical_weight[:, None]
    total = loads.weight.sum(axis=1)[:, None]
    free = loads.slope == 0
    # A bound that cannot bind from above leaves no price above 0, and vice versa.
    least = np.where(free & (loads.low <= 0), 0.0, -np.inf)
    most = np.where(free & (loads.high >= total), 0.0, np.inf)
    best, prices = start, np.clip(start.prices, least, most)
    direction = np.zeros_like(prices)
    idle, reference = 0, start.bound
    for _ in range(max_passes):
        responses = relaxation.responses(prices)
        if responses.infeasible or not math.isfinite(responses.bound):
            return responses if responses.infeasible else best
        if responses.bound < best.bound:
            best = responses
        if seen is not None and seen(best):
            break
        idle += 1
        if best.bound <= reference - 0.1 * distance:
            if idle < PATIENCE // 2:
                distance *= 1.5
            idle, reference = 0, best.bound
        elif idle >= PATIENCE:
            distance *= 0.5
            idle, reference = 0, best.bound
            prices, direction, responses = best.prices, np.zeros_like(prices), best
        floor = FINEST * max(1.0, abs(best.bound))
        if distance < floor or time.perf_counter() >= deadline:
            break
        gradient = responses.gradient / unit
        direction = gradient + MEMORY * direction
        # At the edge of the prices' range only inward steps count.
        blocked = ((prices <= least) & (direction < 0)) | ((prices >= most) & (direction > 0))
        direction[blocked] = 0.0
        length = float((direction**2).sum())
        if length == 0:
            break
        step = (responses.bound - best.bound + distance) / length
        prices = np.clip(prices + step * direction / unit, least, most)
    return best
