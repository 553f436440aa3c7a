"""Conflicts: really contradictory, without a bound too many, and said in a sentence."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
import time
import tracemalloc

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import alignsolve as al
from alignsolve import infeasibility, kernels
from alignsolve.infeasibility import Bound, Conflict, ConflictCheck, deletion_filter
from alignsolve.infeasibility.farkas import bound_rows, linear_core
from alignsolve.infeasibility.max_flow import feasible_assignment
from alignsolve.model.bounds import FAMILY_LIMIT, all_bounds
from alignsolve.model.feasibility import is_feasible, violations
from alignsolve.solve.conflicts import check_conflict, find_conflict
from alignsolve.status import Limits, Outcome, Termination
from tests.strategies import any_problems, brute_force, flow_problems, mip_problems

SHOWN = ConflictCheck(contradictory=True, irreducible=True)


def keep_only(problem, bounds):
    """Return the problem with only the given bounds in force, built bound by bound."""
    n, m, groups = problem.n_clients, problem.n_experts, problem.n_groups
    base = problem.replace(
        max_experts=m, min_experts=0, load_min=None, load_max=None, load_penalty=0, held=None,
        switch_cost=0, loads=None, resources=None, group_min=None, group_max=None,
        **{"client_fitness_min" if problem.sense == "max" else "client_cost_max": None},
    )
    arguments = {
        "max_experts": np.full(n, m), "min_experts": np.zeros(n),
        "load_min": np.full(m, -np.inf), "load_max": np.full(m, np.inf),
        "floor": np.full(n, -np.inf if problem.sense == "max" else np.inf),
        "group_min": np.zeros((n, groups)), "group_max": np.full((n, groups), m),
    }
    loads = {
        name: {"min": np.full(m, -np.inf), "max": np.full(m, np.inf)} for name in problem.loads
    }
    budgets = {name: np.full(n, np.inf) for name in problem.resources}
    for bound in bounds:
        for i in [bound.client] if bound.clients is None else bound.clients:
            if bound.kind == "resource":
                budgets[bound.name][i] = bound.value
            elif bound.kind == "client_fitness_min":
                arguments["floor"][i] = bound.value
            elif bound.expert is not None and bound.name is not None:
                loads[bound.name][bound.kind.removeprefix("load_")][bound.expert] = bound.value
            elif bound.expert is not None:
                arguments[bound.kind][bound.expert] = bound.value
            elif bound.group is not None:
                arguments[bound.kind][i, bound.group] = bound.value
            else:
                arguments[bound.kind][i] = bound.value
    floor = "client_fitness_min" if problem.sense == "max" else "client_cost_max"
    arguments[floor] = arguments.pop("floor")
    if not groups:
        del arguments["group_min"], arguments["group_max"]
    return base.replace(
        loads={
            name: al.Load(problem.loads[name].weight, min=part["min"], max=part["max"])
            for name, part in loads.items()
        },
        resources={
            name: al.Resource(problem.resources[name].size, budget)
            for name, budget in budgets.items()
        },
        **arguments,
    )


def can_hold(problem, bounds):
    """Tell by brute force whether bounds can hold together."""
    return brute_force(keep_only(problem, bounds))[0] is not None


def without_each(bounds):
    """Yield the bounds without one, for each."""
    return (bounds[:at] + bounds[at + 1 :] for at in range(len(bounds)))


def claim(bounds):
    """Return a conflict that claims the given bounds."""
    return Conflict(tuple(bounds), "said by somebody")


# -- against brute force ------------------------------------------------------


def assert_conflict_is_right(problem):
    """Check the conflict of a problem, which may be feasible, against brute force."""
    if brute_force(problem)[0] is not None:
        with pytest.raises(al.ProblemError, match="feasible"):
            find_conflict(problem)
        return
    conflict = find_conflict(problem)
    assert conflict.proved
    assert conflict.irreducible
    assert conflict.bounds
    assert not can_hold(problem, conflict.bounds), conflict
    for rest in without_each(conflict.bounds):
        assert can_hold(problem, rest), conflict
    assert check_conflict(problem, conflict) == SHOWN
    if conflict.needed is not None:
        assert conflict.needed > conflict.possible
    assert conflict.text
    assert "\n" not in conflict.text


@settings(max_examples=250)
@given(flow_problems())
def test_flow_conflicts_are_contradictory_and_irreducible(problem):
    assert_conflict_is_right(problem)


@settings(max_examples=120)
@given(mip_problems())
def test_mip_conflicts_are_contradictory_and_irreducible(problem):
    assert_conflict_is_right(problem)


@settings(max_examples=150)
@given(any_problems(), st.data())
def test_the_check_agrees_with_brute_force_on_any_set_of_bounds(problem, data):
    every = all_bounds(problem).bounds(problem)
    assume(every)
    bounds = tuple(b for b in every if data.draw(st.integers(0, 3)))
    contradictory = not can_hold(problem, bounds)
    irreducible = contradictory and all(can_hold(problem, rest) for rest in without_each(bounds))
    assert check_conflict(problem, claim(bounds)) == ConflictCheck(contradictory, irreducible)


@settings(max_examples=100)
@given(flow_problems(), st.data())
def test_padded_and_shortened_conflicts_are_refused(problem, data):
    assume(brute_force(problem)[0] is None)
    bounds = find_conflict(problem).bounds
    others = [b for b in all_bounds(problem).bounds(problem) if b not in bounds]
    if others:
        padded = (*bounds, data.draw(st.sampled_from(others)))
        assert check_conflict(problem, claim(padded)) == ConflictCheck(True, False)
    assert check_conflict(problem, claim((*bounds, bounds[0]))) == ConflictCheck(True, False)
    shorter = data.draw(st.sampled_from(list(without_each(bounds))))
    assert check_conflict(problem, claim(shorter)) == ConflictCheck(False, False)


@settings(max_examples=100)
@given(any_problems())
def test_what_the_linear_relaxation_proves_is_true(problem):
    core = linear_core(problem, all_bounds(problem))
    if core is not None:
        assert not can_hold(problem, core.bounds(problem))


@settings(max_examples=150)
@given(any_problems(), st.data())
def test_rows_of_bounds_are_broken_exactly_where_the_checker_says(problem, data):
    clients, experts = np.nonzero(problem.fitness > -np.inf)
    size = clients.size
    held = np.array(data.draw(st.lists(st.booleans(), min_size=size, max_size=size)), dtype=bool)
    rows = bound_rows(problem, all_bounds(problem), clients, experts)
    assert {
        (part.key, at) for part in rows
        for at in part.index[part.matrix @ held.astype(float) > part.limit].tolist()
    } == {
        ((bound.kind, bound.name, bound.group),
         bound.client if bound.expert is None else bound.expert)
        for bound in violations(problem, clients[held], experts[held], limit=10_000)
    }  # fmt: skip


def crowded_fleet(seed):
    """Return an infeasible problem of some size, short of one set of experts or crowded."""
    rng = np.random.default_rng(seed)
    n, m = int(rng.integers(20, 200)), int(rng.integers(3, 14))
    fitness = np.where(rng.random((n, m)) < rng.choice([0, 0.3, 0.8]), -np.inf, 0.0)
    group = rng.integers(0, 3, m) % m
    group = np.unique(group, return_inverse=True)[1]
    allowed = (fitness == 0).astype(int) @ (group[:, None] == np.arange(group.max() + 1))
    holders = (fitness == 0).sum(axis=0)
    arguments = {
        "max_experts": rng.integers(1, 4, n),
        "expert_group": group,
        "group_max": rng.integers(1, 4, allowed.shape),
    }
    if rng.random() < 0.5:
        arguments["load_min"] = np.minimum(holders, rng.integers(1, n, m))
    else:
        most = np.minimum(allowed, arguments["group_max"]).sum(axis=1)
        arguments["min_experts"] = np.minimum(most, arguments["max_experts"])
        arguments["load_max"] = rng.integers(0, n // 2, m)
    return al.AlignmentProblem(fitness, **arguments)


@pytest.mark.parametrize("seed", range(40))
def test_conflicts_of_larger_problems_pass_the_check(seed):
    problem = crowded_fleet(seed)
    point = feasible_assignment(problem)
    if point is not None:
        assert is_feasible(problem, *point)
        return
    conflict = find_conflict(problem)
    assert check_conflict(problem, conflict) == SHOWN
    assert len(conflict.bounds) < all_bounds(problem).size


# -- sentences ----------------------------------------------------------------

ZERO = np.zeros((40, 8))


def forbidding(n, experts, *, may):
    """Return zero fitness where only some clients may hold some experts."""
    fitness = np.zeros((n, 8))
    fitness[may:, experts] = -np.inf
    return fitness


def groups_of(*sizes):
    return np.repeat(np.arange(len(sizes)), sizes)


SENTENCES = {
    "experts 3 and 7 need at least 40 client slots; only 31 clients may hold them "
    "(39 given max_experts of clients 0, 1, 2 and 20 more alone)": al.AlignmentProblem(
        forbidding(50, [3, 7], may=31), 1, load_min=[0, 0, 0, 20, 0, 0, 0, 20]
    ),
    "expert 3 needs at least 40 holders; only 31 clients may hold it": al.AlignmentProblem(
        forbidding(50, [3], may=31), 1, load_min=[0, 0, 0, 40, 0, 0, 0, 0]
    ),
    "experts 0, 1, 2 and 3 need at least 8 client slots; the clients have at most 7 for them, "
    "given max_experts of client 1": al.AlignmentProblem(np.zeros((2, 8)), [5, 3], load_min=2),
    "expert 'rare' needs at least 2 client slots; no client may hold it (1 given max_experts of "
    "client 'tablet' alone)": al.AlignmentProblem(
        [[1, 1], [1, 1]], 0, load_min=[2, 0], expert_ids=["rare", "common"],
        client_ids=["tablet", "phone"],
    ),
    "experts 0, 1 and 2 may have at most 3 holders; the clients must hold them at least 4 times, "
    "given min_experts of clients 0 and 1":
        al.AlignmentProblem(np.zeros((2, 3)), 2, min_experts=2, load_max=1),
    "expert 0 may have at most -1 holders, which no number of holders keeps":
        al.AlignmentProblem(ZERO, 1, load_max=[-1] + [np.inf] * 7),
    "expert 5 needs at least 2.5 and at most 2.9 holders; no whole number lies between":
        al.AlignmentProblem(ZERO, 1, load_min=[0] * 5 + [2.5, 0, 0], load_max=[9] * 5 + [2.9] * 3),
    "expert 5 needs at least 4 holders but may have at most 3":
        al.AlignmentProblem(ZERO, 1, load_min=[0] * 5 + [4, 0, 0], load_max=[9] * 5 + [3, 9, 9]),
    "expert 0 needs at least 1,000 holders; only 40 clients may hold it":
        al.AlignmentProblem(ZERO, 1, load_min=[1000] + [0] * 7),
    "client 4 must hold at least 9 experts; 8 of these are allowed to it":
        al.AlignmentProblem(ZERO, 9, min_experts=[0] * 4 + [9] + [0] * 35),
    "client 4 must hold at least 3 experts but may hold at most 2 in all":
        al.AlignmentProblem(ZERO, 2, min_experts=[0] * 4 + [3] + [0] * 35),
    "client 0 must hold at least 2 experts of group 1; 1 of these are allowed to it":
        al.AlignmentProblem([[0, 0, -np.inf]], 3, expert_group=[0, 1, 1], group_min=[0, 2]),
    "client 0 must hold at least 2 experts of group 0; 1 of these are allowed to it":
        al.AlignmentProblem([[0, -np.inf, 0, 0]], 2, min_experts=3, expert_group=groups_of(2, 2),
                            group_min=[2, 0]),
    "client 0 must hold at least 2 experts of group 1 but at most 1 expert of group 1":
        al.AlignmentProblem([[0, 0, 0]], 3, expert_group=[0, 1, 1], group_min=[0, 2],
                            group_max=[1, 1]),
    "client 0 must hold at least 4 experts of groups 0 and 1 but may hold at most 3 in all":
        al.AlignmentProblem(np.zeros((1, 8)), 3, expert_group=groups_of(4, 2, 2),
                            group_min=[2, 2, 1]),
    "client 0 must hold at least 6 experts but at most 1 expert of group 0 and 4 others":
        al.AlignmentProblem(np.zeros((1, 8)), 8, min_experts=6, expert_group=groups_of(4, 4),
                            group_max=[1, 4]),
    "client 1 cannot keep min_experts 2 and budget 10 of 'memory_mb' together":
        al.AlignmentProblem(np.zeros((3, 4)), 4, min_experts=2,
                            resources={"memory_mb": al.Resource(6.0, [20, 10, 20])}),
    "client 0 cannot keep max_experts 1 and fitness floor 5.5 together":
        al.AlignmentProblem([[3, 3, 2]], 1, client_fitness_min=5.5),
    "client 0 cannot keep min_experts 2 and cost ceiling 4 together":
        al.AlignmentProblem.from_cost([[3, 3, 2]], 2, min_experts=2, client_cost_max=4),
    "load_min 30 of 'samples' of expert 1 cannot be kept":
        al.AlignmentProblem(np.zeros((3, 2)), 2, loads={"samples": al.Load(9.0, min=[0, 30])}),
    "load_min 3 of expert 0 and load_max 20 of 'samples' of expert 0 cannot hold together":
        al.AlignmentProblem(np.zeros((5, 2)), 2, load_min=[3, 0],
                            loads={"samples": al.Load(7.0, max=[20, np.inf])}),
}


@pytest.mark.parametrize("text", SENTENCES)
def test_sentences(text):
    problem = SENTENCES[text]
    conflict = find_conflict(problem)
    assert conflict.text == text
    assert check_conflict(problem, conflict) == SHOWN


# -- what a conflict may be given and asked -----------------------------------


def test_values_are_in_the_sense_of_the_problem():
    problem = al.AlignmentProblem.from_cost(
        [[3.0, 4.0]], 2, load_min=[0, 2.5], load_max=[1, 2.75], client_cost_max=2
    )
    (bound,) = find_conflict(problem).bounds
    assert bound == Bound("load_min", None, 1, None, None, 2.5)
    feasible_loads = problem.replace(load_min=[1, 0], load_max=[1, 1])
    bounds = find_conflict(feasible_loads).bounds
    assert set(bounds) == {
        Bound("load_min", None, 0, None, None, 1.0),
        Bound("client_fitness_min", 0, None, None, None, 2.0),
    }


@pytest.mark.parametrize("hint", [[3, 7], [0], [], np.array([7]), range(8)])
def test_a_hint_changes_no_verdict(hint):
    problem = next(iter(SENTENCES.values()))
    conflict = find_conflict(problem, experts=hint)
    assert check_conflict(problem, conflict) == SHOWN
    assert conflict.experts == (3, 7)


@pytest.mark.parametrize(
    ("shape", "arguments", "kinds"),
    [
        ((0, 3), {"load_min": 1}, ["load_min"]),
        ((3, 0), {"min_experts": 1}, ["min_experts"]),
        ((0, 3), {"loads": {"samples": al.Load(1.0, min=[0, 0.5, 0])}}, ["load_min"]),
        ((2, 0), {"client_fitness_min": [0, 1]}, ["client_fitness_min"]),
        ((2, 2), {"resources": {"mb": al.Resource(1.0, [-1, 1])}}, ["resource"]),
        ((2, 2), {"loads": {"samples": al.Load(1.0, max=-np.inf)}}, ["load_max"]),
        ((2, 2), {"load_min": np.inf}, ["load_min"]),
    ],
)
def test_bounds_that_nothing_can_keep(shape, arguments, kinds):
    problem = al.AlignmentProblem(np.zeros(shape), 1, **arguments)
    conflict = find_conflict(problem)
    assert [bound.kind for bound in conflict.bounds] == kinds
    assert check_conflict(problem, conflict) == SHOWN


@pytest.mark.parametrize(
    "change",
    [
        {"value": 7.0}, {"client": 50}, {"client": None}, {"client": -1}, {"kind": "max_slots"},
        {"kind": "group_max"}, {"kind": "group_max", "group": 0}, {"kind": "resource"},
        {"kind": "resource", "name": "mb"}, {"kind": "load_min"}, {"name": "mb"},
        {"kind": "load_max", "name": "samples", "expert": 0}, {"clients": (0, 99)},
        {"client": 2**70}, {"client": 1.5}, {"client": True}, {"client": "0"},
        {"clients": (0, 2**70)}, {"clients": (0, 1.5)}, {"clients": (0, True)},
        {"kind": "group_max", "group": 0.5}, {"kind": ["load_min"]}, {"group": [1]},
        {"name": ["mb"]},
    ],
)
def test_bounds_that_the_problem_does_not_have_are_refused(change):
    problem = next(iter(SENTENCES.values()))
    bound = dataclasses.replace(find_conflict(problem).bounds[-1], **change)
    with pytest.raises(al.ProblemError, match="the conflict lists"):
        check_conflict(problem, claim([bound]))


def test_nothing_is_asked_of_bounds_that_are_needed(monkeypatch):
    problem = al.AlignmentProblem(np.zeros((2, 2)), 1, min_experts=1,
                                  resources={"mb": al.Resource(1.0, 0.5)})
    deletion = deletion_filter._Deletion(problem, None, Limits())
    asked = []
    monkeypatch.setattr(deletion, "decided", lambda mask, limits: asked.append(mask.tolist()))
    deletion._needed[0] = True
    both, second = np.zeros((2, deletion.kept.size), dtype=bool)
    both[:2] = second[1] = True
    deletion.leave_out(iter([both, second, ~second & ~second]))
    assert asked == [(~second).tolist()]


@pytest.mark.parametrize("kind", ["max_experts", "load_min"])
def test_bounds_of_no_group_are_refused_with_one(kind):
    problem = al.AlignmentProblem(np.zeros((2, 2)), 1, load_min=1, expert_group=[0, 1])
    bound = Bound(kind, 0, 0, 0, None, 1.0)
    assert check_conflict(problem, claim([dataclasses.replace(bound, group=None)]))
    with pytest.raises(al.ProblemError, match="the conflict lists"):
        check_conflict(problem, claim([bound]))


def test_no_bounds_are_no_conflict():
    problem = next(iter(SENTENCES.values()))
    assert check_conflict(problem, claim([])) == ConflictCheck(False, False)


def test_the_check_claims_nothing_that_no_solver_told():
    problem = al.AlignmentProblem(
        np.ones((4, 3)), 2, load_min=2, resources={"mb": al.Resource([3, 4, 5], [3, 3, 4, 4])}
    )
    conflict = find_conflict(problem)
    silent = Outcome.nothing(Termination.TIME_LIMIT)
    answers = iter([Outcome.proved_infeasible()])
    for claimed in (ConflictCheck(True, False), ConflictCheck(False, False)):
        assert infeasibility.check_conflict(
            problem, conflict, lambda *_: next(answers, silent), Limits()
        ) == claimed


# -- size and time ------------------------------------------------------------


def test_many_bounds_of_clients_are_listed_as_families():
    n = 4 * FAMILY_LIMIT
    problem = al.AlignmentProblem(np.zeros((n, 4)), 1, load_min=n / 2)
    conflict = find_conflict(problem)
    family = conflict.bounds[-1]
    assert [bound.kind for bound in conflict.bounds] == ["load_min"] * 3 + ["max_experts"]
    assert family.client is None
    assert family.clients is not None
    assert family.value == len(family.clients) > FAMILY_LIMIT
    assert "clients" not in repr(family).replace("client=", "")
    assert check_conflict(problem, conflict) == SHOWN
    assert conflict.text.startswith("experts 0, 1 and 2 need at least 6,000 client slots")
    assert type(conflict.needed) is type(conflict.possible) is float
    half = dataclasses.replace(
        family, clients=family.clients[::2], value=float(len(family.clients[::2]))
    )
    assert check_conflict(problem, claim([*conflict.bounds[:-1], half])).contradictory is False


LARGE = """
import resource, time
import numpy as np
import alignsolve as al
from alignsolve.solve.conflicts import find_conflict

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

