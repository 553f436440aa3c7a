"""Local training: batched equals plain; routing, and judging clients."""

import dataclasses

import numpy as np
import pytest
import torch

from fedloop.config import LocalSettings, build_config
from fedloop.evaluation import judge_clients
from fedloop.experiment import run_training
from fedloop.local.batches import draw_batches
from fedloop.local.optimisers import learning_rate
from fedloop.models.moe import route
from fedloop.tasks.data import load_dataset
from fedloop.tasks.images import ImageClassification
from tests.fedloop.worlds import holdings, images, one_by_one, spec, together

TASK = ImageClassification()


@pytest.mark.parametrize("prox", [0.0, 0.3])
@pytest.mark.parametrize(
    "sizes",
    [spec(1), spec(1, top_k=1), spec(1, layers=2, norm="layer"), spec(1, trunk="cnn"),
     spec(1, trunk="cnn", layers=3), spec(1, trunk="resnet")],
    ids=["mlp", "top-1", "two layers", "cnn", "cnn of three layers", "resnet"],
)
@pytest.mark.parametrize("personal", [False, True], ids=["shared gate", "personal gate"])
def test_batched_gives_the_numbers_of_plain(sizes, prox, personal):
    clients, held = [0, 2, 3, 6], holdings(4, sizes, seed=3)
    server = sizes.initial()
    if personal:
        for name in sizes.layout.routers:
            gate = server[name]
            noise = torch.randn(4, *gate.shape, generator=torch.Generator().manual_seed(2))
            server[name] = gate + 0.1 * noise
    settings = LocalSettings(steps=3, batch_size=16, learning_rate=0.3, prox=prox)
    arguments = (sizes, TASK, server, images(7), clients, held, settings, 5, 11)
    plain, batched = one_by_one(*arguments), together(*arguments)
    assert plain.params.keys() == batched.params.keys()
    for name, value in plain.params.items():
        torch.testing.assert_close(batched.params[name], value, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(batched.loss, plain.loss)
    for layer, pair in enumerate(plain.pairs):
        assert torch.equal(pair.expert, batched.pairs[layer].expert)
        # One image of a probe may change sides by rounding.
        torch.testing.assert_close(batched.seen[layer], plain.seen[layer], rtol=1e-4, atol=1e-4)
        sums = torch.zeros(4).index_add(0, pair.client, batched.seen[layer][:, 0])
        torch.testing.assert_close(sums, torch.ones(4))


def test_clients_trained_in_parts_are_those_trained_together(monkeypatch):
    sizes = spec(layers=2)
    settings = LocalSettings(steps=2, batch_size=8, prox=0.1)
    arguments = (sizes, TASK, sizes.initial(), images(5), range(5), holdings(5, sizes), settings,
                 0, 1)
    whole = together(*arguments)
    monkeypatch.setattr("fedloop.local.executors.TOGETHER", 2)
    parts = together(*arguments)
    for name, value in whole.params.items():
        torch.testing.assert_close(parts.params[name], value)
    torch.testing.assert_close(parts.seen, whole.seen)


def test_batches_depend_on_seed_round_and_client_alone():
    settings = LocalSettings(steps=4, batch_size=10)
    first = draw_batches(1, 2, 3, 25, settings)
    assert np.array_equal(first, draw_batches(1, 2, 3, 25, settings))
    for other in ((2, 2, 3), (1, 3, 3), (1, 2, 4)):
        assert not np.array_equal(first, draw_batches(*other, 25, settings))
    assert np.bincount(first.ravel(), minlength=25).max() == 2  # 40 draws of 25 images


def test_participants_do_not_change_each_other():
    sizes, settings = spec(), LocalSettings(steps=2, batch_size=8)
    server, data = sizes.initial(), images(5)
    held = holdings(5, sizes)
    alone = one_by_one(sizes, TASK, server, data, [3], [held[3]], settings, 0, 1)
    all_five = one_by_one(sizes, TASK, server, data, range(5), held, settings, 0, 1)
    assert torch.equal(alone.params["trunk.linear.weight"][0],
                       all_five.params["trunk.linear.weight"][3])


def test_prox_keeps_clients_near_the_server():
    sizes, server = spec(), spec().initial()
    moved = []
    for prox in (0.0, 1.0):
        settings = LocalSettings(steps=20, learning_rate=0.3, prox=prox)
        training = together(sizes, TASK, server, images(2), [0, 1], [[0], [1]], settings, 0, 1)
        name = "trunk.linear.weight"
        moved.append(float((training.params[name] - server[name]).norm()))
    assert moved[1] < 0.8 * moved[0]


@pytest.mark.parametrize("local", [
    {"momentum": 0.9, "clip": 0.1}, {"optimiser": "adamw", "weight_decay": 0.1, "clip": 0.0},
], ids=["momentum and clipping", "adamw"])
def test_clients_are_clipped_and_moved_one_by_one_also_together(local):
    sizes = spec(norm="layer")
    settings = LocalSettings(steps=3, batch_size=8, learning_rate=0.02, **local)
    arguments = (sizes, TASK, sizes.initial(), images(3), range(3), holdings(3, sizes), settings,
                 0, 4)
    plain, batched = one_by_one(*arguments), together(*arguments)
    for name, value in plain.params.items():
        torch.testing.assert_close(batched.params[name], value, rtol=1e-3, atol=1e-4)


def test_the_rate_rises_for_some_rounds_and_then_falls_as_half_a_cosine():
    settings = LocalSettings(learning_rate=0.8, warmup_rounds=4, schedule="cosine",
                             decay_rounds=6, final_rate=0.5)
    # From 0.2 by quarters; the cosine of 0, 60, 90, 120 and 180 degrees is 1, 1/2, 0, -1/2, -1.
    expected = {1: 0.2 * 1.0, 3: 0.6 * 0.875, 4: 0.8 * 0.75, 5: 0.8 * 0.625, 7: 0.8 * 0.5, 9: 0.4}
    assert {at: learning_rate(settings, at) for at in expected} == pytest.approx(expected)


def test_clipping_bounds_a_step():
    sizes, server = spec(), spec().initial()
    settings = LocalSettings(steps=1, batch_size=8, learning_rate=1.0, clip=0.01)
    found = together(sizes, TASK, server, images(2), [0, 1], [[0], [1]], settings, 0, 1)
    moved = [sum(float((value[at] - (server[name] if name.startswith("trunk") else
                                     server[name][at])).square().sum())
                 for name, value in found.params.items()) ** 0.5 for at in (0, 1)]
    assert moved == pytest.approx([0.01, 0.01], rel=1e-3)


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.skipif(
    not torch.cuda.is_available(), reason="there is no CUDA device"))])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("batched", [True, False])
