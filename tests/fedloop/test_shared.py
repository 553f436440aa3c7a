"""Features of updates, experts that clients are served with, and the router of all experts."""

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

import alignsolve as al
from fedloop.config import build_config
from fedloop.errors import ConfigError
from fedloop.experiment import RECENT, best_experts, run_training, trained_lately
from fedloop.local.client import Training
from fedloop.models.layout import Layout
from fedloop.server import router as routers
from fedloop.server.features import update_features
from fedloop.server.router import client_weights, closed_form_router, discriminant, example_sums
from tests.fedloop.worlds import images, spec

SMALL = {"rounds": 6, "data": {"limit": 600}, "partition": {"clients": 6, "test_images": 10},
         "local": {"steps": 2, "batch_size": 8, "probe_images": 8}}


@pytest.fixture(scope="module")
def played():
    return run_training(build_config(SMALL))


def features_of(changes, known=None, sound=None):
    """Return features of clients that changed one matrix by `changes`, (N, inputs, outputs)."""
    n = len(changes)
    aligner = al.Aligner(2)
    aligner.plan(range(n))
    if known is not None:
        aligner.tables.features.update(known)
    sent = {"trunk": torch.ones(changes.shape[1:])}
    training = Training(tuple(range(n)), [], {"trunk": sent["trunk"] + changes}, torch.zeros(n),
                        [])
    sound = np.ones(n, np.bool_) if sound is None else sound
    return update_features(sent, training, Layout(2, 1, {}, ("router",)), sound, aligner, 0)


def test_clients_of_like_inputs_are_alike_whatever_experts_did_to_derivatives():
    generator = torch.Generator().manual_seed(0)
    kinds = torch.randn(2, 20, 3, generator=generator)  # inputs of two kinds
    turns = torch.randn(8, 3, 6, generator=generator)   # derivatives, other for every client
    found = features_of(torch.stack([kinds[i % 2] @ turns[i] for i in range(8)]))
    assert len(found) == 8 and all(vector.dtype == np.float32 for vector in found.values())
    moments = np.stack([found[i][64:] for i in range(8)])
    alike = moments @ moments.T
    same = np.arange(8)[:, None] % 2 == np.arange(8) % 2
    assert alike[same].min() > 0.3 > 0 > alike[~same].max()


def test_features_are_running_means_of_two_unit_vectors():
    changes = torch.randn(4, 20, 6, generator=torch.Generator().manual_seed(1))
    new = features_of(changes)[2]
    assert np.linalg.norm(new[:64]) == pytest.approx(1) == np.linalg.norm(new[64:])
    old = np.linspace(-1, 1, new.size)
    assert features_of(changes, {2: old})[2] == pytest.approx(0.9 * old + 0.1 * new, abs=1e-6)


def test_damaged_or_lonely_updates_have_no_features():
    changes = torch.randn(3, 20, 6, generator=torch.Generator().manual_seed(1))
    changes[1] = torch.nan
    found = features_of(changes, sound=np.array([True, False, True]))
    assert sorted(found) == [0, 2] and np.isfinite(np.stack(list(found.values()))).all()
    assert features_of(changes, sound=np.array([True, False, False])) == {}
    known = {0: np.ones(found[0].size)}
    assert features_of(changes, known, np.array([True, False, False])) == {}
    assert features_of(torch.zeros(3, 20, 6)) == {}


def test_a_run_fills_the_features_of_its_clients(played):
    _, state = played
    assert state.aligner.tables.features.known[:6].all()
    _, without = run_training(build_config(
        SMALL | {"rounds": 2, "alignment": {"shared_evidence": False}}))
    assert not without.aligner.tables.features.known.any()


def test_clients_are_served_with_the_best_of_what_they_trained_lately(played):
    world, state = played
    served = best_experts(world, state)
    fitness = state.aligner.fitness(range(6))
    for client, device in enumerate(world.fleet):
        lately = {expert for record in state.records[-RECENT - 1:]
                  for expert in record["held"][str(client)]}
        best = sorted(lately, key=lambda expert: -fitness[client, expert])[:device.slots]
        least = 0.3 * fitness[client, best[0]]
        assert np.flatnonzero(served[client]).tolist() == sorted(
            expert for expert in best if fitness[client, expert] >= least)


