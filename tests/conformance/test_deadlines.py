"""Every deadline, by a clock that the test moves: it is kept, and counts as no proof."""

import math
import time
from types import SimpleNamespace

import numpy as np
import pytest

import alignsolve as al
from alignsolve.backends.exchange import algorithm, paths, solve_exchange
from alignsolve.backends.exchange.task import Stop
from alignsolve.backends.greedy.params import WorkBudget
from alignsolve.backends.incumbent import SharedIncumbent
from alignsolve.backends.lagrangian.best_response_search import BestResponseSearch
from alignsolve.backends.lagrangian.bound import Relaxation
from alignsolve.backends.lagrangian.proximal_newton import Curvature, clear
from alignsolve.backends.lagrangian.subgradient import subgradient_ascent
from alignsolve.backends.milp import linear_solve
from alignsolve.certificate import subgradient
from alignsolve.certificate.certificate import certify_answer
from alignsolve.certificate.polish import polish
from alignsolve.elastic import descent, mip, solving
from alignsolve.elastic.flow import least_violation
from alignsolve.elastic.violation_weights import checked_weights
from alignsolve.infeasibility import deletion_filter
from alignsolve.infeasibility.farkas import linear_core
from alignsolve.infeasibility.max_flow import feasible_assignment
from alignsolve.model.bounds import BoundSet, all_bounds
from alignsolve.model.feasibility import Assignment
from alignsolve.status import Limits, Outcome, Termination

NOW = 100.0


class Clock:
    """Shows `now`, and goes on by `step` with each look at it."""

    def __init__(self) -> None:
        self.now, self.step = NOW, 0.0

    def __call__(self) -> float:
        self.now += self.step
        return self.now


@pytest.fixture
def clock(monkeypatch):
    made = Clock()
    monkeypatch.setattr(time, "perf_counter", made)
    return made


ROWS = np.arange(4)
#: Clients in pairs that had better change places.
SWAPS = al.AlignmentProblem([[1.0, 3.0, 0, 0], [4.0, 1.0, 0, 0], [0, 0, 1.0, 5.0],
                             [0, 0, 6.0, 1.0]], 1, min_experts=1, load_max=1)


@pytest.mark.parametrize(("deadline", "most", "ended", "exchanges"), [
    (NOW, 200, Termination.PROVED, 2), (NOW - 0.1, 200, Termination.TIME_LIMIT, 0),
    (math.inf, 1, Termination.WORK_LIMIT, 1), (math.inf, 2, Termination.PROVED, 2),
])
def test_polishing_begins_no_exchange_too_late(clock, deadline, most, ended, exchanges):
    found = polish(SWAPS, ROWS, ROWS, 0.0, deadline, most)
    assert (found.termination, found.stats["polishing_exchanges"]) == (ended, exchanges)
    assert (found.prices is None) == (ended is not Termination.PROVED)
    value = SWAPS.objective(found.row_ind, found.col_ind)
    assert value in {0: [4], 1: [9, 13], 2: [18]}[exchanges]


def test_bounds_are_sharpened_until_the_deadline(clock, monkeypatch):
    passes, real = [], subgradient.client_sums
    monkeypatch.setattr(subgradient, "client_sums", lambda *a: passes.append(1) or real(*a))
    held = Assignment.of(SWAPS, ROWS, ROWS)
    answer = Outcome(Termination.WORK_LIMIT)
    for deadline, counted in ((NOW - 1, 1), (NOW, None)):
        passes.clear()
        certify_answer(SWAPS, held, answer, deadline)
        assert len(passes) == 1 if counted else len(passes) > 1
    passes.clear()
    clock.step = 1.0
    alike = SWAPS.replace(fitness=[[5.0, 1, 0, 0], [6, 1, 0, 0], [7, 1, 0, 0], [8, 1, 0, 0]])
    subgradient.improved_prices(alike, ROWS, ROWS, np.zeros(4), deadline=NOW + 2.5)
    assert len(passes) == 3
    passes.clear()
    subgradient.improved_prices(alike, ROWS, ROWS, np.zeros(4), updates=1)
    assert len(passes) == 2


#: Only a phase of a flow finds out that client 0 had better hold expert 1.
FLOW = al.AlignmentProblem([[1.0, 1.0], [1.0, -np.inf]], 1, min_experts=1, load_max=1)
MIP = FLOW.replace(resources={"mb": al.Resource(1.0, 1.0)})
#: The same with a budget that only a solver finds too small.
TIGHT = al.AlignmentProblem(np.ones((1, 2)), 2, min_experts=2,
                            resources={"mb": al.Resource([2.0, 3.0], 4.0)})


