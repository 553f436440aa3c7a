"""Layer groups: what falls apart, what shares slots, and the answers to both."""

import dataclasses
import importlib
import math
import threading
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import alignsolve as al
from alignsolve.backends import get_backend
from alignsolve.backends.exchange import ExchangeAnswer, group_rows, layers, solve_exchange
from alignsolve.backends.exchange.backend import ExchangeBackend, components_of
from alignsolve.backends.exchange.inputs import NONE, Groups, bounds_of, matrix_of
from alignsolve.backends.exchange.params import DEFAULTS
from alignsolve.kernels import compiled
from alignsolve.status import Limits

backend = importlib.import_module("alignsolve.backends.exchange.backend")

#: Four experts in two layers.
TWO = {"expert_group": [0, 1, 0, 1]}


def parts(max_experts, **bounds):
    """Return the groups that share slots, of two clients and `TWO`."""
    problem = al.AlignmentProblem(np.ones((2, 4)), max_experts, **TWO | bounds)
    return [part.tolist() for part in components_of(problem).members]


def test_groups_whose_bounds_imply_the_slots_are_apart():
    assert parts(2, group_min=1, group_max=1) == [[0], [1]]
    # Both slots are taken by the minima, or the minimum by both maxima.
    assert parts(2, group_min=1) == [[0], [1]]
    assert parts(4, min_experts=2, group_max=1) == [[0], [1]]
    assert parts(4) == [[0], [1]]


def test_another_thread_that_asks_for_other_components_changes_none(monkeypatch):
    mine, other = (al.AlignmentProblem(np.ones((2, 4)), 3, **TWO | more)
                   for more in ({}, {"group_max": 1}))
    found = components_of(mine)

    def switched():
        backend._latest = None
        components_of(other)
        return mine

    monkeypatch.setattr(backend, "_latest", (switched, found))
    assert components_of(mine) is found


def test_groups_share_slots_where_a_client_has_a_choice():
    assert parts(3, group_min=1) == [[0, 1]]
    assert parts(4, min_experts=3) == [[0, 1]]
    # One client is enough.
    assert parts([4, 3]) == [[0, 1]]


def test_bounds_of_a_component_are_those_that_slots_leave():
    problem = al.AlignmentProblem(
        np.ones((1, 6)), 4, expert_group=[2, 0, 0, 1, 1, 2], group_min=[1, 0, 0],
        group_max=[1, 2, 2],
    )
    found = components_of(problem)
    assert [part.tolist() for part in found.members] == [[0], [1, 2]]
    single, shared = found.component(0), found.component(1)
    assert single.experts.tolist() == [1, 2] and single.groups is None
    assert (single.slot_min.tolist(), single.slot_max.tolist()) == ([1], [1])
    # One of the four slots belongs to group 0.
    assert shared.experts.tolist() == [3, 4, 0, 5]
    assert (shared.slot_min.tolist(), shared.slot_max.tolist()) == ([0], [3])
    assert shared.groups.start.tolist() == [0, 2, 4]


def draw(seed, shape):
    """Return a random problem with groups of a few hundred pairs or more."""
    rng = np.random.default_rng(seed)
    n, m, n_groups = shape
    fitness = rng.integers(0, 5, (n, m)).astype(np.float64) if seed % 3 else rng.random((n, m))
    if rng.random() < 0.4:
        fitness[rng.random((n, m)) < 0.2] = -np.inf
    arguments = {"expert_group": rng.permutation(np.arange(m) % n_groups)}
    if rng.random() < 0.7:
        arguments["group_min"] = rng.integers(0, 2, (n, n_groups))
    if rng.random() < 0.7:
        arguments["group_max"] = rng.integers(1, 4, (n, n_groups))
    slots = rng.integers(n_groups, m + 1, n) if rng.random() < 0.7 else n_groups + 1
    mean = np.broadcast_to(slots, n).sum() / m
    if rng.random() < 0.8:
        arguments["load_max"] = np.ceil(mean * rng.uniform(0.4, 1.5, m))
    if rng.random() < 0.4:
        arguments["load_min"] = np.floor(mean * rng.uniform(0, 0.6, m))
    if rng.random() < 0.3:
        arguments["load_penalty"] = rng.random(m) / 10
    if rng.random() < 0.3:
        arguments |= {"switch_cost": rng.random(m), "held": rng.random((n, m)) < 0.2}
    return al.AlignmentProblem(fitness, slots, **arguments)


