"""Ctrl-C in solve, and in what calls solve for its own ends: answered, or raised and undone."""

import signal
import subprocess
import sys

import numpy as np
import pytest

import alignsolve as al
from alignsolve.generators import generate
from tests.files import ROOT

SOLVING = sys.modules["alignsolve.solve.solve"]  # `alignsolve.solve` is the function
FLOW = al.AlignmentProblem([[3, 1], [2, 2.5]], 1, load_max=1)
MIXED = al.AlignmentProblem(
    np.ones((4, 3)), 2, load_min=2, resources={"mb": al.Resource([3, 4, 5], [3, 3, 4, 4])}
)


def pressing(monkeypatch, owner, name, times=1):
    """Let Ctrl-C be pressed in each of the first calls of a function."""
    real, left = getattr(owner, name), [None] * times

    def pressed(*arguments, **more):
        if left:
            left.pop()
            signal.raise_signal(signal.SIGINT)
        return real(*arguments, **more)

    monkeypatch.setattr(owner, name, pressed)


def test_a_loop_of_solves_ends_at_the_second(monkeypatch):
    pressing(monkeypatch, SOLVING, "certify_answer", times=2)
    results = []

    def loop():
        for _ in range(10):
            results.append(al.solve(FLOW))

    with pytest.raises(KeyboardInterrupt):
        loop()
    assert [result.termination for result in results] == [al.Termination.INTERRUPTED]
    assert results[0].objective_value == 5.5
    assert al.solve(FLOW).termination is al.Termination.PROVED


def test_the_caller_may_choose_to_raise(monkeypatch):
    pressing(monkeypatch, SOLVING, "certify_answer")
    with pytest.raises(KeyboardInterrupt):
        al.solve(FLOW, on_interrupt="raise")
    with pytest.raises(al.ProblemError, match="on_interrupt is 'stop'; give 'answer' or 'raise'"):
        al.solve(FLOW, on_interrupt="stop")


@pytest.mark.parametrize("name", ["networkx", "scipy-lsa", "ortools-mcf", "exchange", "greedy"])
def test_every_backend_of_the_flow_class_tells_of_it(monkeypatch, name):
    pressing(monkeypatch, SOLVING, "run_backend")
    result = al.solve(al.AlignmentProblem([[3, 1], [2, 2.5]], 1, load_max=1), name)
    assert result.termination is al.Termination.INTERRUPTED


@pytest.mark.parametrize("name", ["lagrangian", "ortools-mip", "ortools-cpsat", "scipy-milp"])
def test_the_search_ends_and_keeps_its_answer(name):
    """With no limit but a real Ctrl-C, pressed where a first answer is known."""
    problem = generate("gap-d", seed=3, agents=20, jobs=100)
    warm = al.solve(problem, "greedy")
    calls = []

    def press_later(state):
        calls.append(state)
        if len(calls) == 2:
            signal.raise_signal(signal.SIGINT)

    result = al.solve(problem, name, callback=press_later, warm_start=warm, time_limit=120)
    assert result.termination is al.Termination.INTERRUPTED
    assert result.objective_value <= warm.objective_value
    assert result.stats["total_seconds"] < 100


@pytest.mark.parametrize("place", [
    "alignsolve.elastic.solving.least_violation", "alignsolve.elastic.mip.least_violating_answer",
])
def test_relaxed_bounds_still_have_an_answer(monkeypatch, place):
    owner, name = place.rsplit(".", 1)
    __import__(owner)
    pressing(monkeypatch, sys.modules[owner], name)
    result = al.solve(MIXED, elastic=True)
    assert result.termination is al.Termination.INTERRUPTED
    assert result.has_answer
    assert result.relaxations


def test_an_infeasible_problem_stays_so_while_a_conflict_is_sought(monkeypatch):
    pressing(monkeypatch, sys.modules["alignsolve.solve.conflicts"], "find_conflict")
    result = al.solve(MIXED)
    assert result.status is al.Status.INFEASIBLE
    assert result.termination is al.Termination.INTERRUPTED


# -- the aligner ---------------------------------------------------------------------------


