"""Rounds whose payloads are rounded: what that costs, saves, keeps and resumes."""

import dataclasses

import numpy as np
import pytest
import torch

import fedloop.experiment
from fedloop.checkpoint import NAME, save_checkpoint
from fedloop.config import build_config
from fedloop.errors import CheckpointError
from fedloop.experiment import run_training, train_here
from fedloop.models.layout import part_of
from fedloop.payload import quantise
from fedloop.saving import contents, restore
from fedloop.server.delivery import collect, deliver
from fedloop.world import build_world, start


def settings(**changes):
    return build_config({
        "rounds": 3, "payload": "int8", "checkpoint_every": 1,
        "partition": {"clients": 4, "test_images": 20}, "model": {"experts": 4, "width": 32},
        "local": {"steps": 2}} | changes)


@pytest.mark.parametrize("gate", ["shared", "personal"])
def test_curves_follow_those_of_whole_payloads_in_a_quarter_of_the_bytes(gate):
    whole, rounded = (
        run_training(settings(payload=payload, rounds=8, model={"width": 32, "gate": gate}))[1]
        for payload in ("native", "int8"))
    for one, other in zip(whole.records, rounded.records, strict=True):
        for key in ("down_bytes", "up_bytes"):
            assert other[key] <= 0.3 * one[key]
        assert other["loss"] == pytest.approx(one["loss"], abs=0.05)
    assert abs(np.mean([b["accuracy"] - a["accuracy"] for a, b in zip(
        whole.records, rounded.records, strict=True)])) < 0.05
    lost = [(name, value) for pieces in rounded.lost.values() for name, value in pieces.items()]
    assert 0 < max(value.abs().max() for _, value in lost) < 0.02
    assert any("router" in name for name, _ in lost) == (gate == "shared")


def test_one_by_one_and_together_round_alike():
    states = [run_training(settings(local={"steps": 2, "batched": batched}))[1]
              for batched in (False, True)]
    one, other = ([record["held"] for record in state.records] for state in states)
    assert one == other
    for name, value in states[0].model.items():
        torch.testing.assert_close(value, states[1].model[name], atol=2e-3, rtol=0)


def test_feedback_is_in_the_checkpoint_and_a_resumed_run_ends_in_the_same_bits(tmp_path):
    expected = run_training(settings())[1]
    world, _ = run_training(settings(), folder=tmp_path, stop_after=2)
    saved = start(world)
    restore(world, saved, tmp_path)
    assert all(value.any() for pieces in saved.lost.values() for value in pieces.values()
               if value.ndim > 1)
    found = run_training(settings(), folder=tmp_path)[1]
    assert found.records == expected.records
    assert_same(found.model, expected.model)
    for kind in ("received", "lost"):
        one, other = getattr(found, kind), getattr(expected, kind)
        assert one.keys() == other.keys() == set(range(4))
        for client, pieces in one.items():
            assert_same(pieces, other[client])


def test_rounded_payloads_of_the_older_layout_are_refused_by_name(tmp_path):
    """It kept them by parameter, with an axis of all clients in front."""
    world, state = run_training(settings(rounds=1))
    older = {name: value.numpy()[None].repeat(4, 0) for name, value in state.model.items()}
    save_checkpoint(tmp_path / NAME, contents(world, state) | {"received": older, "lost": older})
    with pytest.raises(CheckpointError, match=r"int8 payloads of an older fedloop.*; remove it"):
        restore(world, start(world), tmp_path)


