"""The command line: what it prints, and its exit codes."""

from __future__ import annotations

import dataclasses
import json
import os
import pty
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import typer

import alignsolve as al
from alignsolve import io
from alignsolve.certificate.best_responses import Multipliers
from alignsolve.cli.main import COMMANDS, app, main
from alignsolve.generators import FAMILIES
from alignsolve.model.digest import problem_digest
from alignsolve.status import Termination

FLOW = al.AlignmentProblem([[3, 1], [2, 2.5]], 1, load_max=1, client_ids=["Anna", "Bob"])
MIP = al.AlignmentProblem([[3, 1], [2, 2.5]], 2, resources={"m": al.Resource([2, 1], [2, 3])})
INFEASIBLE = al.AlignmentProblem([[3, 1], [2, 2.5]], 1, load_min=2)

GAP = "2\n2 2\n1 2\n3 4\n1 1\n1 1\n1 1\n2 2\n9 8\n7 6\n1 1\n1 1\n1 1\n"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, problem in (("flow", FLOW), ("mip", MIP), ("infeasible", INFEASIBLE)):
        io.write_instance(problem, f"{name}.json")
    Path("gap.txt").write_text(GAP)
    Path("scores.csv").write_text("client,expert,fitness\na,x,3\na,y,2\nb,x,1\n")
    return tmp_path


def run(capsys, *words):
    """Return exit code, standard output and standard error."""
    code = main(words)
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def run_json(capsys, *words):
    """Return exit code and the one JSON document, which must be strict."""
    code, out, _ = run(capsys, *words, "--json")
    return code, json.loads(out, parse_constant=pytest.fail)


def test_solve_prints_a_summary(folder, capsys):
    code, out, err = run(capsys, "solve", "flow.json", "--backend", "ortools-mcf")
    assert (code, err) == (0, "")
    assert "flow.json: 2 clients x 2 experts, max, class flow" in out
    assert "objective    5.5 (fitness)" in out


def test_solve_writes_and_check_accepts(folder, capsys):
    for out in ("plan.json", "plan.csv"):
        assert run(capsys, "solve", "flow.json", "--out", out)[0] == 0
        code, text, _ = run(capsys, "check", "flow.json", out)
        assert code == 0, text
        assert text.endswith("ok\n")
        assert "optimal, certified by prices" in text
    assert Path("plan.csv").read_text() == "client,expert\nAnna,0\nBob,1\n"


def test_solve_json(folder, capsys):
    code, document = run_json(capsys, "solve", "flow.json", "--backend", "ortools-mcf")
    assert code == 0
    assert (document["status"], document["objective"], document["gap"]) == ("optimal", 5.5, 0)
    assert (document["row_ind"], document["col_ind"]) == ([0, 1], [0, 1])
    assert document["fallbacks"] == []
    assert document["stats"]["total_seconds"] > 0


def test_solve_infeasible(folder, capsys):
    code, out, _ = run(capsys, "solve", "infeasible.json", "--out", "no.json")
    assert code == 1
    assert "status       infeasible" in out
    assert "conflict" in out
    code, document = run_json(capsys, "solve", "infeasible.json")
    assert (code, document["status"], document["objective"]) == (1, "infeasible", None)
    assert document["conflict"]["bounds"]
    code, out, _ = run(capsys, "check", "infeasible.json", "no.json")
    assert code == 0, out
    assert out.startswith("infeasible: ")


@pytest.mark.parametrize(("words", "message"), [
    ("--engine spark", "--engine is 'spark'; give local or ray"),
    ("--workers 2", "--address, --workers and --parts need --engine ray"),
    ("--engine ray --parts here --out plan.json", "--parts leaves no pairs to write to --out"),
])
def test_options_of_where_to_solve(words, message, folder, capsys):
    code, out, err = run(capsys, "solve", "flow.json", *words.split())
    assert (code, out) == (2, "")
    assert message in err


def test_solve_finds_nothing(folder, capsys, monkeypatch):
    from alignsolve.backends.greedy.backend import GreedyBackend
    from alignsolve.status import Outcome

    monkeypatch.setattr(GreedyBackend, "solve",
                        lambda *_: Outcome.nothing(Termination.TIME_LIMIT))
    code, document = run_json(capsys, "solve", "flow.json", "--backend", "greedy")
    assert (code, document["status"], document["bound"]) == (3, "no solution found", "inf")


