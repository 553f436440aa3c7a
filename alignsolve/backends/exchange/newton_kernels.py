"""Compiled parts of a Newton step: densities, the linear system, and where prices stop."""

from __future__ import annotations

import numpy as np

from alignsolve.kernels import kernel

#: Times that a step's system is solved anew because prices had to stop at zero.
MAX_ROUNDS = 4
#: Residual of the system, relative to the first.
TOLERANCE = 1e-3


@kernel
def near_swaps(chosen, slack, runner_up, answer, pairs, far):
    """Count the least lossy swaps of the chosen clients, by ordered pair of nodes.

    Parameters
    ----------
    pairs : float64 array, shape (m + 1, m + 1)
        ``pairs[h, u]`` grows by one for each client whose least lossy swap gives
        h for u.
    far : float64 array, shape (m + 1, m + 1)
        Grows by the slack of those swaps.
    """
    ptr, held, count = answer
    m = pairs.shape[0] - 1
    for c in range(chosen.size):
        k = chosen[c]
        u = runner_up[k]
        h = np.int64(m)
        if u < 0:
            u = -1 - u
        elif u <= m and count[k] > 0:
            h = held[ptr[k] + count[k] - 1]
        else:
            continue
        pairs[h, u] += 1.0
        far[h, u] += slack[k]


@kernel
def settle_rates(rate, far, limit, crowd):
    """Turn counts of swaps into how fast clients swap as prices of two nodes move apart.

    Parameters
    ----------
    rate : float64 array, shape (m + 1, m + 1)
        `pairs` of `near_swaps`; written: clients per unit of price, symmetric, 0 on the
        diagonal.
    far : float64 array, shape (m + 1, m + 1)
        See `near_swaps`.
    limit : float
        Slack that the counted clients stay below; spread evenly up to it, it has half of it
        for its mean.
    crowd : float
        Where a pair has so many clients, their own mean slack tells the density
        at the boundary instead.
    """
    nodes = rate.shape[0]
    for h in range(nodes):
        rate[h, h] = 0.0
        for u in range(h):
            pairs = rate[h, u] + rate[u, h]
            if pairs >= crowd:
                mean = (far[h, u] + far[u, h]) / pairs
                mean = min(max(mean, 1e-6 * limit), 0.5 * limit)
                pairs *= 0.5 / mean
            else:
                pairs /= limit
            rate[h, u] = rate[u, h] = 0.5 * pairs


@kernel(called=False, exact=False, fastmath={"reassoc", "contract", "nsz"})
def solve_damped(rate, extra, right, free, step, tolerance, rounds):
    """Solve a graph Laplacian's system on the free nodes by conjugate gradients.

    Parameters
    ----------
    rate : float64 array, shape (m + 1, m + 1)
        Symmetric weights >= 0 of the edges, zero on the diagonal.
    extra : float64 array, shape (m,)
        Added to the diagonal, > 0.
    right : float64 array, shape (m,)
        Right-hand side.
    free : bool array, shape (m,)
        Nodes to solve for; others keep their value of `step`, the last node 0.
    step : float64 array, shape (m,)
        Solution; fixed values on entry. Written where free.
    tolerance : float
        Residual to reach, relative to the first.
    rounds : int
        Most iterations.
    """
    m = right.size
    at, size = np.empty(m, np.int64), 0
    for j in range(m):
        if free[j]:
            at[size] = j
            size += 1
    diagonal = np.empty(size)
    residual = np.empty(size)
    for a in range(size):
        j = at[a]
        total = extra[j]
        known = right[j]
        for k in range(m + 1):
            total += rate[j, k]
            if k < m and not free[k]:
                known += rate[j, k] * step[k]
        diagonal[a] = total
        residual[a] = known
    inner = np.empty((size, size))
    for a in range(size):
        for b in range(size):
            inner[a, b] = rate[at[a], at[b]]
    solution = np.zeros(size)
    direction = np.empty(size)
    energy = 0.0
    for a in range(size):
        direction[a] = residual[a] / diagonal[a]
        energy += residual[a] * direction[a]
    first = energy
    image = np.empty(size)
    for _ in range(rounds):
        if energy <= tolerance * tolerance * first or energy <= 0.0:
            break
        curve = 0.0
        for a in range(size):
            total = diagonal[a] * direction[a]
            for b in range(size):
                total -= inner[a, b] * direction[b]
            image[a] = total
            curve += total * direction[a]
        if curve <= 0.0:
            break
        alpha = energy / curve
        new = 0.0
        for a in range(size):
            solution[a] += alpha * direction[a]
            residual[a] -= alpha * image[a]
            new += residual[a] * residual[a] / diagonal[a]
        for a in range(size):
            direction[a] = residual[a] / diagonal[a] + new / energy * direction[a]
        energy = new
    for a in range(size):
        step[at[a]] = solution[a]


