"""Standard output holds what a command prints, whatever libraries write there."""

from __future__ import annotations

import io as streams
import json
import os
import subprocess
import sys

import pytest
from typer.testing import CliRunner

import alignsolve as al
from alignsolve import io
from alignsolve.cli.main import app, main

#: HiGHS 1.12 writes a line to descriptor 1 while it solves this one.
TALKATIVE = al.AlignmentProblem(
    [[75.59361074288512, -1426.7738509897324], [-135.04510003701392, -769.5146401767057],
     [-1422.7417685154135, 258.45279091298755], [-568.5494541476426, -1029.8044380114636],
     [-1043.0010800715654, 268.4170797089146], [358.6719491703445, 1322.4574697668331]],
    [1, 2, 2, 1, 1, 1],
    loads={"s": al.Load(
        [512.7587232620781, 929.1042207970062, 66.08249672407473, 841.3172796123832,
         66.6900087671014, 344.3099788041252],
        target=0.9660620807840702, penalty=43.02987319478333,
    )},
)

#: A backend that writes to the descriptor, at once and through the buffer of C.
CHATTY = """
import ctypes, os, sys
from alignsolve.backends.greedy.backend import GreedyBackend
from alignsolve.cli import main
solve = GreedyBackend.solve
def chatty(*arguments):
    os.write(1, b"at once\\n")
    ctypes.CDLL(None).printf(b"buffered\\n")
    return solve(*arguments)
GreedyBackend.solve = chatty
code = main(sys.argv[1:])
os.write(1, b"afterwards\\n")
sys.exit(code)
"""
SOLVE = ("solve", "p.json", "--backend", "greedy")


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    io.write_instance(al.AlignmentProblem([[3, 1], [2, 2.5]], 1), "p.json")


def chatty(*words, **options):
    return subprocess.run([sys.executable, "-c", CHATTY, *words], text=True, check=False,
                          stderr=subprocess.PIPE, **options)


def test_what_a_library_writes_goes_to_standard_error():
    done = chatty(*SOLVE, "--json", stdout=subprocess.PIPE)
    document, end = json.JSONDecoder().raw_decode(done.stdout)
    assert (done.returncode, document["objective"]) == (0, 5.5)
    assert done.stdout[end:] == "\nafterwards\n"
    assert done.stderr == "at once\nbuffered\n"
    done = chatty(*SOLVE, stdout=subprocess.PIPE)
    assert done.stdout.startswith("problem ")
    assert done.stderr == "at once\nbuffered\n"


def test_without_standard_error_it_goes_nowhere():
    words = [sys.executable, "-c", CHATTY, *SOLVE, "--json"]
    done = subprocess.run(["sh", "-c", 'exec "$@" 2>&-', "sh", *words], stdout=subprocess.PIPE,
                          text=True, check=True)
    assert json.loads(done.stdout.removesuffix("afterwards\n"))["objective"] == 5.5


@pytest.mark.parametrize("backend", ["scipy-milp", "ortools-mip"])
def test_highs_spoils_no_document(backend):
    io.write_instance(TALKATIVE, "talkative.json")
    words = ["solve", "talkative.json", "--backend", backend, "--time-limit", "20", "--json"]
    done = subprocess.run([sys.executable, "-m", "alignsolve", *words], text=True,
                          capture_output=True, check=True)
    assert json.loads(done.stdout)["status"] in ("optimal", "feasible")


def test_a_closed_standard_output_is_no_traceback():
    words = [sys.executable, "-m", "alignsolve"]
    for command in (("info",), (*SOLVE, "--json"), ("slove", "--json")):
        done = subprocess.run(["sh", "-c", 'exec "$@" >&-', "sh", *words, *command], text=True,
                              stderr=subprocess.PIPE, check=False)
        assert done.returncode == (2 if "slove" in command else 0), done.stderr
        assert "Traceback" not in done.stderr


def test_a_reader_that_leaves_is_no_error():
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run([sys.executable, "-m", "alignsolve", "info"], stdout=writer,
                          stderr=subprocess.PIPE, text=True, check=False)
    os.close(writer)
    assert (done.returncode, done.stderr) == (1, "")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full")
def test_a_full_disk_is_one_line():
    with open("/dev/full", "w") as full:
        done = subprocess.run([sys.executable, "-m", "alignsolve", "info"], stdout=full,
                              stderr=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, done.stderr) == (
        1, "error: standard output cannot be written: No space left on device\n"
    )


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full")
def test_an_answer_that_cannot_be_written_is_printed(tmp_path, capsys):
    out = tmp_path / "answer.json"
    out.symlink_to("/dev/full")
    for words in ((), ("--json",)):
        assert main([*SOLVE, "--out", str(out), *words]) == 2
        streams = capsys.readouterr()
        fault = f"{out}: cannot be written: no space left on device"
        assert streams.err == f"error: {fault}\n"
        if words:
            told = json.loads(streams.out)
            assert (told["objective"], told["error"]) == (5.5, fault)
        else:
            assert "objective    5.5" in streams.out and "wrote" not in streams.out


def test_streams_without_a_descriptor(monkeypatch):
    found = CliRunner().invoke(app, [*SOLVE, "--json"])
    assert json.loads(found.stdout)["objective"] == 5.5
    for stream in (streams.StringIO(), streams.TextIOWrapper(streams.BytesIO(), "ascii")):
        monkeypatch.setattr(sys, "stdout", stream)
        assert main([*SOLVE, "--json"]) == 0
        assert sys.stdout is stream
        stream.seek(0)
        assert json.loads(stream.read())["objective"] == 5.5


def test_everything_is_put_back(capfd):
    before = sorted(os.listdir("/dev/fd")) if os.path.exists("/dev/fd") else []
    with open(1, "w", closefd=False) as stream, pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stdout", stream)
        assert main(["generate", "--json"]) == 0
        assert main(["slove"]) == 2
        assert sys.stdout is stream
    os.write(1, b"end")
    assert (sorted(os.listdir("/dev/fd")) if before else []) == before
    out = capfd.readouterr().out
    assert out.endswith("}\nend")
    assert json.loads(out.removesuffix("end"))
