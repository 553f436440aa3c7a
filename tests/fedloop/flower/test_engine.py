"""The same configuration in process and in Flower's simulation; run by `make test-engines`."""

import pytest

pytest.importorskip("flwr", reason="Flower is not installed: pip install 'alignsolve[flower]'")

import torch

from fedloop.config import build_config
from fedloop.errors import ConfigError
from fedloop.flower.engine import FlowerClients
from fedloop.train import train

SETTINGS = {
    "rounds": 4, "checkpoint_every": 2,
    "partition": {"clients": 4, "test_images": 20},
    "model": {"experts": 4, "layers": 2, "width": 16, "expert_width": 8},
    "local": {"steps": 3, "batch_size": 16, "probe_images": 16, "batched": False},
    "fleet": {"failure_rate": 0.2},
}


@pytest.mark.engines
def test_plans_and_curve_are_those_of_the_process_also_when_resumed(tmp_path):
    from fedloop.flower.simulation import train_simulated

    config = build_config(SETTINGS)
    _, expected = train(config)
    # Two rounds in process, the others on Flower: one checkpoint serves both engines.
    train(config, tmp_path, stop_after=2)
    _, found, clients = train_simulated(config, tmp_path, workers=2)
    assert len(clients.sent_bytes) == 2
    assert [r["held"] for r in found.records] == [r["held"] for r in expected.records]
    for name, value in expected.model.items():
        torch.testing.assert_close(found.model[name], value, rtol=1e-4, atol=1e-6)
    for key in ("accuracy", "accuracy_all", "loss"):
        assert [r[key] for r in found.records] == pytest.approx(
            [r[key] for r in expected.records], abs=1e-4)


def test_personal_gates_are_refused():
    with pytest.raises(ConfigError, match=r"model.gate is personal"):
        FlowerClients(None, build_config({"model": {"gate": "personal"}}), 1.0)
