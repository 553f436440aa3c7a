"""Bounds that give way: least priced violation, then fitness, certified and reported exactly."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import alignsolve as al
from alignsolve.feasibility import violations
from tests.alignsolve.elastic_reference import best_elastic, violation
from tests.strategies import brute_force, flow_problems, matrix_of, one_or_each

#: Kinds of bounds that never give way.
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
    broken = violations(problem, result.row_ind, result.col_ind)
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
