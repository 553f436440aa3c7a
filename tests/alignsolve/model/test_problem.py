"""The problem model: what it accepts, keeps, and refuses."""

from __future__ import annotations

import pickle
from typing import Literal

import numpy as np
import pytest
import scipy.sparse as sp

import alignsolve as al
from alignsolve.model.problem import tolerance

FULL = np.arange(12.0).reshape(4, 3)


def everything() -> dict[str, object]:
    """Arguments that use every field."""
    return {
        "max_experts": [2, 2, 1, 3],
        "min_experts": 1,
        "load_min": 0.5,
        "load_max": [2, 3, 4],
        "load_target": 1.5,
        "load_penalty": [0, 1, 2],
        "loads": {"samples": al.Load([1, 2, 3, 4], min=1, max=[9, 9, 9], penalty=0.1)},
        "resources": {
            "memory_mb": al.Resource([1, 2, 3], [4, 4, 4, np.inf]),
            "seconds": al.Resource(np.ones((4, 3)), 3),
        },
        "expert_group": [0, 1, 1],
        "group_min": [0, 1],
        "group_max": np.ones((4, 2)),
        "client_fitness_min": [-np.inf, 0, 0, 1],
        "held": ([0, 1], [2, 0]),
        "switch_cost": 0.25,
        "client_ids": ["a", "b", "c", "d"],
        "expert_ids": ["x", "y", "z"],
    }


def test_scalars_broadcast_and_inputs_stay() -> None:
    fitness = FULL.astype(np.float32)
    kept = fitness.copy()
    problem = al.AlignmentProblem(fitness, 2, load_max=3)
    assert problem.fitness.dtype == np.float32
    assert np.shares_memory(problem.fitness, fitness)
    assert fitness.flags.writeable
    assert not problem.fitness.flags.writeable
    assert problem.max_experts.tolist() == [2] * 4
    assert problem.load_max.tolist() == [3] * 3
    np.testing.assert_array_equal(fitness, kept)


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_no_copy_of_float_matrices(dtype: type, order: str) -> None:
    fitness = np.asarray(FULL, dtype=dtype, order=order)  # type: ignore[call-overload]
    assert np.shares_memory(al.AlignmentProblem(fitness, 1).fitness, fitness)


@pytest.mark.parametrize("dtype", [np.int8, np.uint64, bool, np.float16])
def test_other_numbers_are_converted(dtype: type) -> None:
    problem = al.AlignmentProblem((FULL % 2).astype(dtype), 1)
    assert problem.fitness.dtype.kind == "f"
    np.testing.assert_array_equal(problem.fitness, FULL % 2)


def test_immutable() -> None:
    problem = al.AlignmentProblem(FULL, 1)
    with pytest.raises(AttributeError, match=r"use problem\.replace\(max_experts=\.\.\.\)"):
        problem.max_experts = np.ones(4)  # type: ignore[misc, assignment]
    with pytest.raises(AttributeError):
        del problem.fitness
    with pytest.raises(ValueError, match="read-only"):
        problem.load_max[0] = 1


def test_later_changes_of_bounds_do_not_reach_the_problem() -> None:
    slots, most = np.array([1, 1, 1, 1]), np.array([2.0, 2.0, 2.0])
    problem = al.AlignmentProblem(FULL, slots, load_max=most)
    slots[:], most[:] = 3, 3
    assert problem.max_experts.tolist() == [1] * 4
    assert problem.load_max.tolist() == [2] * 3


@pytest.mark.parametrize(
    ("changes", "features", "kind"),
    [
        ({}, set(), "flow"),
        ({"load_max": 4}, set(), "flow"),
        ({"load_max": 3.9}, {al.Feature.LOAD_BOUNDS}, "flow"),
        ({"load_min": 1}, {al.Feature.LOAD_BOUNDS}, "flow"),
        ({"switch_cost": 1.0}, {al.Feature.SWITCHING}, "flow"),
        ({"held": ([0], [0])}, set(), "flow"),
        ({"expert_group": [0, 0, 1]}, {al.Feature.GROUPS}, "flow"),
        ({"resources": {"r": al.Resource(1, np.inf)}}, set(), "flow"),
        ({"resources": {"r": al.Resource(1, 2)}}, {al.Feature.RESOURCES}, "mip"),
        ({"loads": {"s": al.Load(1)}}, set(), "flow"),
        ({"loads": {"s": al.Load(1, max=2)}}, {al.Feature.NAMED_LOADS}, "mip"),
        ({"loads": {"s": al.Load(1, penalty=1)}}, {al.Feature.NAMED_LOAD_PENALTY}, "mip"),
        ({"client_fitness_min": -1}, {al.Feature.FAIRNESS}, "mip"),
    ],
)
def test_class_and_reason(changes: dict[str, object], features: set[al.Feature], kind: str) -> None:
    problem = al.AlignmentProblem(FULL, 1, **changes)  # type: ignore[arg-type]
    assert problem.features == features
    assert problem.problem_class == kind
    assert all(feature.value in problem.class_reason for feature in features if kind == "flow")
    assert ("not a flow" in problem.class_reason) == (kind == "mip")