def assert_same(one, other):
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_only_what_travelled_takes_memory(tmp_path):
    """Of clients that took part: what their last message had, and the loss of what they trained."""
    world, state = run_training(
        settings(participants=1, rounds=2, partition={"clients": 30, "test_images": 5}),
        folder=tmp_path)
    held, ever = {}, {}
    for record in state.records:
        held |= record["held"]
        for client, experts in record["held"].items():
            ever.setdefault(client, set()).update(experts)
    assert state.received.keys() == state.lost.keys() == set(map(int, held))
    whole = world.spec.layout.pieces(state.model)
    for client, experts in held.items():
        assert state.received[int(client)].keys() == part_of(whole, experts).keys()
        assert state.lost[int(client)].keys() == part_of(whole, ever[client]).keys()
    native = tmp_path / "native"
    run_training(settings(participants=1, rounds=2, payload="native",
                          partition={"clients": 30, "test_images": 5}), folder=native)
    sizes = [(place / NAME).stat().st_size for place in (tmp_path, native)]
    assert sizes[0] - sizes[1] < 2 * 2 * 4 * sum(value.numel() for value in whole.values())


def test_a_round_takes_the_memory_of_the_clients_asked():
    world = build_world(settings())
    model, held = start(world).model, {1: [0], 3: [2]}
    received = {}
    sent = deliver(world.spec, model, received, [3, 1], held)
    for name, value in sent.items():
        assert value.shape == (2, *model[name].shape)
    for at, client in enumerate([3, 1]):
        whole = world.spec.layout.joined(received[client], model)
        assert all(torch.equal(value[at], whole[name]) for name, value in sent.items())


def test_what_is_sent_sums_up_to_what_is_meant():
    world = build_world(settings())
    spec, state, draw = world.spec, start(world), torch.Generator().manual_seed(0)
    everybody, held = list(range(4)), {client: [1] for client in range(4)}
    training = train_here(world, start(world), everybody, held, 1)
    sent, lost = deliver(spec, state.model, state.received, everybody, held), {}
    rows = {name: value[[1]] if name in spec.layout.layer_of else value
            for name, value in state.model.items()}
    base = {name: value[:, 1] if name in spec.layout.layer_of else value
            for name, value in sent.items()}
    meant = {name: torch.zeros_like(value) for name, value in base.items()}
    got = {name: torch.zeros_like(value) for name, value in base.items()}
    for _ in range(100):
        change = {name: 1e-2 * torch.randn(value.shape, generator=draw)
                  for name, value in meant.items()}
        new = collect(spec, state.model, state.received, lost, dataclasses.replace(
            training, params={name: base[name] + change[name] for name in base}))
        for name in meant:
            meant[name] += change[name]
            got[name] += new.params[name] - rows[name]
    for name in meant:
        largest = quantise(change[name])[1].max()
        assert (meant[name] - got[name]).abs().max() <= 1.5 * largest


def test_an_update_that_is_not_finite_is_refused_in_its_round_only(monkeypatch):
    plain = fedloop.experiment.train_participants

    def damaged(*arguments):
        training = plain(*arguments)
        if arguments[-2] == 2:
            for value in training.params.values():
                value[0] = torch.nan
        return training

    monkeypatch.setattr(fedloop.experiment, "train_participants", damaged)
    state = run_training(settings(local={"steps": 1, "batched": True}))[1]
    assert [record["refused"] for record in state.records] == [[], [0], []]
    assert all(value.isfinite().all() for pieces in state.lost.values()
               for value in pieces.values())


def test_a_client_that_trains_nothing_changes_no_bfloat16_model():
    """The model loads its type's rounding of what was received: the change is to that."""
    world = build_world(settings())
    spec, state, held = world.spec, start(world), {client: [1] for client in range(4)}
    model = {name: value.bfloat16() for name, value in state.model.items()}
    training = train_here(world, start(world), list(held), held, 1)
    sent = deliver(spec, model, state.received, list(held), held)
    loaded = {name: value[:, 1] if name in spec.layout.layer_of else value
              for name, value in sent.items()}
    assert all(value.dtype == torch.bfloat16 for value in loaded.values())
    assert any((value.float() != value.bfloat16()).any() for value in state.received[0].values())
    lost = {}
    found = collect(spec, model, state.received, lost,
                    dataclasses.replace(training, params=loaded))
    assert not any(value.any() for pieces in lost.values() for value in pieces.values())
    for name, value in found.params.items():
        row = model[name][[1]] if name in spec.layout.layer_of else model[name]
        assert torch.equal(value, row.expand(value.shape)), name
