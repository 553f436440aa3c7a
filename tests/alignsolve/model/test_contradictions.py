"""Contradictions that show from the bounds alone, worked out by hand, and against brute force."""

import numpy as np
import pytest
from hypothesis import given, settings

import alignsolve as al
from alignsolve.backends.exchange.inputs import bounds_of
from alignsolve.backends.exchange.outcome import obvious_conflict
from alignsolve.backends.min_cost_flow.network import build_network
from alignsolve.infeasibility.max_flow import allowed_state, flow_bounds
from alignsolve.model.contradictions import contradictions
from alignsolve.model.describe import describe
from tests.strategies import any_problems, brute_force

LOAD = {"samples": al.Load([10, 20], min=[0, 31], max=[40, np.inf])}

#: Bounds of two clients and two experts, what is said of them, and whose bounds they are.
CASES = [
    ({"min_experts": [0, 2]}, "client 1 needs at least 2 experts and can have at most 1", "client"),
    ({"min_experts": 2},
     "client 0 needs at least 2 experts and can have at most 1 (and 1 more like it)", "client"),
    ({"max_experts": 2, "expert_group": [0, 0], "group_min": 2, "group_max": [[2], [1]]},
     "client 1 needs at least 2 experts of group 0 and can have at most 1", "client"),
    ({"expert_group": [0, 1], "group_min": [[1, 1], [1, 0]]},
     "client 0 needs at least 2 experts for its groups and can have at most 1", "client"),
    ({"max_experts": 2, "min_experts": [1, 2], "expert_group": [0, 0], "group_max": 1},
     "client 1 needs at least 2 experts, by the most of its groups, and can have at most 1",
     "client"),
    ({"load_min": [0, 2], "load_max": [2, 1]},
     "expert 1 needs at least 2 holders and can have at most 1", "expert"),
    ({"load_min": [2, 1]},
     "the experts need 3 holders and the clients have 2 slots for them", "all"),
    ({"min_experts": 1, "load_max": [1, 0]},
     "the clients need 2 experts and the experts take 1 holder", "all"),
    ({"loads": LOAD}, "expert 1 needs at least 31 of load 'samples' and can have at most 30", ""),
    ({"loads": {"samples": al.Load([10, 20], min=[0, 9], max=[40, 8])}},
     "expert 1 needs at least 9 of load 'samples' and can have at most 8", ""),
    ({"loads": {"samples": al.Load([10, 20], max=[40, -1])}},
     "expert 1 needs at least 0 of load 'samples' and can have at most -1", ""),
    ({"loads": {"samples": al.Load([10, 20], max=[-np.inf, 40])}},
     "expert 0 needs at least 0 of load 'samples' and can have at most -inf", ""),
]  # fmt: skip


@pytest.mark.parametrize(("bounds", "words", "whose"), CASES)
def test_one_contradiction_is_named_by_all_who_look(bounds, words, whose):
    problem = al.AlignmentProblem([[1.0, 2.0], [3.0, 4.0]], **{"max_experts": 1} | bounds)
    assert list(contradictions(problem)) == [words]
    assert describe(problem).contradictions == [words]
    if problem.problem_class == "flow":
        assert build_network(problem).contradiction == words
    own = flow_bounds(problem, allowed_state(problem))
    assert own.impossible_clients().any() == (whose == "client")
    assert own.impossible_experts().any() == (whose == "expert")
    if whose and problem.expert_group is None:
        holders = bounds_of(2, 2, *problem.holder_bounds(), None)
        assert obvious_conflict(*problem.slot_bounds(), holders)
    for backend in ("scipy-milp", "lagrangian", "ortools-cpsat"):
        assert al.solve(problem, backend).status is al.Status.INFEASIBLE
    assert al.solve(problem, "greedy").stats["attempts"] == 0


def test_bounds_that_just_meet_do_not_contradict():
    load = al.Load([1 / 3, 2 / 3], min=1 + 0.9e-9, max=1 - 0.9e-9)
    problem = al.AlignmentProblem(
        [[1.0, 1.0], [2.0, -1.0]], [2, 1], min_experts=[2, 1], load_min=[2, 1], load_max=[2, 1],
        expert_group=[0, 0], group_min=[[2], [1]], group_max=[[2], [1]],
        loads={"samples": load},
    )
    # One expert of the load is above its bounds, which does not show from the bounds alone.
    assert list(contradictions(problem)) == []
    own = flow_bounds(problem, allowed_state(problem))
    assert not own.impossible_clients().any()
    assert not obvious_conflict(*problem.slot_bounds(),
                                bounds_of(2, 2, *problem.holder_bounds(), None))


def test_forbidden_pairs_count_where_they_are_known():
    problem = al.AlignmentProblem([[1.0, -np.inf], [2.0, -np.inf]], 2, min_experts=[1, 2],
                                  load_min=[0, 1])  # fmt: skip
    assert list(contradictions(problem)) == []
    assert describe(problem).contradictions == [
        "client 1 needs at least 2 experts and can have at most 1",
        "expert 1 needs at least 1 holder and can have at most 0",
        "the clients need 3 experts and the experts take 2 holders",
    ]


@settings(max_examples=300)
@given(any_problems(max_pairs=8))
def test_what_contradicts_has_no_answer(problem):
    if describe(problem).contradictions:
        assert brute_force(problem)[0] is None