def aligner_after(rounds, log=None):
    aligner = al.Aligner(n_experts=3, seed=5, log=log)
    for _ in range(rounds):
        plan = aligner.plan(["a", "b", "c"])
        aligner.observe(plan, reports_of(plan))
    return aligner


def reports_of(plan):
    return [
        al.ClientReport(client, plan.round, samples=5, seconds=1.0, experts={
            int(expert): al.ExpertReport(samples=5, loss=0.1 + 0.2 * int(expert))
            for expert in plan.experts_of(client)})
        for client in plan.clients
    ]  # fmt: skip


def assert_same_state(one, other):
    mine, theirs = one.state_dict(), other.state_dict()
    arrays, expected = mine.pop("arrays"), theirs.pop("arrays")
    assert mine == theirs
    assert arrays.keys() == expected.keys()
    for name, array in arrays.items():
        np.testing.assert_array_equal(array, expected[name], err_msg=name)


PLACES = [(SOLVING, "certify_answer"), (al.Aligner, "_open"), (SOLVING, "checked_limits")]


@pytest.mark.parametrize(("owner", "name"), PLACES, ids=[name for _, name in PLACES])
def test_a_plan_that_was_interrupted_was_never_made(monkeypatch, owner, name):
    aligner, twin = aligner_after(2), aligner_after(2)
    with monkeypatch.context() as patch:
        pressing(patch, owner, name)
        with pytest.raises(KeyboardInterrupt):
            aligner.plan(["c", "d", "e"])
    assert_same_state(aligner, twin)
    for clients in (["e", "a", "b"], ["a", "b", "c"]):
        plan, expected = aligner.plan(clients), twin.plan(clients)
        assert plan.round == expected.round
        assert plan.col_ind.tolist() == expected.col_ind.tolist()
        aligner.observe(plan, reports_of(plan))
        twin.observe(expected, reports_of(expected))
        assert_same_state(aligner, twin)


def test_an_open_round_stays_open_where_planning_it_again_is_interrupted(monkeypatch):
    aligner = aligner_after(1)
    plan = aligner.plan(["a", "b", "c"])
    with monkeypatch.context() as patch:
        pressing(patch, al.Aligner, "_open")
        with pytest.raises(KeyboardInterrupt):
            aligner.replan(plan, ["b"])
    assert aligner.open_plan is plan
    assert aligner.observe(plan, reports_of(plan)).accepted == 3


def test_reports_are_taken_in_as_a_whole(monkeypatch):
    aligner, twin = aligner_after(1), aligner_after(1)
    plan, expected = aligner.plan(["a", "b"]), twin.plan(["a", "b"])
    twin.observe(expected, reports_of(expected))
    with monkeypatch.context() as patch:
        pressing(patch, type(aligner.tables), "learn")
        with pytest.raises(KeyboardInterrupt):
            aligner.observe(plan, reports_of(plan))
    assert_same_state(aligner, twin)


# -- kernels -------------------------------------------------------------------------------

LOADING = """
import os, signal, sys, threading, time
import numpy as np
import alignsolve as al

signal.signal(signal.SIGINT, signal.default_int_handler)

def press():
    while "numba.core" not in sys.modules:
        time.sleep(0.0005)
    os.kill(os.getpid(), signal.SIGINT)

problem = al.AlignmentProblem([[3, 1], [2, 2.5]], 1, load_max=1)
threading.Thread(target=press).start()
try:
    if sys.argv[1] == "certify":
        # Small answers are judged without kernels.
        al.certify(al.AlignmentProblem(np.ones((200, 100)), 1), range(200), [0] * 200)
    else:
        # Small problems are solved without loading anything.
        large = al.AlignmentProblem(np.ones((200, 100)), 1)
        print(al.solve(large, "exchange").termination.value)
except KeyboardInterrupt:
    print("raised")
print(al.certify(problem, [0, 1], [0, 1]).optimal, al.solve(problem).status.value)
"""


@pytest.mark.parametrize(("what", "told"), [("certify", "raised"), ("solve", "interrupted")])
def test_kernels_that_are_being_loaded_stay_whole(what, told):
    done = subprocess.run([sys.executable, "-c", LOADING, what], capture_output=True, text=True,
                          timeout=200, check=False, cwd=ROOT)
    assert done.stdout.split() == [told, "True", "optimal"], done.stderr
