"""Fitness learnt from scores: averages, staleness, priors, exploration."""

from typing import get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import alignsolve as al
from alignsolve.aligner.fitness import NAMED_SCORES, FitnessTracker, ScoreName
from alignsolve.aligner.settings import Strategy
from alignsolve.aligner.strategies import STRATEGIES


def tracker(n=3, m=2, **settings):
    made = FitnessTracker(al.FitnessSettings(**({"exploration": 0.0} | settings)), m)
    made.grow(n)
    return made


def see(made, client, expert, score, round_):
    made.update(np.array([client]), np.array([expert]), np.array([float(score)]), round_)


def test_average_is_the_debiased_moving_average():
    made = tracker(smoothing=0.3, half_life=np.inf, prior_weight=1e-9)
    scores = [0.9, 0.1, 0.4, 0.8]
    moving, weight = 0.0, 0.0
    for round_, score in enumerate(scores, start=1):
        see(made, 0, 1, score, round_)
        moving, weight = 0.7 * moving + 0.3 * score, 0.7 * weight + 0.3
        assert made.fitness(np.array([0]), round_)[0, 1] == pytest.approx(moving / weight, abs=1e-6)


def test_old_scores_decay_to_the_prior():
    made = tracker(half_life=5.0)
    for round_ in range(1, 20):
        see(made, 1, 0, 0.8, round_)
    see(made, 0, 0, 0.0, 20)
    soon, late = (made.fitness(np.array([0]), round_)[0, 0] for round_ in (20, 400))
    prior = made.prior(np.array([0]), 400)[0, 0]
    assert soon < 0.5 and late == pytest.approx(prior, abs=1e-6)
    assert late > 0.6  # one bad round locks nobody out


def test_unknown_clients_get_the_prior_of_their_experts():
    made = tracker(n=4)
    for round_ in range(1, 10):
        see(made, 0, 0, 0.9, round_)
        see(made, 1, 1, 0.2, round_)
    fitness = made.fitness(np.array([3]), 10)[0]
    assert fitness[0] > 0.7 and fitness[1] < 0.35


def test_priors_know_weak_clients():
    made = tracker(n=3, m=3)
    for round_ in range(1, 30):
        for client, shift in ((0, 0.0), (1, -0.3)):
            see(made, client, round_ % 2, 0.7 + shift, round_)
    # Expert 2 was never tried, and client 1 is expected to do worse on it, too.
    tried = made.fitness(np.array([0, 1]), 30)[:, 2]
    assert tried[0] - tried[1] == pytest.approx(0.3, abs=0.06)


def test_bonus_prefers_pairs_that_were_rarely_tried():
    made = tracker(n=2, m=2, exploration=0.5, half_life=10.0)
    for round_ in range(1, 9):
        see(made, 0, 0, 0.5 + 0.2 * (round_ % 2), round_)
    plain = tracker(n=2, m=2, half_life=10.0)
    for name in (*plain.ROWS, *plain.PLAIN):
        setattr(plain, name, getattr(made, name))
    bonus = made.fitness(np.array([0, 1]), 9) - plain.fitness(np.array([0, 1]), 9)
    assert bonus[0, 0] < bonus[0, 1] == pytest.approx(bonus[1, 0])
    old = made.fitness(np.array([0]), 200) - plain.fitness(np.array([0]), 200)
    assert old[0, 0] == pytest.approx(old[0, 1], rel=1e-3)  # uncertainty comes back


@given(
    st.lists(st.tuples(st.integers(0, 2), st.integers(0, 1), st.floats(-2, 3), st.integers(1, 9)),
             max_size=12),
    st.floats(0.05, 1.0), st.floats(0.5, 30.0),
)  # fmt: skip
def test_fitness_is_finite_and_near_the_scores(seen, smoothing, half_life):
    made = tracker(smoothing=smoothing, half_life=half_life)
    round_ = 0
    for client, expert, score, wait in seen:
        round_ += wait
        see(made, client, expert, score, round_)
    scores = [0.5, *(score for _, _, score, _ in seen)]
    spread = max(scores) - min(scores)
    fitness = made.fitness(np.arange(3), round_)
    # A prior of two effects may leave the range of the scores by their spread, not by more.
    assert (fitness >= min(scores) - spread - 1e-5).all()
    assert (fitness <= max(scores) + spread + 1e-5).all()


REPORT = al.ExpertReport(4, loss=0.5, loss_before=0.8, accuracy=0.9, gate_usage=0.3,
                         gradient_norm=2.0)  # fmt: skip


@pytest.mark.parametrize(
    ("score", "value"),
    [
        ("loss", np.exp(-1.0)), ("accuracy", 0.9), ("loss_improvement", 0.3), ("gate_usage", 0.3),
        ("gradient_utility", 8.0), (lambda report: report.samples, 4),
    ],
)  # fmt: skip
def test_scores(score, value):
    scorer = al.FitnessSettings(score=score, alpha=2.0).scorer()
    assert scorer(REPORT) == pytest.approx(value)


@pytest.mark.parametrize("score", ["loss", "accuracy", "loss_improvement", "gradient_utility"])
def test_a_report_without_what_the_score_needs_is_no_score(score):
    assert al.FitnessSettings(score=score).scorer()(al.ExpertReport(4)) is None


@pytest.mark.parametrize(
    "wrong",
    [{"score": "best"}, {"smoothing": 0}, {"smoothing": 1.5}, {"half_life": 0}, {"alpha": -1},
     {"prior_weight": 0}, {"exploration": np.nan}, {"initial": np.inf}],
)  # fmt: skip
def test_wrong_settings(wrong):
    with pytest.raises(al.ProblemError, match=next(iter(wrong))):
        al.FitnessSettings(**wrong)


def test_the_callers_arrays_stay_as_they_are():
    aligner = al.Aligner(3)
    aligner.declare("a", forbidden=[1])
    fitness = np.array([[1.0, 5.0, 2.0], [3.0, 1.0, 2.0]])
    before = fitness.copy()
    plan = aligner.plan(["a", "b"], fitness=fitness)
    aligner.replan(plan, ["b"])
    np.testing.assert_array_equal(fitness, before)
    assert fitness.flags.writeable
    assert 1 not in plan.experts_of("a")


@pytest.mark.parametrize("clients", [1, 5])
def test_one_bad_early_round_locks_nobody_out(clients):
    aligner = al.Aligner(
        2, fitness=al.FitnessSettings(score="accuracy", half_life=5.0),
        load=al.LoadSettings(slack=10.0),
    )  # fmt: skip
    tried = np.zeros((clients, 2), dtype=int)
    for round_ in range(60):
        plan = aligner.plan(range(clients))
        # Deterministic, so that nothing but the bonus makes anybody look again.
        score = 0.0 if round_ == 0 else 0.6
        aligner.observe(plan, [
            al.ClientReport(client, plan.round, 1, 1.0, experts={
                int(expert): al.ExpertReport(1, accuracy=score)
                for expert in plan.experts_of(client)
            }) for client in plan.clients
        ])  # fmt: skip
        if round_:
            tried[plan.row_ind, plan.col_ind] += 1
    assert (tried > 0).all()


def test_types_name_every_score_and_strategy():
    assert get_args(ScoreName) == ("loss", *NAMED_SCORES)
    assert get_args(Strategy) == tuple(STRATEGIES)
