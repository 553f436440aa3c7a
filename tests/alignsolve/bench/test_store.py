"""Which files a bench reads, and what it keeps on disk."""

from __future__ import annotations

import csv
import math
import os

import pytest

import alignsolve as al
from alignsolve.bench.instances import Source, file_digest, find_sources, instances_of
from alignsolve.bench.quality import Quality
from alignsolve.bench.records import Reference, Row
from alignsolve.bench.score import Judgement
from alignsolve.bench.store import Store, read_records, write_csv, write_whole


def test_records_come_back_and_the_last_one_counts(tmp_path):
    with Store(tmp_path / "new" / "folder") as store:
        store.put("run", "k", {"value": 1})
        store.put("run", "k", {"value": 2})
        store.put("start", "k", {"value": 3})
    with Store(tmp_path / "new" / "folder") as store:
        assert store.get("run", "k")["value"] == 2
        assert store.get("start", "k")["value"] == 3
        assert store.get("run", "other") is None


def test_a_torn_last_line_costs_only_itself(tmp_path):
    with Store(tmp_path) as store:
        store.put("run", "a", {"value": 1})
        store.put("run", "b", {"value": 2})
    path = tmp_path / "results.jsonl"
    whole = path.read_bytes()
    for cut in range(len(whole) // 2 + 5, len(whole)):
        path.write_bytes(whole[:cut])
        with Store(tmp_path) as store:
            assert store.get("run", "a")["value"] == 1
            assert (store.get("run", "b") is None) or cut == len(whole) - 1
            store.put("run", "c", {"value": 3})
        records, torn = read_records(path)
        assert not torn
        assert records["run", "c"]["value"] == 3
        assert records["run", "a"]["value"] == 1


def test_lines_that_are_no_records_are_passed_over(tmp_path):
    path = tmp_path / "results.jsonl"
    path.write_bytes(b'\n[1]\n{"kind": 1}\nnull\n\xff\xfe\n{"kind": "run", "key": "k", "v": 1}\n')
    records, torn = read_records(path)
    assert list(records) == [("run", "k")]
    assert not torn


def test_two_benches_cannot_write_one_folder(tmp_path):
    with Store(tmp_path), pytest.raises(al.ProblemError, match="another bench is writing"):
        Store(tmp_path)
    Store(tmp_path).__exit__(None, None, None)


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(al.ProblemError, match="cannot be written"):
        Store(tmp_path / "file")


def test_csv_keeps_order_and_shortens_numbers(tmp_path):
    rows = [
        Row("k1", "b", "x", "optimal", objective=1 / 3, total_seconds=1.23456, peak_mib=99.96),
        Row("k2", "a", "x", "crash", message='said "no", and left'),
    ]
    reached = (Quality({"1%": 0.25, "0.1%": 2 / 3, "0.02%": math.inf}, 1.5),
               Quality({"1%": math.nan, "0.1%": math.nan, "0.02%": math.nan}, math.nan))
    judgements = [Judgement(row, False, False, False, False, 1.0, "", quality)
                  for row, quality in zip(rows, reached, strict=True)]
    write_csv(tmp_path / "r.csv", judgements)
    with (tmp_path / "r.csv").open(newline="") as file:
        first, second = csv.DictReader(file)
    assert (first["instance"], first["total_seconds"], first["peak_mib"]) == ("b", "1.235", "100.0")
    assert first["objective"] == "0.333333333333"
    assert second["message"] == 'said "no", and left'
    assert second["objective"] == ""
    assert "key" not in first
    assert list(first.values())[-4:] == ["0.250", "0.667", "", "1.500"]
    assert list(second.values())[-4:] == [""] * 4


def test_files_are_replaced_whole(tmp_path):
    write_whole(tmp_path / "f", b"old")
    write_whole(tmp_path / "f", b"new")
    assert (tmp_path / "f").read_bytes() == b"new"
    assert [path.name for path in tmp_path.iterdir()] == ["f"]


# -- which files -------------------------------------------------------------------------


def names(*paths, out="out"):
    return [source.name for source in find_sources(list(paths), paths[0] / out)]


def test_folders_are_searched_and_other_files_left_out(tmp_path):
    taken = ["sub/a.npz", "sub/deep/b.txt", "z.json"]
    left = ["README.md", "OPTIMA.csv", ".hidden/c.json", "sub/.d.json", "out/results.csv",
            "__pycache__/x.pyc", "sub/notes.log"]
    for name in taken + left:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")
    assert names(tmp_path) == taken


def test_tables_beside_others_are_no_instances(tmp_path):
    taken = ["a.csv", "b.parquet", "c.tsv.gz", "d.clients.csv", "e.clients.csv", "e.json"]
    for name in (*taken, "a.clients.csv", "a.experts.tsv", "b.clients.csv", "c.experts.tsv.gz"):
        (tmp_path / name).write_text("")
    assert names(tmp_path) == taken


def test_a_file_named_outright_is_taken_and_taken_once(tmp_path):
    (tmp_path / "odd.log").write_text("")
    (tmp_path / "a.json").write_text("")
    sources = find_sources([tmp_path / "odd.log", tmp_path / "a.json", tmp_path], tmp_path / "out")
    assert [source.name for source in sources] == ["a.json", "odd.log"]


def test_equal_names_from_two_folders_are_told_apart(tmp_path):
    for folder in ("one", "two"):
        (tmp_path / folder / "sub").mkdir(parents=True)
        (tmp_path / folder / "sub" / "a.json").write_text("")
    (tmp_path / "one" / "b.json").write_text("")
    sources = find_sources([tmp_path / "one", tmp_path / "two"], tmp_path / "out")
    assert [source.name for source in sources] == [
        "one/b.json", "one/sub/a.json", "two/sub/a.json",
    ]
    again = tmp_path / "again" / "two" / "sub"
    again.mkdir(parents=True)
    (again / "a.json").write_text("")
    sources = find_sources([tmp_path / "two", again.parent], tmp_path / "out")
    assert [source.name for source in sources] == [
        "again/two/sub/a.json", f"{tmp_path.name}/two/sub/a.json",
    ]


def test_missing_and_empty_folders_are_refused(tmp_path):
    with pytest.raises(al.ProblemError, match="nowhere: no such file or folder"):
        find_sources([tmp_path / "nowhere"], tmp_path / "out")
    with pytest.raises(al.ProblemError, match="no instance files under"):
        find_sources([tmp_path], tmp_path / "out")


def test_the_digest_knows_content_and_sense_but_not_the_name(tmp_path):
    optima = "file,problem,sense,best_known,best_bound,proved\na.txt,1,{},5,5,yes\n"
    for name in ("a.txt", "b.txt"):
        (tmp_path / name).write_text("1 2 3")
    plain = file_digest(tmp_path / "a.txt")
    assert plain == file_digest(tmp_path / "b.txt")
    seen = {plain}
    for sense in ("max", "min"):
        (tmp_path / "OPTIMA.csv").write_text(optima.format(sense))
        seen.add(file_digest(tmp_path / "a.txt"))
    assert len(seen) == 3


# -- what is known beforehand --------------------------------------------------------------

PROBLEM = {
    "n_clients": 4, "n_experts": 3, "problem_class": "flow", "features": [], "sense": "min"
}


def described(path, problems=1):
    return instances_of(Source(path.name, path), "digest", {"problems": [PROBLEM] * problems})


def test_lists_of_optima_are_read_by_problem(tmp_path):
    (tmp_path / "sub").mkdir()
    path = tmp_path / "sub" / "a.txt"
    path.write_text("")
    (tmp_path / "OPTIMA.csv").write_text(
        "file,problem,sense,best_known,best_bound,proved\n"
        "sub/a.txt,1,min,5,5,yes\nsub/a.txt,2,min,7,6,no\n"
        "sub/a.txt,4,min,,,yes\n"
    )
    first, second, third, fourth = described(path, problems=4)
    assert [one.name for one in (first, second, third)] == ["a.txt#1", "a.txt#2", "a.txt#3"]
    assert fourth.reference == Reference(infeasible=True)
    assert first.reference == Reference(5.0, 5.0)
    assert second.reference == Reference(7.0, 6.0)
    assert third.reference == Reference()
    assert len({first.digest, second.digest, third.digest}) == 3


def spec(tmp_path, known):
    path = tmp_path / "a.toml"
    path.write_text(
        f'name = "a"\nfamily = "uniform"\nseed = 1\ndigest = "sha256:{"0" * 64}"\n{known}\n'
    )
    return path


def test_specs_say_what_is_known(tmp_path):
    (solved,) = described(spec(tmp_path, "best_known = 3.5\nproved = true"))
    assert solved.reference == Reference(3.5, 3.5)
    (bounded,) = described(spec(tmp_path, "best_known = 3.5\nbest_bound = 4.0"))
    assert bounded.reference == Reference(3.5, 4.0)
    (without,) = described(spec(tmp_path, "proved = true"))
    assert without.reference == Reference(infeasible=True)
    (unknown,) = described(spec(tmp_path, ""))
    assert unknown.reference == Reference()


def test_a_better_known_value_makes_no_other_problem(tmp_path):
    before = file_digest(spec(tmp_path, "best_known = 3.0"))
    assert file_digest(spec(tmp_path, "best_known = 3.5")) == before


def test_a_full_disk_is_named_and_a_torn_record_passed_over(tmp_path, monkeypatch):
    write = os.write
    with Store(tmp_path) as store:
        store.put("run", "k", {"v": 1})
        monkeypatch.setattr(os, "write", lambda file, data: write(file, data[:9]))
        with pytest.raises(al.ProblemError, match=r"results.jsonl: cannot be written: no space"):
            store.put("run", "l", {"v": 2})
        monkeypatch.undo()
    with Store(tmp_path) as store:
        store.put("run", "m", {"v": 3})
    records, torn = read_records(tmp_path / "results.jsonl")
    assert [key for _, key in records] == ["k", "m"] and not torn
