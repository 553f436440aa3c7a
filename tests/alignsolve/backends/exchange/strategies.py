"""Random problems as arrays, of sizes at which samples and Newton steps take part."""

import numpy as np
from hypothesis import strategies as st

KINDS = ("whole", "ties", "float32", "float64", "wide", "rank one", "offset")


def fitness_of(kind, rng, n, m):
    """Return a random fitness matrix of some kind."""
    if kind == "whole":
        return rng.integers(-9, 30, (n, m)).astype(np.float32)
    if kind == "ties":
        return rng.integers(0, 2, (n, m)).astype(np.float64)
    if kind == "float32":
        return rng.random((n, m), dtype=np.float32)
    if kind == "wide":
        return 10.0 ** rng.uniform(-12, 12, (n, m))
    if kind == "rank one":
        return rng.random((n, 1)) * rng.random((1, m))
    if kind == "offset":
        return 1e6 + rng.random((n, m))
    return rng.normal(size=(n, m)) + rng.normal(size=m)


@st.composite
def array_problems(draw, kinds=KINDS, max_clients=60, max_experts=6):
    """Draw ``(fitness, slots, loads)``, feasible or not."""
    n, m = draw(st.integers(1, max_clients)), draw(st.integers(1, max_experts))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    fitness = fitness_of(draw(st.sampled_from(kinds)), rng, n, m)
    if draw(st.booleans()):
        fitness[rng.random((n, m)) < 0.3] = -np.inf
    most = rng.integers(0, 4, n) if draw(st.booleans()) else np.full(n, draw(st.integers(0, 2)))
    least = np.minimum(rng.integers(0, draw(st.integers(1, 3)), n), np.minimum(most, m))
    mean = int(most.sum()) // m
    high = rng.integers(0, 2 * mean + 2, m)
    if draw(st.booleans()):
        high = np.full(m, -(-int(most.sum()) // m))
    low = rng.integers(0, mean + 1, m) if draw(st.booleans()) else np.zeros(m, int)
    return fitness, (least, most), (np.minimum(low, high), high)
