"""Every backend, asked the same thing twice: changes with a known effect on the optimum."""

from __future__ import annotations

from typing import Any

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
from tests.conformance.changes import EQUIVALENT, build, looser
from tests.strategies import any_problems

SETTINGS = {"suppress_health_check": [HealthCheck.filter_too_much, HealthCheck.too_slow]}
SEEDS = st.integers(0, 2**16)


def supports(name: str, problem: al.AlignmentProblem) -> bool:
    return get_backend(name).refusal(problem) is None


def ask(name: str, problem: al.AlignmentProblem, **options: Any) -> al.Result:
    """Solve, and check that the answer is sound and the inputs are left alone."""
    arrays = {k: v for k, v in problem.arguments().items() if isinstance(v, np.ndarray)}
    before = {key: array.copy() for key, array in arrays.items()}
    result = al.solve(problem, backend=name, **options)
    assert_sound(problem, result)
    for key, array in arrays.items():
        np.testing.assert_array_equal(array, before[key], strict=True)
    return result


def close(value: float, expected: float, problem: al.AlignmentProblem) -> bool:
    """Compare objectives to the accuracy of the values that were added up."""
    finite = problem.fitness[np.isfinite(problem.fitness)]
    largest = max(float(np.abs(finite).max(initial=0)), abs(value), abs(expected))
    # A mip solver proves within 1e-6; prices prove within rounding.
    relative = 1e-12 if problem.problem_class == "flow" else 1e-6
    return abs(value - expected) <= relative * largest * max(1, problem.n_clients)


@pytest.mark.parametrize("change", sorted(EQUIVALENT))
@pytest.mark.parametrize("name", exact_backends())
def test_equivalent_problems(name: str, change: str) -> None:
    declared(name)

    @settings(max_examples=examples(name, 0.1), **SETTINGS)
    @given(problems_for(name), SEEDS)
    def compare(problem: al.AlignmentProblem, seed: int) -> None:
        changed, optimum = EQUIVALENT[change](problem, np.random.default_rng(seed))
        assume(supports(name, problem) and supports(name, changed))
        first, second = ask(name, problem), ask(name, changed)
        assert first.status is second.status
        if first.has_answer:
            assert close(second.objective_value, optimum(first.objective_value), changed)

    compare()


@pytest.mark.parametrize("name", exact_backends())
def test_a_looser_bound_never_hurts(name: str) -> None:
    declared(name)

    @settings(max_examples=examples(name, 0.2), **SETTINGS)
    @given(problems_for(name), SEEDS)
    def compare(problem: al.AlignmentProblem, seed: int) -> None:
        relaxed = looser(problem, np.random.default_rng(seed))
        assume(supports(name, problem) and supports(name, relaxed))
        first, second = ask(name, problem), ask(name, relaxed)
        if not first.has_answer:
            return
        assert second.has_answer
        gain = problem.sign * (second.objective_value - first.objective_value)
        assert gain >= 0 or close(second.objective_value, first.objective_value, problem)

    compare()


@pytest.mark.parametrize("scale", [1e-12, 1e12])
@pytest.mark.parametrize("name", exact_backends())
def test_tiny_and_huge_values(name: str, scale: float) -> None:
    declared(name)

    @settings(max_examples=examples(name, 0.1), **SETTINGS)
    @given(problems_for(name))
    def compare(problem: al.AlignmentProblem) -> None:
        # Floors hold within an absolute 1e-9, which is no small part of 1e-12.
        assume(al.Feature.FAIRNESS not in problem.features)
        assume(supports(name, problem))
        arguments = problem.arguments()
        for part in ("cost", "fitness", "switch_cost", "load_penalty"):
            if part in arguments:
                arguments[part] = np.asarray(arguments[part], np.float64) * scale
        arguments["loads"] = {
            load_name: al.Load(
                load.weight, load.min, load.max, load.target, np.asarray(load.penalty) * scale
            )
            for load_name, load in problem.loads.items()
        }
        scaled = build(arguments)
        assume(supports(name, scaled))
        first, second = ask(name, problem), ask(name, scaled)
        assert first.has_answer == second.has_answer
        if first.has_answer:
            assert close(second.objective_value / scale, first.objective_value, problem)
        if problem.problem_class == "flow":
            assert first.status is second.status

    compare()


@pytest.mark.parametrize("name", BACKEND_NAMES)
def test_warm_starts(name: str) -> None:
    capabilities = declared(name)

    @settings(max_examples=examples(name, 0.1), **SETTINGS)
    @given(problems_for(name), st.sampled_from(["own", "random", "all", "none"]), SEEDS)
    def compare(problem: al.AlignmentProblem, kind: str, seed: int) -> None:
        assume(supports(name, problem))
        cold = ask(name, problem)
        shape = (problem.n_clients, problem.n_experts)
        rng = np.random.default_rng(seed)
        start: Any = cold
        if kind != "own":
            share = {"random": 0.5, "all": 1.0, "none": 0.0}[kind]
            start = np.nonzero(rng.random(shape) < share)
        warm = ask(name, problem, warm_start=start)
        if capabilities.exact:
            assert warm.status is cold.status
            if cold.has_answer:
                assert close(warm.objective_value, cold.objective_value, problem)
        elif kind == "own" and cold.has_answer:
            # A heuristic may use the start or not, but must not lose by it.
            gain = problem.sign * (warm.objective_value - cold.objective_value)
            assert gain >= 0 or close(warm.objective_value, cold.objective_value, problem)

    compare()


@pytest.mark.parametrize("name", BACKEND_NAMES)
def test_the_same_seed_gives_the_same_answer(name: str) -> None:
    declared(name)

    @settings(max_examples=examples(name, 0.05), **SETTINGS)
    @given(problems_for(name))
    def compare(problem: al.AlignmentProblem) -> None:
        assume(supports(name, problem))
        first, second = (ask(name, problem, seed=3, threads=1) for _ in range(2))
        assert first.status is second.status
        np.testing.assert_array_equal(first.row_ind, second.row_ind)
        np.testing.assert_array_equal(first.col_ind, second.col_ind)

    compare()


@pytest.mark.parametrize("limit", [0, 1e-3])
@pytest.mark.parametrize("name", BACKEND_NAMES)
def test_hardly_any_time(name: str, limit: float) -> None:
    declared(name)

    @settings(max_examples=examples(name, 0.05), **SETTINGS)
    @given(problems_for(name))
    def compare(problem: al.AlignmentProblem) -> None:
        assume(supports(name, problem))
        result = al.solve(problem, backend=name, time_limit=limit)
        if result.status is al.Status.INFEASIBLE:
            # A conflict takes its own time to find, and may be cut short.
            return
        assert_sound(problem, result)

    compare()


@settings(max_examples=examples("greedy", 0.25), **SETTINGS)
@given(any_problems())
def test_auto_answers_everything(problem: al.AlignmentProblem) -> None:
    result = ask("auto", problem)
    assert result.status in (al.Status.OPTIMAL, al.Status.INFEASIBLE)
