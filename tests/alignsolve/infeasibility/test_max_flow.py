"""Feasible points of the flow class, and cuts where there are none."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given, settings

import alignsolve as al
from alignsolve.infeasibility.max_flow import (
    FeasibleFlow,
    FlowBounds,
    allowed_state,
    expert_groups,
    feasible_assignment,
    flow_bounds,
)
from alignsolve.model.feasibility import violations
from tests.strategies import brute_force, flow_problems


@settings(max_examples=250)
@given(flow_problems())
def test_a_point_is_found_exactly_where_there_is_one(problem):
    point = feasible_assignment(problem)
    assert (point is not None) == (brute_force(problem)[0] is not None)
    if point is not None:
        assert violations(problem, *point) == []


def random_fleet(rng, n, m):
    """Return slots, forbidden pairs, groups and loads that are nearly too tight."""
    fitness = np.where(rng.random((n, m)) < 0.6, -np.inf, 0.0)
    holders = (fitness == 0).sum(axis=0)
    share = rng.uniform(0.5, 1.1) * 2 * n / m
    return al.AlignmentProblem(
        fitness, rng.integers(1, 4, n), min_experts=rng.integers(0, 2, n) * (fitness == 0).any(1),
        load_min=np.minimum(holders, int(0.9 * share)), load_max=int(1.1 * share) + 1,
        expert_group=np.arange(m) % 3, group_max=rng.integers(1, 3, (n, 3)),
    )


@pytest.mark.parametrize("seed", range(30))
def test_larger_fleets_get_a_point_or_a_cut(seed):
    rng = np.random.default_rng(seed)
    problem = random_fleet(rng, 300, 12)
    state = allowed_state(problem)
    bounds = flow_bounds(problem, state)
    flow = FeasibleFlow(state, expert_groups(problem), bounds)
    flow.seed()
    if flow.run():
        assert violations(problem, *np.nonzero(state == 2)) == []
        return
    # The clients' best responses to the price 1 on the cut: a bound that no answer passes.
    price = -1.0 if flow.crowded else 1.0
    prized = np.where(problem.fitness == 0, price * flow.cut, -np.inf)
    best = al.solve(problem.replace(fitness=prized, load_min=None, load_max=None))
    held = abs(best.objective_value)
    if flow.crowded:
        assert held > bounds.load_high[flow.cut].sum()
    else:
        assert held < bounds.load_low[flow.cut].sum()


def test_an_impossible_client_or_expert_has_no_point():
    assert feasible_assignment(al.AlignmentProblem([[1.0, 1.0]], 1, min_experts=2)) is None
    assert feasible_assignment(al.AlignmentProblem([[1.0]], 1, load_min=1, load_max=0)) is None
    assert feasible_assignment(al.AlignmentProblem([[1.0]], 1, load_max=-1)) is None


@pytest.mark.parametrize("shape", [(0, 3), (3, 0), (0, 0)])
def test_without_pairs_the_point_is_empty(shape):
    point = feasible_assignment(al.AlignmentProblem(np.zeros(shape), 1))
    assert point is not None
    assert point[0].size == point[1].size == 0


def test_the_deadline_ends_the_search():
    problem = al.AlignmentProblem(np.zeros((100, 4)), 1, load_min=25)
    assert feasible_assignment(problem) is not None
    assert feasible_assignment(problem, deadline=time.perf_counter() - 1) is None


def test_bounds_of_the_mip_class_are_not_looked_at():
    problem = al.AlignmentProblem(
        np.zeros((4, 2)), 1, load_min=2, resources={"memory_mb": al.Resource(1.0, 0.5)}
    )
    rows, cols = feasible_assignment(problem)
    assert np.bincount(cols).tolist() == [2, 2]
    assert violations(problem, rows, cols) != []


def flow(held, groups, low, *, high=None, most, group_low=None, client_low=0):
    """Return a flow that starts from pairs held: 2 in `held`, 1 for those allowed."""
    state, group = np.array(held, dtype=np.uint8), np.array(groups)
    n, m = state.shape
    size = np.array([[(state[i, group == g] > 0).sum() for g in range(group.max() + 1)]
                     for i in range(n)], np.int32)
    lows = np.zeros_like(size) if group_low is None else np.array(group_low, np.int32)
    bounds = FlowBounds(
        np.full(n, client_low), np.array(most), lows, size.copy(), np.array(low),
        np.full(m, n) if high is None else np.array(high), size, (state > 0).sum(axis=0))
    made = FeasibleFlow(state, group, bounds)
    made.seed()
    return made


@pytest.mark.parametrize(("made", "feasible"), [
    # Expert 0 can spare one of two holders, or both.
    (lambda: flow([[2, 1, 0], [2, 0, 1]], [0, 0, 0], [1, 1, 1], most=[1, 1]), False),
    (lambda: flow([[2, 1, 0], [2, 0, 1]], [0, 0, 0], [0, 1, 1], most=[1, 1]), True),
    # A client has room for one more, or for two.
    (lambda: flow([[1, 1]], [0, 0], [1, 1], most=[1]), False),
    (lambda: flow([[1, 1]], [0, 0], [1, 1], most=[2]), True),
    # A client must keep one expert of group 0, or none.
    (lambda: flow([[2, 2, 1, 1]], [0, 0, 1, 1], [0, 0, 1, 1], most=[2], group_low=[[1, 0]]), False),
    (lambda: flow([[2, 2, 1, 1]], [0, 0, 1, 1], [0, 0, 1, 1], most=[2]), True),
    # Too many holders: a client must keep one expert, which expert 1 can take, or cannot.
    (lambda: flow([[2, 1], [2, 1]], [0, 0], [0, 0], high=[0, 1], most=[1, 1], client_low=1), False),
    (lambda: flow([[2, 1], [2, 1]], [0, 0], [0, 0], high=[0, 2], most=[1, 1], client_low=1), True),
    (lambda: flow([[2, 1], [2, 1]], [0, 0], [0, 0], high=[0, 0], most=[1, 1]), True),
])
def test_nothing_is_given_up_twice(made, feasible):
    found = made()
    assert found.run() is feasible
    if feasible:
        held, of = found.state == 2, found.bounds
        load, slots = held.sum(axis=0), held.sum(axis=1)
        assert (of.load_low <= load).all() and (load <= of.load_high).all()
        assert (of.client_low <= slots).all() and (slots <= of.client_high).all()
