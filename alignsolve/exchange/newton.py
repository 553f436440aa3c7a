"""Newton steps on the prices: move most of the excess at once, the exact part comes after.

The loads that prices bring about are step functions, but of many clients: near
the present prices they change in proportion to how many clients sit close to the
boundary between two experts. That density, counted from the clients' slack, is
the Jacobian of the loads; it is a graph Laplacian on the experts.

A step changes replies only of clients whose slack is less than the spread of the
step, so only those rows are read again. Nothing here affects exactness: replies
are best replies at whatever prices result.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from alignsolve.exchange import steps
from alignsolve.exchange.level import Level

#: Steps at one level, and halvings of one step.
MAX_STEPS = 24
MAX_HALVINGS = 4
#: Longest first step, in slacks of the clients that densities are counted from.
FIRST_REACH = 10.0
#: Clients, per expert, from whose slack the density is counted at least.
DENSITY = 24
#: Clients of a pair from which their own mean slack, not the common limit, is used.
CROWD = 8


def _direction(
    level: Level, load: npt.NDArray[np.int64], excess: npt.NDArray[np.int64], limit: float,
    reach: float,
) -> npt.NDArray[np.float64]:  # fmt: skip
    """Return the change of prices that would clear the excess if densities stayed the same."""
    m = level.m
    rate = level.swap_rates(limit, CROWD)
    price = level.price[:-1]
    bounds = level.bounds
    soft = bounds.penalty > 0
    inner = soft & (load[:-1] > bounds.load_min) & (load[:-1] < bounds.load_max)
    extra = np.where(inner, 0.5 / np.where(soft, bounds.penalty, 1.0), 0.0)
    diagonal = rate.sum(axis=1)[:-1] + extra
    busy = diagonal[diagonal > 0]
    extra += 1e-3 * float(busy.mean()) if busy.size else 1.0
    # A price of zero with a load inside its bounds stays; +inf is no price. A price
    # must not jump over zero, where its bound lets go: it stops there, and the others
    # are computed again.
    free = np.isfinite(price) & ((price != 0) | (excess[:-1] != 0) | soft)
    stops = (bounds.load_min < bounds.load_max) & ~soft
    step = np.zeros(m + 1)
    target = excess[:-1].astype(np.float64)
    for _ in range(MAX_HALVINGS):
        if not free.any():
            break
        steps.solve_damped(rate, extra, target, free, step[:-1], 1e-3, 2 * m + 10)
        np.clip(step, -reach, reach, out=step)
        new = price + step[:-1]
        over = free & stops & ((new * price < 0) | ((price == 0) & (step[:-1] * target < 0)))
        if not over.any():
            break
        step[:-1][over] = -price[over]
        free &= ~over
    return step


def _at_bounds(
    level: Level, price: npt.NDArray[np.float64], step: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Return the stepped prices; a price does not jump over zero where a bound is slack there."""
    new = price + step
    bounds = level.bounds
    stops = (new[:-1] * price[:-1] < 0) & (bounds.load_min < bounds.load_max)
    stops &= bounds.penalty == 0
    new[:-1][stops] = 0.0
    return np.rint(new) if level.whole else new


def improve(level: Level, enough: int, stop: Callable[[], bool]) -> None:
    """Step while the excess shrinks well and is more than `enough` holders.

    Parameters
    ----------
    level : Level
        Replied at its prices. Prices, replies and slack are updated.
    enough : int
        Excess, in holders, that exact paths move as cheaply.
    stop : callable
        Asked before each step.
    """
    reach = 0.0
    stalled = 0
    best = np.inf
    for _ in range(MAX_STEPS):
        load, excess = level.imbalance()
        total = int(np.abs(excess).sum()) // 2
        if total <= enough or stop():
            return
        price = level.price
        known = np.isfinite(price)
        least = DENSITY * level.m
        near, limit = level.nearest(max(2 * total, least))
        if not 0.0 < limit < np.inf or near == 0:
            return
        reach = max(reach, limit) if reach > 0.0 else FIRST_REACH * limit
        margin = limit * max(0.3, min(1.0, least / near))
        step = _direction(level, load, excess, limit, reach)
        for _ in range(MAX_HALVINGS):
            new = _at_bounds(level, price, step)
            step[known] = new[known] - price[known]
            slope = float(step @ excess)
            if slope <= 0.0:
                return
            level.move_to(new, margin)
            level.stats.newton += 1
            now = level.imbalance()[1]
            # Slope of the convex dual along the step, before and after: a step is
            # too long when it climbs on the far side about as steeply.
            after = float(step @ now)
            if after >= -0.5 * slope:
                break
            step = step * max(0.1, slope / (slope - after))
        left = int(np.abs(now).sum()) // 2
        far = float(np.abs(step).max())
        # While the dual still falls steeply, loads may get worse before they get better.
        falling = after > 0.3 * slope
        reach = 4.0 * max(reach, far) if falling else max(far, 0.5 * reach)
        stalled = stalled + 1 if left >= 0.9 * best and not falling else 0
        best = min(best, left)
        if stalled > 3:
            return
