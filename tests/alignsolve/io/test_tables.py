"""Long tables: CSV and Parquet, with and without the tables beside them."""

from __future__ import annotations

import gzip
import re
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import alignsolve as al
from alignsolve import io
from alignsolve.io import csv_table
from alignsolve.model.digest import problem_digest
from alignsolve.model.limits import ReadLimits
from tests.files import assert_read_or_refused, damaged
from tests.strategies import any_problems

TABLES = (".csv", ".tsv", ".parquet")


def comparable(problem):
    """Return a problem less what a table of allowed pairs cannot say.

    Sizes and switching costs of forbidden pairs change nothing and are lost.
    """
    allowed = problem.fitness > -np.inf
    cost = np.where(allowed, problem.switch_cost, 0)
    resources = {
        name: al.Resource(np.where(allowed, resource.size, 0), resource.budget)
        for name, resource in problem.resources.items()
    }
    held = problem.held
    if held is None:
        held = ([], [])
    arguments = {"switch_cost": cost, "resources": resources, "held": held}
    matrix = "fitness" if problem.sense == "max" else "cost"
    arguments[matrix] = problem.arguments()[matrix].astype(np.float64)
    return problem.replace(**arguments)


@settings(max_examples=120)
@given(problem=any_problems(), suffix=st.sampled_from(TABLES))
def test_round_trip(problem, suffix, tmp_path_factory):
    path = tmp_path_factory.mktemp("table") / f"scores{suffix}"
    io.write_instance(problem, path)
    again = io.read_instance(path)
    assert problem_digest(comparable(again)) == problem_digest(comparable(problem))
    if suffix == ".parquet":
        assert again.fitness.dtype == problem.fitness.dtype


@pytest.mark.parametrize("suffix", TABLES)
def test_ids_with_anything_in_them(suffix, tmp_path):
    ids = ['comma, "quote"', "line\nbreak", "two  spaces", "ä", "tab\t;", "cr\r."]
    problem = al.AlignmentProblem(np.eye(6), 1, client_ids=ids, expert_ids=ids[::-1])
    io.write_instance(problem, tmp_path / f"s{suffix}")
    again = io.read_instance(tmp_path / f"s{suffix}")
    assert again.client_ids == tuple(ids)
    assert again.expert_ids == tuple(ids[::-1])


def test_what_people_have(tmp_path):
    """A header, three columns, a byte order mark, semicolons and carriage returns."""
    path = tmp_path / "scores.csv"
    path.write_bytes("client;expert;fitness\r\nAnna;e2;3\r\nBob;e1;1.5\r\nAnna;e1;-1\r\n"
                     .encode("utf-8-sig"))
    problem = io.read_instance(path)
    assert (problem.client_ids, problem.expert_ids) == (("Anna", "Bob"), ("e2", "e1"))
    assert problem.fitness.tolist() == [[3, -1], [-np.inf, 1.5]]
    assert problem.max_experts.tolist() == [1, 1]


def test_whole_number_ids_are_sorted(tmp_path):
    path = tmp_path / "scores.csv"
    path.write_text("expert,client,cost\n10,2,1\n9,1,2\n10,1,3\n")
    problem = io.read_instance(path)
    assert problem.sense == "min"
    assert (problem.client_ids, problem.expert_ids) == (("1", "2"), ("9", "10"))
    assert problem.fitness.tolist() == [[-2, -3], [-np.inf, -1]]


