"""Aggregation, expert by expert."""

import pytest
import torch

from fedloop.client import Pairs, Training, train_batched
from fedloop.config import LocalSettings
from fedloop.model import init_params, layer_names
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


@pytest.mark.parametrize("weighting", ["usage", "samples", "mean"])
def test_a_refused_client_counts_as_one_that_was_not_there(server, training, weighting):
    settings = LocalSettings(steps=2, batch_size=8, learning_rate=0.5)
    accepted = torch.tensor([True, False, True])
    new = aggregate(server, training, accepted, [10, 20, 30], weighting)
    others = train_batched(server, images(3), [0, 2], [HELD[0], HELD[2]], SIZES, settings, 0, 1)
    expected = aggregate(server, others, torch.ones(2, dtype=torch.bool), [10, 30], weighting)
    for name, value in new.items():
        torch.testing.assert_close(value, expected[name], rtol=1e-4, atol=1e-6)


def of_numbers(trunk, pairs, usage, rows):
    """Return what clients have, with one parameter of the trunk and one of three experts."""
    client, expert = torch.tensor(pairs).T
    names = {name: torch.tensor(rows)[:, None] for name in layer_names(0)}
    return Training(
        clients=tuple(range(len(trunk))), params={"trunk.w": torch.tensor(trunk)[:, None], **names},
        loss=torch.zeros(len(trunk)),
        pairs=[Pairs(client, expert, torch.zeros_like(client), 2)], usage=[torch.tensor(usage)],
        before=[], after=[])


@pytest.mark.parametrize(("weighting", "expected"), [
    # Expert 1 of clients 0, 1 and 3, worth 1, 2 and 4, by images times usage, images, or equally.
    ("usage", (1 * 10 * 0.5 + 2 * 20 * 1.0 + 4 * 40 * 0.25) / (5 + 20 + 10)),
    ("samples", (1 * 10 + 2 * 20 + 4 * 40) / 70), ("mean", 7 / 3),
])
def test_averages_are_worked_out_by_hand(weighting, expected):
    training = of_numbers([1.0, 2.0, torch.nan, 4.0], [(0, 1), (1, 1), (2, 1), (3, 1), (3, 2)],
                          [0.5, 1.0, 1.0, 0.25, 0.0], [1.0, 2.0, torch.inf, 4.0, 8.0])
    server = {"trunk.w": torch.tensor([9.0]),
              **{name: torch.tensor([[5.0], [6.0], [7.0]]) for name in layer_names(0)}}
    accepted = sound_updates(training)
    assert accepted.tolist() == [True, True, False, True]
    new = aggregate(server, training, accepted, [10, 20, 30, 40], weighting)
    assert new["trunk.w"].tolist() == pytest.approx([(1 * 10 + 2 * 20 + 4 * 40) / 70])
    for name in layer_names(0):
        # Expert 0 nobody held; of expert 2 no image was seen, which counts where usage does.
        last = 7.0 if weighting == "usage" else 8.0
        assert new[name].flatten().tolist() == pytest.approx([5.0, expected, last])
    assert server["trunk.w"].tolist() == [9.0]


def test_a_loss_that_is_not_finite_refuses_its_client(training):
    training.loss[2] = torch.inf
    assert sound_updates(training).tolist() == [True, True, False]


def test_momentum_is_worked_out_by_hand():
    old = {"trunk.w": torch.tensor([1.0, 1.0]), "gate.0.w": torch.zeros(2, 2, 2),
           "experts.0.w": torch.tensor([[1.0, 1.0], [2.0, 2.0]])}
    new = {"trunk.w": torch.tensor([2.0, 1.0]), "gate.0.w": torch.ones(2, 2, 2),
           "experts.0.w": torch.tensor([[1.0, 3.0], [2.0, 2.0]])}
    run = {"trunk.w": torch.tensor([4.0, 4.0]), "experts.0.w": torch.full((2, 2), 4.0)}
    model, velocity = add_momentum(old, new, run, 0.5)
    # 0.5 * 4 + 1; what did not change stays, of the trunk by number, of an expert as a whole.
    assert (velocity["trunk.w"].tolist(), model["trunk.w"].tolist()) == ([3, 4], [4, 1])
    assert velocity["experts.0.w"].tolist() == [[2, 4], [4, 4]]
    assert model["experts.0.w"].tolist() == [[3, 5], [2, 2]]
    assert torch.equal(model["gate.0.w"], new["gate.0.w"]) and "gate.0.w" not in velocity
