"""Whole benches: every way in which a run can end, resuming, and what is left behind."""

from __future__ import annotations

import dataclasses
import importlib
import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import psutil
import pytest
from markupsafe import escape
from rich.console import Console

import alignsolve as al
from alignsolve.backends import registry
from alignsolve.bench import pool as workers
from alignsolve.bench import run_bench
from alignsolve.bench import worker as bench_worker
from alignsolve.bench.contents import class_table, failures
from alignsolve.bench.pool import Pool, Worker, WorkerLostError
from alignsolve.bench.report import BenchReport
from alignsolve.bench.store import CSV_FIELDS
from alignsolve.io import write_instance
from alignsolve.io.specs import new_spec, write_spec
from tests.alignsolve.report.test_page import check_page

HERE = Path(__file__).parent
LIMITS = {"time_limit": 1.0, "memory_limit": 400.0, "plugins": ["bench_backends"]}


@pytest.fixture(scope="module", autouse=True)
def workers_find_the_fakes():
    registered = dict(registry._CLASSES)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(HERE)
        # Here and in every worker, importing this registers the backends that go wrong.
        importlib.import_module("bench_backends")
        patch.setenv("PYTHONPATH", str(HERE))
        yield
    registry._CLASSES.clear()
    registry._CLASSES.update(registered)


def problem(n=30, **changes):
    fitness = np.random.default_rng(0).integers(1, 100, (n, 4))
    return al.AlignmentProblem(fitness, 1, **changes)


def fill(folder):
    (folder / "sub").mkdir(parents=True)
    write_instance(problem(), folder / "flow.json")
    floors = {"client_fitness_min": np.where(np.arange(30) < 1, 0.0, -np.inf)}
    write_instance(problem(**floors), folder / "sub" / "mip.npz")
    write_instance(problem(expert_group=[0, 0, 1, 1], group_max=1), folder / "groups.json")
    (folder / "broken.json").write_text('{"torn')
    (folder / "README.md").write_text("not an instance")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("instances")
    fill(folder)
    return folder


BACKENDS = ["honest", "crash", "exit", "hang", "late", "raise", "empty"]


@pytest.fixture(scope="module")
def report(folder):
    return run_bench([folder], backends=BACKENDS, jobs=2, out=folder / "out", **LIMITS)


def rows(report, instance):
    return {row.backend: row for row in report.rows if row.instance == instance}


# -- every way in which a run can end ----------------------------------------------------


def test_every_failure_is_a_row(report):
    found = rows(report, "flow.json")
    assert {name: row.outcome for name, row in found.items() if name != "empty"} == {
        "honest": "optimal",
        "crash": "crash",
        "exit": "crash",
        "hang": "timeout",
        "late": "feasible",
        "raise": "error",
    }
    assert "SIGSEGV" in found["crash"].message
    assert found["exit"].message == "process exited with code 7: library says goodbye"
    assert "a library's own error" in found["raise"].message


def test_kills_keep_their_limits(report):
    found = rows(report, "flow.json")
    assert 2.0 <= found["hang"].total_seconds <= 4.0
    assert found["honest"].rise_mib < 100.0


def test_a_run_beyond_the_memory_limit_is_killed(folder, tmp_path):
    # With a time limit that no machine is too slow for.
    limits = LIMITS | {"time_limit": 60.0}
    (row,) = run_bench([folder / "flow.json"], backends=["hog"], out=tmp_path, **limits).rows
    assert row.outcome == "memory"
    assert "killed at" in row.message
    assert 400.0 <= row.peak_mib < 2000.0
    assert row.rise_mib > 100.0


def test_a_late_answer_does_not_count(report):
    (late,) = (one for one in report.judgements
               if (one.row.backend, one.row.instance) == ("late", "flow.json"))
    assert late.late
    assert late.failed


def test_a_declared_refusal_is_no_failure(report):
    found = rows(report, "groups.json")
    assert {row.outcome for name, row in found.items() if name != "honest"} == {"unsupported"}
    flow = report.scores[0]
    assert {one.unsupported for one in flow.summaries if one.backend != "honest"} == {1}


