"""What greedy promises for the mip class: an answer soon, and not far from the best."""

import dataclasses
import itertools
import signal
import time
from fractions import Fraction

import numpy as np
import pytest

import alignsolve as al
from alignsolve.backends import get_backend
from alignsolve.backends.greedy.backend import GreedyBackend
from alignsolve.backends.greedy.by_expert import add_by_expert, scores_by_expert
from alignsolve.backends.greedy.excess import LEAST_EXCESS
from alignsolve.backends.greedy.fill import fill_experts
from alignsolve.backends.greedy.local_search import rotate, search
from alignsolve.backends.greedy.params import DEFAULTS, WorkBudget
from alignsolve.backends.greedy.prices import add_in_turn, learn_prices
from alignsolve.backends.greedy.state import State
from alignsolve.backends.greedy.take import Takers, add_by_client
from alignsolve.generators import generate
from alignsolve.interrupts import Call
from alignsolve.io.specs import read_spec
from alignsolve.model.feasibility import is_feasible
from alignsolve.progress import Reporter
from alignsolve.status import Limits, Termination
from tests.files import ROOT

FOLDER = ROOT / "instances" / "medium"


@pytest.mark.parametrize(
    ("kind", "apart"), [("a", 0.005), ("b", 0.01), ("c", 0.01), ("d", 0.01), ("e", 0.015)]
)
def test_generalized_assignment_is_near_the_best(kind, apart):
    spec = read_spec(FOLDER / f"gap-{kind}.toml")
    result = al.solve(spec.build(), "greedy")
    assert result.has_answer
    assert result.objective_value <= (1 + apart) * spec.best_known


def test_prices_of_the_budgets_divide_the_jobs():
    problem = generate("gap-e", seed=0, agents=20, jobs=200)
    state = State(problem)
    score = scores_by_expert(state, "price", WorkBudget())
    use = np.bincount(
        score.argmax(axis=0), weights=state.entries[0][score.argmax(axis=0), np.arange(200)],
        minlength=20,
    )
    # Cheapest jobs alone ask for several times what there is.
    assert use.max() < 2 * state.sum_high[0].min()
    add_by_expert(state, score, WorkBudget(), 0.1)
    assert state.excess() == 0


def test_penalties_of_a_change_are_the_difference_of_two_squares():
    problem = al.AlignmentProblem(np.zeros((4, 1)), 1, load_penalty=0.25, load_target=0.5)
    state = State(problem)
    state.hold(np.arange(2), np.zeros(2, dtype=np.int64))
    # Of 2 holders at a target of 1/2: (5/2)^2 - (3/2)^2 = 4, and (1/2)^2 - (3/2)^2 = -2.
    found = [float(state.expert_change(0, [np.array(change)])) for change in (1.0, -1.0)]
    assert found == [0.25 * 4, 0.25 * -2]


def test_an_expert_that_nobody_may_hold_stays_empty_and_others_are_filled():
    fitness = [[-np.inf, 1.0, 2.0], [-np.inf, 5.0, 3.0]]
    state = State(al.AlignmentProblem(fitness, 1, load_min=[1, 1, 1]), DEFAULTS)
    score = scores_by_expert(state, "value", WorkBudget())
    add_by_expert(state, score, WorkBudget(work=1e6), 0.0)
    rows, cols = state.pairs()
    assert sorted(zip(rows.tolist(), cols.tolist(), strict=True)) == [(0, 2), (1, 1)]


@pytest.mark.parametrize("seed", range(3))
def test_clients_that_add_in_turn_almost_meet_tight_loads(seed):
    problem = generate("scarce", seed=seed, clients=600, experts=16)
    state, rng = State(problem), np.random.default_rng(0)
    before = state.excess()
    prices = learn_prices(state, rng, None, WorkBudget())
    add_in_turn(state, prices, rng, WorkBudget())
    assert state.excess() < 0.01 * before
    assert not state.broken_clients().any()
    assert (state.amount <= state.high).all()


