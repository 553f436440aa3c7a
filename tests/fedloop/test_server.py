"""Aggregation, expert by expert."""

import pytest
import torch

from fedloop.client import train_batched
from fedloop.config import LocalSettings
from fedloop.model import init_params
from fedloop.server import add_momentum, aggregate, sound_updates
from tests.fedloop.worlds import images, spec

SIZES = spec(top_k=2)
HELD = [[0, 1], [1], [1, 3]]


@pytest.fixture
def server():
    return init_params(SIZES, 0)


@pytest.fixture
def training(server):
    settings = LocalSettings(steps=2, batch_size=8, learning_rate=0.5)
    return train_batched(server, images(3), range(3), HELD, SIZES, settings, 0, 1)


def all_of(training):
    return torch.ones(len(training.clients), dtype=torch.bool)


def test_experts_that_nobody_held_stay_as_they_were(server, training):
    new = aggregate(server, training, all_of(training), [1, 1, 1])
    for name, value in new.items():
        if name.startswith(("gate.", "experts.")):
            assert torch.equal(value[[2, 4]], server[name][[2, 4]])
            assert not torch.equal(value[1], server[name][1])


@pytest.mark.parametrize("weighting", ["usage", "samples", "mean"])
def test_holders_count_as_they_should(server, training, weighting):
    samples = torch.tensor([10.0, 20.0, 40.0])
    new = aggregate(server, training, all_of(training), samples.tolist(), weighting)
    pair = training.pairs[0]
    rows = torch.nonzero(pair.expert == 1)[:, 0]
    weight = {"usage": samples * training.usage[0][rows], "samples": samples,
              "mean": torch.ones(3)}[weighting]
    for name in ("gate.0.weight", "experts.0.out.bias"):
        expected = (training.params[name][rows] * weight[:, None]).sum(0) / weight.sum()
        torch.testing.assert_close(new[name][1], expected)
    trunk = training.params["trunk.linear.bias"]
    torch.testing.assert_close(
        new["trunk.linear.bias"], (trunk * samples[:, None]).sum(0) / samples.sum())


@pytest.mark.parametrize("name", ["trunk.linear.bias", "experts.0.in.weight", "gate.0.weight"])
@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_updates_that_are_not_finite_are_refused(server, training, name, value):
    row = 1 if name.startswith("trunk") else 2  # the pair of client 1
    training.params[name][row].view(-1)[0] = value
    assert sound_updates(training).tolist() == [True, False, True]
    new = aggregate(server, training, sound_updates(training), [1, 1, 1])
    assert all(part.isfinite().all() for part in new.values())


def test_large_but_finite_updates_are_accepted(server, training):
    training.params["trunk.linear.weight"][1] = 3e38  # its sum is beyond float32
    assert sound_updates(training).all()


def test_nothing_accepted_changes_nothing(server, training):
    new = aggregate(server, training, ~all_of(training), [1, 1, 1])
    assert all(torch.equal(new[name], server[name]) for name in server)


def test_personal_gates_are_kept_by_their_clients(server):
    gates = server["gate.0.weight"].expand(6, -1, -1).clone()
    server = {**server, "gate.0.weight": gates}
    settings = LocalSettings(steps=2, batch_size=8, learning_rate=0.5)
    training = train_batched(server, images(6), [1, 4], [[0, 1], [1, 2]], SIZES, settings, 0, 1)
    new = aggregate(server, training, torch.tensor([True, False]), [1, 1])["gate.0.weight"]
    changed = (new != gates).any(dim=2)
    assert torch.nonzero(changed).tolist() == [[1, 0], [1, 1]]


def test_momentum_carries_the_last_update_on(server, training):
    new = aggregate(server, training, all_of(training), [1, 1, 1])
    one, velocity = add_momentum(server, new, {}, 0.9)
    assert all(torch.allclose(one[name], new[name], atol=1e-6) for name in new)
    two, _ = add_momentum(one, {n: one[n] + (new[n] - server[n]) for n in one}, velocity, 0.9)
    name = "trunk.linear.weight"
    torch.testing.assert_close(two[name] - one[name], 1.9 * (new[name] - server[name]),
                               rtol=1e-3, atol=1e-6)
    assert torch.equal(two["experts.0.in.weight"][4], server["experts.0.in.weight"][4])
