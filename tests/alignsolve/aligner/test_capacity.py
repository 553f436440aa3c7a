"""Capacity: rates, slots, budgets, reliability."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import alignsolve as al
from alignsolve.aligner.budgets import fold_budget
from alignsolve.aligner.capacity import RATES, CapacityProfiler, ClientProfile
from alignsolve.aligner.reports import report_fault
from alignsolve.model.problem import tolerance

ONE = np.array([0])


def profiler(n=1, **profile):
    made = CapacityProfiler(al.CapacitySettings(), 3)
    made.grow(n)
    for client in range(n):
        made.declare(client, ClientProfile(**profile))
    return made


def see(made, seconds):
    values = np.full((1, len(RATES)), np.nan)
    values[0, 0] = seconds
    made.observe(ONE, values)
    return made.rates(ONE)["seconds_per_sample"][0]


@pytest.mark.parametrize("n", [0, 2])
def test_every_table_has_a_row_a_client(n):
    made = profiler(n)
    assert {name: len(getattr(made, name)) for name in made.ROWS} == dict.fromkeys(made.ROWS, n)


def test_outliers_are_ignored():
    made = profiler(seconds_per_sample=1.0)
    assert see(made, 1.1) <= 1.1
    for _ in range(5):
        see(made, 1.0)
    assert see(made, 500.0) == 1.0
    assert see(made, 1e-6) == 1.0


def test_slow_downs_are_learnt_faster_than_speed_ups():
    made = profiler(seconds_per_sample=1.0)
    for _ in range(6):
        see(made, 1.0)
    assert [see(made, 3.0) for _ in range(2)] == [1.0, 3.0]
    for _ in range(5):
        see(made, 3.0)
    recovery = [see(made, 1.0) for _ in range(7)]
    assert recovery[:3] == [3.0, 3.0, 3.0] and recovery[-1] == 1.0


def test_units_and_unknown_rates():
    made = profiler(n=3, down_mbps=16.0)
    made.declare(1, ClientProfile(down_mbps=8.0, up_mbps=0.0))
    rates = made.rates(np.array([0, 1, 2]))
    assert rates["down_seconds_per_mb"].tolist() == [0.5, 1.0, 0.5]
    assert (rates["up_seconds_per_mb"] >= 1e9).all()  # the only one known
    assert np.isnan(rates["samples"]).all()
    assert np.isnan(made.rates(np.array([2]))["up_seconds_per_mb"]).all()


def test_reliability():
    made = profiler(n=3)
    assert made.finish_probability(np.arange(3)) == pytest.approx(0.9)
    for _ in range(30):
        made.observe_finish(np.array([0, 1]), np.array([1.0, 0.0]))
    good, bad, unknown = made.finish_probability(np.arange(3))
    assert bad < 0.4 < unknown < 0.75 < good <= 1


def test_deadline_and_memory_become_slots():
    aligner = al.Aligner(6, expert_mb=10.0)
    aligner.declare("slow", max_experts=6, seconds_per_sample=1.0, samples=10, down_mbps=80,
                    up_mbps=80)
    aligner.declare("small", max_experts=6, memory_mb=85.0)
    plan = aligner.plan(["slow", "small"], deadline_s=37.0)
    # 10 s of training, 1 s down and 1 s up each; 40 MB of memory each.
    assert plan.experts_of("slow").size == 3
    assert plan.experts_of("small").size == 2
    assert plan.result.problem.problem_class == "flow"


def test_sizes_that_differ_make_a_budget():
    aligner = al.Aligner(3, expert_mb=[10.0, 10.0, 20.0])
    aligner.declare("a", max_experts=3, memory_mb=100.0)
    plan = aligner.plan(["a"], fitness=[[1.0, 1.0, 1.5]])
    # Two experts fit, but not any two.
    assert plan.result.problem.problem_class == "mip"
    assert plan.experts_of("a").tolist() == [0, 1]


@given(st.data())
def test_folded_budgets_allow_the_same_sets(data):
    m = data.draw(st.integers(1, 4))
    amount = st.sampled_from([0, 0.1, 1, 1, 2, 3.5])
    sizes = np.array(data.draw(st.lists(amount, min_size=m, max_size=m)))
    budget = np.array([data.draw(st.sampled_from([0, 0.3, 1, 2, 5, np.inf]))])
    slots = np.array([data.draw(st.integers(0, m))])
    allowed = np.array([data.draw(st.lists(st.booleans(), min_size=m, max_size=m))])
    fewer, likely, resource = fold_budget(sizes, budget, slots, allowed)
    left = np.inf if resource is None else resource.budget[0]
    assert 0 <= likely[0] <= fewer[0] <= slots[0]
    for code in range(1 << m):
        held = np.array([code >> j & 1 for j in range(m)], dtype=bool)
        if (held & ~allowed[0]).any():
            continue
        use = sizes[held].sum()
        before = held.sum() <= slots[0] and use <= budget[0] + tolerance(budget[0])
        after = held.sum() <= fewer[0] and use <= left + tolerance(left)
        assert before == after


@pytest.mark.parametrize(
    "wrong",
    [{"max_experts": 1.5}, {"max_experts": -1}, {"memory_mb": np.nan}, {"down_mbps": "8"},
     {"samples": np.inf}, {"forbidden": [7]}, {"colour": 3}, {"forbidden": 3},
     {"forbidden": [0.5]}, {"forbidden": [True]}, {"max_experts": True}, {"memory_mb": 1.1e12}],
)  # fmt: skip
def test_wrong_profiles(wrong):
    aligner = al.Aligner(3)
    with pytest.raises(al.ProblemError, match=next(iter(wrong))):
        aligner.declare("a", **wrong)
    assert aligner.metrics()["clients"] == 0


@pytest.mark.parametrize(
    "wrong",
    [{"max_experts": -1}, {"memory_factor": 0}, {"finish_prior": (0, 1)}, {"finish_half_life": 0},
     {"max_experts": np.nan}, {"max_experts": np.inf}, {"max_experts": 1.5},
     {"memory_factor": np.inf}, {"finish_half_life": "20"}],
)  # fmt: skip
def test_wrong_settings(wrong):
    with pytest.raises(al.ProblemError, match=next(iter(wrong))):
        al.CapacitySettings(**wrong)


def test_counts_have_an_upper_end():
    for value in (10**18, 2.0**60, -1, 1.5):
        with pytest.raises(al.ProblemError, match=r"give a whole number from 0 to 2\*\*53$"):
            al.CapacitySettings(max_experts=value)


@pytest.mark.parametrize("wrong", [4.0, np.float64(4), 0, 2**60, True, "4", None])
def test_wrong_numbers_of_experts(wrong):
    with pytest.raises(al.ProblemError, match=r"n_experts is .*; give a whole .* 1 to 2\*\*53$"):
        al.Aligner(wrong)


def test_numbers_at_the_edge_are_right():
    al.CapacitySettings(max_experts=0, finish_half_life=np.inf)
    al.FitnessSettings(smoothing=1, half_life=np.inf, exploration=0, initial=-1.0)
    al.PolicySettings(fitness_floor=1, switch_cost=0, time_limit=np.inf)
    al.ClientProfile(max_experts=np.int64(3), memory_mb=0, samples=np.float32(1e12))
    for text in ("seconds is 'x'; give a number from 0 to 1e+12",
                 "down_mb is -1; give a number from 0 to 1e+12, or None"):
        name, value = text.split(";")[0].split(" is ")
        wrong = {"samples": 1, "seconds": 1.0} | {name: "x" if "'" in value else int(value)}
        assert report_fault(al.ClientReport("a", 1, **wrong), 3, frozenset()) == text
