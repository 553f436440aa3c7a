"""JSON and npz: what is written comes back, and damage is told in one line."""

from __future__ import annotations

import json
import math
import os
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import alignsolve as al
from alignsolve import io
from alignsolve.io import native_npz
from alignsolve.io.schema import stated
from alignsolve.model.digest import problem_digest
from alignsolve.model.limits import ReadLimits
from tests.files import ROOT, assert_read_or_refused, damaged
from tests.strategies import any_problems

NATIVE = (".json", ".npz")

#: Every field at once, with values that formats like to lose.
FULL = al.AlignmentProblem(
    np.array([[0.1, -np.inf, -0.0], [1e-310, 1e300, 2**53 + 1.0]]),
    [1, 3],
    min_experts=[0, 1],
    load_min=[-np.inf, 0.5, 0],
    load_max=[1, np.inf, 2],
    load_target=[0.1, -1, 3],
    load_penalty=[0, 0.1, 1e-12],
    loads={"samples / α": al.Load([1, 0.1], [0, 1, -np.inf], 3, penalty=0.5)},
    resources={
        "per expert": al.Resource([1, 2, 3], [np.inf, 4]),
        "per pair": al.Resource([[1, 2, 3], [4, 5, 6.5]], 9),
        "per client": al.Resource([[1], [2]], 9),
    },
    expert_group=[1, 0, 1],
    group_min=[0, 0],
    group_max=[[1, 2], [1, 1]],
    client_fitness_min=[-np.inf, 0.25],
    held=([0, 1], [1, 2]),
    switch_cost=[[0.5], [0.25]],
    client_ids=['ä "quoted"', "line\nbreak\ttab"],
    expert_ids=["e", "-inf", "\ud800"],
)


def fields(problem):
    """Return every field as something that compares bit for bit, sizes of memory included."""
    found = {"sense": problem.sense, "dtype": problem.fitness.dtype}
    for name, value in problem.arguments().items():
        parts = {name: value}
        if isinstance(value, dict):
            parts = {f"{name}.{key}.{part}": array for key, entry in value.items()
                     for part, array in vars(entry).items()}
        for key, part in parts.items():
            if hasattr(part, "indptr"):
                part = np.stack([part.rows, part.indices])
            if isinstance(part, np.ndarray):
                part = (part.shape, part.dtype, part.tobytes())
            found[key] = part
    return found


@settings(max_examples=80)
@given(problem=any_problems(), suffix=st.sampled_from(NATIVE))
def test_round_trip_is_lossless(problem, suffix, tmp_path_factory):
    path = tmp_path_factory.mktemp("io") / f"problem{suffix}"
    io.write_instance(problem, path)
    again = io.read_instance(path)
    assert fields(again) == fields(problem)
    assert problem_digest(again) == problem_digest(problem)


@pytest.mark.parametrize("suffix", NATIVE)
@pytest.mark.parametrize("sense", ["max", "min"])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_round_trip_of_every_field(suffix, sense, dtype, tmp_path):
    arguments = FULL.arguments()
    with np.errstate(over="ignore"):
        fitness = np.minimum(arguments["fitness"], 1e30).astype(dtype)
    problem = FULL.replace(fitness=fitness)
    if sense == "min":
        arguments["cost"] = 0 - fitness
        arguments["client_cost_max"] = 0 - arguments.pop("client_fitness_min")
        del arguments["fitness"]
        problem = al.AlignmentProblem.from_cost(**arguments)
    io.write_instance(problem, tmp_path / f"full{suffix}")
    again = io.read_instance(tmp_path / f"full{suffix}")
    assert fields(again) == fields(problem)
    for name in ("per expert", "per client"):
        assert 0 in np.asarray(again.resources[name].size).strides, "sizes were blown up"