def test_a_failing_backend_is_no_traceback(folder, capsys, monkeypatch):
    from alignsolve.backends.greedy.backend import GreedyBackend

    def broken(*_):
        raise ZeroDivisionError("oh\nno")

    monkeypatch.setattr(GreedyBackend, "solve", broken)
    code, out, err = run(capsys, "solve", "flow.json", "--backend", "greedy")
    assert (code, out) == (3, "")
    assert err == "error: backend 'greedy' failed: oh no\n"


def test_interrupt(folder, capsys, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("alignsolve.cli.common.read_instances", interrupted)
    assert run(capsys, "solve", "flow.json")[0] == 130


def test_several_problems_end_with_ctrl_c(folder, capsys, monkeypatch):
    """The problem at work keeps its answer, those after it are not begun."""
    def stopped(problem, *_, **__):
        found = al.solve(problem, "greedy")
        return dataclasses.replace(found, termination=Termination.INTERRUPTED)

    monkeypatch.setattr("alignsolve.cli.solve.solve_problem", stopped)
    code, out, _ = run(capsys, "solve", "gap.txt", "--sense", "max")
    assert code == 130
    assert [line.split()[0] for line in out.splitlines()] == ["gap.txt:", "#1"]


def test_pairs_of_generalized_assignment_name_agents_and_jobs(folder, capsys):
    code, _, _ = run(capsys, "solve", "gap.txt#2", "--sense", "max", "--out", "plan.csv")
    assert code == 0
    lines = Path("plan.csv").read_text().splitlines()
    assert lines[0] == "client,expert"
    assert {line.split(",")[1] for line in lines[1:]} == {"job-1", "job-2"}
    assert {line.split(",")[0] for line in lines[1:]} <= {"agent-1", "agent-2"}
    assert run(capsys, "check", "gap.txt#2", "plan.csv", "--sense", "max")[0] == 0


def test_several_problems_in_a_file(folder, capsys):
    code, out, err = run(capsys, "solve", "gap.txt", "--sense", "max")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0] == "gap.txt: 2 problems"
    assert [line.split()[0] for line in lines[1:]] == ["#1", "#2"]
    assert "optimal (proved), 15, " in lines[2]
    code, document = run_json(capsys, "solve", "gap.txt", "--sense", "max")
    assert [part["file"] for part in document["problems"]] == ["gap.txt#1", "gap.txt#2"]
    assert (code, document["problems"][1]["objective"]) == (0, 15)
    code, _, err = run(capsys, "solve", "gap.txt", "--sense", "max", "--out", "plan.csv")
    assert (code, err) == (2, "error: gap.txt: holds 2 problems; choose one with --index 1 to 2, "
                              "or gap.txt#1\n")
    for words in (("gap.txt#2",), ("gap.txt", "--index", "2")):
        code, document = run_json(capsys, "solve", *words, "--sense", "max")
        assert (code, document["objective"], document["file"]) == (0, 15, "gap.txt#2")
    code, document = run_json(capsys, "info", "gap.txt", "--sense", "min")
    assert [entry["index"] for entry in document["problems"]] == [1, 2]
    assert document["format"] == "orlib"
    code, out, _ = run(capsys, "info", "gap.txt#2", "--sense", "min")
    assert out.startswith("gap.txt: orlib, 2 problems\n#2 ")


def test_a_file_with_a_number_sign_in_its_name(folder, capsys):
    os.rename("flow.json", "flow#1")
    assert run(capsys, "info", "flow#1")[0] == 0


def test_check_refutes(folder, capsys):
    Path("worse.csv").write_text("client,expert\nAnna,1\nBob,0\n")
    code, out, _ = run(capsys, "check", "flow.json", "worse.csv")
    assert code == 0
    assert "not proved optimal" in out
    assert "improving exchange" in out
    Path("both.csv").write_text("client,expert\nAnna,1\nAnna,0\n")
    code, document = run_json(capsys, "check", "flow.json", "both.csv")
    assert (code, document["ok"]) == (1, False)
    assert "client 'Anna' holds 2 experts; at most 1 allowed" in document["failures"]


