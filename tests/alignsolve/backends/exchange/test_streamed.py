"""The exchange solver over sources: shards, and clients that come and go."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import alignsolve as al
from alignsolve.backends.exchange.algorithm import InMemory
from alignsolve.backends.exchange.backend import ExchangeBackend
from alignsolve.backends.exchange.inputs import NO_SWITCH, matrix_of
from alignsolve.backends.exchange.params import ExchangeParams
from alignsolve.backends.exchange.shard import Shard
from alignsolve.backends.exchange.streamed import LocalShards
from alignsolve.backends.exchange.streaming import InShards
from alignsolve.backends.exchange.task import Blocks, Task
from alignsolve.solve.params import SolveParams
from alignsolve.solve.solve import solve_within
from alignsolve.status import Limits, Termination
from tests.strategies import brute_force, flow_problems


def streamed(problem, rows, **changes):
    """Return a problem over a source that computes blocks of some rows."""
    arguments = problem.arguments() | changes
    name = "fitness" if problem.sense == "max" else "cost"
    matrix = arguments[name]
    source = al.FunctionSource(lambda a, b: matrix[a:b], matrix.shape, matrix.dtype, rows)
    return problem.replace(**changes | {name: source})


def solved(problem, rows, room=ExchangeParams.room, **limits):
    """Solve over a source with room for some entries; return the answer, which is proved."""
    backend = ExchangeBackend(params=ExchangeParams(room=room))
    answer = backend.solve(streamed(problem, rows), Limits(**limits))
    assert answer.termination is Termination.PROVED
    if not answer.infeasible:
        prices = problem.sign * answer.prices
        assert al.certify(problem, answer.row_ind, answer.col_ind, prices=prices).optimal
    return answer


def same_optimum(problem, rows):
    """Solve over a source and over the matrix; return both results."""
    ours, theirs = al.solve(streamed(problem, rows), "exchange"), al.solve(problem, "exchange")
    assert ours.status is theirs.status
    if ours.has_answer:
        assert ours.status is al.Status.OPTIMAL, ours.summary()
        assert ours.objective_value == pytest.approx(theirs.objective_value, rel=1e-12)
    return ours, theirs


@settings(max_examples=150)
@given(problem=flow_problems(), rows=st.integers(1, 4), room=st.sampled_from([1, 6, 1000]))
def test_same_optimum_as_brute_force(problem, rows, room):
    refusal = ExchangeBackend().refusal(streamed(problem, rows))
    assume(refusal is None or "share slots" not in refusal)
    best, _, _ = brute_force(problem)
    answer = solved(problem, rows, room)
    assert answer.infeasible == (best is None)
    if best is not None:
        objective = problem.objective(answer.row_ind, answer.col_ind)
        assert objective == pytest.approx(best, rel=1e-9, abs=1e-9)


def draw(kind, n, m, seed):
    """Return fitness of a kind: smooth, tied, or with forbidden pairs."""
    rng = np.random.default_rng(seed)
    if kind == "tied":
        return rng.integers(0, 5, (n, m)).astype(np.float64)
    fitness = rng.random((n, m), dtype=np.float32)
    if kind == "forbidden":
        fitness[rng.random((n, m)) < 0.4] = -np.inf
        fitness[:, 0] = 0.5
    return fitness


@pytest.mark.parametrize("room", [400, 6000, 2**24])
@pytest.mark.parametrize("kind", ["smooth", "tied", "forbidden"])
@pytest.mark.parametrize(
    "bounds",
    [
        {"max_experts": 1, "min_experts": 1, "load_max": 410},
        {"max_experts": 2, "load_max": 700, "load_min": 50},
        {"max_experts": 1, "load_penalty": 1e-3},
        {"max_experts": 2, "load_max": 500, "switch_cost": 0.25, "held": True},
    ],
    ids=["one", "two", "penalty", "switching"],
)
def test_gathers_what_it_needs(kind, bounds, room):
    n, m = 4000, 10
    fitness = draw(kind, n, m, 1)
    if kind == "forbidden" and "min_experts" in bounds:
        bounds = bounds | {"load_max": 900}
    if bounds.get("held"):
        bounds = bounds | {"held": (np.arange(n), np.arange(n) % m)}
    problem = al.AlignmentProblem(fitness, **bounds)
    assert solved(problem, 257, room).stats["passes"] > 1


def test_same_assignment_as_in_memory():
    fitness = draw("smooth", 30_000, 12, 5)
    ours, theirs = same_optimum(
        al.AlignmentProblem(fitness, 1, min_experts=1, load_max=2500), 1000
    )
    assert np.array_equal(ours.row_ind, theirs.row_ind)
    assert np.array_equal(ours.col_ind, theirs.col_ind)


def test_swaps_are_counted_wherever_clients_are():
    n, m = 5000, 6
    fitness, ones = draw("smooth", n, m, 7), np.ones(n, np.int64)
    source = al.FunctionSource(lambda a, b: fitness[a:b], (n, m), fitness.dtype, 999)
    shards = LocalShards(Shard(source, 0, 1, (ones, ones), NO_SWITCH, Blocks()))
    far, near = (Task.of(n, m, 0, 1000, params=ExchangeParams(room=50)) for _ in range(2))
    price = np.append(np.linspace(0, 0.2, m), 0.0)
    there = InShards(shards, ones, far).level(price)
    here = InMemory(matrix_of(fitness, 1, 1, None), near.bounds, near).level(price)
    there.respond()
    here.respond()
    assert there.who.size == 0
    assert np.array_equal(there.clients_load, here.clients_load)
    number, limit = here.nearest(500)
    assert there.nearest(500) == (number, limit)
    np.testing.assert_allclose(there.swap_rates(limit, 8), here.swap_rates(limit, 8), rtol=1e-4)


def test_infeasible_over_a_source(monkeypatch):
    fitness = draw("smooth", 3000, 4, 2)
    fitness[:2000, 1:] = -np.inf
    problem = al.AlignmentProblem(fitness, 1, min_experts=1, load_max=1500)
    for room in (500, ExchangeParams.room):
        assert solved(problem, 100, room).infeasible
    result = al.solve(streamed(problem, 100), "exchange")
    assert result.status is al.Status.INFEASIBLE
    assert result.conflict is not None
    few = SolveParams(conflict_pairs=100)
    result = solve_within(streamed(problem, 100), Limits(), "exchange", params=few)
    assert result.status is al.Status.INFEASIBLE
    assert result.conflict is None


def test_warm_start():
    fitness = draw("smooth", 20_000, 8, 3)
    problem = al.AlignmentProblem(fitness, 1, min_experts=1, load_max=2500)
    first = solved(problem, 999, 9000)
    pairs = first.row_ind, first.col_ind
    again = solved(problem, 999, 9000, warm_start=pairs, warm_prices=first.prices)
    assert np.array_equal(first.col_ind, again.col_ind)
    assert again.stats["passes"] < first.stats["passes"]


def test_warm_start_from_worthless_prices():
    fitness = draw("smooth", 20_000, 8, 3)
    problem = al.AlignmentProblem(fitness, 1, min_experts=1, load_max=2500)
    cold = solved(problem, 999, 9000)
    again = solved(problem, 999, 9000, warm_prices=np.arange(8) * -1e3)
    assert again.stats["passes"] <= cold.stats["passes"] + 1


def test_stops_in_time_with_a_feasible_answer():
    fitness = draw("smooth", 60_000, 16, 4)
    problem = streamed(al.AlignmentProblem(fitness, 1, min_experts=1, load_max=3750), 4096)
    result = al.solve(problem, "exchange", time_limit=0.0)
    assert result.status in (al.Status.FEASIBLE, al.Status.OPTIMAL, al.Status.NO_SOLUTION_FOUND)


def test_threads_and_blocks_do_not_matter():
    fitness = draw("smooth", 20_000, 8, 6)
    problem = al.AlignmentProblem(fitness, 2, load_max=4000)
    results = [al.solve(streamed(problem, rows), "exchange", threads=threads)
               for rows, threads in ((500, 1), (500, 2), (7001, 2))]
    assert all(np.array_equal(results[0].col_ind, other.col_ind) for other in results[1:])


def test_random_access_reads_less():
    rng = np.random.default_rng(0)
    source = al.FactorSource(rng.random((40_000, 4)), rng.random((8, 4)))
    problem = al.AlignmentProblem(source, 1, min_experts=1, load_max=5000)
    result = al.solve(problem, "exchange")
    assert result.status is al.Status.OPTIMAL
    assert 1 < result.stats["passes"] < 5
