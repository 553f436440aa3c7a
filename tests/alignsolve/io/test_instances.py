"""The folder `instances/`: every file builds, and is what the lists say."""

import dataclasses
import importlib.util

import pytest

import alignsolve as al
from alignsolve.generators import FAMILIES
from alignsolve.io import read_instance, read_instances, write_solution
from alignsolve.io.optima import read_optima
from alignsolve.io.specs import read_spec, write_spec
from alignsolve.model.digest import problem_digest
from tests.files import ROOT, SHARED

FOLDER = ROOT / "instances"
SPECS = sorted(FOLDER.glob("*/*.toml"))
CAPTURED = sorted((FOLDER / "captured").glob("*.json"))


def script(name):
    found = importlib.util.spec_from_file_location(name, FOLDER / f"{name}.py")
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


refresh, download = script("refresh"), script("download")


def spec_id(path):
    return path.relative_to(FOLDER).with_suffix("").as_posix()


@pytest.mark.parametrize("path", SPECS, ids=spec_id)
def test_specs_build_what_they_say(path):
    spec = read_spec(path)
    assert spec.name == spec_id(path)
    assert set(spec.parameters) == set(FAMILIES[spec.family].defaults)
    assert spec.streamed == (path.parent.name == "huge")
    if not spec.streamed:  # the bench verifies those: each takes a quarter of a minute
        spec.build(verify=True)


def test_the_folder_holds_what_the_table_says():
    named = {f"{folder}/{name}" for folder, specs in refresh.SPECS.items() for name in specs}
    assert {spec_id(path) for path in SPECS} == named
    for folder in ("small", "medium", "large"):
        assert {family for family, _ in refresh.SPECS[folder].values()} == set(FAMILIES)
    assert {path.name for path in (FOLDER / "stored").iterdir()} == set(refresh.STORED)


def test_what_is_known_is_consistent():
    for path in SPECS:
        spec = read_spec(path)
        sign = 1 if spec.sense == "max" else -1
        if FAMILIES[spec.family].feasible is False:
            assert spec.infeasible, path
        else:
            assert spec.best_known is not None, path
            assert sign * spec.best_known <= sign * spec.best_bound, path
        if spec.proved:
            assert spec.best_known == spec.best_bound, path
        still_open = ("medium/gap", "large/gap", "large/tiers", "medium/scarce", "large/scarce",
                      "medium/deep", "large/deep")
        assert spec.proved or spec.name.startswith(still_open), path


def test_optima_lists_every_file():
    listed = read_optima(FOLDER / "OPTIMA.csv")
    files = {f"{spec_id(path)}.toml" for path in SPECS}
    files |= {f"stored/{name}" for name in refresh.STORED}
    files |= {f"captured/{path.name}" for path in CAPTURED}
    assert set(listed) == files
    for path in SPECS:
        spec, row = read_spec(path), listed[f"{spec_id(path)}.toml"][1]
        assert (row.sense, row.proved) == (spec.sense, spec.proved)
        assert row.best_known == spec.best_known or spec.best_known is None
        assert row.best_bound == spec.best_bound or spec.best_bound is None


@pytest.mark.parametrize("path", CAPTURED, ids=lambda path: path.stem)
def test_captured_problems_have_the_optimum_listed(path):
    row = read_optima(FOLDER / "OPTIMA.csv")[f"captured/{path.name}"][1]
    problem = read_instance(path)
    result = al.solve(problem, backend="ortools-mcf")
    proof = al.certify(problem, result.row_ind, result.col_ind)
    assert proof.optimal and row.proved
    assert proof.objective_value == pytest.approx(row.best_known, abs=1e-9)
    assert row.best_bound == row.best_known


@pytest.mark.parametrize("file", refresh.STORED)
def test_stored_files_hold_the_problems_of_their_specs(file):
    spec = read_spec(FOLDER / f"{refresh.STORED[file]}.toml")
    assert problem_digest(read_instance(FOLDER / "stored" / file)) == spec.digest


def test_the_folder_is_small():
    files = [path for path in FOLDER.rglob("*") if path.is_file() and "orlib" not in path.parts]
    assert sum(path.stat().st_size for path in files) < 1_000_000


@pytest.mark.parametrize(
    "path", [p for p in SPECS if p.parent.name in ("small", "infeasible", "rounds")], ids=spec_id
)
def test_small_problems_have_the_answers_listed(path):
    spec = read_spec(path)
    result = al.solve(spec.build(), time_limit=1000)
    if spec.infeasible:
        assert result.status is al.Status.INFEASIBLE
    else:
        assert result.status is al.Status.OPTIMAL
        assert result.objective_value == pytest.approx(spec.best_known, rel=1e-12)


