"""Relaxed bounds: least priced violation, then fitness, certified and reported exactly."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import alignsolve as al
from alignsolve.elastic.descent import descended, within_budgets
from alignsolve.elastic.shortfalls import priced, shortfalls
from alignsolve.elastic.violation_weights import checked_weights
from alignsolve.interrupts import Interrupted
from alignsolve.model.feasibility import violations
from alignsolve.relaxation import bounds_beside
from alignsolve.solve.params import SolveParams
from alignsolve.solve.solve import solve_within
from alignsolve.status import Limits
from tests.alignsolve.elastic.reference import best_elastic, violation
from tests.strategies import (
    brute_force,
    flow_problems,
    matrix_of,
    mip_problems,
    one_or_each,
)

#: Kinds of bounds that are never relaxed.
HARD = {"duplicate", "forbidden", "max_experts", "group_max", "resource"}

PRICES = st.sampled_from([0.5, 1, 1, 2, 3, 10, 0.1, 1.7])


def elastic_prices(draw, problem):
    """Draw prices of every shape."""
    n, m, groups = problem.n_clients, problem.n_experts, problem.n_groups
    group = matrix_of(draw, PRICES, n, groups) if groups and draw(st.booleans()) else draw(PRICES)
    return al.Elastic(
        load=one_or_each(draw, PRICES, m),
        named_loads={name: one_or_each(draw, PRICES, m) for name in problem.loads}
        if draw(st.booleans()) else None,
        min_experts=one_or_each(draw, PRICES, n), group=group,
        fitness_floor=draw(st.one_of(st.none(), PRICES)),
    )


@st.composite
def priced_problems(draw, problems):
    """Draw a problem with prices of violation."""
    problem = draw(problems)
    return problem, elastic_prices(draw, problem)


def held_of(problem, result):
    """Return the assignment as a bool matrix."""
    held = np.zeros((problem.n_clients, problem.n_experts), dtype=np.bool_)
    held[result.row_ind, result.col_ind] = True
    return held


def assert_is_reported_exactly(problem, elastic, result):
    """Check relaxations, relaxed problem and certificate against each other."""
    assert result.has_answer
    assert result.problem is problem
    broken = violations(problem, result.row_ind, result.col_ind, limit=10**6)
    assert not HARD & {v.kind for v in broken}
    assert bool(result.relaxations) == bool(broken)
    stated = {(v.kind, v.client, v.expert, v.group, v.name) for v in broken}
    said = [(r.bound.kind, r.bound.client, r.bound.expert, r.bound.group, r.bound.name)
            for r in result.relaxations]
    assert len(said) == len(set(said)) == len(stated)
    assert set(said) == stated
    assert all(r.amount > 0 and r.text for r in result.relaxations)
    if not broken:
        assert result.relaxed_problem is None
        return
    certificate = al.certify(result.relaxed_problem, result.row_ind, result.col_ind)
    assert certificate.feasible
    assert certificate.objective_value == result.objective_value
    held = held_of(problem, result)
    assert result.stats["violation"] == pytest.approx(violation(problem, held, elastic))


@settings(max_examples=150)
@given(priced_problems(flow_problems(max_pairs=9)))
def test_flow_answers_violate_least_and_then_are_best(case):
    problem, elastic = case
    result = al.solve(problem, elastic=elastic)
    assert_is_reported_exactly(problem, elastic, result)
    least, best = best_elastic(problem, elastic)
    assert (least == 0) == (brute_force(problem)[0] is not None)
    assert result.stats.get("violation", 0) == pytest.approx(least, abs=1e-9)
    assert result.objective_value == pytest.approx(best, rel=1e-9, abs=1e-9)
    assert result.status is al.Status.OPTIMAL
    if result.relaxations:
        assert result.stats["violation_bound"] == pytest.approx(least)
        assert result.stats["fitness_bound"] == pytest.approx(best, rel=1e-9, abs=1e-9)
        assert al.certify(result.relaxed_problem, result.row_ind, result.col_ind).optimal


@settings(max_examples=60)
@given(priced_problems(mip_problems(max_pairs=8, kinds=("integers", "ties", "decimals"))))
def test_mip_answers_violate_least_and_then_are_best(case):
    problem, elastic = case
    result = al.solve(problem, elastic=elastic)
    least, best = best_elastic(problem, elastic)
    if least == np.inf:
        assert result.status is al.Status.INFEASIBLE
        return
    assert_is_reported_exactly(problem, elastic, result)
    assert result.stats.get("violation", 0) == pytest.approx(least, rel=1e-6, abs=1e-6)
    slack = 1e-5 * max(1, abs(best), problem.largest)
    assert problem.sign * (result.objective_value - best) <= slack
    if not any(np.any(load.penalty) for load in problem.loads.values()):
        assert problem.sign * (best - result.objective_value) <= slack
    if result.relaxations:
        assert result.stats["violation_bound"] <= least + 1e-6 * max(1, least)


# -- what stays as it is --------------------------------------------------------


@settings(max_examples=60)
@given(flow_problems())
def test_feasible_problems_are_solved_as_usual(problem):
    usual, elastic = al.solve(problem), al.solve(problem, elastic=True)
    if not usual.has_answer:
        assert usual.relaxations == ()
        return
    assert elastic.relaxations == ()
    assert elastic.relaxed_problem is None
    assert np.array_equal(elastic.row_ind, usual.row_ind)
    assert np.array_equal(elastic.col_ind, usual.col_ind)
    assert elastic.certificate.optimal


def test_a_negative_budget_gives_way_to_nothing():
    problem = al.AlignmentProblem(np.ones((2, 2)), 1, load_min=3,
                                  resources={"memory_mb": al.Resource(1, -1)})
    result = al.solve(problem, elastic=True)
    assert result.status is al.Status.INFEASIBLE
    assert result.conflict is not None


@pytest.mark.parametrize("shape", [(0, 3), (3, 0), (0, 0)])
def test_problems_without_pairs(shape):
    problem = al.AlignmentProblem(np.zeros(shape), 1, min_experts=min(1, shape[0]),
                                  load_min=min(2, shape[1]))
    result = al.solve(problem, elastic=True)
    assert result.status is al.Status.OPTIMAL
    assert len(result.relaxations) == sum(shape)


def test_only_forbidden_pairs():
    problem = al.AlignmentProblem(np.full((2, 2), -np.inf), 1, min_experts=1, load_min=[1, 0])
    result = al.solve(problem, elastic=True)
    assert [part.text for part in result.relaxations] == [
        "expert 0 has 0 holders, 1 less than the bound 1 asks for",
        "client 0 has 0 experts, 1 less than the bound 1 asks for",
        "client 1 has 0 experts, 1 less than the bound 1 asks for",
    ]


@pytest.mark.parametrize(("bound", "value"), [("load_min", np.inf), ("load_max", -np.inf),
                                              ("load_min", 1e18), ("load_max", -1e18)])
def test_bounds_beyond_everything(bound, value):
    problem = al.AlignmentProblem(np.eye(3) + 1, 1, **{bound: [value, 1, 1]})
    result = al.solve(problem, elastic=True)
    assert result.status is al.Status.OPTIMAL
    part = next(part for part in result.relaxations if part.bound.expert == 0)
    assert part.amount >= 0.99e18
    assert bound == "load_min" or result.loads[0] == 0
    assert al.certify(result.relaxed_problem, result.row_ind, result.col_ind).optimal


@pytest.mark.parametrize("elastic", [
    1, "yes", None, al.Elastic(load=0), al.Elastic(load=-1), al.Elastic(load=np.nan),
    al.Elastic(min_experts=np.inf), al.Elastic(load=[1, 2]), al.Elastic(group=[1, 2]),
    al.Elastic(named_loads={"bytes": 1}), al.Elastic(named_loads=3),
    al.Elastic(fitness_floor=[1, 2]), al.Elastic(load="dear"),
])
def test_hostile_prices_are_refused(elastic):
    problem = al.AlignmentProblem(np.zeros((4, 3)), 1, loads={"samples": al.Load(1, max=1)})
    with pytest.raises(al.ProblemError, match="elastic"):
        al.solve(problem, elastic=elastic)


def test_named_backends_solve_what_is_left_or_refuse():
    problem = al.AlignmentProblem(np.arange(12.0).reshape(4, 3), 1, load_min=2)
    values = {name: al.solve(problem, name, elastic=True).objective_value
              for name in ("exchange", "ortools-mcf", "scipy-milp")}
    assert len(set(values.values())) == 1
    with pytest.raises(al.UnsupportedProblemError, match="scipy-lsa"):
        al.solve(problem.replace(max_experts=2), "scipy-lsa", elastic=True)


# -- limits and scale -----------------------------------------------------------


def fleet(n, m, seed, **arguments):
    """Return a fleet whose experts need more holders than there are slots."""
    rng = np.random.default_rng(seed)
    fitness = rng.random((n, m), dtype=np.float32)
    return al.AlignmentProblem(fitness, rng.integers(1, 4, n), min_experts=1,
                               load_min=int(2.5 * n / m), **arguments)


@pytest.mark.parametrize(("n", "m"), [(30, 5), (1_000, 64), (20_000, 64)])
def test_three_scales(n, m):
    problem = fleet(n, m, n)
    result = al.solve(problem, elastic=True)
    assert result.status is al.Status.OPTIMAL
    assert_is_reported_exactly(problem, al.Elastic(), result)
    # Nothing but a shortage of slots is wrong here.
    assert result.stats["violation"] == m * int(2.5 * n / m) - problem.max_experts.sum()
    assert al.certify(result.relaxed_problem, result.row_ind, result.col_ind).optimal
    assert result.stats["fitness_bound"] == pytest.approx(result.objective_value, rel=1e-9)


def test_prices_decide_which_bounds_give_way():
    problem = fleet(300, 8, 1)
    dear = np.ones(8)
    dear[3] = 5
    result = al.solve(problem, elastic=al.Elastic(load=dear))
    assert 3 not in {part.bound.expert for part in result.relaxations}
    crowd = al.AlignmentProblem(np.ones((30, 3)), 2, min_experts=1, load_max=5)
    for price, kind in ((0.1, "min_experts"), (10, "load_max")):
        result = al.solve(crowd, elastic=al.Elastic(min_experts=price))
        assert {part.bound.kind for part in result.relaxations} == {kind}


@pytest.mark.parametrize("limit", [0, 0.01])
def test_a_time_limit_leaves_an_answer_all_the_same(limit):
    for problem in (fleet(2_000, 32, 3), fleet(300, 16, 3, resources={
        "memory_mb": al.Resource(1.5, 4)
    })):
        began = time.perf_counter()
        result = al.solve(problem, time_limit=limit, elastic=True)
        assert time.perf_counter() - began < 30  # for slow and busy machines
        assert_is_reported_exactly(problem, al.Elastic(), result)
        assert result.stats["violation_bound"] <= result.stats["violation"]


@pytest.mark.parametrize("place", ["alignsolve.elastic.solving.least_violation",
                                   "alignsolve.elastic.mip.least_violating_answer"])
def test_an_interrupt_leaves_an_answer_all_the_same(place, monkeypatch):
    def interrupted(*_):
        raise Interrupted

    monkeypatch.setattr(place, interrupted)
    problem = fleet(30, 5, 4)
    if "mip" in place:
        problem = al.AlignmentProblem(np.ones((4, 2)), 1, client_fitness_min=2)
    result = al.solve(problem, elastic=True)
    assert_is_reported_exactly(problem, al.Elastic(), result)


def test_small_moves_keep_what_never_gives_way_and_violate_less():
    rng = np.random.default_rng(1)
    problem = fleet(200, 8, 7, expert_group=np.arange(8) % 2, group_max=2, group_min=1,
                    resources={"memory_mb": al.Resource(rng.uniform(1, 3, 8),
                                                        rng.uniform(2, 8, 200))},
                    loads={"samples": al.Load(rng.integers(10, 99, 200), min=2_000)})
    prices = checked_weights(problem, True)
    everything = np.nonzero(np.ones((200, 8)))
    start = within_budgets(problem.replace(max_experts=8, group_max=4), *everything)
    assert not {"resource"} & {v.kind for v in violations(problem, *start)}
    nothing = np.empty(0, dtype=np.int64)
    found = descended(problem, prices, nothing, nothing, np.inf)
    assert not HARD & {v.kind for v in violations(problem, *found)}
    least = al.solve(problem, time_limit=5, elastic=True).stats
    missed = priced(shortfalls(problem, prices, *found))
    assert least["violation_bound"] <= missed + 1e-6
    assert missed < 0.5 * priced(shortfalls(problem, prices, nothing, nothing))


def test_a_proved_violation_is_bounded_up_to_the_tolerance_of_the_solver():
    rng = np.random.default_rng(0)
    budgets = {"memory": al.Resource(rng.integers(1, 5, (12, 4)), 4)}
    load = al.Load(rng.integers(1, 6, 12), min=5, max=9)
    problem = al.AlignmentProblem(rng.integers(0, 9, (12, 4)), 2, min_experts=1, load_min=5,
                                  load_max=5, loads={"samples": load}, resources=budgets)
    stats = al.solve(problem, elastic=True).stats
    assert stats["violation"] * (1 - 1e-8) <= stats["violation_bound"] <= stats["violation"]


def test_floors_give_way_without_breaking_budgets():
    rng = np.random.default_rng(0)
    problem = al.AlignmentProblem(
        rng.random((12, 4)), 2, client_fitness_min=1.5, load_max=5,
        resources={"memory_mb": al.Resource(rng.uniform(1, 2, (12, 4)), 2.5)},
        loads={"samples": al.Load(rng.integers(10, 99, 12), min=150)},
    )
    result = al.solve(problem, elastic=True, time_limit=20)
    assert_is_reported_exactly(problem, al.Elastic(), result)
    assert "client_fitness_min" in {part.bound.kind for part in result.relaxations}


# -- pairs that are held anyway -------------------------------------------------


@settings(max_examples=60)
@given(mip_problems(max_pairs=12, kinds=("integers", "ties")), st.randoms(use_true_random=False))
def test_bounds_beside_some_pairs_are_those_of_all(problem, random):
    pairs = [(i, j, random.random() < 0.5) for i, j in np.argwhere(problem.fitness > -np.inf)
             if random.random() < 0.7]
    pairs = np.array(pairs, dtype=np.int64).reshape(-1, 3)
    fixed, free = (pairs[pairs[:, 2] == part, :2].T for part in (1, 0))
    beside = problem.replace(**bounds_beside(problem, *fixed))

    def broken(of, rows, cols):
        kinds = {"load_min", "load_max", "resource", "client_fitness_min"}
        return {(v.kind, v.client, v.expert, v.name)
                for v in violations(of, rows, cols, limit=10**6) if v.kind in kinds}

    everything = pairs[:, 0], pairs[:, 1]
    assert broken(beside, *free) == broken(problem, *everything)
    assert beside.penalty(*free) == pytest.approx(problem.penalty(*everything))


# -- small moves ----------------------------------------------------------------


@settings(max_examples=60)
@given(priced_problems(mip_problems(max_pairs=12)), st.randoms(use_true_random=False))
def test_moves_never_break_what_does_not_give_way(case, random):
    problem, elastic = case
    prices = checked_weights(problem, elastic)
    pairs = [(i, j) for i, j in np.argwhere(problem.fitness > -np.inf) if random.random() < 0.5]
    start = np.array(pairs, dtype=np.int64).reshape(-1, 2).T
    start = within_budgets(problem, *start)
    hard = [v for v in violations(problem, *start, limit=10**6) if v.kind in HARD]
    if hard:
        start = np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64)
    found = descended(problem, prices, *start, np.inf)
    if not any(np.any(np.asarray(part.budget) < 0) for part in problem.resources.values()):
        assert not HARD & {v.kind for v in violations(problem, *found, limit=10**6)}
    before, after = (priced(shortfalls(problem, prices, *at)) for at in (start, found))
    assert after <= before + 1e-6 * max(1, before) or before == np.inf


def test_two_clients_exchange_where_no_single_move_helps():
    problem = al.AlignmentProblem(
        np.ones((2, 2)), 1, load_min=1, load_max=1,
        loads={"samples": al.Load([10, 1], max=[5, 20])},
    )
    start = np.array([0, 1]), np.array([0, 1])
    rows, cols = descended(problem, checked_weights(problem, True), *start, np.inf)
    assert (rows.tolist(), cols.tolist()) == ([0, 1], [1, 0])


def planted_round(n, m, seed):
    """Return a problem with budgets and bounds on samples around a hidden answer."""
    rng = np.random.default_rng(seed)
    size, samples = rng.choice([4.0, 6.0, 8.0, 12.0], m), np.ceil(rng.lognormal(4, 0.8, n))
    slots = rng.choice([1, 2, 4, 8], n, p=[0.45, 0.35, 0.15, 0.05])
    budget = 6.4 * slots
    held = np.zeros((n, m), dtype=np.bool_)
    for i in range(n):
        for j in rng.permutation(m):
            if held[i].sum() < slots[i] and size[held[i]].sum() + size[j] <= budget[i]:
                held[i, j] = True
    load, amount = held.sum(axis=0), held.T @ samples
    return al.AlignmentProblem(
        rng.random((n, m)), slots, load_min=np.floor(0.8 * load), load_max=np.ceil(1.2 * load),
        loads={"samples": al.Load(samples, min=0.8 * amount, max=1.2 * amount)},
        resources={"down_mb": al.Resource(size, budget)},
    )


@pytest.mark.parametrize("seed", [0, 1])
def test_moves_find_what_can_hold_at_the_size_of_a_round(seed):
    problem = planted_round(1_000, 64, seed)
    prices = checked_weights(problem, True)
    nothing = np.empty(0, dtype=np.int64)
    found = descended(problem, prices, nothing, nothing, np.inf)
    assert not violations(problem, *found)


# -- over sources ---------------------------------------------------------------


def in_blocks(matrix):
    """Return a source of a matrix."""
    return al.FunctionSource(lambda a, b: matrix[a:b], matrix.shape, matrix.dtype, block_rows=17)


@pytest.mark.parametrize(("mip", "sense"), [(False, "max"), (False, "min"), (True, "min")])
def test_a_source_gives_way_like_an_array(sense, mip):
    rng = np.random.default_rng(5)
    matrix = rng.random((60, 6)).astype(np.float32)
    matrix[rng.random(matrix.shape) < 0.1] = -np.inf if sense == "max" else np.inf
    further = {"loads": {"samples": al.Load(rng.integers(1, 9, 60), min=70)}} if mip else {}
    build = al.AlignmentProblem if sense == "max" else al.AlignmentProblem.from_cost
    blocks = in_blocks(matrix)
    array, source = (build(given, 1, load_min=11, **further) for given in (matrix, blocks))
    usual, found = al.solve(array, elastic=True), al.solve(source, elastic=True)
    assert found.problem is source and found.relaxations == usual.relaxations
    assert found.objective_value == usual.objective_value
    assert found.stats["violation"] == usual.stats["violation"] > 0
    assert al.certify(found.relaxed_problem, found.row_ind, found.col_ind).feasible


def test_a_feasible_source_is_solved_as_usual():
    matrix = np.random.default_rng(5).random((60, 6)).astype(np.float32)
    source = al.AlignmentProblem(in_blocks(matrix), 1, load_min=5)
    result = al.solve(source, elastic=True)
    assert result.status is al.Status.OPTIMAL and result.relaxations == ()
    assert al.certify(source, result.row_ind, result.col_ind).optimal


def test_a_source_too_large_for_memory_is_refused():
    few = SolveParams(elastic_pairs=100)
    source = al.AlignmentProblem(in_blocks(np.zeros((60, 6))), 1, load_min=11)
    with pytest.raises(al.UnsupportedProblemError, match="360 pairs are more than 100"):
        solve_within(source, Limits(), elastic=True, params=few)


@pytest.mark.filterwarnings("error")
def test_floors_and_values_next_to_nothing():
    problem = al.AlignmentProblem(
        np.full((2, 3), 5e-324), 1, load_min=[1, 1, 1], client_fitness_min=[1e-323, -np.inf]
    )
    result = al.solve(problem, elastic=True)
    assert result.has_answer
    assert result.relaxations
