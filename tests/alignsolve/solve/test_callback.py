"""The callback of a solve: what it is told, how it stops, and what it raises."""

import math

import numpy as np
import pytest

import alignsolve as al
from alignsolve.backends import BACKEND_NAMES, Capabilities
from alignsolve.generators import generate
from alignsolve.model.problem import FLOW_FEATURES

AVAILABLE = al.available_backends()


def problem_for(name):
    """Return a problem that keeps a backend busy for a while."""
    if AVAILABLE[name].features <= FLOW_FEATURES:
        size = {"networkx": (400, 16), "scipy-lsa": (400, 16)}.get(name, (4000, 64))
        slots = {"scipy-lsa": 1}.get(name, 2)
        return generate("skewed", clients=size[0], experts=size[1], slots=slots)
    return generate("scarce", clients=80, experts=10, seed=5)


def backend_names():
    return [name for name in BACKEND_NAMES if isinstance(AVAILABLE[name], Capabilities)]


def check_states(problem, states):
    """Check what every sequence of states promises."""
    assert states
    assert all(isinstance(state, al.Progress) for state in states)
    seconds = [state.seconds for state in states]
    assert seconds == sorted(seconds)
    known = [state for state in states if not math.isnan(state.objective_value)]
    for state in known:
        ahead = problem.sign * (state.dual_bound - state.objective_value)
        assert ahead >= 0
        expected = ahead / max(1, abs(state.objective_value))
        assert state.gap == pytest.approx(expected, rel=1e-6, abs=1e-12) or math.isinf(state.gap)
    for state in states:
        if state not in known:
            assert math.isinf(state.gap)


@pytest.mark.parametrize("name", backend_names())
def test_every_backend_reports_start_and_end(name):
    problem, states = problem_for(name), []
    result = al.solve(problem, name, time_limit=1, callback=states.append)
    check_states(problem, states)
    assert math.isnan(states[0].objective_value)
    assert math.isinf(states[0].dual_bound)
    assert {state.backend for state in states} == {name}
    last = states[-1]
    assert (last.objective_value, last.dual_bound, last.gap) == pytest.approx(
        (result.objective_value, result.dual_bound, result.gap), nan_ok=True
    )
    # Better and better, never the other way round.
    values = [problem.sign * s.objective_value for s in states
              if not math.isnan(s.objective_value)]
    assert values == sorted(values)


@pytest.mark.parametrize("name", backend_names())
def test_stops_where_it_is_declared(name):
    problem, calls = problem_for(name), []

    def second(state):
        calls.append(state)
        return len(calls) >= 2

    limit = 20 if AVAILABLE[name].callback else 1
    result = al.solve(problem, name, time_limit=limit, callback=second)
    if AVAILABLE[name].callback:
        assert result.stats["total_seconds"] < 15
        assert len(calls) == 2
        if result.status is not al.Status.OPTIMAL:
            assert result.termination is al.Termination.INTERRUPTED
    else:
        assert [state.backend for state in calls] == [name, name]


@pytest.mark.parametrize("name", ["lagrangian", "ortools-cpsat", "ortools-mip", "greedy", "auto"])
def test_a_stop_keeps_the_best_answer_and_its_bound(name):
    problem = generate("scarce", clients=200, experts=16, seed=4)
    seen = []

    def first_answer(state):
        seen.append(state)
        return not math.isnan(state.objective_value)

    result = al.solve(problem, name, time_limit=60, callback=first_answer)
    assert result.termination is al.Termination.INTERRUPTED
    assert result.status is al.Status.FEASIBLE
    assert result.objective_value >= seen[-1].objective_value
    assert result.dual_bound <= seen[-1].dual_bound * (1 + 1e-9)
    assert result.stats["total_seconds"] < 50


def test_stops_at_once():
    problem = generate("scarce", clients=60, experts=8)
    for name in ("ortools-cpsat", "greedy"):
        result = al.solve(problem, name, callback=lambda state: True)
        assert result.status is al.Status.NO_SOLUTION_FOUND
        assert result.termination is al.Termination.INTERRUPTED
    # auto still gives what greedy finds in a moment, as after Ctrl-C.
    result = al.solve(problem, callback=lambda state: True)
    assert (result.backend, result.termination) == ("greedy", al.Termination.INTERRUPTED)


@pytest.mark.parametrize("name", [*backend_names(), "auto"])
@pytest.mark.parametrize("call", [1, 2])
def test_what_it_raises_comes_through(name, call):
    calls = []

    def broken(state):
        calls.append(state)
        if len(calls) == call:
            raise al.BackendError("the screen is gone")  # a class that auto itself handles

    problem = problem_for("lagrangian" if name == "auto" else name)
    with pytest.raises(al.BackendError, match=r"^the screen is gone$"):
        al.solve(problem, name, time_limit=1 if name == "ortools-scip" else 20, callback=broken)
    assert len(calls) == call


def test_numpy_booleans_and_truth():
    problem = al.AlignmentProblem([[1.0, 2.0]], 1)
    result = al.solve(problem, callback=lambda state: np.bool_(False))
    assert result.status is al.Status.OPTIMAL


def test_own_sense_of_costs():
    problem = generate("gap-c", agents=5, jobs=30)
    assert problem.sense == "min"
    states = []
    result = al.solve(problem, "ortools-cpsat", time_limit=5, callback=states.append)
    check_states(problem, states)
    assert all(state.dual_bound <= result.objective_value + 1e-6 for state in states[1:])


def test_elastic_reports_time_and_then_the_outcome():
    problem = generate("infeasible", cause="samples", clients=12, experts=6)
    states = []
    result = al.solve(problem, elastic=True, time_limit=10, callback=states.append)
    assert result.relaxations
    assert states[-1].objective_value == result.objective_value
    stopped = al.solve(problem, elastic=True, callback=lambda state: True)
    assert stopped.has_answer


def test_not_a_function():
    with pytest.raises(al.ProblemError, match=r"callback is 3; give a function of an al.Progress"):
        al.solve(al.AlignmentProblem([[1.0]], 1), callback=3)