def assert_same(problem, result):
    other = al.solve(problem, "ortools-mcf")
    assert result.status is other.status
    if other.has_answer:
        assert result.status is al.Status.OPTIMAL, result.summary()
        assert result.objective_value == pytest.approx(other.objective_value, rel=1e-9)


@settings(max_examples=20)
@given(
    seed=st.integers(0, 10_000),
    shape=st.sampled_from([(30, 6, 2), (60, 10, 3), (150, 9, 4), (40, 16, 1)]),
)
def test_same_optimum_as_a_minimum_cost_flow(seed, shape):
    problem = draw(seed, shape)
    # Compiled from the first call: interpreted, it would do the same, slowly.
    with compiled():
        result = al.solve(problem, "exchange")
        assert_same(problem, result)
        if result.has_answer:
            changed = problem.replace(fitness=problem.fitness[::-1].copy())
            assert_same(changed, al.solve(changed, "exchange", warm_start=result))


@pytest.fixture(scope="module")
def deep():
    """Return a problem of four layers, and one of shared slots, both large enough for samples."""
    fitness = np.random.default_rng(5).random((3000, 32), dtype=np.float32)
    group = np.arange(32) // 8
    apart = al.AlignmentProblem(
        fitness, 4, expert_group=group, group_min=1, group_max=1, load_max=400
    )
    return apart, apart.replace(max_experts=6, min_experts=6, group_max=3, load_max=580)


def test_large_problems_are_proved_without_a_subsolver(deep):
    for problem, components in zip(deep, (4, 1), strict=True):
        result = al.solve(problem, "exchange")
        assert result.status is al.Status.OPTIMAL and result.certificate.kind == "prices"
        assert result.stats["components"] == components
        assert_same(problem, result)


def test_threads_change_nothing(deep, monkeypatch):
    monkeypatch.setattr(layers, "SMALL", 1)
    found = [al.solve(deep[0], "exchange", threads=threads) for threads in (1, 2, 5)]
    for other in found[1:]:
        assert (other.row_ind == found[0].row_ind).all()
        assert (other.col_ind == found[0].col_ind).all()
        assert (other.prices == found[0].prices).all()


