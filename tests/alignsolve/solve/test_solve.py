"""`solve`: choice of backend, fallbacks, limits, and what is believed."""

from __future__ import annotations

import dataclasses
import logging
import math
import re
import signal
import sys
import time
from collections.abc import Callable, Mapping

import numpy as np
import pytest

import alignsolve as al
from alignsolve.backends import base
from alignsolve.backends.greedy.backend import GreedyBackend
from alignsolve.backends.portfolio import AutoParams
from alignsolve.generators import generate
from alignsolve.interrupts import Call, Interrupted
from alignsolve.model.feasibility import violations
from alignsolve.model.problem import AlignmentProblem
from alignsolve.progress import Reporter
from alignsolve.solve.params import SolveParams
from alignsolve.solve.solve import solve_within

PROBLEM = AlignmentProblem([[3, 1], [2, 2.5]], 1, load_max=1)
ALL = frozenset(al.Feature)


class FakeBackend(base.Backend):
    """A backend whose behaviour the test gives."""

    name = "exchange"
    capabilities = base.Capabilities(ALL, True, True, True)

    def __init__(
        self,
        behaviour: Callable[[AlignmentProblem, base.Limits], base.Outcome],
        capabilities: base.Capabilities | None = None,
        seconds: float = math.nan,
    ) -> None:
        self.behaviour = behaviour
        self.seconds = seconds
        if capabilities is not None:
            self.capabilities = capabilities  # type: ignore[misc]

    def solve(self, problem: AlignmentProblem, options: base.Limits) -> base.Outcome:
        return self.behaviour(problem, options)

    def estimated_seconds(self, problem: AlignmentProblem) -> float:
        return self.seconds

    def answers_soon(self, problem: AlignmentProblem) -> bool:
        return True


def pairs(rows: list[int], cols: list[int], **more: object) -> base.Outcome:
    return base.Outcome(al.Termination.PROVED, np.array(rows), np.array(cols), **more)  # type: ignore[arg-type]


def pairs_of(cols: list[int]) -> tuple[np.ndarray, np.ndarray]:
    return np.arange(len(cols)), np.array(cols)


def solve_by(
    backends: Mapping[str, base.Backend], problem: AlignmentProblem = PROBLEM,
    backend: str = "auto", time_limit: float = math.inf,
) -> al.Result:  # fmt: skip
    """Solve by some backends alone, which "auto" tries in this order."""
    order = dict.fromkeys(("flow", "mip"), tuple(backends))
    params = SolveParams(auto=AutoParams(order, lambda name: backends[name.partition(":")[0]]))
    limits = base.Limits(deadline=time.perf_counter() + time_limit)
    return solve_within(problem, limits, backend, params=params)


def fake_first(fake: FakeBackend) -> dict[str, base.Backend]:
    """Put a fake before greedy alone."""
    return {"exchange": fake, "greedy": GreedyBackend()}


def raising(error: BaseException) -> Callable[..., base.Outcome]:
    def behaviour(*_: object) -> base.Outcome:
        raise error

    return behaviour


def test_optimal_with_proof() -> None:
    result = al.solve(PROBLEM)
    assert result.status is al.Status.OPTIMAL
    assert result.termination is al.Termination.PROVED
    assert (result.row_ind.tolist(), result.col_ind.tolist()) == ([0, 1], [0, 1])
    assert result.objective_value == result.dual_bound == 5.5
    assert (result.gap, result.gap_abs) == (0, 0)
    assert result.loads.tolist() == [1, 1]
    assert result.matrix().toarray().tolist() == [[True, False], [False, True]]
    assert result.prices is not None
    assert al.certify(PROBLEM, result.row_ind, result.col_ind, result.prices).optimal
    assert "optimal" in result.summary()


