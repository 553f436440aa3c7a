"""The backends that solve any linear model: exact answers, valid bounds, limits, Ctrl-C."""

from __future__ import annotations

import csv
import math
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings

import alignsolve as al
from alignsolve.backends import get_backend
from alignsolve.backends.milp import float_solver
from alignsolve.backends.milp.float_scaling import scaled_model
from alignsolve.backends.milp.linear_model import build_linear_model
from alignsolve.backends.milp.linear_solve import ModelOutcome, Task, solve_linear
from alignsolve.backends.milp.ortools_mip import _Journal, _written_points
from alignsolve.interruptible import calls
from alignsolve.io import read_instances
from alignsolve.model.feasibility import violations
from alignsolve.status import Limits, Outcome
from tests.files import ROOT
from tests.nasty import magnitude, nasty_problem
from tests.strategies import any_problems, brute_force

NAMES = ("ortools-cpsat", "ortools-mip", "ortools-scip", "scipy-milp")


def check(problem: al.AlignmentProblem, answer: Outcome, best: float | None, size: float) -> None:
    """Check an answer against the optimum, None for an infeasible problem."""
    assert answer.infeasible == (best is None)
    if best is None:
        return
    assert answer.row_ind is not None
    assert answer.col_ind is not None
    assert not violations(problem, answer.row_ind, answer.col_ind)
    value = problem.sign * problem.objective(answer.row_ind, answer.col_ind)
    assert value == pytest.approx(problem.sign * best, abs=1e-8 * size)
    assert answer.bound >= problem.sign * best - 1e-9 * size
    assert answer.bound <= problem.sign * best + 1e-6 * max(1.0, size)


@pytest.mark.parametrize("name", NAMES)
def test_agrees_with_brute_force(name: str) -> None:
    backend = get_backend(name)

    @settings(max_examples=60)
    @given(any_problems())
    def agrees(problem: al.AlignmentProblem) -> None:
        best = brute_force(problem)[0]
        check(problem, backend.solve(problem, Limits()), best, 1 + magnitude(problem))

    agrees()


#: The named seeds once broke a scaling, a solver's presolve, or a cut.
NASTY = [3, 5, 41, 60, 82, 89, 312, 338, 350, 468, 816, *range(900, 920)]


@pytest.mark.parametrize("name", NAMES)
def test_keeps_the_tolerance_exactly(name: str) -> None:
    backend = get_backend(name)
    for seed in NASTY:
        problem = nasty_problem(seed)
        answer = backend.solve(problem, Limits())
        check(problem, answer, brute_force(problem)[0], magnitude(problem))


@pytest.mark.parametrize("name", [*NAMES, "lagrangian", "auto"])
@pytest.mark.parametrize(
    ("sizes", "budget", "fits"),
    [
        ([0.1, 0.2], 0.3, True),
        ([0.1, 0.2], 0.3 - 2e-9, False),
        ([0.1e12, 0.2e12], 0.3e12, True),
        ([0.1e12, 0.2e12], 0.3e12 * (1 - 2e-9), False),
        ([1e-12, 2e-12], 3e-12, True),
        ([1 / 3, 2 / 3], 1.0, True),
        ([1 / 3, 2 / 3], 1 - 0.9e-9, True),
        ([1 / 3, 2 / 3], 1 - 1.1e-9, False),
        ([1 / 3, 2 / 3], 1 - 1e-7, False),
        ([1e12 / 3, 2e12 / 3], 1e12, True),
        ([1e12 / 3, 2e12 / 3], 1e12 * (1 - 1e-7), False),
        ([0.0, 0.0], 0.0, True),
    ],
)
def test_budgets_hit_and_missed(
    name: str, sizes: list[float], budget: float, fits: bool
) -> None:
    # A third expert keeps the row from being idle.
    resource = al.Resource([*sizes, max(sizes)], budget)
    problem = al.AlignmentProblem([[1.0, 1.0, 0.01]], 3, resources={"a": resource})
    result = al.solve(problem, name)
    assert result.status is al.Status.OPTIMAL
    assert result.col_ind[:2].tolist() == [0, 1] or not fits
    assert fits == (result.objective_value >= 2)


