"""Which bounds leave no room: by hand, and against trying every further pair."""

import numpy as np
from hypothesis import given, settings

import alignsolve as al
from alignsolve.model.active_bounds import binding_bounds
from tests.strategies import brute_force, mip_problems


def test_budgets_bind_where_no_further_expert_fits():
    problem = al.AlignmentProblem(
        [[3, 2, -np.inf], [3, 2, 1], [3, 2, 1]], 3,
        resources={"memory_mb": al.Resource([2, 3, 1], [4, 5, 6])},
    )
    found = binding_bounds(problem, [0, 1, 1, 2, 2, 2], [0, 0, 1, 0, 1, 2])
    # 2 MB left and 3 needed, the third is forbidden; nothing left; holds everything.
    assert found.budgets["memory_mb"].tolist() == [True, True, False]
    assert found.budget_share == 2 / 3


def test_load_bounds_bind_within_a_mean_weight():
    problem = al.AlignmentProblem(
        np.ones((3, 4)), 4, load_max=[1, 2, 3, 9],
        loads={"samples": al.Load([1.0, 2.0, 3.0], min=[0, 0, 2.5, 0])},
    )
    found = binding_bounds(problem, [0, 0, 1, 2], [0, 1, 2, 2])
    assert found.load_max["holders"].tolist() == [True, False, False, False]
    assert not found.load_min["samples"].any()
    # Two upper bounds below three holders, one lower bound above zero.
    assert (found.n_load_bounds, found.load_share) == (3, 1 / 3)
    closer = binding_bounds(problem, [2], [2])
    assert closer.load_min["samples"].tolist() == [False, False, True, False]


def test_a_problem_without_bounds_has_no_shares():
    found = binding_bounds(al.AlignmentProblem([[1.0, 2.0]], 1), [0], [1])
    assert np.isnan(found.budget_share)
    assert np.isnan(found.load_share)


@settings(max_examples=60, deadline=None)
@given(mip_problems())
def test_a_binding_budget_refuses_every_further_expert(problem):
    value, rows, cols = brute_force(problem)
    if value is None:
        return
    found = binding_bounds(problem, rows, cols)
    held = np.zeros(problem.fitness.shape, dtype=bool)
    held[rows, cols] = True
    for name, resource in problem.resources.items():
        for i in range(problem.n_clients):
            free = np.flatnonzero(~held[i] & (problem.fitness[i] > -np.inf))
            used = resource.size[i][held[i]].sum()
            fits = [used + resource.size[i][j] <= resource.budget[i] + 1e-8 for j in free]
            assert found.budgets[name][i] == (len(fits) > 0 and not any(fits))
