"""The Gaussian mechanism on reports: sensitivity, noise, and the loss that is stated."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.stats import norm

import alignsolve as al
from fedloop.config import PrivacySettings, build_config
from fedloop.privacy import (
    clip_and_noise,
    delta_of,
    epsilon_of,
    noise_for,
    protect,
    protect_reports,
    stated_loss,
)
from fedloop.train import build_world, start, train
from tests.fedloop.worlds import one_by_one, together

SEEDED = PrivacySettings(noise_multiplier=0.2, seeded=True)

anything = st.floats(allow_nan=True, allow_infinity=True)


@given(st.lists(st.tuples(anything, anything), min_size=1, max_size=12))
def test_no_data_moves_a_report_further_than_the_sensitivity(pairs):
    bounds = np.linspace(0.5, 3.0, len(pairs))
    one, other = (clip_and_noise(np.array(values), bounds, 0.0, np.random.default_rng(0)) / bounds
                  for values in zip(*pairs, strict=True))
    assert np.linalg.norm(one - other) <= math.sqrt(len(pairs)) + 1e-12


@given(st.lists(anything, min_size=1, max_size=12), st.floats(0, 1e6))
def test_reports_stay_within_their_ranges(values, noise):
    bounds = np.linspace(0.5, 3.0, len(values))
    found = clip_and_noise(np.array(values), bounds, noise, np.random.default_rng(0))
    assert ((found >= 0) & (found <= bounds)).all()


@pytest.mark.parametrize("d", [1, 9])
def test_noise_is_the_multiplier_times_the_sensitivity(d):
    rng, z, bound = np.random.default_rng(1), 0.01, 3.0
    drawn = np.array([clip_and_noise(np.full(d, bound / 2), np.full(d, bound), z, rng)
                      for _ in range(20_000 // d)])
    assert drawn.std() / bound == pytest.approx(z * math.sqrt(d), rel=0.03)
    assert drawn.mean() == pytest.approx(bound / 2, rel=1e-3)


@pytest.mark.parametrize("epsilon", [0.0, 0.3, 1.0, 4.0])
@pytest.mark.parametrize("z", [0.4, 1.0, 5.0])
@pytest.mark.parametrize("rounds", [1, 9])
def test_delta_is_the_integral_over_the_worst_event(epsilon, z, rounds):
    # Where p(x) > exp(epsilon) q(x) for N(0, s) and N(1, s) with s = z / sqrt(rounds).
    s = z / math.sqrt(rounds)
    edge = 0.5 - epsilon * s * s
    expected = quad(lambda x: norm.pdf(x, 0, s) - math.exp(epsilon) * norm.pdf(x, 1, s),
                    edge - 40 * s, edge, limit=400, points=[edge - s, edge - 5 * s])[0]
    assert delta_of(epsilon, z, rounds) == pytest.approx(expected, rel=1e-5, abs=1e-9)


@given(st.floats(0.05, 50), st.sampled_from([1e-7, 1e-5, 1e-2]), st.integers(1, 1000))
def test_noise_and_privacy_loss_are_inverse(epsilon, delta, rounds):
    z = noise_for(epsilon, delta, rounds)
    assert epsilon_of(z, delta, rounds) == pytest.approx(epsilon, rel=1e-4)
    assert epsilon_of(1.1 * z, delta, rounds) < epsilon < epsilon_of(0.9 * z, delta, rounds)


@pytest.mark.parametrize("ask", [
    lambda: delta_of(1.0, 0.0), lambda: delta_of(-1.0, 1.0), lambda: delta_of(1.0, math.nan),
    lambda: epsilon_of(1.0, 0.0), lambda: epsilon_of(1.0, 1e-5, rounds=0),
    lambda: noise_for(1.0, -1e-5), lambda: noise_for(1.0, 1.0),
])
def test_what_means_nothing_is_refused(ask):
    with pytest.raises(ValueError, match="give"):
        ask()


def test_a_large_budget_needs_little_noise():
    assert epsilon_of(noise_for(1e7, 1e-5), 1e-5) == pytest.approx(1e7, rel=1e-4)


def test_noise_that_the_server_knows_is_not_called_private():
    secret = PrivacySettings(noise_multiplier=1.0)
    assert stated_loss(secret, 20)["epsilon"] == epsilon_of(1.0, 1e-5, 20)
    for open_ in (PrivacySettings(), secret.model_copy(update={"seeded": True})):
        assert stated_loss(open_, 20)["epsilon"] is None


@pytest.mark.parametrize("epsilon", [0.1, 0.5, 0.99])
def test_calibration_is_tighter_than_the_classical_one(epsilon):
    # C. Dwork, A. Roth, 2014, doi:10.1561/0400000042, theorem A.1, valid for epsilon < 1.
    assert noise_for(epsilon, 1e-5) < math.sqrt(2 * math.log(1.25 / 1e-5)) / epsilon


def tiny(**settings):
    return build_config({
        "rounds": 2, "partition": {"clients": 4, "test_images": 10},
        "model": {"experts": 3, "layers": 2, "width": 8, "expert_width": 4},
        "local": {"steps": 2, "batch_size": 8, "probe_images": 8}, **settings,
    })


def trained(method, clients):
    world = build_world(tiny())
    state, held = start(world), [[0, 1, 4], [2, 3], [0, 5], [1, 2, 3, 4]]
    return method(world.spec, world.task, state.model, world.partition.train, clients,
                  [held[c] for c in clients], world.config.local, 0, 1)


def test_off_by_default():
    training = trained(together, [0, 1])
    assert protect(training, PrivacySettings(), 0, 1) is training


def test_clients_protect_themselves_one_by_one():
    all_three = protect(trained(together, [0, 1, 3]), SEEDED, 0, 1)
    plain = trained(one_by_one, [0, 1, 3])
    for number, client in enumerate([0, 1, 3]):
        alone = protect(trained(one_by_one, [client]), SEEDED, 0, 1)
        torch.testing.assert_close(all_three.loss[number:number + 1], alone.loss)
        assert all_three.loss[number] != plain.loss[number]
        for layer in range(2):
            rows = all_three.pairs[layer].client == number
            torch.testing.assert_close(all_three.seen[layer][rows], alone.seen[layer])
    for name, value in plain.params.items():
        torch.testing.assert_close(all_three.params[name], value, rtol=1e-4, atol=1e-6)


def test_noise_differs_from_round_to_round_and_is_fresh_unless_seeded():
    training = trained(together, [0])
    first, again, later = (protect(training, SEEDED, 0, round_).seen[0] for round_ in (1, 1, 2))
    torch.testing.assert_close(first, again)
    assert (first != later).any()
    secret = PrivacySettings(noise_multiplier=0.01)  # too little to be clipped away
    one, two = (protect(training, secret, 0, 1) for _ in range(2))
    assert (one.seen[0][:, 1] != two.seen[0][:, 1]).any()


def test_a_run_with_noise_is_repeatable_where_seeded_and_its_plans_are_others():
    noisy = {"privacy": {"noise_multiplier": 0.5, "seeded": True}}
    one, two = (train(tiny(**noisy))[1].records for _ in range(2))
    assert one == two
    assert one[0]["loss"] != train(tiny())[1].records[0]["loss"]


def test_reports_of_other_apps_are_protected_alike():
    seen = {3: al.ExpertReport(samples=5, loss=9.0, accuracy=0.5, gradient_norm=2.0),
            1: al.ExpertReport(samples=7, loss=0.1, accuracy=0.9, gradient_norm=1.0)}
    assert protect_reports(seen, 3.0, 0.0, np.random.default_rng(0)) == seen
    found = protect_reports(seen, 3.0, 1e-6, np.random.default_rng(0))
    assert list(found) == [3, 1] and found[1].samples == 7
    assert (found[3].loss, found[1].accuracy) == (pytest.approx(3.0, abs=1e-3),
                                                  pytest.approx(0.9, abs=1e-3))
    assert found[3].gradient_norm is None and found[3].loss_before is None


def test_what_clients_saw_stays_in_its_place_and_is_clipped():
    training = trained(together, [0, 1, 3])
    for layer in range(2):  # losses beyond the bound, and others that tell the places apart
        n = len(training.seen[layer])
        for column, most in ((1, 4.0), (2, 5.0), (3, 0.9)):
            training.seen[layer][:, column] = torch.linspace(0.1 * column, most, n)
    training.loss[:] = torch.tensor([0.5, 9.0, torch.nan])
    settings = PrivacySettings(noise_multiplier=1e-9, seeded=True, loss_bound=3.0)
    found = protect(training, settings, 0, 1)
    torch.testing.assert_close(found.loss, torch.tensor([0.5, 3.0, 3.0]))
    for layer in range(2):
        torch.testing.assert_close(found.seen[layer], training.seen[layer].clamp(max=3.0))
    assert training.loss[1] == 9.0 and found.params is training.params


class Standard:
    """Draws the standard deviation itself, and notes what it was asked."""

    def normal(self, mean, scale, size):
        self.asked = mean, scale, size
        return np.full(size, scale)


def test_noise_is_in_units_of_each_range():
    draws = Standard()
    found = clip_and_noise(np.array([0.5, -1.0, 2.0, 9.0]), np.array([1.0, 2.0, 4.0, 3.0]), 0.125,
                           draws)
    assert draws.asked == (0.0, 0.25, 4)  # 1/8 of the diagonal sqrt(4)
    assert found.tolist() == [0.75, 0.5, 3.0, 3.0]
    seen = {3: al.ExpertReport(samples=5, loss=1.5, loss_before=3.0, accuracy=0.5, gate_usage=0.25)}
    one = protect_reports(seen, 6.0, 0.125, draws)[3]
    assert (one.loss_before, one.loss, one.accuracy, one.gate_usage) == (4.5, 3.0, 0.75, 0.5)


def test_the_loss_that_is_stated_is_by_rounds():
    # Noise is in units of the sensitivity: four rounds are one of half the noise.
    assert delta_of(1.0, 2.0, 4) == delta_of(1.0, 1.0, 1)
    assert epsilon_of(2.0, 1e-5, 4) == epsilon_of(1.0, 1e-5)
    assert delta_of(0.0, 1.0) == pytest.approx(norm.cdf(0.5) - norm.cdf(-0.5))
    assert epsilon_of(1e6, 1e-5) == 0.0
    assert stated_loss(PrivacySettings(noise_multiplier=2.0, delta=1e-4), 4) == {
        "epsilon": epsilon_of(1.0, 1e-4), "delta": 1e-4}
