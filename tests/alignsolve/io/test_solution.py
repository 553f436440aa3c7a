"""Solution files: everything that is claimed comes back, and nothing wrong is believed."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import alignsolve as al
from alignsolve import io
from alignsolve.certificate.best_responses import Multipliers
from alignsolve.io import csv_fast, csv_table
from alignsolve.io.table import write_columns
from alignsolve.model.digest import problem_digest
from tests.files import assert_read_or_refused, damaged
from tests.strategies import any_problems, brute_force

PROBLEM = al.AlignmentProblem([[3, 1], [2, 2.5]], 1, load_max=1, client_ids=["a", "b"])
MIP = al.AlignmentProblem([[3, 1], [2, 2.5]], 2, client_fitness_min=0,
                          loads={"s": al.Load(1, max=1)}, resources={"m": al.Resource(1, 1)})


def same(one, two):
    """Tell whether two solutions say the same."""
    def flat(solution):
        parts = dict(vars(solution))
        multipliers = parts.pop("multipliers")
        if multipliers is not None:
            parts |= {f"multipliers.{key}": part for key, part in vars(multipliers).items()}
        found = {}
        for key, part in parts.items():
            for name, value in (part.items() if isinstance(part, dict) else [("", part)]):
                if isinstance(value, np.ndarray):
                    value = value.tobytes()
                found[key, name] = "nan" if value != value else value
        return found

    return flat(one) == flat(two)


@settings(max_examples=60)
@given(problem=any_problems(), data=st.data())
def test_round_trip_of_answers(problem, data, tmp_path_factory):
    _, rows, cols = brute_force(problem)
    number = st.floats(allow_nan=False)
    finite = st.floats(allow_nan=False, allow_infinity=False)
    m = problem.n_experts
    solution = io.Solution(
        rows, cols, data.draw(st.sampled_from([None, *al.Status])),
        data.draw(st.sampled_from([None, *al.Termination])), data.draw(number), data.draw(number),
        "solver", "HiGHS 1.12 \u20ac", "scipy-milp",
        np.array(data.draw(st.lists(finite, min_size=m, max_size=m))),
    )
    path = tmp_path_factory.mktemp("solution") / "s.json"
    io.write_solution(solution, path, problem)
    assert same(io.read_solution(path, problem), solution)


def test_result_and_multipliers(tmp_path):
    result = al.solve(PROBLEM, "ortools-mcf")
    io.write_solution(result, tmp_path / "s.json")
    found = io.read_solution(tmp_path / "s.json", PROBLEM)
    assert same(found, io.Solution.from_result(result))
    multipliers = Multipliers(np.array([1.0, 0.5]), {"s": np.array([0.25, 0])},
                              {"m": np.array([0.1, 1e-300])}, np.array([0.0, 3]))
    solution = io.Solution(np.array([0]), np.array([0]), multipliers=multipliers)
    io.write_solution(solution, tmp_path / "m.json", MIP)
    assert same(io.read_solution(tmp_path / "m.json", MIP), solution)


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".parquet"])
def test_pairs_as_a_table_of_ids(suffix, tmp_path):
    io.write_solution(al.solve(PROBLEM, "ortools-mcf"), tmp_path / f"s{suffix}")
    if suffix != ".parquet":
        text = (tmp_path / f"s{suffix}").read_text()
        assert text.replace("\t", ",") == "client,expert\na,0\nb,1\n"
    found = io.read_solution(tmp_path / f"s{suffix}", PROBLEM)
    assert (found.row_ind.tolist(), found.col_ind.tolist(), found.status) == ([0, 1], [0, 1], None)


@pytest.mark.parametrize("text", ["anna\u00a0", " anna", "an\u200bna", "\uff41nna"])
def test_ids_that_only_look_like_those_of_the_problem_are_named(text, tmp_path):
    problem = al.AlignmentProblem([[1, 2]], 1, client_ids=["anna"], expert_ids=["a", "b"])
    path = tmp_path / "s.csv"
    path.write_text(f"client,expert\n{text},a\n", encoding="utf-8")
    words = re.escape(f"; {text!a} looks like 'anna': write it so")
    with pytest.raises(al.ProblemError, match=words):
        al.read_solution(path, problem)
    with pytest.raises(al.ProblemError, match=words):
        al.explain(problem, al.solve(problem), client=text)


def test_conflicts_come_back(tmp_path):
    problem = al.AlignmentProblem([[1, 2]], 1, min_experts=1, load_max=0)
    conflict = al.Conflict((al.Bound("min_experts", 0, None, None, None, 1.0),
                            al.Bound("load_max", None, 1, None, "s", np.inf),
                            al.Bound("resource", None, None, 2, "m", 1.5, (0, 3))), "it's so",
                           False, True, (1, 2), 3.0, -np.inf)
    solution = io.Solution(np.empty(0, int), np.empty(0, int), al.Status.INFEASIBLE,
                           conflict=conflict)
    io.write_solution(solution, tmp_path / "s.json", problem)
    assert io.read_solution(tmp_path / "s.json", problem).conflict == conflict


def test_a_solution_of_another_problem_is_recognised(tmp_path):
    io.write_solution(al.solve(PROBLEM, "ortools-mcf"), tmp_path / "s.json")
    with pytest.raises(al.ProblemError, match=r"for another problem: key .problem. is 'sha256:"):
        io.read_solution(tmp_path / "s.json", PROBLEM.replace(load_max=2))
    with pytest.raises(al.ProblemError, match=r"for another problem: key .n_clients. is 2, not 1"):
        io.read_solution(tmp_path / "s.json", al.AlignmentProblem([[1, 2, 3]], 1))


WORDS = ["null", "true", "{}", "[]", '"x"', '"inf"', "-1", "1.5", "[[1], [2, 3]]", "[0, 7]",
         '{"experts": [1, 2], "budgets": {"m": [-1, 0]}}', '{"experts": null}', '"optimal"',
         '{"text": "", "bounds": [{}]}', '{"text": 3, "bounds": []}']


@settings(max_examples=200)
@given(data=st.data())
def test_damaged_solutions_never_raise_anything_else(data, tmp_path_factory):
    path = tmp_path_factory.mktemp("solution") / "s.json"
    io.write_solution(io.Solution(np.array([0]), np.array([0]), multipliers=Multipliers(np.ones(2)),
                                  prices=np.ones(2)), path, MIP)
    if data.draw(st.booleans()):
        document = json.loads(path.read_text())
        key = data.draw(st.sampled_from(sorted(document)))
        document[key] = "@@"
        content = json.dumps(document).replace('"@@"', data.draw(st.sampled_from(WORDS))).encode()
    else:
        content = data.draw(damaged(path.read_bytes()))
    path.write_bytes(content)
    assert_read_or_refused(path, io.read_solution, path, MIP)


def elastic_result():
    problem = al.AlignmentProblem([[3, 1], [2, 2.5]], 1, load_min=[2, np.inf], load_max=1)
    return al.solve(problem, elastic=True)


def test_round_trip_of_relaxations(tmp_path):
    result = elastic_result()
    assert result.relaxations
    io.write_solution(result, tmp_path / "s.json")
    read = io.read_solution(tmp_path / "s.json", result.problem)
    assert same(read, io.Solution.from_result(result))
    assert json.loads((tmp_path / "s.json").read_text())["version"] == 2


def test_files_are_of_the_lowest_version_that_has_their_keys(tmp_path):
    plain = PROBLEM.replace(client_ids=None)
    for problem, made, version in (
        (plain, {}, 1), (PROBLEM, {}, 3), (plain.replace(load_max=2), {"load_max": 2.0}, 3),
    ):  # fmt: skip
        result = al.solve(problem, "ortools-mcf")
        io.write_solution(result, tmp_path / "s.json", settings=made)
        document = json.loads((tmp_path / "s.json").read_text())
        assert document["version"] == version
        assert not {"relaxations", "settings", "client_ids"} & set(document) or version == 3
        assert same(io.read_solution(tmp_path / "s.json", problem),
                    io.Solution.from_result(result, made))  # fmt: skip


def test_settings_are_remembered(tmp_path):
    changed = PROBLEM.replace(max_experts=2, load_max=2)
    made = {"max_experts": 2.0, "load_max": 2.0}
    io.write_solution(al.solve(changed), tmp_path / "s.json", settings=made)
    with pytest.raises(al.ProblemError, match="got settings beside a Solution"):
        io.write_solution(io.Solution.from_result(al.solve(changed)), tmp_path / "t.json", changed,
                          settings=made)
    for problem in (PROBLEM, changed):
        found = io.read_solution(tmp_path / "s.json", problem)
        assert problem_digest(found.problem_of(problem)) == problem_digest(changed)
    with pytest.raises(al.ProblemError, match=r"and 'sha256:\w+' with max_experts=2 load_max=2"):
        io.read_solution(tmp_path / "s.json", PROBLEM.replace(load_min=1))
    document = json.loads((tmp_path / "s.json").read_text())
    for wrong, message in (({"clients": 2}, "unknown key 'settings.clients'"),
                           ({"load_max": [1]}, "settings.load_max is a list; give a number")):
        (tmp_path / "s.json").write_text(json.dumps(document | {"settings": wrong}))
        with pytest.raises(al.ProblemError, match=message):
            io.read_solution(tmp_path / "s.json", PROBLEM)


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".parquet", ".json"])
@pytest.mark.parametrize("ids", [True, False])
def test_an_earlier_answer_is_read_without_its_problem(suffix, ids, tmp_path):
    names = {"client_ids": ["a", "b", "c"], "expert_ids": ["x", "y"]} if ids else {}
    slots = [1, 0, 1]
    problem = al.AlignmentProblem([[1, 9], [0, 0], [8, 1]], slots, min_experts=slots, **names)
    result = al.solve(problem)
    io.write_solution(result, tmp_path / f"s{suffix}")
    found = io.read_solution(tmp_path / f"s{suffix}")
    clients, experts = (part or tuple(map(str, range(9)))
                        for part in (found.client_ids, found.expert_ids))
    pairs = [(clients[row], experts[col])
             for row, col in zip(found.row_ind, found.col_ind, strict=True)]
    assert pairs == ([("a", "y"), ("c", "x")] if ids else [("0", "1"), ("2", "0")])
    warm = al.solve(problem, "exchange", warm_start=found)
    assert (warm.stats["warm_start_pairs"], warm.stats["warm_start_used"]) == (2, 2)


def test_an_earlier_answer_of_a_size_beyond_all_limits_is_refused(tmp_path):
    path = tmp_path / "s.json"
    io.write_solution(al.solve(PROBLEM), path)
    path.write_text(json.dumps(json.loads(path.read_text()) | {"n_clients": 10**9}))
    with pytest.raises(al.ProblemError, match=r"s\.json: declares 1,000,000,000 clients"):
        io.read_solution(path)


def test_columns_in_any_order_beside_others(tmp_path):
    columns = {"margin": np.array([0.5, 1]), "expert": ["0", "1"], "client": ["a", "b"]}
    write_columns(columns, tmp_path / "s.csv")
    write_columns(columns, tmp_path / "s.parquet")
    for name in ("s.csv", "s.parquet"):
        found = io.read_solution(tmp_path / name, PROBLEM)
        assert (found.row_ind.tolist(), found.col_ind.tolist()) == ([0, 1], [0, 1])
    write_columns({"client": ["a"], "holder": ["0"]}, tmp_path / "s.parquet")
    with pytest.raises(al.ProblemError, match=r"s\.parquet:1: column 'expert' is missing"):
        io.read_solution(tmp_path / "s.parquet", PROBLEM)
    write_columns({"client": ["a"], "expert": ["7"]}, tmp_path / "s.parquet")
    with pytest.raises(al.ProblemError, match=r":1: 'a,7' is not a client and an expert"):
        io.read_solution(tmp_path / "s.parquet", PROBLEM)


def test_further_columns_of_a_table_are_not_read(tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    path = tmp_path / "s.parquet"
    write_columns({"margin": np.arange(2.0), "expert": ["0", "1"], "client": ["a", "b"]}, path)
    chunk = parquet.read_metadata(path).row_group(0).column(0)
    data, start = bytearray(path.read_bytes()), chunk.dictionary_page_offset or 4
    data[start : start + chunk.total_compressed_size] = bytes(chunk.total_compressed_size)
    path.write_bytes(data)
    assert io.read_solution(path, PROBLEM).row_ind.tolist() == [0, 1]
    path = tmp_path / "s.csv"
    for rows in (1, csv_fast.LARGE // 10):
        path.write_text("margin,expert,client\n" + "1.5,e,c\n,e,c\n" * rows)
        table = csv_table.read_table(path, ("client", "expert"), None)
        assert (set(table.ids), set(table.numbers)) == ({"client", "expert"}, set())
        assert table.ids["expert"].names == ["e"]
        assert table.ids["client"].codes.size == 2 * rows


BOUND = {"kind": "load_min", "client": None, "expert": 0, "group": None, "name": None,
         "value": 1, "clients": None}
CONFLICT = {"bounds": [], "text": "", "irreducible": False, "proved": False, "experts": [],
            "needed": None, "possible": None}


@pytest.mark.parametrize(("relaxations", "message"), [
    (3, "give a list"), ([3], r"relaxations\[0\] is"),
    ([{"bound": {}}], r"key \"relaxations\[0\].amount\" is missing"),
    ([{"bound": 1, "amount": 1, "value": 1, "text": ""}], r"relaxations\[0\].bound"),
    ([{"bound": BOUND, "amount": 1, "value": 1, "text": 5}], r"relaxations\[0\].text"),
    ([{"bound": BOUND | {"clients": [0, -1]}, "amount": 1, "value": 1, "text": ""}],
     r"relaxations\[0\].bound.clients\[1\] is a number, or holds what is no part of a bound"),
])
def test_malformed_relaxations_are_refused(relaxations, message, tmp_path):
    result = elastic_result()
    io.write_solution(result, tmp_path / "s.json")
    document = json.loads((tmp_path / "s.json").read_text()) | {"relaxations": relaxations}
    (tmp_path / "s.json").write_text(json.dumps(document))
    with pytest.raises(al.ProblemError, match=message):
        io.read_solution(tmp_path / "s.json", result.problem)


@pytest.mark.parametrize(("multipliers", "message"), [
    ([1, 2], "multipliers is a list; give an object"),
    ({"loads": {}}, 'key "multipliers.experts" is missing'),
    ({"experts": [0, 0], "load": {}}, "unknown key 'multipliers.load'; did you mean 'loads'"),
    ({"experts": [0, 0], "loads": [1]}, "multipliers.loads is a list; give an object of names"),
    ({"experts": [0]}, r"multipliers.experts has shape \(1,\); give shape \(2,\)"),
    ({"experts": [0, 0], "budgets": {"q": [1, 1]}}, "multipliers.budgets names 'q'"),
    ({"experts": [0, 0], "budgets": {"m": [1, -1]}}, "give finite prices >= 0"),
    ({"experts": [0, 0], "fairness": [1, "inf"]}, "multipliers.fairness holds a wrong price"),
])
def test_malformed_multipliers_are_refused(multipliers, message, tmp_path):
    io.write_solution(io.Solution(np.array([0]), np.array([0])), tmp_path / "s.json", MIP)
    document = json.loads((tmp_path / "s.json").read_text()) | {"multipliers": multipliers}
    (tmp_path / "s.json").write_text(json.dumps(document))
    with pytest.raises(al.ProblemError, match=message):
        io.read_solution(tmp_path / "s.json", MIP)


@pytest.mark.parametrize(("change", "message"), [
    ({"prices": [1, "inf"]}, r"prices has shape \(2,\); give 2 finite numbers"),
    ({"prices": ["-inf", 0]}, r"prices has shape \(2,\); give 2 finite numbers"),
    ({"prices": [1]}, r"prices has shape \(1,\); give 2 finite numbers"),
    ({"objective": [1]}, "objective is a list; give a number"),
    ({"status": "best"}, "status is 'best'; give one of optimal, feasible"),
    ({"termination": "tired"}, "termination is 'tired'; give one of proved"),
    ({"n_experts": 3}, "for another problem: key .n_experts. is 3, not 2"),
    ({"backend": 3}, "backend is a number; give a string"),
    ({"conflict": {"text": ""}}, "key .conflict.bounds. is missing"),
    *[({"conflict": {key: part for key, part in CONFLICT.items() if key != name}},
       f"key .conflict.{name}. is missing") for name in ("proved", "irreducible")],
    ({"col_ind": [2]}, r"col_ind\[0\] is 2; give 0 to 1"),
])
def test_malformed_solutions_are_refused(change, message, tmp_path):
    path = tmp_path / "s.json"
    io.write_solution(io.Solution(np.array([0]), np.array([0]), prices=np.ones(2)), path, MIP)
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(al.ProblemError, match=message):
        io.read_solution(path, MIP)


@pytest.mark.parametrize(("text", "message"), [
    ("client,holder\n",
     ":1: is neither a solution in JSON nor a table of pairs: column 'expert' is missing"),
    ("client,expert,client\n", "column 'client' appears twice"),
    ("", ": is empty; the first line names the columns: client, expert"),
    ("client,expert\na,0\n\nc,1\n", ":4: 'c,1' is not a client and an expert"),
    ("client,expert\na,0\na,2\n", ":3: 'a,2' is not a client and an expert"),
    ("client,expert\na\n", ":2: 1 cell under 2 columns"),
    ("client,expert\na,0,1\n", ":2: 3 cells under 2 columns"),
])
def test_malformed_tables_of_pairs_are_refused(text, message, tmp_path):
    (tmp_path / "s.csv").write_text(text)
    with pytest.raises(al.ProblemError, match=message):
        io.read_solution(tmp_path / "s.csv", PROBLEM)
