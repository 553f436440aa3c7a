"""Newton steps on the prices: move most of the excess at once, the exact part comes after.

The loads that prices bring about are step functions, but of many clients: near
the present prices they change in proportion to how many clients sit close to the
boundary between two experts. That density, counted from the clients' slack, is
the Jacobian of the loads; it is a graph Laplacian on the experts.

A step changes responses only of clients whose slack is less than the spread of the
step, so only those rows are read again. Nothing here affects exactness: responses
are best responses at whatever prices result.
"""

from __future__ import annotations

import numpy as np

from alignsolve.backends.exchange import newton_kernels
from alignsolve.backends.exchange.subproblem import Subproblem

#: Steps at one level, and halvings of one step.
MAX_STEPS = 24
MAX_HALVINGS = 4
#: Longest first step, in slacks of the clients that densities are counted from.
FIRST_REACH = 10.0
#: Clients, per expert, from whose slack the density is counted at least.
DENSITY = 24
#: Clients of a pair from which their own mean slack, not the common limit, is used.
CROWD = 8


def improve(level: Subproblem, enough: int) -> None:
    """Step while the excess shrinks well and is more than `enough` holders.

    Parameters
    ----------
    level : Subproblem
        Responses are at its prices. Prices, responses and slack are updated.
    enough : int
        Excess, in holders, that exact paths move as cheaply.
    """
    reach = 0.0
    stalled = 0
    best = np.inf
    bounds, step = tuple(level.bounds), np.empty(level.m + 1)
    for _ in range(MAX_STEPS):
        load, excess, total = level.imbalance()
        if total <= enough or level.task.stop():
            return
        price = level.price
        least = DENSITY * level.m
        near, limit = level.nearest(max(2 * total, least))
        if not 0.0 < limit < np.inf or near == 0:
            return
        reach = max(reach, limit) if reach > 0.0 else FIRST_REACH * limit
        margin = limit * max(0.3, min(1.0, least / near))
        newton_kernels.newton_step(
            level.swap_rates(limit, CROWD), price, load, excess, bounds, reach, step
        )
        for _ in range(MAX_HALVINGS):
            new = np.empty_like(price)
            slope = newton_kernels.stepped_prices(
                price, step, excess, bounds, level.task.whole, new
            )
            if slope <= 0.0:
                return
            level.move_to(new, margin)
            level.stats.newton += 1
            now, left = level.imbalance()[1:]
            # Slope of the convex dual along the step, before and after: a step is
            # too long when it climbs on the far side about as steeply.
            after = float(step @ now)
            if after >= -0.5 * slope:
                break
            step *= max(0.1, slope / (slope - after))
        far = float(np.abs(step).max())
        # While the dual still falls steeply, loads may get worse before they get better.
        falling = after > 0.3 * slope
        reach = 4.0 * max(reach, far) if falling else max(far, 0.5 * reach)
        stalled = stalled + 1 if left >= 0.9 * best and not falling else 0
        best = min(best, left)
        if stalled > 3:
            return
