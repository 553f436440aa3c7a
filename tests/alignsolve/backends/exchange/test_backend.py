"""The backend: the solver within `alignsolve.solve`."""

import numpy as np
import pytest
from hypothesis import given, settings

import alignsolve as al
from alignsolve.backends import get_backend
from alignsolve.status import Limits
from tests.strategies import brute_force, flow_problems


@settings(max_examples=300)
@given(problem=flow_problems())
def test_same_optimum_as_brute_force(problem):
    best, _, _ = brute_force(problem)
    answer = get_backend("exchange").solve(problem, Limits())
    assert answer.infeasible == (best is None)
    if best is None:
        return
    certificate = al.certify(
        problem, answer.row_ind, answer.col_ind, prices=problem.sign * answer.prices
    )
    assert certificate.optimal, certificate.summary()
    assert certificate.objective_value == pytest.approx(best, rel=1e-9, abs=1e-9)
    assert answer.termination is al.Termination.PROVED


def test_its_own_prices_certify_the_answer():
    fitness = np.random.default_rng(0).random((5000, 16), dtype=np.float32)
    result = al.solve(al.AlignmentProblem(fitness, 1, min_experts=1, load_max=313), "exchange")
    assert result.status is al.Status.OPTIMAL
    assert result.backend == "exchange"
    assert result.certificate.kind == "prices"
    assert result.stats["passes"] > 1


def test_prices_are_shadow_prices_of_places():
    rng = np.random.default_rng(1)
    fitness = rng.integers(0, 1000, (400, 6)).astype(np.float64)
    high = np.full(6, 70)
    value = {}
    for change in (-1, 0, 1):
        high[2] = 70 + change
        result = al.solve(al.AlignmentProblem(fitness, 1, min_experts=1, load_max=high), "exchange")
        value[change] = result.objective_value
        if change == 0:
            price = result.prices[2]
    assert value[1] - value[0] <= price <= value[0] - value[-1]


def test_warm_start_from_a_result():
    rng = np.random.default_rng(2)
    fitness = rng.random((20_000, 8))
    problem = al.AlignmentProblem(fitness, 1, min_experts=1, load_max=2500)
    first = al.solve(problem, "exchange")
    again = al.solve(problem.replace(fitness=fitness + 0.0), "exchange", warm_start=first)
    assert again.status is al.Status.OPTIMAL
    assert again.stats["passes"] < first.stats["passes"]


def test_hands_over_where_it_stalls(monkeypatch):
    from alignsolve.backends.exchange import ExchangeAnswer

    monkeypatch.setattr(
        "alignsolve.backends.exchange.backend.solve_exchange",
        lambda *args, **named: ExchangeAnswer("stalled", prices=np.zeros(2)),
    )
    result = al.solve(al.AlignmentProblem([[3, 1], [2, 2.5]], 1, load_max=1))
    assert result.status is al.Status.OPTIMAL
    assert result.backend != "exchange"
    assert result.fallbacks[0].backend == "exchange"
    assert "work limit" in result.fallbacks[0].reason
