"""Whatever a solver does, `solve` keeps what is known and says what happened."""

import dataclasses

import numpy as np
import pytest

import alignsolve as al
from alignsolve import infeasibility
from alignsolve.backends import get_backend
from alignsolve.backends.base import guarded_solve
from alignsolve.backends.lagrangian.backend import LagrangianBackend
from alignsolve.backends.portfolio import AutoParams
from alignsolve.errors import guarded
from alignsolve.generators import generate
from alignsolve.interrupts import Interrupted
from alignsolve.progress import Reporter
from alignsolve.solve.conflicts import find_conflict
from alignsolve.solve.params import SolveParams
from alignsolve.solve.solve import solve_within
from alignsolve.status import Limits, Outcome

ERRORS = [MemoryError(), OSError("no such solver library"), ValueError("odd"), al.BackendError("x")]


def raising(error):
    def solve(*_, **__):
        raise error

    return solve


def failing(names, error):
    """Return a subsolver that fails for some names, and works for the others."""

    def ask(name, problem, limits):
        backend = get_backend(name)
        if name in names:
            backend.solve = raising(error)
        return guarded_solve(backend, problem, limits)

    return ask


def interrupted_asking(asked):
    """Return a subsolver in which Ctrl-C was pressed, and that notes who was asked."""

    def ask(name, *_):
        asked.append(name)
        return Outcome.nothing(al.Termination.INTERRUPTED)

    return ask


def solve_with(behaviours, problem, limits, backend="auto", **more):
    """Solve where the backends of some names behave otherwise."""

    def find(name):
        found = get_backend(name)
        if found.name in behaviours:
            found.solve = behaviours[found.name]
        return found

    params = SolveParams(auto=AutoParams(find=find))
    return solve_within(problem, limits, backend, params=params, **more)


@pytest.mark.parametrize("error", ERRORS)
def test_every_error_becomes_one_of_ours(error):
    with pytest.raises(al.AlignSolveError, match=r"x|the solver (ran out of memory|failed: )"):
        guarded("the solver", raising(error), None)


def test_ctrl_c_is_an_outcome():
    assert guarded("the solver", raising(Interrupted()), "interrupted") == "interrupted"
    with pytest.raises(KeyboardInterrupt):
        guarded("the solver", raising(KeyboardInterrupt()), "interrupted")


@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.parametrize("family", ["scarce", "gap-e"])
def test_the_pipeline_keeps_answer_and_bound_where_a_subsolver_fails(error, family):
    sizes = {"clients": 30, "experts": 6} if family == "scarce" else {"agents": 4, "jobs": 16}
    problem = generate(family, seed=1, **sizes)
    ask = failing(("ortools-mip", "ortools-cpsat", "scipy-milp", "greedy"), error)
    outcome = LagrangianBackend(ask=ask).solve(problem, Limits())
    assert outcome.row_ind is not None
    assert np.isfinite(outcome.bound)
    assert outcome.termination is not al.Termination.FAILED


def test_ctrl_c_in_a_subsolver_ends_the_pipeline():
    asked = []
    problem = generate("scarce", seed=1, clients=30, experts=6)
    outcome = LagrangianBackend(ask=interrupted_asking(asked)).solve(problem, Limits())
    assert outcome.termination is al.Termination.INTERRUPTED
    assert outcome.row_ind is not None
    assert asked == ["ortools-mip"]


MIXED = al.AlignmentProblem(
    np.ones((4, 3)), 2, load_min=2, resources={"mb": al.Resource([3, 4, 5], [3, 3, 4, 4])}
)

#: One client's budget and floor contradict each other, which no relaxation shows.
FLOOR = np.full(700, -np.inf)
FLOOR[5] = 1.4
HIDDEN = al.AlignmentProblem(
    np.ones((700, 13)), 2, client_fitness_min=FLOOR,
    resources={"mb": al.Resource(np.full(13, 2.0), np.full(700, 3.0))},
)  # fmt: skip


def test_the_search_for_a_conflict_goes_on_to_the_next_solver():
    ask = failing(("ortools-cpsat",), MemoryError())
    conflict = infeasibility.find_conflict(HIDDEN, ask, Limits())
    assert conflict.proved
    assert conflict.irreducible
    assert al.check_conflict(HIDDEN, conflict).contradictory


@pytest.mark.parametrize("threads", [1, 2])
def test_limits_reach_the_subsolvers_of_a_conflict(threads):
    seen = []

    def recording(name, problem, limits):
        seen.append(limits)
        return Outcome.nothing(al.Termination.TIME_LIMIT)

    infeasibility.find_conflict(HIDDEN, recording, Limits(seed=7, threads=threads))
    assert seen
    assert {(limits.seed, limits.threads) for limits in seen} == {(7, threads)}


def test_limits_reach_the_elastic_linear_model(monkeypatch):
    import scipy.optimize

    seen, milp = [], scipy.optimize.milp

    def recording(*arguments, options, **more):
        seen.append(options)
        return milp(*arguments, options=options, **more)

    monkeypatch.setattr(scipy.optimize, "milp", recording)
    result = al.solve(MIXED, elastic=True, seed=11, threads=1)
    assert result.relaxations
    own = [options for options in seen if options["mip_rel_gap"] == 0.0]
    assert own
    assert {(options["random_seed"], options["threads"]) for options in own} == {(11, 1)}


def test_ctrl_c_ends_the_search_for_a_conflict_with_what_is_known():
    asked = []
    conflict = infeasibility.find_conflict(HIDDEN, interrupted_asking(asked), Limits())
    assert not conflict.irreducible
    assert len(conflict.bounds) > 1
    # Nobody else is asked.
    assert len(asked) == 1


