"""The pipeline of the hard class: valid bounds, feasible answers, proved optima."""

from __future__ import annotations

import csv
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings

import alignsolve as al
from alignsolve.backends import get_backend, registry
from alignsolve.backends.lagrangian import gap_search, needed_kernels, pipeline, proximal_newton
from alignsolve.backends.lagrangian.annealing import Annealing
from alignsolve.backends.lagrangian.backend import LagrangianBackend
from alignsolve.backends.lagrangian.bound import Relaxation
from alignsolve.backends.lagrangian.params import DEFAULTS, GapSearchParams
from alignsolve.backends.lagrangian.proximal_newton import Curvature
from alignsolve.backends.lagrangian.tree import AssignmentTree, Search
from alignsolve.explain import own_problem
from alignsolve.generators import generate
from alignsolve.io import read_instances
from alignsolve.kernels import Kernel
from alignsolve.model.feasibility import violations
from alignsolve.progress import Callback, Reporter
from alignsolve.status import Limits, Outcome, Subsolver
from tests.nasty import magnitude
from tests.strategies import brute_force, mip_problems


@settings(max_examples=150)
@given(mip_problems())
def test_agrees_with_brute_force(problem: al.AlignmentProblem) -> None:
    best = brute_force(problem)[0]
    answer = get_backend("lagrangian").solve(problem, Limits())
    assert answer.infeasible == (best is None)
    if best is None:
        return
    size = 1 + magnitude(problem)
    assert not violations(problem, answer.row_ind, answer.col_ind)
    value = problem.sign * problem.objective(answer.row_ind, answer.col_ind)
    assert value == pytest.approx(problem.sign * best, abs=1e-8 * size)
    assert answer.bound >= problem.sign * best - 1e-9 * size


@settings(max_examples=150)
@given(mip_problems())
def test_bound_holds_at_any_prices(problem: al.AlignmentProblem) -> None:
    best = brute_force(problem)[0]
    relaxation = Relaxation(problem)
    if best is None:
        return
    rng = np.random.default_rng(0)
    for scale in (0.0, 1.0, 10.0):
        prices = scale * rng.standard_normal(relaxation.shape)
        for nodes in (0, 3, 1000):
            responses = relaxation.responses(prices, nodes=nodes)
            assert not responses.infeasible
            assert responses.bound >= problem.sign * best - 1e-9 * (1 + magnitude(problem))


@pytest.mark.parametrize("kind", ["c", "d", "e"])
def test_generalized_assignment_agrees_with_another_solver(kind: str) -> None:
    problem = generate(f"gap-{kind}", seed=3, agents=5, jobs=20)
    ours = al.solve(problem, "lagrangian")
    other = al.solve(problem, "ortools-mip")
    assert ours.status is other.status
    if ours.has_answer:
        assert ours.objective_value == other.objective_value
        assert ours.certificate is not None
        assert ours.certificate.optimal


@pytest.mark.parametrize("name", ["gap1", "gapb"])
def test_proves_published_optima(name: str, published: Path) -> None:
    with (published / "OPTIMA.csv").open() as file:
        known = [row for row in csv.DictReader(file) if row["file"] == f"orlib/{name}.txt"]
    problems = read_instances(published / "orlib" / f"{name}.txt", sense=known[0]["sense"])
    for problem, row in zip(problems, known, strict=True):
        result = al.solve(problem, "lagrangian")
        assert result.backend == "lagrangian"
        assert result.status is al.Status.OPTIMAL
        assert result.objective_value == float(row["best_known"])


def test_fleet_is_close_to_its_bound() -> None:
    problem = generate("tiers", seed=1, clients=600, experts=16)
    result = al.solve(problem, "lagrangian", rel_gap=0.002)
    assert result.has_answer
    assert result.gap <= 0.002


def test_one_thread_answers_too() -> None:
    problem = generate("gap-c", seed=1, agents=5, jobs=30)
    assert al.solve(problem, "lagrangian", threads=1).status is al.Status.OPTIMAL


