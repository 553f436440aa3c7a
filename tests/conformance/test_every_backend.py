"""Every backend, the same questions; what it declares decides which apply to it."""

from __future__ import annotations

import dataclasses
import importlib
import itertools
import time

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

import alignsolve as al
from alignsolve.backends import BACKEND_NAMES, get_backend
from tests.conformance.asking import (
    assert_sound,
    declared,
    exact_backends,
    examples,
    problems_for,
)
from tests.strategies import any_problems, brute_force

#: The module; `al.solve` is the function.
AUTO_ORDER = importlib.import_module("alignsolve.backends.portfolio").AUTO_ORDER


def solved_value(result: al.Result) -> tuple[str, float]:
    return result.status.value, round(result.objective_value, 9)


#: Seconds by which a time limit may be passed on a slow and busy machine.
PATIENCE = 15


@pytest.mark.parametrize("name", BACKEND_NAMES)
def test_the_optimum_of_any_problem(name: str) -> None:
    capabilities = declared(name)
    seen = {"optimal": 0, "infeasible": 0, "failed": 0}

    @settings(
        max_examples=examples(name),
        suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow],
    )
    @given(problems_for(name))
    def ask(problem: al.AlignmentProblem) -> None:
        refusal = get_backend(name).refusal(problem)
        if refusal is not None:
            with pytest.raises(al.UnsupportedProblemError, match=name):
                al.solve(problem, backend=name)
            return
        best, _, _ = brute_force(problem)
        try:
            result = al.solve(problem, backend=name)
        except al.BackendError:
            # A library may fail, if rarely and openly; `auto` must then answer.
            seen["failed"] += 1
            result = al.solve(problem)
        assert_sound(problem, result)
        if best is None:
            expected = al.Status.INFEASIBLE
            if not capabilities.proves_infeasibility:
                expected = al.Status.NO_SOLUTION_FOUND
            assert result.status is expected
            seen["infeasible"] += 1
            return
        slack = 1e-6 * max(1.0, abs(best))
        if not capabilities.exact:
            if result.has_answer:
                assert problem.sign * (best - result.objective_value) >= -slack
                assert problem.sign * (result.dual_bound - best) >= -slack
            return
        # A solver's own bound may be a rounding of its presolve off, of which nothing is known.
        rounded = problem.problem_class == "mip" and result.gap_abs <= 1e-9
        assert result.status is al.Status.OPTIMAL or rounded, result.summary()
        assert result.objective_value == pytest.approx(best, abs=slack)
        seen["optimal"] += 1

    ask()
    assert seen["failed"] <= examples(name) // 50
    if capabilities.exact:
        assert seen["optimal"] >= examples(name) // 20
        assert seen["infeasible"] >= examples(name) // 50


def times_power(problem: al.AlignmentProblem, power: int) -> al.AlignmentProblem:
    """Return a problem with fitness, costs and penalties times a power of two."""
    scaled = {name: np.ldexp(np.asarray(getattr(problem, name), np.float64), power)
              for name in ("fitness", "switch_cost", "load_penalty")}  # fmt: skip
    loads = {name: dataclasses.replace(load, penalty=np.ldexp(load.penalty, power))
             for name, load in problem.loads.items()}  # fmt: skip
    return problem.replace(loads=loads, **scaled)


@pytest.mark.parametrize("name", exact_backends())
def test_values_of_any_size(name: str) -> None:
    declared(name)

    @settings(
        max_examples=examples(name, 0.15),
        suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow],
    )
    @given(problems_for(name), st.sampled_from([-1000, -400, 400, 900]))
    def ask(problem: al.AlignmentProblem, power: int) -> None:
        assume(get_backend(name).refusal(problem) is None)
        # Floors hold within an absolute tolerance.
        assume(al.Feature.FAIRNESS not in problem.features)
        scaled = times_power(problem, power)
        refusal = get_backend(name).refusal(scaled)
        if refusal is not None:
            assert "takes values up to" in refusal
            return
        best, _, _ = brute_force(problem)
        result = al.solve(scaled, backend=name)
        if best is None:
            assert result.status is al.Status.INFEASIBLE
            return
        if problem.problem_class == "flow" or power < 0:
            assert result.status is al.Status.OPTIMAL, result.summary()
        found, bound = np.ldexp([result.objective_value, result.dual_bound], -power)
        slack = 1e-6 * max(1.0, abs(best), problem.largest)
        assert found == pytest.approx(best, abs=slack)
        assert problem.sign * (bound - best) >= -slack

    ask()