def test_tables_beside(tmp_path):
    (tmp_path / "s.csv").write_text("client,expert,fitness,held,switch_cost\n"
                                    "b,x,1,1,0.5\na,y,2,0,0.25\n")
    (tmp_path / "s.clients.csv").write_text("client,max_experts,budget:memory,weight:samples\n"
                                            "a,2,8,100\nb,1,inf,50\nc,0,1,1\n")
    (tmp_path / "s.experts.csv").write_text("expert,load_max,size:memory,max:samples\n"
                                            "x,1,4,80\ny,2,5,inf\n")
    problem = io.read_instance(tmp_path / "s.csv")
    assert problem.client_ids == ("a", "b", "c")
    assert problem.max_experts.tolist() == [2, 1, 0]
    assert problem.resources["memory"].budget.tolist() == [8, np.inf, 1]
    assert problem.resources["memory"].size[0].tolist() == [4, 5]
    assert problem.loads["samples"].max.tolist() == [80, np.inf]
    assert problem.held.rows.tolist() == [1]
    assert problem.switch_cost[0].tolist() == [0, 0.25]


LIMITS = al.AlignmentProblem([[5, 4], [3, 2]], 2, load_max=[1, 2], client_ids=["a", "b"],
                             expert_ids=["x", "y"])


def beside(folder, pairs, *companions):
    """Write the pairs of `LIMITS` in one format, and tables beside them in others."""
    for suffix in dict.fromkeys([pairs, *companions]):
        io.write_instance(LIMITS, folder / f"w{suffix}")
    (folder / f"w{pairs}").rename(folder / f"a{pairs}")
    for suffix in companions:
        for what in ("clients", "experts"):
            (folder / f"w.{what}{suffix}").rename(folder / f"a.{what}{suffix}")
    return folder / f"a{pairs}"


@pytest.mark.parametrize("companion", TABLES)
@pytest.mark.parametrize("pairs", TABLES)
def test_tables_beside_in_any_format(pairs, companion, tmp_path):
    path = beside(tmp_path, pairs, companion)
    assert problem_digest(io.read_instance(path)) == problem_digest(LIMITS)


def test_suffixes_in_capitals(tmp_path):
    path = beside(tmp_path, ".tsv", ".csv")
    (tmp_path / "a.clients.csv").rename(tmp_path / "a.clients.CSV")
    assert problem_digest(io.read_instance(path)) == problem_digest(LIMITS)


@pytest.mark.parametrize(("pairs", "companions"), [
    (".tsv", (".csv", ".parquet")), (".csv", (".csv", ".tsv")), (".parquet", (".csv", ".tsv")),
])
def test_which_of_several_tables_is_meant_is_not_guessed(pairs, companions, tmp_path):
    path = beside(tmp_path, pairs, *companions)
    names = " and ".join(f"a.clients{suffix}" for suffix in companions)
    with pytest.raises(al.ProblemError, match=f"has several tables of clients: {names}; keep one"):
        io.read_instance(path)


def test_a_problem_written_in_every_format_is_read_from_each(tmp_path):
    for suffix in TABLES:
        io.write_instance(LIMITS.replace(load_max=[1, len(suffix)]), tmp_path / f"a{suffix}")
    for suffix in TABLES:
        assert io.read_instance(tmp_path / f"a{suffix}").load_max[1] == len(suffix)


def test_parquet_takes_integers_and_dictionaries(tmp_path):
    arrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    parquet.write_table(
        arrow.table({
            "client": arrow.array([5, 5, 7]),
            "expert": arrow.array(["x", "y", "x"]).dictionary_encode(),
            "fitness": arrow.array([1, 2, 3], arrow.int32()),
        }),
        tmp_path / "s.parquet",
    )
    problem = io.read_instance(tmp_path / "s.parquet")
    assert problem.client_ids == ("5", "7")
    assert problem.fitness.tolist() == [[1, 2], [3, -np.inf]]


