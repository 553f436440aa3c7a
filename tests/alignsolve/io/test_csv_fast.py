"""CSV by pyarrow and polars: accepted, refused and read as Python's own reader does."""

from __future__ import annotations

import importlib.util
import math

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import alignsolve as al
from alignsolve import io
from alignsolve.io import csv_fast
from alignsolve.model.digest import problem_digest

LIBRARIES = [
    pytest.param(name, marks=pytest.mark.skipif(not importlib.util.find_spec(name),
                                                reason=f"needs {name}"))
    for name in ("pyarrow", "polars")
]
SMALLEST = csv_fast.LARGE


def outcome(path, monkeypatch, library):
    """Return the digest of what is read, or the message with which it is refused."""
    monkeypatch.setattr(csv_fast, "LARGE", math.inf if library is None else 0)
    monkeypatch.setattr(csv_fast, "_library", lambda: library)
    try:
        return problem_digest(io.read_instance(path))
    except al.ProblemError as error:
        return str(error)


NUMBERS = ["1", "-2.5", "+4", "1e3", ".5", "5.", "inf", "-inf", "Infinity", "1e400", "1e-400",
           "0.1", "123456789.123456789", "-0", "2.2250738585072011e-308",
           "4.9406564584124654e-324", "9007199254740993", "9007199254740992",
           "18446744073709551615", "nan", "-nan", "NaN", "x", "1_0", "0x10", "1d5", "1e", ".",
           "true", "NULL", "null", "NA", "1,5", "\u0661", " 3 ", "", " ", "\u00a01",
           "1\u2028"]  # fmt: skip
IDS = ["a", "b", "c", "1", "01", "NA", "null", "NULL", "nan", "\u00e4", "true", "2020-01-01",
       "x;y", "#c", "'q'", "0", "-", "a b", " a", "", "a\tb", "a\u2028b"]  # fmt: skip
WRAPS = ["{}", "{}", "{}", '"{}"', '"{}', '{}"', '"{}"x', ' "{}"', '"{}""q"', '"{}\nz"',
         '"{}\r\nz"']  # fmt: skip
BLANKS = ["", "", "", "\n", ",,\n", " \n", '""\n', "\r\n"]
ENDS = ["\n", "\n", "\r\n", "\r", "\n\r\n"]


@st.composite
def texts(draw):
    """Draw a table of which most cells are right."""
    of = st.sampled_from
    odd = draw(st.booleans())
    delimiter = draw(of([",", ";", "\t"]))
    end = draw(of(ENDS)) if odd else draw(of(ENDS[:3]))

    def cell(plain, others, wrap):
        if odd and draw(st.integers(0, 7)) == 0:
            return draw(of(WRAPS if wrap else WRAPS[:4])).format(draw(of(others)))
        return plain

    lines = [delimiter.join(["client", "expert", "fitness"])]
    for at in range(draw(st.integers(0, 6))):
        number = draw(of(NUMBERS[:16])) if odd else repr(draw(st.floats(allow_nan=False)))
        row = [cell(f"c{at // 2}", IDS, True), cell(f"e{at % 2}", IDS, True),
               cell(number, NUMBERS, False)]  # fmt: skip
        if odd and draw(st.integers(0, 9)) == 0:
            row = row[:-1] if draw(st.booleans()) else [*row, "1"]
        lines.append(delimiter.join(row))
    text = ""
    for line in lines:
        text += (draw(of(BLANKS)) if odd else "") + line + end
    return text if draw(st.booleans()) else text.rstrip("\r\n")


@pytest.mark.parametrize("library", LIBRARIES)
@settings(max_examples=250)
@given(text=texts())
@example(text="client,expert,fitness\n\na,x,1\n\n,,\nb,y,z\n")
@example(text='client,expert,fitness\na,x,1\n"b\nc",x,2\n"d",x,no\n')
@example(text='client,expert,fitness\n"a",x,1\n"a",x,2\n')
@example(text="client,expert,fitness\na,x,9007199254740993\na,y,-9007199254740993\n")
@example(text="client,expert\n,\n")
@example(text="client,expert,fitness\n\ufeffa,x,1\n")
@example(text="fitness,client,expert\n\ufeff1,a,x\n")
@example(text="client,expert,fitness\n" + "a" * 131073 + ",x,1\n")
@example(text='client,expert,fitness\n"' + "a\n" * 70000 + '",x,1\n')
@example(text="client,expert,fitness\na,x," + "1" + "0" * 131073 + "\n")
def test_all_readers_are_one(text, library, tmp_path_factory):
    path = tmp_path_factory.mktemp("csv") / "t.csv"
    path.write_bytes(text.encode())
    with pytest.MonkeyPatch.context() as patch:
        expected = outcome(path, patch, None)
        assert outcome(path, patch, library) == expected


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("quote", ["", '"'])
def test_a_plain_table_is_read_by_the_library(library, quote):
    rng = np.random.default_rng(0)
    values = rng.standard_normal(20_000)
    rows = "".join(f"{quote}c{at % 997}{quote};e{at % 5};{value!r}\r\n"
                   for at, value in enumerate(values.tolist()))
    data = b"head\n" + (rows * 4).encode()
    names = ["client", "expert", "fitness"]
    assert len(data) > SMALLEST
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(csv_fast, "_library", lambda: library)
        found = csv_fast.read_rows(data, 5, ";", names, names[:2], names)
    assert found is not None
    ids, numbers = found
    np.testing.assert_array_equal(numbers["fitness"], np.tile(values, 4))
    assert ids["client"].names == [f"c{at}" for at in range(997)]
    np.testing.assert_array_equal(ids["client"].codes, np.tile(np.arange(20_000) % 997, 4))
    assert ids["expert"].names == ["e0", "e1", "e2", "e3", "e4"]


def test_few_rows_import_nothing():
    names = ["client", "expert", "cost"]
    assert csv_fast.read_rows(b"a,x,1\n", 0, ",", names, ["client"], names) is None