@pytest.mark.filterwarnings("error::RuntimeWarning")
@pytest.mark.parametrize("power", [-1000, 64, 199, 900])
@pytest.mark.parametrize("name", exact_backends())
def test_costs_floors_and_penalties_of_any_size(name: str, power: int) -> None:
    declared(name)
    cost = np.array([[9.0, 1, 8], [2, 7, 6], [5, 3, 4]])
    scale = 2.0**power
    # The ceiling binds where values are not tiny.
    problem = al.AlignmentProblem.from_cost(
        cost * scale, 2, min_experts=1, load_max=2, load_penalty=scale, switch_cost=scale,
        held=cost > 4, client_cost_max=6.5 * scale,
    )  # fmt: skip
    if get_backend(name).refusal(problem) is not None:
        return
    best, _, _ = brute_force(problem)
    result = al.solve(problem, backend=name)
    assert result.objective_value / scale == pytest.approx(best / scale, rel=1e-9)
    assert result.status is al.Status.OPTIMAL or power > 0


@settings(max_examples=150)
@given(any_problems())
def test_greedy_is_feasible_where_that_is_easy(problem: al.AlignmentProblem) -> None:
    best, _, _ = brute_force(problem)
    easy = problem.problem_class == "flow"
    if easy and best is not None:
        assert al.solve(problem, backend="greedy").has_answer


@settings(max_examples=90)
@given(any_problems())
def test_conflicts_hold_what_they_say(problem: al.AlignmentProblem) -> None:
    best, _, _ = brute_force(problem)
    assume(best is None)
    result = al.solve(problem)
    assert result.status is al.Status.INFEASIBLE
    assert result.conflict is not None
    check = al.check_conflict(problem, result.conflict)
    assert check.contradictory
    assert check.irreducible == result.conflict.irreducible


