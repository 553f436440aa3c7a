"""Specs: round trips, tampering, and files that mean harm."""

import dataclasses
import os
import pickle
import tomllib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import alignsolve as al
from alignsolve.errors import ProblemError
from alignsolve.generators import FAMILIES, generate
from alignsolve.io import read_instances
from alignsolve.io.specs import MAX_SPEC_BYTES, Spec, new_spec, read_spec, spec_text, write_spec
from alignsolve.model.digest import problem_digest

GOOD = """
name = "a spec"
family = "uniform"
seed = 3
sense = "max"

[parameters]
clients = 5
experts = 4
"""


def written(tmp_path, text):
    path = tmp_path / "spec.toml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def refusal(tmp_path, text):
    path = written(tmp_path, text)
    with pytest.raises(ProblemError) as caught:
        read_spec(path).build()
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 600
    return message.removeprefix(f"{path}: ").removeprefix(f"{path}")


@pytest.mark.parametrize("family", FAMILIES)
def test_round_trip_of_every_family(tmp_path, family):
    spec = new_spec(f"a {family}", family, seed=2, note='says "hi"\nand \\ more')
    assert spec.parameters == FAMILIES[family].defaults
    write_spec(spec, tmp_path / "s.toml")
    assert read_spec(tmp_path / "s.toml") == spec
    assert problem_digest(read_spec(tmp_path / "s.toml").build()) == spec.digest
    assert spec.sense == ("min" if family.startswith("gap") else "max")


def test_read_instances_takes_specs(tmp_path):
    (problem,) = read_instances(written(tmp_path, GOOD))
    assert problem_digest(problem) == problem_digest(
        generate("uniform", seed=3, clients=5, experts=4)
    )


finite = st.floats(allow_nan=False, allow_infinity=False, max_value=1e300, min_value=-1e300)


@given(
    st.builds(
        Spec,
        name=st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=9),
        family=st.sampled_from(sorted(FAMILIES)),
        seed=st.integers(0, 2**63 - 1),
        digest=st.none() | st.just("sha256:" + "0f" * 32),
        sense=st.sampled_from(["max", "min"]),
        best_known=st.none() | finite,
        best_bound=st.none() | finite,
        proved=st.booleans(),
        note=st.text(st.characters(exclude_categories=["C", "Z"])) | st.just('"\\\n'),
        streamed=st.booleans(),
    )
)
def test_text_is_toml_and_means_the_same(spec):
    read = tomllib.loads(spec_text(spec))
    assert Spec(**read) == spec


STREAMED = [name for name, family in FAMILIES.items() if family.rows is not None]


@pytest.mark.parametrize("family", STREAMED)
@settings(max_examples=10)
@given(clients=st.integers(1, 60), experts=st.integers(1, 9), seed=st.integers(0, 9),
       entries=st.integers(1, 300))
def test_streamed_problems_are_those_in_memory(family, clients, experts, seed, entries):
    sizes = {"clients": clients, "experts": experts, "slots": 1}
    whole = generate(family, seed=seed, **sizes)
    streamed = FAMILIES[family].generate(seed, sizes, streamed=True, block_entries=entries)
    assert streamed.streamed and not whole.streamed
    assert problem_digest(streamed) == problem_digest(whole)
    again = pickle.loads(pickle.dumps(streamed.fitness.part(0, streamed.fitness.n_blocks)))
    np.testing.assert_array_equal(again[0:clients], whole.fitness)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_streamed_specs_verify_by_blocks(tmp_path, dtype):
    sizes = {"clients": 70_000, "experts": 9, "dtype": dtype}
    spec = new_spec("big", "uniform", seed=4, parameters=sizes, streamed=True)
    assert spec.digest == new_spec("big", "uniform", seed=4, parameters=sizes).digest
    write_spec(spec, tmp_path / "big.toml")
    assert read_spec(tmp_path / "big.toml") == spec
    (problem,) = read_instances(tmp_path / "big.toml")
    assert problem.fitness.n_blocks > 1
    with pytest.raises(ProblemError, match="says digest"):
        dataclasses.replace(spec, seed=5).build()


