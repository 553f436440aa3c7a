"""How close the values of a row are, and what is common to them."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import alignsolve as al
from alignsolve.certificate.numbers import CLOSE, has_close_values
from alignsolve.model.offsets import LARGE, has_large_offsets, least_step


def test_least_step():
    """A step is between values of one row; equal ones and forbidden pairs make none."""
    values = np.array([[3.0, 1.0, 3.0], [-np.inf, 8.0, 8.0], [-np.inf, -np.inf, 2.5]])
    assert least_step(values) == 2.0
    assert least_step(values[1:]) == np.inf
    assert least_step(np.full((2, 2), -np.inf)) == np.inf


@given(hnp.arrays(np.float64, (3, 4), elements=st.floats(-8, 8)), hnp.arrays(np.int8, (3, 1)))
def test_a_look_at_a_few_clients_agrees(values, exponents):
    """Their offsets are large, or differences close, exactly where the definitions say so."""
    values = values + 2.0 ** (exponents % 40)
    problem = al.AlignmentProblem(values, 1)
    top = values.max(axis=1, keepdims=True)
    below = np.where(values < top, values, -np.inf).max(axis=1, keepdims=True)
    large = np.isfinite(below) & (np.abs(top) / LARGE > top - below)
    assert has_large_offsets(problem, slice(0, 3)) == large.any()
    steps = np.abs(values[:, :, None] - values[:, None])
    spread = np.ptp(values, axis=1).max()
    assert has_close_values(problem) == (steps[steps > 0] < CLOSE * spread).any()
