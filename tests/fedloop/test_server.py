"""Aggregation, expert by expert."""

import pytest
import torch

from fedloop.config import LocalSettings, ServerSettings
from fedloop.local.executors import together
from fedloop.server.aggregation import aggregate, sound_updates
from fedloop.server.optimisers import server_step
from fedloop.tasks.images import ImageClassification
from tests.fedloop.worlds import images, spec

SIZES = spec(top_k=2)
LAYOUT = SIZES.layout
ROUTER = "layers.0.router.weight"
HELD = [[0, 1], [1], [1, 3]]


@pytest.fixture
def server():
    return SIZES.initial()


@pytest.fixture
def training(server):
    settings = LocalSettings(steps=2, batch_size=8, learning_rate=0.5)
    return together(SIZES, ImageClassification(), server, images(3), range(3), HELD, settings,
                    0, 1)


def all_of(training):
    return torch.ones(len(training.clients), dtype=torch.bool)


def test_experts_that_nobody_held_stay_as_they_were(server, training):
    new = aggregate(server, training, LAYOUT, all_of(training), [1, 1, 1])
    for name, value in new.items():
        if name in LAYOUT.layer_of:
            assert torch.equal(value[[2, 4]], server[name][[2, 4]])
            assert not torch.equal(value[1], server[name][1])


@pytest.mark.parametrize("weighting", ["usage", "samples", "mean"])
def test_holders_count_as_they_should(server, training, weighting):
    samples = torch.tensor([10.0, 20.0, 40.0])
    new = aggregate(server, training, LAYOUT, all_of(training), samples.tolist(), weighting)
    pair = training.pairs[0]
    rows = torch.nonzero(pair.expert == 1)[:, 0]
    weight = {"usage": samples * training.usage[0][rows], "samples": samples,
              "mean": torch.ones(3)}[weighting]
    for name in (ROUTER, "layers.0.experts.out_bias"):
        expected = (training.params[name][rows] * weight[:, None]).sum(0) / weight.sum()
        torch.testing.assert_close(new[name][1], expected)
    trunk = training.params["trunk.linear.bias"]
    torch.testing.assert_close(
        new["trunk.linear.bias"], (trunk * samples[:, None]).sum(0) / samples.sum())


@pytest.mark.parametrize("name", ["trunk.linear.bias", "layers.0.experts.in_weight", ROUTER])
@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_updates_that_are_not_finite_are_refused(server, training, name, value):
    row = 1 if name.startswith("trunk") else 2  # the pair of client 1
    training.params[name][row].view(-1)[0] = value
    assert sound_updates(training, LAYOUT).tolist() == [True, False, True]
    new = aggregate(server, training, LAYOUT, sound_updates(training, LAYOUT), [1, 1, 1])
    assert all(part.isfinite().all() for part in new.values())


def test_large_but_finite_updates_are_accepted(server, training):
    training.params["trunk.linear.weight"][1] = 3e38  # its sum is beyond float32
    assert sound_updates(training, LAYOUT).all()


def test_nothing_accepted_changes_nothing(server, training):
    new = aggregate(server, training, LAYOUT, ~all_of(training), [1, 1, 1])
    assert all(torch.equal(new[name], server[name]) for name in server)


def test_personal_gates_are_kept_by_their_clients(server):
    gates = server[ROUTER].expand(6, -1, -1).clone()
    server = {**server, ROUTER: gates}
    settings = LocalSettings(steps=2, batch_size=8, learning_rate=0.5)
    training = together(SIZES, ImageClassification(), server, images(6), [1, 4],
                        [[0, 1], [1, 2]], settings, 0, 1)
    new = aggregate(server, training, LAYOUT, torch.tensor([True, False]), [1, 1])[ROUTER]
    changed = (new != gates).any(dim=2)
    assert torch.nonzero(changed).tolist() == [[1, 0], [1, 1]]


def stepped(server, new, *running, **settings):
    running = running or ({}, {})
    return server_step(server, new, *running, ServerSettings(**settings), LAYOUT)


def test_momentum_carries_the_last_update_on(server, training):
    new = aggregate(server, training, LAYOUT, all_of(training), [1, 1, 1])
    for settings in ({"momentum": 0.9}, {"optimiser": "fedavgm"}):
        one, *running = stepped(server, new, **settings)
        assert all(torch.allclose(one[name], new[name], atol=1e-6) for name in new)
        two, *_ = stepped(one, {n: one[n] + (new[n] - server[n]) for n in one}, *running,
                          **settings)
        name = "trunk.linear.weight"
        torch.testing.assert_close(two[name] - one[name], 1.9 * (new[name] - server[name]),
                                   rtol=1e-3, atol=1e-6)
        untrained = "layers.0.experts.in_weight"
        assert torch.equal(two[untrained][4], server[untrained][4])


def test_fedadam_is_the_published_one(server, training):
    beta1, beta2, tau, rate = 0.8, 0.95, 1e-2, 0.03
    settings = {"optimiser": "fedadam", "momentum": beta1, "beta2": beta2, "tau": tau,
                "learning_rate": rate}
    new = aggregate(server, training, LAYOUT, all_of(training), [1, 1, 1])
    name, untrained = "trunk.linear.weight", "layers.0.experts.in_weight"
    value, running, m, v = server, ({}, {}), 0.0, 0.0
    for _ in range(3):  # algorithm 2 of arXiv:2003.00295
        change = new[name] - server[name]
        expected = value[name].clone()
        m, v = beta1 * m + (1 - beta1) * change, beta2 * v + (1 - beta2) * change**2
        expected += rate * m / (v.sqrt() + tau)
        after = {n: value[n] + (new[n] - server[n]) for n in value}
        value, *running = stepped(value, after, *running, **settings)
        torch.testing.assert_close(value[name], expected, rtol=1e-3, atol=1e-6)
    assert torch.equal(value[untrained][4], server[untrained][4])
    assert not torch.equal(value[untrained][1], server[untrained][1])
