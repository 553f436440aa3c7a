"""``-`` for standard input and output, ``--version``, completion."""

from __future__ import annotations

import io
import json
import logging
from types import SimpleNamespace

import pytest

import alignsolve as al
from alignsolve.cli.main import main

PROBLEM = al.AlignmentProblem([[3, 1], [2, 2.5]], 1, load_max=1)


@pytest.fixture
def ask(tmp_path, monkeypatch, capsys):
    """Return a function that runs words with some standard input: code, output, errors."""
    monkeypatch.chdir(tmp_path)
    al.write_instance(PROBLEM, "fleet.json")

    def run(*words, given=b""):
        monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(given)))
        code = main(words)
        return code, *capsys.readouterr()

    run.fleet = (tmp_path / "fleet.json").read_bytes()
    return run


def test_problems_and_answers_pass_through_pipes(ask):
    code, plan, err = ask("solve", "-", "--out", "-", given=ask.fleet)
    assert (code, err) == (0, "")
    assert json.loads(plan)["objective"] == 5.5
    assert ask("check", "fleet.json", "-", given=plan.encode())[:2] == (
        0, "optimal, certified by prices: objective 5.5, bound 5.5, gap_abs 0\nok\n")
    pairs = b"client,expert\n0,0\n1,1\n"
    assert ask("check", "fleet.json", "-", given=pairs)[0] == 0
    code, copied, _ = ask("convert", "-", "-", given=ask.fleet)
    assert (code, copied) == (0, ask.fleet.decode())
    assert ask("explain", "-", "--solution", "fleet.json", given=ask.fleet)[0] == 2
    code, facts, _ = ask("info", "-", "--index", "1", "--json", given=ask.fleet)
    assert (json.loads(facts)["file"], json.loads(facts)["format"]) == ("-", "json")
    made = ask("generate", "uniform", "clients=3", "experts=2", "--out", "-")[1]
    assert json.loads(made)["n_clients"] == 3


def test_binary_formats_are_known_by_their_content(ask, tmp_path):
    al.write_instance(PROBLEM, tmp_path / "fleet.npz")
    code, out, _ = ask("solve", "-", "--json", given=(tmp_path / "fleet.npz").read_bytes())
    assert (code, json.loads(out)["objective"]) == (0, 5.5)


def test_tables_with_other_names_and_mps_are_known_by_their_content(ask, tmp_path):
    names = ("--column", "client=c", "--column", "expert=skill", "--column", "fitness=score")
    for table in (b"c,skill,score\na,x,3\n", b"\nc\tskill\tscore\na\tx\t3\n"):
        code, facts, err = ask("info", "-", "--json", *names, given=table)
        assert (code, json.loads(facts)["format"]) == (0, "csv"), err
    assert ask("info", "-", "--json", given=b'\n"expert";fitness;"client"\nx;3;a\n')[0] == 0
    al.write_instance(PROBLEM, tmp_path / "fleet.mps")
    code, out, _ = ask("solve", "-", "--json", given=(tmp_path / "fleet.mps").read_bytes())
    assert (code, json.loads(out)["objective"]) == (0, 5.5)


@pytest.mark.parametrize(("words", "given", "message"), [
    (("solve", "-"), b"", "error: standard input: is empty; give an instance"),
    (("solve", "-"), b"{", "error: standard input:1:2: not JSON"),
    (("check", "fleet.json", "-"), b"[", "standard input:1: is neither a solution"),
    (("check", "-", "-"), b"x", "standard input"),
    (("solve", "fleet.json", "--out", "-", "--json"), b"", "both take standard output"),
    (("convert", "fleet.json", "-", "--json"), b"", "both take standard output"),
])
def test_what_is_wrong_names_the_stream(ask, words, given, message):
    code, _, err = ask(*words, given=given)
    assert code == 2
    assert message in err
    assert "/" not in err


def test_one_stream_holds_one_file(ask):
    assert "holds one file" in ask("check", "-", "-", given=ask.fleet)[2]


def test_the_version_is_told(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"alignsolve {al.__version__}\n"


@pytest.mark.parametrize(("typed", "offered"), [
    ("alignsolve so", ["solve"]), ("alignsolve solve fleet.npz --el", ["--elastic"]),
    ("alignsolve check x --sense m", ["max", "min"]),
])
def test_shells_complete(typed, offered, monkeypatch, capsys):
    words = typed.split()
    for name, value in (("_ALIGNSOLVE_COMPLETE", "complete_bash"), ("COMP_WORDS", typed),
                        ("COMP_CWORD", str(len(words) - 1))):
        monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit):
        main([])
    assert capsys.readouterr().out.split() == offered


def test_loggers_tell_what_was_chosen_and_are_silent_otherwise(caplog, capsys):
    al.solve(PROBLEM)
    assert capsys.readouterr() == ("", "")
    tight = PROBLEM.replace(load_min=2)
    with caplog.at_level(logging.INFO, "alignsolve"):
        al.solve(tight, elastic=True)
        aligner = al.Aligner(2)
        plan = aligner.plan(["a"])
        aligner.observe(plan, [al.ClientReport("b", plan.round, 1, 1.0),
                               al.ClientReport("a", plan.round, 1, 1.0)])
    said = {name: [record.getMessage() for record in caplog.records if record.name == name]
            for name in {record.name for record in caplog.records}}
    assert any("auto asks" in line for line in said["alignsolve.backends.portfolio"])
    assert any(line.startswith("relaxed: expert") for line in said["alignsolve.solve.solve"])
    assert any("answered: optimal" in line for line in said["alignsolve.solve.solve"])
    assert any("the report of 'b' is refused" in line for line in said["alignsolve.aligner.log"])