def test_auto_does_not_compile_within_a_short_limit(monkeypatch):
    problem = al.AlignmentProblem(
        [[3.0, 1.0], [2.0, 2.5]], 1, resources={"mb": al.Resource([1, 2], 2)}
    )
    monkeypatch.setattr(Kernel, "has", lambda *_: True)
    assert al.solve(problem, time_limit=20).backend == "lagrangian"
    monkeypatch.setattr(Kernel, "has", lambda *_: False)
    result = al.solve(problem, time_limit=1)
    assert (result.status, result.backend) == (al.Status.OPTIMAL, "ortools-mip")
    assert result.fallbacks[0].backend == "lagrangian"
    assert "not compiled yet, `alignsolve warm-up` or al.warm_up()" in result.fallbacks[0].reason


def fleet(n: int = 300, m: int = 12, alike: bool = False) -> al.AlignmentProblem:
    """Return a fleet with two budgets and bounds on holders and samples that bind."""
    rng = np.random.default_rng(5)
    fitness = rng.random((1 if alike else n, m)) + 0.5 * rng.random(m)
    slots, samples = rng.integers(1, 5, n), rng.integers(20, 400, n).astype(float)
    sizes = rng.integers(2, 9, m).astype(float)
    total = float((samples * np.minimum(slots, 3)).sum()) / m
    return al.AlignmentProblem(
        np.broadcast_to(fitness, (n, m)), slots, min_experts=1, load_min=n // m,
        loads={"samples": al.Load(samples, min=0.6 * total, max=0.9 * total)},
        resources={
            "memory_mb": al.Resource(sizes, 5.0 * slots),
            "seconds": al.Resource(samples[:, None] * rng.uniform(0.5, 1, (n, m)), samples * slots),
        },
    )  # fmt: skip


@pytest.mark.parametrize("alike", [False, True])
@pytest.mark.parametrize("threads", [1, 2])
def test_same_seed_and_gap_give_the_same_answer(alike: bool, threads: int) -> None:
    problem = fleet(alike=alike)
    first, second = (
        al.solve(problem, "lagrangian", rel_gap=0.03, seed=3, threads=threads) for _ in range(2)
    )
    assert first.gap <= 0.03
    assert first.dual_bound == second.dual_bound
    assert (first.row_ind == second.row_ind).all()
    assert (first.col_ind == second.col_ind).all()


def test_clients_in_another_order_are_bounded_alike() -> None:
    problem = fleet()
    order = np.random.default_rng(0).permutation(problem.n_clients)
    other = al.AlignmentProblem(
        problem.fitness[order], problem.max_experts[order], min_experts=problem.min_experts[order],
        load_min=problem.load_min,
        loads={
            name: al.Load(np.asarray(load.weight)[order], min=load.min, max=load.max)
            for name, load in problem.loads.items()
        },
        resources={
            name: al.Resource(
                np.broadcast_to(np.asarray(part.size), problem.fitness.shape)[order],
                np.asarray(part.budget)[order],
            )
            for name, part in problem.resources.items()
        },
    )  # fmt: skip
    one, two = (al.solve(p, "lagrangian", rel_gap=0.01) for p in (problem, other))
    assert one.objective_value <= two.dual_bound
    assert two.objective_value <= one.dual_bound


def test_many_alike_clients_share_the_experts() -> None:
    # More clients than the sample on which prices are sought, all with the same wishes.
    result = al.solve(fleet(5000, 8, alike=True), "lagrangian", rel_gap=0.01)
    assert result.termination is al.Termination.GAP_REACHED
    assert result.gap <= 0.01