@pytest.mark.parametrize(
    ("error", "message"),
    [(OSError("lost"), "on Ray failed: lost"), (MemoryError(), "on Ray ran out of memory")],
)
def test_foreign_errors_on_ray_are_backend_errors(monkeypatch, error, message):
    problem = al.AlignmentProblem([[3, 1], [2, 2.5]], 1, load_max=1)
    monkeypatch.setattr("alignsolve.distributed.engine.solve_on_ray", raising(error))
    with pytest.raises(al.BackendError, match=message):
        al.solve(problem, engine="ray")


def test_ctrl_c_on_ray_is_a_result(monkeypatch):
    problem = al.AlignmentProblem([[3, 1], [2, 2.5]], 1, load_max=1)
    monkeypatch.setattr("alignsolve.distributed.engine.solve_on_ray", raising(Interrupted()))
    result = al.solve(problem, engine="ray")
    assert result.termination is al.Termination.INTERRUPTED
    assert not result.has_answer
    assert dataclasses.is_dataclass(result)


@pytest.mark.parametrize("error", [error for error in ERRORS if error.args != ("x",)])
def test_a_linear_program_that_fails_does_not_end_the_search_for_a_conflict(monkeypatch, error):
    monkeypatch.setattr("scipy.optimize.linprog", raising(error))
    conflict = al.solve(MIXED).conflict
    assert conflict.irreducible
    assert al.check_conflict(MIXED, conflict).contradictory


def test_ctrl_c_in_a_linear_program_ends_the_search_for_a_conflict(monkeypatch):
    monkeypatch.setattr("scipy.optimize.linprog", raising(Interrupted()))
    result = al.solve(MIXED, "ortools-cpsat")
    assert result.status is al.Status.INFEASIBLE
    asked = []
    with pytest.raises(KeyboardInterrupt):
        infeasibility.find_conflict(MIXED, interrupted_asking(asked), Limits())
    assert not asked


@pytest.mark.parametrize("error", [MemoryError(), Interrupted()])
def test_a_proof_of_infeasibility_outlasts_the_search_for_a_conflict(monkeypatch, error):
    monkeypatch.setattr("alignsolve.infeasibility.find.find_flow_conflict", raising(error))
    result = al.solve(MIXED)
    assert result.status is al.Status.INFEASIBLE
    assert result.conflict is None


def test_ctrl_c_ends_the_check_of_a_conflict():
    conflict = find_conflict(HIDDEN)
    with pytest.raises(KeyboardInterrupt):
        infeasibility.check_conflict(HIDDEN, conflict, interrupted_asking([]), Limits())


def infeasible(*_):
    return Outcome.proved_infeasible()


def test_limits_on_work_are_not_for_the_search_for_a_conflict():
    limits = Limits(repeatable=True, threads=1)
    result = solve_with({"greedy": infeasible}, HIDDEN, limits, "greedy")
    assert {bound.kind for bound in result.conflict.bounds} == {"resource", "client_fitness_min"}
    assert result.conflict.irreducible


def test_the_callback_ends_the_search_for_a_conflict():
    seen = []

    def stop(state):
        seen.append(state)
        return len(seen) > 1

    limits = Limits(report=Reporter(HIDDEN, stop, 0.0))
    result = solve_with({"greedy": infeasible}, HIDDEN, limits, "greedy")
    assert result.status is al.Status.INFEASIBLE
    assert not result.conflict.irreducible
    # The questions' own values are nobody's business.
    assert all(np.isnan(state.objective_value) for state in seen)
    assert len(seen) == 2


@pytest.mark.parametrize("error", [MemoryError(), OSError("lost"), ValueError("odd")])
@pytest.mark.parametrize("works", [0, 1])
def test_an_elastic_answer_outlasts_the_linear_model(monkeypatch, error, works):
    import scipy.optimize

    calls, milp = [], scipy.optimize.milp

    def failing_later(*arguments, **more):
        calls.append(1)
        if len(calls) > works:
            raise error
        return milp(*arguments, **more)

    # Only elastic mips call it here: the others go by OR-Tools.
    monkeypatch.setattr(scipy.optimize, "milp", failing_later)
    result = al.solve(MIXED, elastic=True)
    assert result.has_answer
    assert result.relaxations
    assert len(calls) == works + 1


def test_ctrl_c_in_a_solver_ends_the_elastic_solve(monkeypatch):
    # Holders alone contradict: the rest is solved at the least violation, which Ctrl-C ends.
    problem = al.AlignmentProblem(
        np.ones((4, 3)), 1, load_min=2, resources={"mb": al.Resource([3, 4, 5], [3, 3, 4, 4])}
    )
    interrupted = Outcome.nothing(al.Termination.INTERRUPTED)
    behaviours = dict.fromkeys(("exchange", "lagrangian", "greedy"), lambda *_: interrupted)
    # The linear model of the least violation, which only SciPy solves, is not begun any more.
    begun = []
    monkeypatch.setattr("scipy.optimize.milp", lambda *_, **__: begun.append(1))
    result = solve_with(behaviours, problem, Limits(), elastic=True)
    assert not begun
    assert result.termination is al.Termination.INTERRUPTED
    assert result.has_answer


def test_auto_goes_on_where_a_backend_finds_out_late_that_it_cannot():
    problem = al.AlignmentProblem([[3, 1], [2, 2.5]], 1, load_max=1)
    late = raising(al.UnsupportedProblemError("overflows"))
    result = solve_with({"exchange": late}, problem, Limits())
    assert result.status is al.Status.OPTIMAL
    assert result.fallbacks == (al.Fallback("exchange", "overflows"),)
