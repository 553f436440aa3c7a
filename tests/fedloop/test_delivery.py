"""Rounds whose payloads are rounded: what that costs, saves, keeps and resumes."""

import dataclasses

import numpy as np
import pytest
import torch

import fedloop.experiment
from fedloop.config import build_config
from fedloop.experiment import run_training, train_here
from fedloop.payload import pack_differences, quantise, unpack
from fedloop.saving import restore
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
    for name, lost in rounded.lost.items():
        assert 0 < lost.abs().max() < 0.02, name
    assert any("router" in name for name in rounded.lost) == (gate == "shared")


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
    assert all(value.abs().max() > 0 for value in saved.lost.values())
    found = run_training(settings(), folder=tmp_path)[1]
    assert found.records == expected.records
    for kind in ("model", "received", "lost"):
        one, other = getattr(found, kind), getattr(expected, kind)
        assert one.keys() == other.keys()
        assert all(torch.equal(one[name], other[name]) for name in one)


def test_the_arithmetic_is_that_of_the_bytes():
    """A client's tensors, packed one by one, are what the loop computes for all at once."""
    world = build_world(settings())
    state, spec = start(world), world.spec
    held = {0: [0, 3], 2: [3]}
    received = deliver(spec, state.model, state.received, [0, 2], held)
    again = deliver(spec, {n: v + 0.1 for n, v in state.model.items()}, received, [0, 2], held)
    for name, value in state.model.items():
        for client, experts in held.items():
            parts = [(value, received[name][client], again[name][client])]
            if name in spec.layout.layer_of:
                parts = [tuple(v[e] for v in parts[0]) for e in experts]
            for meant, first, second in parts:
                for base, target, got in ((0 * first, meant, first), (first, meant + 0.1, second)):
                    packed = pack_differences({"x": target - base}, {})["x"]
                    assert torch.equal(base + unpack(packed, packed), got)
    name = next(name for name in state.model if name in spec.layout.layer_of)
    assert not again[name][0, 1].any() and not again[name][1].any()


def test_what_is_sent_sums_up_to_what_is_meant():
    world = build_world(settings())
    spec, state, draw = world.spec, start(world), torch.Generator().manual_seed(0)
    everybody, held = list(range(4)), {client: [1] for client in range(4)}
    training = train_here(world, start(world), everybody, held, 1)
    received, lost = deliver(spec, state.model, state.received, everybody, held), state.lost
    rows = {name: value[[1]] if name in spec.layout.layer_of else value
            for name, value in state.model.items()}
    base = {name: value[:, 1] if name in spec.layout.layer_of else value
            for name, value in received.items()}
    meant = {name: torch.zeros_like(value) for name, value in base.items()}
    sent = {name: torch.zeros_like(value) for name, value in base.items()}
    for _ in range(100):
        change = {name: 1e-2 * torch.randn(value.shape, generator=draw)
                  for name, value in meant.items()}
        new, lost = collect(spec, state.model, received, lost, dataclasses.replace(
            training, params={name: base[name] + change[name] for name in base}))
        for name in meant:
            meant[name] += change[name]
            sent[name] += new.params[name] - rows[name]
    for name in meant:
        largest = quantise(change[name], leading=1)[1].max()
        assert (meant[name] - sent[name]).abs().max() <= 1.5 * largest


def test_an_update_that_is_not_finite_is_refused_in_its_round_only(monkeypatch):
    plain = fedloop.experiment.together

    def damaged(*arguments):
        training = plain(*arguments)
        if arguments[-1] == 2:
            for value in training.params.values():
                value[0] = torch.nan
        return training

    monkeypatch.setattr(fedloop.experiment, "together", damaged)
    state = run_training(settings(local={"steps": 1, "batched": True}))[1]
    assert [record["refused"] for record in state.records] == [[], [0], []]
    assert all(value.isfinite().all() for value in state.lost.values())


def test_a_client_that_trains_nothing_changes_no_bfloat16_model():
    """The model loads its type's rounding of what was received: the change is to that."""
    world = build_world(settings())
    spec, state, held = world.spec, start(world), {client: [1] for client in range(4)}
    model = {name: value.bfloat16() for name, value in state.model.items()}
    training = train_here(world, start(world), list(held), held, 1)
    received = deliver(spec, model, state.received, list(held), held)
    loaded = {name: (value[:, 1] if name in spec.layout.layer_of else value).bfloat16()
              for name, value in received.items()}
    assert any((value.float() != (received[name][:, 1] if name in spec.layout.layer_of
                                  else received[name])).any() for name, value in loaded.items())
    found, lost = collect(spec, model, received, state.lost,
                          dataclasses.replace(training, params=loaded))
    assert not any(value.any() for value in lost.values())
    for name, value in found.params.items():
        row = model[name][[1]] if name in spec.layout.layer_of else model[name]
        assert torch.equal(value, row.expand(value.shape)), name
