"""Clients that leave: what is dropped with them, and what stays."""

import json

import numpy as np
import pytest

import alignsolve as al
from tests.alignsolve.aligner.test_service import good_report

STAYING, LEAVING = ["a", "b", "c", 4], ["x", "y", "z"]


def service(**settings):
    """Return an aligner after three rounds of all clients, every second of which is unfinished."""
    aligner = al.Aligner(3, expert_mb=[1.0, 2.0, 3.0], load=al.LoadSettings(sample_price=0.1),
                         policy=al.PolicySettings(switch_cost=0.1), **settings)
    for number, client in enumerate([*LEAVING[:1], *STAYING, *LEAVING[1:]]):
        aligner.declare(client, max_experts=2, seconds_per_sample=0.1 * number, samples=number)
    for _ in range(3):
        play(aligner, [*STAYING[:2], *LEAVING, *STAYING[2:]])
    return aligner


def play(aligner, clients):
    plan = aligner.plan(clients, deadline_s=100.0)
    aligner.observe(plan, [good_report(plan, client, 0.1 * at)
                           for at, client in enumerate(clients) if (at + plan.round) % 2])
    return plan


def same(ours, theirs):
    return ours.digest == theirs.digest and ours.col_ind.tobytes() == theirs.col_ind.tobytes() \
        and ours.row_ind.tobytes() == theirs.row_ind.tobytes()


def test_who_leaves_changes_no_deficit_and_no_plan_of_the_others(tmp_path):
    left, kept = service(), service()
    before = left.metrics()
    holders, samples = left.tables.load.holders.copy(), left.tables.load.samples.copy()
    assert left.forget([*LEAVING, "nobody"]) == 3
    assert left.forget(LEAVING) == 0
    np.testing.assert_array_equal(left.tables.load.holders, holders)
    np.testing.assert_array_equal(left.tables.load.samples, samples)
    assert left.metrics() == before | {"clients": len(STAYING)}
    left.save(tmp_path / "state.npz")
    left = al.Aligner.load(tmp_path / "state.npz")
    for _ in range(4):
        assert same(play(left, STAYING), play(kept, STAYING))
    assert left.metrics() == kept.metrics() | {"clients": len(STAYING)}


def test_who_comes_back_is_new():
    aligner = service()
    aligner.forget(["x"])
    rows = aligner.tables.clients.rows(["a", "x", "never seen"])
    aligner.tables.grow()
    inputs = aligner.tables.inputs(4, rows)
    assert inputs.slots.tolist() == [2, 1, 1]
    assert inputs.finish[1] == inputs.finish[2] != inputs.finish[0]
    np.testing.assert_array_equal(inputs.fitness[1], inputs.fitness[2])
    assert not inputs.placed[1:].any() and not inputs.current[1:].any()


def test_nobody_of_the_open_round_is_forgotten_and_its_inputs_hold():
    aligner, kept = service(), service()
    fitness = np.random.default_rng(0).random((4, 3))
    plans = [each.plan(STAYING, fitness=fitness) for each in (aligner, kept)]
    with pytest.raises(al.ProblemError, match="client 'a' has a part in the open round 4; call "):
        aligner.forget(["x", "a"])
    assert len(aligner.tables.clients) == 7
    assert aligner.forget(LEAVING) == 3
    ours, theirs = (each.replan(plan, ["a"]) for each, plan in zip((aligner, kept), plans,
                                                                  strict=True))
    assert same(ours, theirs) and ours.clients == tuple(STAYING[1:])
    assert aligner.forget(["a"]) == 1
    assert aligner.observe(ours, [good_report(ours, 4, 0.5)]).accepted == 1


def test_an_age_limit_bounds_the_state(tmp_path):
    log = tmp_path / "log.jsonl"
    aligner = al.Aligner(2, forget_after=3, log=log)
    sizes = []
    for number in range(12):
        aligner.declare(f"declared-{number}", max_experts=1)
        play(aligner, [f"asked-{number}", "always"])
        sizes.append(sum(array.nbytes for array in aligner.state_dict()["arrays"].values()))
    # Asked in one of the last three rounds, or declared in or after the last three.
    assert sorted(aligner.tables.clients.ids) == sorted(
        ["always", *(f"asked-{k}" for k in (9, 10, 11)), *(f"declared-{k}" for k in (10, 11))])
    assert len(set(sizes[4:])) == 1
    events = [json.loads(line) for line in log.read_text().splitlines()]
    gone = [name for event in events if event["event"] == "forget" for name in event["clients"]]
    assert sorted(gone) == sorted([f"asked-{k}" for k in range(9)]
                                  + [f"declared-{k}" for k in range(10)])
    aligner.save(tmp_path / "state.npz")
    assert al.Aligner.load(tmp_path / "state.npz").settings.forget_after == 3
    with pytest.raises(al.ProblemError, match="forget_after is 0; give a whole number from 1 to"):
        al.Aligner(2, forget_after=0)


def test_a_refused_plan_leaves_no_client():
    for clients, known in ((["new"], 0), (["a"], 1)):
        aligner = service()
        with pytest.raises(al.ProblemError, match="given twice"):
            aligner.plan(["new", "new"])
        service().load_state_dict(aligner.state_dict())
        assert aligner.forget(clients) == known
        play(aligner, [*STAYING[1:], "new"])
        assert aligner.forget(["new"]) == 1


def test_states_without_rounds_of_last_sight_count_everybody_as_seen():
    state = service().state_dict()
    del state["arrays"]["seen.round"]
    aligner = al.Aligner(3, expert_mb=[1.0, 2.0, 3.0], forget_after=2)
    aligner.load_state_dict(state)
    play(aligner, ["a"])
    assert len(aligner.tables.clients) == 7
    play(aligner, ["a"])
    assert aligner.tables.clients.ids == ["a"]
