"""Earlier answers as warm starts: matched by id, and what no longer fits is dropped."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import alignsolve as al
from alignsolve import io
from alignsolve.solve.warm_start import matched
from tests.strategies import any_problems

FITNESS = np.array([[5.0, 1.0, 0.0], [1.0, 4.0, 0.0], [0.0, 2.0, 3.0]])
OLD = al.AlignmentProblem(FITNESS, 1, min_experts=1, load_max=1, client_ids=["a", "b", "c"],
                          expert_ids=["x", "y", "z"])


def pairs_of(problem, rows, cols):
    """Return pairs by the ids, or positions, of a problem."""
    clients = problem.client_ids or range(problem.n_clients)
    experts = problem.expert_ids or range(problem.n_experts)
    return {(clients[row], experts[col]) for row, col in zip(rows, cols, strict=True)}


def forms(result, folder):
    """Return an answer in all the forms in which it may come."""
    yield result
    for suffix in (".json", ".csv", ".parquet"):
        io.write_solution(result, folder / f"plan{suffix}")
        yield io.read_solution(folder / f"plan{suffix}")
        yield io.read_solution(folder / f"plan{suffix}", result.problem)


def test_added_removed_and_reordered(tmp_path):
    old = al.solve(OLD)
    assert pairs_of(OLD, old.row_ind, old.col_ind) == {("a", "x"), ("b", "y"), ("c", "z")}
    # b is gone, d is new; the others come in another order, and so do the experts.
    fitness = FITNESS[[2, 0, 0]][:, [2, 1, 0]]
    new = al.AlignmentProblem(fitness, 1, load_max=1, client_ids=["c", "d", "a"],
                              expert_ids=["z", "y", "x"])
    for earlier in forms(old, tmp_path):
        (rows, cols), prices, stats = matched(new, earlier)
        assert pairs_of(new, rows, cols) == {("a", "x"), ("c", "z")}
        assert stats == {"warm_start_pairs": 3, "warm_start_used": 2, "warm_start_by": "ids"}
        if earlier.prices is not None:
            assert prices[""].tolist() == old.prices[[2, 1, 0]].tolist()
        result = al.solve(new, "exchange", warm_start=earlier)
        assert result.status is al.Status.OPTIMAL
        assert {name: result.stats[name] for name in stats} == stats


def test_forbidden_pairs_and_those_beyond_the_slots_are_dropped():
    wide = OLD.replace(max_experts=3, load_max=3)
    every = io.Solution(*np.nonzero(np.ones((3, 3))), client_ids=wide.client_ids,
                        expert_ids=wide.expert_ids)
    fitness = np.where(FITNESS == 5, -np.inf, FITNESS)
    (rows, cols), _, stats = matched(OLD.replace(fitness=fitness, max_experts=[1, 2, 0]), every)
    assert pairs_of(OLD, rows, cols) == {("a", "y"), ("b", "x"), ("b", "y")}
    assert (stats["warm_start_pairs"], stats["warm_start_used"]) == (9, 3)


def test_positions_only_where_there_are_no_ids():
    old = al.solve(OLD.replace(client_ids=None, expert_ids=None))
    smaller = al.AlignmentProblem(FITNESS[:2], 1, load_max=1)
    (rows, cols), prices, stats = matched(smaller, old)
    assert pairs_of(smaller, rows, cols) == {(0, 0), (1, 1)}
    assert (stats["warm_start_used"], stats["warm_start_by"]) == (2, "positions")
    assert prices[""].tolist() == old.prices.tolist()
    named = smaller.replace(client_ids=["c", "a"], expert_ids=["z", "y", "x"])
    assert matched(named, old)[2]["warm_start_by"] == "positions"
    (rows, cols), _, stats = matched(named, al.solve(OLD))
    assert pairs_of(named, rows, cols) == {("c", "z"), ("a", "x")}


def test_a_plan_is_matched_by_its_clients():
    aligner = al.Aligner(3)
    for client in ("a", "b", 7):
        aligner.declare(client, max_experts=1)
    plan = aligner.plan(["a", "b", 7], fitness=FITNESS)
    new = al.AlignmentProblem(FITNESS[[2, 1]], 1, load_max=1, client_ids=["7", "b"])
    (rows, cols), _, stats = matched(new, plan)
    assert pairs_of(new, rows, cols) == {("7", 2), ("b", 1)}
    assert stats == {"warm_start_pairs": 3, "warm_start_used": 2, "warm_start_by": "ids"}
    assert al.solve(new, warm_start=plan).stats["warm_start_pairs"] == 3


def test_stats_say_that_a_backend_made_no_use_of_it():
    old = al.solve(OLD)
    stats = al.solve(OLD, "ortools-mcf", warm_start=old).stats
    assert (stats["warm_start_pairs"], stats["warm_start_used"]) == (3, 0)
    stats = al.solve(OLD, "exchange", warm_start=(old.row_ind, old.col_ind)).stats
    assert (stats["warm_start_used"], stats["warm_start_by"]) == (3, "positions")
    stats = al.solve(OLD, "lagrangian:search", warm_start=old).stats
    assert (stats["warm_start_pairs"], stats["warm_start_used"]) == (3, 3)
    assert "warm_start_pairs" not in al.solve(OLD).stats
    nothing = al.solve(OLD.replace(load_max=0))
    assert "warm_start_pairs" not in al.solve(OLD, warm_start=nothing).stats


@settings(max_examples=40)
@given(problem=any_problems(), data=st.data())
def test_any_earlier_answer_is_cut_down_to_what_the_problem_has(problem, data):
    names = [f"c{at}" for at in range(problem.n_clients)]
    kept = data.draw(st.permutations(names))[: data.draw(st.integers(0, len(names)))]
    old_names = [*kept, "other"]
    problem = problem.replace(client_ids=names)
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    held = rng.random((len(old_names), problem.n_experts)) < 0.7
    rows, cols = np.nonzero(held)
    prices = rng.random(problem.n_experts)
    earlier = io.Solution(rows, cols, prices=prices, client_ids=tuple(old_names))
    (rows, cols), found, stats = matched(problem, earlier)
    before = {(old_names[row], col) for row, col in zip(*np.nonzero(held), strict=True)}
    after = {(names[row], col) for row, col in zip(rows, cols, strict=True)}
    assert after <= before
    assert len(after) == rows.size == stats["warm_start_used"]
    assert (problem.fitness[rows, cols] > -np.inf).all()
    _, slots = problem.slot_bounds()
    for row, name in enumerate(names):
        allowed = [col for other, col in before
                   if other == name and problem.fitness[row, col] > -np.inf]
        assert (rows == row).sum() == min(len(allowed), slots[row])
    assert not found or found[""].tolist() == prices.tolist()


@pytest.mark.parametrize("odd", [7, [1], (1,), "plan.json"])
def test_what_is_no_answer_is_refused(odd):
    with pytest.raises(al.ProblemError, match="neither a Result, a Plan or a Solution nor a tuple"):
        al.solve(OLD, warm_start=odd)


@pytest.mark.parametrize(("wrong", "message"), [
    ({"row_ind": None}, "row_ind is None"),
    ({"row_ind": [0]}, "1 row_ind and 2 col_ind"),
    ({"row_ind": [[0, 1]]}, "row_ind has shape"),
    ({"row_ind": [0, 3]}, "row_ind.*below 3"),
    ({"row_ind": [-1, 0]}, "row_ind.*below 3"),
    ({"col_ind": [0.5, 1.0]}, "col_ind.*whole"),
    ({"col_ind": ["x", "y"]}, "col_ind holds text"),
    ({"prices": [1.0, 2.0]}, "prices has shape"),
    ({"prices": [1.0, 2.0, np.nan]}, "prices.*finite"),
    ({"prices": "abc"}, "prices"),
    ({"client_ids": 3}, "client_ids is 3"),
    ({"client_ids": ["a", ["b"], "c"]}, "client_ids"),
])  # fmt: skip
def test_answers_whose_parts_do_not_fit_each_other_are_refused(wrong, message):
    right = {"row_ind": [0, 1], "col_ind": [0, 1], "prices": [1.0, 2.0, 3.0],
             "client_ids": ["a", "b", "c"], "expert_ids": ["x", "y", "z"]}
    assert matched(OLD, SimpleNamespace(**right))[2]["warm_start_used"] == 2
    with pytest.raises(al.ProblemError, match=f"warm_start.*{message}"):
        al.solve(OLD, warm_start=SimpleNamespace(**(right | wrong)))


def test_prices_of_a_result_follow_the_sense():
    wanted = np.array([[5.0, 0.0, 0.0], [4.0, 0.0, 0.0], [3.0, 0.0, 0.0]])
    old = al.solve(OLD.replace(fitness=wanted), "exchange")
    assert old.prices.any()
    same = al.AlignmentProblem.from_cost(-old.problem.fitness, 1, min_experts=1, load_max=1)
    assert matched(same, old)[1][""].tolist() == (-old.prices).tolist()
    assert matched(old.problem, old)[1][""].tolist() == old.prices.tolist()
