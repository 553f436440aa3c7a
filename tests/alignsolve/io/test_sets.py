"""Tables that belong together: read as they were written, or refused."""

import os

import numpy as np
import pytest

import alignsolve as al
from alignsolve import io
from alignsolve.bench.instances import file_digest
from alignsolve.io.sets import as_written
from alignsolve.model.digest import problem_digest
from tests.files import error_of

SUFFIXES = (".csv", ".parquet")

OLD = al.AlignmentProblem(np.arange(6.0).reshape(2, 3), 2, load_max=[1, 1, 2])
NEW = al.AlignmentProblem(np.arange(6.0, 12).reshape(2, 3), 1, load_max=[2, 2, 1])


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("before", ["nothing", "a set", "a set without digests"])
def test_a_set_cut_short_is_old_or_missing_or_refused(suffix, before, tmp_path, monkeypatch):
    """Stop the writing after each number of files that took their place."""
    replace, found = os.replace, []
    for files in range(5):
        folder = tmp_path / f"{files}"
        folder.mkdir()
        path = folder / f"s{suffix}"
        if before != "nothing":
            io.write_instance(OLD, path)
        if before == "a set without digests":
            (folder / f"s{suffix}.sha256").unlink()
        left = [files]

        def limited(*paths, left=left):
            if not left[0]:
                raise KeyboardInterrupt
            left[0] -= 1
            replace(*paths)

        monkeypatch.setattr(os, "replace", limited)
        if files < 4:
            with pytest.raises(KeyboardInterrupt):
                io.write_instance(NEW, path)
        else:
            io.write_instance(NEW, path)
        monkeypatch.undo()
        message = error_of(io.read_instance, path)
        if message is None:
            found.append(problem_digest(io.read_instance(path)))
        else:
            found.append("missing" if "no such file" in message else "refused")
            assert "no such file" in message or f"remove {path}.sha256" in message
    first, between = {"nothing": ("missing", "missing")}.get(
        before, (problem_digest(OLD), "refused"))
    assert found == [first, *[between] * 3, problem_digest(NEW)]


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("changed", ["s", "s.clients", "s.experts"])
def test_files_of_two_sets_of_one_size_are_refused(suffix, changed, tmp_path):
    for name, problem in (("a", OLD), ("b", NEW)):
        (tmp_path / name).mkdir()
        io.write_instance(problem, tmp_path / name / f"s{suffix}")
    other = tmp_path / "b" / f"{changed}{suffix}"
    path = tmp_path / "a" / f"s{suffix}"
    (tmp_path / "a" / other.name).write_bytes(other.read_bytes())
    with pytest.raises(al.ProblemError, match=f"^{path}: .*: {other.name} is not as in"):
        io.read_instance(path)


def test_an_edit_by_hand_is_accepted_as_the_refusal_says(tmp_path):
    path = tmp_path / "s.csv"
    io.write_instance(OLD, path)
    (tmp_path / "s.experts.csv").write_text("expert,load_max\n0,2\n1,2\n2,2\n")
    with pytest.raises(al.ProblemError) as caught:
        io.read_instance(path)
    listing = str(caught.value).rpartition("remove ")[2]
    os.unlink(listing)
    assert io.read_instance(path).load_max.tolist() == [2, 2, 2]


def test_a_list_that_is_damaged_and_a_file_that_is_gone_are_refused(tmp_path):
    path, listing = tmp_path / "s.csv", tmp_path / "s.csv.sha256"
    io.write_instance(OLD, path)
    whole = listing.read_bytes()
    assert [line.split()[1] for line in whole.decode().splitlines()] == [
        "s.csv", "s.clients.csv", "s.experts.csv"]
    listing.write_bytes(b"".join(reversed(whole.splitlines(keepends=True))))
    assert problem_digest(io.read_instance(path)) == problem_digest(OLD)
    for damaged in (b"", whole[:-1], whole[:100], b"x" + whole[1:], whole + b"x  y\n"):
        listing.write_bytes(damaged)
        with pytest.raises(al.ProblemError, match="does not belong together"):
            io.read_instance(path)
    listing.write_bytes(whole)
    (tmp_path / "s.clients.csv").unlink()
    with pytest.raises(al.ProblemError, match="a file that is not there is not as in"):
        io.read_instance(path)


def test_a_set_that_is_written_while_it_is_read_is_refused(tmp_path):
    path = tmp_path / "s.csv"
    path.write_text("client,expert,fitness\n0,0,1\n")
    with pytest.raises(al.ProblemError, match="was written while it was being read"), \
            as_written(path, tmp_path / "s.clients.csv"):
        io.write_instance(OLD, path)


def test_what_is_no_file_gets_no_list(tmp_path):
    (tmp_path / "s.csv").symlink_to("/dev/null")
    io.write_instance(OLD, tmp_path / "s.csv")
    assert sorted(os.listdir(tmp_path)) == ["s.clients.csv", "s.csv", "s.experts.csv"]


def test_the_bench_takes_a_set_with_another_companion_for_another_instance(tmp_path):
    path = tmp_path / "s.csv"
    path.write_text("client,expert,fitness\n0,0,1\n")
    digests = {file_digest(path)}
    for slots in (1, 2):
        (tmp_path / "s.clients.csv").write_text(f"client,max_experts\n0,{slots}\n")
        digests.add(file_digest(path))
    assert len(digests) == 3