@pytest.mark.parametrize("group", [np.arange(32) // 8, np.arange(32) % 4])
def test_layers_over_a_source(deep, group):
    changed = deep[0].replace(expert_group=group, load_penalty=0.001)
    rng, n = np.random.default_rng(0), changed.n_clients
    sources = [
        al.FunctionSource(lambda a, b: changed.fitness[a:b], (n, 32), np.float32, 700),
        al.FactorSource(rng.random((n, 3)), rng.random((32, 3)), 700),
    ]
    for source in sources:
        streamed = changed.replace(fitness=source)
        inside = changed.replace(fitness=source.in_memory())
        ours, theirs = al.solve(streamed, "exchange"), al.solve(inside, "exchange")
        assert ours.status is theirs.status is al.Status.OPTIMAL
        assert ours.objective_value == pytest.approx(theirs.objective_value, rel=1e-12)


@pytest.mark.parametrize("room", [DEFAULTS.room, 400 * 33])
def test_shared_slots_over_a_source(deep, room):
    few = ExchangeBackend(params=dataclasses.replace(DEFAULTS, room=room, drawn=2000))
    shared = deep[1].replace(load_penalty=0.001)
    streamed = shared.replace(fitness=al.ArraySource(shared.fitness, block_rows=700))
    found = few.solve(streamed, Limits())
    proof = al.certify(streamed, found.row_ind, found.col_ind, found.prices)
    assert proof.optimal
    best = al.solve(shared, "exchange").objective_value
    assert streamed.objective(found.row_ind, found.col_ind) == pytest.approx(best, rel=1e-12)
    assert few.solve(streamed.replace(load_max=400), Limits()).infeasible


@settings(max_examples=15)
@given(seed=st.integers(0, 10_000), shape=st.sampled_from([(30, 6, 2), (60, 10, 3)]))
def test_any_groups_over_a_source_as_in_memory(seed, shape):
    problem = draw(seed, shape)
    streamed = problem.replace(fitness=al.ArraySource(np.asarray(problem.fitness), block_rows=16))
    few = ExchangeBackend(params=dataclasses.replace(
        DEFAULTS, room=10 * shape[1], drawn=20 * shape[1], small=0, newton_clients=1))
    with compiled():
        found, here = few.solve(streamed, Limits()), al.solve(problem, "exchange")
    assert found.infeasible == (here.status is al.Status.INFEASIBLE)
    if here.has_answer:
        proof = al.certify(streamed, found.row_ind, found.col_ind, found.prices)
        assert proof.optimal
        value = streamed.objective(found.row_ind, found.col_ind)
        assert value == pytest.approx(here.objective_value, rel=1e-9, abs=1e-9)


def test_a_component_without_an_answer_names_its_experts():
    problem = al.AlignmentProblem(
        np.ones((6, 4)), 2, min_experts=2, **TWO, group_max=1, load_max=[9, 2, 9, 3]
    )
    answer = get_backend("exchange").solve(problem, Limits())
    assert answer.infeasible
    result = al.solve(problem, "exchange")
    assert result.status is al.Status.INFEASIBLE and result.conflict is not None


@pytest.mark.parametrize("questions", [0, 1])
def test_stopped_answers_keep_every_bound(deep, questions):
    for problem in deep:
        left = iter(range(questions))
        found = backend.solve_in_groups(
            components_of(problem), solve_exchange, problem.fitness, *problem.slot_bounds(),
            switch=None, threads=1, ready=True,
            should_stop=lambda left=left: next(left, None) is None,
            params=dataclasses.replace(DEFAULTS, grace=0.0),
            **backend.task_of(problem, Limits()),
        )  # fmt: skip
        assert found.status == "stopped" and found.feasible
        assert al.certify(problem, found.row_ind, found.col_ind).feasible


def test_repair_brings_shared_slots_within_bounds(deep):
    from alignsolve.backends.exchange.subproblem import Subproblem
    from alignsolve.backends.exchange.task import Task

    problem = deep[1]
    part = components_of(problem).component(0)
    matrix = matrix_of(problem.fitness, part.slot_min, part.slot_max, groups=part.groups)
    task = Task.of(*problem.fitness.shape, *problem.holder_bounds())
    bounds = bounds_of(*problem.fitness.shape, *problem.holder_bounds(), None)
    level = Subproblem(matrix, NONE, bounds, bounds.no_prices(), task)
    level.respond()
    assert level.imbalance()[2] > 0
    assert level.repair()
    rows, cols = level.pairs()
    assert al.certify(problem, rows, part.experts[cols]).feasible


def test_very_many_shared_experts_are_left_to_others(monkeypatch):
    monkeypatch.setattr(backend, "FEW_SHARED_PAIRS", 0)

    def problem(n):
        return al.AlignmentProblem(np.ones((n, 4)), 3, **TWO, group_min=1, load_max=6)

    with pytest.raises(al.UnsupportedProblemError, match="4 experts share slots of 7 clients"):
        al.solve(problem(7), "exchange")
    assert al.solve(problem(7)).backend == "ortools-mcf"
    assert al.solve(problem(8), "exchange").status is al.Status.OPTIMAL


def test_a_stalled_component_leaves_the_problem_to_others():
    problem = al.AlignmentProblem(np.ones((2, 4)), 2, **TWO, group_max=1)
    one = ExchangeAnswer("optimal", np.array([0]), np.array([1]), np.ones(2), feasible=True)
    stalled = ExchangeAnswer("stalled", prices=np.array([2.0, 3.0]))
    found = layers.join([one, stalled], components_of(problem), 0.5)
    assert found.status == "stalled"
    assert found.prices.tolist() == [1, 2, 1, 3]
    assert backend.answer_of(found, Limits()).row_ind is None
    both = layers.join([one, one], components_of(problem), 0.5)
    assert (both.row_ind.tolist(), both.col_ind.tolist()) == ([0, 0], [2, 3])


def test_the_caller_is_asked_while_it_waits_for_other_threads():
    caller, asked, begun = threading.get_ident(), threading.Event(), threading.Event()

    def wish():
        assert threading.get_ident() == caller
        if begun.is_set():
            asked.set()
        return asked.is_set()

    stop = layers.SharedStop(wish)

    def solve(_):
        if threading.get_ident() == caller:
            # The other thread has a component of its own by then, and the caller nothing to do.
            assert begun.wait(60)
        else:
            begun.set()
            assert asked.wait(60)
        return ExchangeAnswer("stopped")

    assert len(layers._each(solve, 2, 2, stop)) == 2
    assert asked.is_set() and stop.stopped


def test_what_one_thread_raises_stops_the_others():
    caller, begun = threading.get_ident(), threading.Event()
    stop, done = layers.SharedStop(None), []

    def solve(number):
        if threading.get_ident() != caller:
            assert begun.wait(60)
            raise MemoryError("no memory")
        begun.set()
        waited = time.perf_counter()
        while not stop():
            assert time.perf_counter() < waited + 60
            time.sleep(0.001)
        done.append(number)
        return ExchangeAnswer("stopped")

    with pytest.raises(MemoryError, match="no memory"):
        layers._each(solve, 20, 2, stop)
    assert len(done) == 1


def test_the_first_infeasible_component_ends_the_run():
    asked = []

    def solve(number):
        asked.append(number)
        return ExchangeAnswer("infeasible" if number in (2, 4) else "optimal")

    found = layers._each(solve, 9, 1, layers.SharedStop(None))
    assert [part.status for part in found] == ["optimal", "optimal", "infeasible"]
    assert asked == [0, 1, 2]


@pytest.mark.parametrize("first", ["optimal", "infeasible"])
def test_an_infeasible_component_stops_later_ones_alone(first):
    stop, asked, begun = layers.SharedStop(None), [], threading.Barrier(3)

    def solve(number):
        asked.append(number)
        if number > 2:
            return ExchangeAnswer("optimal")
        begun.wait(60)
        waited = time.perf_counter()
        if number != 1:
            while math.isinf(stop.infeasible):
                assert time.perf_counter() < waited + 60
                time.sleep(0.001)
        stopped = stop.for_component(number)
        assert stopped == (number == 2)
        return ExchangeAnswer("stopped" if stopped else "infeasible" if number else first)

    found = layers._each(solve, 20, 3, stop)
    assert [part.status for part in found] == [first, "infeasible"][: 1 + (first == "optimal")]
    assert sorted(asked) == [0, 1, 2]


def test_the_verdict_on_layers_does_not_depend_on_threads(monkeypatch):
    # Of layers 2 and 5 clients must hold one expert each; of these only one has values in layer 2.
    rng = np.random.default_rng(4)
    fitness = rng.random((900, 16))
    fitness[:500, 5] = fitness[:500, 11] = -np.inf
    problem = al.AlignmentProblem(
        fitness, 8, expert_group=np.arange(16) // 2, group_min=1, group_max=1,
        load_max=[450 if k in (4, 10) else 900 for k in range(16)])
    told = []
    monkeypatch.setattr(layers, "SMALL", 0)
    for threads in (1, 2):
        found = al.solve(problem, "exchange", threads=threads)
        assert found.status is al.Status.INFEASIBLE
        assert found.stats["components"] == 3
        told.append(str(found.conflict))
    assert told[0] == told[1] and "450" in told[0]


@pytest.mark.parametrize(("low", "high", "slots", "reduced", "held", "slack"), [
    # The one slot must be used: giving up 0.5 for nothing would cost 0.5, and is no choice.
    ([0, 0], [1, 1], (1, 1), [0.5, -1, -1, -1], [0], 1.5),
    ([0, 0], [1, 1], (0, 1), [0.5, -1, -1, -1], [0], 0.5),
    # Group 0 must have one: group 1 has a nearer expert.
    ([1, 0], [1, 1], (1, 1), [0.5, -1, -0.25, -1], [0], 1.5),
    ([0, 0], [1, 1], (1, 1), [0.5, -1, -0.25, -1], [0], 0.75),
    # Both groups are full, and only swaps within them are left.
    ([0, 0], [1, 1], (2, 4), [4, 2, 3, 0], [0, 2], 2.0),
    ([0, 0], [1, 2], (2, 4), [4, 2, 3, 0.5], [0, 2, 3], 0.5),
])  # fmt: skip
def test_the_slack_within_groups_is_the_least_loss_of_a_swap(
    low, high, slots, reduced, held, slack
):
    fitness = np.array([reduced], dtype=np.float64)
    groups = Groups(np.array([0, 2, 4]), np.array([low]), np.array([high]))
    matrix = matrix_of(fitness, *slots, groups=groups)
    found, count = np.zeros(4, np.int32), np.zeros(1, np.int32)
    least, other, load = np.zeros(1, np.float32), np.zeros(1, np.int32), np.zeros(5, np.int64)
    bad = group_rows.respond_in_groups.py_func(
        matrix.read, matrix.limits(NONE), NONE, 0, 1, 4, np.zeros(5), np.full(4, 0.25), False,
        (np.zeros(1, np.int64), found, count), least, other, load)
    assert bad == -1
    assert sorted(found[:count[0]].tolist()) == held
    assert least[0] == pytest.approx(slack, rel=1e-6)


def test_sizes_of_large_groups_do_not_wrap():
    problem = al.AlignmentProblem(np.zeros((1, 300)), 200, min_experts=200,
                                  expert_group=np.arange(300) % 2)
    found = components_of(problem)
    assert (found.low.tolist(), found.high.tolist()) == ([[50, 50]], [[150, 150]])