def test_prices_without_limit_end_as_infeasible() -> None:
    # No client may hold anything, which prices of ever larger loads show: they only grow.
    samples = al.Load(np.ones(5), max=4.0, target=1.0, penalty=[0.1, 0.0])
    problem = al.AlignmentProblem.from_cost(
        np.full((5, 2), -1e6) + np.arange(10).reshape(5, 2), 0, load_min=1,
        loads={"samples": samples}, resources={"mb": al.Resource([1, 3], 4)},
    )  # fmt: skip
    for seed in range(3):
        result = al.solve(problem, "lagrangian", seed=seed)
        assert result.status is al.Status.INFEASIBLE


@pytest.mark.parametrize("sample", [2000, 20])
def test_very_many_prices_are_found_without_a_matrix(
    monkeypatch: pytest.MonkeyPatch, sample: int
) -> None:
    problem = fleet(n=60)
    known = al.solve(problem, "lagrangian:search")
    monkeypatch.setattr(proximal_newton, "MOST_PRICES", 20)
    monkeypatch.setattr(pipeline, "SAMPLE", sample)
    monkeypatch.setattr(Curvature, "guess", lambda _: pytest.fail("made a matrix"))
    result = al.solve(problem, "lagrangian:search")
    assert result.has_answer
    assert known.objective_value - 1e-9 <= result.dual_bound <= 1.05 * known.dual_bound
    own_problem._dual_prices(problem, known.objective_value)


@pytest.mark.parametrize("sense", ["max", "min"])
def test_a_warm_start_goes_on_from_earlier_prices(sense: str) -> None:
    problem = fleet()
    if sense == "min":
        arguments = problem.arguments()
        cost = 3.0 - arguments.pop("fitness")
        del arguments["client_fitness_min"]
        problem = al.AlignmentProblem.from_cost(cost, **arguments)
    first = al.solve(problem, "lagrangian:search", rel_gap=0.01)
    assert set(first.load_prices) == {"", "samples"} and first.stats["passes"] > 1
    again = al.solve(problem, "lagrangian:search", rel_gap=0.01, warm_start=first)
    assert again.stats["passes"] == 1
    # At the same prices and pairs, both are at least as good.
    assert problem.sign * (again.objective_value - first.objective_value) >= 0
    assert again.gap <= first.gap + 1e-9
    pairs = first.row_ind, first.col_ind
    given = al.solve(problem, "lagrangian:search", rel_gap=0.01,
                     warm_start=(*pairs, first.load_prices))
    assert given.dual_bound == again.dual_bound
    cold = al.solve(problem, "lagrangian:search", rel_gap=0.01,
                    warm_start=(*pairs, {"": first.load_prices[""]}))
    assert cold.stats["passes"] > 1


def test_greedy_comes_first_where_it_is_quicker_or_time_is_short() -> None:
    backend = LagrangianBackend()
    assert backend.answers_soon(fleet(3000, 12))
    assert not backend.answers_soon(fleet(300, 12))
    assert not backend.answers_soon(fleet(5000, 12))


def test_mixing_answers_gains(monkeypatch: pytest.MonkeyPatch) -> None:
    problem = fleet()
    monkeypatch.setattr(pipeline, "MIXES", 0)
    before = al.solve(problem, "lagrangian:search", seed=3)
    monkeypatch.setattr(pipeline, "MIXES", 8)
    first, second = (al.solve(problem, "lagrangian:search", seed=3) for _ in range(2))
    assert before.objective_value < first.objective_value <= before.dual_bound
    assert first.objective_value == second.objective_value


def test_flat_curvature_learns_nothing() -> None:
    curvature = Curvature(np.eye(2))
    for step in (np.zeros(2), np.array([1e-200, 0.0]), np.array([1e200, 0.0])):
        curvature.learn(step, np.zeros(2))
    assert (curvature.matrix == np.eye(2)).all()
    assert curvature.is_guess


def assignment() -> al.AlignmentProblem:
    """Return generalized assignment with many answers of the best value."""
    rng = np.random.default_rng(1)
    size = rng.integers(5, 15, (4, 20))
    return al.AlignmentProblem(
        rng.integers(1, 4, (4, 20)).astype(float), 20, load_min=1, load_max=1,
        resources={"units": al.Resource(size, 55)},
    )  # fmt: skip