@pytest.mark.parametrize(
    ("behaviour", "reason"),
    [
        (raising(ValueError("bad licence")), "backend 'exchange' failed: bad licence"),
        (raising(al.BackendError("no luck")), "no luck"),
        (raising(MemoryError()), "backend 'exchange' ran out of memory"),
        (
            lambda *_: base.Outcome.proved_infeasible(),
            "backend 'exchange' called the problem infeasible, and it is not: the problem is "
            "feasible: its bounds have no conflict",
        ),
        (
            lambda *_: base.Outcome.nothing(al.Termination.WORK_LIMIT),
            "gave up: work limit",
        ),
        (
            lambda *_: pairs([0, 1], [0, 0]),
            "backend 'exchange' broke a bound: expert 0 has 2 holders; at most 1 allowed",
        ),
    ],
)
def test_auto_falls_back_and_says_so(
    behaviour: Callable[..., base.Outcome], reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "alignsolve"):
        result = solve_by(fake_first(FakeBackend(behaviour)))
    assert result.backend == "greedy"
    assert result.fallbacks == (al.Fallback("exchange", reason),)
    assert reason in caplog.text
    assert reason in result.summary()


def gives_up(*pairs: np.ndarray, **more: object) -> FakeBackend:
    ended = al.Termination.WORK_LIMIT
    return FakeBackend(lambda *_: base.Outcome(ended, *pairs, **more))  # type: ignore[arg-type]


def test_auto_hands_over_from_a_backend_that_gave_up() -> None:
    backends = {
        "exchange": gives_up(*pairs_of([1, 0])),
        "ortools-mcf": FakeBackend(lambda *_: pairs([0, 1], [0, 1])),
        "greedy": FakeBackend(raising(AssertionError("must not run"))),
    }
    result = solve_by(backends)
    assert (result.backend, result.status) == ("ortools-mcf", al.Status.OPTIMAL)
    assert result.fallbacks == (al.Fallback("exchange", "gave up: work limit"),)
    backends["ortools-mcf"] = FakeBackend(raising(al.BackendError("no luck")))
    result = solve_by(backends)
    assert (result.backend, result.objective_value) == ("exchange", 3.0)
    assert result.termination is al.Termination.WORK_LIMIT


def test_the_best_of_several_answers_is_returned() -> None:
    backends = {
        "exchange": gives_up(*pairs_of([0, 1])),
        "ortools-mcf": gives_up(*pairs_of([1, 0])),
        "scipy-milp": FakeBackend(lambda *_: pairs([0], [0])),
    }
    result = solve_by(backends | {"greedy": GreedyBackend()})
    assert (result.backend, result.objective_value) == ("scipy-milp", 5.5)
    del backends["scipy-milp"]
    result = solve_by(backends | {"greedy": GreedyBackend()})
    assert (result.backend, result.objective_value) == ("exchange", 5.5)


def test_an_answer_that_breaks_a_bound_is_not_kept_beside_others() -> None:
    # Of more value than any that keeps the bounds; and it refutes nothing.
    broken = gives_up(*pairs_of([0, 0]))
    result = solve_by({
        "exchange": broken, "ortools-mcf": FakeBackend(lambda *_: pairs([0, 1], [1, 0])),
        "greedy": GreedyBackend(),
    })  # fmt: skip
    assert (result.backend, result.objective_value) == ("ortools-mcf", 3.0)
    result = solve_by(fake_first(broken))
    assert (result.backend, result.status) == ("greedy", al.Status.OPTIMAL)


def test_a_conflict_of_the_mip_class_is_not_made_smaller_for_ever() -> None:
    soon = SolveParams(conflict_seconds=0.0)
    # Every client may hold the expert, and none has room for it.
    problem = al.AlignmentProblem(
        np.ones((20, 3)), 2, loads={"samples": al.Load(np.ones(20), min=[0, 0, 1])},
        resources={"mb": al.Resource([1, 1, 3], 2)},
    )  # fmt: skip
    for limits in (base.Limits(), base.Limits(time.perf_counter() + 600.0)):
        result = solve_within(problem, limits, params=soon)
        assert result.status is al.Status.INFEASIBLE
        assert result.conflict is not None
        assert not result.conflict.irreducible
    # As long as it takes, where the machine's speed shall not matter.
    repeatable = solve_within(problem, base.Limits(repeatable=True), params=soon)
    for conflict in (repeatable.conflict, al.solve(problem).conflict):
        assert conflict is not None
        assert conflict.irreducible
        assert conflict.proved


def uncompiled(fake: FakeBackend) -> dict[str, base.Backend]:
    """Leave the mip class to greedy and a fake HiGHS, as before anything is compiled."""
    slow = FakeBackend(raising(AssertionError()), seconds=30.0)
    return {"lagrangian": slow, "ortools-mip": fake, "greedy": GreedyBackend()}


