"""The exchange solver over sources: shards, and clients that come and go."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import alignsolve as al
from alignsolve.backends.exchange import streaming
from alignsolve.model.problem import Feature
from alignsolve.solve.solve import SolveParams, solve_within
from alignsolve.status import Limits
from tests.strategies import brute_force, flow_problems


def streamed(problem, rows, **changes):
    """Return a problem over a source that computes blocks of some rows."""
    arguments = problem.arguments() | changes
    name = "fitness" if problem.sense == "max" else "cost"
    matrix = arguments[name]
    source = al.FunctionSource(lambda a, b: matrix[a:b], matrix.shape, matrix.dtype, rows)
    return problem.replace(**changes | {name: source})


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
    assume(Feature.GROUPS not in problem.features)
    best, _, _ = brute_force(problem)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(streaming, "ROOM", room)
        result = al.solve(streamed(problem, rows), "exchange")
    assert (result.status is al.Status.INFEASIBLE) == (best is None)
    if best is not None:
        assert result.status is al.Status.OPTIMAL, result.summary()
        assert result.objective_value == pytest.approx(best, rel=1e-9, abs=1e-9)


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
def test_gathers_what_it_needs(monkeypatch, kind, bounds, room):
    monkeypatch.setattr(streaming, "ROOM", room)
    n, m = 4000, 10
    fitness = draw(kind, n, m, 1)
    if kind == "forbidden" and "min_experts" in bounds:
        bounds = bounds | {"load_max": 900}
    if bounds.get("held"):
        bounds = bounds | {"held": (np.arange(n), np.arange(n) % m)}
    problem = al.AlignmentProblem(fitness, **bounds)
    ours, _ = same_optimum(problem, 257)
    assert ours.stats["passes"] > 1


def test_same_assignment_as_in_memory():
    fitness = draw("smooth", 30_000, 12, 5)
    ours, theirs = same_optimum(
        al.AlignmentProblem(fitness, 1, min_experts=1, load_max=2500), 1000
    )
    assert np.array_equal(ours.row_ind, theirs.row_ind)
    assert np.array_equal(ours.col_ind, theirs.col_ind)


def test_infeasible_over_a_source(monkeypatch):
    monkeypatch.setattr(streaming, "ROOM", 500)
    fitness = draw("smooth", 3000, 4, 2)
    fitness[:2000, 1:] = -np.inf
    problem = al.AlignmentProblem(fitness, 1, min_experts=1, load_max=1500)
    result = al.solve(streamed(problem, 100), "exchange")
    assert result.status is al.Status.INFEASIBLE
    assert result.conflict is not None
    few = SolveParams(conflict_pairs=100)
    result = solve_within(streamed(problem, 100), Limits(), "exchange", params=few)
    assert result.status is al.Status.INFEASIBLE
    assert result.conflict is None


def test_warm_start(monkeypatch):
    monkeypatch.setattr(streaming, "ROOM", 9000)
    fitness = draw("smooth", 20_000, 8, 3)
    problem = al.AlignmentProblem(fitness, 1, min_experts=1, load_max=2500)
    first = al.solve(streamed(problem, 999), "exchange")
    again = al.solve(streamed(problem, 999), "exchange", warm_start=first)
    assert again.status is al.Status.OPTIMAL
    assert np.array_equal(first.col_ind, again.col_ind)
    assert again.stats["passes"] < first.stats["passes"]


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
    result = al.solve(problem)
    assert result.status is al.Status.OPTIMAL
    assert result.backend == "exchange"
    assert 1 < result.stats["passes"] < 5
