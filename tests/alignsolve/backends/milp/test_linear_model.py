"""The linear model, its scalings and its cuts: nothing feasible is lost, little is admitted."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings

import alignsolve as al
from alignsolve.backends.milp.exact_cuts import exact_cuts
from alignsolve.backends.milp.float_scaling import scaled_model
from alignsolve.backends.milp.integer_scaling import integer_model
from alignsolve.backends.milp.linear_model import LinearModel, build_linear_model
from alignsolve.backends.milp.linear_solve import (
    ModelOutcome,
    modelled_penalties,
    simple_bound,
    solve_linear,
)
from alignsolve.backends.row_units import last_digit, row_units
from alignsolve.model.feasibility import is_feasible
from alignsolve.status import Limits
from tests.nasty import magnitude, nasty_problem
from tests.strategies import any_problems, brute_force

Pairs = tuple[np.ndarray, np.ndarray]


def answers(model: LinearModel) -> Iterator[Pairs]:
    """Yield every choice among the pairs of a model."""
    for code in range(1 << model.n_pairs):
        chosen = (code >> np.arange(model.n_pairs)) & 1 > 0
        yield model.clients[chosen], model.experts[chosen]


def keeps_rows(model: LinearModel, point: np.ndarray) -> bool:
    """Tell whether a point keeps the rows within their slack, and the columns' bounds."""
    activity = model.matrix @ point
    room = model.row_slack + 1e-12 * (abs(model.matrix) @ np.abs(point))
    return bool(
        (activity >= model.row_lower - room).all()
        and (activity <= model.row_upper + room).all()
        and (point >= model.lower - 1e-12 * np.abs(point)).all()
        and (point <= model.upper).all()
    )


@settings(max_examples=60)
@given(any_problems(max_pairs=8))
def test_points_of_the_model_are_the_feasible_answers(problem: al.AlignmentProblem) -> None:
    model = build_linear_model(problem)
    found = 0
    for rows, cols in answers(model):
        point = model.point(problem, rows, cols)
        feasible = is_feasible(problem, rows, cols)
        found += feasible
        assert keeps_rows(model, point) == feasible
        if feasible:
            value = float(model.objective @ point)
            true = problem.sign * problem.objective(rows, cols)
            assert value == pytest.approx(true, rel=1e-9, abs=1e-9)
    # No feasible answer holds a pair that the model leaves out.
    assert (found > 0) == (brute_force(problem)[0] is not None)


@settings(max_examples=40)
@given(any_problems(max_pairs=8))
def test_pieces_bound_penalties_from_below(problem: al.AlignmentProblem) -> None:
    few = build_linear_model(problem)
    for rows, cols in answers(few):
        if not few.penalties or not is_feasible(problem, rows, cols):
            continue
        point = few.point(problem, rows, cols)
        for group in few.penalties:
            seen = modelled_penalties(few, group, point[group.load_columns])
            true = point[group.penalty_columns]
            assert (seen <= true + 1e-9 * (1 + true)).all()
            if group.is_count:
                assert seen == pytest.approx(true, rel=1e-9, abs=1e-9)


def test_wide_holder_penalties_start_with_few_pieces() -> None:
    problem = al.AlignmentProblem(np.ones((500, 2)), 1, load_penalty=0.5, load_target=100.25)
    few = build_linear_model(problem)
    full = build_linear_model(problem, all_holder_pieces=True)
    assert few.n_rows < 500 + 2 + 2 * 20
    assert full.n_rows == 500 + 2 + 2 * 500
    for count in (0, 57, 100, 101, 499):
        for model, exact in ((few, count in (100, 101)), (full, True)):
            seen = modelled_penalties(model, model.penalties[0], np.array([count, 0.0]))
            true = 0.5 * (np.array([count, 0]) - 100.25) ** 2
            assert (seen <= true + 1e-9 * true).all()
            assert not exact or seen[0] == pytest.approx(true[0], rel=1e-12)


def test_impossible_pairs_and_idle_rows_are_left_out() -> None:
    problem = al.AlignmentProblem(
        [[1, -np.inf, 2], [3, 4, 5]],
        max_experts=[3, 1],
        load_max=2,
        resources={"memory_mb": al.Resource([1, 1, 9], [8, 20])},
        loads={"samples": al.Load([5, 1], max=[4, 9, 9])},
    )
    model = build_linear_model(problem)
    assert list(zip(model.clients.tolist(), model.experts.tolist(), strict=True)) == [
        (1, 0), (1, 1), (1, 2),
    ]
    assert [(block.kind, block.keys.tolist()) for block in model.blocks] == [("slots", [1])]
    assert model.column_names() == ["x_1_0", "x_1_1", "x_1_2"]


