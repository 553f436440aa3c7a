"""OR-Library files: every layout, with and without line structure, and the real ones."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import alignsolve as al
from alignsolve import io
from alignsolve.io.optima import read_optima
from tests.files import assert_read_or_refused, damaged, error_of, gap_text

GAP = "2 3\n 1 2 3\n 4 5 6\n 7 8 9\n 10 11 12\n 20 30\n"


def written(folder, text, name="problem.txt"):
    (folder / name).write_text(text)
    return folder / name


@st.composite
def gaps(draw):
    m, n = draw(st.integers(1, 4)), draw(st.integers(1, 5))
    number = st.integers(0, 50)
    flat = [draw(st.lists(number, min_size=k, max_size=k)) for k in (m * n, m * n, m)]
    return tuple(np.array(part).reshape(shape)
                 for part, shape in zip(flat, ((m, n), (m, n), (m,)), strict=True))


def same_gap(problem, gap, sense):
    value, use, capacity = gap
    assert problem.sense == sense
    assert (problem.sign * problem.fitness == value).all()
    assert (problem.resources["capacity"].size == use).all()
    assert (problem.resources["capacity"].budget == capacity).all()
    assert (problem.max_experts == value.shape[1]).all()
    assert (problem.load_min == 1).all()
    assert (problem.load_max == 1).all()


@settings(max_examples=100)
@given(problems=st.lists(gaps(), min_size=1, max_size=4), sense=st.sampled_from(["max", "min"]),
       counted=st.booleans(), one_line=st.booleans())
def test_generalized_assignment(problems, sense, counted, one_line, tmp_path_factory):
    problems = problems if counted else problems[:1]
    text = "".join(gap_text(*gap) for gap in problems)
    text = f" {len(problems)} \n{text}" if counted else text
    path = tmp_path_factory.mktemp("gap") / "gap.txt"
    path.write_text(" ".join(text.split()) if one_line else text)
    if one_line and "not an OR-Library file" in (error_of(io.read_instances, path, sense) or ""):
        return  # The numbers alone can fit two layouts; without lines that is not decided.
    found = io.read_instances(path, sense)
    assert len(found) == len(problems)
    for problem, gap in zip(found, problems, strict=True):
        same_gap(problem, gap, sense)


@settings(max_examples=60)
@given(problems=st.lists(gaps(), min_size=1, max_size=4))
def test_generalized_assignment_with_optima(problems, tmp_path_factory):
    path = tmp_path_factory.mktemp("gap") / "gap.txt"
    texts = [f"{gap_text(*gap)}\n 336\n" for gap in problems]
    path.write_text(f" {len(problems)} \n{''.join(texts)}")
    found = io.read_instances(path, "max")
    assert len(found) == len(problems)
    for problem, gap in zip(found, problems, strict=True):
        same_gap(problem, gap, "max")


def test_the_count_of_numbers_tells_a_layout_without_lines(tmp_path):
    assert len(io.read_instances(written(tmp_path, " ".join(GAP.split())), "max")) == 1
    twice = " ".join(f"2 {GAP} {GAP}".split())
    assert len(io.read_instances(written(tmp_path, twice), "max")) == 2


def test_sense_of_generalized_assignment(tmp_path):
    path = written(tmp_path, GAP)
    with pytest.raises(al.ProblemError, match=r"does not say .*--sense max"):
        io.read_instances(path)
    head = "file,problem,sense,best_known,best_bound,proved\n"
    written(tmp_path, head + "problem.txt,1,min,3,3,yes\n", "OPTIMA.csv")
    assert io.read_instance(path).sense == "min"
    assert io.read_instance(path, "max").sense == "max"
    (tmp_path / "a" / "b").mkdir(parents=True)
    deep = written(tmp_path / "a" / "b", GAP)
    written(tmp_path, head + "a/b/problem.txt,1,max,3,,no\n", "OPTIMA.csv")
    assert io.read_instance(deep).sense == "max"


@settings(max_examples=60)
@given(n=st.integers(1, 6), data=st.data())
def test_linear_assignment(n, data, tmp_path_factory):
    cost = np.array(data.draw(st.lists(st.integers(-9, 99), min_size=n * n, max_size=n * n)))
    path = tmp_path_factory.mktemp("assign") / "assign.txt"
    path.write_text(f" {n}\n" + "\n".join(" ".join(map(str, cost[k : k + 7]))
                                           for k in range(0, n * n, 7)))
    problem = io.read_instance(path)
    assert problem.sense == "min"
    assert (-problem.fitness.ravel() == cost).all()
    assert (problem.load_min == 1).all()
    assert (problem.min_experts == 1).all()


def test_sparse_assignment(tmp_path):
    problem = io.read_instance(written(tmp_path, "4\n1 2 5\n2 1 6\r\n4 4 -7\n3 3 0.5\n"))
    assert problem.fitness[0].tolist() == [-np.inf, -5, -np.inf, -np.inf]
    assert problem.fitness[2, 2] == -0.5
    problem = io.read_instance(written(tmp_path, "4\n1 2 5\n2 1 6\n"), "max")
    assert problem.fitness[0].tolist() == [-np.inf, 5, -np.inf, -np.inf]


@settings(max_examples=200)
@given(data=st.data())
def test_damaged_files_never_raise_anything_else(data, tmp_path_factory):
    dense, sparse = "3\n" + "1 2 3\n" * 3, "4\n1 2 5\n4 1 6\n"
    text = data.draw(st.sampled_from([f"1\n{GAP}", GAP, dense, sparse]))
    path = tmp_path_factory.mktemp("damaged") / "problem.txt"
    path.write_bytes(data.draw(damaged(text.encode(), b"0123456789.-+e _nai\n\xff\x00")))
    assert_read_or_refused(path, io.read_instances, path, "max")


def test_all_files_of_the_published_formats_are_read(published):
    optima = read_optima(published / "OPTIMA.csv")
    for name, known in optima.items():
        if name.startswith("dimacs"):
            with pytest.raises(al.ProblemError, match="a transshipment problem, not an assignment"):
                io.read_instances(published / name)
            continue
        problems = io.read_instances(published / name)
        assert sorted(known) == list(range(1, len(problems) + 1)), name
        for number, problem in enumerate(problems, 1):
            assert problem.sense == known[number].sense, name
    assert len(io.read_instance(published / "yagiura" / "c10400.txt").fitness) == 10


@pytest.mark.parametrize("name", ["assign100.txt", "assignp800.txt"])
def test_linear_assignment_has_the_published_optimum(name, published):
    from scipy.optimize import linear_sum_assignment

    cost = -io.read_instance(published / "orlib" / name).fitness
    rows, cols = linear_sum_assignment(cost)
    known = read_optima(published / "OPTIMA.csv")[f"orlib/{name}"][1]
    assert cost[rows, cols].sum() == known.best_known


def test_every_pair_listed_once_is_a_full_sparse_file(tmp_path):
    def listing(n, pairs):
        return written(tmp_path, f"{n}\n" + "".join(f"{i} {j} {10 * i + j}\n" for i, j in pairs))

    for n in (2, 4, 5):  # of 3 x 3 the lines could be rows of a dense one as well
        every = [(i, j) for i in range(1, n + 1) for j in range(1, n + 1)]
        found = io.read_instance(listing(n, every))
        assert (-found.fitness).tolist() == [[10.0 * i + j for j in range(1, n + 1)]
                                             for i in range(1, n + 1)]
        with pytest.raises(al.ProblemError, match=rf"pair {n} {n} is listed twice"):
            io.read_instance(listing(n, [*every, (n, n)]))


def test_a_full_listing_of_three_by_three_is_read_in_one_line(tmp_path):
    # 28 numbers cannot be 3 x 3 costs; a listing of all nine pairs they are.
    text = "3 " + " ".join(f"{i} {j} {10 * i + j}" for i in (1, 2, 3) for j in (1, 2, 3))
    for path in (written(tmp_path, text), written(tmp_path, text.replace(" ", "\n"))):
        assert (-io.read_instance(path).fitness).tolist() == [[11, 12, 13], [21, 22, 23],
                                                              [31, 32, 33]]


def test_numbers_with_other_spaces_between_them(tmp_path):
    (tmp_path / "p.txt").write_text("2\n1\u00a02\n3 4\n", encoding="utf-8")
    assert io.read_instance(tmp_path / "p.txt").arguments()["cost"].tolist() == [[1, 2], [3, 4]]
    (tmp_path / "p.txt").write_text("2\n1\u00a0\u0662\n3 4\n", encoding="utf-8")
    with pytest.raises(al.ProblemError, match=r":2:3: .* is not a finite number"):
        io.read_instance(tmp_path / "p.txt")


@pytest.mark.parametrize(("text", "message"), [
    ("4\n1 2 5\n2 1 6 7 8\n", r":3:10: the last entry is incomplete"),
    ("4\n1 2 5\n5 1 6\n", r":3:1: row 5 is not one of 1 to 4"),
    ("4\n1 2 5\n1 0 6\n", r":3:3: column 0 is not one of 1 to 4"),
    ("4\n1 2 5\n1 2 6\n", r":3:1: pair 1 2 is listed twice"),
    ("3\n9 9 9\n9 9 9\n9 9\n", r":4:4: a linear assignment of 3 rows takes 9 costs, but the file"
                                 " has 8"),
    ("3\n9 9 9\n9 9 9\n9 9 9\n9\n", r":5:1: a linear assignment of 3 rows takes 9 costs, but the "
                                      "file has 10"),
    ("2 3\n 1 2 3\n 4 5 6\n 7 8 9\n 10 11 12\n 20\n",
     r":6:4: problem 1 declares 2 agents x 3 jobs, which takes 14 numbers, but the file ends after"
     r" 13"),
    (GAP + "5\n", r":7:1: the file goes on after its last problem"),
    ("1\n0 3\n", r":2:1: the number of agents of problem 1 is 0; give a whole number >= 1"),
    ("1\n2 1.5\n", r":2:3: the number of jobs of problem 1 is 1.5; give a whole number"),
    ("2\n1 x\n", r":2:3: 'x' is not a finite number"), ("2\n1 1e999\n", r":2:3: '1e999' is not a"),
    ("", "is empty; give an instance"),
])
def test_what_is_wrong_is_said_with_its_place(text, message, tmp_path):
    with pytest.raises(al.ProblemError, match=message):
        io.read_instances(written(tmp_path, text), "max")
