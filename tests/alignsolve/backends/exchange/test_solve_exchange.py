"""The solver on arrays: right answers, proved ones, and what it promises besides."""

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alignsolve.backends.exchange import solve_exchange
from alignsolve.backends.exchange.params import ExchangeParams
from tests.alignsolve.backends.exchange.reference import least_cost_flow, residual, values_of
from tests.alignsolve.backends.exchange.strategies import KINDS, array_problems, fitness_of


def tolerance(fitness):
    """Return the design's tolerance of the residual."""
    finite = np.where(np.isfinite(fitness), fitness, np.nan)
    with np.errstate(invalid="ignore"):
        known = finite[np.isfinite(finite).any(axis=1)]
        spread = (np.nanmax(known, axis=1) - np.nanmin(known, axis=1)).sum() if known.size else 0
        largest = np.nanmax(np.abs(known)) if known.size else 0
    return 1e-9 * spread + 2e-15 * largest


class TestAgainstOthers:
    @settings(max_examples=300)
    @given(problem=array_problems(kinds=("whole", "ties")))
    def test_whole_values_are_solved_exactly(self, problem):
        fitness, slots, loads = problem
        best = least_cost_flow(fitness, slots, loads)
        answer = solve_exchange(fitness, *slots, *loads)
        assert answer.status == ("infeasible" if best is None else "optimal")
        if best is not None:
            assert residual(answer, fitness, slots, loads) == 0
            assert fitness[answer.row_ind, answer.col_ind].sum() == best
            assert (answer.prices == np.rint(answer.prices)).all()

    @settings(max_examples=300)
    @given(problem=array_problems())
    def test_answers_are_certified(self, problem):
        fitness, slots, loads = problem
        answer = solve_exchange(fitness, *slots, *loads)
        possible = least_cost_flow(np.where(np.isfinite(fitness), 0.0, fitness), slots, loads)
        assert answer.status == ("infeasible" if possible is None else "optimal")
        if possible is not None:
            assert residual(answer, fitness, slots, loads) <= tolerance(fitness)

    @settings(max_examples=100)
    @given(problem=array_problems(kinds=("float64", "whole")), seed=st.integers(0, 9999))
    def test_penalties_and_switching_costs(self, problem, seed):
        fitness, slots, loads = problem
        n, m = fitness.shape
        rng = np.random.default_rng(seed)
        penalty = rng.random(m) * rng.integers(0, 2, m), rng.uniform(-1, n, m)
        held = rng.random((n, m)) < 0.2
        indptr = np.concatenate([[0], np.cumsum(held.sum(axis=1))])
        cost = [rng.random(), rng.random(m), rng.random((n, 1)), rng.random((n, m))][seed % 4]
        switch = cost, indptr, np.nonzero(held)[1]
        answer = solve_exchange(fitness, *slots, *loads, penalty=penalty, switch=switch)
        if answer.status == "optimal":
            gap = residual(answer, fitness, slots, loads, penalty, switch)
            assert gap <= 1e-9 * (1 + np.abs(values_of(np.nan_to_num(fitness, neginf=0))).sum())
        else:
            assert answer.status == "infeasible"
            assert least_cost_flow(np.where(np.isfinite(fitness), 0.0, fitness), slots,
                                   loads) is None  # fmt: skip


