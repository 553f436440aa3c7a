"""Estimates are the clients' own problems at prices; settled numbers are differences of optima."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import alignsolve as al
from alignsolve.explain import own_problem
from alignsolve.explain.estimates import Estimates
from alignsolve.model.problem import tolerance
from tests.alignsolve.explain.test_explain import TAME, close, optimum, plus, with_value
from tests.strategies import Enumeration, any_problems, brute_force, mip_problems


def own_sets(problem, i):
    """Return all sets that a client may hold by itself, as bool arrays."""
    fitness = np.asarray(problem.fitness[i], np.float64)
    fewest, most = (bound[i] for bound in problem.slot_bounds())
    for chosen in itertools.product([False, True], repeat=problem.n_experts):
        held = np.array(chosen)
        kept = fewest <= held.sum() <= most and (fitness[held] > -np.inf).all()
        if problem.expert_group is not None:
            counts = np.bincount(problem.expert_group, weights=held, minlength=problem.n_groups)
            low, high = problem.group_min[i], problem.group_max[i]
            kept &= ((low <= counts) & (counts <= high)).all()
        for part in problem.resources.values():
            budget = np.asarray(part.budget)[i]
            kept &= np.asarray(part.size)[i][held].sum() <= budget + tolerance(budget)
        floor = problem.client_fitness_min[i]
        if kept and fitness[held].sum() >= floor - tolerance(floor):
            yield held


def best(problem, i, net, expert=None, inside=None):
    """Return the largest sum over a client's sets with, or without, an expert."""
    return max((net[held].sum() for held in own_sets(problem, i)
                if expert is None or held[expert] == inside), default=-np.inf)


@settings(max_examples=12)
@given(mip_problems(max_pairs=8, kinds=TAME), st.data())
def test_estimates_solve_the_clients_own_problems_at_the_prices(problem, data):
    result = al.solve(problem)
    assume(result.has_answer)
    explainer = al.Explainer(problem, result)
    i = data.draw(st.integers(0, problem.n_clients - 1))
    found = explainer.client(i)
    (values,) = problem.values(np.array([i]))
    net = values - explainer.found.prices.paid(np.array([i]))[0]
    for part in found.held:
        expected = max(0.0, best(problem, i, net, part.expert, True)
                       - best(problem, i, net, part.expert, False))
        assert close(part.margin, expected)
        assert part.exact == math.isinf(expected)
        assert problem.sign * part.price == pytest.approx(values[part.expert] - net[part.expert])
    for part in found.alternatives:
        expected = max(0.0, best(problem, i, net, part.expert, False)
                       - best(problem, i, net, part.expert, True))
        assert close(part.missing, expected)
    now = best(problem, i, net)
    roomier = problem.replace(max_experts=plus(problem.max_experts, i, 1))
    assert close(found.slot_worth, best(roomier, i, net) - now)
    if problem.min_experts[i] > 0:
        laxer = problem.replace(min_experts=plus(problem.min_experts, i, -1))
        assert close(found.minimum_worth, best(laxer, i, net) - now)
    for name, worth in found.budget_worth.items():
        free = {name: replace(problem.resources[name], budget=np.inf)}
        assert close(worth, best(problem.replace(resources=free), i, net) - now)
    assert close(problem.sign * found.alone, best(problem, i, values))


def best_with(problem, i, j):
    """Return the optimum of answers with a pair in max sense, -inf where there is none."""
    every = Enumeration(problem)
    return every.gains[every.kept & every.answers[:, i, j]].max(initial=-np.inf)


@settings(max_examples=10)
@given(mip_problems(max_pairs=8, kinds=TAME), st.data())
def test_settled_margins_and_worths_of_clients_are_differences_of_optima(problem, data):
    result = al.solve(problem)
    assume(result.status is al.Status.OPTIMAL)
    i = data.draw(st.integers(0, problem.n_clients - 1))
    found = al.explain(problem, result, client=i, exact=True, time_limit=1000)
    now = optimum(problem)
    assert (found.exact, found.estimates, found.notes) == (True, (), ())
    for part in found.held:
        assert close(part.margin, now - optimum(with_value(problem, i, part.expert, -np.inf)))
    for part in found.alternatives:
        assert close(part.missing, now - best_with(problem, i, part.expert))
        more = problem.replace(load_max=plus(problem.load_max, part.expert, 1))
        # A floor counts the added value, too.
        if part.slot_suffices and problem.client_fitness_min[i] == -np.inf:
            assert close(optimum(with_value(more, i, part.expert, 0.5)), optimum(more) + 0.5)
    slot = problem.replace(max_experts=plus(problem.max_experts, i, 1))
    assert close(found.slot_worth, optimum(slot) - now)
    for name, worth in found.budget_worth.items():
        part = problem.resources[name]
        free = replace(part, budget=plus(part.budget, i, np.inf))
        assert close(worth, optimum(problem.replace(resources={name: free})) - now)