def test_experts_far_below_the_best_of_their_layer_serve_nobody():
    fitness = np.array([[0.6, 0.19, 0.17, 0.05, 0.02, 0.05], [-0.1, -0.2, -0.01, 0.3, 0.2, 0.1]])
    world = SimpleNamespace(
        config=build_config({"partition": {"clients": 2}}), fleet=[SimpleNamespace(slots=3)] * 2,
        spec=SimpleNamespace(n_layers=2, n_experts=3, total_experts=6))
    nobody = {kind: [] for kind in ("late", "failed", "refused", "idle")}
    records = [{"held": {"0": [0, 1, 2, 3, 4, 5], "1": [0, 1, 3, 4, 5]}} | nobody]
    state = SimpleNamespace(records=records,
                            aligner=SimpleNamespace(fitness=lambda clients: fitness))
    served = [np.flatnonzero(row).tolist() for row in best_experts(world, state)]
    assert served == [[0, 1, 3, 4, 5], [0, 3, 4, 5]]


def test_only_what_a_client_trained_counts_for_serving():
    """The plan of a client that is late, fails, idles or is refused gave it nothing to serve."""
    world = SimpleNamespace(
        config=build_config({"partition": {"clients": 5}}), spec=SimpleNamespace(total_experts=4))
    records = [{"held": {str(client): [number % 4] for client in range(5)},
                "late": [], "failed": [], "refused": [], "idle": []}
               for number in range(RECENT + 3)]
    for record in records[1:]:
        record |= {"late": [0], "failed": [1]}
    for record in records[-2:]:
        record |= {"refused": [2], "idle": [3]}
    found = trained_lately(world, SimpleNamespace(records=records))
    in_old, before_two, in_all = ({number % 4 for number in rounds} for rounds in (
        [0], range(2, RECENT + 1), range(2, RECENT + 3)))
    assert [set(np.flatnonzero(row)) for row in found] == [
        in_old, in_old, before_two, before_two, in_all]


def test_discriminant_is_that_of_scikit_learn(monkeypatch):
    monkeypatch.setattr(routers, "SHRINKAGE", 0.0)
    rng = np.random.default_rng(0)
    label = rng.integers(3, size=200)
    x = rng.standard_normal((200, 4)) + np.array([[0, 0, 0, 0], [2, 0, 1, 0], [0, 2, 0, 1]])[label]
    one = np.eye(3)[label]
    sums = one.sum(axis=0), one.T @ x, x.T @ x
    weight, bias = discriminant(*map(torch.from_numpy, sums))
    ours = torch.from_numpy(x).float() @ weight.T + bias
    theirs = LinearDiscriminantAnalysis(solver="lsqr").fit(x, label).predict_log_proba(x)
    np.testing.assert_allclose(ours.log_softmax(dim=1).numpy(), theirs, atol=1e-3)


def test_the_covariance_is_shrunk_towards_its_mean_variance():
    # Means (1, 0) and (-1, 0), covariance within diag(1, 3), whose mean variance is 2.
    number, total = torch.tensor([1.0, 1.0]), torch.tensor([[1.0, 0.0], [-1.0, 0.0]])
    sums = number, total, 2 * torch.diag(torch.tensor([1.0 + 1.0, 3.0]))
    weight, bias = discriminant(*(part.double() for part in sums))
    assert weight.numpy() == pytest.approx(np.array([[1, 0], [-1, 0]]) / 1.05)
    assert bias.tolist() == pytest.approx([np.log(0.5) - 0.5 / 1.05] * 2)
    weight, _ = discriminant(*(part.double() for part in (
        number, total.flip(1), sums[2].flip(0, 1))))
    assert weight.numpy() == pytest.approx(np.array([[0, 1], [0, -1]]) / 1.05)
    weight, _ = discriminant(*(part.double() for part in (
        number, total.flip(1), 2 * torch.diag(torch.tensor([1.0, 3.0 + 1.0])))))
    assert weight.numpy() == pytest.approx(np.array([[0, 1], [0, -1]]) / 2.95)


def test_an_expert_without_examples_is_never_chosen():
    number, total = torch.tensor([4.0, 0.0]).double(), torch.zeros(2, 3).double()
    weight, bias = discriminant(number, total, torch.eye(3).double())
    assert bias[1] == -torch.inf and weight.isfinite().all()


