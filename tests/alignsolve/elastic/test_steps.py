"""The steps of an elastic solve, each through its own interface, by hand-worked numbers."""

import dataclasses
from fractions import Fraction

import numpy as np
import pytest

import alignsolve as al
from alignsolve.elastic.shortfalls import priced, shortfalls, without_bounds
from alignsolve.elastic.solving import solve_elastic
from alignsolve.elastic.violation_weights import ViolationWeights, WholeWeights, checked_weights
from alignsolve.errors import ProblemError
from alignsolve.result import Result
from alignsolve.status import Limits, Outcome, Status, Termination


def whole(load, min_experts=(1.0,), n_groups=0):
    n, m = len(min_experts), len(load)
    groups = {"expert_group": np.zeros(m, int)} if n_groups else {}
    problem = al.AlignmentProblem(np.zeros((n, m)), 1, **groups)
    weights = ViolationWeights(np.array(load), {}, np.array(min_experts),
                               np.full((n, n_groups), 3.0), np.ones(n))
    found = WholeWeights.of(problem, weights)
    return found.load.tolist(), found.min_experts.tolist(), found.group.tolist(), found.largest


def test_weights_without_a_common_factor():
    assert whole([2.0, 4.0], [6.0]) == ([1, 2], [3], [[1]], 3)
    assert whole([0.5, 0.25], [0.75]) == ([2, 1], [3], [[1]], 3)
    assert whole([1.0, 2.0], [1.0], 1) == ([1, 2], [1], [[3]], 3)


@pytest.mark.parametrize("largest", [0.75, 1.0, 1e-9, 3e12])
def test_weights_differ_by_no_more_than_their_resolution(largest):
    # Whole multiples of a power of two that is at most 2**-29 of the largest weight.
    rng = np.random.default_rng(0)
    weights = [largest, *(largest * rng.random(20))]
    found = whole(weights, [largest])[0]
    for mine, given in zip(found, weights, strict=True):
        share = Fraction(mine, found[0]) - Fraction(given) / Fraction(largest)
        assert abs(share) <= Fraction(1, 2**29)
    assert whole([largest, largest * (1 - 2.0**-28)], [largest])[0][1] != found[0]


def test_no_weight_is_rounded_to_nothing():
    assert whole([1.0, 1e-30])[0] == [2**29, 1]


def test_weights_that_are_not_given():
    problem = al.AlignmentProblem(
        [[4.0, 1.0], [2.0, -8.0]], 1, expert_group=[0, 1], client_fitness_min=1.0,
        loads={"s": al.Load([0.0, 4.0], max=1), "t": al.Load(0.0, max=1)})
    found = checked_weights(problem, True)
    assert (found.load.tolist(), found.min_experts.tolist()) == ([1, 1], [10, 10])
    assert found.group.tolist() == [[10, 10], [10, 10]]
    assert found.fitness_floor.tolist() == [1 / 8, 1 / 8]
    # A typical client that brings anything brings 4, and counts as one holder.
    assert (found.named_loads["s"].tolist(), found.named_loads["t"].tolist()) == (
        [0.25, 0.25], [1, 1])
    given = al.Elastic(load=[2.0, 3.0], named_loads={"t": 5.0}, min_experts=7.0)
    found = checked_weights(problem, given)
    assert found.named_loads["s"].tolist() == [0.5, 0.75]
    assert found.named_loads["t"].tolist() == [5, 5]
    assert found.of("load_max").tolist() == [2, 3]
    assert found.of("load_min", "s").tolist() == [0.5, 0.75]
    assert found.of("min_experts").tolist() == [7, 7]
    assert found.of("group_min", group=1).tolist() == [10, 10]
    assert found.of("client_fitness_min").tolist() == [1 / 8, 1 / 8]
    assert checked_weights(problem.replace(fitness=np.zeros((2, 2))), True
                           ).fitness_floor.tolist() == [1, 1]
    assert checked_weights(problem, False) is None


