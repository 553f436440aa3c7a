"""Load over the rounds: targets, bounds, metrics."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import alignsolve as al
from alignsolve.aligner.load import LoadMonitor, balance_metrics, fill_level


@given(
    st.lists(st.integers(0, 50), min_size=1, max_size=8), st.floats(0, 200), st.floats(0, 5),
    st.floats(0, 40), st.randoms(use_true_random=False),
)  # fmt: skip
def test_fill_level(load, total, least, most, rng):
    load = np.array(load)
    share = np.array([rng.uniform(0.2, 1) for _ in load])
    share /= share.sum()
    most = np.full(load.size, most)
    target = fill_level(load, share, total, least, most)
    low, high = np.minimum(least, most), most
    assert (target >= low).all() and (target <= high).all()
    wanted = np.clip(total, low.sum(), high.sum())
    assert target.sum() == pytest.approx(wanted, rel=1e-9, abs=1e-9)
    # What is not cut reaches one level.
    level = (load + target) / share
    free = (target > low + 1e-9) & (target < high - 1e-9)
    if free.any():
        assert np.ptp(level[free]) <= 1e-6 * max(1.0, level.max())
        assert (level[target <= low] >= level[free].min() - 1e-6 * level.max()).all()


def test_metrics_follow_their_definitions():
    load = np.array([3.0, 5.0, 4.0, 8.0])
    found = balance_metrics(load, np.full(4, 0.25))
    assert found["cv"] == pytest.approx(load.std() / load.mean())
    assert found["max_over_mean"] == pytest.approx(1.6)
    assert found["min_over_mean"] == pytest.approx(0.6)
    assert found["jain"] == pytest.approx(load.sum() ** 2 / (4 * (load**2).sum()))
    assert balance_metrics(np.zeros(3), np.full(3, 1 / 3))["jain"] == 1
    assert balance_metrics(np.array([2, 1]), np.array([2 / 3, 1 / 3]))["cv"] == pytest.approx(0)


def test_deficits_carry_over_small_rounds_and_dropouts():
    rng = np.random.default_rng(0)
    aligner = al.Aligner(8, fitness=al.FitnessSettings(score="accuracy"))
    curve = []
    for _ in range(60):
        clients = rng.choice(100, rng.integers(1, 12), replace=False).tolist()
        plan = aligner.plan(clients)
        # Everybody likes expert 0.
        aligner.observe(plan, [
            al.ClientReport(client, plan.round, 5, 1.0, experts={
                int(expert): al.ExpertReport(5, accuracy=float(expert == 0))
                for expert in plan.experts_of(client)
            })
            for client in clients if rng.random() < 0.7
        ])  # fmt: skip
        curve.append(np.ptp(aligner.tables.load.holders))
    assert max(curve) <= 6
    assert aligner.metrics()["holders"]["cv"] < 0.05


def test_shares_are_reached():
    monitor = LoadMonitor(al.LoadSettings(share=[3, 1]), 2)
    low, high = monitor.holder_bounds(np.array([8.0]), None, 1.0, 0.0, np.array([8.0, 8.0]))
    assert low.tolist() == high.tolist() == [6, 2]


def test_bounds_are_the_whole_numbers_around_the_target():
    monitor = LoadMonitor(al.LoadSettings(), 3)
    low, high = monitor.holder_bounds(np.array([10.0]), None, 0.5, 0.0, np.full(3, 10.0))
    assert low.tolist() == [3, 3, 3] and high.tolist() == [4, 4, 4]
    monitor.add(np.array([0, 0]), np.array([1.0, 2.0]))
    low, high = monitor.holder_bounds(np.array([10.0]), None, 1.0, 0.0, np.full(3, 10.0))
    assert low.tolist() == high.tolist() == [2, 4, 4]
    assert monitor.samples.tolist() == [3, 0, 0]


def test_layers_have_their_own_totals():
    aligner = al.Aligner(4, expert_group=[0, 0, 0, 1], group_min=1, group_max=1)
    for client in range(6):
        aligner.declare(client, max_experts=2)
    plan = aligner.plan(range(6))
    assert plan.loads.tolist() == [2, 2, 2, 6]
    assert not plan.relaxations


def test_without_carrying_every_round_is_the_first():
    monitor = LoadMonitor(al.LoadSettings(carry=False), 2)
    monitor.add(np.array([0, 0, 0]), np.ones(3))
    low, high = monitor.holder_bounds(np.array([4.0]), None, 1.0, 0.0, np.full(2, 4.0))
    assert low.tolist() == high.tolist() == [2, 2]


def test_sample_bounds_make_up_for_what_was_missed():
    monitor = LoadMonitor(al.LoadSettings(sample_slack=0.1), 2)
    monitor.add(np.array([0]), np.array([30.0]))
    low, high = monitor.sample_bounds(100.0)
    np.testing.assert_allclose((low + high) / 2, [35, 65])
    np.testing.assert_allclose(high - low, 10)


def test_a_price_balances_samples_in_flow_problems():
    spread = {}
    for price in (0.0, 1.0):
        aligner = al.Aligner(4, load=al.LoadSettings(sample_price=price))
        # Clients 0 to 9 are large, and prefer the first two experts.
        big = np.arange(40) < 10
        fitness = np.random.default_rng(0).random((40, 4))
        fitness[:10, :2] += 0.3
        for client in range(40):
            aligner.declare(client, samples=100 if big[client] else 5)
        for _ in range(20):
            plan = aligner.plan(range(40), fitness=fitness)
            assert plan.result.problem.problem_class == "flow"
            aligner.observe(plan, [
                al.ClientReport(client, plan.round, 1, 1.0, experts={
                    int(expert): al.ExpertReport(100 if big[client] else 5)
                    for expert in plan.experts_of(client)
                }) for client in range(40)
            ])  # fmt: skip
        spread[price] = aligner.metrics()["samples"]["cv"]
        assert aligner.metrics()["holders"]["cv"] == 0
    assert spread[0.0] > 0.3 and spread[1.0] < 0.1


@pytest.mark.parametrize(
    "wrong", [{"sample_price": -1}, {"slack": -1}, {"slack": np.nan}, {"sample_slack": np.inf}]
)
def test_wrong_settings(wrong):
    with pytest.raises(al.ProblemError, match=next(iter(wrong))):
        al.LoadSettings(**wrong)
    with pytest.raises(al.ProblemError, match="share"):
        al.Aligner(3, load=al.LoadSettings(share=[1, 2]))


def test_slack_leaves_bounds_between_nobody_and_who_may_hold():
    monitor = LoadMonitor(al.LoadSettings(slack=10.0), 2)
    low, high = monitor.holder_bounds(np.array([4.0]), None, 1.0, 0.0, np.array([3.0, 4.0]))
    assert (low.tolist(), high.tolist()) == ([0, 0], [3, 4])
