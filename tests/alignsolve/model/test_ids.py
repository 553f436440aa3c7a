"""Ids that only look equal are refused, with both shown in ASCII, wherever ids come in."""

from __future__ import annotations

import json
import math
import unicodedata

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import alignsolve as al
from alignsolve import io
from alignsolve.model.ids import escaped, first_fault, look

#: What nobody tells from a plain space, or from a line's end.
SPACES = "\u00a0\u202f\u2009\x85\u2028"

#: Characters that nobody sees: zero width, marks of direction, fillers, control characters.
UNSEEN = ("\u200b\u200c\u200d\u2060\ufeff\u00ad\u200e\u202e\u061c\u2063\u034f"
          "\ufe0f\u3164\u2800\U000e0041\x00\x07\x1b\x7f")

#: An id, and what looks the same.
ALIKE = [
    ("anna", "anna "),
    ("anna", " anna"),
    ("anna", "anna\t"),
    ("anna", "anna\r\n"),
    ("anna", "anna\u3000"),
    *[("anna", f"an{character}na") for character in UNSEEN],
    *[("an na", f"an{character}na") for character in SPACES],
    *[("anna", f"anna{character}") for character in UNSEEN + SPACES],
    ("Zo\u00eb", "Zoe\u0308"),
    ("\uac00", "\u1100\u1161"),
    ("\u212b", "\u00c5"),
    ("fi", "\ufb01"),
    ("site 1", "site\t1"),
    ("site 1", "site\u00a01"),
    ("A1", "\uff21\uff11"),
]

#: Ids that differ for everybody, as people have them.
CLEAR = ["anna", "Anna", "anna b", "an na", "anna  b", "Zo\u00eb", "Zoe", "line\nbreak", "tab\t;",
         "\u5c71\u7530\u3000\u592a\u90ce", "\u03b1/1", "-inf", "nan", "None", "1", "01", "1.0",
         "\U0001f600", 'comma, "quote"', "\ud800"]


@st.composite
def alike(draw):
    """Draw an id that people have, and what it can be taken for."""
    text = draw(st.text("aeu1. \u00e9\u0394", min_size=1)).strip() or "\u00e9"
    kind = draw(st.sampled_from(["end", "unseen", "composed"]))
    if kind == "composed":
        other = unicodedata.normalize(draw(st.sampled_from(["NFD", "NFKD"])), f"{text}\u00e9")
        return unicodedata.normalize("NFC", f"{text}\u00e9"), other
    at = draw(st.sampled_from([0, len(text)]) if kind == "end" else st.integers(0, len(text)))
    mark = draw(st.sampled_from(" \t\r\n\u00a0\u3000" if kind == "end" else UNSEEN))
    return text, text[:at] + mark + text[at:]


def refused(ids):
    """Return the message with which a problem refuses its clients' ids."""
    with pytest.raises(al.ProblemError) as caught:
        al.AlignmentProblem(np.eye(len(ids)), 1, client_ids=ids)
    return str(caught.value)


@given(pair=alike(), turned=st.booleans(), others=st.lists(st.sampled_from(["b", "\u00f6", "x y"]),
                                                           unique=True))
@example(pair=ALIKE[0], turned=False, others=[])
def test_a_pair_that_looks_alike_is_refused_and_both_are_shown(pair, turned, others):
    message = refused([*others, *pair[:: -1 if turned else 1]])
    assert message.startswith("client_ids[")
    assert all(escaped(text) in message for text in pair)
    assert message.isascii()
    assert message.isprintable()


@pytest.mark.parametrize("pair", ALIKE, ids=ascii)
def test_kinds_of_ids_that_look_alike(pair):
    assert look(pair[0]) == look(pair[1])
    message = refused(list(pair))
    assert all(escaped(text) in message for text in pair)


@pytest.mark.parametrize("text", ["", " ", "anna ", "\u00a0anna",
                                  *[f"a{character}b" for character in UNSEEN + SPACES]], ids=ascii)
def test_one_id_alone_is_refused(text):
    assert refused([text]).startswith(f"client_ids[0] {escaped(text)} ")


@pytest.mark.parametrize("missing", [None, math.nan, np.nan, np.float32("nan"), np.ma.masked,
                                     np.datetime64("NaT")], ids=repr)
def test_missing_ids_are_no_clients(missing):
    assert refused(["a", missing]) == (
        f"client_ids[1] is {missing}; give a string or a whole number")


@pytest.mark.parametrize("value", [np.array("ab"), np.array(3), "ab", 3], ids=repr)
def test_one_value_is_no_sequence(value):
    with pytest.raises(al.ProblemError, match=r"client_ids is (one string|int); give a sequence"):
        al.AlignmentProblem(np.eye(2), 1, client_ids=value)


def test_missing_ids_of_pandas():
    pandas = pytest.importorskip("pandas")
    assert "is <NA>" in refused([pandas.NA])
    assert "is nan" in refused(pandas.Series([1, None]))


