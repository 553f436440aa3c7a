"""Explanations are true: what they say would change the answer does, and a bit less does not."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import alignsolve as al
from alignsolve.certificate.best_responses import best_responses
from alignsolve.certificate.duality_gap import penalty_steps
from tests.strategies import brute_force, flow_problems

#: Kinds of fitness whose sums are far from rounding.
TAME = ("integers", "ties", "decimals")


def optimum(problem):
    """Return the optimum in max sense, -inf where there is no answer."""
    objective = brute_force(problem)[0]
    return -np.inf if objective is None else problem.sign * objective


def solved(problem):
    """Return the problem, elastically relaxed where it must be, with a best answer."""
    result = al.solve(problem, elastic=True)
    return result.relaxed_problem or problem, result


def with_value(problem, i, j, change):
    """Return the problem with one fitness (max sense) changed, or forbidden by -inf."""
    fitness = problem.fitness.astype(np.float64)
    fitness[i, j] += change
    if problem.sense == "max":
        return problem.replace(fitness=fitness)
    return problem.replace(cost=0 - fitness)


def plus(array, at, change):
    """Return a bound with one entry changed."""
    array = np.array(array, dtype=np.float64)
    array[at] += change
    return array


def held_in_best(problem, i, j):
    """Tell whether a pair is in the best answer that brute force finds."""
    _, rows, cols = brute_force(problem)
    return bool(((rows == i) & (cols == j)).any())


def close(one, two):
    return one == two or abs(one - two) < 1e-7


# -- margins: a bit more flips the pair, a bit less does not -----------------------------


@settings(max_examples=60)
@given(flow_problems(max_pairs=9, kinds=TAME), st.data())
def test_margins_of_a_client_flip_its_pairs(problem, data):
    problem, result = solved(problem)
    i = data.draw(st.integers(0, problem.n_clients - 1))
    found = al.explain(problem, result, client=i)
    best = optimum(problem)
    assert found.exact
    assert problem.sign * result.objective_value == pytest.approx(best)
    for part in found.held:
        without = optimum(with_value(problem, i, part.expert, -np.inf))
        assert close(part.margin, best - without)
        if math.isinf(part.margin):
            continue
        assert not held_in_best(with_value(problem, i, part.expert, -part.margin - 0.01),
                                i, part.expert)
        if part.margin > 0.01:
            less = with_value(problem, i, part.expert, 0.01 - part.margin)
            assert held_in_best(less, i, part.expert)
            assert close(optimum(less), best + 0.01 - part.margin)
    for part in found.alternatives:
        if math.isinf(part.missing):
            assert not held_in_best(with_value(problem, i, part.expert, 1e6), i, part.expert)
            continue
        more = with_value(problem, i, part.expert, part.missing + 0.01)
        assert held_in_best(more, i, part.expert)
        assert close(optimum(more), best + 0.01)
        if part.missing > 0.01:
            less = with_value(problem, i, part.expert, part.missing - 0.01)
            assert not held_in_best(less, i, part.expert)
            assert close(optimum(less), best)


@settings(max_examples=60)
@given(flow_problems(max_pairs=9, kinds=TAME), st.data())
def test_worths_of_slots_are_differences_of_optima(problem, data):
    problem, result = solved(problem)
    explainer = al.Explainer(problem, result)
    best = optimum(problem)
    i = data.draw(st.integers(0, problem.n_clients - 1))
    j = data.draw(st.integers(0, problem.n_experts - 1))
    client, expert, whole = explainer.client(i), explainer.expert(j), explainer.overall()
    slot = optimum(problem.replace(max_experts=plus(problem.max_experts, i, 1)))
    assert close(client.slot_worth, slot - best)
    assert client.slot_worth == whole.client_slot_worth[i]
    if problem.min_experts[i] > 0:
        less = optimum(problem.replace(min_experts=plus(problem.min_experts, i, -1)))
        assert close(client.minimum_worth, less - best)
    more = problem.replace(load_max=plus(problem.load_max, j, 1))
    assert close(expert.slot_worth, optimum(more) - best)
    assert expert.slot_worth == whole.slot_worth[j]
    assert close(expert.minimum_worth,
                 optimum(problem.replace(load_min=plus(problem.load_min, j, -1))) - best)
    if math.isfinite(problem.load_max[j]) and problem.load_max[j] <= problem.n_clients:
        fewer = problem.replace(load_max=plus(problem.load_max, j, -1))
        assert close(expert.slot_loss, best - optimum(fewer))
    if expert.next_holder is not None:
        forced = with_value(more, expert.next_holder.client, j, 1e-3)
        assert held_in_best(forced, expert.next_holder.client, j)
        assert close(optimum(forced), optimum(more) + 1e-3)


@settings(max_examples=60)
@given(flow_problems(max_pairs=9, kinds=TAME), st.data())
def test_a_slot_suffices_exactly_where_a_best_answer_uses_it_so(problem, data):
    problem, result = solved(problem)
    i = data.draw(st.integers(0, problem.n_clients - 1))
    for part in al.explain(problem, result, client=i).alternatives:
        more = problem.replace(load_max=plus(problem.load_max, part.expert, 1))
        best = optimum(more)
        if part.slot_suffices:
            assert close(optimum(with_value(more, i, part.expert, 0.5)), best + 0.5)
        elif best > optimum(problem) + 1e-6:
            assert optimum(with_value(more, i, part.expert, 0.001)) < best + 0.0009


def wanted_worth(problem, result, i, j, cut):
    """Return what a client's best set is worth at the prices, with one of them lower."""
    rows = slice(i, i + 1)
    reduced = problem.values(rows) - problem.sign * result.prices
    reduced[0, j] += cut
    chosen, _ = best_responses(problem, rows, reduced)
    return reduced[chosen].sum()


