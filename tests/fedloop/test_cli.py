"""The command line, comparisons and their figures."""

import errno
import hashlib
import http.client
import json
import math
import os
import re
import runpy
import shlex
import signal
import subprocess
import sys
import tarfile
import threading
import time
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace
from typing import get_args

import numpy as np
import pytest

import alignsolve
import fedloop.experiment
from alignsolve.cli import terminating
from fedloop.cli import STRATEGIES, main
from fedloop.compare import compare, figures
from fedloop.config import Strategy, build_config, read_config
from fedloop.errors import DataError
from fedloop.metrics import estimate, paired_change, summary, worst_decile
from fedloop.tasks.data import load_dataset
from fedloop.tasks.download import SOURCES, download
from tests.alignsolve.report.test_page import check_page
from tests.files import ROOT

TINY = [
    "--set", "rounds=3", "--set", "partition.clients=6", "--set", "partition.test_images=10",
    "--set", "model.experts=4", "--set", "local.steps=1", "--set", "targets=[0.05, 0.99]",
]


def png(path):
    return path.read_bytes().startswith(b"\x89PNG")


def test_run_ends_with_figures_and_a_picture(tmp_path, capsys):
    out = tmp_path / "run"
    assert main(["run", "--out", str(out), *TINY]) == 0
    printed = capsys.readouterr().out
    assert "5% after 1 rounds" in printed and "99% not reached" in printed
    assert png(out / "run.png")
    outline = check_page((out / "report.html").read_text())
    assert outline.tags.count("svg") == 1 and "partition.clients" in outline.cells
    before = (out / "rounds.jsonl").read_bytes()
    assert main(["run", "--out", str(out), "--json", *TINY]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["rounds"] == 3 and found["rounds_to"] == {"5": 1, "99": None}
    assert (out / "rounds.jsonl").read_bytes() == before
    assert main(["run", "--out", str(out), *TINY, "--set", "seed=1"]) == 2
    assert "made with another seed" in capsys.readouterr().err
    assert main(["run", "--out", str(out), *TINY, "--set", "seed=1", "--again"]) == 0


def stop_in_round_3(number):
    """Let a signal come in a round, and all that follows take its time."""
    play_round = fedloop.experiment.play_round

    def stopped(world, state, trainer):
        if len(state.records) == 2:
            signal.raise_signal(number)
        return play_round(world, state, trainer)

    fedloop.experiment.play_round = stopped
    terminating.time = SimpleNamespace(sleep=lambda seconds: time.sleep(100))


def run_until_sigterm(words):
    """Run a command in a process of its own; return its exit code and what it told."""
    script = ("import sys; from tests.fedloop import test_cli as it; "
              "it.stop_in_round_3(15); sys.exit(it.main(sys.argv[1:]))")
    done = subprocess.run([sys.executable, "-c", script, *words], capture_output=True, text=True,
                          timeout=200, check=False, cwd=ROOT)
    return done.returncode, done.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_run_that_is_stopped_says_how_to_go_on(tmp_path, capsys, monkeypatch, number):
    out = tmp_path / "a run"
    words = ["run", "--out", str(out), *TINY, "--set", "checkpoint_every=100"]
    if number == signal.SIGTERM:
        code, told = run_until_sigterm([*words, "--again"])
        assert code == 143
    else:
        with monkeypatch.context() as patch:
            patch.setattr(fedloop.experiment, "play_round", fedloop.experiment.play_round)
            patch.setattr(terminating, "time", time)
            stop_in_round_3(number)
            assert main([*words, "--again"]) == 130
        told = capsys.readouterr().err
    kept, _, command = told.partition("goes on with: ")
    assert kept.startswith("interrupted; ")
    assert shlex.split(command) == ["fedloop", *words]
    before = (out / "rounds.jsonl").read_text()
    assert before.count("\n") == 2
    assert main(words) == 0
    assert (out / "rounds.jsonl").read_text().startswith(before)


def test_flags_stand_for_settings(tmp_path):
    words = ["--strategy", "greedy", "--device", "cpu"]
    assert main(["run", "--out", str(tmp_path), *words, *TINY]) == 0
    assert json.loads((tmp_path / "config.json").read_text())["strategy"] == "greedy"
    assert set(STRATEGIES) == set(get_args(Strategy))


@pytest.mark.parametrize(("seeded", "told"), [("false", "epsilon 6.57 at delta 1e-05"),
                                              ("true", "not private, since privacy.seeded")])
def test_run_states_the_privacy_loss(seeded, told, tmp_path, capsys):
    words = ["--set", "privacy.noise_multiplier=1.0", "--set", f"privacy.seeded={seeded}"]
    assert main(["run", "--out", str(tmp_path), *words, *TINY, "--set", "rounds=2"]) == 0
    assert f"reported statistics: {told}" in capsys.readouterr().out


def test_events_for_tensorboard(tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    words = ["run", "--tensorboard", "--out", str(tmp_path), *TINY]
    assert main([*words, "--set", "fleet.failure_rate=1.0"]) == 0  # rounds without a loss
    assert main([*words, "--again"]) == 0
    assert main([*words, "--set", "rounds=5"]) == 0
    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    records = [json.loads(line) for line in (tmp_path / "rounds.jsonl").read_text().splitlines()]
    for title, key in (("accuracy/as_served", "accuracy"), ("load/cv", "load_cv")):
        found = events.Scalars(title)
        assert [event.step for event in found] == [1, 2, 3, 4, 5]
        np.testing.assert_allclose([event.value for event in found],
                                   [record[key] for record in records], rtol=1e-6)
    assert events.Scalars("load/expert_3")[-1].value == records[-1]["holders"][3]


def test_compare_ends_with_a_table_and_a_picture(tmp_path, capsys):
    words = ["compare", "--out", str(tmp_path), "--strategies", "optimal,random"]
    words += ["--seeds", "3,5-6"]
    assert main([*words, *TINY]) == 0
    printed = capsys.readouterr().out
    assert "optimal" in printed and "never (3/3)" in printed and png(tmp_path / "compare.png")
    outline = check_page((tmp_path / "report.html").read_text())
    assert {"random", "never (3/3)", "rounds to 99%", "partition.clients"} <= set(outline.cells)
    assert f"report: {tmp_path / 'report.html'}" in printed
    assert (tmp_path / "random" / "seed-5" / "rounds.jsonl").exists()
    assert main([*words, "--json", *TINY]) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert [row["strategy"] for row in rows] == ["optimal", "random"]
    assert rows[1]["rounds_to_99"] == {"mean": 3.0, "half_width": 0.0, "censored": 3, "n": 3}
    assert rows[1]["fewer_rounds_to_5"]["n"] == 3


@pytest.mark.parametrize(("words", "text"), [
    (["run", "missing.toml"], "missing.toml: cannot be read"),
    (["run", "--set", "rounds=x"], "rounds"),
    (["run", "--set", "data.name=mnist"], "--data-dir"),
    (["run", "--data-dir", "nowhere", "--set", "data.name=npz"], "no such file"),
    (["run", "--data-dir", "no\x7fwhere", "--set", "data.name=npz"], "where: there is no"),
    (["run", "--device", "gpu"], "torch cannot use 'gpu'"),
    (["run", "--strategy", "best"], "'optimal'"),
    (["run", "--set", "partition.clients=500"], "do not give 500 clients"),
    (["run", "--set", "data.limit=12", "--set", "partition.kind='classes'", "--set",
      "partition.clients=2", "--set", "partition.min_images=4", "--set",
      "partition.classes_per_client=1"], "classes do not give 2 clients"),
    (["run", "--set", "fleet.tiers=['moon']"], "there is no tier 'moon'"),
    (["compare", "--seeds", "1-"], "--seeds"),
    (["compare", "--seeds", "4-1"], "--seeds '4-1'"),
    (["compare", "--strategies", ","], "names none"),
    (["compare", "--strategies", "best"], "strategy"),
    (["download", "imagenet"], "imagenet"),
    (["walk"], "walk"),
])
def test_mistakes_end_with_one_line_and_code_2(words, text, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main([*words, *([] if words[0] in ("download", "walk") else ["--json"])]) == 2
    streams = capsys.readouterr()
    assert text in streams.err and streams.err.count("\n") == 1
    if words[0] in ("run", "compare"):
        assert text in json.loads(streams.out)["error"]


def test_a_template_says_what_the_defaults_say(tmp_path, capsys):
    path = tmp_path / "my.toml"
    assert main(["init", str(path)]) == 0
    assert f"fedloop run {path}" in capsys.readouterr().out
    text = path.read_text()
    assert read_config(path) == build_config({})
    assert "# Share held out.\ntest_fraction = 0.2" in text
    assert ("One of optimal, random, round-robin, greedy, flex-moe,\n"
            "# fedamole, oracle, everything.\nstrategy") in text
    for name, group in build_config({}):
        for setting in getattr(type(group), "model_fields", ()):
            assert re.search(rf"^(# )?{setting} =", text.partition(f"[{name}]")[2], re.MULTILINE)
    assert main(["init", str(path)]) == 2
    assert "is there already" in capsys.readouterr().err
    assert path.read_text() == text


@pytest.mark.parametrize(("name", "fetched"), [("mnist", True), ("npz", False), ("folder", False)])
def test_only_what_can_be_fetched_is_offered(name, fetched):
    with pytest.raises(DataError, match="--data-dir") as refused:
        load_dataset(name)
    assert (f"fedloop download {name}" in str(refused.value)) == fetched


def test_the_version_is_told_and_the_module_runs(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["fedloop", "--version"])
    with pytest.raises(SystemExit) as ended:
        runpy.run_module("fedloop", run_name="__main__")
    assert not ended.value.code
    assert capsys.readouterr().out == f"fedloop {alignsolve.__version__}\n"


@pytest.fixture
def server(tmp_path):
    """A web server on loopback, and the folder that it serves."""
    folder = tmp_path / "served"
    folder.mkdir()
    quiet = type("Quiet", (SimpleHTTPRequestHandler,), {"log_message": lambda *_: None})
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(quiet, directory=folder)) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield folder, f"http://127.0.0.1:{running.server_port}/"
        running.shutdown()
        thread.join()


def test_downloads_are_checked(server, tmp_path, monkeypatch, capsys):
    served, address = server
    to = tmp_path / "to"
    (served / "x.gz").write_bytes(b"hello")
    monkeypatch.setitem(SOURCES, "mnist", (address, {"x.gz": "5d41402abc4b2a76b9719d911017c592"}))
    assert main(["download", "mnist", "--to", str(to)]) == 0
    assert str(to / "x.gz") in capsys.readouterr().out
    (served / "x.gz").unlink()
    seen = []
    assert download("mnist", to, lambda *news: seen.append(news)) == [to / "x.gz"]
    assert not seen  # it was there already
    monkeypatch.setitem(SOURCES, "mnist", (address, {"x.gz": "0" * 32}))
    with pytest.raises(DataError, match=r"cannot be reached.*404.*--data-dir"):
        download("mnist", to)
    (served / "x.gz").write_bytes(b"hullo")
    with pytest.raises(DataError, match="MD5"):
        download("mnist", to, lambda *news: seen.append(news))
    assert seen == [("x.gz", 5, 5)]
    assert [path.name for path in to.iterdir()] == ["x.gz"]
    assert (to / "x.gz").read_bytes() == b"hello"


def test_archives_are_unpacked_inside_their_folder(server, tmp_path, monkeypatch):
    served, address = server
    for name, fault in (("batches/data_batch_1", None), ("../outside", "cannot be unpacked")):
        with tarfile.open(served / "c.tar.gz", "w:gz") as archive:
            archive.addfile(tarfile.TarInfo(name))
        md5 = hashlib.md5((served / "c.tar.gz").read_bytes(), usedforsecurity=False).hexdigest()
        monkeypatch.setitem(SOURCES, "cifar10", (address, {"c.tar.gz": md5}))
        if fault is None:
            download("cifar10", tmp_path / "to")
            assert (tmp_path / "to" / name).exists()
        else:
            with pytest.raises(DataError, match=fault):
                download("cifar10", tmp_path / "to")
            assert not (tmp_path / "outside").exists()


def test_published_data_comes_over_https():
    for address, files in SOURCES.values():
        assert address.startswith("https://") and "s3-website" not in address  # that has no https
        assert all(len(md5) == 32 for md5 in files.values())


# -- figures ---------------------------------------------------------------------------


def test_intervals_are_students():
    found = estimate([1.0, 2.0, 3.0, 4.0, 5.0])
    assert (found.mean, found.n, found.censored) == (3, 5, 0)
    assert found.half_width == pytest.approx(2.776445 * math.sqrt(2.5 / 5), rel=1e-6)
    assert math.isnan(estimate([1.0]).half_width)


def test_censored_runs_count_as_the_last_round_and_are_counted():
    found = estimate([10, None, 20], limit=60)
    assert (found.mean, found.censored) == (30, 1)
    change = paired_change([10, 30, 60], [20, None, 60], limit=60)
    assert change.mean == pytest.approx((-0.5 - 0.5 + 0) / 3) and change.censored == 1


def test_a_summary_tells_rounds_bytes_and_seconds():
    records = [
        {"accuracy": a, "accuracy_all": 0.1, "worst_decile": 0.0, "load_cv": 0.0,
         "down_bytes": 10, "up_bytes": 5, "seconds": 2.0}
        for a in (0.2, 0.85, 0.7)
    ]
    found = summary(records, [0.8, 0.9])
    assert found["rounds_to"] == {"80": 2, "90": None}
    assert found["bytes_to"] == {"80": 30, "90": None} and found["seconds_to"]["80"] == 4.0
    assert (found["accuracy"], found["bytes"], found["rounds"]) == (0.7, 45, 3)


def test_the_worst_decile_has_at_least_one_client():
    assert worst_decile(np.array([0.3, 0.9])) == 0.3
    assert worst_decile(np.arange(20) / 20) == pytest.approx(0.025)


def test_comparisons_are_paired_by_seed():
    config = build_config({
        "rounds": 2, "partition": {"clients": 4, "test_images": 10}, "model": {"experts": 4},
        "local": {"steps": 1}, "targets": (0.05,),
    })
    runs = compare(config, ["greedy", "random"], [1, 2])
    assert {strategy: list(seeds) for strategy, seeds in runs.items()} == {
        "greedy": [1, 2], "random": [1, 2]}
    rows = figures(runs, config.targets, "greedy")
    assert "fewer_rounds_to_5" in rows[1] and "fewer_rounds_to_5" not in rows[0]


def test_no_warning_is_raised():
    words = [sys.executable, "-W", "error", "-m", "fedloop.cli", "--help"]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    assert "compare" in done.stdout


# -- disks that take nothing -------------------------------------------------------------


def refused(words, capsys):
    """Return the one line with which a command ends with code 2."""
    assert main(words) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1
    return error


@pytest.mark.parametrize("words", [["run"], ["compare", "--seeds", "1"], ["download", "mnist"]])
def test_a_folder_that_cannot_be_made_ends_with_one_line(words, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    to = "--to" if words[0] == "download" else "--out"
    rest = [] if words[0] == "download" else TINY
    error = refused([*words, to, str(tmp_path / "file" / "o"), *rest], capsys)
    assert "Not a directory" in error and "file" in error


def test_a_full_disk_ends_a_run_with_one_line_and_the_run_goes_on(tmp_path, monkeypatch, capsys):
    words = ["run", "--out", str(tmp_path), *TINY, "--set", "checkpoint_every=1"]
    write = os.write

    def refuse(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def full(file, data):
        if b'"round": 3' not in data:
            return write(file, data)
        monkeypatch.setattr(os, "replace", refuse)  # nor is there room for a checkpoint
        return refuse()

    monkeypatch.setattr(os, "write", full)
    assert "rounds.jsonl: cannot be written: no space left on device" in refused(words, capsys)
    monkeypatch.undo()
    assert main(words) == 0
    rounds = [json.loads(line)["round"] for line in (tmp_path / "rounds.jsonl").open()]
    assert rounds == [1, 2, 3]


def test_a_full_disk_is_not_taken_for_the_network(server, tmp_path, monkeypatch, capsys):
    served, address = server
    (served / "x.gz").write_bytes(b"hello")
    monkeypatch.setitem(SOURCES, "mnist", (address, {"x.gz": "5d41402abc4b2a76b9719d911017c592"}))

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    words = ["download", "mnist", "--to", str(tmp_path / "to")]
    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", full)
        assert "x.gz: cannot be written: no space left on device" in refused(words, capsys)
    monkeypatch.setattr(http.client.HTTPResponse, "read", full)
    assert "127.0.0.1 cannot be reached" in refused(words, capsys)
    assert not list((tmp_path / "to").iterdir())


def test_events_that_cannot_be_written_stop_no_run(tmp_path, monkeypatch, caplog):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", SimpleNamespace(SummaryWriter=full))
    assert main(["run", "--tensorboard", "--out", str(tmp_path), *TINY]) == 0
    assert caplog.text.count("No space left on device; the run goes on without them") == 1