@pytest.mark.parametrize(("elastic", "message"), [
    (1, "elastic is 1; give True, False or al.Elastic"),
    (al.Elastic(load=0.0), "elastic.load"), (al.Elastic(load=np.inf), "elastic.load"),
    (al.Elastic(group=-1.0), "elastic.group"),
    (al.Elastic(min_experts=[1.0]), "elastic.min_experts"),
    (al.Elastic(named_loads={"x": 1.0}), "named_loads weighs 'x'; .* of the problem: 's'"),
    (al.Elastic(named_loads=[1.0]), "named_loads is list; give a mapping"),
    (al.Elastic(named_loads={"s": 0.0}), "named_loads"),
])
def test_weights_that_do_not_fit_are_refused(elastic, message):
    problem = al.AlignmentProblem(np.ones((2, 3)), 1, expert_group=[0, 0, 1],
                                  loads={"s": al.Load(1.0, max=1)})
    with pytest.raises(ProblemError, match=message):
        checked_weights(problem, elastic)


def test_violations_and_their_prices_by_hand():
    problem = al.AlignmentProblem(
        [[4.0, 1.0, 2.0], [2.0, 3.0, 5.0]], 3, min_experts=[2, 0], load_min=[2, 0, 0],
        load_max=[2, 0, 2], expert_group=[0, 0, 1], group_min=[[1, 1], [0, 1]],
        client_fitness_min=[4.0, -np.inf], loads={"s": al.Load([2.0, 0.5], min=[0, 1, 0], max=2)})
    weights = checked_weights(problem, al.Elastic(
        load=[1, 2, 3], named_loads={"s": [4, 5, 6]}, min_experts=[7, 8], group=[9.0, 10.0],
        fitness_floor=[11, 12]))
    # Client 0 holds expert 1, and client 1 experts 1 and 2.
    parts = shortfalls(problem, weights, np.array([0, 1, 1]), np.array([1, 1, 2]))
    found = {(part.kind, part.name, part.group): (part.index.tolist(), part.amount.tolist(),
                                                  part.price.tolist()) for part in parts}
    assert found == {
        ("load_min", None, None): ([0], [2], [1]), ("load_max", None, None): ([1], [2], [2]),
        ("load_max", "s", None): ([1], [0.5], [5]), ("min_experts", None, None): ([0], [1], [7]),
        ("group_min", None, 1): ([0], [1], [10]),
        ("client_fitness_min", None, None): ([0], [3], [11]),
    }
    assert priced(parts) == 2 + 4 + 2.5 + 7 + 10 + 33


def test_bounds_that_may_be_relaxed_are_taken_off():
    problem = al.AlignmentProblem(
        np.ones((2, 2)), 2, min_experts=1, load_min=1, load_max=[-1, 3], expert_group=[0, 1],
        group_min=1, group_max=1, client_fitness_min=1.0,
        loads={"s": al.Load(1.0, min=1, max=[-2, 2], target=1.0, penalty=0.5)},
        resources={"mb": al.Resource(1.0, 2.0)})
    bare, capped = without_bounds(problem), without_bounds(problem, keep_load_max=True)
    for found, most, named in ((bare, [np.inf] * 2, [np.inf] * 2), (capped, [0, 3], [0, 2])):
        assert found.min_experts.tolist() == [0, 0] and (found.load_min <= 0).all()
        assert found.load_max.tolist() == most
        assert np.broadcast_to(found.loads["s"].max, 2).tolist() == named
        assert (np.asarray(found.loads["s"].min) <= 0).all()
        assert (found.group_min == 0).all() and (found.group_max == 1).all()
        assert found.client_fitness_min.tolist() == [-np.inf] * 2
        assert np.asarray(found.loads["s"].penalty).max() == 0.5
        assert list(found.resources) == ["mb"]


#: A budget leaves client 0 one expert of two, and expert 1 wants two holders: it has to be the
#: one, which is half below the client's floor. That costs 10 and 0.5 / 5; one holder less 10 + 1.
MIP = al.AlignmentProblem(
    [[3.0, 2.0], [1.0, 5.0]], 2, min_experts=[2, 0], load_min=[0, 2],
    resources={"mb": al.Resource(1.0, [1.0, 1.0])}, loads={"s": al.Load(1.0, max=9)},
    client_fitness_min=[2.5, -np.inf])