def test_whole_numbers_end_where_float64_counts_no_further() -> None:
    assert al.AlignmentProblem([[1.0]], 2**53 - 1).max_experts.tolist() == [2**53 - 1]
    with pytest.raises(al.ProblemError, match="max_experts is 9007199254740992"):
        al.AlignmentProblem([[1.0]], 2.0**53)


def test_whole_costs_are_given_back_without_a_matrix_that_nobody_wants(monkeypatch) -> None:
    costs = [[2**60, 2**60 + 1], [2**60 + 2, 2**60]]
    problem = al.AlignmentProblem.from_cost(costs, 1, min_experts=1, client_cost_max=[np.inf] * 2)
    monkeypatch.setattr("alignsolve.model.problem.opposite", None)
    arguments = problem.arguments()
    assert arguments["cost"].tolist() == costs
    assert arguments["client_cost_max"].tolist() == [np.inf] * 2


def test_from_cost_negates_and_keeps_zero() -> None:
    problem = al.AlignmentProblem.from_cost([[0, np.inf], [2, -1]], 1, client_cost_max=[3, np.inf])
    assert problem.sense == "min"
    np.testing.assert_array_equal(problem.fitness, [[0, -np.inf], [-2, 1]])
    assert not np.signbit(problem.fitness[0, 0])
    np.testing.assert_array_equal(problem.client_fitness_min, [-3, -np.inf])
    assert problem.objective(np.array([1]), np.array([0])) == 2


@pytest.mark.parametrize("sense", ["max", "min"])
def test_replace_round_trip(sense: str) -> None:
    arguments = everything()
    if sense == "max":
        problem = al.AlignmentProblem(FULL, **arguments)  # type: ignore[arg-type]
    else:
        arguments["client_cost_max"] = arguments.pop("client_fitness_min")
        problem = al.AlignmentProblem.from_cost(FULL, **arguments)  # type: ignore[arg-type]
    copy = problem.replace()
    assert copy.sense == sense
    for name, value in problem.arguments().items():
        other = copy.arguments()[name]
        if isinstance(value, np.ndarray):
            np.testing.assert_array_equal(value, other)
    assert problem.replace(max_experts=1).max_experts.tolist() == [1] * 4


def test_holder_bounds_round_inward_with_tolerance() -> None:
    problem = al.AlignmentProblem(
        np.zeros((30, 4)),
        1,
        load_min=[0.1 * 30, 2.1, -np.inf, -5],
        load_max=[3 - 1e-12, 2.9, np.inf, 1e300],
    )
    low, high = problem.holder_bounds()
    assert low.tolist() == [3, 3, 0, 0]
    assert high.tolist() == [3, 2, 30, 30]


def test_tolerance_is_relative_from_one_on() -> None:
    np.testing.assert_allclose(tolerance([0, 0.5, 1, 1e6, np.inf]), [1e-9, 1e-9, 1e-9, 1e-3, 0])


def test_default_target_is_the_mean_load() -> None:
    problem = al.AlignmentProblem(FULL, [9, 1, 1, 1], loads={"s": al.Load([10, 1, 1, 1])})
    assert problem.load_target.tolist() == [2] * 3
    np.testing.assert_allclose(np.asarray(problem.loads["s"].target), [11] * 3)


def test_values_are_fitness_less_switching_cost() -> None:
    cost = np.arange(12.0).reshape(4, 3) / 10
    problem = al.AlignmentProblem(FULL, 2, held=FULL > 8, switch_cost=cost)
    expected = FULL - np.where(FULL > 8, 0, cost)
    np.testing.assert_array_equal(problem.values(slice(0, 4)), expected)
    np.testing.assert_array_equal(problem.values(np.array([3, 0])), expected[[3, 0]])
    rows, cols = np.nonzero(np.ones((4, 3)))
    np.testing.assert_array_equal(problem.pair_values(rows, cols), expected.ravel())


@pytest.mark.parametrize(
    "held",
    [
        FULL > 8,
        sp.csr_array(FULL > 8),
        sp.coo_matrix((FULL > 8).astype(float)),
        ([3, 3, 3], [2, 1, 0]),
        ([3, 3, 3, 3], [2, 1, 0, 0]),
        (np.array([3.0, 3.0, 3.0]), np.array([0, 1, 2])),
    ],
)
def test_held_in_every_form(held: object) -> None:
    problem = al.AlignmentProblem(FULL, 1, held=held)
    assert problem.held is not None
    assert (problem.held.rows.tolist(), problem.held.indices.tolist()) == ([3] * 3, [0, 1, 2])
    np.testing.assert_array_equal(problem.held.mask(slice(0, 4)), FULL > 8)