def test_a_flow_out_of_time_proves_nothing(clock, monkeypatch):
    assert feasible_assignment(FLOW, NOW) is not None
    assert feasible_assignment(FLOW, NOW - 1) is None
    every = all_bounds(MIP)
    monkeypatch.setattr(deletion_filter, "is_feasible", lambda *_: False)
    monkeypatch.setattr(deletion_filter, "feasible_assignment", lambda *_: None)
    for deadline, kind in ((NOW + 1, BoundSet), (NOW - 1, type(None)), (NOW, type(None))):
        assert isinstance(deletion_filter.decide(MIP, every, None, Limits(deadline)), kind)


@pytest.mark.parametrize(("outcome", "kind"), [
    (Outcome.nothing(Termination.TIME_LIMIT), type(None)),
    (Outcome.nothing(Termination.WORK_LIMIT), type(None)),
    (Outcome.proved_infeasible(), BoundSet),
])
def test_a_solver_out_of_time_proves_nothing(outcome, kind, monkeypatch):
    monkeypatch.setattr(deletion_filter, "linear_core", lambda *_: None)
    found = deletion_filter.decide(TIGHT, all_bounds(TIGHT), lambda *_: outcome, Limits())
    assert isinstance(found, kind)


def test_a_relaxation_is_not_begun_too_late(clock):
    assert linear_core(TIGHT, all_bounds(TIGHT), NOW - 1) is None
    assert linear_core(TIGHT, all_bounds(TIGHT)) is not None


def test_the_least_violation_is_given_up_too_late(clock):
    weights = checked_weights(FLOW, True)
    assert least_violation(FLOW, weights, NOW - 1) is None
    assert least_violation(FLOW, weights, NOW) is not None


@pytest.mark.parametrize(("kind", "share"), [(FLOW, 0.7), (MIP, 0.4)])
def test_a_share_of_the_time_is_for_the_problem_as_it_stands(clock, kind, share):
    assert solving._early(kind, Limits(NOW + 10)).deadline == pytest.approx(NOW + 10 * share)


def test_a_model_of_violations_is_not_begun_too_late(clock, monkeypatch):
    model = mip._Model(TIGHT, checked_weights(TIGHT, True))
    called = []
    monkeypatch.setattr(
        model, "_solved",
        lambda limits: called.append(limits.deadline) or linear_solve.ModelOutcome())
    assert model.solve(Limits(NOW + 10)) is None
    assert called == [NOW + 5]
    clock.step = 1.0
    assert model.solve(Limits(NOW)) is None
    assert called == [NOW + 5]


#: Two clients that have to change places, which no move of one of them does.
CROSSED = al.AlignmentProblem(np.ones((2, 2)), 1, load_min=1, load_max=1,
                              loads={"samples": al.Load([10, 1], max=[5, 20])})


def test_small_moves_end_at_the_deadline(clock):
    weights = checked_weights(CROSSED, True)
    nothing = np.empty(0, dtype=np.int64)
    assert descent.descended(CROSSED, weights, nothing, nothing, NOW - 1)[0].size == 0
    assert descent.descended(CROSSED, weights, nothing, nothing, NOW + 1)[0].size == 2


def test_exchanges_begin_no_later_than_the_deadline(clock, monkeypatch):
    weights, both = checked_weights(CROSSED, True), np.arange(2)
    assert descent.descended(CROSSED, weights, both, both, NOW + 1)[1].tolist() == [1, 0]
    monkeypatch.setattr(descent._Descent, "_passes",
                        lambda self, deadline: setattr(clock, "now", deadline + 1))
    assert descent.descended(CROSSED, weights, both, both, NOW + 1)[1].tolist() == [0, 1]
    monkeypatch.undo()
    monkeypatch.setattr(time, "perf_counter", lambda: NOW)
    # At the deadline itself moves are still made, but no exchange fits in no time.
    assert descent.descended(CROSSED, weights, both, both, NOW)[1].tolist() == [0, 1]


def test_stop_is_by_deadline_or_wish_and_final(clock):
    stop = Stop(NOW, None)
    assert not stop()
    clock.now += 0.1
    assert stop()
    clock.now = NOW
    assert stop()
    asked = iter([False, True])
    stop = Stop(None, lambda: next(asked))
    assert [stop(), stop(), stop()] == [False, True, True]


