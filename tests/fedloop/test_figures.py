"""Figures of a run, and what simulated devices take, by numbers worked out by hand."""

import math

import numpy as np
import pytest

from fedloop.config import FleetSettings
from fedloop.errors import ConfigError
from fedloop.fleet import TIERS, Device, Luck, draw_fleet, draw_luck, round_times
from fedloop.metrics import (
    balance,
    estimate,
    first_reaching,
    paired_change,
    summary,
    worst_decile,
)
from fedloop.printing import told


def test_times_of_a_round():
    device = Device(1, 64.0, down_mbps=20.0, up_mbps=5.0, seconds_per_sample=2e-3)
    times = round_times(device, Luck(1.5, False, False), 10_000_000, 5_000_000, 400)
    # 80 megabits at 20 a second, 400 images at 3 milliseconds, 40 megabits at 5 a second.
    assert (times.down, times.train, times.up) == (4.0, pytest.approx(1.2), 8.0)
    assert times.total == pytest.approx(13.2)


def test_fleets_are_drawn_from_their_tiers_and_luck_from_its_rates():
    assert set(draw_fleet(200, FleetSettings(tiers=["phone", "edge"]), 0)) == {
        TIERS["phone"], TIERS["edge"]}
    with pytest.raises(ConfigError, match="no tier 'toaster'"):
        draw_fleet(2, FleetSettings(tiers=["phone", "toaster"]), 0)
    settings = FleetSettings(speed_spread=0.5, failure_rate=0.25, corruption_rate=0.0)
    luck = draw_luck(0, 1, 4000, settings)
    assert np.mean([one.fails for one in luck]) == pytest.approx(0.25, abs=0.03)
    assert not any(one.corrupts for one in luck)
    assert np.log([one.speed for one in luck]).std() == pytest.approx(0.5, rel=0.05)
    assert luck == draw_luck(0, 1, 4000, settings) != draw_luck(0, 2, 4000, settings)
    assert luck[:9] != draw_luck(1, 1, 4000, settings)[:9]
    wild = draw_luck(0, 1, 4000, FleetSettings(speed_spread=1e9))
    assert {round(math.log(one.speed)) for one in wild} == {-300, 300}


def test_small_figures():
    assert worst_decile(np.array([0.9, 0.1, 0.5])) == 0.1
    assert worst_decile(np.arange(20.0)[::-1]) == 0.5
    assert worst_decile(np.arange(29.0)) == 0.5
    assert (first_reaching([0.1, 0.5, 0.4, 0.5], 0.5), first_reaching([0.1], 0.5)) == (1, None)
    assert balance(np.array([1, 3])) == 0.5
    assert balance(np.zeros(3)) == 0.0


def test_a_run_is_summed_up():
    records = [{"down_bytes": 10 * k, "up_bytes": k, "seconds": 0.5 * k, "accuracy": accuracy,
                "worst_decile": 0.1 * k, "accuracy_all": 0.2, "load_cv": 0.3}
               for k, accuracy in enumerate((0.2, 0.5, 0.4, 0.625), start=1)]
    found = summary(records, [0.5, 0.6, 0.9])
    assert found["rounds_to"] == {"50": 2, "60": 4, "90": None}
    assert found["bytes_to"] == {"50": 33, "60": 110, "90": None}
    assert found["seconds_to"] == {"50": 1.5, "60": 5.0, "90": None}
    assert (found["accuracy"], found["worst_decile"], found["load_cv"]) == (0.625, 0.4, 0.3)
    assert (found["rounds"], found["bytes"], found["seconds"]) == (4, 110, 5.0)


def test_intervals_over_seeds():
    found = estimate([1.0, 2.0, 3.0])
    # Student's t of two degrees of freedom at 97.5% is 4.302653; the deviation is 1.
    assert (found.mean, found.n, found.censored) == (2.0, 3, 0)
    assert found.half_width == pytest.approx(4.302653 / math.sqrt(3), rel=1e-6)
    assert math.isnan(estimate([1.0]).half_width)
    assert (estimate([1.0, None], 5.0).mean, estimate([1.0, None], 5.0).censored) == (3.0, 1)
    change = paired_change([2.0, 3.0, None], [4.0, 2.0, 10.0], limit=20.0)
    assert (change.mean, change.n, change.censored) == (pytest.approx(1 / 3), 3, 1)


def test_the_figures_of_a_run_in_words():
    found = {"rounds": 7, "bytes": 1_500_000, "seconds": 12.25, "load_cv": 0.5, "accuracy": 0.75,
             "worst_decile": 0.25, "accuracy_all": 0.625, "rounds_to": {50: 3, 90: None},
             "bytes_to": {50: 250_000}, "seconds_to": {50: 4.5}, "bits_per_byte": 2.5,
             "bits_per_byte_all": 3.125, "privacy": {"epsilon": 6.571, "delta": 1e-5}}
    assert told(found).splitlines() == [
        "rounds 7, moved 1.5 MB, simulated time 12.2 s, load CV 0.5000",
        "accuracy 0.750 as served (worst tenth of the clients 0.250), 0.625 with all experts",
        "2.500 bits per byte as served, 3.125 with all experts",
        "50% after 3 rounds, 0.2 MB, 4.5 simulated s", "90% not reached",
        "reported statistics: epsilon 6.57 at delta 1e-05 for a client in every round"]