@settings(max_examples=8)
@given(mip_problems(max_pairs=8, kinds=TAME), st.data())
def test_settled_worths_of_experts_are_differences_of_optima(problem, data):
    result = al.solve(problem)
    assume(result.status is al.Status.OPTIMAL)
    j = data.draw(st.integers(0, problem.n_experts - 1))
    explainer = al.Explainer(problem, result, exact=True, time_limit=1000)
    found, whole, now = explainer.expert(j), explainer.overall(), optimum(problem)
    assert found.exact and whole.exact
    more = optimum(problem.replace(load_max=plus(problem.load_max, j, 1))) - now
    assert close(found.slot_worth, more) and close(whole.slot_worth[j], more)
    less = optimum(problem.replace(load_min=plus(problem.load_min, j, -1))) - now
    assert close(found.minimum_worth, less) and close(whole.minimum_worth[j], less)
    for part in found.weakest:
        assert close(part.margin, now - optimum(with_value(problem, part.client, j, -np.inf)))
    slot = problem.replace(max_experts=plus(problem.max_experts, 0, 1))
    assert close(whole.client_slot_worth[0], optimum(slot) - now)


@settings(max_examples=15)
@given(any_problems(max_pairs=8, kinds=TAME))
def test_the_price_of_balance_counts_budgets_and_floors(problem):
    result = al.solve(problem)
    assume(result.has_answer)
    found = al.explain(problem, result)
    free = problem.replace(load_min=None, load_max=None, load_penalty=0, loads={})
    assert close(problem.sign * found.free, optimum(free))
    assert close(found.balance, abs(found.free - found.total))


@settings(max_examples=15)
@given(any_problems(max_pairs=8))
def test_every_number_is_there_and_labelled(problem):
    result = al.solve(problem)
    assume(result.has_answer)
    explainer = al.Explainer(problem, result)
    client, expert, whole = explainer.client(0), explainer.expert(0), explainer.overall()
    assert explainer.exact == (problem.problem_class == "flow")
    for found in (client, expert, whole):
        assert found.exact == (not found.estimates) == explainer.exact
        assert ("estimates" in found.text()) == (not explainer.exact)
        assert "price" not in found.text("owner").replace("price of balance", "")
    parts = [(part.price, part.margin) for part in client.held]
    parts += [(part.price, part.missing) for part in client.alternatives]
    assert not np.isnan(parts).any()
    assert not np.isnan([*whole.prices, *whole.slot_worth, *whole.client_slot_worth]).any()


FLEET = al.AlignmentProblem(
    [[5, 4, 3], [5, 4, 1], [3, 4, 2], [1, 2, 3]], 2, load_max=2, loads={
        "samples": al.Load([3.0, 1.0, 1.0, 2.0], max=4.0)},
    resources={"memory_mb": al.Resource([2, 3, 2], [4, 5, 3, 5])},
    client_ids=["ann", "bob", "cy", "dee"], expert_ids=["x", "y", "z"])  # fmt: skip


def test_bounds_are_given_where_time_is_short():
    result = al.solve(FLEET)
    found = al.explain(FLEET, result, client="ann", exact=True, time_limit=0)
    assert not found.exact
    assert found == al.explain(FLEET, result, client="ann") or found.estimates
    with pytest.raises(al.ProblemError, match="time_limit is -1"):
        al.explain(FLEET, result, exact=True, time_limit=-1)


