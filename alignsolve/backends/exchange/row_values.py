"""Compiled reading of rows: fitness less switching costs, and less prices."""

from __future__ import annotations

import numpy as np

from alignsolve.kernels import kernel
from alignsolve.kernels.values import entry, read_row


@kernel(called=False)
def read_values(matrix, i, out):
    """Write client i's values, fitness less switching cost, to ``out[:m]`` as float64.

    Parameters
    ----------
    matrix : tuple
        See `alignsolve.backends.exchange.inputs.Matrix.read`.
    """
    values, cost, cost_row, cost_col, held_ptr, held_ind = matrix
    read_row(values, i, out)
    if cost.size > 0:
        for j in range(values[0].shape[1]):
            out[j] -= cost[i * cost_row + j * cost_col]
        for q in range(held_ptr[i], held_ptr[i + 1]):
            out[held_ind[q]] = entry(values, i, held_ind[q])


@kernel(called=False)
def read_allowed(matrix, i, price, out):
    """Write client i's values to ``out[:m]``, -inf where a price bars the expert, and 0 last."""
    read_values(matrix, i, out)
    for j in range(price.size):
        if price[j] == np.inf:
            out[j] = -np.inf
    out[price.size - 1] = 0.0


@kernel(called=False)
def read_reduced(matrix, i, price, out):
    """Write client i's values less prices to ``out[:m]``; a price of +inf bars an expert."""
    read_values(matrix, i, out)
    for j in range(price.size - 1):
        out[j] -= price[j]
