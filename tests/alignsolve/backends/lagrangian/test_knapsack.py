"""The compiled knapsacks of one budget in whole units, against all sets."""

from __future__ import annotations

import itertools

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from alignsolve.backends.lagrangian.tree import AssignmentTree


def best_of_all(values, sizes, cap, held=(), banned=()):
    """Return the best value of a client's sets with some experts, and without others."""
    sets = np.array(list(itertools.product([False, True], repeat=values.size)))
    sets = sets[sets[:, list(held)].all(axis=1) & ~sets[:, list(banned)].any(axis=1)]
    sets = sets[(sets @ sizes <= cap) & ~sets[:, np.isneginf(values)].any(axis=1)]
    if not len(sets):
        return -np.inf
    return float((sets @ np.where(np.isneginf(values), 0.0, values)).max())


@st.composite
def clients(draw):
    """Draw values less prices, sizes and capacities of three clients."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    m = draw(st.integers(1, 7))
    values = rng.integers(-4, 20, (3, m)) / draw(st.sampled_from([1, 8]))
    values[rng.random(values.shape) < 0.1] = -np.inf
    sizes = rng.integers(0, draw(st.sampled_from([2, 9])), (3, m))
    return values, sizes, rng.integers(0, 1 + sizes.sum(axis=1))


@settings(max_examples=100)
@given(clients())
def test_prices_bound_by_the_best_sets(client):
    values, sizes, cap = client
    m = values.shape[1]
    prices = np.arange(m) / 4
    tree = AssignmentTree(values, sizes, cap, values > -np.inf, np.zeros(m), -np.inf)
    priced = tree.priced(prices)
    assert priced.infeasible == tree.hopeless
    if tree.hopeless:
        return
    reduced, owner = values - prices, tree.state.owner
    free = np.where(owner < 0, reduced, -np.inf)
    fixed = np.flatnonzero(owner >= 0)
    total = prices.sum() + reduced[owner[fixed], fixed].sum()
    total += sum(best_of_all(free[i], sizes[i], tree.state.left[i]) for i in range(3))
    assert total <= priced.bound <= total + 1e-8
    # What demand differs from supply by is a slope of the bound, which is convex.
    for other in (prices + 1, prices - 1, prices * 2, prices[::-1]):
        slope = -priced.gradient @ (other - prices)
        assert tree.priced(other.copy()).bound >= priced.bound + slope - 1e-8


@settings(max_examples=100)
@given(clients())
def test_losses_are_those_of_holding_and_of_leaving_an_expert(client):
    values, sizes, cap = client
    m = values.shape[1]
    tree = AssignmentTree(values, sizes, cap, values > -np.inf, np.zeros(m), -np.inf)
    if tree.hopeless:
        return
    state, loss = tree.state, np.full(values.shape, np.nan)
    for i in range(3):
        tree.write_losses(i, loss)
        free = np.where(state.owner < 0, values[i], -np.inf)
        best = best_of_all(free, sizes[i], state.left[i])
        for j in np.flatnonzero(state.allowed[i] & (state.owner < 0)):
            assert loss[i, j] == best - best_of_all(free, sizes[i], state.left[i], held=[j])
            banned = best_of_all(free, sizes[i], state.left[i], banned=[j])
            assert tree.work.without[i, j] == best - banned
        assert np.isnan(loss[i, (state.allowed[i] == 0) | (state.owner >= 0)]).all()