def test_a_liar_is_convicted(report):
    # "empty" and "late" hold nothing and call 0 the bound, which for the mip class is believed.
    found = rows(report, "sub/mip.npz")
    assert found["honest"].objective > 0
    assert {line.split(" on ")[0] for line in report.wrong} == {"empty", "late"}
    assert all("sub/mip.npz: claims that" in line for line in report.wrong)
    assert "WRONG" in report.table()


def test_what_cannot_be_read_is_a_notice(report):
    assert len(report.notices) == 1
    assert report.notices[0].startswith("broken.json:1:2: not JSON")


def test_what_a_first_attempt_loads_or_compiles_is_not_charged(tmp_path):
    write_instance(problem(), tmp_path / "a.json")
    report = run_bench(
        [tmp_path], backends=["loads", "compiles"], out=tmp_path / "out", **LIMITS
    )
    for row in report.rows:
        assert row.outcome == "optimal"
        assert row.total_seconds < 0.5


def test_nothing_of_the_bench_runs_on(report):
    mine = psutil.Process().children(recursive=True)
    assert not [one for one in mine if "alignsolve.bench.worker" in " ".join(one.cmdline())]


def test_a_lost_worker_is_replaced():
    prepared = []
    pool = Pool(1, prepared.append)
    try:
        slow = pool.ask("preload", 0.0, modules=[])
        large = pool.ask("preload", 60.0, 1.0, modules=["scipy.optimize"])
        assert pool.ask("preload", 60.0, modules=[]) == {}
        os.kill(prepared[-1]._process.pid, signal.SIGKILL)
        killed = pool.ask("preload", 60.0, modules=[])
    finally:
        pool.stop()
    assert slow == {"error": "took longer than 0 s", "lost": True}
    assert large == {"error": "takes more than the memory limit of 1 MiB", "lost": True}
    assert killed == {"error": "the reading process ended by signal SIGKILL", "lost": True}
    assert len(prepared) == 3


def test_a_worker_may_be_stopped_while_its_end_is_told(monkeypatch):
    worker, tell = Worker(), workers.how_ended
    stopping = threading.Thread(target=worker.stop)

    def told_late(code):
        stopping.start()
        stopping.join(0.2)
        return tell(code)

    monkeypatch.setattr(workers, "how_ended", told_late)
    os.kill(worker._process.pid, signal.SIGKILL)
    with pytest.raises(WorkerLostError, match="ended by signal SIGKILL"):
        worker.ask("preload", 60.0, modules=[])
    stopping.join(60)
    assert worker._errors.closed



# -- what is left behind -----------------------------------------------------------------


def test_order_is_instance_then_backend_as_given(report):
    assert [row.instance for row in report.rows] == sorted(row.instance for row in report.rows)
    assert [row.backend for row in report.rows if row.instance == "flow.json"] == BACKENDS


@pytest.mark.parametrize("width", [80, 100, 140])
def test_the_table_keeps_to_its_width(report, width):
    lines = report.table(width).splitlines()
    assert max(map(len, lines)) <= width
    assert any(line.startswith("honest") for line in lines)
    table = report.table(width).partition("Failures")[0]
    assert "…" not in table  # nothing is cut


def test_failures_alike_share_a_line(report):
    lines = " ".join(report.table().split())
    assert "hang: timeout on flow.json, sub/mip.npz" in lines
    assert "exit: crash on flow.json, sub/mip.npz: process exited with code 7" in lines


def test_colour_only_on_request(report):
    assert "\x1b[" not in report.table()
    assert "\x1b[" in report.table(color=True)