def test_rows_speak_of_their_client_expert_and_group() -> None:
    problem = al.AlignmentProblem(
        np.ones((2, 3)), 2, load_max=1, expert_group=[0, 0, 1], group_max=[1, 1],
        resources={"memory_mb": al.Resource([1, 2, 3], 3)}, client_fitness_min=[0.5, -np.inf],
    )
    blocks = [(b.kind, b.name, b.keys.tolist()) for b in build_linear_model(problem).blocks]
    assert blocks == [
        ("slots", "", [0, 1]),
        ("holders", "", [0, 1, 2]),
        ("group", "", [0, 2]),
        ("resource", "memory_mb", [0, 1]),
        ("fairness", "", [0]),
    ]


def test_a_sum_that_meets_its_budget_fits() -> None:
    problem = al.AlignmentProblem(
        [[1.0, 1.0]], 2, resources={"a": al.Resource([0.1, 0.2], 0.3 - 1e-17)},
        client_fitness_min=[0.0],
    )
    model = build_linear_model(problem)
    # 0.1 + 0.2 is more than 0.3 as floats, but the row cannot bind: it is left out.
    assert model.n_rows == 0
    tight = al.AlignmentProblem([[1.0] * 3], 3, resources={"a": al.Resource([0.1, 0.2, 0.1], 0.3)})
    scaled = scaled_model(build_linear_model(tight))
    assert scaled.matrix.toarray().tolist() == [[1, 2, 1]]
    assert scaled.row_upper.tolist() == [3]


@pytest.mark.parametrize(
    ("row", "whole", "per_unit"),
    [
        ([3.0, 6.0, 0.0], [1, 2, 0], 1 / 3),
        ([0.1, 0.25, 1.0], [2, 5, 20], 20),
        ([1e12, 3e12], [1, 3], 1e-12),
        ([1e20, 3e20], [1, 3], 1e-20),
        ([3 * 2.0**70, 2.0**70], [3, 1], 2.0**-70),
        ([-0.5, 0.75], [-2, 3], 4),
        ([1 / 3, 1.0], [0, 0], 0),
        ([float(np.float32(0.1)), 0.5], [13421773, 67108864], 2.0**27),
        ([1e-12, 2e-12], [1, 2], 1e12),
        ([1e-30, 1.0], [0, 0], 0),
    ],
)
def test_row_units(row: list[float], whole: list[int], per_unit: float) -> None:
    found, units = row_units(np.array(row), np.array([0, len(row)]))
    assert found.tolist() == whole
    assert units[0] == pytest.approx(per_unit)


def test_the_last_digit_of_floats() -> None:
    values = np.array([1.0, -6.0, 0.75, 5e-324, 2.0**60 + 2.0**10, 0.1])
    assert last_digit(values).tolist() == [0, 1, -2, -1074, 10, -55]


def test_row_units_of_many_rows() -> None:
    data = np.array([0.5, 1 / 3, 2 / 3, 4.0, 6.0])
    whole, per_unit = row_units(data, np.array([0, 1, 1, 3, 5]))
    assert whole.tolist() == [1, 0, 0, 2, 3]
    assert per_unit == pytest.approx([2, 1, 0, 0.5])


def in_integer_model(model: LinearModel, point: np.ndarray) -> tuple[bool, float]:
    """Tell whether the integer model has an answer's point, and the bound it implies."""
    whole = integer_model(model)
    ints = whole.integers(whole.scaled(point))
    real = ~model.is_integer & (whole.upper > 0)
    steps = (point[real] - whole.shift[real]) / whole.step[real]
    ints[real] = np.clip(np.ceil(steps), 0, whole.upper[real])
    kept = True
    for row, (low, high) in enumerate(zip(whole.row_lower, whole.row_upper, strict=True)):
        entries = slice(whole.matrix.indptr[row], whole.matrix.indptr[row + 1])
        columns, data = whole.matrix.indices[entries], whole.matrix.data[entries]
        pairs = zip(data, ints[columns], strict=True)
        kept &= low <= sum(int(a) * int(b) for a, b in pairs) <= high
    value = sum(int(a) * int(b) for a, b in zip(whole.objective, ints, strict=True))
    return kept, whole.bound(value)