def test_two_clients_of_booleans_are_a_matrix() -> None:
    problem = al.AlignmentProblem(np.zeros((2, 2)), 1, held=([True, False], [False, True]))
    assert problem.held is not None
    np.testing.assert_array_equal(problem.held.mask(slice(0, 2)), np.eye(2))


def test_a_list_of_two_clients_is_a_matrix() -> None:
    problem = al.AlignmentProblem(np.zeros((2, 2)), 1, held=[[1, 0], [0, 1]])
    assert problem.held is not None
    np.testing.assert_array_equal(problem.held.mask(slice(0, 2)), np.eye(2))


def test_parts_are_immutable_too() -> None:
    problem = al.AlignmentProblem(FULL, **everything())  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        problem.loads["more"] = al.Load(1)  # type: ignore[index]
    with pytest.raises(TypeError):
        del problem.resources["seconds"]  # type: ignore[attr-defined]


@pytest.mark.parametrize("sense", ["max", "min"])
def test_pickle_round_trip(sense: str) -> None:
    build = al.AlignmentProblem if sense == "max" else al.AlignmentProblem.from_cost
    problem = build(FULL, 1, loads={"s": al.Load(1, max=3)}, held=FULL > 8, switch_cost=1)
    copy = pickle.loads(pickle.dumps(problem))
    assert (copy.sense, copy.features) == (sense, problem.features)
    np.testing.assert_array_equal(copy.values(slice(0, 4)), problem.values(slice(0, 4)))


def test_values_whose_sums_overflow_are_refused() -> None:
    fitness = np.zeros((6, 4))
    fitness[2, 1] = -1e306
    with pytest.raises(al.ProblemError, match=r"fitness\[2, 1\] is -1e\+306; sums would overflow"):
        al.AlignmentProblem(fitness, 1)
    fitness[2, 1] = -np.inf
    assert al.AlignmentProblem(fitness, 1).largest == 0


@pytest.mark.parametrize("shape", [(0, 3), (3, 0), (0, 0)])
def test_empty_problems_are_problems(shape: tuple[int, int]) -> None:
    problem = al.AlignmentProblem(np.zeros(shape), 1, load_max=1)
    assert (problem.n_clients, problem.n_experts) == shape
    assert problem.features == frozenset()


def test_names_in_messages() -> None:
    named = al.AlignmentProblem(FULL, **everything())  # type: ignore[arg-type]
    assert (named.client_name(1), named.expert_name(2)) == ("client 'b'", "expert 'z'")
    assert al.AlignmentProblem(FULL, 1).client_name(1) == "client 1"


@pytest.mark.parametrize("order", ["C", "F"])
def test_values_of_pairs_are_those_of_the_matrix_or_an_error(order: Literal["C", "F"]) -> None:
    problem = al.AlignmentProblem(np.arange(12.0).reshape(3, 4, order=order), 2)
    rows, cols = [2, 0, 1], [3, 0, 2]
    expected = problem.fitness[rows, cols]
    for dtype in (np.int64, np.int32, np.int8, list):
        pairs = (rows, cols) if dtype is list else (np.array(rows, dtype), np.array(cols, dtype))
        assert problem.pair_values(*pairs).tolist() == expected.tolist()
    assert problem.objective([1], [1]) == problem.fitness[1, 1]
    for row, col in ((0, 4), (3, 0), (0, -5)):  # never another client's value
        with pytest.raises(IndexError):
            problem.pair_values(np.array([row]), np.array([col]))


def test_values_of_either_sense_can_be_replaced():
    costs = al.AlignmentProblem.from_cost([[3, 1], [2, 2.5]], 1, client_cost_max=5)
    changed = costs.replace(fitness=2 * costs.fitness, client_fitness_min=-6)
    assert changed.sense == "min"
    assert changed.arguments()["cost"].tolist() == [[6, 2], [4, 5]]
    assert changed.arguments()["client_cost_max"].tolist() == [6, 6]
    changed = al.AlignmentProblem([[3, 1], [2, 2.5]], 1).replace(
        cost=np.array([[-128, 1], [0, 2]], dtype=np.int8), client_cost_max=4
    )
    assert changed.sense == "max"
    assert changed.fitness.tolist() == [[128, -1], [0, -2]]
    assert changed.client_fitness_min.tolist() == [-4, -4]
    assert not np.signbit(changed.fitness[1, 0])


@pytest.mark.parametrize("sense", ["fitness", "cost"])
def test_one_sense_at_a_time_is_replaced(sense):
    problem = al.AlignmentProblem([[1.0]], 1).replace(**{sense: [[2.0]]})
    with pytest.raises(al.ProblemError, match="give one of them"):
        problem.replace(fitness=[[1.0]], cost=[[1.0]])
