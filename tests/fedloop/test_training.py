"""Local training: batched equals plain; routing, and judging clients."""

import numpy as np
import pytest
import torch

from fedloop.client import draw_batches, train_batched, train_plain
from fedloop.config import LocalSettings
from fedloop.metrics import client_accuracy
from fedloop.model import forward, init_params, route
from tests.fedloop.worlds import holdings, images, spec


@pytest.mark.parametrize("prox", [0.0, 0.3])
@pytest.mark.parametrize(
    "sizes",
    [spec(), spec(top_k=1), spec(n_layers=2), spec(trunk="cnn"), spec(trunk="cnn", n_layers=3)],
    ids=["mlp", "top-1", "two layers", "cnn", "cnn of three layers"],
)
@pytest.mark.parametrize("personal", [False, True], ids=["shared gate", "personal gate"])
def test_batched_gives_the_numbers_of_plain(sizes, prox, personal):
    clients, held = [0, 2, 3, 6], holdings(4, sizes, seed=3)
    server = init_params(sizes, seed=1)
    if personal:
        for layer in range(sizes.n_layers):
            gate = server[f"gate.{layer}.weight"]
            noise = torch.randn(7, *gate.shape, generator=torch.Generator().manual_seed(2))
            server[f"gate.{layer}.weight"] = gate + 0.1 * noise
    settings = LocalSettings(steps=3, batch_size=16, learning_rate=0.3, prox=prox)
    arguments = (server, images(7), clients, held, sizes, settings, 5, 11)
    plain, batched = train_plain(*arguments), train_batched(*arguments)
    assert plain.params.keys() == batched.params.keys()
    for name, value in plain.params.items():
        torch.testing.assert_close(batched.params[name], value, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(batched.loss, plain.loss)
    for layer, pair in enumerate(plain.pairs):
        assert torch.equal(pair.expert, batched.pairs[layer].expert)
        for kind in ("usage", "before", "after"):
            mine, theirs = getattr(batched, kind)[layer], getattr(plain, kind)[layer]
            # One image of a probe may change sides by rounding.
            torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-4)
        sums = torch.zeros(4).index_add(0, pair.client, batched.usage[layer])
        torch.testing.assert_close(sums, torch.ones(4))


def test_clients_trained_in_parts_are_those_trained_together(monkeypatch):
    sizes = spec(n_layers=2)
    settings = LocalSettings(steps=2, batch_size=8, prox=0.1)
    arguments = (init_params(sizes, 0), images(5), range(5), holdings(5, sizes), sizes, settings,
                 0, 1)
    whole = train_batched(*arguments)
    monkeypatch.setattr("fedloop.client.TOGETHER", 2)
    parts = train_batched(*arguments)
    for name, value in whole.params.items():
        torch.testing.assert_close(parts.params[name], value)
    for kind in ("usage", "before", "after"):
        torch.testing.assert_close(getattr(parts, kind), getattr(whole, kind))


def test_batches_depend_on_seed_round_and_client_alone():
    settings = LocalSettings(steps=4, batch_size=10)
    first = draw_batches(1, 2, 3, 25, settings)
    assert np.array_equal(first, draw_batches(1, 2, 3, 25, settings))
    for other in ((2, 2, 3), (1, 3, 3), (1, 2, 4)):
        assert not np.array_equal(first, draw_batches(*other, 25, settings))
    assert np.bincount(first.ravel(), minlength=25).max() == 2  # 40 draws of 25 images


def test_participants_do_not_change_each_other():
    sizes, settings = spec(), LocalSettings(steps=2, batch_size=8)
    server, data = init_params(sizes, 0), images(5)
    held = holdings(5, sizes)
    alone = train_plain(server, data, [3], [held[3]], sizes, settings, 0, 1)
    together = train_plain(server, data, range(5), held, sizes, settings, 0, 1)
    assert torch.equal(alone.params["trunk.linear.weight"][0],
                       together.params["trunk.linear.weight"][3])


def test_prox_keeps_clients_near_the_server():
    sizes, server = spec(), init_params(spec(), 0)
    moved = []
    for prox in (0.0, 1.0):
        settings = LocalSettings(steps=20, learning_rate=0.3, prox=prox)
        training = train_batched(server, images(2), [0, 1], [[0], [1]], sizes, settings, 0, 1)
        name = "trunk.linear.weight"
        moved.append(float((training.params[name] - server[name]).norm()))
    assert moved[1] < 0.8 * moved[0]


def test_routing_keeps_the_best_and_only_those_held():
    logit = torch.tensor([[1.0, 3.0, 2.0, -torch.inf], [5.0, -torch.inf, -torch.inf, -torch.inf]])
    weight = route(logit, 2, dim=1)
    assert (weight > 0).tolist() == [[False, True, True, False], [True, False, False, False]]
    torch.testing.assert_close(weight.sum(1), torch.ones(2))
    assert weight[1, 0] == 1


def test_masked_forward_equals_the_forward_of_the_rows_held():
    sizes, server = spec(), init_params(spec(), 0)
    image = images(1).image[:9]
    held = torch.zeros(1, 5, dtype=torch.bool)
    held[0, [1, 4]] = True
    part = {name: value if name.startswith("trunk.") else value[[1, 4]]
            for name, value in server.items()}
    masked, _ = forward(server, image, sizes, [held])
    torch.testing.assert_close(masked, forward(part, image, sizes)[0])


def test_clients_are_judged_with_what_they_hold():
    sizes, server, data = spec(), init_params(spec(), 0), images(3)
    held = np.eye(3, 5, dtype=bool)
    found, every = client_accuracy(server, data, sizes, held, None)
    logit, _ = forward(server, data.image, sizes)
    right = (logit.argmax(1) == data.label).double().view(3, -1).mean(1)
    np.testing.assert_allclose(every, right)
    for client in range(3):
        part = {name: value if name.startswith("trunk.") else value[[client]]
                for name, value in server.items()}
        rows = slice(data.first[client], data.first[client + 1])
        logit, _ = forward(part, data.image[rows], sizes)
        right = (logit.argmax(1) == data.label[rows]).double().mean()
        assert found[client] == pytest.approx(float(right))


def test_a_model_is_the_same_from_the_same_seed():
    one, two, other = (init_params(spec(trunk="cnn", n_layers=2), seed) for seed in (1, 1, 2))
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert not torch.equal(one["trunk.linear.weight"], other["trunk.linear.weight"])