find_conflict(al.AlignmentProblem(np.zeros((4, 4)), 1, load_min=2))
fitness = np.zeros((150_000, 64), np.float32)
for start in range(0, 150_000, 1000):
    fitness[start:start + 1000][np.random.default_rng(start).random((1000, 64)) < 0.5] = -np.inf
problem = al.AlignmentProblem(fitness, 1, load_min=150_000 / 50)
before, started = peak(), time.perf_counter()
conflict = find_conflict(problem)
assert conflict.irreducible and len(conflict.experts) == 51, conflict.text
print((peak() - before) / fitness.nbytes, time.perf_counter() - started)
"""


def test_a_large_conflict_takes_less_memory_than_the_fitness():
    done = subprocess.run(
        [sys.executable, "-c", LARGE], capture_output=True, text=True, check=False, timeout=200
    )
    assert done.returncode == 0, done.stderr
    share, seconds = (float(word) for word in done.stdout.split())
    assert share < 2
    assert seconds < 100


def test_a_conflict_takes_a_byte_a_pair():
    def short(n, m):
        load_min = np.where(np.arange(m) < m // 100, n // 10, 0)
        return al.AlignmentProblem(np.zeros((n, m), np.float32), 1, load_min=load_min)

    problem = short(1000, 2000)
    with kernels.compiled():  # small ones, too
        find_conflict(problem)
    tracemalloc.start()
    try:
        find_conflict(problem)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 1.5 * 1000 * 2000


def test_a_conflict_found_at_once_is_claimed_without_time():
    problem = al.AlignmentProblem(np.zeros((60, 8)), 1, load_min=8)
    conflict = find_conflict(problem, Limits(time.perf_counter() - 1))
    assert conflict.proved
    assert not conflict.irreducible
    assert "time ran out before it was shown that every" in conflict.text
    assert check_conflict(problem, conflict).contradictory


def test_without_time_nothing_else_is_claimed():
    # Three clients share four experts: neither a matter of one expert nor of all.
    fitness = np.zeros((60, 8))
    fitness[3:, :4] = -np.inf
    problem = al.AlignmentProblem(fitness, 1, load_min=[1] * 4 + [0] * 4, load_max=59)
    assert find_conflict(problem).experts == (0, 1, 2, 3)
    conflict = find_conflict(problem, Limits(time.perf_counter() - 1))
    assert not conflict.proved
    assert not conflict.irreducible
    assert conflict.text == "time ran out before a conflict was found among the 72 bounds"
    assert check_conflict(problem, conflict) == ConflictCheck(True, False)
    hinted = find_conflict(problem, Limits(time.perf_counter() - 1), [0, 1, 2, 3])
    assert hinted.proved


def test_the_reduction_of_a_mip_conflict_ends_at_the_deadline():
    rng = np.random.default_rng(0)
    weight = rng.integers(1, 50, 150).astype(float)
    problem = al.AlignmentProblem(
        rng.random((150, 12)), 2, load_min=1,
        loads={"samples": al.Load(weight, min=weight.sum() * 2.05 / 12)},
    )
    find_conflict(al.AlignmentProblem([[1.0]], 1, client_fitness_min=2))  # imports the backends
    started = time.perf_counter()
    conflict = find_conflict(problem, Limits(started + 2))
    assert time.perf_counter() - started < 40  # without a deadline: minutes
    assert not conflict.irreducible
    assert "time ran out" in conflict.text
    if conflict.proved:
        assert check_conflict(problem, conflict, deadline=time.perf_counter() + 3).contradictory
