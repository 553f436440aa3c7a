"""Annealing for generalized assignment."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Iterator
from fractions import Fraction
from types import SimpleNamespace

import numpy as np
import pytest

import alignsolve as al
from alignsolve.backends.incumbent import SharedIncumbent
from alignsolve.backends.lagrangian import pipeline, tree_kernels
from alignsolve.backends.lagrangian.annealing import Annealing, _least
from alignsolve.backends.lagrangian.annealing_kernels import anneal
from alignsolve.backends.lagrangian.bound import Relaxation
from alignsolve.backends.lagrangian.gap_search import GapSearch
from alignsolve.backends.lagrangian.other_solvers import OtherSolvers
from alignsolve.backends.lagrangian.params import AnnealingParams, GapSearchParams
from alignsolve.generators import generate
from alignsolve.status import Limits

SHORT = AnnealingParams(first_moves=100_000)


def annealed(
    problem: al.AlignmentProblem, rounds: int, seed: int = 0, params: AnnealingParams = SHORT
) -> SharedIncumbent:
    """Return what some rounds find."""
    best = SharedIncumbent(problem, Limits(seed=seed))
    annealing = Annealing(Relaxation(problem, 1), best, params)
    while annealing.rounds < rounds and not best.infeasible:
        annealing.step()
    return best


def generalized_assignment(cost: np.ndarray, size: np.ndarray, budget: list[int]):
    """Return a problem of given costs, sizes and budgets."""
    return al.AlignmentProblem.from_cost(
        cost, cost.shape[1], load_min=1, load_max=1,
        resources={"capacity": al.Resource(size, np.array(budget))},
    )  # fmt: skip


@pytest.mark.parametrize(("kind", "share"), [("c", 0.03), ("d", 0.015), ("e", 0.015)])
def test_comes_close_to_the_best_value_soon(kind: str, share: float) -> None:
    problem = generate(f"gap-{kind}", seed=1, agents=10, jobs=100)
    bound = al.solve(problem, "lagrangian:bound").dual_bound
    found = annealed(problem, 3)
    assert bound <= -found.value <= (1 + share) * bound


@pytest.mark.parametrize("seed", [22, 23])
def test_budgets_that_cost_next_to_nothing_are_kept_too(seed: int) -> None:
    # Most jobs fit where they cost least: a unit too much costs little beside a job moved away.
    problem = generate("gap-c", seed=seed, agents=80, jobs=1600)
    least = -problem.values(slice(0, 80)).max(axis=0).sum()
    found = annealed(problem, 1, params=AnnealingParams())
    assert least <= -found.value <= 1.02 * least


def test_the_same_seed_and_work_give_the_same_answer() -> None:
    problem = generate("gap-d", seed=2, agents=8, jobs=60)
    first, second, other = (annealed(problem, 2, seed).pairs for seed in (3, 3, 4))
    assert np.array_equal(first, second)
    assert not np.array_equal(first, other)


def test_a_swap_is_found_that_no_shift_leads_to() -> None:
    # Both agents are full whoever holds which of the two large jobs, and small ones fill up.
    cost = np.array([[1, 9, 5, 5, 5, 5, 5, 5], [9, 1, 5, 5, 5, 5, 5, 5]], dtype=float)
    size = np.array([[6, 6, 1, 1, 1, 1, 1, 1]] * 2)
    owner, found = np.array([1, 0, 0, 0, 0, 1, 1, 1]), np.empty(8, dtype=np.int64)
    likely = np.array([[0, 1]] * 8)
    # Nothing that loses is accepted, and any shift alone breaks a budget.
    value = anneal(cost, -cost, size, np.array([9, 9]), np.full(2, 1e6), np.ones(2), likely,
                   0.0, 0.0, 1000, 0, owner, -np.inf, found)
    assert value == -32
    assert found.tolist() == owner.tolist() == [0, 1, 0, 0, 0, 1, 1, 1]


@pytest.mark.parametrize(("chained", "value", "owners"), [(0.0, -15, [0, 1, 2]),
                                                          (1.0, -3, [1, 2, 0])])
def test_three_agents_exchange_jobs_where_no_two_do(
    chained: float, value: float, owners: list[int]
) -> None:
    cost = np.array([[5, 20, 1], [1, 5, 20], [20, 1, 5]], dtype=float)
    size, likely = np.ones((3, 3), dtype=int), np.array([[0, 1, 2]] * 3)
    owner, found = np.arange(3), np.arange(3)
    # Budgets are full, and nothing that loses is accepted.
    reached = anneal(cost, -cost, size, np.ones(3, dtype=int), np.full(3, 1e6), np.ones(3), likely,
                     0.0, chained, 1000, 0, owner, -15.0, found)
    assert reached == value
    assert owner.tolist() == found.tolist() == owners


def test_prices_bound_and_report_and_keep_to_their_share_of_the_time() -> None:
    problem = generate("gap-d", seed=2, agents=8, jobs=60)
    least = -al.solve(problem, "lagrangian:bound").dual_bound

    def priced(**wanted: float) -> tuple[SharedIncumbent, int]:
        calls: list[float] = []

        def report(value: float, bound: float) -> bool:
            calls.append(bound)
            return False

        limits = Limits(deadline=time.perf_counter() + 1000.0, report=report)  # type: ignore[arg-type]
        best = SharedIncumbent(problem, limits)
        Annealing(Relaxation(problem, 1), best, AnnealingParams(**wanted))  # type: ignore[arg-type]
        assert calls == sorted(calls, reverse=True) and calls[-1] == best.bound
        return best, len(calls)

    best, reports = priced(price_rounds=40)
    assert reports == 40 and least <= best.bound <= 0.97 * least < 0
    assert priced(price_share=0.0)[1] == 1


def test_the_likeliest_agents_are_in_order_and_the_first_of_equals_leads() -> None:
    loss = np.random.default_rng(0).integers(0, 4, (50, 12)).astype(float)
    loss[0, :9] = np.inf
    columns, entries = _least(loss, 5)
    rest = np.sort(loss, axis=1)
    assert np.array_equal(entries, rest[:, :5])
    assert np.array_equal(np.take_along_axis(loss, columns, axis=1), entries)
    tied = entries[:, 1:] == entries[:, :-1]
    assert (np.diff(columns, axis=1)[tied] > 0).all()


def test_no_tree_runs_once_the_search_is_over() -> None:
    over = SimpleNamespace(best=SimpleNamespace(is_over=True))
    assert not list(GapSearch._run(over, SimpleNamespace(nodes=0), np.inf, np.inf))  # type: ignore[arg-type]


@pytest.mark.parametrize("threads", [1, 2])
def test_annealing_begins_soon_within_a_short_limit(
    monkeypatch: pytest.MonkeyPatch, threads: int
) -> None:
    now, waits, begun = [100.0], [], []
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    problem = generate("gap-d", seed=2, agents=8, jobs=60)
    run = pipeline._Run(problem, Limits(deadline=101.0, threads=threads), {"search"},
                        lambda *_: pytest.fail("asked another solver"), GapSearchParams())
    relaxation = Relaxation(problem, threads)
    annealing = Annealing(relaxation, run.best, SHORT)

    def respond(*args: object, real: object = relaxation.responses) -> object:
        now[0] += 0.02  # a pass
        return real(*args)  # type: ignore[operator]

    class Event(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            waits.append(timeout)
            return True

    monkeypatch.setattr(pipeline, "threading", SimpleNamespace(Event=Event))
    monkeypatch.setattr(relaxation, "responses", respond)
    monkeypatch.setattr(annealing, "step", lambda: begun.append(now[0]))
    run._price_and_anneal(relaxation, annealing)
    # With one thread after a pass at most, with two after what its thread waits.
    assert (begun[0] - 100.0 if threads == 1 else waits[0]) <= 0.1 + 0.02


def searched(problem: al.AlignmentProblem, best: SharedIncumbent) -> GapSearch:
    """Return the two searches of a problem at rough prices."""
    relaxation = Relaxation(problem, 1)
    annealing = Annealing(relaxation, best, SHORT)
    priced = relaxation.responses(annealing.job_prices[None, :])
    others = OtherSolvers(best, lambda *_: pytest.fail("asked another solver"))
    return GapSearch(relaxation, priced, best, others, annealing, {"search"})


def test_a_dive_ends_soon_after_the_search_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    problem = generate("gap-d", seed=2, agents=8, jobs=120)
    best = SharedIncumbent(problem, Limits())
    search, calls = searched(problem, best), []

    def process(*args: object, real: object = tree_kernels.process) -> object:
        calls.append(args)
        if len(calls) == 3:
            best.stop()
        return real(*args)  # type: ignore[operator]

    monkeypatch.setattr(tree_kernels, "process", process)
    search.run()
    assert len(calls) == 3


def test_a_tree_ends_within_a_node_where_it_is_stopped() -> None:
    problem = generate("gap-d", seed=2, agents=5, jobs=20)
    search = searched(problem, SharedIncumbent(problem, Limits()))
    search.stop[0] = True
    tree = search._tree(-np.inf)
    ended = tree.run(1000)
    assert (ended.status, ended.clients, tree.nodes) == ("open", None, 1)
    search.stop[0] = False
    assert search._tree(-np.inf).run(1000).status == "found"


def test_budgets_that_never_bind_cost_nothing() -> None:
    cost = np.arange(24.0).reshape(3, 8) % 7
    best = annealed(generalized_assignment(cost, np.ones((3, 8), dtype=int), [8, 8, 8]), 1)
    assert best.value == -cost.min(axis=0).sum()


def test_a_job_that_fits_no_agent_is_a_proof() -> None:
    size = np.ones((2, 8), dtype=int)
    size[:, 3] = 10
    assert annealed(generalized_assignment(np.ones((2, 8)), size, [9, 9]), 1).infeasible


def test_forbidden_pairs_are_not_held() -> None:
    problem = generate("gap-c", seed=3, agents=5, jobs=40)
    fitness = problem.fitness.copy()
    fitness[::2, ::3] = -np.inf
    best = annealed(problem.replace(fitness=fitness), 2)
    assert best.pairs is not None
    assert np.isfinite(fitness[best.pairs]).all()


def test_the_first_bound_is_no_less_than_the_sum_it_rounds() -> None:
    cost = np.random.default_rng(0).random((3, 200))
    problem = generalized_assignment(cost, np.ones((3, 200), dtype=int), [100] * 3)
    best = SharedIncumbent(problem, Limits())
    Annealing(Relaxation(problem, 1), best, AnnealingParams(price_rounds=1))
    exact = -sum(map(Fraction, cost.min(axis=0).tolist()))
    assert 0 < Fraction(best.bound) - exact < 1e-9


def test_a_job_may_fill_its_agent() -> None:
    size = np.full((3, 8), 10)
    size[0, :7], size[1, 7], size[2, 0] = 1, 9, 1
    best = annealed(generalized_assignment(np.ones((3, 8)), size, [9, 9, 9]), 1)
    assert (best.infeasible, best.value) == (False, -8)


@pytest.mark.parametrize(("seconds", "value", "remaining", "stuck"), [
    (1.0, -20.0, 3.0, False), (3.0, -20.0, 20.0, True), (3.0, -20.0, 40.0, False),
    (3.0, -11.0, 20.0, False), (3.0, -np.inf, 20.0, False), (3.0, -20.0, np.inf, False),
])  # fmt: skip
def test_a_proof_is_stuck_where_its_levels_take_longer_than_what_is_left(
    monkeypatch: pytest.MonkeyPatch, seconds: float, value: float, remaining: float, stuck: bool
) -> None:
    monkeypatch.setattr(time, "perf_counter", lambda: 100.0)
    limits = SimpleNamespace(remaining=lambda: remaining)
    search = SimpleNamespace(
        best=SimpleNamespace(bound=-10.0, value=value, limits=limits), step=1.0,
        level_began=100.0 - seconds, params=GapSearchParams(core_seconds=2.0),
    )  # fmt: skip
    assert GapSearch._is_stuck.fget(search) == stuck  # type: ignore[attr-defined]


def test_searches_have_their_shares_of_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    ticks, steps = itertools.count(), [0, 0, 0]
    monkeypatch.setattr(time, "perf_counter", lambda: float(next(ticks)))
    best = SimpleNamespace(is_over=False)

    def stepped(at: int) -> Iterator[None]:
        while True:
            steps[at] += 1
            best.is_over = sum(steps) == 110
            yield

    searches = [(stepped(at), lambda share=share: share) for at, share in enumerate((1, 0.1, 0))]
    GapSearch._alternate(SimpleNamespace(best=best, threads=2), searches)  # type: ignore[arg-type]
    assert steps[2] == 0 and 98 <= steps[0] <= 101
