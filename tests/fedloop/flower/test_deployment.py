"""A SuperLink and three SuperNodes on loopback; run by `make test-engines`."""

import json
import os
import signal
import subprocess
import sys
import time
import uuid
from itertools import pairwise
from pathlib import Path

import numpy as np
import psutil
import pytest

pytest.importorskip("flwr", reason="Flower is not installed: pip install 'alignsolve[flower]'")

from fedloop.config import build_config
from fedloop.errors import CheckpointError, EngineError
from fedloop.flower.deploy import Lines, check_folder, main, play, train_deployed
from fedloop.flower.deployment import Deployment
from fedloop.saving import restore
from fedloop.train import build_world, start, train

pytestmark = pytest.mark.timeout(600)

FAULTY = Path(__file__).parent / "faulty"

#: Seconds to wait for the clients of a round; a round without failures takes about 8.
TIMEOUT = 35.0


def config(rounds):
    return build_config({
        "rounds": rounds, "checkpoint_every": 1, "partition": {"clients": 3, "test_images": 20},
        "local": {"batched": False},
    })


@pytest.fixture
def nothing_left(monkeypatch):
    """Check that no process that the test started, however indirectly, outlives it."""
    mark = f"FEDLOOP_TEST_{uuid.uuid4().hex}"
    monkeypatch.setenv(mark, "1")
    yield mark
    assert [" ".join(process.cmdline()) for process in alive(mark)] == []


