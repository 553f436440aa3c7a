"""Threads that share an aligner: each call is whole, and a plan that is not open says so."""

from __future__ import annotations

import copy
import pickle
import threading

import numpy as np
import pytest

import alignsolve as al
from alignsolve.aligner import strategies


def reports(plan):
    """Return a report of every client of a plan."""
    return [al.ClientReport(client, plan.round, 10, 1.0, experts={
        int(expert): al.ExpertReport(10, loss=0.5) for expert in plan.experts_of(client)
    }) for client in plan.clients]


def test_a_call_waits_for_another(monkeypatch):
    inside, go = threading.Event(), threading.Event()
    choose = strategies.STRATEGIES["greedy"]

    def slow(inputs):
        inside.set()
        assert go.wait(60)
        return choose(inputs)

    monkeypatch.setitem(strategies.STRATEGIES, "greedy", slow)
    aligner, seen = al.Aligner(2, strategy="greedy"), []
    planning = threading.Thread(target=lambda: seen.append(aligner.plan(["a", "b"]).round))
    asking = threading.Thread(target=lambda: seen.append(aligner.metrics()["rounds"]))
    planning.start()
    assert inside.wait(60)
    asking.start()
    asking.join(0.2)
    assert asking.is_alive()
    go.set()
    planning.join(60)
    asking.join(60)
    assert seen == [1, 1]


def test_rounds_of_two_threads_are_counted_once_each():
    aligner = al.Aligner(3, strategy="round-robin")
    start, rounds, accepted = threading.Barrier(2), [], []

    def play(name):
        start.wait(60)
        for _ in range(20):
            plan = aligner.plan([f"{name}-{k}" for k in range(4)])
            rounds.append(plan.round)
            accepted.append(aligner.observe(plan, reports(plan)).accepted)

    threads = [threading.Thread(target=play, args=(name,)) for name in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert sorted(rounds) == list(range(1, 41))
    # A round that another thread's plan took the place of is late as a whole.
    assert set(accepted) <= {0, 4}
    figures = aligner.metrics()
    assert figures["refused"].get("late", 0) == 4 * accepted.count(0)
    assert figures["pairs"] == 4 * accepted.count(4)


@pytest.mark.filterwarnings("ignore:round 1 is not open")
def test_a_plan_of_another_round_is_not_open():
    aligner = al.Aligner(2, strategy="round-robin")
    first = aligner.plan(["a", "b"])
    second = aligner.plan(["a", "b"])
    seen = aligner.observe(first, reports(first))
    assert seen.accepted == 0
    assert {refusal.kind for refusal in seen.refused} == {"late"}
    assert "round 1 is closed" in seen.refused[0].reason
    assert aligner.observe(second, reports(second)).accepted == 2


def test_a_plan_that_was_replaced_says_so():
    aligner = al.Aligner(2)
    first = aligner.plan(["a", "b", "c"])
    again = aligner.replan(first, ["c"])
    with pytest.warns(UserWarning, match="this plan of round 1 is not the open one") as caught:
        aligner.observe(first, reports(again))
    assert caught[0].filename == __file__


def test_a_restored_plan_is_the_open_one(recwarn):
    aligner, other = al.Aligner(2), al.Aligner(2)
    plan = aligner.plan(["a", "b"])
    other.load_state_dict(aligner.state_dict())
    assert other.observe(plan, reports(plan)).accepted == 2
    assert not recwarn.list


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda a: pickle.loads(pickle.dumps(a))])
def test_copies_have_locks_of_their_own(copied):
    aligner = al.Aligner(2)
    aligner.plan(["a", "b"])
    other = copied(aligner)
    assert other._lock is not aligner._lock
    ours, theirs = (each.plan(["a", "b"]) for each in (aligner, other))
    np.testing.assert_array_equal(ours.col_ind, theirs.col_ind)