def test_json_is_json_and_complete(report):
    content = json.loads(json.dumps(report.to_json(), allow_nan=False))
    assert content == json.loads(report.files["json"].read_text())
    assert content["schema"] == "alignsolve-bench/1"
    assert set(content) == {
        "schema", "settings", "shift_seconds", "backends", "interrupted", "start_seconds",
        "classes", "wrong", "notices", "instances", "rows", "files",
    }
    assert len(content["rows"]) == 3 * len(BACKENDS)
    assert {"solved", "wrong", "gap_to_best", "outcome"} <= set(content["rows"][0])
    assert set(content["classes"]) == {"flow", "mip"}
    assert str(Path.home()) not in json.dumps(content["instances"])


def test_csv_lists_every_row(report):
    lines = report.files["csv"].read_text().splitlines()
    assert lines[0] == ",".join(CSV_FIELDS)
    assert len(lines) == 1 + len(report.rows)


def test_pictures_are_pictures(report):
    assert report.files["png"].read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    root = ElementTree.parse(report.files["svg"]).getroot()
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert report.files["svg"].read_text().count("common instance") >= 1
    assert report.files["quality_png"].read_bytes().startswith(b"\x89PNG")
    assert "time to a gap of 0.02%" in report.files["quality_svg"].read_text()


def test_the_page_has_every_table_and_the_profile(report):
    page = report.files["html"].read_text()
    outline = check_page(page)
    heads = class_table(report.scores[0]).heads
    for backend in BACKENDS:
        assert outline.cells.count(backend) >= 2
    assert all(" ".join(head.split()) in outline.cells for head in heads)
    assert page.count('class="marked"') >= 1
    assert outline.tags.count("svg") == 2
    assert all(escape(line) in page for line in failures(report))