MIP = al.AlignmentProblem(
    [[3.0, 1.0], [2.0, 2.5]], 2, min_experts=1, resources={"mb": al.Resource([1.0, 2.0], 2.0)}
)


def test_linear_models_start_from_an_answer_of_greedy() -> None:
    def worse(problem: al.AlignmentProblem, options: base.Limits) -> base.Outcome:
        assert options.warm_start is not None
        assert not violations(problem, *options.warm_start)
        # It had all the time there was: nothing has to be kept back for greedy any more.
        assert options.remaining() > 19
        return dataclasses.replace(
            pairs([0, 1], [1, 0], bound=6.0), termination=al.Termination.TIME_LIMIT
        )

    result = solve_by(uncompiled(FakeBackend(worse)), MIP, time_limit=20)
    assert (result.backend, result.objective_value, result.dual_bound) == ("ortools-mip", 5.5, 6.0)
    assert "lagrangian" in result.fallbacks[0].backend


def test_without_greedy_linear_models_are_asked_all_the_same() -> None:
    backends = uncompiled(FakeBackend(lambda *_: pairs([0, 1], [0, 1], bound=5.5)))
    backends["greedy"] = FakeBackend(raising(MemoryError()))
    result = solve_by(backends, MIP, time_limit=20)
    assert (result.backend, result.status) == ("ortools-mip", al.Status.OPTIMAL)


def test_the_bound_of_a_search_without_answer_is_kept() -> None:
    nothing = base.Outcome.nothing(al.Termination.TIME_LIMIT, bound=7.0)
    result = solve_by(uncompiled(FakeBackend(lambda *_: nothing)), MIP, time_limit=20)
    assert (result.backend, result.objective_value, result.dual_bound) == ("greedy", 5.5, 7.0)
    assert result.termination is al.Termination.TIME_LIMIT
    wrong = FakeBackend(lambda *_: base.Outcome.proved_infeasible())
    result = solve_by(uncompiled(wrong), MIP, time_limit=20)
    assert (result.backend, result.objective_value) == ("greedy", 5.5)
    assert "called the problem infeasible" in result.fallbacks[1].reason


def test_the_least_bound_is_kept_with_its_source() -> None:
    rows, cols = pairs_of([1, 0])
    backends = uncompiled(gives_up(rows, cols, bound=9.0, source="HiGHS"))
    backends["lagrangian"] = gives_up(bound=5.6, source="ours")
    result = solve_by(backends, MIP, time_limit=20)
    assert (result.objective_value, result.dual_bound) == (5.5, 5.6)
    assert result.certificate is not None
    assert result.certificate.source == "ours"
    # Without any answer the bound is still worth something.
    backends["greedy"] = gives_up()
    backends["ortools-mip"] = gives_up(bound=9.0, source="HiGHS")
    assert solve_by(backends, MIP, time_limit=20).dual_bound == 5.6


def test_a_named_backend_does_not_fall_back() -> None:
    backends = fake_first(FakeBackend(raising(ValueError("bad licence"))))
    with pytest.raises(al.BackendError, match="bad licence"):
        solve_by(backends, backend="exchange")
    backends = fake_first(FakeBackend(lambda *_: pairs([0, 1], [0, 0])))
    with pytest.raises(al.BackendError, match="broke a bound"):
        solve_by(backends, backend="exchange")
    backends = fake_first(FakeBackend(lambda *_: base.Outcome.nothing(al.Termination.TIME_LIMIT)))
    result = solve_by(backends, backend="exchange", time_limit=1)
    assert result.status is al.Status.NO_SOLUTION_FOUND
    assert math.isnan(result.objective_value)
    assert not result.has_answer


def test_a_poor_answer_is_not_called_optimal() -> None:
    backends = fake_first(FakeBackend(lambda *_: pairs([0, 1], [1, 0], bound=3.0)))
    result = solve_by(backends)
    assert result.status is al.Status.FEASIBLE
    assert result.dual_bound >= 5.5
    assert result.certificate is not None
    assert result.certificate.improving_cycle is not None