def test_ids_that_people_have_are_taken():
    problem = al.AlignmentProblem(np.eye(len(CLEAR)), 1, client_ids=CLEAR, expert_ids=CLEAR)
    assert problem.client_ids == problem.expert_ids == tuple(CLEAR)
    numbers = al.AlignmentProblem(np.eye(3), 1, client_ids=np.arange(3), expert_ids=[1, 2.5, True])
    assert numbers.client_ids == ("0", "1", "2")
    assert numbers.expert_ids == ("1", "2.5", "True")


@given(st.lists(st.text(st.characters(categories=["L", "M", "N", "P", "S"]), min_size=1),
                unique=True))
def test_what_is_done_with_at_once_is_what_one_by_one_accepts(ids):
    """A list with a line break inside an id is looked at id by id."""
    slow = first_fault([*ids, "line\nbreak"])
    assert first_fault(ids) == slow


def test_long_ids_are_cut():
    assert len(refused(["x" * 100_000 + " ", "x" * 100_000])) < 250


# -- files -------------------------------------------------------------------------------


def written(path, clients):
    """Write a table with a row per client in the format of the suffix."""
    columns = {"client": clients, "expert": ["x"] * len(clients), "fitness": [1.0] * len(clients)}
    write_columns(path, columns)


def write_columns(path, columns):
    """Write a table in the format of the suffix."""
    if path.suffix.lower() == ".parquet":
        arrow = pytest.importorskip("pyarrow")
        pytest.importorskip("pyarrow.parquet").write_table(arrow.table(columns), path)
        return
    rows = zip(*columns.values(), strict=True)
    delimiter = "\t" if path.suffix == ".tsv" else ","
    quoted = [delimiter.join(f'"{cell}"' for cell in row) for row in [tuple(columns), *rows]]
    path.write_bytes(("\n".join(quoted) + "\n").encode())


PAIRS = [("anna", "anna "), ("an\u00adna", "anna"), ("Zo\u00eb", "Zoe\u0308"), ("b", "\u00a0b")]


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".parquet"])
@pytest.mark.parametrize("pair", PAIRS, ids=ascii)
def test_tables(suffix, pair, tmp_path):
    path = tmp_path / f"s{suffix}"
    written(path, list(pair))
    with pytest.raises(al.ProblemError) as caught:
        io.read_instance(path)
    assert all(escaped(text) in str(caught.value) for text in pair)
    assert str(caught.value).startswith(f"{path}:")
    # Beside a table of clients that writes it in another way.
    written(path, [pair[1]])
    write_columns(tmp_path / f"s.clients{suffix}", {"client": [pair[0]], "max_experts": [1]})
    with pytest.raises(al.ProblemError) as caught:
        io.read_instance(path)
    assert all(escaped(text) in str(caught.value) for text in pair)


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".parquet"])
def test_empty_ids_in_tables(suffix, tmp_path):
    path = tmp_path / f"s{suffix}"
    written(path, ["a", ""])
    with pytest.raises(al.ProblemError, match=r":[23]: client '' is empty"):
        io.read_instance(path)


@pytest.mark.parametrize("suffix", [".json", ".npz"])
@pytest.mark.parametrize("pair", PAIRS, ids=ascii)
def test_native_files(suffix, pair, tmp_path):
    path = tmp_path / f"p{suffix}"
    io.write_instance(al.AlignmentProblem(np.eye(2), 1, client_ids=["first", "2nd"]), path)
    first, second = (json.dumps(text) for text in pair)
    data = path.read_bytes()
    if suffix == ".npz":
        with np.load(path) as archive:
            arrays = dict(archive)
        arrays["client_ids"] = np.frombuffer(f"[{first}, {second}]".encode(), np.uint8)
        np.savez(path, **arrays)
    else:
        path.write_bytes(data.replace(b'"first"', first.encode()).replace(
            b'"2nd"', second.encode()))
    with pytest.raises(al.ProblemError) as caught:
        io.read_instance(path)
    assert all(escaped(text) in str(caught.value) for text in pair)


# -- the aligner -------------------------------------------------------------------------


@pytest.mark.parametrize("pair", PAIRS, ids=ascii)
def test_clients_of_an_aligner(pair):
    plain = pair[1] if pair[0] == "an\u00adna" else pair[0]
    odd = next(text for text in pair if text != plain)
    aligner = al.Aligner(1)
    with pytest.raises(al.ProblemError, match="client '"):
        aligner.plan([plain, odd])
    aligner = al.Aligner(1)
    plan = aligner.plan([plain])
    with pytest.raises(al.ProblemError) as caught:
        aligner.declare(odd, max_experts=1)
    assert escaped(odd) in str(caught.value)
    assert escaped(plain) in str(caught.value)
    with pytest.raises(al.ProblemError, match="client '"):
        plan.experts_of(odd)
    (refusal,) = aligner.observe(plan, [al.ClientReport(odd, 1, 1, 1.0)]).refused
    assert escaped(odd) in refusal.reason
    assert escaped(plain) in refusal.reason


def test_empty_ids_are_no_clients_of_an_aligner():
    with pytest.raises(al.ProblemError, match="client '' is empty"):
        al.Aligner(1).plan([""])
