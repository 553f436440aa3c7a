"""Values as whole numbers of a unit, and steps of prices, as fractions."""

import itertools
from fractions import Fraction

import numpy as np
import pytest

import alignsolve as al
from alignsolve.certificate.exchange_graph import bellman_ford, exchange_graph
from alignsolve.certificate.numbers import (
    CLOSE,
    MOST_ENTRIES,
    MOST_EXPERTS,
    Numbers,
    has_close_values,
    is_small,
)
from alignsolve.certificate.subgradient import improved_prices
from tests.alignsolve.certificate.exact import flow_problem


@pytest.mark.parametrize("scale", [1.0, 2.0**-40, 0.1, 1e12])
def test_values_and_penalties_are_whole_numbers_of_a_unit(scale):
    problem = flow_problem(3, whole=False)
    problem = problem.replace(cost=problem.arguments()["cost"] * scale)
    numbers = Numbers.of(problem)
    values = problem.values(slice(0, 4))
    for at in np.ndindex(values.shape):
        if values[at] == -np.inf:
            assert numbers.values[at] == -numbers.infinite
        else:
            cost = 0.0 if problem.held.mask(slice(0, 4))[at] else problem.switch_cost[at]
            exact = Fraction(float(problem.fitness[at])) - Fraction(float(cost))
            assert numbers.values[at] * numbers.unit == exact
    for holders in (np.array([0, 1, 2]), np.array([3, 0, 1])):
        more, fewer = numbers.penalty_steps(holders)
        for j in range(3):
            a, t = Fraction(problem.load_penalty[j]), Fraction(problem.load_target[j])
            k = int(holders[j])
            assert more[j] * numbers.unit == a * ((k + 1 - t) ** 2 - (k - t) ** 2)
            assert fewer[j] * numbers.unit == a * ((k - 1 - t) ** 2 - (k - t) ** 2)


def test_what_is_small():
    def of(n, m):
        return al.AlignmentProblem(np.zeros((n, m), np.float32), 1)

    assert is_small(of(MOST_ENTRIES // 64, 64))
    assert not is_small(of(MOST_ENTRIES // 64 + 1, 64))
    assert is_small(of(2, MOST_EXPERTS))
    assert not is_small(of(2, MOST_EXPERTS + 1))


@pytest.mark.parametrize(("step", "close"), [(0.5 * CLOSE, True), (2.0 * CLOSE, False)])
def test_what_is_close(step, close):
    # Relative to the largest spread of a client, penalties added; equal values are not close.
    problem = al.AlignmentProblem([[1.0, 1.0 + step, 0.0], [0.25, 0.25, 0.0]], 1)
    assert has_close_values(problem) is close
    assert not has_close_values(problem.replace(fitness=np.ones((2, 3))))
    forbidden = problem.replace(fitness=[[1.0, 1.0 + step, -np.inf], [0.0, -1.0, -np.inf]])
    assert has_close_values(forbidden) is close
    assert has_close_values(problem.replace(load_penalty=[0, 0, 1e3]))


def test_arcs_of_an_answer_by_hand():
    # Client 0 holds expert 0 of two slots' worth, client 1 expert 1 of its one slot.
    problem = al.AlignmentProblem([[5.0, 2.0], [1.0, 4.0]], [2, 1], min_experts=[0, 1],
                                  load_min=[0, 1], load_max=[2, 2], load_penalty=[0.5, 0.0],
                                  load_target=[1.0, 0.0])
    weight = exchange_graph(problem, np.array([0, 1]), np.array([0, 1])).weight
    # Swaps lose 5 - 2 and 4 - 1; client 0 may drop expert 0, or add expert 1; a holder more costs
    # expert 0 a penalty of 0.5, and expert 1 nothing; a holder fewer costs expert 0 0.5.
    assert weight[0, 1] == 3 and weight[1, 0] == 3
    assert weight[0, 2] == min(5.0, 0.5)
    assert weight[1, 2] == 0.0
    assert weight[2, 0] == 0.5
    assert weight[2, 1] == -2.0


def test_distances_are_the_shortest():
    inf = np.inf
    weight = np.array([[inf, 4.0, 1.0, inf], [inf, inf, inf, 2.0], [inf, 2.0, inf, 7.0],
                       [0.5, inf, inf, inf]])
    distance, cycle = bellman_ford(weight)
    assert cycle is None
    # From a source with an arc of weight 0 to every node nothing is farther than 0.
    assert (distance <= 0).all()
    weight[3, 0] = -5.5
    distance, cycle = bellman_ford(weight)
    assert sorted(cycle) == [0, 1, 2, 3]


def test_a_step_of_prices_is_polyaks():
    # All three want expert 0, which takes one: two holders too many there, one too few elsewhere.
    problem = al.AlignmentProblem([[3.0, 0, 0], [4.0, 0, 0], [5.0, 0, 0]], 1, min_experts=1,
                                  load_min=1, load_max=1)
    rows = np.arange(3)
    start, gap = improved_prices(problem, rows, rows, np.zeros(3), updates=0)
    assert start.tolist() == [0, 0, 0]
    assert gap.gap_abs == 9  # D(0) = 12, and the answer is worth 3
    better, gap = improved_prices(problem, rows, rows, np.zeros(3), updates=1)
    # A step of 9 / (2^2 + 1 + 1) along (2, -1, -1).
    assert better.tolist() == [3.0, -1.5, -1.5]
    # Clients now have 1.5, 1.5 and 2, and the experts' prices sum to 0.
    assert gap.gap_abs == 5 - 3


@pytest.mark.parametrize("scale", [5e-324, 2.0**-90, 2.0**-40])
def test_a_cycle_of_roundings_hides_no_larger_one(scale):
    """Values next to nothing make cycles that count as rounding beside switching costs."""
    values = scale * np.array([[0, 2, 6, 7], [8, 2, 0, 6], [1, 1, 1, 2]])
    problem = al.AlignmentProblem(
        values, 2, min_experts=0, load_max=[2, 2, 3, 1], held=([0, 1, 1, 2, 2], [2, 0, 2, 1, 2]),
        switch_cost=[2.5, 0, 2.5, 0.1],
    )
    best = al.solve(problem).objective_value
    for chosen in itertools.product([False, True], repeat=8):
        # Client 0 holds nothing.
        rows, cols = np.nonzero(np.reshape([False] * 4 + [*chosen], values.shape))
        found = al.certify(problem, rows, cols)
        if found.feasible:
            assert not (found.optimal and found.objective_value < best - 1e-6)
            assert found.dual_bound >= best - 1e-15


def test_gaps_of_worse_answers_are_no_smaller_than_what_they_lack():
    """Best responses are chosen by differences: the roundings of 1.7e9 are 2.4e-7."""
    values = 1.7e9 + np.array([[-3, -5, -2], [-2, -5, 0]]) * 2.0**-20
    problem = al.AlignmentProblem(values, 1, min_experts=[0, 1])
    for cols in itertools.product(range(3), repeat=2):
        lacks = float((values.max(axis=1) - values[[0, 1], cols]).sum())
        assert al.certify(problem, [0, 1], cols).gap_abs >= lacks * (1 - 1e-12)