def alive(mark):
    """Return the other processes with a variable in their environment."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.pid != os.getpid() and mark in process.environ():
                found.append(process)
        except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
            continue
    return found


def connected_hosts(mark):
    """Return the hosts that processes with a variable listen on or are connected to."""
    found = set()
    for process in alive(mark):
        try:
            connections = process.net_connections("inet")
        except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
            continue
        found |= {end.ip for one in connections for end in (one.laddr, one.raddr) if end}
    return found


@pytest.mark.engines
def test_curve_is_that_of_the_process_also_when_the_server_dies(tmp_path, nothing_left):
    expected = train(config(2))[1].records
    hosts = set()
    folder = tmp_path / "run"
    with Deployment([{}] * 3, tmp_path / "logs") as deployment:

        def kill_after_one(record):
            if record["round"] == 1:
                deployment.kill_link()

        with pytest.raises(EngineError, match="superlink ended"):
            play(deployment, config(2), folder, timeout=TIMEOUT, on_round=kill_after_one,
                 on_tick=lambda: hosts.update(connected_hosts(nothing_left)))
    assert hosts == {"127.0.0.1"}
    with pytest.raises(CheckpointError, match="--resume"):
        train_deployed(config(2), folder, timeout=TIMEOUT)
    seen = []
    found = train_deployed(config(2), folder, timeout=TIMEOUT, resume=True, on_round=seen.append)
    records = [json.loads(line) for line in (folder / "rounds.jsonl").read_text().splitlines()]
    assert seen == records and [record["round"] for record in records] == [1, 2]
    assert [r["held"] for r in records] == [r["held"] for r in expected]
    for key in ("accuracy", "accuracy_all", "loss"):
        assert [r[key] for r in records] == pytest.approx([r[key] for r in expected], abs=1e-4)
    assert found["network-traffic"]["inbound-bytes"] > records[1]["up_bytes"]


@pytest.mark.engines
@pytest.mark.usefixtures("nothing_left")
def test_rounds_go_on_without_nodes_that_fail(tmp_path):
    marker, began = tmp_path / "hanging", [time.monotonic()]
    faults = [{"round-2": "sleep", "seconds": TIMEOUT + 5}, {"round-2": "nan"},
              {"round-3": "hang", "marker": str(marker)}]
    killed = []
    with Deployment(faults, tmp_path / "logs") as deployment:

        def replace_the_hanging():
            if marker.exists() and not killed:
                killed.append(2)
                deployment.kill_node(2)
                deployment.start_node(2, {})

        play(deployment, config(4), tmp_path, timeout=TIMEOUT, app=FAULTY,
             on_round=lambda record: began.append(time.monotonic()), on_tick=replace_the_hanging)
    records = [json.loads(line) for line in (tmp_path / "rounds.jsonl").read_text().splitlines()]
    first, second, third, fourth = records
    assert first["finished"] == 3
    assert (second["failed"], second["refused"], second["finished"]) == ([0], [1], 1)
    assert 2 in third["failed"] and third["finished"] >= 1
    # The killed node was started again, under another number.
    assert 2 not in fourth["failed"] and fourth["finished"] >= 2
    # Planning, evaluation and looking for new nodes come on top of the timeout.
    assert max(b - a for a, b in pairwise(began[1:])) < 2 * TIMEOUT
    world = build_world(config(4))
    state = start(world)
    restore(world, state, tmp_path)
    chances = state.aligner.tables.capacity.finish_probability(np.arange(3))
    assert max(chances) < min(all_finished(4))


def all_finished(rounds):
    """Return what the aligner thinks of clients that finished every round."""
    state = train(config(rounds))[1]
    return state.aligner.tables.capacity.finish_probability(np.arange(3))


@pytest.mark.engines
def test_an_interrupt_stops_everything(tmp_path):
    mark = f"FEDLOOP_TEST_{uuid.uuid4().hex}"
    words = [sys.executable, "-m", "fedloop.flower.deploy", "--nodes", "2", "--out", str(tmp_path)]
    with subprocess.Popen(words, env={**os.environ, mark: "1"}, stderr=subprocess.PIPE,
                          text=True) as process:
        until = time.monotonic() + 120
        while not list(tmp_path.glob("logs/run-*.log")) and time.monotonic() < until:
            time.sleep(0.2)
        assert len(alive(mark)) > 3
        process.send_signal(signal.SIGINT)
        told = process.communicate(timeout=60)[1]
    assert process.returncode == 130 and "all processes are stopped" in told
    assert alive(mark) == []


@pytest.mark.parametrize(("words", "told"), [
    (["--app", "nowhere"], "there is no pyproject.toml"),
    (["--app", str(FAULTY), "--run-config", "timeout"], "is not key=value"),
    (["--app", str(FAULTY), "--resume"], "a setting of its own"),
    (["my.toml", "--app", str(FAULTY), "--again"], "CONFIG is for fedloop's own app"),
    (["--app", str(FAULTY), "--set", "rounds=2"], "--set is for fedloop's own app"),
    (["--app", str(FAULTY), "--timeout", "60"], "--timeout is for fedloop's own app"),
    (["--run-config", "timeout=9.0"], "--run-config is for the app that --app names"),
    (["--set", "rounds=0"], "rounds: "),
    (["--nodes", "0"], "'--nodes': 0 is not in the range"),
    (["--again", "--resume"], "give one of them"),
    (["--timeout", "-3"], "--timeout is -3"),
    (["--timeout", "nan"], "--timeout is nan"),
    (["--set", "partition.clients=5"], "give --nodes 5"),
    (["--set", "model.gate='personal'"], "model.gate is personal"),
])
def test_bad_usage_is_told_before_anything_starts(words, told, tmp_path, capsys):
    assert main([*words, "--out", str(tmp_path / "run")]) == 2
    assert told in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_a_command_that_hangs_is_an_error(tmp_path, monkeypatch):
    (tmp_path / "flwr").write_text("#!/bin/sh\nexec sleep 30\n", encoding="utf-8")
    (tmp_path / "flwr").chmod(0o755)
    monkeypatch.setattr("fedloop.flower.deployment.PATIENCE", 0.2)
    deployment = Deployment([{}], tmp_path / "logs")
    deployment._env["PATH"] = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    with pytest.raises(EngineError, match=r"flwr run did not end within 0\.2 s"):
        deployment.submit(FAULTY, {})
    deployment.stop()


def test_lines_are_handed_on_once_and_only_when_complete(tmp_path):
    seen, path = [], tmp_path / "lines"
    lines = Lines(path, seen.append)
    lines()
    for text, expected in (("one\ntw", ["one"]), ("o\nthree\n", ["one", "two", "three"])):
        with path.open("a", encoding="utf-8") as stream:
            stream.write(text)
        lines()
        assert seen == expected


def test_a_folder_is_not_overwritten_and_not_resumed_from_nothing(tmp_path):
    check_folder(tmp_path, resume=False)
    with pytest.raises(CheckpointError, match="no checkpoint to resume"):
        check_folder(tmp_path, resume=True)
    (tmp_path / "checkpoint.safetensors").touch()
    check_folder(tmp_path, resume=True)
    with pytest.raises(CheckpointError, match="holds a run"):
        check_folder(tmp_path, resume=False)