def wide(n: int = 24, m: int = 4, seed: int = 0, **changes: object) -> al.AlignmentProblem:
    """Return a problem that every backend supports."""
    rng = np.random.default_rng(seed)
    arguments: dict[str, object] = {
        "fitness": rng.integers(0, 100, (n, m)).astype(np.float64),
        "max_experts": 1,
        "min_experts": 1,
        "load_max": -(-n // m),
    }
    return al.AlignmentProblem(**(arguments | changes))  # type: ignore[arg-type]


@pytest.mark.parametrize("name", exact_backends())
class TestSameProblemSaidDifferently:
    """Changes of a problem with a known effect on its optimum."""

    def optimum(self, name: str, problem: al.AlignmentProblem) -> float:
        declared(name)
        result = al.solve(problem, backend=name)
        assert_sound(problem, result)
        assert result.status is al.Status.OPTIMAL, result.summary()
        return result.objective_value

    def test_order_of_clients_and_experts(self, name: str) -> None:
        problem = wide()
        rng = np.random.default_rng(1)
        moved = problem.fitness[rng.permutation(24)][:, rng.permutation(4)]
        assert self.optimum(name, problem) == self.optimum(name, wide(fitness=moved))

    def test_power_of_two(self, name: str) -> None:
        problem = wide()
        for scale in (2.0**-1074, 2.0**-1000, 2.0**-20, 2.0**20, 2.0**600):
            scaled = wide(fitness=problem.fitness * scale)
            if get_backend(name).refusal(scaled) is not None:
                with pytest.raises(al.UnsupportedProblemError, match="takes values up to"):
                    al.solve(scaled, backend=name)
                continue
            assert self.optimum(name, scaled) == scale * self.optimum(name, problem)

    def test_constant_per_client(self, name: str) -> None:
        problem = wide()
        shift = np.arange(24.0)[:, None] * 1000
        shifted = self.optimum(name, wide(fitness=problem.fitness + shift))
        assert shifted == self.optimum(name, problem) + shift.sum()

    def test_looser_bounds_never_hurt(self, name: str) -> None:
        values = [self.optimum(name, wide(load_max=most)) for most in (6, 7, 9, 24)]
        assert values == sorted(values)

    def test_costs_are_negated_fitness(self, name: str) -> None:
        problem = wide()
        cost = al.AlignmentProblem.from_cost(-problem.fitness, 1, min_experts=1, load_max=6)
        assert self.optimum(name, cost) == -self.optimum(name, problem)

    def test_precision_and_memory_layout(self, name: str) -> None:
        fitness = np.array(wide().fitness)
        expected = self.optimum(name, wide())
        padded = np.zeros((48, 8))
        padded[::2, ::2] = fitness
        for same in (
            fitness.astype(np.float32),
            np.asfortranarray(fitness),
            padded[::2, ::2],
        ):
            kept = same.copy()
            same.flags.writeable = False
            assert self.optimum(name, wide(fitness=same)) == expected
            np.testing.assert_array_equal(same, kept)

    @pytest.mark.parametrize("value", [0.0, 0.1, -3.0, 1e12])
    def test_all_equal(self, name: str, value: float) -> None:
        total = self.optimum(name, wide(fitness=np.full((24, 4), value)))
        assert total == pytest.approx(24 * value, rel=1e-12)

    @pytest.mark.parametrize("offset", [1e6, -1e6])
    def test_common_offset(self, name: str, offset: float) -> None:
        rng = np.random.default_rng(3)
        fitness = rng.integers(0, 1 << 20, (24, 4)) / (1 << 20)
        plain = self.optimum(name, wide(fitness=fitness))
        shifted = self.optimum(name, wide(fitness=fitness + offset))
        assert shifted == pytest.approx(plain + 24 * offset, rel=1e-12)

    def test_huge_and_tiny_values_in_one_matrix(self, name: str) -> None:
        rng = np.random.default_rng(4)
        fitness = 10.0 ** rng.integers(-12, 13, (12, 3))
        problem = wide(fitness=fitness, load_max=4)
        declared(name)
        reference = al.solve(problem, backend="scipy-lsa")
        assert reference.status is al.Status.OPTIMAL
        result = al.solve(problem, backend=name)
        assert_sound(problem, result)
        # Solvers with tolerances of their own may lose the tiny values, and must say so.
        assert result.gap <= 1e-9
        assert result.objective_value == pytest.approx(reference.objective_value, rel=1e-9)

    @pytest.mark.parametrize("shape", [(1, 1), (1, 5), (5, 1), (2, 7)])
    def test_narrow(self, name: str, shape: tuple[int, int]) -> None:
        problem = wide(*shape, load_max=shape[0])
        assert self.optimum(name, problem) == problem.fitness.max(axis=1).sum()

    def test_closed_clients_and_experts(self, name: str) -> None:
        slots = np.ones(24, dtype=int)
        slots[::3] = 0
        problem = wide(max_experts=slots, min_experts=0, load_max=[0, 24, 24, 0])
        best = problem.fitness[slots == 1][:, 1:3].max(axis=1).sum()
        assert self.optimum(name, problem) == best

    @pytest.mark.parametrize("shape", [(0, 3), (3, 0), (0, 0)])
    def test_nothing_to_assign(self, name: str, shape: tuple[int, int]) -> None:
        problem = al.AlignmentProblem(np.zeros(shape), 1)
        assert self.optimum(name, problem) == 0

    def test_warm_starts_change_nothing(self, name: str) -> None:
        problem = wide()
        good = al.solve(problem, backend=name)
        foreign = al.solve(wide(seed=9), backend=name)
        crowded = (np.arange(24), np.zeros(24, dtype=int))
        for start in (good, foreign, crowded, (np.empty(0, int), np.empty(0, int))):
            result = al.solve(problem, backend=name, warm_start=start)
            assert solved_value(result) == solved_value(good)

    def test_threads_and_seeds_change_nothing(self, name: str) -> None:
        declared(name)
        found = {
            solved_value(al.solve(wide(), backend=name, threads=threads, seed=seed))
            for threads, seed in itertools.product((1, 2), (0, 7))
        }
        assert len(found) == 1


@pytest.mark.parametrize("name", BACKEND_NAMES)
@pytest.mark.parametrize("limit", [0, 1e-3, 0.2])
def test_time_limits_are_kept(name: str, limit: float) -> None:
    capabilities = declared(name)
    problem = wide(400, 16, load_max=26)
    get_backend(name).refusal(problem)
    al.solve(wide(), backend=name)  # libraries load and kernels compile outside the limit
    started = time.perf_counter()
    result = al.solve(problem, backend=name, time_limit=limit)
    took = time.perf_counter() - started
    assert_sound(problem, result)
    if capabilities.interruptible:
        # Far more than the promise: the machine may be slow, and busy with other things.
        assert took <= limit + PATIENCE


@pytest.mark.parametrize("name", BACKEND_NAMES)
def test_capabilities_are_declared_in_full(name: str) -> None:
    capabilities = declared(name)
    backend = get_backend(name)
    assert backend.name == name
    assert all(isinstance(feature, al.Feature) for feature in capabilities.features)
    in_auto = any(name in order for order in AUTO_ORDER.values())
    if in_auto and not capabilities.interruptible:
        # `auto` must be able to tell that it does not fit a time limit.
        assert backend.estimated_seconds(wide()) >= 0
