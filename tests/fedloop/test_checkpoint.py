"""Checkpoints: damage and other versions are refused, and a folder has one writer."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from safetensors.numpy import save

from alignsolve.io.seal import BLANK, seal
from fedloop import cli
from fedloop.checkpoint import NAME, forget, load_checkpoint, save_checkpoint, writing
from fedloop.errors import CheckpointError
from fedloop.train import train
from tests.fedloop.test_train import settings


def test_every_damage_is_refused(tmp_path):
    path = tmp_path / NAME
    save_checkpoint(path, {"numbers": np.arange(300.0), "text": "ä", "none": None})
    whole, rng = path.read_bytes(), np.random.default_rng(0)
    spots = {*range(250), *rng.integers(0, len(whole), 150).tolist()}
    cuts = rng.integers(0, len(whole), 50).tolist()
    for damaged in (
        *(whole[:at] + bytes([whole[at] ^ int(rng.integers(1, 256))]) + whole[at + 1:]
          for at in spots),
        *(whole[:at] for at in cuts), whole + b"x", b"[" * 100_000,
    ):
        path.write_bytes(damaged)
        with pytest.raises(CheckpointError, match=f"^{path}: damaged.*; remove it to start"):
            load_checkpoint(path)


@pytest.mark.parametrize(("change", "cut"), [
    (lambda found: found.pop("state"), 0),
    (lambda found: found.update(state=7), 0),
    (lambda found: found.update(state={"numbers": {"$array": "7"}}), 0),
    (lambda found: found.update(state={"numbers": {"$array": [1]}}), 0),
    (lambda found: found.update(state={"$array": "0"}), 0),
    (lambda found: None, 8),
])
def test_contents_that_do_not_fit_are_refused_though_the_checksum_does(tmp_path, change, cut):
    path = tmp_path / NAME
    for _ in range(2):
        save_checkpoint(path, {"numbers": np.arange(3.0)})
    rewrite(path, change, cut)
    with pytest.raises(CheckpointError, match=f"^{path}: damaged.*the one before it is sound"):
        load_checkpoint(path, "numbers")


def test_a_layout_without_a_version_is_refused(tmp_path):
    path = tmp_path / NAME
    save_checkpoint(path, {"numbers": np.arange(3.0)})
    rewrite(path, lambda found: (found.update(format=99), found.pop("version")))
    with pytest.raises(CheckpointError, match=r"by fedloop another version \(layout 99, not 3\)"):
        load_checkpoint(path)


def rewrite(path, change, cut=0):
    """Change what a checkpoint says of itself, cut bytes off its end, and seal it."""
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8:8 + length])
    found = json.loads(header["__metadata__"]["fedloop"]) | {"sha256": BLANK}
    change(found)
    header["__metadata__"]["fedloop"] = json.dumps(found)
    text = json.dumps(header, separators=(",", ":")).encode()
    data = len(text).to_bytes(8, "little") + text + data[8 + length:len(data) - cut]
    with path.open("w+b") as stream:
        stream.write(data)
        seal(stream, data.index(BLANK.encode()))


def test_the_checkpoint_before_is_offered_and_leads_to_the_same_bits(tmp_path):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    train(settings(), whole)
    train(settings(), parts, stop_after=4)
    path = parts / NAME
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(CheckpointError, match="the one before it is sound") as caught:
        train(settings(), parts)
    subprocess.run(str(caught.value).rpartition("go on from there: ")[2], shell=True, check=True)
    _, state = train(settings(), parts)
    assert len(state.records) == 6
    for file in (NAME, "rounds.jsonl"):
        assert (parts / file).read_bytes() == (whole / file).read_bytes()
    forget(parts)
    assert sorted(os.listdir(parts)) == ["config.json", "partition.json", "rounds.jsonl"]


def test_a_checkpoint_of_0_1_is_refused_with_its_version(tmp_path):
    path = tmp_path / NAME
    text = json.dumps({"format": 1, "state": {}})
    path.write_bytes(save({"0": np.zeros(3)}, {"fedloop": text}))
    with pytest.raises(CheckpointError, match=r"written by fedloop 0\.1 \(layout 1\).*go on with"):
        load_checkpoint(path)
    path.write_bytes(save({"0": np.zeros(3)}, {"fedloop": text.replace("1", "2")}))
    with pytest.raises(CheckpointError, match="has no checksum"):
        load_checkpoint(path)


def test_a_checkpoint_of_another_layout_is_refused_with_both(tmp_path, monkeypatch):
    path = tmp_path / NAME
    monkeypatch.setattr("fedloop.checkpoint.FORMAT", 2)
    save_checkpoint(path, {"round": 1})
    monkeypatch.undo()
    with pytest.raises(CheckpointError, match=r"written by fedloop \S+ \(layout 2, not 3\)"):
        load_checkpoint(path)


def test_everything_in_a_checkpoint_comes_back(tmp_path):
    state = {"flat": np.array(1.5), "turned": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
             "empty": np.zeros((0, 2), np.int32), "bits": np.array([True, False]),
             "deep": {"list": [np.float32(0.1), (1, None), {"a": np.arange(3)}], "text": "$array"},
             "numbers": [np.int64(7), 2**60, -0.0, 1e-300]}
    save_checkpoint(tmp_path / NAME, state)
    found = load_checkpoint(tmp_path / NAME, "flat", "deep")
    for name in ("flat", "turned", "empty", "bits"):
        assert found[name].dtype == state[name].dtype and found[name].shape == state[name].shape
        assert np.array_equal(found[name], state[name])
    small, pair, inner = found["deep"]["list"]
    assert (small, pair, found["deep"]["text"]) == (float(np.float32(0.1)), [1, None], "$array")
    assert inner["a"].tolist() == [0, 1, 2]
    assert found["numbers"] == [7, 2**60, 0.0, 1e-300] and type(found["numbers"][0]) is int
    with pytest.raises(CheckpointError, match="it has no 'late'"):
        load_checkpoint(tmp_path / NAME, "flat", "late")
    with pytest.raises(CheckpointError, match="cannot be read: No such file"):
        load_checkpoint(tmp_path / "missing")


def test_a_checkpoint_of_another_kind_is_refused(tmp_path):
    save_checkpoint(tmp_path / NAME, {"round": 1, "model": {}, "aligner": {}})
    with pytest.raises(CheckpointError, match="has no 'config'"):
        train(settings(), tmp_path)


def test_a_second_run_in_a_folder_is_refused_until_the_first_is_dead(tmp_path, capsys):
    code = ("import sys, time; from pathlib import Path; from fedloop.checkpoint import writing\n"
            "with writing(Path(sys.argv[1])): print('go', flush=True); time.sleep(600)")
    train(settings(rounds=2), tmp_path)
    with subprocess.Popen([sys.executable, "-c", code, str(tmp_path)],
                          stdout=subprocess.PIPE) as first:
        assert first.stdout.readline() == b"go\n"
        with pytest.raises(CheckpointError, match=f"another fedloop is writing {tmp_path}"):
            train(settings(seed=1), tmp_path)
        assert cli.main(["run", "--again", "--out", str(tmp_path)]) == 2
        assert "another fedloop is writing" in capsys.readouterr().err
        assert (tmp_path / NAME).exists(), "another run's checkpoint was removed"
        first.kill()
    _, state = train(settings(rounds=3), tmp_path)
    assert len(state.records) == 3
    assert not (tmp_path / ".lock").exists()


def test_a_folder_that_cannot_be_made_is_refused_in_one_line(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(CheckpointError, match="cannot be written: Not a directory"), \
            writing(tmp_path / "file" / "run"):
        pass
