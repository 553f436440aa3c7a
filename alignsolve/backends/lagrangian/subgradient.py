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
from typing import TypeVar

import numpy as np

from alignsolve.backends.lagrangian.bound import Priced, Relaxation, Responses
from alignsolve.model.arrays import Float64Array

Point = TypeVar("Point", bound=Priced)

#: Share of the direction before that is kept.
MEMORY = 0.9
#: Passes without progress after which the target comes closer.
PATIENCE = 20
#: Share of the target's distance by which the bound has to fall for progress, and factors of the
#: distance: without any in time, and with some in half of that time.
PROGRESS, SHORTER, LONGER = 0.1, 0.5, 1.5
#: Distance of the target, relative to the bound, at which the search ends.
FINEST = 1e-7


class Target:
    """How far below the least bound a step aims, in units of the bound.

    Parameters
    ----------
    distance : float
        First distance.
    patience : int
        Steps without progress after which the target comes closer.
    reference : float
        Bound that progress is measured against.
    """

    def __init__(
        self, distance: float, patience: int = PATIENCE, reference: float = math.inf
    ) -> None:
        self.distance, self.patience, self.reference = distance, patience, reference
        self.idle = 0

    def follow(self, best: float) -> bool:
        """Move the target after a step; tell whether to go back to the best prices.

        Parameters
        ----------
        best : float
            The least bound so far.
        """
        self.idle += 1
        progress = best <= self.reference - PROGRESS * self.distance
        if not progress and self.idle < self.patience:
            return False
        if not progress:
            self.distance *= SHORTER
        elif self.idle < self.patience // 2:
            self.distance *= LONGER
        self.idle, self.reference = 0, best
        return not progress


def follow_subgradients(
    respond: Callable[[Float64Array], Point],
    start: Point,
    target: Target,
    *,
    least: Float64Array | float,
    most: Float64Array | float,
    unit: Float64Array | float = 1.0,
    memory: float = MEMORY,
    deadline: float,
    max_passes: int,
    seen: Callable[[Point], bool],
) -> Point:
    """Improve prices by subgradient steps.

    Parameters
    ----------
    respond : callable
        Returns what prices bound by.
    start : Priced
        Where to start.
    target : Target
        What steps aim at.
    least, most : float64 array, broadcast to the prices' shape
        Their range.
    unit : float64 array, broadcast to the prices' shape
        Typical changes of demand, which steps are measured in.
    memory : float
        Share of the direction before that is kept.
    deadline : float
        Value of ``time.perf_counter()`` at which to stop.
    max_passes : int
        Most points, with the first one.
    seen : callable
        Called with the best point after every pass; true ends the search.

    Returns
    -------
    Priced
        The best point met, not worse than `start`.
    """
    best = point = start
    direction = np.zeros_like(start.prices)
    for passes in range(1, max_passes + 1):
        if point.infeasible or not math.isfinite(point.bound):
            return point if point.infeasible else best
        if point.bound < best.bound:
            best = point
        floor = FINEST * max(1.0, abs(best.bound))
        if seen(best) or passes == max_passes or target.distance < floor:
            break
        if time.perf_counter() >= deadline:
            break
        if target.follow(best.bound):
            point, direction = best, np.zeros_like(direction)
        prices = point.prices
        direction = point.gradient / unit + memory * direction
        # At the edge of the prices' range only inward steps count.
        blocked = ((prices <= least) & (direction < 0)) | ((prices >= most) & (direction > 0))
        direction[blocked] = 0.0
        length = float((direction**2).sum())
        if length == 0:
            break
        step = (point.bound - best.bound + target.distance) / length
        point = respond(np.clip(prices + step * direction / unit, least, most))
    return best


def subgradient_ascent(
    relaxation: Relaxation,
    start: Responses,
    *,
    distance: float,
    deadline: float,
    max_passes: int,
    seen: Callable[[Responses], bool],
) -> Responses:
    """Improve prices of the loads by subgradient steps; see `follow_subgradients`.

    Parameters
    ----------
    relaxation : Relaxation
        The priced problem.
    start : Responses
        Where to start: the responses to some prices.
    distance : float
        First distance of the target from the bound, in units of fitness.
    deadline, max_passes, seen
        See `follow_subgradients`.
    """
    loads = relaxation.loads
    total = loads.weight.sum(axis=1)[:, None]
    free = loads.slope == 0
    return follow_subgradients(
        relaxation.responses, start, Target(distance, reference=start.bound),
        # A bound that cannot bind from above leaves no price above 0, and vice versa.
        least=np.where(free & (loads.low <= 0), 0.0, -np.inf),
        most=np.where(free & (loads.high >= total), 0.0, np.inf),
        unit=relaxation.typical_weight[:, None], deadline=deadline, max_passes=max_passes,
        seen=seen,
    )  # fmt: skip