@pytest.mark.parametrize("name", NAMES)
def test_load_minimum_that_is_just_met(name: str) -> None:
    for miss, feasible in ((0.9e-9, True), (1.1e-9, False), (1e-6, False)):
        load = al.Load([1 / 3, 2 / 3], min=1 + miss)
        problem = al.AlignmentProblem([[-1.0], [-1.0]], 1, loads={"samples": load})
        answer = get_backend(name).solve(problem, Limits())
        assert answer.infeasible != feasible


@pytest.mark.parametrize("name", NAMES)
def test_named_load_penalty_is_refined(name: str) -> None:
    rng = np.random.default_rng(5)
    load = al.Load(rng.uniform(1, 9, 12), penalty=0.05, target=[11.3, 17.9])
    problem = al.AlignmentProblem(rng.random((12, 2)), 1, loads={"samples": load})
    answer = get_backend(name).solve(problem, Limits())
    assert answer.row_ind is not None
    assert answer.col_ind is not None
    value = problem.objective(answer.row_ind, answer.col_ind)
    # Neither client nor pair of clients can be moved for the better.
    choice = np.full(12, 2)
    choice[answer.row_ind] = answer.col_ind
    for first in range(12):
        for second in range(12):
            for here in range(3):
                for there in range(3):
                    other = choice.copy()
                    other[[first, second]] = here, there
                    rows = np.flatnonzero(other < 2)
                    assert problem.objective(rows, other[rows]) <= value + 1e-7
    assert answer.bound == pytest.approx(value, abs=1e-5)
    assert answer.stats["rounds"] >= 1


def fleet(n: int, m: int, seed: int = 0) -> al.AlignmentProblem:
    """Return a problem with three resources that no solver proves in seconds."""
    rng = np.random.default_rng(seed)
    return al.AlignmentProblem(
        rng.random((n, m)), 4, load_min=1, load_max=n * 5 // m,
        resources={
            "memory_mb": al.Resource(rng.uniform(1, 10, m), rng.uniform(8, 20, n)),
            "down_mb": al.Resource(rng.uniform(1, 10, m), rng.uniform(8, 20, n)),
            "seconds": al.Resource(rng.uniform(0.1, 3, (n, m)), rng.uniform(1, 5, n)),
        },
        loads={"samples": al.Load(rng.uniform(10, 100, n), max=3 * n)},
    )


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("limit", [0.2, 1.0])
def test_keeps_time_limits(name: str, limit: float) -> None:
    problem = fleet(200, 48)
    get_backend(name).solve(problem, Limits(deadline=time.perf_counter() + 0.01))
    result = al.solve(problem, name, time_limit=limit)
    # Far more than the promise, for slow and busy machines, and far less than without a limit.
    assert result.stats["total_seconds"] < limit + 15
    assert result.status is not al.Status.INFEASIBLE
    assert result.dual_bound >= 100
    if result.has_answer:
        assert result.objective_value <= result.dual_bound


@pytest.mark.parametrize("name", NAMES)
def test_no_time_at_all_leaves_the_warm_start(name: str) -> None:
    problem = fleet(40, 8)
    warm = al.solve(problem, "greedy")
    result = al.solve(problem, name, time_limit=0, warm_start=warm)
    assert result.status is al.Status.FEASIBLE
    assert result.objective_value == warm.objective_value
    assert result.termination is al.Termination.TIME_LIMIT
    assert math.isfinite(result.dual_bound)


