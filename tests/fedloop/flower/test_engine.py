"""The same configuration in process and in Flower's simulation; run by `make test-engines`."""

import pytest

pytest.importorskip("flwr", reason="Flower is not installed: pip install 'alignsolve[flower]'")

import torch

from fedloop.config import build_config
from fedloop.errors import ConfigError
from fedloop.flower.engine import FlowerClients
from fedloop.train import train


def config(clients, rounds, **settings):
    return build_config({
        "rounds": rounds, "checkpoint_every": 2,
        "partition": {"clients": clients, "test_images": 20},
        "model": {"experts": 4, "layers": 2, "width": 16, "expert_width": 8},
        "local": {"steps": 3, "batch_size": 16, "probe_images": 16, "batched": False},
        "fleet": {"failure_rate": 0.2}, **settings,
    })


def assert_same_run(found, expected):
    assert [r["held"] for r in found.records] == [r["held"] for r in expected.records]
    for name, value in expected.model.items():
        torch.testing.assert_close(found.model[name], value, rtol=1e-4, atol=1e-6)
    for key in ("accuracy", "accuracy_all", "loss"):
        assert [r[key] for r in found.records] == pytest.approx(
            [r[key] for r in expected.records], abs=1e-4)


@pytest.mark.engines
def test_plans_and_curve_are_those_of_the_process_also_when_resumed(tmp_path):
    from fedloop.flower.simulation import train_simulated

    chosen = config(10, 4)
    _, expected = train(chosen)
    # Two rounds in process, the others on Flower: one checkpoint serves both engines.
    train(chosen, tmp_path, stop_after=2)
    _, found, clients = train_simulated(chosen, tmp_path, workers=2)
    assert len(clients.sent_bytes) == 2
    assert_same_run(found, expected)


@pytest.mark.engines
def test_reports_are_noised_alike():
    from fedloop.flower.simulation import FLOWER_LOGGER, train_simulated

    level = FLOWER_LOGGER.level
    chosen = config(4, 2, privacy={"noise_multiplier": 0.3, "seeded": True})
    _, expected = train(chosen)
    assert_same_run(train_simulated(chosen, workers=2)[1], expected)
    assert FLOWER_LOGGER.level == level
    assert expected.records[0]["loss"] != train(config(4, 2))[1].records[0]["loss"]


def test_personal_gates_are_refused():
    with pytest.raises(ConfigError, match=r"model.gate is personal"):
        FlowerClients(None, build_config({"model": {"gate": "personal"}}), 1.0)
