"""Compiled products of factors, summed in a fixed order."""

from __future__ import annotations

import numpy as np

from alignsolve.kernels import kernel


@kernel
def product(features, weights, out):
    """Write the product of ``features`` (c, rank) and ``weights`` (rank, m) to ``out`` (c, m)."""
    rank, m = weights.shape
    for i in range(features.shape[0]):
        for j in range(m):
            out[i, j] = 0.0
        for k in range(rank):
            f = features[i, k]
            for j in range(m):
                out[i, j] += f * weights[k, j]


@kernel
def entries(features, weights, cols, out):
    """Write the products of row t of ``features`` and column ``cols[t]`` of ``weights``."""
    rank = weights.shape[0]
    for t in range(cols.size):
        total = np.zeros_like(features[t, :1])
        j = cols[t]
        for k in range(rank):
            total[0] += features[t, k] * weights[k, j]
        out[t] = total[0]