def test_a_load_of_few_clients_does_not_freeze_prices():
    problem = generate("scarce", seed=0, clients=600, experts=16)
    weight = np.zeros(600)
    weight[:3] = 1.0
    sparse = problem.replace(loads=dict(problem.loads) | {"few": al.Load(weight)})
    left = {}
    for name, each in (("plain", problem), ("sparse", sparse)):
        state, rng = State(each), np.random.default_rng(0)
        prices = learn_prices(state, rng, None, WorkBudget())
        prices = add_in_turn(state, prices, rng, WorkBudget())
        left[name] = state.excess()
        assert np.isfinite(prices).all()
    assert left["sparse"] <= 2 * left["plain"] + 1


def test_prices_forget_a_round_that_was_cut_short():
    state = State(generate("scarce", seed=0, clients=600, experts=16))
    # The same whether the work ends between two rounds or within the second one.
    found = [
        learn_prices(state, np.random.default_rng(0), None, WorkBudget(work=work))
        for work in (1 << 17, (1 << 17) + 1)
    ]
    assert (state.count == 0).all()
    np.testing.assert_allclose(*found)


def test_a_warm_start_is_where_it_begins():
    problem = generate("scarce", seed=4, clients=60, experts=8)
    best = al.solve(problem, time_limit=5)
    again = al.solve(problem, "greedy", warm_start=best)
    assert again.objective_value >= best.objective_value


def test_nothing_is_priced_where_no_budget_binds():
    problem = al.AlignmentProblem(np.random.default_rng(0).random((20, 60)), 60, load_min=1)
    budget = WorkBudget(work=1e9)
    scores_by_expert(State(problem), "price", budget)
    assert budget.work == 1e9


@pytest.mark.parametrize(
    ("family", "sizes"),
    [("scarce", {"squeeze": 0.3}), ("tiers", {}), ("multi-layer", {"experts": 12})],
)
def test_swaps_gain_and_break_nothing(family, sizes):
    problem = generate(family, seed=3, clients=200, **sizes)
    state, everyone = State(problem), np.arange(200)
    none = np.zeros_like(state.amount)
    away = np.random.default_rng(0).uniform(0, 200, none.shape) / state.load_unit[:, None]
    add_by_client(state, everyone, away, WorkBudget(), state.high)
    before, clients = problem.objective(*state.pairs()), state.broken_clients()
    Takers(state, everyone).swap(none, state.high, WorkBudget())
    assert problem.objective(*state.pairs()) > before
    assert not (state.broken_clients() & ~clients).any()
    assert (state.amount <= state.high).all()
    again = State(problem)
    again.hold(*state.pairs())
    np.testing.assert_allclose(again.sums, state.sums, rtol=1e-9, atol=1e-9)


def test_a_tight_fleet_is_answered_at_once():
    problem = generate("scarce", seed=1, clients=1000, experts=64)
    result = al.solve(problem, "greedy")
    assert result.objective_value > 5_000_000


@pytest.mark.parametrize("seed", range(4))
def test_filling_repairs_minima_and_breaks_nothing(seed):
    problem = generate("scarce", seed=seed, clients=300, experts=16)
    state = State(problem)
    none = np.zeros_like(state.amount)
    add_by_client(state, np.arange(300), none, WorkBudget(), state.high)
    before, clients = state.excess(), state.broken_clients()
    assert before > 0
    fill_experts(state, WorkBudget())
    # Without prices most hold what others lack, and not all can change.
    assert state.excess() < 0.25 * before
    assert not (state.broken_clients() & ~clients).any()
    assert (state.amount <= state.high).all()
    # The running sums are those of the pairs.
    again = State(problem)
    again.hold(*state.pairs())
    np.testing.assert_allclose(again.amount, state.amount, rtol=1e-9, atol=1e-9)


def test_filling_ends_where_nothing_helps():
    problem = al.AlignmentProblem(
        [[1.0, 2.0], [1.0, 2.0]], 1, load_min=[2, 1],
        resources={"mb": al.Resource([5, 1], 2)},
    )
    state = State(problem)
    state.hold(np.array([0, 1]), np.array([1, 1]))
    fill_experts(state, WorkBudget())
    assert state.excess() > 0  # expert 0 fits nobody, and expert 1 keeps its holder
    assert state.amount[0, 1] >= 1