@pytest.mark.parametrize("name", ["ortools-cpsat", "ortools-mip", "ortools-scip"])
def test_warm_starts_are_taken_up(name: str) -> None:
    problem = fleet(12, 6).replace(load_min=0)
    best = al.solve(problem, "ortools-mip")
    assert best.status is al.Status.OPTIMAL
    assert get_backend(name).capabilities.warm_start
    result = al.solve(problem, name, warm_start=best)
    assert result.objective_value == pytest.approx(best.objective_value, rel=1e-6)
    # One that breaks bounds does no harm.
    rows, cols = np.nonzero(np.ones((12, 6)))
    result = al.solve(problem, name, warm_start=(rows, cols))
    assert result.objective_value == pytest.approx(best.objective_value, rel=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_options_pass_through(name: str) -> None:
    problem = fleet(30, 8)
    result = al.solve(problem, name, rel_gap=0.2, seed=7, threads=1, time_limit=30)
    assert result.gap <= 0.2 + 1e-9
    assert result.certificate is not None
    assert result.certificate.source.split()[0] in ("CP-SAT", "HiGHS", "SCIP")
    assert any(library in result.certificate.source for library in ("ortools 9.", "scipy 1."))
    assert {"build_seconds", "solve_seconds", "rounds", "nodes"} <= set(result.stats)


@pytest.mark.parametrize("name", NAMES)
def test_contradictory_bounds_are_infeasible(name: str) -> None:
    contradictions = [
        {"load_min": 2, "load_max": 1},
        {"min_experts": 3},
        {"min_experts": 2, "max_experts": 1},
        {"client_fitness_min": [5.0, 100.0]},
        {"loads": {"samples": al.Load([1.0, 2.0], min=np.inf)}},
        {"resources": {"a": al.Resource([1.0, 1.0], -1.0)}},
        {"resources": {"a": al.Resource([3.0, 4.0], 2.0)}, "min_experts": 1},
    ]
    for bounds in contradictions:
        arguments = {"max_experts": 2} | bounds
        problem = al.AlignmentProblem([[1.0, 2.0], [3.0, 4.0]], **arguments)
        expected = brute_force(problem)[0] is None
        assert expected or "resources" in bounds
        assert get_backend(name).solve(problem, Limits()).infeasible == expected


@pytest.mark.parametrize("name", NAMES)
def test_nobody_may_hold_anything(name: str) -> None:
    problem = al.AlignmentProblem(np.full((2, 2), -np.inf), 1, load_penalty=1, load_target=3)
    result = al.solve(problem, name)
    assert result.status is al.Status.OPTIMAL
    assert result.objective_value == -18
    assert al.solve(problem.replace(load_penalty=0), name).objective_value == 0


class Liar:
    """A solver that says what it is told to."""

    source = "Liar"

    def __init__(self, outcome: ModelOutcome) -> None:
        self.outcome = outcome

    def run(self, task: Task) -> ModelOutcome:
        return self.outcome

    def stop(self, interrupted: bool) -> bool:
        return False

    def so_far(self, task: Task) -> ModelOutcome:
        return ModelOutcome()


def test_claims_that_a_feasible_answer_refutes_are_dropped() -> None:
    problem = al.AlignmentProblem([[3.0, 1.0], [2.0, 2.5]], 1, resources={
        "a": al.Resource([1.0, 2.0], 2.0)})
    warm = al.solve(problem, "greedy")
    options = Limits(warm_start=(warm.row_ind, warm.col_ind))
    answer = solve_linear(problem, options, Liar(ModelOutcome(infeasible=True)))
    assert not answer.infeasible
    assert answer.termination is al.Termination.FAILED
    low = ModelOutcome(bound=warm.objective_value - 1, finished=True)
    answer = solve_linear(problem, options, Liar(low))
    assert answer.termination is al.Termination.FAILED
    assert answer.source == "best responses without prices"
    assert answer.bound >= warm.objective_value


INTERRUPTED = """
import os, signal, sys, threading, time
import numpy as np
from tests.alignsolve.backends.milp.test_mip_backends import fleet
import alignsolve as al
# A parent that runs in the background may have had Ctrl-C ignored.
signal.signal(signal.SIGINT, signal.default_int_handler)

problem = fleet(200, 48).replace(load_min=0)
nothing = np.empty(0, dtype=np.int64)
# The library loads first: Ctrl-C should meet the search.
al.solve(al.AlignmentProblem([[3.0, 1.0], [2.0, 2.5]], 1, load_max=1), sys.argv[1])
threading.Timer(1.5, os.kill, (os.getpid(), signal.SIGINT)).start()
started = time.perf_counter()
result = al.solve(problem, sys.argv[1], warm_start=(nothing, nothing), time_limit=60)
print("ended", result.termination.value, result.status.value, result.dual_bound < 1e9,
      time.perf_counter() - started < 30)
"""


@pytest.mark.parametrize("name", NAMES)
def test_ctrl_c_gives_the_best_so_far(name: str) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", INTERRUPTED, name],
        capture_output=True, text=True, timeout=120, check=False,
        cwd=ROOT,
    )
    assert "ended interrupted feasible True True" in ended.stdout, ended.stderr
    assert ended.returncode == 0, ended.stderr


