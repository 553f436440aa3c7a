"""Steps of prices against what they are to solve, with numbers worked out by hand."""

import numpy as np
import pytest

from alignsolve.backends.exchange.paths import penalty_step
from alignsolve.backends.lagrangian import best_response_kernels as kernels
from alignsolve.standard_form import best_load
from alignsolve.standard_form import penalty_step as plain_step


def plain(kernel):
    """Return a kernel as plain Python: nothing has to be compiled for so few numbers."""
    return getattr(kernel, "py_func", kernel)


@pytest.mark.parametrize(("load", "expected"), [
    (2.0, 1.0 + 0.5), (3.0, 1.5 + 2.0), (1.0, 0.5), (4.0, 2.0 + 4.5 + 10 + 0.5 * 3 * 1),
    (0.0, 0.5 + 10 + 0.5 * 3 * 1), (6.0, 3.0 + 12.5 + 10 + 0.5 * 3 * 9),
])
def test_what_a_load_costs(load, expected):
    # Price 0.5, penalty (load - 1)^2 / 2, bounds 1 to 3; out of them 10, and 3 / 2 of the square.
    found = plain(kernels._cost)(load, 0.5, 1.0, 3.0, 0.5, 1.0, 10.0, 3.0)
    assert found == pytest.approx(expected)


@pytest.mark.parametrize("price", [-9.0, -1.5, -0.2, 0.0, 0.3, 1.0, 4.0, 20.0])
@pytest.mark.parametrize("slope", [0.0, 0.25, 2.0])
def test_a_step_against_supply_ends_where_supply_is_best(price, slope):
    step, low, high, target = 0.5, 1.0, 4.0, 2.0
    new = plain(kernels._less_supply)(price, step, low, high, slope, target)
    if slope == 0 and new == 0:  # any supply is best then: one of them leads here
        assert low <= (price - new) / step <= high
        return
    load = best_load(np.array(new), np.array(slope), np.array(target), np.array(low),
                     np.array(high))
    assert new == pytest.approx(price - step * float(load), abs=1e-12)


def test_markets_clear_one_by_one():
    matrix = np.array([[2.0, 0.5], [0.5, 1.0]])
    demand, low, high = np.array([5.0, 3.0]), np.array([0.0, 1.0]), np.array([2.0, 4.0])
    slope, target = np.zeros(2), np.zeros(2)
    price = np.zeros(2)
    saved = plain(kernels.clearing_prices)(matrix, demand, low, high, slope, target, price)
    # Of 5 the first takes 2 at a price of 1.5, at which the second has 2.25, and takes it.
    np.testing.assert_allclose(price, [1.5, 0.0], atol=1e-12)
    assert saved == pytest.approx(0.5 * (5 + 2) * 1.5)
    price = np.zeros(2)
    plain(kernels.clearing_prices)(matrix, np.array([5.0, 0.25]), low, high, slope, target, price)
    left = np.array([5.0, 0.25]) - matrix @ price
    np.testing.assert_allclose(left, [2, 1], rtol=1e-2)  # the second is short, and is paid for it
    assert price[1] < 0 < price[0]


@pytest.mark.parametrize(("demand", "price"), [
    (6.0, 2.0),   # 6 - 2 p = 1 + p / 2 at a load of 2
    (30.0, 13.0), (-5.0, -2.5),  # held at the bounds 4 and 0
])
def test_markets_clear_along_penalties(demand, price):
    found = np.zeros(1)
    plain(kernels.clearing_prices)(np.array([[2.0]]), np.array([demand]), np.array([0.0]),
                                   np.array([4.0]), np.array([1.0]), np.array([1.0]), found)
    assert found[0] == pytest.approx(price)
    assert found[0] == pytest.approx((demand - float(best_load(
        found, np.ones(1), np.ones(1), np.zeros(1), np.full(1, 4.0))[0])) / 2.0)


@pytest.mark.parametrize("load", [0, 1, 2, 5])
@pytest.mark.parametrize(("slope", "target"), [(0.0, 3.0), (0.5, 1.5), (2.0, -1.0)])
def test_penalties_change_by_one_holder_as_their_squares_do(load, slope, target):
    def penalty(at):
        return slope * (at - target) ** 2

    args = (np.array([slope]), np.array([target]))
    assert plain(penalty_step)(0, load, True, *args) == penalty(load + 1) - penalty(load)
    assert plain(penalty_step)(0, load, False, *args) == penalty(load - 1) - penalty(load)
    assert plain_step(*args, np.array([load]))[0] == penalty(load + 1) - penalty(load)
