"""The compiled search for a client's best set, against all sets."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import alignsolve as al
from alignsolve.backends.lagrangian.client_rows import Clients
from alignsolve.backends.lagrangian.multidimensional_knapsack import (
    MINIMA,
    MIXED,
    PLAIN,
    best_set,
    new_work,
)
from alignsolve.standard_form import Margin


def all_sets(m):
    return np.array(list(itertools.product([0.0, 1.0], repeat=m)))


def best_of_all(reduced, sizes, cap, room):
    sets = all_sets(reduced.size)
    sets = sets[(sets[:, np.isneginf(reduced)] == 0).all(axis=1)]
    use = sets @ sizes.T
    kept = ((use <= cap) & (use >= np.where(np.isfinite(room), cap - room, -np.inf))).all(axis=1)
    if not kept.any():
        return -np.inf
    return float((sets[kept] @ np.where(np.isneginf(reduced), 0.0, reduced)).max())


@st.composite
def clients(draw):
    """Draw rows, bounds and several value vectors of a client; sums are exact in float64."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    m, d = draw(st.integers(1, 9)), draw(st.integers(0, 4))
    kind = draw(st.sampled_from([PLAIN, MINIMA, MIXED]))
    sizes = rng.integers(0, draw(st.sampled_from([2, 4, 40])), (d, m)) / 4
    if kind == MIXED:
        sizes *= rng.choice([1, 1, -1], (d, m))
    cap = np.floor(4 * rng.uniform(-0.1, 0.8, d) * np.abs(sizes).sum(axis=1)) / 4
    if kind == PLAIN:
        cap = np.abs(cap)
    room = np.full(d, np.inf)
    if kind != PLAIN:
        room = np.where(rng.random(d) < 0.5, rng.integers(0, 12, d) / 4, np.inf)
    values = rng.integers(-8, 24, (3, m)) / draw(st.sampled_from([1, 8]))
    values[rng.random(values.shape) < 0.1] = -np.inf
    return sizes, cap, room, kind, values


@st.composite
def layered(draw):
    """Draw budgets beside layers, of each of which a client needs some expert."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    layer = np.repeat(np.arange(3), draw(st.tuples(*[st.integers(1, 3)] * 3)))
    budgets = draw(st.integers(1, 2))
    counts = (layer == np.arange(3)[:, None]).astype(float)
    sizes = np.concatenate([rng.integers(1, 30, (budgets, layer.size)) / 4, counts])
    most = rng.integers(1, 3, 3)
    cap = np.concatenate([np.floor(rng.uniform(0.2, 0.8, budgets) * sizes[:budgets].sum(axis=1)),
                          most])  # fmt: skip
    room = np.concatenate([np.full(budgets, np.inf), most - rng.integers(0, most + 1)])
    values = rng.integers(-8, 24, (3, layer.size)) / draw(st.sampled_from([1, 8]))
    values[rng.random(values.shape) < 0.1] = -np.inf
    return sizes, cap, room, MIXED, values


@settings(max_examples=300)
@given(clients() | layered())
def test_finds_the_best_set(client):
    sizes, cap, room, kind, values = client
    m = values.shape[1]
    work, best = new_work(m, len(cap)), np.zeros(m, dtype=np.bool_)
    known = np.full(len(cap), -1, dtype=np.int16)  # a basis from the values before
    for reduced in values:
        expected = best_of_all(reduced, sizes, cap, room)
        value, upper = best_set(
            reduced, sizes, cap, room, known, kind, 10**6, 0.0, -np.inf, best, work
        )
        assert value == pytest.approx(expected, abs=1e-9)
        assert upper == pytest.approx(expected, abs=1e-9)
        if value > -np.inf:
            use = sizes @ best
            assert reduced[best].sum() == pytest.approx(value, abs=1e-9)
            assert (use <= cap).all()
            assert (use >= np.where(np.isfinite(room), cap - room, -np.inf)).all()


@settings(max_examples=150)
@given(clients() | layered(), st.integers(0, 6), st.sampled_from([0.0, 0.5, 3.0]))
def test_bounds_hold_where_the_search_ends_early(client, nodes, gap):
    sizes, cap, room, kind, values = client
    m = values.shape[1]
    work, best = new_work(m, len(cap)), np.zeros(m, dtype=np.bool_)
    known = np.full(len(cap), -1, dtype=np.int16)
    for reduced in values:
        expected = best_of_all(reduced, sizes, cap, room)
        value, upper = best_set(
            reduced, sizes, cap, room, known, kind, nodes, gap, -np.inf, best, work
        )
        assert value <= expected + 1e-9
        # Roundings are added where clients' bounds are summed.
        assert upper >= expected - 1e-10
        least = expected - 1 if np.isfinite(expected) else 0.0
        value, upper = best_set(
            reduced, sizes, cap, room, known, kind, 10**6, 0.0, least, best, work
        )
        assert value == (pytest.approx(expected) if expected > least else -np.inf)


def test_the_rows_of_clients_by_hand() -> None:
    problem = al.AlignmentProblem(
        [[3, 1], [2, 2.5]], 2, resources={"mb": al.Resource([[1, 2], [3, 4]], [5, 6])})
    found = Clients.of(problem, Margin.NONE)
    assert (found.kind, found.capacity.tolist()) == (PLAIN, [[5], [6]])
    least = Clients.of(problem.replace(min_experts=1), Margin.NONE)
    assert (least.kind, least.capacity.tolist()) == (MINIMA, [[5, 2], [6, 2]])
    assert least.room.tolist() == [[np.inf, 1], [np.inf, 1]]
    # A floor is a row of fitness less than 0, bounded from above, and comes last.
    floor = Clients.of(problem.replace(client_fitness_min=[2, -np.inf]), Margin.NONE)
    assert (floor.kind, floor.capacity.tolist()) == (MIXED, [[5, -2], [6, np.inf]])
    assert floor.sizes(slice(0, 2)).tolist() == [[[1, 2], [-3, -1]], [[3, 4], [-2, -2.5]]]


def test_finds_a_set_of_many_layers_in_few_nodes():
    """Which fit two budgets that one expert of each layer nearly uses up."""
    rng = np.random.default_rng(0)
    layers, each = 8, 16
    layer = np.repeat(np.arange(layers), each)
    counts = (layer == np.arange(layers)[:, None]).astype(float)
    budgets = rng.integers(10, 60, (2, layers)).repeat(each, axis=1) + rng.integers(0, 5, (2, 128))
    sizes = np.concatenate([budgets, counts]).astype(float)
    cap = np.concatenate([budgets.reshape(2, layers, each).max(axis=2).sum(axis=1) + 9,
                          np.full(layers, 2)]).astype(float)  # fmt: skip
    room = np.concatenate([np.full(2, np.inf), np.ones(layers)])
    work, best = new_work(128, 10), np.zeros(128, dtype=np.bool_)
    values = rng.random(128)
    found = [
        best_set(values, sizes, cap, room, np.full(10, -1, np.int16), MIXED, nodes, 0.0, -np.inf,
                 best, work)
        for nodes in (1, 1000, 100_000)
    ]  # fmt: skip
    (any_value, loose), (value, bound), (optimum, proved) = found
    assert 0 < any_value <= value <= optimum == pytest.approx(proved)
    assert proved <= bound <= loose
    assert value >= 0.9 * optimum
    assert (counts @ best >= 1).all()
    assert (sizes @ best <= cap).all()
