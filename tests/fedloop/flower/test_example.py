"""The apps of examples, deployed, and resumed; run by `make test-engines`."""

import json
import os
from pathlib import Path

import pytest

pytest.importorskip("flwr", reason="Flower is not installed: pip install 'alignsolve[flower]'")

from fedloop.checkpoint import load_checkpoint
from fedloop.errors import EngineError
from fedloop.flower.deployment import Deployment
from tests.files import ROOT

EXAMPLES = ROOT / "examples"
FAULTY_LM = Path(__file__).parent / "faulty_lm"

#: Seconds to wait for the clients of a round; one without failures takes 20 on two idle cores.
TIMEOUT = float(os.environ.get("ENGINE_TEST_TIMEOUT", "75"))


def lines_of(history):
    text = history.read_text(encoding="utf-8") if history.exists() else ""
    return [json.loads(line) for line in text.splitlines()]


def test_examples_are_short():
    for app in ("flower/aligned_moe", "flower-hf/aligned_lm"):
        lines = [line for path in (EXAMPLES / app).glob("*.py")
                 for line in path.read_text(encoding="utf-8").splitlines()]
        assert 50 < sum(bool(line.strip()) for line in lines) <= 100


@pytest.mark.engines
@pytest.mark.timeout(600 + 6 * TIMEOUT)
def test_the_example_trains_and_goes_on_from_its_checkpoint(tmp_path):
    history, checkpoint = tmp_path / "history.jsonl", tmp_path / "model.safetensors"
    config = {"num-server-rounds": 1, "history": str(history), "checkpoint": str(checkpoint),
              "timeout": TIMEOUT, "picture": str(tmp_path / "curves.png"), "encoding": "int8"}
    with Deployment([{}] * 3, tmp_path / "logs") as deployment:
        deployment.wait(deployment.submit(EXAMPLES / "flower", config))
        first, begun = load_checkpoint(checkpoint), lines_of(history)
        again = {"num-server-rounds": 2, "resume": True, "noise-multiplier": 0.1}
        deployment.wait(deployment.submit(EXAMPLES / "flower", {**config, **again}))
    lines = lines_of(history)
    # Flower judges the model before the first round as well: the resumed one takes its line.
    assert [line["round"] for line in lines] == [0, 1, 2]
    assert lines[:2] == begun
    assert lines[2]["loss"] < lines[1]["loss"] < lines[0]["loss"]
    assert first["round"] == 1 and load_checkpoint(checkpoint)["round"] == 2
    assert (tmp_path / "curves.png").stat().st_size > 1000


@pytest.mark.engines
@pytest.mark.timeout(600 + 6 * TIMEOUT)
def test_a_model_of_transformers_trains_through_failures(tmp_path, monkeypatch):
    """Three nodes: one too slow, one damaged, one killed, and then the server killed."""
    pytest.importorskip("transformers")
    monkeypatch.setenv("PYTHONPATH", f"{ROOT}:{EXAMPLES / 'flower-hf'}")
    history, marker = tmp_path / "history.jsonl", tmp_path / "waiting"
    config = {"num-server-rounds": 4, "history": str(history), "timeout": TIMEOUT,
              "checkpoint": str(tmp_path / "model.safetensors"), "encoding": "int8"}
    faults = [{"round-2": "wait", "marker": str(tmp_path / "slow")}, {"round-2": "damage"},
              {"round-3": "wait", "marker": str(marker)}]
    with Deployment(faults, tmp_path / "logs") as deployment:

        def interfere():
            if marker.exists():
                marker.unlink()
                deployment.kill_node(2)
                deployment.start_node(2, {})
            if len(lines_of(history)) == 4:
                deployment.kill_link()

        with pytest.raises(EngineError, match="superlink ended"):
            deployment.wait(deployment.submit(FAULTY_LM, config), interfere)
    begun = lines_of(history)
    assert [line["round"] for line in begun] == [0, 1, 2, 3]
    assert begun[1]["refused"] == {} and begun[1]["received_bytes"] > 300_000
    assert "bytes of numbers" in begun[2]["refused"]["1"] and "2" not in begun[2]["refused"]
    assert 0 < begun[2]["received_bytes"] < begun[1]["received_bytes"]
    with Deployment([{}] * 3, tmp_path / "logs") as deployment:
        deployment.wait(deployment.submit(EXAMPLES / "flower-hf", {**config, "resume": True}))
    lines = lines_of(history)
    assert [line["round"] for line in lines] == [0, 1, 2, 3, 4]
    assert lines[:4] == begun
    assert lines[4]["bits_per_token"] < begun[2]["bits_per_token"] < begun[0]["bits_per_token"]