@pytest.mark.parametrize(("changes", "failure"), [
    ({"objective_value": 4.0}, "the objective is 3, not 4"),
    ({"dual_bound": 2.0}, "the bound 2 is beaten by the answer itself"),
    ({"status": al.Status.OPTIMAL}, "the answer is claimed optimal, but that is not proved"),
    ({"status": al.Status.NO_SOLUTION_FOUND},
     "the file says that nothing was found; there is nothing to check"),
    ({"status": al.Status.INFEASIBLE},
     "the problem is claimed infeasible, without a conflict to check"),
    ({"status": al.Status.INFEASIBLE, "conflict": al.Conflict((), "no")},
     "the bounds of the conflict do not contradict each other"),
])
def test_check_finds_false_claims(changes, failure, folder, capsys):
    pairs = np.array([0, 1])
    io.write_solution(io.Solution(pairs, pairs[::-1], **changes), "claim.json", FLOW)
    code, document = run_json(capsys, "check", "flow.json", "claim.json")
    assert (code, document["failures"]) == (1, [failure])


def test_check_calls_the_bound_of_a_solver_a_claim(folder, capsys):
    assert run(capsys, "solve", "mip.json", "--out", "plan.json")[0] == 0
    code, out, _ = run(capsys, "check", "mip.json", "plan.json")
    assert code == 0
    assert out.startswith("optimal, claimed by ")
    assert ", not recomputed: objective 7.5, bound 7.5, gap_abs 0\n" in out
    assert out.endswith("ok\n")
    assert "certified" not in out


@pytest.mark.parametrize(("changes", "said", "claims"), [
    ({"status": al.Status.OPTIMAL, "dual_bound": 7.5},
     "optimal, claimed by trust me, not recomputed: ", True),
    ({"dual_bound": 7.5}, "optimal, claimed by trust me, not recomputed: ", True),
    ({"dual_bound": 8.25},
     "objective 7.5, bound 8.25 claimed by trust me, not recomputed, gap 10.000%", False),
    # Multipliers that prove less than is claimed do not prove the claim.
    ({"dual_bound": 7.5, "multipliers": Multipliers(np.zeros(2), budgets={"m": np.zeros(2)})},
     "the bound proved here is 8.5", True),
])
def test_check_believes_no_bound_in_a_file(changes, said, claims, folder, capsys):
    answer = np.array([0, 1, 1]), np.array([0, 0, 1])
    answer = io.Solution(*answer, bound_kind="solver", bound_source="trust me", **changes)
    io.write_solution(answer, "claim.json", MIP)
    code, out, _ = run(capsys, "check", "mip.json", "claim.json")
    assert (code, "certified" in out) == (0, False)
    assert said in out
    code, document = run_json(capsys, "check", "mip.json", "claim.json")
    assert (code, document["ok"], document["feasible"], document["violations"]) == (0, True, True,
                                                                                    [])
    assert (document["optimal"], document["claimed_optimal"]) == (False, claims)
    assert document["claimed_by"] == "trust me"
    assert document["claimed_bound"] == changes["dual_bound"]
    assert document["dual_bound"] != document["claimed_bound"]


@pytest.mark.parametrize(("changes", "failure"), [
    ({"status": al.Status.OPTIMAL, "dual_bound": 9.0},
     "the answer is claimed optimal, but that is not proved"),
    ({"dual_bound": 7.0}, "the bound 7 is beaten by the answer itself"),
])
def test_check_finds_claims_that_contradict_themselves(changes, failure, folder, capsys):
    answer = np.array([0, 1, 1]), np.array([0, 0, 1])
    io.write_solution(io.Solution(*answer, **changes), "claim.json", MIP)
    code, document = run_json(capsys, "check", "mip.json", "claim.json")
    assert (code, document["failures"], document["optimal"]) == (1, [failure], False)


def test_check_recomputes_the_bound_from_multipliers(folder, capsys):
    answer = np.array([0, 1, 1]), np.array([0, 0, 1])
    multipliers = Multipliers(np.zeros(2), budgets={"m": np.array([1.5, 0.0])})
    io.write_solution(io.Solution(*answer, multipliers=multipliers), "plan.json", MIP)
    code, document = run_json(capsys, "check", "mip.json", "plan.json")
    assert (code, document["kind"], document["objective_value"]) == (0, "prices", 7.5)
    assert document["dual_bound"] >= 7.5