def test_paths_stop_and_a_grace_makes_the_answer_feasible(clock):
    fitness = np.random.default_rng(0).random((60, 4))
    arguments = 1, 1, 0, 15
    found = solve_exchange(fitness, *arguments, deadline=NOW)
    assert (found.status, found.feasible) == ("optimal", True)
    # Late from the first look on: but the clock stands still, and the grace never ends.
    assert solve_exchange(fitness, *arguments, deadline=NOW - 1).status == "optimal"
    clock.step = 1.0
    found = solve_exchange(fitness, *arguments, deadline=NOW - 1)
    assert (found.status, found.feasible) == ("stopped", True)
    assert found.row_ind.size == 60


def test_moving_excess_asks_before_each_phase(monkeypatch):
    levels, real = [], algorithm.solve_level
    monkeypatch.setattr(algorithm, "solve_level", lambda level, exact: levels.append(level) or 0)
    solve_exchange(np.random.default_rng(0).random((60, 4)), 1, 1, 0, 15)
    monkeypatch.setattr(algorithm, "solve_level", real)
    level = levels[-1]
    assert level.imbalance()[2] > 0
    assert algorithm.move_excess(level, lambda: True) == paths.MORE
    assert algorithm.move_excess(level, lambda: False) == paths.DONE
    assert algorithm.move_excess(level, lambda: True) == paths.DONE  # nothing is left to do


def test_budgets_of_work_are_spent_by_time_work_or_wish(clock):
    assert not WorkBudget(NOW, 1).is_spent()
    assert WorkBudget(NOW - 0.1, 1).is_spent()
    assert WorkBudget(NOW, 0).is_spent()
    assert WorkBudget(NOW, 1, lambda: True).is_spent()
    budget = WorkBudget(NOW, 10)
    assert [block.stop - block.start for block in budget.blocks(3, 2)] == [3]
    assert budget.work == 4
    assert not list(WorkBudget(NOW, 0).blocks(3, 2))


def test_time_that_remains(clock):
    assert Limits(NOW + 3).remaining() == 3
    assert Limits(NOW - 3).remaining() == 0
    assert Limits().remaining() == math.inf


BOUND = MIP.replace(load_max=2, loads={"s": al.Load([1.0, 2.0], max=2.0)})


def test_a_search_is_over_at_the_deadline(clock):
    incumbent = SharedIncumbent(BOUND, Limits(NOW + 1))
    assert not incumbent.is_over
    clock.now += 1
    assert incumbent.is_over


@pytest.mark.parametrize("search", [
    lambda relaxation, start, **limits: subgradient_ascent(
        relaxation, relaxation.responses(start.prices), distance=1.0, seen=lambda _: False,
        **limits),
    lambda relaxation, start, **limits: clear(
        relaxation, start.prices, Curvature.guess(relaxation), **limits),
])
def test_prices_are_improved_until_the_deadline(search, clock, monkeypatch):
    rng = np.random.default_rng(0)
    problem = al.AlignmentProblem(rng.random((8, 3)), 1, min_experts=1, load_max=[3, 3, 3],
                                  loads={"s": al.Load(rng.random(8), max=1.3)})
    relaxation, asked = Relaxation(problem, 1), []
    start, real = relaxation.responses(np.zeros(relaxation.shape)), relaxation.responses
    monkeypatch.setattr(relaxation, "responses", lambda *a: asked.append(1) or real(*a))
    for deadline, passes in ((NOW, 1), (NOW + 2.5, 3)):
        asked.clear()
        clock.now, clock.step = NOW, float(deadline > NOW)
        search(relaxation, start, deadline=deadline, max_passes=50)
        assert len(asked) == passes


def test_clients_respond_until_the_deadline(clock):
    relaxation = Relaxation(BOUND, 1)
    held = np.zeros((2, 2), dtype=bool)
    for deadline, changed in ((NOW, 0), (NOW + 1, 1)):
        search = BestResponseSearch(relaxation, SharedIncumbent(BOUND, Limits(deadline)))
        known = relaxation.known.copy()
        prices, pull = np.zeros(relaxation.shape), np.zeros(len(relaxation.loads.names))
        amounts = search._amounts(held)
        assert search._sweep(prices, held, known, amounts, 1e3, pull) == changed


@pytest.mark.parametrize(("seconds", "left"), [(10.0, 9.95), (0.5, 0.475), (math.inf, math.inf)])
def test_a_solver_of_linear_models_leaves_time_for_what_follows(clock, seconds, left):
    task = linear_solve._task(SimpleNamespace(pairs=None), None, Limits(NOW + seconds))
    assert task.limits.deadline == pytest.approx(NOW + left)
