"""Matrices of either type are read by one compiled kernel."""

import numpy as np
import pytest

from alignsolve.certificate.row_pass_kernels import regret_rows, regret_sums
from alignsolve.kernels import compiled, costs
from alignsolve.kernels.values import by_type, entry, read_row


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_rows_of_either_type_are_read_exactly(dtype):
    values = np.array([[0.1, -np.inf, 3.0], [np.nan, 1e30, -2.0]]).astype(dtype)
    pair, out = by_type(values), np.empty(3)
    for i in range(2):
        read_row.py_func(pair, i, out)
        np.testing.assert_array_equal(out, values[i].astype(np.float64))
    assert entry.py_func(pair, 1, 2) == -2.0
    assert not any(part.flags.writeable for part in pair)
    assert values.flags.writeable


@pytest.mark.skipif(costs.jit_is_disabled(), reason="nothing is compiled")
def test_one_compiled_kernel_reads_both_types():
    ends, cols, slots = np.arange(3), np.array([0, 1]), np.ones(2, np.int64)
    before = len(regret_rows.dispatcher.overloads)  # other tests hand it read-only arrays
    with compiled():
        for dtype in (np.float32, np.float64):
            values = np.array([[1.0, 3.0], [2.0, 0.5]]).astype(dtype)
            assert regret_sums(values, np.zeros(2), ends, cols, slots) == (3.5, 2.0)
    assert len(regret_rows.dispatcher.overloads) <= before + 1