def test_set_replaces_arguments(folder, capsys):
    code, document = run_json(capsys, "solve", "scores.csv", "--set", "max_experts=2",
                              "--set", "load_max=1")
    assert (code, document["objective"]) == (0, 5)
    assert document["settings"] == {"max_experts": 2, "load_max": 1}


def test_a_solution_remembers_what_set_replaced(folder, capsys):
    words = ("--set", "max_experts=2", "--set", "load_max=1")
    assert run(capsys, "solve", "scores.csv", *words, "--out", "plan.json")[0] == 0
    for more, said in (
        ((), "max_experts=2 and load_max=1"), (words[:2], "load_max=1"), (words, ""),
    ):  # fmt: skip
        code, out, _ = run(capsys, "check", "scores.csv", "plan.json", *more)
        assert (code, f"with {said}, as the solution says\nok\n" in out) == (0, bool(said))
        _, checked = run_json(capsys, "check", "scores.csv", "plan.json", *more)
        explain = ("explain", "scores.csv", "--solution", "plan.json", *more)
        code, document = run_json(capsys, *explain)
        assert (code, document["objective_value"]) == (0, 5)
        for remarks in (checked["remarks"], document["notes"]):
            assert remarks == ([f"with {said}, as the solution says"] if said else [])
        assert ("as the solution says" in run(capsys, *explain, "--for", "owner")[1]) == bool(said)
    code, _, err = run(capsys, "check", "scores.csv", "plan.json", "--set", "load_min=1")
    assert code == 2
    assert "is for another problem" in err


def test_a_solution_does_not_choose_the_problem(folder, capsys):
    words = ("--set", "max_experts=2", "--out", "plan.json")
    assert run(capsys, "solve", "scores.csv", *words)[0] == 0
    code, _, err = run(capsys, "check", "scores.csv", "plan.json", "--set", "max_experts=1")
    assert code == 2
    assert "was found with max_experts=2, and --set gives max_experts=1" in err
    document = json.loads(Path("plan.json").read_text())
    document["problem"] = problem_digest(io.read_instance("scores.csv"))
    Path("plan.json").write_text(json.dumps(document))
    code, out, _ = run(capsys, "check", "scores.csv", "plan.json")
    assert code == 1
    assert "client 'a'" in out
    assert "as the solution says" not in out


@pytest.mark.parametrize(("words", "message"), [
    (("--set", "load_max=1", "--set", "load_max=2"), "--set load_max=... is given twice"),
    (("--column", "fitness=a", "--column", "fitness=b"), "--column fitness=... is given twice"),
    (("--column", "fitness=a", "--column", "cost=a"), "column 'a' is to be both fitness and cost"),
])
def test_options_that_contradict_each_other(words, message, folder, capsys):
    code, _, err = run(capsys, "info", "scores.csv", *words)
    assert (code, message in err) == (2, True)


def test_minus_zero_is_zero():
    result = al.solve(al.AlignmentProblem.from_cost([[0.0]], 1, min_experts=1, load_max=1))
    assert "objective    0 (cost)\nbound        0 (" in result.summary()
    assert "-0" not in result.summary()


def test_columns_of_other_names(folder, capsys):
    Path("phones.csv").write_text("phone,expert,score\na,x,3\na,y,2\nb,x,1\n")
    names = ("--column", "client=phone", "--column", "fitness=score")
    _, expected = run_json(capsys, "info", "scores.csv")
    code, found = run_json(capsys, "info", "phones.csv", *names)
    assert (code, found["problems"]) == (0, expected["problems"])
    assert run(capsys, "solve", "phones.csv", *names, "--out", "plan.csv")[0] == 0
    assert run(capsys, "check", "phones.csv", "plan.csv", *names)[0] == 0
    for wrong, message in (("fitness", "is not NAME=COLUMN"), ("fitnes=score", "did you mean")):
        code, _, err = run(capsys, "info", "phones.csv", "--column", wrong)
        assert code == 2
        assert message in err


def test_warm_starts_from_files(folder, capsys):
    assert run(capsys, "solve", "scores.csv", "--out", "plan.json")[0] == 0
    Path("next.csv").write_text("client,expert,fitness\nc,x,3\na,y,2\na,x,4\n")
    words = ("solve", "next.csv", "--backend", "exchange", "--warm-start", "plan.json")
    code, document = run_json(capsys, *words)
    assert (code, document["status"]) == (0, "optimal")
    stats = {key: document["stats"][f"warm_start_{key}"] for key in ("pairs", "used", "by")}
    assert stats == {"pairs": 2, "used": 1, "by": "ids"}