def test_what_lacks_a_library_is_left_out_and_said_so(report, tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    again = BenchReport.write(tmp_path, report.settings, report.backends, report.instances,
                              report.rows, report.starts, [], False)
    assert set(again.files) == {"jsonl", "csv", "json", "text"}
    assert {path.name for path in tmp_path.iterdir()} <= {path.name for path in
                                                         again.files.values()}
    said = " ".join(again.table().split())
    assert "pip install 'alignsolve[report]'" in said
    assert "pip install 'alignsolve[plot]'" in said


def test_start_up_is_shown_apart(report):
    assert report.starts["honest"] >= 0.0
    assert "First use in a fresh process" in report.table()


# -- a second run ------------------------------------------------------------------------


def test_a_second_run_does_nothing_and_says_the_same(report, folder):
    before = report.files["jsonl"].read_bytes()
    csv_before = report.files["csv"].read_bytes()
    again = run_bench([folder], backends=BACKENDS, jobs=2, out=folder / "out", **LIMITS)
    assert report.files["jsonl"].read_bytes() == before
    assert report.files["csv"].read_bytes() == csv_before
    assert again.rows == report.rows
    assert again.table() == report.table()


def test_a_store_without_answers_on_the_way_is_taken_up(report, folder, tmp_path):
    records = [json.loads(line) for line in report.files["jsonl"].read_text().splitlines()]
    removed = [record.pop("incumbents", None) for record in records]
    assert any(removed)
    text = "".join(f"{json.dumps(record)}\n" for record in records)
    (tmp_path / "results.jsonl").write_text(text)
    again = run_bench([folder / "flow.json"], backends=["honest"], jobs=2, out=tmp_path, **LIMITS)
    assert (tmp_path / "results.jsonl").read_text() == text
    (one,) = again.judgements
    assert one.row == dataclasses.replace(rows(report, "flow.json")["honest"], incumbents=())
    assert set(one.quality.seconds.values()) == {one.row.total_seconds}


def test_each_process_reads_the_files_that_it_works_on_itself(monkeypatch, tmp_path):
    write_instance(problem(), tmp_path / "a.json")
    asked, ask, together = {}, Worker.ask, threading.Barrier(2)

    def told(self, do, *limits, **fields):
        asked.setdefault(self, []).append(do)
        if do == "run":
            # Neither process takes both runs.
            together.wait(60)
        return ask(self, do, *limits, **fields)

    monkeypatch.setattr(Worker, "ask", told)
    found = run_bench([tmp_path / "a.json"], backends=["honest", "raise"], jobs=2,
                      out=tmp_path / "out", **LIMITS)  # fmt: skip
    assert {row.outcome for row in found.rows} == {"optimal", "error"}
    runs = [requests for requests in asked.values() if "run" in requests]
    assert runs == [["preload", "open", "run"]] * 2


def test_a_file_that_is_open_is_not_read_again(monkeypatch):
    read = []
    monkeypatch.setattr(bench_worker, "read_instances",
                        lambda path: [read.append(path), problem()][1:])
    server = bench_worker.Server(None)
    for path in ("a", "a", "b", "a"):
        (described,) = server.open(path)["problems"]
        assert described["n_clients"] == 30
    assert read == ["a", "b", "a"]


def test_other_settings_are_run_anew_and_a_changed_file_too(tmp_path):
    write_instance(problem(), tmp_path / "a.json")

    def bench(**changes):
        options = LIMITS | {"backends": ["empty"], "out": tmp_path / "out"} | changes
        report = run_bench([tmp_path / "a.json"], **options)
        lines = report.files["jsonl"].read_text().splitlines()
        assert len(report.rows) == 1
        return sum('"kind": "run"' in line for line in lines)

    assert bench() == 1
    assert bench() == 1
    assert bench(seed=1) == 2
    write_instance(problem(n=31), tmp_path / "a.json")
    assert bench(seed=1) == 3


def test_streamed_specs_are_run_where_sources_are_taken(tmp_path):
    sizes = {"clients": 20_000, "experts": 8}
    write_spec(new_spec("s", "uniform", parameters=sizes, streamed=True), tmp_path / "s.toml")
    write_spec(new_spec("s", "uniform", parameters=sizes), tmp_path / "whole.toml")
    report = run_bench([tmp_path], backends=["exchange", "greedy"], time_limit=20.0,
                       out=tmp_path / "out")
    rows = {(row.instance, row.backend): row for row in report.rows}
    assert rows["s.toml", "exchange"].outcome == "optimal"
    assert rows["s.toml", "exchange"].proof == "prices"
    assert rows["s.toml", "exchange"].objective == rows["whole.toml", "exchange"].objective
    assert rows["s.toml", "greedy"].outcome == "unsupported"
    assert "fitness" in rows["s.toml", "greedy"].message
    assert rows["whole.toml", "greedy"].outcome in ("optimal", "feasible")


def test_the_same_content_twice_is_run_once(tmp_path):
    for name in ("a.json", "b.json"):
        write_instance(problem(), tmp_path / name)
    report = run_bench([tmp_path], backends=["empty"], out=tmp_path / "out", **LIMITS)
    assert [row.instance for row in report.rows] == ["a.json"]
    assert report.notices == ("b.json: not run: the same as a.json",)


# -- interruptions -----------------------------------------------------------------------

SCRIPT = """
import sys
import bench_backends
from alignsolve.bench import run_bench
report = run_bench([sys.argv[1]], backends=["slow"], out=sys.argv[2], time_limit=1.0,
                   memory_limit=400.0, plugins=["bench_backends"])
print(report.interrupted, len(report.rows), *report.files.values())
"""


#: The same as a command, which gets all the time it needs to end.
COMMAND = """
import sys, time
from types import SimpleNamespace
import bench_backends
from alignsolve.cli import main, terminating
terminating.time = SimpleNamespace(sleep=lambda seconds: time.sleep(100))
sys.exit(main(["bench", sys.argv[1], "--backends", "slow", "--out", sys.argv[2]]))
"""


def start_slow_bench(folder, out, script=SCRIPT):
    """Start a bench of eight slow runs and wait until three are done."""
    folder.mkdir()
    for seed in range(8):
        write_instance(problem(n=30 + seed), folder / f"{seed:02}.json")
    bench = subprocess.Popen(
        [sys.executable, "-c", script, str(folder), str(out)], stdout=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 60
    while runs_done(out) < 3:
        assert time.monotonic() < deadline, "the bench does not get on"
        assert bench.poll() is None, "the bench ended by itself"
        time.sleep(0.02)
    return bench, psutil.Process(bench.pid).children(recursive=True)


def runs_done(out):
    path = out / "results.jsonl"
    return path.read_text().count('"kind": "run"') if path.exists() else 0


def test_a_killed_bench_leaves_no_process_and_goes_on(tmp_path):
    bench, workers = start_slow_bench(tmp_path / "in", tmp_path / "out")
    os.kill(bench.pid, signal.SIGKILL)
    bench.wait()
    _, alive = psutil.wait_procs(workers, timeout=5)
    assert workers
    assert not alive
    done = runs_done(tmp_path / "out")
    assert 3 <= done < 8
    with (tmp_path / "out" / "results.jsonl").open("ab") as file:
        file.write(b'{"kind": "run", "key": "torn')
    report = run_bench(
        [tmp_path / "in"], backends=["slow"], out=tmp_path / "out", **LIMITS
    )
    assert len(report.rows) == 8
    assert not report.interrupted
    assert runs_done(tmp_path / "out") == 8 + 1  # each once, and the torn line


def test_ctrl_c_leaves_usable_files(tmp_path):
    bench, workers = start_slow_bench(tmp_path / "in", tmp_path / "out")
    os.kill(bench.pid, signal.SIGINT)
    said, _ = bench.communicate(timeout=30)
    interrupted, count, *files = said.split()
    assert bench.returncode == 0
    assert interrupted == "True"
    assert 3 <= int(count) < 8
    assert all(Path(file).exists() for file in files)
    lines = (tmp_path / "out" / "results.csv").read_text().splitlines()
    assert len(lines) == 1 + int(count)
    assert "Interrupted" in (tmp_path / "out" / "report.txt").read_text()
    _, alive = psutil.wait_procs(workers, timeout=5)
    assert not alive


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_command_that_is_stopped_reports_what_is_there(tmp_path, number, code):
    bench, workers = start_slow_bench(tmp_path / "in", tmp_path / "out", COMMAND)
    os.kill(bench.pid, number)
    bench.communicate(timeout=100)
    assert bench.returncode == code
    assert "Interrupted" in (tmp_path / "out" / "report.txt").read_text()
    assert (tmp_path / "out" / "results.csv").read_text().count("\n") >= 1 + 3
    _, alive = psutil.wait_procs(workers, timeout=5)
    assert not alive


# -- arguments and progress --------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"time_limit": 0}, "time_limit is 0"),
        ({"time_limit": float("nan")}, "time_limit is nan"),
        ({"memory_limit": -1.0}, "memory_limit is -1.0"),
        ({"jobs": 0}, "jobs is 0"),
        ({"seed": -1}, "seed is -1"),
        ({"backends": []}, "no backend is named"),
        ({"backends": ["gurobi"]}, "there is no backend 'gurobi'"),
        ({"paths": ["nowhere"], "backends": ["honest"]}, "nowhere: no such file"),
    ],
)
def test_bad_arguments_are_refused_at_once(tmp_path, changes, message):
    (tmp_path / "a.json").write_text("{}")
    options = {"paths": [tmp_path], "out": tmp_path / "out"} | changes
    with pytest.raises(al.AlignSolveError, match=message):
        run_bench(options.pop("paths"), **options)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("terminal", [True, False])
def test_progress_is_drawn_on_a_terminal_only(report, folder, terminal):
    text = io.StringIO()
    console = Console(file=text, force_terminal=terminal, width=100)
    run_bench(
        [folder], backends=BACKENDS, jobs=2, out=folder / "out", progress=console, **LIMITS
    )
    assert ("running" in text.getvalue()) == terminal
    assert bool(text.getvalue()) == terminal


def test_a_folder_of_nothing_readable_still_reports(tmp_path):
    (tmp_path / "a.json").write_text("{}")
    report = run_bench([tmp_path], backends=["empty"], out=tmp_path / "out", **LIMITS)
    assert report.rows == ()
    assert "a.json" in report.table()
    assert set(report.files) == {"jsonl", "csv", "json", "text", "html"}