def test_wrong_prices_do_not_spoil_a_proof() -> None:
    wrong = pairs([0, 1], [0, 1], prices=np.array([100.0, -100.0]))
    assert solve_by(fake_first(FakeBackend(lambda *_: wrong))).status is al.Status.OPTIMAL


def test_auto_spares_a_backend_that_cannot_be_interrupted() -> None:
    stubborn = base.Capabilities(ALL, True, True, interruptible=False)
    slow = FakeBackend(raising(AssertionError("must not run")), stubborn, seconds=100)
    result = solve_by(fake_first(slow), time_limit=2)
    assert re.search(r"expected to need 100 s of the 1\.\d+ s left", result.fallbacks[0].reason)
    backends = fake_first(FakeBackend(lambda *_: pairs([0, 1], [0, 1]), stubborn, seconds=100))
    assert solve_by(backends).fallbacks == ()


def test_auto_passes_over_what_is_not_supported() -> None:
    modest = base.Capabilities(frozenset(), True, True, True)
    backends = fake_first(FakeBackend(raising(AssertionError("must not run")), modest))
    result = solve_by(backends)
    assert result.fallbacks == (al.Fallback("exchange", "does not support load bounds"),)


def test_unsupported_by_a_named_backend() -> None:
    modest = base.Capabilities(frozenset(), True, True, True)
    backends = fake_first(FakeBackend(raising(AssertionError("must not run")), modest))
    with pytest.raises(al.UnsupportedProblemError, match="does not support load bounds"):
        solve_by(backends, backend="exchange")


@pytest.mark.parametrize("ended", [al.Termination.TIME_LIMIT, al.Termination.INTERRUPTED])
def test_greedy_answers_when_time_is_up(ended: al.Termination) -> None:
    backends = fake_first(FakeBackend(lambda *_: base.Outcome.nothing(ended)))
    result = solve_by(backends, AlignmentProblem([[1.0, 1.5], [1.0, 3.0]], 1), time_limit=5)
    assert result.backend == "greedy"
    assert result.has_answer
    assert result.fallbacks[0].reason == f"gave up: {ended.value}"
    # A proof beats the limit: what greedy finds here is certified.
    assert result.termination in (ended, al.Termination.PROVED)


def test_ctrl_c_in_a_backend_is_a_termination() -> None:
    backends = fake_first(FakeBackend(raising(Interrupted())))
    result = solve_by(backends, backend="exchange")
    assert result.status is al.Status.NO_SOLUTION_FOUND
    assert result.termination is al.Termination.INTERRUPTED


def test_ctrl_c_while_certifying_keeps_the_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    module = sys.modules["alignsolve.solve.solve"]  # `alignsolve.solve` is the function
    certify = module.certify_answer

    def pressed(*arguments: object) -> object:
        signal.raise_signal(signal.SIGINT)
        return certify(*arguments)

    monkeypatch.setattr(module, "certify_answer", pressed)
    result = al.solve(PROBLEM)
    assert (result.status, result.objective_value) == (al.Status.OPTIMAL, 5.5)
    assert result.termination is al.Termination.INTERRUPTED


class SlowBackend(FakeBackend):
    """One whose first answer takes a while."""

    def answers_soon(self, problem: AlignmentProblem) -> bool:
        return False


@pytest.mark.parametrize(
    ("time_limit", "has_answer"), [(math.inf, False), (3600.0, False), (5.0, True)]
)
def test_greedy_answers_a_mip_before_a_quick_backend_under_a_short_limit_only(
    time_limit: float, has_answer: bool
) -> None:
    def watched(_: AlignmentProblem, options: base.Limits) -> base.Outcome:
        assert (options.warm_start is not None) == has_answer
        return pairs([0, 1], [1, 0], bound=6.0)

    result = solve_by(fake_first(FakeBackend(watched)), MIP, time_limit=time_limit)
    assert result.backend != "greedy"