@pytest.mark.parametrize("kind", "cde")
def test_a_first_answer_comes_before_anything_takes_long(kind, monkeypatch):
    # Every look at the clock costs 2 ms of 0.5 s: an answer has to be there after 250 of them,
    # where filling the experts one by one takes 1,600.
    problem = generate(f"gap-{kind}", seed=1, agents=40, jobs=1600)
    monkeypatch.setattr(time, "perf_counter", itertools.count(0, 0.002).__next__)
    result = al.solve(problem, "greedy", time_limit=0.5)
    assert result.has_answer
    assert result.termination is al.Termination.TIME_LIMIT


def test_limits_hold_where_exchanges_are_many():
    problem = generate("gap-d", seed=1, agents=40, jobs=1600)
    start = time.thread_time()
    al.solve(problem, "greedy", time_limit=0.5)
    assert time.thread_time() - start < 5  # without a limit: far longer


@pytest.mark.parametrize("kind", "acde")
def test_filling_by_share_keeps_every_bound_and_fills_all(kind):
    problem = generate(f"gap-{kind}", seed=2, agents=12, jobs=240)
    state = State(problem)
    score = scores_by_expert(state, "share", WorkBudget())
    add_by_expert(state, score, WorkBudget(), 0.5)
    rows, cols = state.pairs()
    assert np.array_equal(np.sort(cols), np.arange(240))
    used = np.bincount(rows, weights=state.entries[0][rows, cols], minlength=12)
    assert (used <= state.sum_high[0]).all()
    assert state.excess() == 0
    assert is_feasible(problem, rows, cols)


def test_an_expert_in_short_supply_goes_first():
    # Client 1 is all that expert 2 can have: experts 0 and 1 would lose little by client 0.
    score = np.array([[3.0, 3.0, -np.inf], [4.0, 5.0, 1.0]])
    state = State(al.AlignmentProblem(score, [2, 1], load_min=1))
    add_by_expert(state, score.copy(), WorkBudget(), 0.0)
    assert list(zip(*(part.tolist() for part in state.pairs()), strict=True)) == [
        (0, 0), (0, 1), (1, 2)]


def test_ctrl_c_is_no_time_limit(monkeypatch):
    def pressed(*_):
        signal.raise_signal(signal.SIGINT)
        return False

    monkeypatch.setattr("alignsolve.backends.greedy.backend.search", pressed)
    problem = generate("gap-d", seed=1, agents=5, jobs=20)
    with Call("answer") as call:
        limits = Limits(deadline=-np.inf, report=Reporter(problem, None, 0.0, call))
        outcome = get_backend("greedy").solve(problem, limits)
    assert outcome.termination is al.Termination.INTERRUPTED


def test_a_quick_first_answer_does_not_end_the_search(monkeypatch):
    # With a search that finds nothing, what is left of the flow class is a maximum flow.
    asked = []
    monkeypatch.setattr("alignsolve.backends.greedy.backend.search", lambda *_: False)
    monkeypatch.setattr(
        "alignsolve.infeasibility.max_flow.feasible_assignment", lambda *_: asked.append(1)
    )
    fitness = np.random.default_rng(0).random((20, 900))
    result = al.solve(al.AlignmentProblem(fitness, 50, load_min=1, load_max=1), "greedy")
    assert result.has_answer
    assert asked


@pytest.mark.parametrize(("grace", "ended"), [(0.0, "TIME_LIMIT"), (1e9, "HEURISTIC_DONE")])
def test_how_much_is_tried_is_given_to_the_backend(grace, ended):
    backend = GreedyBackend(params=dataclasses.replace(DEFAULTS, grace_seconds=grace))
    problem = generate("gap-d", seed=0, agents=5, jobs=10)
    assert backend.solve(problem, Limits(deadline=0.0)).termination is Termination[ended]


@np.vectorize(otypes=[object])
def exact(number):
    return Fraction(float(np.clip(number, -1e300, 1e300)))


