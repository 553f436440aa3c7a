"""Aggregation, expert by expert."""

import pytest
import torch

from fedloop.config import LocalSettings, ServerSettings
from fedloop.local.client import Training
from fedloop.local.pairs import Pairs
from fedloop.server.aggregation import _average_experts, aggregate, sound_updates
from fedloop.server.optimisers import server_step
from fedloop.tasks.images import ImageClassification
from tests.fedloop.worlds import images, spec, together

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
    weight = {"usage": samples * training.seen[0][rows, 0], "samples": samples,
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
    training = together(SIZES, ImageClassification(), SIZES.own_rows(server, [1, 4]), images(6),
                        [1, 4], [[0, 1], [1, 2]], settings, 0, 1)
    new = aggregate(server, training, LAYOUT, torch.tensor([True, False]), [1, 1])[ROUTER]
    changed = (new != gates).any(dim=2)
    assert torch.nonzero(changed).tolist() == [[1, 0], [1, 1]]


def stepped(server, new, *running, **settings):
    running = running or ({}, {})
    return server_step(server, new, *running, ServerSettings(**settings),
                       dict.fromkeys(LAYOUT.layer_of, 1))


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


@pytest.mark.parametrize("weighting", ["usage", "samples", "mean"])
def test_a_refused_client_counts_as_one_that_was_not_there(server, training, weighting):
    settings = LocalSettings(steps=2, batch_size=8, learning_rate=0.5)
    accepted = torch.tensor([True, False, True])
    new = aggregate(server, training, LAYOUT, accepted, [10, 20, 30], weighting)
    others = together(SIZES, ImageClassification(), server, images(3), [0, 2], [HELD[0], HELD[2]],
                      settings, 0, 1)
    expected = aggregate(server, others, LAYOUT, torch.ones(2, dtype=torch.bool), [10, 30],
                         weighting)
    for name, value in new.items():
        torch.testing.assert_close(value, expected[name], rtol=1e-4, atol=1e-6)


def of_numbers(trunk, pairs, usage, rows):
    """Return what clients have, with one parameter of the trunk and one of three experts."""
    client, expert = torch.tensor(pairs).T
    names = {name: torch.tensor(rows)[:, None] for name in LAYOUT.of_layer(0)}
    return Training(
        clients=tuple(range(len(trunk))), params={"trunk.w": torch.tensor(trunk)[:, None], **names},
        loss=torch.zeros(len(trunk)),
        pairs=[Pairs(client, expert, torch.zeros_like(client), 2)],
        seen=[torch.tensor(usage)[:, None]])


@pytest.mark.parametrize(("weighting", "expected"), [
    # Expert 1 of clients 0, 1 and 3, worth 1, 2 and 4, by images times usage, images, or equally.
    ("usage", (1 * 10 * 0.5 + 2 * 20 * 1.0 + 4 * 40 * 0.25) / (5 + 20 + 10)),
    ("samples", (1 * 10 + 2 * 20 + 4 * 40) / 70), ("mean", 7 / 3),
])
def test_averages_are_worked_out_by_hand(weighting, expected):
    training = of_numbers([1.0, 2.0, torch.nan, 4.0], [(0, 1), (1, 1), (2, 1), (3, 1), (3, 2)],
                          [0.5, 1.0, 1.0, 0.25, 0.0], [1.0, 2.0, torch.inf, 4.0, 8.0])
    server = {"trunk.w": torch.tensor([9.0]),
              **{name: torch.tensor([[5.0], [6.0], [7.0]]) for name in LAYOUT.of_layer(0)}}
    accepted = sound_updates(training, LAYOUT)
    assert accepted.tolist() == [True, True, False, True]
    new = aggregate(server, training, LAYOUT, accepted, [10, 20, 30, 40], weighting)
    assert new["trunk.w"].tolist() == pytest.approx([(1 * 10 + 2 * 20 + 4 * 40) / 70])
    for name in LAYOUT.of_layer(0):
        # Expert 0 nobody held; of expert 2 no image was seen, which counts where usage does.
        last = 7.0 if weighting == "usage" else 8.0
        assert new[name].flatten().tolist() == pytest.approx([5.0, expected, last])
    assert server["trunk.w"].tolist() == [9.0]


def test_a_loss_that_is_not_finite_refuses_its_client(training):
    training.loss[2] = torch.inf
    assert sound_updates(training, LAYOUT).tolist() == [True, True, False]


def test_momentum_is_worked_out_by_hand():
    expert, gate = "layers.0.experts.in_weight", ROUTER
    old = {"trunk.w": torch.tensor([1.0, 1.0]), gate: torch.zeros(2, 2, 2),
           expert: torch.tensor([[1.0, 1.0], [2.0, 2.0]])}
    new = {"trunk.w": torch.tensor([2.0, 1.0]), gate: torch.ones(2, 2, 2),
           expert: torch.tensor([[1.0, 3.0], [2.0, 2.0]])}
    run = {"trunk.w": torch.tensor([4.0, 4.0]), expert: torch.full((2, 2), 4.0)}
    model, velocity, _ = server_step(old, new, run, {}, ServerSettings(momentum=0.5),
                                     dict.fromkeys(LAYOUT.layer_of, 1), frozenset([gate]))
    # 0.5 * 4 + 1; what did not change stays, of the trunk by number, of an expert as a whole.
    assert (velocity["trunk.w"].tolist(), model["trunk.w"].tolist()) == ([3, 4], [4, 1])
    assert velocity[expert].tolist() == [[2, 4], [4, 4]]
    assert model[expert].tolist() == [[3, 5], [2, 2]]
    assert torch.equal(model[gate], new[gate]) and gate not in velocity


@pytest.mark.parametrize("optimiser", ["fedavgm", "fedadam"])
def test_whole_numbers_are_no_business_of_the_optimiser(optimiser):
    old = {"x": torch.zeros(3), "seen": torch.tensor(3)}
    new = {"x": torch.ones(3), "seen": torch.tensor(5)}
    model, velocity, square = server_step(old, new, {}, {}, ServerSettings(optimiser=optimiser),
                                          {})
    assert model["seen"].dtype == torch.int64 and model["seen"] == 5
    assert model["x"].all() and "seen" not in velocity and "seen" not in square


def test_half_precision_is_averaged_in_single():
    rows = torch.full((300, 1), 3.0, dtype=torch.bfloat16)
    old, share = torch.zeros(1, 1, dtype=torch.bfloat16), torch.ones(300)
    found = _average_experts(old, rows, torch.zeros(300, dtype=torch.int64), share)
    # In bfloat16 sums of 3 would stop at 1024, and 1 / 300 has an error of 0.2%.
    assert found.dtype == torch.bfloat16 and found.item() == 3