def test_generate_lists_and_makes(folder, capsys):
    code, out, _ = run(capsys, "generate")
    assert code == 0
    assert set(FAMILIES) <= set(out.split())
    code, document = run_json(capsys, "generate")
    assert set(document) == set(FAMILIES)
    assert run(capsys, "generate", "uniform")[1].startswith("uniform\n")
    words = ("generate", "uniform", "clients=12", "experts=4", "--seed", "3", "--out")
    made = [run_json(capsys, *words, name)[1] for name in ("a.npz", "a.json", "a.toml")]
    assert {document["digest"] for document in made} == {made[0]["digest"]}
    assert (made[0]["n_clients"], made[0]["n_experts"]) == (12, 4)
    assert run_json(capsys, "info", "a.toml")[1]["problems"][0]["digest"] == made[0]["digest"]


@pytest.mark.parametrize("suffix", ["npz", "csv", "tsv", "parquet", "min", "mps", "lp"])
def test_convert(suffix, folder, capsys):
    code, out, err = run(capsys, "convert", "flow.json", f"out.{suffix}")
    assert (code, err) == (0, "")
    assert out.startswith(f"wrote out.{suffix}: AlignmentProblem(2 clients x 2 experts, max")
    assert Path(f"out.{suffix}").stat().st_size


def test_convert_notes_rounding(folder, capsys):
    rng = np.random.default_rng(0)
    io.write_instance(al.AlignmentProblem(rng.random((50, 4)) * 10.0 ** np.arange(4), 2), "p.npz")
    code, _, err = run(capsys, "convert", "p.npz", "p.min")
    assert code == 0
    assert err.startswith("note: p.min: costs are rounded to whole multiples of 2**-")
    assert err.count("\n") == 1


def test_info_shows_contradictions(folder, capsys):
    code, out, _ = run(capsys, "info", "infeasible.json")
    assert code == 0
    assert "infeasible: the experts need 4 holders and the clients have 2 slots for them" in out


@pytest.mark.parametrize(("forbidden", "share"), [(0, "100%"), (1, "99.9%"), (1500, "25%"),
                                                  (1999, "0.05%")])
def test_info_says_how_many_pairs_are_allowed(forbidden, share, folder, capsys):
    fitness = np.ones((1000, 2))
    fitness.flat[:forbidden] = -np.inf
    io.write_instance(al.AlignmentProblem(fitness, 1), "p.npz")
    assert f", {share} of the pairs allowed\n" in run(capsys, "info", "p.npz")[1]


def test_an_answer_without_a_bound_has_no_gap():
    result = al.solve(MIP, "greedy")
    none = {"dual_bound": np.inf, "gap_abs": np.inf, "gap": np.inf}
    certificate = dataclasses.replace(result.certificate, optimal=False, **none)
    text = dataclasses.replace(result, certificate=certificate, **none).summary()
    assert "bound        no bound\n" in text
    assert "certificate  feasible, not proved optimal: objective 7.5, no bound\n" in text
    assert " inf" not in text


@pytest.mark.parametrize("command", ["info", "solve", "convert"])
def test_a_file_that_holds_no_problem_is_refused(command, folder, capsys, monkeypatch):
    monkeypatch.setattr("alignsolve.cli.common.read_instances", lambda *_: [])
    words = (command, "flow.json", *(["other.npz"] if command == "convert" else []))
    code, out, err = run(capsys, *words)
    assert (code, out) == (2, "")
    assert "flow.json: holds no problem; give a file that holds one" in err


def test_info_without_a_file(capsys):
    code, out, _ = run(capsys, "info")
    assert code == 0
    assert f"alignsolve {al.__version__}" in out
    code, document = run_json(capsys, "info")
    assert document["backends"]["greedy"]["exact"] is False


def test_info_names_the_pip_line_of_what_is_missing(capsys, monkeypatch):
    monkeypatch.setattr("alignsolve.cli.files.available_backends",
                        lambda: {"networkx": "backend 'networkx' needs networkx: pip install ..."})
    assert "missing: backend 'networkx' needs networkx: pip install" in run(capsys, "info")[1]