def test_devices_and_half_precision(device, dtype, batched, tmp_path):
    module = spec(layers=2, norm="layer", shape=(1, 8, 8), classes=10).module.to(dtype)
    config = build_config({
        "rounds": 2, "device": device, "checkpoint_every": 1, "server": {"momentum": 0.5},
        "partition": {"clients": 3, "test_images": 10},
        "local": {"steps": 2, "batch_size": 8, "probe_images": 8, "batched": batched}})
    data = load_dataset("digits")
    half = Half() if dtype == torch.bfloat16 else ImageClassification()
    run_training(config, module, data, tmp_path, task=half, stop_after=1)
    _, state = run_training(config, module, data, tmp_path, task=half)
    _, whole = run_training(config, module, data, task=half)
    assert all(value.dtype == dtype and value.device.type == device
               for value in state.model.values())
    assert all(torch.equal(state.model[name], value) for name, value in whole.model.items())


class Half(ImageClassification):
    """Images in half precision."""

    def deal(self, data, config):
        part = super().deal(data, config)
        return dataclasses.replace(part, **{
            kind: dataclasses.replace(getattr(part, kind),
                                      input=getattr(part, kind).input.to(torch.bfloat16))
            for kind in ("train", "test")})


def test_routing_keeps_the_best_and_only_those_held():
    logit = torch.tensor([[1.0, 3.0, 2.0, -torch.inf], [5.0, -torch.inf, -torch.inf, -torch.inf]])
    weight = route(logit, 2)
    assert (weight > 0).tolist() == [[False, True, True, False], [True, False, False, False]]
    torch.testing.assert_close(weight.sum(1), torch.ones(2))
    assert weight[1, 0] == 1


def rows_of(sizes, server, experts):
    return {name: value[experts] if name in sizes.layout.layer_of else value
            for name, value in server.items()}


def test_masked_forward_equals_the_forward_of_the_rows_held():
    sizes, image = spec(), images(1).input[:9]
    held = torch.tensor([False, True, False, False, True])
    masked, usage, _ = sizes.run(sizes.initial(), image, [held])
    cut, usage_cut, _ = sizes.run(rows_of(sizes, sizes.initial(), [1, 4]), image)
    torch.testing.assert_close(masked, cut)
    torch.testing.assert_close(usage[0][[1, 4]], usage_cut[0])


@pytest.mark.parametrize("batched", [True, False])
def test_clients_are_judged_with_what_they_hold(batched):
    sizes, data = spec(), images(3)
    server = sizes.initial()
    held = np.eye(3, 5, dtype=bool)
    (found, every), _ = judge_clients(sizes, TASK, server, data, held, None, batched=batched)
    right = (sizes.run(server, data.input)[0].argmax(1) == data.target).double().view(3, -1).mean(1)
    np.testing.assert_allclose(every, right)
    for client in range(3):
        rows = slice(data.first[client], data.first[client + 1])
        logit, *_ = sizes.run(rows_of(sizes, server, [client]), data.input[rows])
        right = (logit.argmax(1) == data.target[rows]).double().mean()
        assert found[client] == pytest.approx(float(right))


def test_clients_may_have_different_numbers_of_held_out_images():
    sizes, data = spec(layers=2), images(3)
    uneven = type(data)(data.input, data.target, np.array([0, 7, 50, 120]))
    held = np.random.default_rng(0).random((3, 10)) < 0.4
    held[:, [0, 5]] = True
    many, one = (judge_clients(sizes, TASK, sizes.initial(), uneven, held, None, batched=batched)
                 for batched in (True, False))
    for found, expected in zip(many, one, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_a_model_is_the_same_from_the_same_seed():
    one, two, other = (spec(seed, trunk="cnn", layers=2).initial() for seed in (1, 1, 2))
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert not torch.equal(one["trunk.linear.weight"], other["trunk.linear.weight"])