@pytest.mark.parametrize("name", ["ortools-mip", "ortools-scip", "scipy-milp"])
def test_a_process_of_its_own_changes_no_answer(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    problem = fleet(20, 6).replace(load_min=0)
    here = al.solve(problem, name, repeatable=True)
    monkeypatch.setattr(float_solver, "FEW_COLUMNS", 0)
    there = al.solve(problem, name, repeatable=True)
    assert here.has_answer
    assert (there.row_ind.tolist(), there.col_ind.tolist(), there.dual_bound) == (
        here.row_ind.tolist(), here.col_ind.tolist(), here.dual_bound
    )


def test_a_solver_that_dies_is_an_error_that_says_how(monkeypatch: pytest.MonkeyPatch) -> None:
    began = "import os, pickle; os.write(1, pickle.dumps(('began', None))); os._exit(7)"
    monkeypatch.setattr(calls, "COMMAND", began)
    with pytest.raises(al.BackendError, match="'scipy-milp' failed: its process ended with exit"):
        al.solve(fleet(40, 8), "scipy-milp")


def test_half_written_answers_are_left_out() -> None:
    assert _written_points("", 3) == []
    text = "Objective 1\n# Columns -1\n 1 2\nObjective 2\n# Columns -2\n 1 0\n 0.5 1\n"
    assert [p.tolist() for p in _written_points(text, 3)] == [[0, 0, 1], [1, 0.5, 0]]
    text = "Objective 1\n# Columns -1\n 1 2\nObjective 2\n# Columns -2\n 1 0\n 0."
    assert [p.tolist() for p in _written_points(text, 3)] == [[0, 0, 1]]


@pytest.mark.parametrize("name", NAMES)
def test_published_optima(name: str, published: Path) -> None:
    with (published / "OPTIMA.csv").open() as lines:
        optima = {(row["file"], row["problem"]): row for row in csv.DictReader(lines)}
    for file, problem in (("gap1", 1), ("gap3", 2), ("gapa", 1), ("gapa", 2)):
        row = optima[f"orlib/{file}.txt", str(problem)]
        found = read_instances(published / "orlib" / f"{file}.txt", sense=row["sense"])[problem - 1]
        result = al.solve(found, name)
        assert result.status is al.Status.OPTIMAL
        assert result.objective_value == float(row["best_known"])
        assert result.dual_bound == float(row["best_known"])


def test_what_highs_writes_is_told_once() -> None:
    model = scaled_model(build_linear_model(al.AlignmentProblem([[3.0, 5.0]], 1)))
    told: list[ModelOutcome] = []
    journal = _Journal(told.append, model)

    def log(bound: float) -> str:
        return f" T       3       1         2  50.00%   {bound}         1.0   "

    journal.read(["no line of the table", log(7), log(6)])
    assert [outcome.bound for outcome in told] == [pytest.approx(6)]
    assert not told[0].points
    # Neither is news: the same bound, a worse one, and no new answer.
    for lines in ([log(6)], [log(6.5)], []):
        journal.read(lines)
    assert len(told) == 1
    journal.read([log(5)])
    Path(journal.path).write_bytes(b"Objective value\n# Columns -1\n1 1\n")
    journal.read([])
    assert [outcome.bound for outcome in told] == [pytest.approx(6), *[pytest.approx(5)] * 2]
    assert [outcome.points[-1].tolist() for outcome in told if outcome.points] == [[0, 1]]
    journal.read([log(5)])
    assert len(told) == 3