def test_repeatable_assignment_does_not_race(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gap_search.GapSearch, "run", lambda _: pytest.fail("searches raced"))
    first, second = (
        al.solve(assignment(), "lagrangian", repeatable=True, threads=2) for _ in range(2)
    )
    assert first.status is al.Status.OPTIMAL
    assert (first.row_ind == second.row_ind).all()
    assert (first.col_ind == second.col_ind).all()


def idle_tree(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let our own search of generalized assignment come to nothing."""
    monkeypatch.setattr(AssignmentTree, "dive", lambda *_: iter([Search("none")]))
    monkeypatch.setattr(AssignmentTree, "run", lambda *_: Search("open"))
    monkeypatch.setattr(Annealing, "step", lambda _: time.sleep(0.001))


#: Cores at once, and nothing but cores.
CORES = GapSearchParams(core_seconds=0.01, barren_dives=-1)


def solve_with(
    problem: al.AlignmentProblem, params: GapSearchParams, ask: Subsolver = registry.solve_by, *,
    seconds: float = 600, threads: int | None = None, callback: Callback = lambda _: False,
) -> Outcome:  # fmt: skip
    """Solve with parameters, and perhaps other solvers, of our own."""
    began = time.perf_counter()
    report = Reporter(problem, callback, began)
    limits = Limits(deadline=began + seconds, threads=threads, report=report)
    return LagrangianBackend(ask=ask, params=params).solve(problem, limits)


def value_of(problem: al.AlignmentProblem, outcome: Outcome) -> float:
    """Return the value of an outcome's answer."""
    assert outcome.row_ind is not None
    assert outcome.col_ind is not None
    return problem.objective(outcome.row_ind, outcome.col_ind)


@pytest.mark.parametrize("threads", [1, 2])
def test_other_solvers_are_watched_in_the_callers_thread(
    monkeypatch: pytest.MonkeyPatch, threads: int
) -> None:
    def talkative(name: str, problem: al.AlignmentProblem, limits: Limits) -> Outcome:
        """Report a value that was not met before, so that the callback is due."""
        if name == "greedy":
            return Outcome.nothing(al.Termination.HEURISTIC_DONE)
        assert limits.report is not None
        limits.report(0.0, np.inf)
        return get_backend("scipy-milp").solve(problem, limits)

    # Dives that find nothing lead to another solver, asked in the dives' thread.
    idle_tree(monkeypatch)
    seen: set[int] = set()
    outcome = solve_with(
        assignment(), DEFAULTS, talkative, threads=threads, seconds=20,
        callback=lambda _: seen.add(threading.get_ident()),
    )  # fmt: skip
    assert outcome.row_ind is not None
    assert seen == {threading.get_ident()}


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("family", ["gap-c", "gap-e"])
def test_an_exact_solver_settles_levels_that_the_tree_does_not(
    monkeypatch: pytest.MonkeyPatch, family: str, threads: int
) -> None:
    idle_tree(monkeypatch)
    problem = generate(family, agents=4, jobs=20, seed=3)
    outcome = solve_with(problem, CORES, threads=threads)
    assert outcome.termination is al.Termination.PROVED
    assert value_of(problem, outcome) == al.solve(problem, "scipy-milp").objective_value
    assert outcome.stats["cores"] > 0
    tight = problem.replace(resources={
        name: al.Resource(part.size, np.asarray(part.budget) * 0.3)
        for name, part in problem.resources.items()
    })  # fmt: skip
    assert solve_with(tight, CORES, threads=threads).infeasible


def test_large_cores_are_left_to_the_tree() -> None:
    problem = generate("gap-c", agents=4, jobs=20, seed=3)
    params = GapSearchParams(core_seconds=0.0, barren_dives=-1, core_pairs=0)
    outcome = solve_with(problem, params)
    assert outcome.termination is al.Termination.PROVED
    assert outcome.stats["cores"] == 0


#: A process that ends, slowly, while HiGHS works on in a thread that nobody waits for.
LEAVE_HIGHS = """
import builtins, threading, time
import alignsolve as al
from alignsolve.backends import Limits, get_backend
from alignsolve.explain import own_problem
from alignsolve.generators import generate
problem = generate("gap-d", agents=20, jobs=200)
options = Limits(deadline=time.perf_counter() + 60, threads=1)
solve = lambda: get_backend("ortools-mip").solve(problem, options)
threading.Thread(target=solve, daemon=True).start()
time.sleep(2)

class Slow:
    def __del__(self, sleep=time.sleep):
        sleep(1)

builtins.slow = Slow()
"""


def test_a_process_may_end_before_a_core() -> None:
    began = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", LEAVE_HIGHS], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert time.perf_counter() - began < 30


def test_a_core_of_a_problem_over_an_array_source(monkeypatch: pytest.MonkeyPatch) -> None:
    idle_tree(monkeypatch)
    plain = generate("gap-c", agents=4, jobs=20, seed=3)
    problem = al.AlignmentProblem(
        al.ArraySource(plain.fitness), 20, load_min=1, load_max=1, resources=plain.resources
    )
    outcome = solve_with(problem, CORES)
    assert outcome.termination is al.Termination.PROVED
    assert -value_of(problem, outcome) == al.solve(plain, "scipy-milp").objective_value
    assert outcome.stats["cores"] > 0


@pytest.mark.parametrize("ended", [al.Termination.PROVED, al.Termination.TIME_LIMIT])
def test_a_core_proves_no_more_than_its_bound(
    monkeypatch: pytest.MonkeyPatch, ended: al.Termination
) -> None:
    # Levels are multiples of 0.1, which differ from the bound in their last digit.
    problem = assignment().replace(fitness=np.random.default_rng(2).integers(1, 40, (4, 20)) * 0.1)
    best = al.solve(problem, "scipy-milp").objective_value
    levels = []

    def vague(name: str, core: al.AlignmentProblem, limits: Limits) -> Outcome:
        if name == "greedy":
            return Outcome.nothing(al.Termination.HEURISTIC_DONE)
        exact = get_backend("scipy-milp").solve(core, limits)
        levels.append(exact.bound)
        return exact if exact.infeasible else Outcome.nothing(ended, bound=exact.bound)

    # Compiles outside the limit.
    al.solve(problem, "lagrangian:search")
    idle_tree(monkeypatch)
    outcome = solve_with(problem, CORES, vague, seconds=2)
    assert min(levels) == pytest.approx(best)
    assert outcome.bound == pytest.approx(best)


def test_a_limit_during_a_core_is_a_time_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    def late(name: str, problem: al.AlignmentProblem, limits: Limits) -> Outcome:
        if name == "greedy":
            return registry.solve_by(name, problem, limits)
        assert limits.report is not None
        while time.perf_counter() < limits.deadline + 0.1:
            time.sleep(0.02)
            if limits.report(-np.inf, np.inf):
                return Outcome.nothing(al.Termination.INTERRUPTED)
        return Outcome.nothing(al.Termination.TIME_LIMIT)

    idle_tree(monkeypatch)
    problem = generate("gap-e", agents=4, jobs=20, seed=3)
    outcome = solve_with(problem, CORES, late, threads=1, seconds=1)
    assert outcome.termination is al.Termination.TIME_LIMIT
    seen: list[al.Progress] = []
    outcome = solve_with(
        problem, CORES, late, threads=1, seconds=20,
        callback=lambda state: bool(seen.append(state)) or len(seen) > 5,
    )  # fmt: skip
    assert outcome.termination is al.Termination.INTERRUPTED


@pytest.mark.parametrize("problem", [assignment(), fleet()], ids=["assignment", "fleet"])
def test_parts_can_be_used_alone(problem: al.AlignmentProblem) -> None:
    found = {
        name: al.solve(problem, name, time_limit=10)
        for name in ("lagrangian:bound", "lagrangian:search", "lagrangian:search+tree")
    }
    bound = found["lagrangian:bound"]
    assert not bound.has_answer
    assert np.isfinite(bound.dual_bound)
    search = found["lagrangian:search"]
    assert search.backend == "lagrangian:search"
    assert search.objective_value <= bound.dual_bound
    assert search.gap < 0.05
    assert found["lagrangian:search+tree"].objective_value >= search.objective_value
    assert ("sweeps" in search.stats) == (problem.n_clients != 4)


def test_an_exact_solver_that_runs_out_of_time_is_a_time_limit(
    monkeypatch: pytest.MonkeyPatch
) -> None:
    early = Outcome.nothing(al.Termination.TIME_LIMIT, bound=1e9)
    monkeypatch.setattr(registry, "solve_by", lambda *_: early)
    result = al.solve(fleet(), "lagrangian", time_limit=60)
    assert result.stats["total_seconds"] < 30
    assert result.termination is al.Termination.TIME_LIMIT


def test_a_bound_without_an_answer_is_shown() -> None:
    result = al.solve(fleet(), "lagrangian:bound", time_limit=10)
    assert f"bound        {result.dual_bound:.12g}" in result.summary()


def test_a_search_alone_ends_without_a_limit() -> None:
    assert al.solve(assignment(), "lagrangian:search").has_answer
    tight = assignment().replace(resources={"units": al.Resource(np.full(20, 7.0), 20)})
    assert not al.solve(tight, "lagrangian:search").has_answer


def test_unknown_parts_are_named() -> None:
    with pytest.raises(al.BackendNotFoundError, match="no part 'prices'; choose some of bound"):
        al.solve(assignment(), "lagrangian:prices")
    with pytest.raises(al.BackendNotFoundError, match="it has none: give 'exchange'"):
        al.solve(assignment(), "exchange:search")


def test_compiling_counts_for_the_kernels_of_the_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    backend, small = get_backend("lagrangian"), fleet(20, 4)
    names = {kernel.__name__ for kernel in needed_kernels.kernels_for(is_assignment=False)}
    monkeypatch.setattr(Kernel, "has", lambda kernel, _: kernel.__name__ in names)
    assert backend.preparation(small) == 0
    assert backend.preparation(assignment()) > 1
    names |= {kernel.__name__ for kernel in needed_kernels.kernels_for(is_assignment=True)}
    assert backend.preparation(assignment()) == 0
    names.remove("keep_only")  # which `search` calls
    assert backend.preparation(assignment()) > 0


@pytest.mark.parametrize("value", [0.0, 1e-3, 3.0])
def test_answers_worth_next_to_nothing_are_proved(value: float) -> None:
    # The bound on the way is far larger: its rounding must not hide that nothing is better.
    rng = np.random.default_rng(8)
    fitness = 10 * rng.standard_normal((3, 9))
    budgets = {"units": al.Resource(rng.integers(1, 9, (3, 9)), 16)}

    def solved(fitness: np.ndarray) -> al.Result:
        problem = al.AlignmentProblem(fitness, 9, load_min=1, load_max=1, resources=budgets)
        return al.solve(problem, "lagrangian", threads=1, time_limit=20)

    first = solved(fitness + 100)
    assert first.status is al.Status.OPTIMAL
    moved = fitness + 100 - (first.objective_value - value) / 9
    result = solved(moved)
    assert result.status is al.Status.OPTIMAL
    assert result.objective_value == pytest.approx(value, abs=1e-9)
    assert result.stats["total_seconds"] < 10


def test_many_layers_under_budgets_end_near_the_bound() -> None:
    # 0.6% where searches took no account of the layers' minima.
    problem = generate("deep", seed=1, clients=40, layers=8, experts=16)
    assert al.solve(problem, "lagrangian:search").gap <= 4e-3
