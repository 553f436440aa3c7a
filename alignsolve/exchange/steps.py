"""Compiled parts of a Newton step, and of reading and writing an answer."""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
def wanted_loads(price, load, load_min, load_max, penalty, goal, best):
    """Write each expert's best load at its price, the nearest one to ``load``, into ``best``.

    Parameters
    ----------
    price : float64 array, shape (m + 1,)
        +inf for an expert that cannot be held.
    load, load_min, load_max, best : int64 arrays, shape (m,)
    penalty, goal : float64 arrays, shape (m,)
    """
    for j in range(best.size):
        p = price[j]
        low = load_max[j] if p > 0 else load_min[j]
        high = load_min[j] if p < 0 else load_max[j]
        if penalty[j] > 0:
            aim = goal[j] + (p / (2.0 * penalty[j]) if np.isfinite(p) else 0.0)
            aim = min(max(aim, -4e15), 4e15)
            low = min(max(np.int64(np.ceil(aim - 0.5)), load_min[j]), load_max[j])
            high = min(max(np.int64(np.floor(aim + 0.5)), load_min[j]), load_max[j])
        best[j] = min(max(load[j], low), high)


@njit(cache=True, nogil=True)
def chosen_load(chosen, ptr, held, count, load):
    """Add what the chosen clients hold to ``load``, shape (m + 1,)."""
    for c in range(chosen.size):
        k = chosen[c]
        for q in range(ptr[k], ptr[k] + count[k]):
            load[held[q]] += 1


@njit(cache=True, nogil=True)
def write_pairs(ptr, held, count, row_ind, col_ind):
    """Write an answer as pairs sorted by row, then column; shape (n_pairs,) each."""
    at = 0
    for k in range(count.size):
        first = at
        for q in range(ptr[k], ptr[k] + count[k]):
            j = held[q]
            place = at
            while place > first and col_ind[place - 1] > j:
                col_ind[place] = col_ind[place - 1]
                place -= 1
            col_ind[place] = j
            row_ind[at] = k
            at += 1


@njit(cache=True, nogil=True)
def read_pairs(row_ind, col_ind, ptr, held, count):
    """Let clients hold pairs, in any order, as far as their slots allow."""
    for a in range(row_ind.size):
        k = row_ind[a]
        at = ptr[k] + count[k]
        if at < ptr[k + 1]:
            held[at] = col_ind[a]
            count[k] += 1


@njit(cache=True, nogil=True)
def write_values(rows, who, cost, cost_row, cost_col, held_ptr, held_ind, out):
    """Write values, fitness less switching cost, of some clients as float64.

    Parameters
    ----------
    rows : float32 or float64 array, shape (c, m)
        Fitness of the clients.
    who : int64 array, shape (c,)
        Their numbers in the costs and in what was held before.
    out : float64 array, shape (c, m)
    """
    for c in range(who.size):
        i = who[c]
        for j in range(rows.shape[1]):
            out[c, j] = np.float64(rows[c, j]) - cost[i * cost_row + j * cost_col]
        for q in range(held_ptr[i], held_ptr[i + 1]):
            out[c, held_ind[q]] = np.float64(rows[c, held_ind[q]])


@njit(cache=True, nogil=True)
def near_swaps(chosen, slack, rival, ptr, held, count, pairs, far):
    """Count the least lossy swaps of the chosen clients, by ordered pair of nodes.

    Parameters
    ----------
    pairs : float64 array, shape (m + 1, m + 1)
        ``pairs[h, u]`` grows by one for each client whose least lossy swap gives
        h for u.
    far : float64 array, shape (m + 1, m + 1)
        Grows by the slack of those swaps.
    """
    m = pairs.shape[0] - 1
    for c in range(chosen.size):
        k = chosen[c]
        u = rival[k]
        h = np.int64(m)
        if u < 0:
            u = -1 - u
        elif u <= m and count[k] > 0:
            h = held[ptr[k] + count[k] - 1]
        else:
            continue
        pairs[h, u] += 1.0
        far[h, u] += slack[k]


@njit(cache=True, nogil=True)
def swap_rates(chosen, slack, rival, ptr, held, count, limit, crowd, rate):
    """Write how fast clients swap between two nodes as their prices move apart.

    Parameters
    ----------
    chosen : int64 array
        Clients whose slack is `limit` or less.
    limit : float
        Slack spread evenly up to it has half of it for its mean.
    crowd : float
        Where a pair has so many clients, their own mean slack tells the density
        at the boundary instead.
    rate : float64 array, shape (m + 1, m + 1)
        Written: clients per unit of price, symmetric, 0 on the diagonal.
    """
    nodes = rate.shape[0]
    rate[:] = 0.0
    far = np.zeros((nodes, nodes))
    near_swaps(chosen, slack, rival, ptr, held, count, rate, far)
    settle_rates(rate, far, limit, crowd)


@njit(cache=True, nogil=True)
def settle_rates(rate, far, limit, crowd):
    """Turn what `near_swaps` counted in ``rate`` and ``far`` into rates; see `swap_rates`."""
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


@njit(cache=True, nogil=True, fastmath={"reassoc", "contract", "nsz"})
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
    at = np.flatnonzero(free)
    size = at.size
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
    direction = residual / diagonal
    energy = 0.0
    for a in range(size):
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