@settings(max_examples=60)
@given(flow_problems(max_pairs=9, kinds=TAME))
def test_prices_are_subgradients_and_cuts_make_clients_want(problem):
    problem, result = solved(problem)
    explainer = al.Explainer(problem, result)
    loads = result.loads
    up, down = penalty_steps(problem, loads)
    _, high = problem.holder_bounds()
    for j in range(problem.n_experts):
        found = explainer.expert(j)
        price = problem.sign * found.price
        if found.load == high[j]:
            assert price <= found.slot_loss - down[j] + 1e-7
            if found.slot_worth > 0:
                assert found.slot_worth + up[j] <= price + 1e-7
    for i in range(problem.n_clients):
        for part in explainer.client(i).alternatives:
            if part.price_cut is not None:
                assert part.price_cut <= part.missing + 1e-7
                # Once it is that cheap, each further unit off its price is worth a unit.
                dearer, cheaper = (wanted_worth(problem, result, i, part.expert, part.price_cut + t)
                                   for t in (0.0, 1.0))
                assert close(dearer, wanted_worth(problem, result, i, part.expert, 0.0))
                assert close(cheaper, dearer + 1.0)


@settings(max_examples=60)
@given(flow_problems(max_pairs=9, kinds=TAME))
def test_the_price_of_balance_is_what_loads_cost(problem):
    problem, result = solved(problem)
    found = al.explain(problem, result)
    free = problem.replace(load_min=None, load_max=None, load_penalty=0)
    assert close(problem.sign * found.free, optimum(free))
    assert found.balance == pytest.approx(abs(found.free - found.total), abs=1e-7)
    assert found.balance >= 0
    assert found.regret.sum() == pytest.approx(found.balance)
    penalty = problem.penalty(result.row_ind, result.col_ind)
    assert close(found.total - problem.sign * penalty, found.objective_value)


# -- the mip class, and answers that are not proved: see test_estimates.py -------------------


