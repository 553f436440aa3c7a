"""The compiled knapsacks of one budget in whole units, against all sets."""

from __future__ import annotations

import itertools

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from alignsolve.backends.lagrangian.knapsack import best_knapsacks, new_items
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
def test_finds_the_best_sets(client):
    values, sizes, cap = client
    cap[0] = -1
    best, value = np.ones(values.shape, dtype=np.bool_), np.empty(3)
    items = new_items(values.shape[1], cap.max(), tabulated=False)
    best_knapsacks(values, sizes, cap, items, best, value)
    assert value[0] == -np.inf
    assert not best[0].any()
    for i in (1, 2):
        assert value[i] == best_of_all(values[i], sizes[i], cap[i])
        assert values[i, best[i]].sum() == value[i]
        assert sizes[i, best[i]].sum() <= cap[i]


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
