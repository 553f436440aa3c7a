"""Compiled reading of rows: fitness less switching costs, and less prices."""

from __future__ import annotations

import numpy as np

from alignsolve.kernels import kernel


@kernel(called=False)
def read_values(fitness, i, cost, cost_row, cost_col, held_ptr, held_ind, out):
    """Write client i's values, fitness less switching cost, to ``out[:m]`` as float64."""
    m = fitness.shape[1]
    for j in range(m):
        out[j] = np.float64(fitness[i, j])
    if cost.size > 0:
        base = i * cost_row
        for j in range(m):
            out[j] = out[j] - cost[base + j * cost_col]
        for q in range(held_ptr[i], held_ptr[i + 1]):
            out[held_ind[q]] = np.float64(fitness[i, held_ind[q]])


@kernel(called=False)
def read_reduced(fitness, i, cost, cost_row, cost_col, held_ptr, held_ind, price, out):
    """Write client i's values less prices to ``out[:m]``; a price of +inf bars an expert."""
    m = fitness.shape[1]
    if cost.size > 0:
        read_values(fitness, i, cost, cost_row, cost_col, held_ptr, held_ind, out)
        for j in range(m):
            out[j] -= price[j]
    else:
        for j in range(m):
            out[j] = np.float64(fitness[i, j]) - price[j]


@kernel
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