HARD = {
    "all equal": lambda rng, n, m: np.full((n, m), 0.37, np.float32),
    "equal rows": lambda rng, n, m: np.repeat(rng.random((n, 1)), m, axis=1),
    "identical clients": lambda rng, n, m: np.repeat(rng.random((1, m)), n, axis=0),
    "clusters of clients": lambda rng, n, m: rng.random((8, m))[rng.integers(0, 8, n)],
    "one dominating expert": lambda rng, n, m: rng.random((n, m)) + 100.0 * (np.arange(m) == 0),
    "two values": lambda rng, n, m: rng.integers(0, 2, (n, m)).astype(np.float32),
    "decimal steps": lambda rng, n, m: rng.integers(0, 11, (n, m)) * 0.1,
    "wide range": lambda rng, n, m: 10.0 ** rng.uniform(-12, 12, (n, m)),
    "wide range of clients": lambda rng, n, m: 10.0 ** rng.uniform(-12, 12, (n, 1))
    * rng.random((n, m)),
    "rank one": lambda rng, n, m: rng.random((n, 1)) * rng.random((1, m)),
    "offset float64": lambda rng, n, m: 1e6 + rng.random((n, m)),
    "offset float32": lambda rng, n, m: (1e6 + rng.random((n, m))).astype(np.float32),
    "negative": lambda rng, n, m: -rng.random((n, m)),
    "two choices": lambda rng, n, m: np.where(
        rng.random((n, m)).argsort(axis=1) < 2, rng.random((n, m)), -np.inf
    ),
}