@pytest.mark.parametrize("problem", [PROBLEM, MIP])
@pytest.mark.parametrize(
    ("behaviour", "ended"),
    [
        (raising(Interrupted()), al.Termination.INTERRUPTED),
        (raising(MemoryError()), al.Termination.HEURISTIC_DONE),
        (lambda *_: base.Outcome.nothing(al.Termination.TIME_LIMIT), al.Termination.TIME_LIMIT),
    ],
)
def test_auto_has_an_answer_before_a_slow_backend_begins(
    problem: AlignmentProblem, behaviour: Callable[..., base.Outcome], ended: al.Termination
) -> None:
    result = solve_by(fake_first(SlowBackend(behaviour)), problem)
    assert (result.backend, result.objective_value) == ("greedy", 5.5)
    # A proof beats the limit: what greedy finds here is certified.
    assert result.termination in (ended, al.Termination.PROVED)
    states: list[al.Progress] = []

    def watched(_: AlignmentProblem, options: base.Limits) -> base.Outcome:
        assert [s.objective_value for s in states if s.backend == "exchange"] == [5.5]
        return pairs([0, 1], [1, 0], bound=6.0)

    backends = fake_first(SlowBackend(watched))
    order = dict.fromkeys(("flow", "mip"), tuple(backends))
    params = SolveParams(auto=AutoParams(order, lambda name: backends[name.partition(":")[0]]))
    reporter = Reporter(problem, states.append, time.perf_counter())
    result = solve_within(problem, base.Limits(report=reporter), params=params)
    # Nothing worse is returned.
    assert (result.backend, result.objective_value) == ("exchange", 5.5)


@pytest.mark.parametrize(("problem", "most"), [(PROBLEM, 50.0), (MIP, math.inf)])
def test_greedy_gets_no_more_time_than_an_exact_backend_takes(
    problem: AlignmentProblem, most: float
) -> None:
    class Estimated(SlowBackend):
        def estimated_seconds(self, problem: AlignmentProblem) -> float:
            return 50.0

    asked: list[float] = []

    def greedy(_: AlignmentProblem, options: base.Limits) -> base.Outcome:
        asked.append(options.deadline)
        return pairs([0, 1], [1, 0])

    backends = {"exchange": Estimated(lambda *_: pairs([0, 1], [1, 0], bound=5.5)),
                "greedy": FakeBackend(greedy)}  # fmt: skip
    started = time.perf_counter()
    solve_by(backends, problem)
    assert started + most <= asked[0] <= time.perf_counter() + most


def test_ctrl_c_while_a_backend_loads_keeps_the_answer() -> None:
    class Loading(SlowBackend):
        def estimated_seconds(self, problem: AlignmentProblem) -> float:
            signal.raise_signal(signal.SIGINT)
            return math.nan

    backends = fake_first(Loading(raising(AssertionError("must not run"))))
    order = dict.fromkeys(("flow", "mip"), tuple(backends))
    params = SolveParams(auto=AutoParams(order, lambda name: backends[name.partition(":")[0]]))
    began = time.perf_counter()
    with Call("answer") as call:
        limits = base.Limits(began + 60, report=Reporter(MIP, None, began, call))
        result = solve_within(MIP, limits, params=params)
    assert (result.backend, result.objective_value) == ("greedy", 5.5)
    assert result.termination is al.Termination.INTERRUPTED


def test_after_ctrl_c_no_proof_compiles(monkeypatch: pytest.MonkeyPatch) -> None:
    module = sys.modules["alignsolve.solve.solve"]
    monkeypatch.setattr(module, "must_compile", lambda problem: True)
    monkeypatch.setattr(module, "certify_answer", raising(AssertionError("must not run")))
    result = solve_by(fake_first(SlowBackend(raising(Interrupted()))))
    assert (result.status, result.objective_value) == (al.Status.FEASIBLE, 5.5)
    assert result.termination is al.Termination.INTERRUPTED


def test_greedy_may_end_with_its_first_answer() -> None:
    problem = generate("scarce", clients=60, experts=8)
    first, best = al.solve(problem, "greedy:first"), al.solve(problem, "greedy")
    assert first.stats["attempts"] == 1 < best.stats["attempts"]
    assert first.has_answer
    assert first.objective_value <= best.objective_value


