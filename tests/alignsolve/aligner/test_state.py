"""An aligner's files: damage is refused, 0.1 is read, and no two events of a log are alike."""

import json
import os
from pathlib import Path

import numpy as np
import pytest

import alignsolve as al
from alignsolve.aligner import state as files
from alignsolve.io.native_npz import read_archive, write_archive


@pytest.fixture
def aligner():
    made = al.Aligner(3)
    made.plan(["x", "y"])
    return made


def test_every_damage_is_refused_and_the_state_before_is_offered(aligner, tmp_path):
    path = tmp_path / "my state.npz"
    aligner.save(path)
    aligner.plan(["x"])
    aligner.save(path)
    assert sorted(os.listdir(tmp_path)) == ["my state.before.npz", "my state.npz"]
    whole, rng = path.read_bytes(), np.random.default_rng(0)
    spots = {*rng.integers(0, len(whole), 60).tolist(), *range(len(whole) - 100, len(whole), 3)}
    cuts = rng.integers(0, len(whole), 20).tolist()
    for damaged in (
        *(whole[:at] + bytes([whole[at] ^ int(rng.integers(1, 256))]) + whole[at + 1:]
          for at in spots),
        *(whole[:at] for at in cuts), whole + b"x",
    ):
        path.write_bytes(damaged)
        with pytest.raises(al.CheckpointError, match="the one before it is sound") as caught:
            al.Aligner.load(path)
        assert str(caught.value).startswith(f"{path}: damaged")
        assert str(caught.value).endswith(f"mv '{tmp_path}/my state.before.npz' '{path}'")
    os.replace(tmp_path / "my state.before.npz", path)
    assert al.Aligner.load(path).round == 1
    path.write_bytes(whole[:-1])
    with pytest.raises(al.CheckpointError, match=r"start with a new aligner$"):
        al.Aligner.load(path)


def test_state_of_0_1_loads_and_is_written_with_a_checksum(tmp_path):
    old = Path(__file__).with_name("state-0.1.npz")
    aligner, path = al.Aligner.load(old), tmp_path / "new.npz"
    assert (aligner.round, aligner.open_plan.col_ind.tolist()) == (2, [1, 2, 0])
    aligner.save(path)
    assert files.archive_is_sealed(old) is None
    assert files.archive_is_sealed(path) is True


def test_a_file_of_the_new_layout_without_a_checksum_is_refused(aligner, tmp_path):
    path = tmp_path / "state.npz"
    aligner.save(path)
    write_archive(*read_archive(path), path)
    with pytest.raises(al.CheckpointError, match="checksum do not fit"):
        al.Aligner.load(path)


def test_a_missing_file_and_one_of_something_else_are_told_apart(tmp_path):
    path = tmp_path / "x.npz"
    with pytest.raises(al.ProblemError, match="no such file"):
        al.Aligner.load(path)
    al.io.write_instance(al.AlignmentProblem(np.eye(2), 1), path)
    with pytest.raises(al.ProblemError, match="is no aligner's state"):
        al.Aligner.load(path)


@pytest.mark.parametrize("spoil", [
    lambda config: config["load"].update(unknown=1), lambda config: config.pop("capacity"),
    lambda config: config["policy"].update(min_finishers=-1),
])
def test_a_configuration_that_does_not_fit_is_refused(tmp_path, spoil):
    header, arrays = read_archive(Path(__file__).with_name("state-0.1.npz"))
    spoil(header["configuration"])
    write_archive(header, arrays, tmp_path / "x.npz")
    with pytest.raises(al.ProblemError, match="its configuration does not fit"):
        al.Aligner.load(tmp_path / "x.npz")


def test_events_are_unique_where_rounds_are_played_again(tmp_path):
    log, path = tmp_path / "log.jsonl", tmp_path / "state.npz"
    aligner = al.Aligner(3, log=log)
    aligner.save(path)
    aligner.plan(["x"])
    with log.open("a") as stream:
        stream.write('{"event": "pl')  # killed while it wrote
    again = al.Aligner.load(path, log=log)
    again.plan(["x"])
    lines = log.read_text().splitlines()
    first, load, second = (json.loads(line) for line in (lines[0], *lines[2:]))
    assert [event["event"] for event in (first, load, second)] == ["plan", "load", "plan"]
    assert (first["round"], load["round"], second["round"]) == (1, 0, 1)
    assert (first["number"], load["number"], second["number"]) == (1, 1, 2)
    assert first["start"] != load["start"] == second["start"]