@pytest.mark.parametrize("name", HARD)
@pytest.mark.parametrize(("n", "m"), [(2000, 8), (6000, 16), (5, 12), (300, 1)])
class TestHardCases:
    def test_one_slot_tight_loads(self, name, n, m):
        fitness = HARD[name](np.random.default_rng(1), n, m)
        slots, loads = (0, 1), (0, -(-n // m))
        answer = solve_exchange(fitness, *slots, *loads)
        assert answer.status == "optimal"
        assert residual(answer, fitness, slots, loads) <= tolerance(fitness)

    def test_several_slots_and_minima(self, name, n, m):
        rng = np.random.default_rng(2)
        fitness = HARD[name](rng, n, m)
        most = rng.integers(0, 4, n)
        least = np.minimum(most, np.isfinite(fitness).sum(axis=1)) // 2
        mean = most.sum() // m
        slots, loads = (least, most), (int(0.5 * mean) // 2, 2 * mean + 1)
        answer = solve_exchange(fitness, *slots, *loads)
        assert answer.status in ("optimal", "infeasible")
        if answer.status == "optimal":
            assert residual(answer, fitness, slots, loads) <= tolerance(fitness)
        else:
            possible = np.where(np.isfinite(fitness), 0.0, fitness)
            assert least_cost_flow(possible, slots, loads) is None


class TestEdges:
    def test_experts_that_nobody_may_hold_are_priced_out(self):
        fitness = np.random.default_rng(0).random((50, 4))
        loads = 0, [0, 20, 20, 20]
        answer = solve_exchange(fitness, 1, 1, *loads)
        assert answer.status == "optimal"
        assert residual(answer, fitness, (1, 1), loads) <= tolerance(fitness)

    def test_clients_without_slots(self):
        answer = solve_exchange(np.ones((3, 2)), 0, [0, 1, 0], 0, 3)
        assert answer.row_ind.tolist() == [1]

    @pytest.mark.parametrize(
        ("slots", "loads"),
        [((2, 1), (0, 9)), ((0, 1), (3, 2)), ((1, 1), (0, 1)), ((0, 1), (4, 9)), ((3, 3), (0, 9))],
    )
    def test_contradictions_are_infeasible(self, slots, loads):
        answer = solve_exchange(np.ones((6, 2)), *slots, *loads)
        assert answer.status == "infeasible"
        assert answer.row_ind is None

    def test_names_the_client_that_has_no_reply(self):
        fitness = np.ones((6, 2))
        fitness[4] = -np.inf
        answer = solve_exchange(fitness, 1, 1, 0, 6)
        assert answer.status == "infeasible"
        assert answer.conflict_client == 4

    def test_finds_that_too_many_clients_want_too_few_experts(self):
        rng = np.random.default_rng(0)
        fitness = rng.random((4000, 8), dtype=np.float32)
        fitness[:2100, :4] = -np.inf
        assert solve_exchange(fitness, 1, 1, 0, 500).status == "infeasible"
        fitness[2000:2100] = 0.5
        assert solve_exchange(fitness, 1, 1, 0, 500).status == "optimal"

    def test_refuses_other_types(self):
        with pytest.raises(TypeError, match="float32 or float64"):
            solve_exchange(np.ones((2, 2), np.int64), 0, 1, 0, 2)


class TestPromises:
    @pytest.mark.parametrize("kind", KINDS)
    def test_the_answer_does_not_depend_on_the_threads(self, kind):
        fitness = fitness_of(kind, np.random.default_rng(3), 40_000, 4)
        one, two, five = (
            solve_exchange(fitness, 1, 1, 0, 10_000, threads=threads, seed=7)
            for threads in (1, 2, 5)
        )
        for other in (two, five):
            assert (one.col_ind == other.col_ind).all()
            assert (one.prices == other.prices).all()

    @pytest.mark.parametrize("dtype", [np.float32, np.float64])
    @pytest.mark.parametrize("layout", ["C", "F", "sliced", "read-only"])
    def test_any_layout_and_no_change_of_the_input(self, dtype, layout):
        fitness = np.random.default_rng(4).random((3000, 8)).astype(dtype)
        given = {
            "C": fitness.copy(),
            "F": np.asfortranarray(fitness),
            "sliced": np.repeat(fitness, 2, axis=1)[:, ::2],
            "read-only": fitness.copy(),
        }[layout]
        given.flags.writeable = layout != "read-only"
        answer = solve_exchange(given, 1, 1, 0, 375)
        assert (given == fitness).all()
        assert residual(answer, fitness, (1, 1), (0, 375)) <= tolerance(fitness)

    def test_a_deadline_in_the_past_gives_a_feasible_answer(self):
        fitness = np.random.default_rng(5).random((30_000, 8))
        answer = solve_exchange(fitness, 1, 1, 0, 3750, deadline=time.perf_counter())
        assert answer.status in ("optimal", "stopped")
        assert residual(answer, fitness, (1, 1), (0, 3750)) < np.inf

    @pytest.mark.parametrize("grace", [0.0, 60.0])
    def test_stops_when_asked(self, grace):
        asked = []
        rng = np.random.default_rng(6)
        fitness = rng.random((5000, 8)) + 0.2 * np.arange(8)
        most = rng.integers(1, 4, 5000)
        loads = 1000, 1300
        answer = solve_exchange(fitness, 0, most, *loads,
                                should_stop=lambda: asked.append(0) or True,
                                params=ExchangeParams(grace=grace))  # fmt: skip
        assert asked
        assert answer.status == ("optimal" if grace else "stopped")
        gap = residual(answer, fitness, (0, most), loads)
        assert 0 <= gap < np.inf
        assert (gap < 1e-9) == (grace > 0)

    def test_warm_start_agrees_with_a_cold_one(self):
        rng = np.random.default_rng(7)
        fitness = rng.random((20_000, 16), dtype=np.float32)
        cold = solve_exchange(fitness, 1, 1, 0, 1250)
        warm_start = {
            "warm_prices": cold.prices, "warm_rows": cold.row_ind, "warm_cols": cold.col_ind,
        }  # fmt: skip
        again = solve_exchange(fitness, 1, 1, 0, 1250, **warm_start)
        assert (again.col_ind == cold.col_ind).all()
        assert again.stats["passes"] < min(1.2, cold.stats["passes"])
        fitness[rng.random(20_000) < 0.01] = rng.random(16)
        changed = solve_exchange(fitness, 1, 1, 0, 1250, **warm_start)
        assert residual(changed, fitness, (1, 1), (0, 1250)) <= tolerance(fitness)

    def test_warm_start_from_worthless_prices(self):
        fitness = np.random.default_rng(8).random((3000, 8))
        for prices in (np.full(8, np.nan), np.full(8, 1e9), np.arange(8) * -1e3, [0, 0.5] * 4):
            answer = solve_exchange(fitness, 1, 1, 0, 375, warm_prices=prices)
            assert residual(answer, fitness, (1, 1), (0, 375)) <= tolerance(fitness)