def test_errors_with_json_are_one_document_of_one_line(folder, capsys):
    for words in (("solve", "nothing.json"), ("slove",), ("info", "flow.json", "--index", "7")):
        code, out, err = run(capsys, *words, "--json")
        assert code == 2
        assert err == f"error: {json.loads(out)['error']}\n"
        assert out.count("\n") == 1


@pytest.mark.parametrize(("command", "examples"),
                         [(command.__name__.replace("_", "-"), examples)
                          for command, _, examples in COMMANDS])
def test_help_has_examples_that_parse(command, examples, capsys):
    code, out, _ = run(capsys, command, "--help")
    assert code == 0
    shown = " ".join(out.partition("Examples:")[2].split())
    parser = typer.main.get_command(app).commands[command]
    for example in examples:
        assert example in shown
        program, name, *words = shlex.split(example)
        assert (program, name) == ("alignsolve", command)
        parser.make_context(command, words)


@pytest.mark.parametrize("words", [(), ("solve",), ("check",), ("convert",), ("bench",)])
def test_bare_commands_show_their_help(words, capsys):
    assert main(words) == 2
    captured = capsys.readouterr()
    assert "Usage: alignsolve" in captured.out + captured.err


def test_bench_hands_its_options_on(folder, capsys, monkeypatch):
    class Report:
        wrong, interrupted = ("backend on instance: wrong",), False
        table = staticmethod(lambda width, color: "the table")
        to_json = staticmethod(dict)

    seen = {}
    monkeypatch.setattr("alignsolve.bench.run_bench",
                        lambda paths, **options: seen.update(paths=paths, **options) or Report())
    code, out, _ = run(capsys, "bench", "a", "b", "--backends", "x, y", "--time-limit", "3",
                       "--memory-limit", "512", "--jobs", "2", "--seed", "5", "--out", "o")
    assert (code, out) == (1, "the table\n")
    assert seen.pop("progress") is not None
    assert seen == {"paths": ["a", "b"], "backends": ["x", "y"], "time_limit": 3.0,
                    "memory_limit": 512.0, "jobs": 2, "seed": 5, "out": "o"}
    Report.wrong, Report.interrupted = (), True
    assert run_json(capsys, "bench", "a") == (130, {})
    assert seen["progress"] is None


HEAVY = ("numba", "ortools", "torch", "matplotlib", "scipy.optimize", "networkx", "pyarrow",
         "scipy.sparse")


def test_help_imports_nothing_heavy():
    code = ("import sys; from alignsolve.cli import main; main(['--help']); main(['solve', '-h'])\n"
            f"print(*[name for name in {HEAVY} if name in sys.modules], file=sys.stderr)")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == ""


def test_progress_shows_on_a_terminal_only(folder):
    words = [sys.executable, "-m", "alignsolve", "convert", "flow.json", "flow.npz"]
    piped = subprocess.run(words, capture_output=True, check=True)
    assert piped.stderr == b""
    leader, follower = pty.openpty()
    environment = os.environ | {"TERM": "xterm"}
    words[-1] = "-"
    done = subprocess.run(words, stdout=subprocess.PIPE, stderr=follower, check=True,
                          env=environment)
    os.close(follower)
    assert b"converting" in os.read(leader, 100_000)
    assert json.loads(done.stdout) == json.loads(Path("flow.json").read_text())
    os.close(leader)


def test_a_closed_pipe_is_no_traceback(folder):
    done = subprocess.run(f"{sys.executable} -m alignsolve.cli generate | head -n 1", shell=True,
                          capture_output=True, text=True, check=False)
    assert "Traceback" not in done.stderr


def test_solve_elastic_says_what_relaxed_and_check_agrees(folder, capsys):
    code, out, _ = run(capsys, "solve", "infeasible.json", "--elastic", "--out", "s.json")
    assert code == 0
    assert "relaxed      2 bounds, priced violation 2" in out
    assert "expert 0 has 1 holder, 1 less than the bound 2 asks for" in out
    code, out, _ = run(capsys, "check", "infeasible.json", "s.json")
    assert (code, out.splitlines()[0].startswith("optimal")) == (0, True)
    assert "relaxed: expert 1 has 1 holder" in out
    code, document = run_json(capsys, "solve", "infeasible.json", "--elastic")
    assert (code, document["status"], document["stats"]["violation"]) == (0, "optimal", 2)
    assert document["relaxations"][0]["bound"]["kind"] == "load_min"
    code, out, _ = run(capsys, "solve", "flow.json", "--elastic")
    assert (code, "relaxed" in out) == (0, False)


