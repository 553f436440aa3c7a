"""Every feature of the hard class in one problem, against brute force over all answers."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings

import alignsolve as al
from alignsolve.model.feasibility import is_feasible
from tests.conformance.asking import MORE
from tests.nasty import magnitude
from tests.strategies import brute_force, hard_problems

EXACT = ("lagrangian", "auto", "ortools-cpsat", "ortools-mip", "ortools-scip", "scipy-milp")


def check_bounds(
    problem: al.AlignmentProblem, states: list[al.Progress], best: float, slack: float
) -> None:
    """Check that no state claims more than the optimum allows."""
    for state in states:
        assert problem.sign * (state.dual_bound - best) >= -slack
        if not math.isnan(state.objective_value):
            assert problem.sign * (best - state.objective_value) >= -slack


@pytest.mark.parametrize("name", EXACT)
def test_exact_backends_agree_with_brute_force(name: str) -> None:
    @settings(max_examples=round(20 * MORE))
    @given(hard_problems())
    def agrees(problem: al.AlignmentProblem) -> None:
        best = brute_force(problem)[0]
        states: list[al.Progress] = []
        result = al.solve(problem, name, callback=states.append)
        if best is None:
            assert result.status is al.Status.INFEASIBLE
            return
        slack = 1e-8 * (1 + magnitude(problem))
        assert result.status is al.Status.OPTIMAL
        assert is_feasible(problem, result.row_ind, result.col_ind)
        assert result.objective_value == pytest.approx(best, abs=slack)
        check_bounds(problem, states, best, slack)

    agrees()


@pytest.mark.parametrize("limit", [0.0, 0.02])
@pytest.mark.parametrize("name", ["lagrangian", "auto", "greedy"])
def test_bounds_hold_when_time_is_short(name: str, limit: float) -> None:
    @settings(max_examples=round(12 * MORE))
    @given(hard_problems())
    def holds(problem: al.AlignmentProblem) -> None:
        best = brute_force(problem)[0]
        states: list[al.Progress] = []
        result = al.solve(problem, name, time_limit=limit, callback=states.append)
        if best is None:
            assert not result.has_answer
            return
        assert result.status is not al.Status.INFEASIBLE
        slack = 1e-8 * (1 + magnitude(problem))
        check_bounds(problem, states, best, slack)
        if result.status is al.Status.OPTIMAL:
            assert result.objective_value == pytest.approx(best, abs=slack)

    holds()


def test_a_gap_that_was_asked_for_is_kept() -> None:
    @settings(max_examples=round(12 * MORE))
    @given(hard_problems())
    def keeps(problem: al.AlignmentProblem) -> None:
        best = brute_force(problem)[0]
        result = al.solve(problem, "lagrangian", rel_gap=0.1)
        if best is not None:
            assert result.has_answer
            slack = 1e-8 * (1 + magnitude(problem))
            missed = problem.sign * (best - result.objective_value)
            assert missed <= 0.1 * abs(result.objective_value) + slack

    keeps()