def test_streaming_has_no_limit_of_pairs_and_not_every_family(tmp_path):
    many = GOOD.replace("clients = 5", "clients = 10_000_000").replace("= 4", "= 256")
    with pytest.raises(ProblemError, match="at most 1,073,741,824, or stream it"):
        read_spec(written(tmp_path, many))
    spec = read_spec(written(tmp_path, many.replace("seed = 3", "seed = 3\nstreamed = true")))
    assert spec.streamed
    with pytest.raises(ProblemError, match="family 'sticky' cannot be streamed"):
        read_spec(written(tmp_path, "name = 's'\nfamily = 'sticky'\nseed = 1\nstreamed = true"))


def test_missing_parameters_have_their_defaults(tmp_path):
    text = GOOD.split("[parameters]")[0]
    assert read_spec(written(tmp_path, text)).build().n_clients == 200


def test_infeasible_is_proved_without_a_value():
    assert Spec("n", "infeasible", 0, proved=True).infeasible
    assert not Spec("n", "uniform", 0, best_known=1, proved=True).infeasible
    assert not Spec("n", "uniform", 0).infeasible


def test_tampering_is_found():
    spec = new_spec("mine", "uniform", seed=1, parameters={"clients": 6})
    for change in ({"seed": 2}, {"parameters": spec.parameters | {"slots": 1}},
                   {"family": "skewed", "parameters": {}}, {"digest": "sha256:" + "0" * 64}):
        other = dataclasses.replace(spec, **change)
        with pytest.raises(ProblemError) as caught:
            other.build()
        found = problem_digest(other.build(verify=False))
        assert "spec 'mine'" in str(caught.value)
        assert f"says digest {other.digest}" in str(caught.value)
        assert f"make {found}" in str(caught.value)


def test_wrong_sense_is_found():
    with pytest.raises(ProblemError, match="says sense 'min', but family 'uniform' makes"):
        Spec("n", "uniform", 0, sense="min").build()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "key 'name' is missing; a spec has name, family, seed and parameters"),
        ("name = 'x'", "key 'family' is missing"),
        ("name = ", "not TOML: Invalid value"),
        ("name = 'x'\nname = 'y'", "not TOML: Cannot overwrite a value"),
        (b"name = '\xff'", ":1:9: byte 0xff is not UTF-8 text; save the file as UTF-8"),
        (b"\xff\xfen\x00", "is UTF-16 text; save it as UTF-8"),
        (b"name = '\x00'", ":1:9: holds a null character"),
        ("x = " + "[" * 20000, "not a spec: nested too deeply"),
        ("seed = " + "9" * 5000, "not TOML: "),
        (" " * (MAX_SPEC_BYTES + 1), "bytes; at most 65,536 are read"),
        (GOOD + "\n[evil]\n__import__ = 'os'", "unknown key 'evil'; known: name, note, family"),
        (GOOD.replace("seed = 3", ""), "key 'seed' is missing"),
        (GOOD.replace("seed = 3", "seed = -3"), "key 'seed' is '-3'; give a whole number from 0"),
        (GOOD.replace("seed = 3", "seed = true"), "key 'seed' is 'True'"),
        (GOOD.replace("seed = 3", "seed = 1979-05-27"), "key 'seed' is '1979-05-27'"),
        (GOOD.replace("seed = 3", "seed = 99999999999999999999"), "key 'seed' is '9999"),
        (GOOD.replace('"max"', '"up"'), 'key \'sense\' is \'up\'; give "max" or "min"'),
        (GOOD.replace('"a spec"', '""'), "key 'name' is ''; give a name of 1 to 200"),
        (GOOD.replace('"a spec"', '"\\u001b[2J"'), "key 'name' is '"),
        (GOOD.replace('"a spec"', "5"), "key 'name' is '5'"),
        (GOOD.replace('"uniform"', '"../../etc/passwd"'),
         "there is no family '../../etc/passwd'; known: uniform"),
        (GOOD.replace('"uniform"', '"os.system"'), "there is no family 'os.system'"),
        (GOOD.replace("clients", "client"), "no parameter 'client'; did you mean 'clients'?"),
        (GOOD.replace("clients = 5", "seed = 5"), "no parameter 'seed'"),
        (GOOD.replace("clients = 5", "clients = [5]"), "clients is [5]; give a whole number"),
        (GOOD.replace("clients = 5", "clients = 5.0"), "clients is 5.0; give a whole number"),
        (GOOD.replace("clients = 5", "clients = 10_000_000\nslots=3").replace("= 4", "= 60000"),
         "10,000,000 clients x 60,000 experts are too many"),
        (GOOD.replace("clients = 5", "balance = nan"), "balance is nan; give a number"),
        (GOOD.replace("clients = 5", "balance = 1e999"), "balance is inf; give a number"),
        (GOOD.replace("[parameters]", "[[parameters]]"), "give a table of parameters"),
        (GOOD.replace("seed = 3", "seed = 3\nbest_known = inf"), "key 'best_known' is 'inf'; give"),
        (GOOD.replace("seed = 3", "seed = 3\nbest_bound = 'x'"), "key 'best_bound' is 'x'"),
        (GOOD.replace("seed = 3", "seed = 3\nstreamed = 1"), "key 'streamed' is '1'; give true"),
        (GOOD.replace("seed = 3", "seed = 3\nproved = 'yes'"), "key 'proved' is 'yes'; give true"),
        (GOOD.replace("seed = 3", "seed = 3\ndigest = 'md5:0'"), "key 'digest' is 'md5:0'; give"),
        (GOOD.replace("seed = 3", "seed = 3\ndigest = 'sha256:" + "0" * 64 + "'"),
         "spec 'a spec' says digest sha256:000"),
    ],
)
def test_bad_files_are_named(tmp_path, text, message):
    assert message in refusal(tmp_path, text)


