"""Values above a common base: the last digits decide, and no backend may lose them."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings

import alignsolve as al
from alignsolve.backends import get_backend
from alignsolve.model.offsets import without_offsets
from alignsolve.solve.offsets import solve_accurately
from alignsolve.status import Limits
from tests.conformance.asking import assert_sound, exact_backends, examples
from tests.enumeration import Enumeration
from tests.fuzz.claims import false_claims
from tests.strategies import stamped_problems

#: The best answer is client 0 with expert 1, by enumeration.
BY_HAND = {
    "steps of a microsecond": 1.7e9 + np.array([[0, 1], [2, 2]]) * 2.0**-20,
    "whole microseconds": 1_700_000_000_000_000 + np.array([[2, 3], [1, 1]]),
}


def proved_or_rented(result: al.Result) -> bool:
    """Tell whether an answer is proved; HiGHS, in place of what is not compiled, may not do so."""
    rented = any("not compiled yet" in step.reason for step in result.fallbacks)
    return result.status is al.Status.OPTIMAL or (rented and result.status is al.Status.FEASIBLE)


@pytest.mark.parametrize("sense", ["fitness", "cost"])
@pytest.mark.parametrize("values", BY_HAND.values(), ids=BY_HAND)
@pytest.mark.parametrize("name", ["auto", *exact_backends()])
def test_the_last_digits_decide(name: str, values: np.ndarray, sense: str) -> None:
    build = al.AlignmentProblem if sense == "fitness" else al.AlignmentProblem.from_cost
    problem = build(values if sense == "fitness" else -values, 1, min_experts=1, load_max=1)
    result = al.solve(problem, backend=name)
    assert result.status is al.Status.OPTIMAL
    assert result.col_ind.tolist() == [1, 0]
    assert not al.certify(problem, [0, 1], [0, 1]).optimal


@pytest.mark.parametrize("name", ["auto", *exact_backends()])
def test_the_best_of_values_above_a_base(name: str) -> None:
    @settings(max_examples=examples(name, 0.3) if name != "auto" else 150)
    @given(stamped_problems())
    def ask(drawn) -> None:
        problem, fitness = drawn
        if name != "auto" and get_backend(name).refusal(problem) is not None:
            return
        found = Enumeration(problem, fitness)
        best = found.best()[0]
        result = al.solve(problem, backend=name)
        assert_sound(problem, result)
        if best is None:
            assert result.status is al.Status.INFEASIBLE
            return
        assert result.status is al.Status.OPTIMAL
        assert found.exact_gains(result.matrix().toarray()[None]) == [best]

    ask()


@settings(max_examples=50)
@given(stamped_problems(resources={"mb": al.Resource(1.5, 2)}))
def test_no_claim_beyond_the_best_with_a_budget(drawn) -> None:
    problem, fitness = drawn
    found = Enumeration(problem, fitness)
    result = al.solve(problem)
    if result.status is al.Status.OPTIMAL:
        assert found.exact_gains(result.matrix().toarray()[None]) == [found.best()[0]]


#: Problems of the mip class in which what is large hides what decides from solvers in floats.
HIDDEN = {
    "a value in place of a forbidden pair": {
        "fitness": [[0.765625, 0.640625], [0.5625, 0.046875], [0.71875, 0.71875],
                    [-1e9, 0.453125], [-1e9, 0.40625]],
        "max_experts": [1, 3, 2, 2, 2], "load_min": 1, "load_max": 2,
        "loads": {"samples": al.Load([0, 1, 3, 0.5, 2], max=4)},
    },
    "an offset and a penalty": {
        "fitness": 1.7e9 + np.array([[1, 7], [6, 0], [3, 5], [2, 4], [7, 7]]) * 2.0**-22,
        "max_experts": [2, 2, 2, 1, 1], "load_min": 1,
        "loads": {"samples": al.Load([0, 0.5, 2, 2, 0.5], min=1.5, max=4, target=1,
                                     penalty=[0, 1])},
    },
    "an offset at the last digit and a penalty": {
        "fitness": np.array([[-1, -3], [-1, -6], [0, -7], [-6, -6]]) - 1_700_000_000_000_000,
        "max_experts": [2, 1, 1, 2], "load_min": 1,
        "loads": {"samples": al.Load([0.5, 1, 1, 2], max=1, target=3.5, penalty=[0.1, 0])},
    },
}


@pytest.mark.parametrize("arguments", HIDDEN.values(), ids=HIDDEN)
@pytest.mark.parametrize("name", ["auto", *exact_backends()])
def test_no_false_claim_where_something_large_hides_what_decides(name: str, arguments) -> None:
    problem = al.AlignmentProblem(**arguments)
    if name != "auto" and get_backend(name).refusal(problem) is not None:
        return
    result = al.solve(problem, backend=name)
    assert list(false_claims(Enumeration(problem), result)) == []
    assert proved_or_rented(result) or name not in ("auto", "ortools-cpsat")


@pytest.mark.filterwarnings("error::RuntimeWarning")
@pytest.mark.parametrize("name", ["auto", *exact_backends()])
def test_tiny_values_beside_bounds_that_are_not(name: str) -> None:
    fitness = np.arange(1, 7).reshape(3, 2) * 2.0**-1000
    for floor, status in ((2, al.Status.INFEASIBLE), (0, al.Status.OPTIMAL)):
        problem = al.AlignmentProblem(fitness, 1, client_fitness_min=floor, load_max=1,
                                      loads={"samples": al.Load(1.0, penalty=floor)})
        if name == "auto" or get_backend(name).refusal(problem) is None:
            assert al.solve(problem, name).status is status


@pytest.mark.parametrize("name", ["auto", "lagrangian", "ortools-cpsat"])
def test_whole_sums_beyond_a_billion_are_proved(name: str) -> None:
    values = np.random.default_rng(1).integers(0, 10**11, (6, 4))
    budget = {"mb": al.Resource([1, 2, 3, 1], 4)}
    problem = al.AlignmentProblem(values, 2, load_max=3, resources=budget)
    result = al.solve(problem, name)
    assert proved_or_rented(result)
    assert result.gap_abs == 0 or result.status is al.Status.FEASIBLE


def test_whole_numbers_beyond_2_to_53_are_not_relaxed() -> None:
    values = LARGE["nanoseconds"]
    problem = al.AlignmentProblem(values, 1, min_experts=1, load_max=1)
    assert al.solve(problem, elastic=True).col_ind.tolist() == [1, 0]
    crowded = problem.replace(load_max=[1, 0])
    with pytest.raises(al.UnsupportedProblemError, match="elastic may leave clients with fewer"):
        al.solve(crowded, elastic=True)


def test_offsets_of_clients_outside_the_first_look() -> None:
    rng = np.random.default_rng(3)
    fitness = rng.random((400, 6))
    fitness[200:] = 1.7e9 + rng.integers(0, 50, (200, 6)) * 2.0**-20
    problem = al.AlignmentProblem(fitness, 2, min_experts=2, load_max=140)
    result = al.solve(problem)
    assert result.status is al.Status.OPTIMAL
    other = al.solve(problem, backend="networkx")
    value = [sum(map(Fraction, problem.pair_values(r.row_ind, r.col_ind))) for r in (result, other)]
    assert value[0] == value[1]


@pytest.mark.parametrize("mask", [-1e20, -1e300])
def test_a_value_in_place_of_a_forbidden_pair_hides_nothing(mask: float) -> None:
    fitness = np.array([[0.5, 0.5 + 2.0**-30, mask], [0.25, 0.25, mask], [0.5, mask, 0.5]])
    problem = al.AlignmentProblem(fitness, 1, min_experts=1, load_max=1)
    assert not al.certify(problem, [0, 1, 2], [0, 1, 2]).optimal
    assert al.solve(problem).col_ind.tolist() == [1, 0, 2]


def test_a_matrix_overwritten_with_nan_is_noticed() -> None:
    for group in (None, [0, 0, 0]):
        fitness = np.random.default_rng(0).random((5, 3))
        problem = al.AlignmentProblem(fitness, 1, min_experts=1, load_max=2, expert_group=group)
        fitness[:] = np.nan
        with pytest.raises(al.ProblemError, match="fitness holds NaN now"):
            al.solve(problem)


@pytest.mark.parametrize("name", ["greedy", "ortools-cpsat", "lagrangian"])
def test_a_large_matrix_overwritten_with_nan_is_noticed_in_the_mip_class(name: str) -> None:
    fitness = np.random.default_rng(0).random((300, 70))
    problem = al.AlignmentProblem(fitness, 2, load_max=20, resources={"mb": al.Resource(1.0, 2.0)})
    fitness[:] = np.nan
    with pytest.raises(al.ProblemError, match="fitness holds NaN now"):
        al.solve(problem, name, time_limit=30)


def test_a_gap_counts_only_where_the_number_of_pairs_is_decided() -> None:
    fitness = 1.7e9 + np.arange(6.0).reshape(3, 2)
    relative = without_offsets(al.AlignmentProblem(fitness, 1, load_max=1))
    assert relative is not None
    assert relative.amount > 0
    assert relative.gap_of(0.5 * relative.decided) == 0.5 * relative.decided
    assert relative.gap_of(relative.decided) == np.inf
    # More than swaps along a path of both experts can gain, and what is left exceeds it.
    assert relative.decided >= 2 * 1.0
    assert relative.problem.fitness.min() > relative.decided
    fixed = without_offsets(al.AlignmentProblem(fitness, 1, min_experts=1, load_max=2))
    assert fixed is not None
    assert fixed.gap_of(7.0) == 7.0


LARGE = {
    "nanoseconds": np.array([[20, 99], [90, 99]]) + 1_700_000_000_000_000_000,
    "unsigned": np.array([[20, 99], [90, 99]], dtype=np.uint64) + np.uint64(2**63 + 2**60),
    "negative": np.array([[20, 99], [90, 99]]) - 2**62,
}


@pytest.mark.parametrize("values", LARGE.values(), ids=LARGE)
@pytest.mark.parametrize("name", ["auto", *exact_backends()])
def test_whole_numbers_beyond_what_floats_hold(name: str, values: np.ndarray) -> None:
    problem = al.AlignmentProblem(values, 1, min_experts=1, load_max=1)
    result = al.solve(problem, backend=name)
    assert result.status is al.Status.OPTIMAL
    assert result.col_ind.tolist() == [1, 0]
    exact = int(values[0, 1]) + int(values[1, 0])
    assert result.objective_value == result.dual_bound == float(exact)
    assert not al.certify(problem, [0, 1], [0, 1]).optimal
    worst = al.solve(al.AlignmentProblem.from_cost(values, 1, min_experts=1, load_max=1), name)
    assert worst.status is al.Status.OPTIMAL
    assert worst.col_ind.tolist() == [0, 1]
    again = problem.replace(load_max=2)
    assert again.arguments()["fitness"].tolist() == values.tolist()
    assert again.arguments()["fitness"].dtype == values.dtype


def test_whole_numbers_with_a_budget_are_bounded_in_their_own_terms() -> None:
    values = LARGE["nanoseconds"]
    more = {"min_experts": 1, "resources": {"mb": al.Resource([[1, 3], [1, 1]], 2)}}
    problem = al.AlignmentProblem(values, 1, **more)
    result = al.solve(problem, "ortools-cpsat")
    assert result.status is al.Status.OPTIMAL
    assert result.col_ind.tolist() == [0, 1]
    assert result.objective_value == float(int(values[0, 0]) + int(values[1, 1]))
    assert result.gap_abs == 0


def test_whole_numbers_that_cannot_be_exact_are_refused_by_row() -> None:
    values = LARGE["nanoseconds"]
    with pytest.raises(al.ProblemError, match=r"fitness\[0\] holds whole numbers beyond 2\*\*53"):
        al.AlignmentProblem(values, 1)
    with pytest.raises(al.ProblemError, match=r"cost\[1\] holds .* that differ by"):
        al.AlignmentProblem.from_cost([[2**60, 2**60], [0, 2**60]], 1, min_experts=1)
    with pytest.raises(al.ProblemError, match="bound on their sum"):
        al.AlignmentProblem(values, 1, min_experts=1, client_fitness_min=3)
    small = al.AlignmentProblem([[2**53, 1], [3, 2**53 - 1]], 1)
    assert small.integers is None


@pytest.mark.parametrize("sense", ["fitness", "cost"])
def test_prices_of_the_problem_without_offsets_are_those_of_the_answer(sense: str) -> None:
    values = 2.0**40 + np.array([[3, 1], [2, 2.5]])
    build = al.AlignmentProblem if sense == "fitness" else al.AlignmentProblem.from_cost
    problem = build(values if sense == "fitness" else -values, 1, min_experts=1, load_max=1)
    prices = problem.sign * np.array([1.25, 0.5])  # not those that the proof would find itself

    def solve(given: al.AlignmentProblem) -> al.Result:
        assert np.abs(given.fitness).max() < 4
        proof = al.certify(given, [0, 1], [0, 1], prices=prices)
        return al.Result.proved(given, np.arange(2), np.arange(2), proof, al.Termination.PROVED,
                                backend="exchange")

    result = solve_accurately(problem, Limits(np.inf), solve)
    assert result.status is al.Status.OPTIMAL
    assert result.problem is problem
    assert result.objective_value == problem.sign * (2.0**41 + 5.5)
    assert result.prices is not None
    assert result.prices.tolist() == prices.tolist()


def test_the_first_client_alone_shows_that_values_have_offsets() -> None:
    values = np.array([[2.0**40, 2.0**40 + 1], [0.0, 1.0], [0.0, 2.0]])
    problem = al.AlignmentProblem(values, 1, min_experts=1)
    asked: list[al.AlignmentProblem] = []

    def solve(given: al.AlignmentProblem) -> al.Result:
        asked.append(given)
        proof = al.certify(given, [0, 1, 2], [1, 1, 1])
        return al.Result.proved(given, np.arange(3), np.ones(3, dtype=np.int64), proof,
                                al.Termination.PROVED, backend="exchange")

    assert solve_accurately(problem, Limits(np.inf), solve).status is al.Status.OPTIMAL
    assert [float(np.abs(given.fitness).max()) for given in asked] == [2.0]