@pytest.mark.parametrize("seed", range(60))
def test_no_scaling_loses_a_feasible_answer(seed: int) -> None:
    problem = nasty_problem(seed)
    model = build_linear_model(problem)
    scaled, size = scaled_model(model), magnitude(problem)
    for rows, cols in list(answers(model))[:: max(1, (1 << model.n_pairs) // 64)]:
        if not is_feasible(problem, rows, cols):
            continue
        point = model.point(problem, rows, cols)
        inside, bound = in_integer_model(model, point)
        value = problem.objective(rows, cols)
        assert inside
        assert bound >= value - 1e-9 * size
        at = (point - scaled.shift) / scaled.step
        activity = scaled.matrix @ at
        room = 1e-12 * (abs(scaled.matrix) @ np.abs(at))
        assert (activity >= scaled.row_lower - room).all()
        assert (activity <= scaled.row_upper + room).all()
        assert scaled.bound(float(scaled.objective @ at)) >= value - 1e-9 * size


@pytest.mark.parametrize("seed", range(60))
def test_cuts_forbid_the_answer_and_no_feasible_one(seed: int) -> None:
    problem = nasty_problem(seed)
    model = build_linear_model(problem)
    every = list(answers(model))[:: max(1, (1 << model.n_pairs) // 64)]
    feasible = [model.point(problem, *pairs) for pairs in every if is_feasible(problem, *pairs)]
    for pairs in every:
        cuts = exact_cuts(problem, model, *pairs)
        if cuts is None:
            continue
        assert (cuts.matrix @ model.point(problem, *pairs) > cuts.upper).all()
        for point in feasible:
            assert (cuts.matrix @ point <= cuts.upper).all()


def test_cover_cuts_are_short_and_extended() -> None:
    problem = al.AlignmentProblem(
        [[1.0] * 5], 5, resources={"a": al.Resource([5, 4, 3, 5, 1], 8.5)}
    )
    model = build_linear_model(problem)
    cuts = exact_cuts(problem, model, np.zeros(3, dtype=np.int64), np.array([0, 1, 4]))
    assert cuts is not None
    # 5 + 4 is too much already, whatever else; and so is any two of 5, 4 and the other 5.
    assert cuts.matrix.toarray().tolist() == [[1, 1, 0, 1, 0]]
    assert cuts.upper.tolist() == [1]


@settings(max_examples=40)
@given(any_problems(max_pairs=8))
def test_simple_bound_holds(problem: al.AlignmentProblem) -> None:
    best = brute_force(problem)[0]
    if best is not None:
        assert simple_bound(problem) >= problem.sign * best - 1e-9 * (1 + abs(best))


def test_models_are_not_changed_by_scaling() -> None:
    model = build_linear_model(nasty_problem(3))
    before = [model.matrix.toarray(), model.row_lower.copy(), model.upper.copy()]
    scaled_model(model)
    integer_model(model)
    after = [model.matrix.toarray(), model.row_lower, model.upper]
    for old, new in zip(before, after, strict=True):
        assert np.array_equal(old, new)
    assert dataclasses.is_dataclass(model)


class Clueless:
    """A solver that knows a bound and finds nothing."""

    source = "nobody"

    def __init__(self):
        self.runs = 0

    def run(self, task):
        self.runs += 1
        return ModelOutcome(bound=5.0)

    def stop(self, interrupted):
        return False

    def so_far(self, task):
        return ModelOutcome()


def test_no_answer_reaches_no_gap():
    problem = al.AlignmentProblem(np.ones((3, 2)), 1, loads={"samples": al.Load(1, max=2)})
    answer = solve_linear(problem, Limits(rel_gap=0.5), Clueless())
    assert answer.row_ind is None and answer.termination is al.Termination.TIME_LIMIT


def test_repeatable_means_by_work():
    solver = Clueless()
    large = al.AlignmentProblem(np.ones((200, 50)), 1, loads={"samples": al.Load(1, max=9)})
    hint = np.array([3]), np.array([2])
    answer = solve_linear(large, Limits(repeatable=True, warm_start=hint), solver)
    assert answer.termination is al.Termination.WORK_LIMIT and solver.runs == 0
    assert answer.row_ind.tolist() == [3] and answer.bound == 200
    small = al.AlignmentProblem(np.ones((3, 2)), 1, loads={"samples": al.Load(1, max=2)})
    answer = solve_linear(small, Limits(repeatable=True), solver)
    assert answer.termination is al.Termination.WORK_LIMIT and solver.runs == 1


@pytest.mark.parametrize("backend", ["ortools-mip", "scipy-milp", "ortools-cpsat"])
def test_repeatable_small_problems_are_solved(backend):
    rng = np.random.default_rng(0)
    problem = al.AlignmentProblem(
        rng.random((12, 4)), 2, resources={"mb": al.Resource(rng.uniform(1, 2, 4), 3.0)},
        loads={"samples": al.Load(rng.integers(1, 9, 12), max=40)},
    )  # fmt: skip
    results = [al.solve(problem, backend, repeatable=again) for again in (False, True, True)]
    assert len({round(result.objective_value, 9) for result in results}) == 1
    assert np.array_equal(results[1].col_ind, results[2].col_ind)
