"""What an assignment breaks: every kind of bound on both sides of it, and no more than asked."""

import numpy as np
import pytest

import alignsolve as al
from alignsolve.model.feasibility import Assignment, is_feasible, violations


def held(*pairs):
    return tuple(np.array(pairs, dtype=np.int64).reshape(-1, 2).T)


def kinds(problem, *pairs):
    return [(v.kind, v.client, v.expert, v.group, v.name, v.value, v.bound)
            for v in violations(problem, *held(*pairs))]


@pytest.mark.parametrize("broken", [99, 100, 101, 250])
def test_a_hundred_violations_are_listed_and_the_rest_counted_as_more(broken):
    problem = al.AlignmentProblem(np.ones((broken, 1)), 1, min_experts=1)
    certificate = al.certify(problem, [], [])
    assert len(certificate.violations) == min(broken, 100)
    assert [v.client for v in certificate.violations] == list(range(min(broken, 100)))
    assert certificate.summary().endswith(f"; and {min(broken, 100) - 5} more")
    assert len(violations(problem, *held(), limit=7)) == 7
    assert len(violations(problem, *held(), limit=broken + 1)) == broken
    assert not is_feasible(problem, *held())


def test_the_verdict_names_up_to_five():
    for broken, end in ((4, "at least 1 allowed"), (5, "at least 1 allowed"), (6, "; and 1 more")):
        problem = al.AlignmentProblem(np.ones((broken, 1)), 1, min_experts=1)
        assert al.certify(problem, [], []).summary().endswith(end)


def test_one_is_said_in_the_singular_and_amounts_are_not_counted():
    problem = al.AlignmentProblem([[1.0, 2.0]], 2, min_experts=2, load_min=[0, 1],
                                  loads={"s": al.Load(1.0, min=[2.0, 0])})
    said = [violation.message for violation in violations(problem, *held((0, 0)))]
    assert said == ["client 0 holds 1 expert; at least 2 allowed",
                    "expert 1 has 0 holders; at least 1 allowed",
                    "expert 0 has 1 of load 's'; at least 2 allowed"]


def test_each_kind_on_both_sides_of_its_bound():
    base = {"fitness": [[1.0, 2.0, -np.inf], [4.0, 3.0, 5.0]], "max_experts": 3}

    def of(**more):
        return al.AlignmentProblem(**(base | more))

    both = (0, 0), (0, 1), (1, 1)
    for problem, kept, broken, expected in (
        (of(), both, (*both, (1, 1)), ("duplicate", 1, 1, None, None, 2, 1)),
        (of(), both, (*both, (0, 2)), ("forbidden", 0, 2, None, None, 1, 0)),
        (of(min_experts=[1, 0]), both, ((1, 1),), ("min_experts", 0, None, None, None, 0, 1)),
        (of(max_experts=[2, 1]), both, (*both, (1, 0)),
         ("max_experts", 1, None, None, None, 2, 1)),
        (of(load_min=[0, 2, 0]), both, ((0, 1),), ("load_min", None, 1, None, None, 1, 2)),
        (of(load_max=[1, 2, 9]), both, (*both, (1, 0)), ("load_max", None, 0, None, None, 2, 1)),
        (of(loads={"s": al.Load([0.5, 2.0], min=[0, 2.5, 0])}), both, ((1, 1),),
         ("load_min", None, 1, None, "s", 2.0, 2.5)),
        (of(loads={"s": al.Load([0.5, 2.0], max=[0.5, 9, 9])}), both, (*both, (1, 0)),
         ("load_max", None, 0, None, "s", 2.5, 0.5)),
        (of(resources={"mb": al.Resource([1.0, 2.0, 4.0], [3.0, 2.0])}), both, (*both, (1, 0)),
         ("resource", 1, None, None, "mb", 3.0, 2.0)),
        (of(expert_group=[0, 1, 1], group_min=[[1, 0], [0, 0]]), both, ((0, 1),),
         ("group_min", 0, None, 0, None, 0, 1)),
        (of(expert_group=[0, 1, 1], group_max=[[1, 1], [1, 1]]), both, (*both, (1, 2)),
         ("group_max", 1, None, 1, None, 2, 1)),
        (of(client_fitness_min=[3.0, -np.inf]), both, ((0, 1),),
         ("client_fitness_min", 0, None, None, None, 2.0, 3.0)),
    ):
        assert kinds(problem, *kept) == []
        assert kinds(problem, *broken) == [expected]


@pytest.mark.parametrize("bound", [0.3, 2.0, 1e6])
def test_the_tolerance_is_a_billionth_and_no_more(bound):
    slack = 1e-9 * max(1.0, bound)
    for share, kept in ((0.999, True), (1.001, False)):
        at_most = al.AlignmentProblem([[1.0]], 1,
                                      resources={"mb": al.Resource(bound + share * slack, bound)})
        at_least = al.AlignmentProblem([[1.0]], 1,
                                       loads={"s": al.Load(bound - share * slack, min=bound)})
        assert is_feasible(at_most, *held((0, 0))) == kept
        assert is_feasible(at_least, *held((0, 0))) == kept


def test_pairs_are_sorted_counted_and_checked():
    problem = al.AlignmentProblem(np.zeros((3, 2)), 2)
    found = Assignment.of(problem, [2, 0, 2, 0], [1, 1, 0, 0])
    assert (found.rows.tolist(), found.cols.tolist()) == ([0, 0, 2, 2], [0, 1, 0, 1])
    assert (found.indptr.tolist(), found.load.tolist()) == ([0, 2, 2, 4], [2, 2])
    assert found.distinct
    assert not Assignment.of(problem, [2, 0, 2], [1, 0, 1]).distinct
    for rows, cols, message in (([True], [0], "row_ind"), ([0], [2], r"col_ind\[0\] is 2"),
                                ([[0]], [[0]], "two index arrays"), ([3], [0], "give 0 to 2")):
        with pytest.raises(al.ProblemError, match=message):
            Assignment.of(problem, rows, cols)