@kernel(exact=False)
def newton_step(rate, price, load, excess, bounds, reach, step):
    """Write the change of prices that would clear the excess if densities stayed the same.

    Parameters
    ----------
    rate : float64 array, shape (m + 1, m + 1)
        See `settle_rates`.
    price : float64 array, shape (m + 1,)
        +inf for an expert that cannot be held.
    load, excess : int64 arrays, shape (m + 1,)
        Loads wanted, and holders beyond them.
    bounds : tuple
        As `alignsolve.backends.exchange.paths.augment`.
    reach : float
        Longest change of a price.
    step : float64 array, shape (m + 1,)
        Written.
    """
    load_min, load_max, penalty, _ = bounds
    m = load_min.size
    extra = np.zeros(m)
    busy, total = 0, 0.0
    for j in range(m):
        if penalty[j] > 0 and load_min[j] < load[j] < load_max[j]:
            extra[j] = 0.5 / penalty[j]
        diagonal = extra[j]
        for k in range(m + 1):
            diagonal += rate[j, k]
        if diagonal > 0:
            busy += 1
            total += diagonal
    least = 1e-3 * total / busy if busy else 1.0
    for j in range(m):
        extra[j] += least
    # A price of zero with a load inside its bounds stays; +inf is no price. A price
    # must not jump over zero, where its bound lets go: it stops there, and the others
    # are computed again.
    free = np.empty(m, np.bool_)
    target = np.empty(m)
    step[:] = 0.0
    for j in range(m):
        free[j] = price[j] < np.inf and (price[j] != 0 or excess[j] != 0 or penalty[j] > 0)
        target[j] = excess[j]
    for _ in range(MAX_ROUNDS):
        solve_damped(rate, extra, target, free, step[:m], TOLERANCE, 2 * m + 10)
        over = False
        for j in range(m):
            step[j] = min(max(step[j], -reach), reach)
        for j in range(m):
            if not free[j] or penalty[j] > 0 or load_min[j] == load_max[j]:
                continue
            if (price[j] + step[j]) * price[j] < 0 or (price[j] == 0 and step[j] * target[j] < 0):
                step[j] = -price[j]
                free[j] = False
                over = True
        if not over:
            break


@kernel
def stepped_prices(price, step, excess, bounds, whole, new):
    """Write prices after a step, and to `step` what came of it; return its slope.

    A price does not jump over zero where a bound is slack there, and whole prices
    stay whole. The slope is that of the convex dual, downwards: ``step @ excess``.

    Parameters
    ----------
    price, step, new : float64 arrays, shape (m + 1,)
    excess : int64 array, shape (m + 1,)
    bounds : tuple
        As `alignsolve.backends.exchange.paths.augment`.
    whole : bool
    """
    load_min, load_max, penalty, _ = bounds
    slope = 0.0
    for j in range(price.size):
        p = price[j]
        q = p + step[j]
        if j < load_min.size and q * p < 0 and load_min[j] < load_max[j] and penalty[j] == 0:
            q = 0.0
        if whole:
            q = np.rint(q)
        new[j] = q
        if p < np.inf:
            step[j] = q - p
        slope += step[j] * excess[j]
    return slope