def cost(state, exact=exact):
    """Return the value given up and what broken bounds cost, by the definition of both."""
    def excess(now, low, high, unit):
        now, low, high, unit = (exact(part) for part in (now, low, high, unit))
        outside = np.maximum(low - now, now - high)
        return np.where(outside > 0, np.maximum(outside / unit, exact(LEAST_EXCESS)), 0)

    loads = excess(state.amount, state.low, state.high, state.load_unit[:, None])
    own = [excess(*counted, 1.0).sum(axis=1) for _, *counted in state.counted]
    none = np.full_like(state.sums, -np.inf)
    own += map(excess, state.sums, none, state.sum_high, state.sum_unit)
    broken = (exact(state.expert_weight) * loads).sum()
    broken += (exact(state.client_weight) * np.array(own)).sum()
    return exact(state.strain) * broken - exact(state.values[state.held]).sum()


@pytest.mark.parametrize("seed", range(3))
def test_a_rotation_that_gains_does_lower_what_broken_bounds_cost(seed):
    state = State(generate("scarce", clients=20, experts=4, seed=seed).replace(load_min=16))
    rng = np.random.default_rng(seed)
    nodes, made = [None, *range(4)], 0
    for _ in range(300):
        state.hold(*np.nonzero(rng.random((20, 4)) < 0.6))
        state.client_weight = 10 ** rng.uniform(0, 7, state.client_weight.shape)
        state.expert_weight = 10 ** rng.uniform(0, 7, state.expert_weight.shape)
        path = rng.permutation(5)[: rng.integers(2, 5)]
        arcs = [(nodes[u], nodes[v]) for u, v in itertools.pairwise(path)]
        # Arcs of a cycle need not touch where an expert makes the one between them alone.
        arcs = arcs[::2] if rng.random() < 0.3 else arcs
        held, before = state.held.copy(), cost(state, np.asarray)
        if rotate(state, arcs):
            made += 1
            assert cost(state, np.asarray) < before
        else:
            assert (state.held == held).all()
    assert made > 30


def test_no_rotation_gains_by_the_rounding_of_large_weights():
    # All clients, experts and bounds are alike: many moves change what is broken, not by how much.
    problem = al.AlignmentProblem(
        np.ones((8, 3)), 2, load_min=1, load_max=2,
        loads={"samples": al.Load(np.full(8, 0.3), 0.1, 0.7)},
        resources={"mb": al.Resource(np.full((8, 3), 0.1), 0.25)},
    )
    state, rng = State(problem), np.random.default_rng(0)
    nodes, made = [None, *range(3)], 0
    for _ in range(200):
        state.hold(*np.nonzero(rng.random((8, 3)) < 0.7))
        state.client_weight[:] = state.expert_weight[:] = 1.5 ** rng.integers(0, 40)
        path = rng.permutation(4)[: rng.integers(2, 5)]
        before = cost(state)
        if rotate(state, [(nodes[u], nodes[v]) for u, v in itertools.pairwise(path)]):
            made += 1
            assert cost(state) < before
    assert made > 30


def test_a_repair_that_cannot_succeed_ends():
    problem = generate("scarce", clients=20, experts=4, squeeze=1.0, seed=4).replace(load_min=16)
    state, budget = State(problem), WorkBudget(work=1 << 26)
    state.hold(*np.nonzero(np.random.default_rng(0).random((20, 4)) < 0.6))
    found = search(state, np.random.default_rng(0), budget, DEFAULTS.escapes, lambda _: True)
    assert not found
    assert budget.work > 0.8 * (1 << 26)


def test_a_large_penalty_on_one_expert_hides_no_gain():
    rng = np.random.default_rng(0)
    fitness, use = rng.random((2, 200, 6))

    def solved(penalty):
        problem = al.AlignmentProblem(
            fitness, 2, min_experts=1, load_max=80, load_target=30,
            load_penalty=[penalty, 0, 0, 0, 0, 0], resources={"use": al.Resource(use, 1)})
        result = al.solve(problem, "greedy", threads=1)
        assert (result.col_ind == 0).sum() == 30
        assert State(problem).noise == 1e-12 * fitness.max()
        return fitness[result.row_ind, result.col_ind].sum()

    assert solved(1e11) > 0.995 * solved(10.0)
