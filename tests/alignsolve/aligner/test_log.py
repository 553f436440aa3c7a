"""The log of rounds never breaks a round."""

import errno
import json
import logging
import os

import pytest

import alignsolve as al


def events(path):
    return [json.loads(line)["event"] for line in path.read_text().splitlines()]


def test_a_relative_path_is_resolved_when_given(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    aligner = al.Aligner(2, log="log.jsonl")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    aligner.plan(["a"])
    assert events(tmp_path / "log.jsonl") == ["plan"]


def test_a_log_without_its_folder_warns_once_and_rounds_go_on(tmp_path, caplog):
    path = tmp_path / "missing" / "log.jsonl"
    aligner = al.Aligner(2, log=path)
    with caplog.at_level(logging.WARNING, "alignsolve"):
        for _ in range(3):
            plan = aligner.plan(["a"])
            assert aligner.observe(plan, []).dropped == ("a",)
    assert [record.getMessage() for record in caplog.records] == [
        f"log {path} cannot be written: No such file or directory; rounds go on without it"]
    assert aligner.round == 3
    path.parent.mkdir()
    aligner.plan(["a"])
    assert events(path) == ["plan"]


def test_what_a_full_disk_takes_of_a_line_stays_a_line_of_its_own(tmp_path, monkeypatch, caplog):
    path, write = tmp_path / "log.jsonl", os.write
    aligner = al.Aligner(2, log=path)

    def full(file, data):
        """Take five bytes, and then none."""
        monkeypatch.setattr(os, "write", refuse)
        return write(file, data[:5])

    def refuse(file, data):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "write", full)
    plan = aligner.plan(["a"])
    aligner.observe(plan, [])
    monkeypatch.setattr(os, "write", write)
    aligner.plan(["a"])
    torn, whole = path.read_text().splitlines()
    assert torn == '{"eve' and json.loads(whole)["round"] == 2
    assert caplog.text.count("No space left on device") == 1


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full")
def test_a_full_disk_stops_no_round(caplog):
    aligner = al.Aligner(2, log="/dev/full")
    aligner.observe(aligner.plan(["a"]), [])
    assert aligner.round == 1 and aligner.open_plan is None
    assert caplog.text.count("cannot be written: No space left on device") == 1