def test_a_number_between_bounds_is_said_so(monkeypatch):
    from alignsolve.explain import resolving

    result = al.solve(FLEET)
    solve = resolving.solve_within

    def loosely(problem, limits):
        found = solve(problem, limits)
        if not found.has_answer:
            return found
        return replace(found, status=al.Status.FEASIBLE, dual_bound=found.objective_value + 0.25)

    monkeypatch.setattr(resolving, "solve_within", loosely)
    found = al.explain(FLEET, result, client="ann", exact=True, time_limit=1000)
    without = optimum(with_value(FLEET, 0, found.held[0].expert, -np.inf))
    margin = result.objective_value - without
    assert found.held[0].bounds == pytest.approx((max(0, margin - 0.25), margin))
    assert not found.held[0].exact
    assert " to " in found.held[0].text
    assert "slot_worth" in found.estimates


@pytest.mark.parametrize("few", [0, 1000])
def test_prices_are_near_what_slots_are_worth(few, monkeypatch):
    monkeypatch.setattr(own_problem, "FEW", few)
    rng = np.random.default_rng(0)
    problem = al.AlignmentProblem(
        rng.random((60, 3)), 1, load_max=14,
        resources={"mb": al.Resource([1, 1, 2], rng.integers(1, 3, 60))})
    found = al.explain(problem, al.solve(problem))
    assert found.slot_worth.max() > 0
    more, fewer = (al.solve(problem.replace(load_max=load)).objective_value for load in (15, 13))
    # A concave function of the places, nearly: its slope is between those on either side.
    assert (more - found.objective_value) - 0.02 <= found.slot_worth.sum()
    assert found.slot_worth.sum() <= (found.objective_value - fewer) + 0.02


def test_brute_force_is_of_the_same_problem():
    assert brute_force(FLEET)[0] == al.solve(FLEET).objective_value


def test_worths_of_bounds_count_where_these_bind():
    problem = al.AlignmentProblem(
        np.ones((3, 4)), 2, load_min=[0, 1, 1, 0], load_max=[1, 3, 1, 2],
        resources={"mb": al.Resource(1.0, 2.0)})
    estimates = Estimates(problem, al.solve(problem, "scipy-milp"))
    estimates.loads = np.array([1, 1, 1, 0])
    estimates.prices = SimpleNamespace(holder=lambda: np.array([0.5, -0.25, -0.75, -0.125]))
    # A further slot is worth the price where all are taken, one fewer costs it; a minimum is
    # worth what it pays its holders where it is just met. Expert 2 must have exactly one.
    assert estimates.slot_worth.tolist() == [0.5, 0, 0, 0]
    assert estimates.slot_loss.tolist() == [0.5, 0, np.inf, 0]
    assert estimates.need_worth.tolist() == [0, 0.25, 0.75, 0]
    estimates.prices = SimpleNamespace(holder=lambda: np.full(4, 0.5))
    assert estimates.slot_worth.tolist() == [0.5, 0, 0.5, 0]
    assert estimates.need_worth.tolist() == [0, 0, 0, 0]


def test_a_set_that_is_not_found_in_time_is_no_empty_set(monkeypatch):
    monkeypatch.setattr(own_problem, "NODES", 1)
    # Only sets whose sizes, which are their values, add up to the budget: hardly any.
    size = np.random.default_rng(0).integers(10**6, 10**7, 40).astype(float)
    budget = size[::2].sum()
    problem = al.AlignmentProblem(
        size[None], 40, client_fitness_min=budget, resources={"mb": al.Resource(size, budget)})
    value, held = own_problem.OwnProblems(problem).best(np.array([0]))
    assert not held.any()
    assert value[0] == pytest.approx(budget)


def test_each_question_gets_enough_of_a_short_time(monkeypatch):
    from alignsolve.explain import resolving

    now, granted = 0.0, []

    def answered(problem, limits):
        nonlocal now
        granted.append(round(limits.deadline - now, 9))
        # The first takes all that it is given, the others little.
        now = limits.deadline if len(granted) == 1 else now + 0.1
        return result

    result = al.solve(FLEET)
    monkeypatch.setattr(resolving, "time", SimpleNamespace(perf_counter=lambda: now))
    monkeypatch.setattr(resolving, "solve_within", answered)
    resolver = resolving.Resolver(FLEET, result, 1.0)
    resolver.left = 40
    while resolver.without(0, 0) is not None:
        pass
    assert granted == [0.25] * 7 + [0.15, 0.05]
