"""The rows that backends share, with numbers worked out by hand."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar

import alignsolve as al
from alignsolve.model.arguments import LARGEST_SUM, LARGEST_TARGET
from alignsolve.model.arrays import concatenated_ranges
from alignsolve.model.problem import tolerance
from alignsolve.standard_form import (
    ROUNDING,
    CouplingConstraints,
    Margin,
    best_load,
    client_sums,
    penalty_step,
)


def problem(**more):
    return al.AlignmentProblem(
        [[3, -np.inf], [2, 5], [1, 4]], 2, load_min=[0.5, 1], load_max=[2.7, np.inf],
        loads={
            "samples": al.Load([10, 20, 30], min=[15, 0], max=[np.inf, 50], penalty=[2, 0],
                               target=[7, 0]),
            "idle": al.Load([1, 1, 1]),
        },
        resources={"mb": al.Resource([[1, 2], [3, 4], [5, 6]], [4, np.inf, 2000]),
                   "free": al.Resource([1, 1], np.inf)},
        client_fitness_min=[-np.inf, 2, -1], **more,
    )  # fmt: skip


def test_margins_by_hand():
    bounds = np.array([0.0, 3.0, -5000.0, np.inf])
    # The tolerance is 1e-9, relative above 1.
    np.testing.assert_allclose(
        Margin.INWARD.moved(bounds, 1) - bounds, [0.5e-9, 1.5e-9, 2.5e-6, np.nan], rtol=1e-3
    )
    np.testing.assert_allclose(
        bounds[:3] - Margin.OUTWARD.moved(bounds, -1)[:3], [1e-9, 3e-9, 5e-6], rtol=2e-3
    )
    assert (Margin.INWARD.moved(bounds, 1)[3], Margin.OUTWARD.moved(-bounds, -1)[3]) == (
        np.inf, -np.inf
    )  # fmt: skip
    # What keeps the inward bound is feasible with room for rounding; outward, none is lost.
    for bound in (0.0, 1e-3, 7.0, 1e9):
        assert bound < Margin.INWARD.moved(bound, 1) < bound + 0.6 * tolerance(bound)
        assert bound + tolerance(bound) <= Margin.OUTWARD.moved(bound, 1)
        assert Margin.OUTWARD.moved(bound, 1) < bound + 2 * tolerance(bound)


@pytest.mark.parametrize("margin", list(Margin))
def test_loads_that_matter_are_stacked(margin):
    loads = CouplingConstraints.of(problem(), margin)
    assert loads.names == ("", "samples")
    assert loads.is_count.tolist() == [True, False]
    assert loads.weight.tolist() == [[1, 1, 1], [10, 20, 30]]
    assert loads.low[0].tolist() == [1, 1]
    assert loads.high[0].tolist() == [2, 3]
    assert loads.low[1].tolist() == margin.moved([15, 0], -1).tolist()
    assert loads.high[1].tolist() == margin.moved([np.inf, 50], 1).tolist()
    assert (loads.slope.tolist(), loads.target.tolist()) == ([[0, 0], [2, 0]], [[3, 3], [7, 0]])
    reachable = loads.reachable()
    assert reachable.low[1].tolist() == [loads.low[1, 0], 0]
    assert reachable.high[1].tolist() == [60 * (1 + ROUNDING), loads.high[1, 1]]
    assert reachable.high[0].tolist() == [2, 3]


def test_holders_are_left_out_where_nothing_binds_them():
    free = al.AlignmentProblem([[1.0, 2.0]], 1)
    assert CouplingConstraints.of(free, Margin.INWARD).names == ()
    assert CouplingConstraints.of(free, Margin.INWARD, all_holders=True).names == ("",)


@pytest.mark.parametrize("margin", list(Margin))
@pytest.mark.parametrize("most", [-np.inf, [-np.inf, 5]])
def test_a_bound_that_nothing_keeps_stays_so(margin, most):
    load = al.Load(1.0, min=0, max=most)
    never = al.AlignmentProblem(np.ones((4, 2)), 1, loads={"samples": load})
    loads = CouplingConstraints.of(never, margin)
    assert loads.names == ("samples",)
    assert loads.high[0, 0] == -np.inf
    assert al.solve(never, backend="lagrangian").status is al.Status.INFEASIBLE


def test_sums_of_clients():
    budget, floor = client_sums(problem(), Margin.INWARD)
    assert (budget.name, floor.name) == ("mb", "")
    assert budget.high.tolist() == Margin.INWARD.moved([4, np.inf, 2000], 1).tolist()
    assert (budget.low == -np.inf).all()
    assert budget.entries(slice(1, 3)).tolist() == [[3, 4], [5, 6]]
    assert floor.low.tolist() == Margin.INWARD.moved([-np.inf, 2, -1], -1).tolist()
    assert (floor.high == np.inf).all()
    assert floor.entries(np.array([0, 2])).tolist() == [[3, 0], [1, 4]]


@pytest.mark.parametrize(("price", "slope", "target"), [(3, 2, 1), (-1, 0.5, 4), (0, 1, 2)])
def test_the_best_load_maximises(price, slope, target):
    found = minimize_scalar(
        lambda load: slope * (load - target) ** 2 - price * load, bounds=(0.5, 3), method="bounded"
    )
    got = best_load(*(np.array([float(part)]) for part in (price, slope, target, 0.5, 3)))
    assert got[0] == pytest.approx(found.x, abs=1e-4)


def test_the_best_load_without_a_penalty_is_at_an_end():
    zero = np.zeros(2)
    assert best_load(np.array([1.0, -1.0]), zero, zero, zero, zero + 5).tolist() == [5, 0]


def test_steps_of_a_penalty_add_up_to_it():
    slope, target = np.array([0.5, 2.0]), np.array([3.5, 7.0])
    for step in range(4):
        rise = slope * ((step + 1 - target) ** 2 - (step - target) ** 2)
        assert penalty_step(slope, target, np.array([step, step])).tolist() == rise.tolist()
    # Expanded: the squares of 2**40 would lose the last digit.
    assert penalty_step(np.ones(1), np.zeros(1), np.array([2**40])).tolist() == [2**41 + 1]


def test_ranges_one_after_the_other():
    number, which = concatenated_ranges(np.array([3, 5, 0, 9]), np.array([5, 5, 2, 4]))
    assert number.tolist() == [3, 4, 0, 1]
    assert which.tolist() == [0, 0, 2, 2]


def test_bounds_as_stated():
    stated = CouplingConstraints.of(problem(), Margin.NONE)
    assert stated.low[1].tolist() == [15, 0] and stated.high[1].tolist() == [np.inf, 50]
    budget, floor = client_sums(problem(), Margin.NONE)
    assert budget.high.tolist() == [4, np.inf, 2000]
    assert floor.low.tolist() == [-np.inf, 2, -1]
    pairs = np.array([0, 2]), np.array([0, 1])
    assert budget.entries(pairs).tolist() == [1, 6]
    assert floor.entries(pairs).tolist() == [3, 4]


@pytest.mark.parametrize("slope", [0.0, 0.3])
def test_compiled_twins_agree(slope):
    pytest.importorskip("numba")
    from alignsolve.backends.exchange import bookkeeping, paths
    from alignsolve.backends.lagrangian import best_response_kernels as kernels

    rng = np.random.default_rng(0)
    low = rng.integers(0, 5, 40)
    high, target, price = low + rng.integers(0, 6, 40), rng.uniform(0, 9, 40), rng.normal(size=40)
    weight = np.full(40, slope)
    load, best = rng.integers(0, 12, 40), np.empty(40, np.int64)

    def wanted(price):
        return best_load(price, weight, target, low, high)

    bookkeeping.wanted_loads.py_func(price, load, (low, high, weight, target), best)
    assert np.abs(best - wanted(price)).max() <= 0.5

    step = [paths.penalty_step.py_func(j, load[j], True, weight, target) for j in range(40)]
    back = [paths.penalty_step.py_func(j, load[j], False, weight, target) for j in range(40)]
    np.testing.assert_allclose(step, penalty_step(weight, target, load))
    np.testing.assert_allclose(back, -penalty_step(weight, target, load - 1))

    # Demand falls by 2 with the price: it meets the best load, or lies within bounds at 0.
    demand, new = rng.uniform(-4, 16, 40), price.copy()
    kernels.clearing_prices.py_func(2 * np.eye(40), demand, low, high, weight, target, new)
    jumps = (slope == 0) & (np.abs(new) < 1e-12)
    left = demand - 2 * (new - price)
    np.testing.assert_allclose(left, np.where(jumps, np.clip(left, low, high), wanted(new)),
                               atol=1e-9)

    bounds = zip(price, low, high, weight, target, strict=True)
    new = np.array([kernels._less_supply.py_func(p, 0.1, *rest) for p, *rest in bounds])
    sold = (price - new) / 0.1
    jumps = (slope == 0) & (new == 0)
    np.testing.assert_allclose(sold, np.where(jumps, np.clip(sold, low, high), wanted(new)),
                               atol=1e-9)


@settings(max_examples=300)
@given(st.floats(1e-3, 1e3), st.floats(-LARGEST_TARGET, LARGEST_TARGET), st.integers(0, 10**6))
@example(0.1, LARGEST_TARGET, 0)
def test_steps_rise_up_to_the_largest_target(slope, target, load):
    assert penalty_step(slope, target, load) < penalty_step(slope, target, load + 1)


@pytest.mark.parametrize("target", [LARGEST_TARGET, -LARGEST_TARGET])
def test_far_targets_still_balance(target):
    fitness = np.array([[4, 3, 2, 1, 0, 1], [1, 1, 1, 1, 0, 0], [0, 1, 0, 1, 0, 1]]).T
    far = al.AlignmentProblem(fitness, 1, min_experts=1, load_penalty=3.7, load_target=target)
    result = al.solve(far)
    assert result.status is al.Status.OPTIMAL
    assert np.bincount(result.col_ind).tolist() == [2, 2, 2]


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("target", [2.0, LARGEST_TARGET])
def test_the_largest_penalties_are_certified(target):
    fitness, most = np.arange(18.0).reshape(6, 3) % 5, LARGEST_SUM / 3 / (target + 6) ** 2
    steep = al.AlignmentProblem(fitness, 1, min_experts=1, load_penalty=most, load_target=target)
    answer = np.arange(6), np.arange(6) % 3
    assert al.certify(steep, *answer).dual_bound < np.inf
    assert np.bincount(al.solve(steep).col_ind).tolist() == [2, 2, 2]