def test_answers_not_proved_optimal_have_estimates():
    problem = al.AlignmentProblem([[3, 1], [2, 2.5]], 1, load_max=1)
    result = dataclasses.replace(
        al.solve(problem), status=al.Status.FEASIBLE, row_ind=np.array([0, 1]),
        col_ind=np.array([1, 0]), objective_value=3.0,
    )
    found = al.explain(problem, result, client=0)
    assert not (found.exact or found.held[0].exact)
    assert "not proved optimal: margins and worths are estimates" in found.text()
    settled = al.explain(problem, result, client=0, exact=True, time_limit=1000)
    # Without expert 1 client 0 can have expert 0, and 5.5 is more than 3.
    assert (settled.held[0].exact, settled.held[0].margin) == (True, 0)
    # What a slot is worth would be known if the optimum were.
    assert "slot_worth" in settled.estimates


def test_elastic_answers_are_explained_as_the_relaxed_problems():
    problem = al.AlignmentProblem(np.arange(6.0).reshape(3, 2), 1, load_min=2)
    found = al.explain(problem, al.solve(problem, elastic=True))
    assert "1 bound relaxed" in found.text()
    assert found.exact


@pytest.mark.parametrize(("arguments", "message"), [
    ({"client": 2}, "give 0 to 1"), ({"client": -1}, "give 0 to 1"), ({"expert": 9}, "give 0 to"),
    ({"client": "Eve"}, "ids"), ({"expert": "x"}, "of which it has none"),
    ({"client": 1.5}, "give an index"), ({"client": True}, "give an index"),
    ({"client": 0, "expert": 0}, "not both"),
])
def test_hostile_arguments_are_refused(arguments, message):
    problem = al.AlignmentProblem([[3, 1], [2, 2.5]], 1, client_ids=["a", "b"])
    result = al.solve(problem)
    assert al.explain(problem, result, client="b").client == 1
    with pytest.raises(al.ProblemError, match=message):
        al.explain(problem, result, **arguments)


def test_an_answer_to_another_problem_is_refused():
    problem = al.AlignmentProblem([[3, 1], [2, 2.5]], 1, load_max=1)
    result = al.solve(problem)
    assert al.explain(problem.replace(load_max=[1, 1]), result).exact
    with pytest.raises(al.ProblemError, match="is for a problem of other content"):
        al.explain(problem.replace(load_max=2), result)


def test_no_answer_is_refused_with_the_reason():
    problem = al.AlignmentProblem([[3, 1], [2, 2.5]], 1, load_min=2)
    with pytest.raises(al.ProblemError, match="infeasible"):
        al.explain(problem, al.solve(problem))
    other = al.AlignmentProblem([[1.0]], 1)
    with pytest.raises(al.ProblemError, match="the result is for 1 clients"):
        al.explain(problem, al.solve(other))


@pytest.mark.parametrize("shape", [(0, 2), (2, 0)])
def test_problems_without_pairs_are_explained(shape):
    problem = al.AlignmentProblem(np.zeros(shape), 1)
    explainer = al.Explainer(problem, al.solve(problem))
    assert "price of balance: 0" in explainer.overall().text()
    if shape[0]:
        assert "holds nothing" in explainer.client(0).text()
    else:
        assert "has 0 holders" in explainer.expert(0).text()


def test_larger_fleets_are_explained_consistently():
    rng = np.random.default_rng(5)
    problem = al.AlignmentProblem(rng.random((3_000, 32), dtype=np.float32), 2,
                                  load_min=150, load_max=200)
    result = al.solve(problem)
    explainer = al.Explainer(problem, result)
    whole = explainer.overall()
    expert = explainer.expert(int(np.argmax(whole.slot_worth)))
    more = problem.replace(load_max=plus(problem.load_max, expert.expert, 1))
    gain = al.solve(more).objective_value - result.objective_value
    assert expert.slot_worth == pytest.approx(gain, abs=1e-7)
    nearest = expert.nearest[0]
    assert nearest.margin == min(
        part.missing for part in explainer.client(nearest.client).alternatives
        if part.expert == expert.expert
    )
