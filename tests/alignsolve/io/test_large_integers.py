"""Whole numbers beyond 2**53 through every file format: exact, or refused."""

import numpy as np
import pytest

import alignsolve as al
from alignsolve.io import read_instance, write_instance
from alignsolve.model.digest import problem_digest

VALUES = np.array([[20, 99], [90, 99]]) + 1_700_000_000_000_000_000
MORE = {"min_experts": 1, "load_max": 1}


@pytest.mark.parametrize("build", [al.AlignmentProblem, al.AlignmentProblem.from_cost])
@pytest.mark.parametrize("values", [VALUES, VALUES.astype(np.uint64) + np.uint64(2**63)])
@pytest.mark.parametrize("suffix", ["json", "npz", "csv", "tsv", "parquet"])
def test_files_keep_every_digit(suffix, values, build, tmp_path):
    problem = build(values, 1, **MORE)
    path = tmp_path / f"p.{suffix}"
    write_instance(problem, path)
    again = read_instance(path)
    assert problem_digest(again) == problem_digest(problem)
    name = "fitness" if problem.sense == "max" else "cost"
    assert again.arguments()[name].tolist() == values.tolist()
    assert al.solve(again).col_ind.tolist() == ([1, 0] if problem.sense == "max" else [0, 1])


def test_chunks_of_a_table_agree(tmp_path, monkeypatch):
    monkeypatch.setattr("alignsolve.io.csv_table._CHUNK", 1)
    path = tmp_path / "p.csv"
    path.write_text("client,expert,fitness\n0,0,3\n0,1,1700000000000000001\n")
    with pytest.raises(al.ProblemError, match=r"fitness\[0\] holds whole numbers .* that differ"):
        read_instance(path)
    path.write_text("client,expert,fitness\n0,0,3.5\n0,1,1700000000000000001\n")
    with pytest.raises(al.ProblemError, match="among others that are none"):
        read_instance(path)


def test_pairs_that_are_missing_are_refused(tmp_path):
    path = tmp_path / "p.csv"
    path.write_text("client,expert,fitness\n0,0,1700000000000000003\n1,1,1700000000000000001\n")
    with pytest.raises(al.ProblemError, match="pairs are missing"):
        read_instance(path)