@pytest.mark.parametrize("path", sorted((FOLDER / "captured").iterdir()), ids=lambda p: p.stem)
def test_captured_rounds_are_solved(path):
    problem = read_instance(path)
    assert problem.n_clients == 20
    assert al.solve(problem, time_limit=1000).status is al.Status.OPTIMAL


# -- refreshing ------------------------------------------------------------------------


def test_known_values_only_get_better(tmp_path):
    path = FOLDER / "small" / "gap-c.toml"
    spec = read_spec(path)
    worse = al.solve(spec.build(), "greedy")
    assert refresh._better(spec, worse) == spec
    fresh = refresh.new_spec("x", spec.family, seed=1, parameters=spec.parameters)
    assert refresh._with_known(fresh, path).best_known == spec.best_known
    other = refresh.new_spec("x", spec.family, seed=2, parameters=spec.parameters)
    assert refresh._with_known(other, path).best_known is None


def test_better_answers_are_taken_from_files(tmp_path):
    spec = read_spec(FOLDER / "small" / "gap-c.toml")
    path, answer = tmp_path / "s.toml", tmp_path / "answer.json"
    write_spec(dataclasses.replace(spec, best_known=999.0, proved=False), path)
    write_solution(al.solve(spec.build(), time_limit=1000), answer)
    refresh.take(path, answer)
    assert read_spec(path).best_known == spec.best_known
    write_spec(dataclasses.replace(spec, best_known=-999.0, proved=False), path)
    refresh.take(path, answer)
    assert read_spec(path).best_known == -999.0


# -- third-party files, from a folder in place of the network --------------------------


@pytest.fixture
def library(tmp_path, monkeypatch):
    folder = tmp_path / "library"
    folder.mkdir()
    (folder / "gap1.txt").write_text(" 2 \n 1 1\n 5\n 1\n 1\n 1 1\n 5\n 1\n 1\n")
    (folder / "assign100.txt").write_text("2\n1 2\n2 1\n")
    known = download._sha256((folder / "gap1.txt").read_bytes())
    monkeypatch.setattr(download, "FILES", {"gap1.txt": known, "assign100.txt": None})
    return folder


def run(library, *names):
    target = library.parent / "fetched"
    code = download.main([*names, "--to", str(target), "--base-url", library.as_uri()])
    return code, target


def test_download_writes_files_and_senses(library, capsys):
    code, target = run(library)
    assert code == 0
    assert sorted(p.name for p in target.iterdir()) == ["OPTIMA.csv", "assign100.txt", "gap1.txt"]
    assert (target / "OPTIMA.csv").read_text().splitlines()[1:] == [
        "gap1.txt,1,max,,,no", "gap1.txt,2,max,,,no", "assign100.txt,1,min,,,no",
    ]
    assert [problem.sense for problem in read_instances(target / "gap1.txt")] == ["max"] * 2
    assert run(library)[0] == 0
    assert "gap1.txt: already there" in capsys.readouterr().out


def test_download_refuses_changed_and_foreign_content(library, capsys):
    with open(library / "gap1.txt", "a") as stream:
        stream.write(" 7\n")
    (library / "assign100.txt").write_text("<html>moved</html>")
    code, target = run(library)
    errors = capsys.readouterr().err
    assert code == 1
    assert [p.name for p in target.iterdir()] == ["OPTIMA.csv"]
    assert "gap1.txt: not fetched: has SHA-256" in errors
    assert "assign100.txt: not fetched: is not a file of numbers" in errors


def test_download_goes_on_after_a_missing_file(library, capsys):
    (library / "gap1.txt").unlink()
    code, target = run(library)
    assert code == 1
    assert (target / "assign100.txt").exists()
    assert "gap1.txt: not fetched" in capsys.readouterr().err


def test_download_replaces_a_damaged_file(library):
    _, target = run(library)
    (target / "gap1.txt").write_text("2")
    assert run(library, "gap1.txt")[0] == 0
    assert download._sha256((target / "gap1.txt").read_bytes()) == download.FILES["gap1.txt"]


def test_download_names_unknown_files(library, capsys):
    with pytest.raises(SystemExit):
        run(library, "gap99.txt")
    assert "no file 'gap99.txt'; choose from gap1.txt" in capsys.readouterr().err


def test_hashes_are_those_of_the_library():
    folder = SHARED / "orlib"
    if not folder.is_dir():
        pytest.skip(f"no published instances at {SHARED}")
    for path in folder.iterdir():
        assert download._sha256(path.read_bytes()) == script("download").FILES[path.name]
