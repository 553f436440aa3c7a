"""Compiled parts of a Newton step, and of reading and writing an answer."""

from __future__ import annotations

import numpy as np
from numba import njit


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