NOTHING = np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64)


def plain(problem, limits, backend=None):
    return al.solve(problem, "scipy-milp" if problem.problem_class == "mip" else "auto")


@pytest.mark.parametrize("offered", ["worse", "better", None])
def test_the_answer_that_violates_less_is_kept(offered, monkeypatch):
    weights = checked_weights(MIP, True)
    best = (np.array([0, 1]), np.array([1, 1]))
    given = {"worse": (NOTHING, 0.0), "better": (best, 0.0), None: None}[offered]
    monkeypatch.setattr("alignsolve.elastic.mip.least_violating_answer", lambda *_: given)
    start = NOTHING if offered == "better" else best
    monkeypatch.setattr("alignsolve.elastic.solving._Work._start", lambda self, deadline: start)
    monkeypatch.setattr("alignsolve.elastic.solving._Work.unavoidable", lambda self: None)
    result = solve_elastic(MIP, weights, Limits(), plain)
    assert result.stats["violation"] == pytest.approx(10.1)
    assert priced(shortfalls(MIP, weights, result.row_ind, result.col_ind)) == pytest.approx(10.1)


@pytest.mark.parametrize(("missing", "later", "bound"), [
    # One holder of expert 1 is missing whatever the budgets: a later bound may be weaker.
    (1.0, 0.0, 1.0), (1.0, 3.5, 3.5),
    # By rounding the bound may lie above the violation.
    (0.0, 10.2, 10.1),
])
def test_the_bound_on_the_violation_is_the_best_and_no_more_than_the_violation(
    missing, later, bound, monkeypatch
):
    problem = MIP.replace(load_min=[0, 2 + missing])
    weights, best = checked_weights(problem, True), (np.array([0, 1]), np.array([1, 1]))
    monkeypatch.setattr("alignsolve.elastic.mip.least_violating_answer", lambda *_: (best, later))
    result = solve_elastic(problem, weights, Limits(), plain)
    assert result.stats["violation"] == pytest.approx(10.1 + missing)
    assert result.stats["violation_bound"] == pytest.approx(bound)
    assert result.stats["violation_bound"] <= result.stats["violation"]


@pytest.mark.parametrize(("ended", "status", "bound"), [
    (Termination.TIME_LIMIT, Status.NO_SOLUTION_FOUND, 0.0),
    (Termination.PROVED, Status.INFEASIBLE, 10.1),
])
def test_a_time_out_is_no_proof_that_bounds_must_give_way(ended, status, bound, monkeypatch):
    calls = []

    def first_gives_up(problem, limits, backend=None):
        calls.append(problem)
        if len(calls) == 1:
            return Result.unanswered(problem, status, ended, np.inf, backend="x", fallbacks=(),
                                     stats={}, conflict=None)
        return plain(problem, limits)

    monkeypatch.setattr("alignsolve.elastic.solving._Work.unavoidable", lambda self: None)
    result = solve_elastic(MIP, checked_weights(MIP, True), Limits(), first_gives_up)
    assert result.stats["violation"] == pytest.approx(10.1)
    assert result.stats["violation_bound"] == pytest.approx(bound)
    assert Outcome.nothing(ended).infeasible is False


@pytest.mark.parametrize("sense", ["max", "min"])
def test_the_bound_of_least_violation_is_on_the_better_side_of_the_value(sense):
    build = al.AlignmentProblem if sense == "max" else al.AlignmentProblem.from_cost
    problem = build(np.array([[1.0, 2.0], [3.0, 4.0]]), 1, load_min=[0, 3],
                    resources={"mb": al.Resource(1.0, 1.0)})

    def unproved_plain(problem, limits, backend=None):
        return dataclasses.replace(plain(problem, limits), gap_abs=2.0)

    result = solve_elastic(problem, checked_weights(problem, True), Limits(), unproved_plain)
    # Both clients hold expert 1, which lacks a third one.
    assert result.col_ind.tolist() == [1, 1]
    assert result.stats["fitness_bound"] == 6.0 + problem.sign * 2.0
    assert (result.status, result.gap_abs) == (Status.FEASIBLE, 2.0)