@pytest.mark.parametrize("suffix", TABLES)
@settings(max_examples=100)
@given(data=st.data())
def test_damaged_tables_never_raise_anything_else(suffix, data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("damaged")
    problem = al.AlignmentProblem(np.arange(6.0).reshape(2, 3), 1, client_ids=["a", "b"],
                                  resources={"m": al.Resource(1, 1)}, expert_group=[0, 0, 1])
    io.write_instance(problem, folder / f"s{suffix}")
    (folder / f"s{suffix}.sha256").unlink()
    path = folder / f"{data.draw(st.sampled_from(['s', 's.clients', 's.experts']))}{suffix}"
    path.write_bytes(data.draw(damaged(path.read_bytes(), b",\n\r;\t\"-.e9x\x00\xff\x80")))
    assert_read_or_refused(folder, io.read_instance, folder / f"s{suffix}")


def test_a_large_sparse_table_is_refused_before_memory_is_taken(tmp_path):
    path = tmp_path / "s.csv"
    ids = "\n".join(f"c{k},e{k},1" for k in range(20_000))
    path.write_text(f"client,expert,fitness\n{ids}\n")
    with pytest.raises(al.ProblemError, match=r"20,000 x 20,000 pairs and lists 20,000"):
        io.read_instance(path)


def test_a_parquet_bomb_is_refused_before_it_unpacks(tmp_path, monkeypatch):
    arrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    column = arrow.array(np.zeros(2_000_000, dtype=np.int64))
    table = arrow.table({"client": column, "expert": column, "fitness": column})
    parquet.write_table(table, tmp_path / "s.parquet")
    monkeypatch.setattr("alignsolve.io.parquet_table.LIMITS",
                        ReadLimits(free_cells=1000, rows_per_byte=10))
    with pytest.raises(al.ProblemError, match=r"declares 2,000,000 rows; at most"):
        io.read_instance(tmp_path / "s.parquet")


# -- tables longer than a chunk ---------------------------------------------------------------


@pytest.fixture
def small_chunks(monkeypatch):
    monkeypatch.setattr("alignsolve.io.csv_table._CHUNK", 3)


ROWS = [f"c{at // 2},e{at % 2},{at}" for at in range(10)]


def table_file(folder, rows, head="client,expert,fitness"):
    (folder / "t.csv").write_text("\n".join([head, *rows]) + "\n")
    return folder / "t.csv"


def test_chunks_make_one_table(tmp_path, small_chunks):
    found = io.read_instance(table_file(tmp_path, ROWS))
    assert found.fitness.tolist() == [[0, 1], [2, 3], [4, 5], [6, 7], [8, 9]]
    assert (list(found.client_ids), list(found.expert_ids)) == (
        ["c0", "c1", "c2", "c3", "c4"], ["e0", "e1"])


@pytest.mark.parametrize("at", range(10))
@pytest.mark.parametrize(("row", "message"), [
    ("c9,e1,x", "fitness is 'x'; give a number, inf or -inf"),
    ("c9,e1,", "fitness is empty; give a number"),
    ("c9,e1", "2 cells under 3 columns"),
])
def test_lines_are_counted_through_all_chunks(at, row, message, tmp_path, small_chunks):
    rows = [*ROWS[:at], row, *ROWS[at + 1:]]
    with pytest.raises(al.ProblemError, match=rf"t\.csv:{at + 2}: {message}"):
        io.read_instance(table_file(tmp_path, rows))


@pytest.mark.parametrize(("word", "right"), [
    ("1,5", "a decimal point in place of the comma"), ("-0,1234", "a decimal point"),
    ("1,234", "a number, inf or -inf"), ("n/a, not asked", "a number, inf or -inf"),
])
def test_a_comma_in_a_number_is_told(word, right, tmp_path):
    path = tmp_path / "t.csv"
    path.write_bytes(f"client;expert;fitness\r\na;x;1\r\nb;x;{word}\r\n".encode())
    with pytest.raises(al.ProblemError, match=rf"t\.csv:3: fitness is '{word}'; give {right}"):
        io.read_instance(path)


@pytest.mark.parametrize("at", range(1, 10))
def test_blank_lines_count_wherever_a_chunk_ends(at, tmp_path, small_chunks):
    assert io.read_instance(table_file(tmp_path, [*ROWS, "", ",,", "", ""])).n_clients == 5
    rows = [*ROWS[:at], "", ",,", *ROWS[at:]]
    assert io.read_instance(table_file(tmp_path, rows)).n_clients == 5
    rows[-1] = "c,x,?"
    with pytest.raises(al.ProblemError, match=r"t\.csv:13: fitness is '\?'"):
        io.read_instance(table_file(tmp_path, rows))


def test_lines_within_cells_count(tmp_path, small_chunks):
    rows = [f'"c\n{at // 2}",e{at % 2},{at}' for at in range(10)]
    assert io.read_instance(table_file(tmp_path, rows)).client_ids[1] == "c\n1"
    for at in range(10):
        wrong = [*rows[:at], f'"c\n{at // 2}",e{at % 2},x', *rows[at + 1:]]
        with pytest.raises(al.ProblemError, match=rf"t\.csv:{2 * at + 2}: fitness is 'x'"):
            io.read_instance(table_file(tmp_path, wrong))


def test_whole_numbers_beyond_floats_stay_exact_across_chunks(tmp_path, small_chunks):
    def read(rows):
        path = table_file(tmp_path, rows)
        return csv_table.read_table(path, ("client", "expert"), ("fitness",)).numbers["fitness"]

    for base, kind in ((2**53 - 3, np.int64), (2**63 - 3, np.uint64), (-(2**63), np.int64)):
        # Of the first, floats hold some of a chunk, and some not.
        rows = [f"c{at // 2},e{at % 2},{base + at}" for at in range(10)]
        found = read(rows)
        assert (found.dtype, found.tolist()) == (kind, list(range(base, base + 10)))
    assert read(ROWS).dtype == np.float64
    message = r"fitness has whole numbers beyond 2\*\*53 among others that are none, or too far"
    for wrong in ("c4,e1,0.5", "c4,e1,-inf"):
        with pytest.raises(al.ProblemError, match=message):
            read([*rows[:9], wrong])
    with pytest.raises(al.ProblemError, match=message):
        read(["c0,e0,-1", *ROWS[1:9], f"c4,e1,{2**63}"])


def test_blank_lines_before_the_header(tmp_path):
    path = table_file(tmp_path, ROWS, head="\n \n;;\n\nclient;expert;fitness".replace(";", ","))
    assert io.read_instance(path).n_clients == 5
    path.rename(tmp_path / "named_otherwise")
    assert io.read_instance(tmp_path / "named_otherwise").n_clients == 5
    with pytest.raises(al.ProblemError, match=r"t\.csv:3: unknown column 'score'"):
        io.read_instance(table_file(tmp_path, ROWS, head="\n\nclient,expert,score"))


def test_errors_about_pairs_name_lines_and_not_rows(tmp_path):
    rows = ['"c\n1",x,1', "", "c2,x,1", "c2,x,3"]
    with pytest.raises(al.ProblemError, match=r"t\.csv:6: .* appear twice; first in row 5"):
        io.read_instance(table_file(tmp_path, rows))
    rows[3] = "c2 ,x,3"
    with pytest.raises(al.ProblemError, match=r"t\.csv:6: client 'c2 ' has white space"):
        io.read_instance(table_file(tmp_path, rows))


@pytest.mark.parametrize("name", ["t.csv.gz", "t.tsv.GZ", "t.csv", "t"])
def test_gzip(name, tmp_path):
    plain = tmp_path / ("t.tsv" if "tsv" in name else "t.csv")
    io.write_instance(LIMITS, plain)
    for what in ("", ".clients", ".experts"):
        table = plain.with_name(f"t{what}{plain.suffix}")
        data = table.read_bytes()
        table.unlink()
        packed = name.replace("t", f"t{what}", 1)
        (tmp_path / packed).write_bytes(gzip.compress(data))
    (tmp_path / f"{plain.name}.sha256").unlink()
    problem = io.read_instance(tmp_path / name)
    if "." in name:
        assert problem_digest(problem) == problem_digest(LIMITS)
    (tmp_path / name).write_bytes((tmp_path / name).read_bytes()[:-9])
    with pytest.raises(al.ProblemError, match="is not a complete gzip file"):
        io.read_instance(tmp_path / name)


def test_what_is_compressed_otherwise_says_so(tmp_path):
    with zipfile.ZipFile(tmp_path / "t.zip", "w") as archive:
        archive.writestr("t.csv", "client,expert,fitness\na,x,1\n")
    (tmp_path / "u.csv").write_bytes((tmp_path / "t.zip").read_bytes())
    io.write_instance(LIMITS, tmp_path / "t.npz")
    (tmp_path / "t.npz.gz").write_bytes(gzip.compress((tmp_path / "t.npz").read_bytes()))
    (tmp_path / "z.csv").write_bytes(gzip.compress(b"x" * 10_000_000)[:-8] + bytes(8))
    for name, message in (
        ("t.zip", r"t\.zip: is a zip archive that holds 't.csv' and no arrays; unpack it"),
        ("u.csv", r"u\.csv: is a zip archive; unpack it"),
        ("t.npz.gz", r"npz\.gz: is compressed, and npz is read only as it is; unpack it"),
        ("z.csv", r"z\.csv: is not a complete gzip file: CRC check failed"),
    ):
        with pytest.raises(al.ProblemError, match=message):
            io.read_instance(tmp_path / name)


def test_a_gzip_bomb_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("alignsolve.io.files.LIMITS", ReadLimits(free_bytes=1000))
    (tmp_path / "t.csv").write_bytes(gzip.compress(b"client,expert,fitness\n" + b"\n" * 1_000_000))
    with pytest.raises(al.ProblemError, match=r"would unpack to more than \d+,\d+; unpack it fir"):
        io.read_instance(tmp_path / "t.csv")


@pytest.mark.parametrize("suffix", TABLES)
def test_columns_of_other_names(suffix, tmp_path):
    io.write_instance(LIMITS, tmp_path / f"s{suffix}")
    names = {"client": "phone", "expert": "skill", "fitness": "score", "load_max": "most"}
    renamed(tmp_path, suffix, names)
    found = io.read_instance(tmp_path / f"s{suffix}", columns=names)
    assert problem_digest(found) == problem_digest(LIMITS)
    for columns, message in (
        (names | {"held": "had"}, r"column 'had', which is to be held, is missing; "),
        (names | {"hold": "most"}, "columns names 'hold'; did you mean 'held'"),
        ({"client": "phone"}, "unknown column 'skill'"),
        (names | {"client": "fone"}, "unknown column 'phone'"),
    ):
        with pytest.raises(al.ProblemError, match=message):
            io.read_instance(tmp_path / f"s{suffix}", columns=columns)
    io.write_instance(LIMITS, tmp_path / "s.json")
    with pytest.raises(al.ProblemError, match="has format json, which has no columns to name"):
        io.read_instance(tmp_path / "s.json", columns=names)


def renamed(folder, suffix, names):
    """Give the columns of the tables of `s` other names."""
    for table in (f"s{suffix}", f"s.clients{suffix}", f"s.experts{suffix}"):
        path = folder / table
        if suffix == ".parquet":
            parquet = pytest.importorskip("pyarrow.parquet")
            found = parquet.read_table(path)
            head = [names.get(name, name) for name in found.column_names]
            parquet.write_table(found.rename_columns(head), path)
        else:
            head, _, rows = path.read_text().partition("\n")
            head = re.sub(r"\w+", lambda name: names.get(name[0], name[0]), head)
            path.write_text(f"{head}\n{rows}")
    (folder / f"s{suffix}.sha256").unlink()


def test_a_column_beside_the_one_that_stands_for_it(tmp_path):
    path = table_file(tmp_path, ["a,x,1,2"], head="client,expert,fitness,score")
    with pytest.raises(al.ProblemError, match="has a column 'fitness' beside 'score', which is to"):
        io.read_instance(path, columns={"fitness": "score"})