@pytest.mark.parametrize("suffix", NATIVE)
@pytest.mark.parametrize("shape", [(0, 0), (0, 3), (3, 0), (1, 1)])
def test_empty_problems(suffix, shape, tmp_path):
    problem = al.AlignmentProblem(np.zeros(shape), 1, expert_group=np.arange(shape[1]),
                                  resources={"m": al.Resource(1, 1)})
    io.write_instance(problem, tmp_path / f"empty{suffix}")
    assert fields(io.read_instance(tmp_path / f"empty{suffix}")) == fields(problem)


def test_infinity_is_a_string_and_numbers_are_short(tmp_path):
    problem = al.AlignmentProblem(np.float32([[0.1, -np.inf]]), 1)
    io.write_instance(problem, tmp_path / "p.json")
    document = json.loads((tmp_path / "p.json").read_text(), parse_constant=pytest.fail)
    assert document["fitness"] == [[0.1, "-inf"]]


def test_npz_has_plain_arrays_and_is_the_same_every_time(tmp_path):
    for name in ("a.npz", "b.npz"):
        io.write_instance(FULL, tmp_path / name)
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    with np.load(tmp_path / "a.npz", allow_pickle=False) as arrays:
        assert arrays["fitness"].dtype == np.float64
        assert arrays["resources.0.size"].shape == (3,)


def test_npz_reads_compressed_and_fortran_order(tmp_path):
    problem = al.AlignmentProblem(np.asfortranarray(np.arange(12.0).reshape(4, 3)), 2)
    io.write_instance(problem, tmp_path / "p.npz")
    with np.load(tmp_path / "p.npz") as arrays:
        np.savez_compressed(tmp_path / "q.npz", **arrays)
    assert fields(io.read_instance(tmp_path / "q.npz")) == fields(problem)


def test_content_decides_where_the_suffix_does_not(tmp_path):
    for suffix in NATIVE:
        io.write_instance(FULL, tmp_path / f"p{suffix}")
        os.rename(tmp_path / f"p{suffix}", tmp_path / "p.dat")
        assert fields(io.read_instance(tmp_path / "p.dat")) == fields(FULL)