def test_weights_of_experts_follow_fitness_among_candidates():
    weight = client_weights(np.array([[0.4, 0.2, 0.9, 0.1]]),
                            np.array([[True, True, False, True]]), 2)
    assert weight[0, 0] == pytest.approx(np.exp([0, -1]) / (1 + np.exp(-1)))
    assert weight[0, 1].tolist() == [0.0, 1.0]


def test_the_router_sends_examples_to_the_experts_of_clients_alike():
    model, data = spec(experts=2, top_k=1), images(4, 50)
    half = torch.arange(200) // 50 % 2 == 0
    data.input[half] += 1.0  # clients 0 and 2 have lighter images
    weights = np.eye(2)[np.arange(4) % 2][:, None]
    found = closed_form_router(example_sums(model, {}, data, 0), weights)
    routed = dataclasses.replace(model, router=found)
    _, (usage,), _ = routed.run(model.initial(), data.input[half])
    assert usage.tolist() == [1.0, 0.0]
    _, (usage,), _ = routed.run(model.initial(), data.input[~half])
    assert usage.tolist() == [0.0, 1.0]


def test_sums_over_clients_are_those_of_all_examples():
    model, data = spec(experts=2), images(3, 20)
    sums = example_sums(model, {}, data, 0)
    (number, total, square), = sums.layers
    z = routers.features(data.input.flatten(1), sums.directions[36]).double()
    assert z.shape == (60, 36 + 512) and number.tolist() == [20] * 3
    torch.testing.assert_close(total, z.view(3, 20, -1).sum(dim=1))
    torch.testing.assert_close(square, z.T @ z, rtol=1e-4, atol=1e-3)


def test_rectified_sums_tell_apart_what_no_plane_does():
    """Dark or light halves: clients of one kind have either half dark, of the other none."""
    model, data = spec(experts=2, top_k=1), images(2, 200)
    sign = (torch.arange(400) % 2 * 2.0 - 1.0)[:, None, None, None]
    data.input[:200, :, :3] += sign[:200]
    data.input[:200, :, 3:] -= sign[:200]
    data.input[200:] += sign[200:]
    found = closed_form_router(example_sums(model, {}, data, 0), np.eye(2)[:, None])
    routed = dataclasses.replace(model, router=found)
    for kind in range(2):
        _, (usage,), _ = routed.run(model.initial(), data.input[200 * kind:200 * (kind + 1)])
        assert usage[kind] > 0.95


def test_of_wide_inputs_random_sums_take_the_place(monkeypatch):
    monkeypatch.setattr(routers, "MOST", 20)
    draw = torch.Generator().manual_seed(0)
    hidden = [torch.randn(12, width, generator=draw) for width in (24, 16, 30)]
    model = SimpleNamespace(n_layers=3, own_rows=lambda params, rows: params,
                            router_inputs=lambda params, batch: hidden)
    data = SimpleNamespace(input=torch.zeros(4, 3, dtype=torch.long), first=np.array([0, 4]))
    found = closed_form_router(example_sums(model, {}, data, 0), np.full((1, 3, 2), 0.5))
    assert [weight.shape for weight in found.weight] == [(2, 40), (2, 36), (2, 40)]
    assert [found(layer, data.input, x).shape for layer, x in enumerate(hidden)] == [(12, 2)] * 3


def test_the_oracle_needs_an_expert_for_every_domain():
    config = build_config(SMALL | {"strategy": "oracle", "model": {"experts": 3}})
    with pytest.raises(ConfigError, match="the model has 3 experts for 4 domains"):
        run_training(config)


def test_text_is_routed_by_what_layers_are_given():
    config = build_config({
        "rounds": 1, "data": {"name": "text", "limit": 20_000, "window": 16},
        "partition": {"kind": "domains", "clients": 4, "test_images": 4},
        "model": {"layers": 2, "experts": 3, "width": 16, "expert_width": 8},
        "local": {"steps": 1, "batch_size": 4, "probe_images": 4}})
    world, state = run_training(config)
    sums = example_sums(world.spec, state.model, world.partition.train, 0)
    assert not sums.of_input and world.image_sums is None
    found = closed_form_router(sums, np.full((4, 2, 3), 1 / 3))
    assert [weight.shape for weight in found.weight] == [(3, 16 + 512)] * 2
    assert np.isfinite(state.records[0]["bits_per_byte_all"])