@pytest.mark.parametrize(("change", "failure"), [
    (lambda parts: parts[0].update(amount=5), "and calls that 5"),
    (lambda parts: parts[0].update(value=3, amount=-1), "and calls that -1"),
    (lambda parts: parts[0]["bound"].update(value=7), "in the problem it is 2"),
    (lambda parts: parts[0]["bound"].update(expert=9), "which the problem does not have"),
    (lambda parts: parts[0]["bound"].update(kind="max_experts", client=0, expert=None, value=1),
     "only of the kinds"),
    (lambda parts: parts.append(parts[0]), "each bound once"),
    (lambda parts: parts.pop(), "expert 1 has 1 holder; at least 2 allowed"),
])
def test_check_finds_false_relaxations(change, failure, folder, capsys):
    run(capsys, "solve", "infeasible.json", "--elastic", "--out", "s.json")
    document = json.loads(Path("s.json").read_text())
    change(document["relaxations"])
    Path("s.json").write_text(json.dumps(document))
    code, out, _ = run(capsys, "check", "infeasible.json", "s.json")
    assert code == 1
    assert failure in out


def test_explain_prints_a_table_or_json(folder, capsys):
    code, out, _ = run(capsys, "explain", "flow.json", "--client", "Anna")
    assert (code, "client 'Anna' holds expert 0, worth 3" in out) == (0, True)
    assert "changes beyond" in out
    code, out, _ = run(capsys, "explain", "flow.json", "--expert", "1")
    assert (code, "expert 1 has 1 holder" in out) == (0, True)
    code, out, _ = run(capsys, "explain", "mip.json")
    assert (code, "price of balance" in out, "note: " in out) == (0, True, True)
    code, document = run_json(capsys, "explain", "flow.json", "--client", "Bob")
    assert (code, document["held"][0]["margin"]) == (0, 2.5)
    code, document = run_json(capsys, "explain", "flow.json")
    assert (code, document["balance"]) == (0, 0)
    code, out, _ = run(capsys, "explain", "flow.json", "--client", "Anna", "--for", "owner")
    assert (code, out.startswith("Anna trains expert 0.\n"), "price" in out) == (0, True, False)
    code, document = run_json(capsys, "explain", "mip.json", "--client", "0", "--exact",
                              "--exact-seconds", "1000")
    assert (code, document["exact"], document["held"][0]["exact"]) == (0, True, True)


def test_explain_takes_a_stored_answer(folder, capsys):
    run(capsys, "solve", "infeasible.json", "--elastic", "--out", "s.json")
    code, out, _ = run(capsys, "explain", "infeasible.json", "--solution", "s.json")
    assert (code, "2 bounds relaxed" in out) == (0, True)
    document = json.loads(Path("s.json").read_text()) | {"row_ind": [0], "col_ind": [0]}
    Path("s.json").write_text(json.dumps(document))
    code, _, err = run(capsys, "explain", "infeasible.json", "--solution", "s.json")
    assert (code, "breaks a bound" in err) == (2, True)


@pytest.mark.parametrize(("words", "code", "said"), [
    (("infeasible.json",), 1, "conflict"), (("flow.json", "--client", "Eve"), 2, "ids"),
    (("flow.json", "--client", "Bob", "--expert", "0"), 2, "not both"),
    (("flow.json", "--expert", "7"), 2, "give 0 to 1"),
])
def test_explain_says_what_is_wrong(words, code, said, folder, capsys):
    found, out, err = run(capsys, "explain", *words)
    assert (found, said in out + err) == (code, True)


def test_no_warning_is_raised(tmp_path):
    path = tmp_path / "p.json"
    io.write_instance(al.AlignmentProblem(np.eye(2), 1), path)
    words = [sys.executable, "-W", "error", "-m", "alignsolve", "solve", str(path), "--json"]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert (done.stderr, json.loads(done.stdout)["status"]) == ("", "optimal")