def test_writing_is_atomic(tmp_path, monkeypatch):
    path = tmp_path / "p.json"
    io.write_instance(FULL, path)
    before = path.read_bytes()

    def broken(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("os.replace", broken)
    with pytest.raises(KeyboardInterrupt):
        io.write_instance(FULL.replace(max_experts=2), path)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["p.json"], "the temporary file stayed"


def test_writing_keeps_links_and_modes(tmp_path):
    target, link = tmp_path / "target.json", tmp_path / "link.json"
    target.write_text("old")
    target.chmod(0o640)
    link.symlink_to(target)
    io.write_instance(FULL, link)
    assert link.is_symlink()
    assert target.stat().st_mode & 0o777 == 0o640
    io.read_instance(target)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("native")
    for suffix in NATIVE:
        io.write_instance(FULL, folder / f"full{suffix}")
    return folder


@settings(max_examples=300)
@given(data=st.data())
def test_damaged_files_never_raise_anything_else(files, data):
    suffix = data.draw(st.sampled_from(NATIVE))
    path = files / f"damaged{suffix}"
    path.write_bytes(data.draw(damaged((files / f"full{suffix}").read_bytes())))
    assert_read_or_refused(path, io.read_instances, path)


WORDS = ["null", "true", "{}", "[]", '"x"', '"inf"', "-1", "1.5", "1e999", "NaN", "[[1], [2, 3]]",
         "[[[1]]]", "10000000000000000000000", '{"array": "fitness"}', "[1, null]", '""']


@settings(max_examples=200)
@given(data=st.data())
def test_wrong_json_values_never_raise_anything_else(files, data):
    document = json.loads((files / "full.json").read_text())
    key = data.draw(st.sampled_from(sorted(document)))
    place = document
    while isinstance(place[key], dict) and place[key] and data.draw(st.booleans()):
        place = place[key]
        key = data.draw(st.sampled_from(sorted(place)))
    place[key] = "@@"
    text = json.dumps(document).replace('"@@"', data.draw(st.sampled_from(WORDS)))
    path = files / "wrong.json"
    path.write_text(text)
    assert_read_or_refused(path, io.read_instances, path)


def rewrite(path, target, **changed):
    """Copy an npz with some arrays changed."""
    with np.load(path, allow_pickle=False) as arrays:
        np.savez(target, **(dict(arrays) | changed))


def test_npz_with_pickled_objects_is_refused(files, tmp_path):
    rewrite(files / "full.npz", tmp_path / "p.npz", fitness=np.array([{}, []], dtype=object))
    with pytest.raises(al.ProblemError, match="array 'fitness' holds pickled objects"):
        io.read_instance(tmp_path / "p.npz")


def test_zip_bomb_is_refused_before_it_unpacks(tmp_path, monkeypatch):
    path = tmp_path / "bomb.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for member in range(4):
            archive.writestr(f"{member}.npy", bytes(2**22))
    for free, message in ((2**20, "would unpack to 16,777,216; at most 100 times"),
                          (2**24 - 1, "would unpack to 16,777,216"),
                          (2**24, "'header'")):  # as much as is free is unpacked
        monkeypatch.setattr(native_npz, "LIMITS", ReadLimits(free_bytes=free))
        with pytest.raises(al.ProblemError, match=message):
            native_npz.read(path)


def test_npy_header_that_declares_more_than_it_holds(files, tmp_path):
    path = tmp_path / "p.npz"
    with zipfile.ZipFile(files / "full.npz") as source, zipfile.ZipFile(path, "w") as target:
        for member in source.infolist():
            data = source.read(member)
            if member.filename == "fitness.npy":
                data = data.replace(b"(2, 3)", b"(9, 9)")
            target.writestr(member.filename, data)
    with pytest.raises(al.ProblemError, match=r"'fitness' declares float64 of shape \(9, 9\)"):
        io.read_instance(path)


def test_deep_nesting_is_refused(tmp_path):
    path = tmp_path / "deep.json"
    path.write_text('{"format": "alignsolve-problem", "fitness": ' + "[" * 200_000)
    with pytest.raises(al.ProblemError, match="nested too deeply"):
        io.read_instance(path)


def test_byte_order_mark_and_carriage_returns_are_fine(files, tmp_path):
    text = (files / "full.json").read_text().replace("\n", "\r\n")
    (tmp_path / "p.json").write_bytes(b"\xef\xbb\xbf" + text.encode())
    assert fields(io.read_instance(tmp_path / "p.json")) == fields(FULL)


def test_scalars_stand_for_arrays_and_most_keys_may_be_left_out(tmp_path):
    (tmp_path / "p.json").write_text(
        '{"format": "alignsolve-problem", "version": 1, "sense": "min", "dtype": "float64", '
        '"n_clients": 2, "n_experts": 2, "cost": [[1, "inf"], [2, 3]], "max_experts": 1}'
    )
    problem = io.read_instance(tmp_path / "p.json")
    assert problem.sense == "min"
    assert problem.fitness.tolist() == [[-1, -math.inf], [-2, -3]]


def test_the_examples_of_the_documentation_are_read(tmp_path):
    text = (ROOT / "docs" / "formats.md").read_text()
    (tmp_path / "p.json").write_text(text.split("```json\n")[1].split("```")[0])
    assert io.read_instance(tmp_path / "p.json").load_max.tolist() == [1, 1, math.inf]
    (tmp_path / "s.csv").write_text("client," + text.split("```\nclient,")[1].split("```")[0])
    assert io.read_instance(tmp_path / "s.csv").client_ids == ("anna", "bob")


@pytest.mark.parametrize(("document", "text"), [
    ({}, 'key "version" is missing'), ({"version": "two"}, 'key "version" is \'two\''),
    ({"version": 2.5}, 'key "version" is 2.5'),
    ({"version": True}, 'key "version" is true or false'),
    ({"version": None}, 'key "version" is null'), ({"version": [1]}, 'key "version" is a list'),
    ({"version": {}}, 'key "version" is an object'),
])
def test_what_a_document_says_is_said(document, text):
    assert stated(document, "version").startswith(text)
