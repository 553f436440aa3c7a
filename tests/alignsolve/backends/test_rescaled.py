"""Problems of tiny or huge values are solved with others; all that is said is of theirs."""

import numpy as np
import pytest

import alignsolve as al
from alignsolve.backends.rescaled import solve_rescaled
from alignsolve.progress import Reporter
from alignsolve.status import Limits, Outcome


@pytest.mark.parametrize("power", [-900, 900])
def test_values_bounds_prices_and_reports_are_those_of_the_caller(power):
    unit, seen = 2.0**power, []
    problem = al.AlignmentProblem(np.array([[3.0, 1.0], [2.0, 4.0]]) * unit, 1)

    def solve(moved, limits):
        # The largest value, 4, is in range.
        scale = float(moved.fitness[1, 1]) / 4.0
        assert 1e-70 < scale < 1e70
        np.testing.assert_array_equal(moved.fitness, np.array([[3.0, 1.0], [2.0, 4.0]]) * scale)
        limits.report(7.0 * scale, 8.0 * scale)
        return Outcome(al.Termination.PROVED, np.array([0, 1]), np.array([0, 1]),
                       bound=7.0 * scale, prices=np.array([1.0, 0.5]) * scale)

    reporter = Reporter(problem, seen.append, 0.0)
    found = solve_rescaled(solve, problem, Limits(report=reporter))
    assert found.bound == 7.0 * unit
    assert found.prices.tolist() == [1.0 * unit, 0.5 * unit]
    assert (seen[0].objective_value, seen[0].dual_bound) == (7.0 * unit, 8.0 * unit)