def test_missing_file_and_folder(tmp_path):
    with pytest.raises(ProblemError, match="no such file"):
        read_spec(tmp_path / "absent.toml")
    with pytest.raises(ProblemError, match="is a directory"):
        read_spec(tmp_path)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"seed": -1}, "key 'seed' is '-1'"),
        ({"seed": 1.5}, "key 'seed' is '1.5'"),
        ({"name": "a\nb"}, "key 'name' is"),
        ({"note": "\ud800"}, "key 'note' is"),
        ({"digest": "sha256:XYZ"}, "key 'digest' is"),
        ({"best_known": float("nan")}, "key 'best_known' is 'nan'"),
        ({"parameters": [1]}, "key 'parameters' is '[1]'"),
    ],
)
def test_bad_fields_are_named(fields, message):
    with pytest.raises(ProblemError) as caught:
        Spec(**({"name": "n", "family": "uniform", "seed": 0} | fields))
    assert message in str(caught.value)


def test_parameters_cannot_reach_other_arguments():
    with pytest.raises(ProblemError, match="no parameter 'self'"):
        Spec("n", "uniform", 0, {"self": 1}).build()


def test_failed_writes_leave_nothing(tmp_path):
    with pytest.raises(ProblemError, match="cannot be written"):
        write_spec(Spec("n", "uniform", 0), tmp_path / "absent" / "s.toml")
    assert os.listdir(tmp_path) == []


def test_best_known_survives_solving(tmp_path):
    """What a spec says can be checked by anyone: build, solve, compare."""
    spec = new_spec("s", "latent", seed=1, parameters={"clients": 8, "experts": 3})
    value = al.solve(spec.build()).objective_value
    spec = dataclasses.replace(spec, best_known=value, best_bound=value, proved=True)
    write_spec(spec, tmp_path / "s.toml")
    assert al.solve(read_spec(tmp_path / "s.toml").build()).objective_value == spec.best_known


@given(at=st.integers(0, len(GOOD)), cut=st.integers(0, 30),
       paste=st.binary(max_size=6) | st.sampled_from([b"[", b"\n[a]\n", b"'''", b"0x", b"inf"]))
def test_damaged_files_are_read_or_refused(tmp_path_factory, at, cut, paste):
    path = tmp_path_factory.getbasetemp() / "damaged.toml"
    data = GOOD.encode()
    path.write_bytes(data[:at] + paste + data[at + cut:])
    message = f"{path}:"
    try:
        read_spec(path)
    except ProblemError as error:
        message = str(error)
    assert message.startswith(f"{path}:")
    assert "\n" not in message
