"""The app of examples/flower, deployed, and resumed; run by `make test-engines`."""

import json
from pathlib import Path

import pytest

pytest.importorskip("flwr", reason="Flower is not installed: pip install 'alignsolve[flower]'")

from fedloop.checkpoint import load_checkpoint
from fedloop.flower.deployment import Deployment

EXAMPLE = Path(__file__).parents[3] / "examples" / "flower"


@pytest.mark.engines
@pytest.mark.timeout(600)
def test_the_example_trains_and_goes_on_from_its_checkpoint(tmp_path):
    history, checkpoint = tmp_path / "history.jsonl", tmp_path / "model.safetensors"
    config = {"num-server-rounds": 1, "history": str(history), "checkpoint": str(checkpoint),
              "timeout": 60.0, "min-nodes": 2}
    with Deployment([{}] * 2, tmp_path / "logs") as deployment:
        deployment.wait(deployment.submit(EXAMPLE, config))
        first = load_checkpoint(checkpoint)
        again = {"num-server-rounds": 2, "resume": True, "noise-multiplier": 0.1}
        deployment.wait(deployment.submit(EXAMPLE, {**config, **again}))
    lines = [json.loads(line) for line in history.read_text(encoding="utf-8").splitlines()]
    # Flower judges the model before the first round as well: the resumed one, once more.
    assert [line["round"] for line in lines] == [0, 1, 1, 2]
    assert lines[1] == lines[2]
    assert lines[3]["loss"] < lines[1]["loss"] < lines[0]["loss"]
    assert first["round"] == 1 and load_checkpoint(checkpoint)["round"] == 2