def test_auto_keeps_time_back_for_greedy() -> None:
    seen = []

    def behaviour(_: AlignmentProblem, options: base.Limits) -> base.Outcome:
        seen.append(options.deadline - time.perf_counter())
        return base.Outcome.nothing(al.Termination.TIME_LIMIT)

    backends = fake_first(FakeBackend(behaviour))
    solve_by(backends, time_limit=10)
    solve_by(backends)
    assert 8 < seen[0] <= 9
    assert seen[1] == math.inf


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"time_limit": -1}, "time_limit is -1; give seconds >= 0, or None"),
        ({"time_limit": math.nan}, "time_limit is nan; give seconds >= 0, or None"),
        ({"time_limit": "5"}, "time_limit is '5'; give seconds >= 0, or None"),
        ({"rel_gap": -0.1}, "rel_gap is -0.1; give a finite number >= 0"),
        ({"rel_gap": math.inf}, "rel_gap is inf; give a finite number >= 0"),
        ({"threads": 0}, "threads is 0; give a whole number >= 1, or None"),
        ({"threads": 1.5}, "threads is 1.5; give a whole number >= 1, or None"),
        ({"seed": -1}, r"seed is -1; give a whole number from 0 to 2\*\*31 - 1"),
        ({"backend": None}, "backend is None; give a name such as 'auto'"),
        ({"warm_start": [0]}, "warm_start is neither a Result, a Plan or a Solution nor"),
        ({"warm_start": ([0],)}, "warm_start is neither a Result, a Plan or a Solution nor"),
        ({"warm_start": [[0], [0]]}, "warm_start is neither a Result, a Plan or a Solution nor"),
        ({"warm_start": ([5], [0])}, r"row_ind\[0\] is 5; give 0 to 1"),
    ],
)
def test_malformed_arguments(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(al.ProblemError, match=message):
        al.solve(PROBLEM, **arguments)  # type: ignore[arg-type]


def test_not_a_problem() -> None:
    with pytest.raises(al.ProblemError, match="problem is list; give an AlignmentProblem"):
        al.solve([[1, 2]])  # type: ignore[arg-type]


def test_unknown_and_missing_backends(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(al.BackendNotFoundError, match="choose one of auto, exchange, ortools-mcf"):
        al.solve(PROBLEM, backend="cplex")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(al.BackendNotFoundError, match="pip install ortools"):
        al.solve(PROBLEM, backend="ortools-mcf")
    assert "pip install ortools" in str(al.available_backends()["ortools-mcf"])


@pytest.mark.parametrize("shape", [(0, 3), (3, 0), (0, 0)])
@pytest.mark.parametrize("backend", ["auto", "greedy", "ortools-mcf"])
def test_nothing_to_assign(shape: tuple[int, int], backend: str) -> None:
    empty = al.solve(AlignmentProblem(np.zeros(shape), 1), backend=backend)
    assert (empty.status, empty.objective_value) == (al.Status.OPTIMAL, 0)
    if shape[0]:
        wanting = AlignmentProblem(np.zeros(shape), 1, min_experts=1)
        result = al.solve(wanting, backend=backend)
        assert result.status is al.Status.INFEASIBLE
        assert result.conflict is not None
        assert result.dual_bound == -math.inf


def test_values_near_the_end_of_float32_go_to_another_backend() -> None:
    fitness = np.full((4, 2), 3e38, np.float32)
    fitness[:, 1] = -3e38
    result = al.solve(AlignmentProblem(fitness, 1, load_max=2, min_experts=1))
    assert (result.status, result.loads.tolist()) == (al.Status.OPTIMAL, [2, 2])
    assert "takes values up to 1e+37" in result.fallbacks[0].reason


def test_nothing_to_assign_still_checks_the_backend() -> None:
    with pytest.raises(al.BackendNotFoundError, match="there is no backend 'nonsense'"):
        al.solve(AlignmentProblem(np.zeros((0, 2)), 1), backend="nonsense")
    budget = {"mb": al.Resource(1, 1)}
    empty = al.solve(AlignmentProblem(np.zeros((2, 0)), 1, resources=budget))
    assert (empty.backend, empty.status, empty.gap) == ("none", al.Status.OPTIMAL, 0)


def test_inputs_are_not_modified() -> None:
    fitness = np.random.default_rng(0).random((20, 4)).astype(np.float32)
    kept = fitness.copy()
    al.solve(AlignmentProblem(fitness, 2, load_max=9))
    np.testing.assert_array_equal(fitness, kept)
    assert fitness.flags.writeable
