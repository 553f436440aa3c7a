"""`solve`: choice of backend, fallbacks, limits, and what is believed."""

from __future__ import annotations

import dataclasses
import importlib
import logging
import math
import time
from collections.abc import Callable

import numpy as np
import pytest

import alignsolve as al
from alignsolve.backends import base
from alignsolve.backends.greedy.backend import GreedyBackend
from alignsolve.model.feasibility import violations
from alignsolve.model.problem import AlignmentProblem

PROBLEM = AlignmentProblem([[3, 1], [2, 2.5]], 1, load_max=1)
#: The module; `al.solve` is the function.
SOLVE = importlib.import_module("alignsolve.solve.solve")
AUTO = importlib.import_module("alignsolve.backends.portfolio")
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


def pairs(rows: list[int], cols: list[int], **more: object) -> base.Outcome:
    return base.Outcome(al.Termination.PROVED, np.array(rows), np.array(cols), **more)  # type: ignore[arg-type]


def pairs_of(cols: list[int]) -> tuple[np.ndarray, np.ndarray]:
    return np.arange(len(cols)), np.array(cols)


@pytest.fixture
def use(monkeypatch: pytest.MonkeyPatch) -> Callable[[FakeBackend], None]:
    """Put a fake first in the automatic order, before greedy alone."""

    def put(fake: FakeBackend) -> None:
        found = {"exchange": fake, "greedy": GreedyBackend()}
        for module in (SOLVE, AUTO):
            monkeypatch.setattr(module, "get_backend", found.__getitem__)
        order = {"flow": ("exchange", "greedy"), "mip": ("exchange", "greedy")}
        monkeypatch.setattr(AUTO, "AUTO_ORDER", order)

    return put


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
    use: Callable[[FakeBackend], None],
    behaviour: Callable[..., base.Outcome],
    reason: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    use(FakeBackend(behaviour))
    with caplog.at_level(logging.INFO, "alignsolve"):
        result = al.solve(PROBLEM)
    assert result.backend == "greedy"
    assert result.fallbacks == (al.Fallback("exchange", reason),)
    assert reason in caplog.text
    assert reason in result.summary()


def test_auto_hands_over_from_a_backend_that_gave_up(
    use: Callable[[FakeBackend], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    use(FakeBackend(lambda *_: base.Outcome(al.Termination.WORK_LIMIT, *pairs_of([1, 0]))))
    order = {"flow": ("exchange", "ortools-mcf", "greedy")}
    monkeypatch.setattr(AUTO, "AUTO_ORDER", order)
    found = {
        "exchange": AUTO.get_backend("exchange"),
        "ortools-mcf": FakeBackend(lambda *_: pairs([0, 1], [0, 1])),
    }
    monkeypatch.setattr(AUTO, "get_backend", found.__getitem__)
    result = al.solve(PROBLEM)
    assert (result.backend, result.status) == ("ortools-mcf", al.Status.OPTIMAL)
    assert result.fallbacks == (al.Fallback("exchange", "gave up: work limit"),)
    found["ortools-mcf"] = FakeBackend(raising(al.BackendError("no luck")))
    result = al.solve(PROBLEM)
    assert (result.backend, result.objective_value) == ("exchange", 3.0)
    assert result.termination is al.Termination.WORK_LIMIT


def test_a_conflict_of_the_mip_class_is_not_made_smaller_for_ever(
    monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SOLVE, "CONFLICT_SECONDS", 0.0)
    # Every client may hold the expert, and none has room for it.
    problem = al.AlignmentProblem(
        np.ones((20, 3)), 2, loads={"samples": al.Load(np.ones(20), min=[0, 0, 1])},
        resources={"mb": al.Resource([1, 1, 3], 2)},
    )  # fmt: skip
    result = al.solve(problem)
    assert result.status is al.Status.INFEASIBLE
    assert result.conflict is not None
    assert not result.conflict.irreducible
    # As long as it takes, where the machine's speed shall not matter.
    for more in ({"repeatable": True}, {}):
        conflict = al.solve(problem, **more).conflict
        assert conflict is not None
        assert conflict.irreducible
        assert conflict.proved
        monkeypatch.undo()


@pytest.fixture
def uncompiled(monkeypatch: pytest.MonkeyPatch) -> Callable[[FakeBackend], None]:
    """Let the mip class be left to greedy and a fake HiGHS, as before anything is compiled."""

    def put(fake: FakeBackend) -> None:
        found = {
            "lagrangian": FakeBackend(raising(AssertionError()), seconds=30.0),
            "ortools-mip": fake,
            "greedy": GreedyBackend(),
        }
        monkeypatch.setattr(AUTO, "get_backend", found.__getitem__)
        monkeypatch.setattr(AUTO, "AUTO_ORDER", {"mip": tuple(found)})

    return put


MIP = al.AlignmentProblem(
    [[3.0, 1.0], [2.0, 2.5]], 2, min_experts=1, resources={"mb": al.Resource([1.0, 2.0], 2.0)}
)


def test_linear_models_start_from_an_answer_of_greedy(
    uncompiled: Callable[[FakeBackend], None]
) -> None:
    def worse(problem: al.AlignmentProblem, options: base.Limits) -> base.Outcome:
        assert options.warm_start is not None
        assert not violations(problem, *options.warm_start)
        # It had all the time there was: nothing has to be kept back for greedy any more.
        assert options.remaining() > 19
        return dataclasses.replace(
            pairs([0, 1], [1, 0], bound=6.0), termination=al.Termination.TIME_LIMIT
        )

    uncompiled(FakeBackend(worse))
    result = al.solve(MIP, time_limit=20)
    assert (result.backend, result.objective_value, result.dual_bound) == ("ortools-mip", 5.5, 6.0)
    assert "lagrangian" in result.fallbacks[0].backend


def test_without_greedy_linear_models_are_asked_all_the_same(
    uncompiled: Callable[[FakeBackend], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    uncompiled(FakeBackend(lambda *_: pairs([0, 1], [0, 1], bound=5.5)))
    monkeypatch.setattr(GreedyBackend, "solve", raising(MemoryError()))
    result = al.solve(MIP, time_limit=20)
    assert (result.backend, result.status) == ("ortools-mip", al.Status.OPTIMAL)


def test_the_bound_of_a_search_without_answer_is_kept(
    uncompiled: Callable[[FakeBackend], None]
) -> None:
    uncompiled(FakeBackend(lambda *_: base.Outcome.nothing(al.Termination.TIME_LIMIT, bound=7.0)))
    result = al.solve(MIP, time_limit=20)
    assert (result.backend, result.objective_value, result.dual_bound) == ("greedy", 5.5, 7.0)
    assert result.termination is al.Termination.TIME_LIMIT
    uncompiled(FakeBackend(lambda *_: base.Outcome.proved_infeasible()))
    result = al.solve(MIP, time_limit=20)
    assert (result.backend, result.objective_value) == ("greedy", 5.5)
    assert "called the problem infeasible" in result.fallbacks[1].reason


def test_the_least_bound_is_kept_with_its_source(
    uncompiled: Callable[[FakeBackend], None]
) -> None:
    def late(bound: float, source: str, **more: object) -> FakeBackend:
        ended = al.Termination.WORK_LIMIT
        return FakeBackend(lambda *_: base.Outcome(ended, bound=bound, source=source, **more))  # type: ignore[arg-type]

    rows, cols = pairs_of([1, 0])
    uncompiled(late(9.0, "HiGHS", row_ind=rows, col_ind=cols))
    AUTO.get_backend.__self__["lagrangian"] = late(5.6, "ours")
    result = al.solve(MIP, time_limit=20)
    assert (result.objective_value, result.dual_bound) == (5.5, 5.6)
    assert result.certificate is not None
    assert result.certificate.source == "ours"
    # Without any answer the bound is still worth something.
    AUTO.get_backend.__self__["greedy"] = late(np.inf, "")
    AUTO.get_backend.__self__["ortools-mip"] = late(9.0, "HiGHS")
    assert al.solve(MIP, time_limit=20).dual_bound == 5.6


def test_a_named_backend_does_not_fall_back(use: Callable[[FakeBackend], None]) -> None:
    use(FakeBackend(raising(ValueError("bad licence"))))
    with pytest.raises(al.BackendError, match="bad licence"):
        al.solve(PROBLEM, backend="exchange")
    use(FakeBackend(lambda *_: pairs([0, 1], [0, 0])))
    with pytest.raises(al.BackendError, match="broke a bound"):
        al.solve(PROBLEM, backend="exchange")
    use(FakeBackend(lambda *_: base.Outcome.nothing(al.Termination.TIME_LIMIT)))
    result = al.solve(PROBLEM, backend="exchange", time_limit=1)
    assert result.status is al.Status.NO_SOLUTION_FOUND
    assert math.isnan(result.objective_value)
    assert not result.has_answer


def test_a_poor_answer_is_not_called_optimal(use: Callable[[FakeBackend], None]) -> None:
    use(FakeBackend(lambda *_: pairs([0, 1], [1, 0], bound=3.0)))
    result = al.solve(PROBLEM)
    assert result.status is al.Status.FEASIBLE
    assert result.dual_bound >= 5.5
    assert result.certificate is not None
    assert result.certificate.improving_cycle is not None


def test_wrong_prices_do_not_spoil_a_proof(use: Callable[[FakeBackend], None]) -> None:
    use(FakeBackend(lambda *_: pairs([0, 1], [0, 1], prices=np.array([100.0, -100.0]))))
    assert al.solve(PROBLEM).status is al.Status.OPTIMAL


def test_auto_spares_a_backend_that_cannot_be_interrupted(
    use: Callable[[FakeBackend], None],
) -> None:
    stubborn = base.Capabilities(ALL, True, True, interruptible=False)
    use(FakeBackend(raising(AssertionError("must not run")), stubborn, seconds=100))
    result = al.solve(PROBLEM, time_limit=2)
    assert "expected to need 100 s of the 1.8 s left" in result.fallbacks[0].reason
    use(FakeBackend(lambda *_: pairs([0, 1], [0, 1]), stubborn, seconds=100))
    assert al.solve(PROBLEM).fallbacks == ()


def test_auto_passes_over_what_is_not_supported(use: Callable[[FakeBackend], None]) -> None:
    modest = base.Capabilities(frozenset(), True, True, True)
    use(FakeBackend(raising(AssertionError("must not run")), modest))
    result = al.solve(PROBLEM)
    assert result.fallbacks == (al.Fallback("exchange", "does not support load bounds"),)


def test_unsupported_by_a_named_backend(use: Callable[[FakeBackend], None]) -> None:
    use(FakeBackend(raising(AssertionError), base.Capabilities(frozenset(), True, True, True)))
    with pytest.raises(al.UnsupportedProblemError, match="does not support load bounds"):
        al.solve(PROBLEM, backend="exchange")


@pytest.mark.parametrize("ended", [al.Termination.TIME_LIMIT, al.Termination.INTERRUPTED])
def test_greedy_answers_when_time_is_up(
    use: Callable[[FakeBackend], None], ended: al.Termination
) -> None:
    use(FakeBackend(lambda *_: base.Outcome.nothing(ended)))
    result = al.solve(AlignmentProblem([[1.0, 1.5], [1.0, 3.0]], 1), time_limit=5)
    assert result.backend == "greedy"
    assert result.has_answer
    assert result.fallbacks[0].reason == f"gave up: {ended.value}"
    # A proof beats the limit: what greedy finds here is certified.
    assert result.termination in (ended, al.Termination.PROVED)


def test_ctrl_c_in_a_backend_is_a_termination(use: Callable[[FakeBackend], None]) -> None:
    use(FakeBackend(raising(KeyboardInterrupt())))
    result = al.solve(PROBLEM, backend="exchange")
    assert result.status is al.Status.NO_SOLUTION_FOUND
    assert result.termination is al.Termination.INTERRUPTED


def test_ctrl_c_while_certifying_keeps_the_answer(
    use: Callable[[FakeBackend], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    use(FakeBackend(lambda *_: pairs([0, 1], [0, 1])))
    monkeypatch.setattr(SOLVE, "certify_answer", raising(KeyboardInterrupt()))
    result = al.solve(PROBLEM)
    assert (result.status, result.objective_value) == (al.Status.FEASIBLE, 5.5)
    assert result.termination is al.Termination.INTERRUPTED
    assert result.dual_bound == math.inf


def test_auto_keeps_time_back_for_greedy(use: Callable[[FakeBackend], None]) -> None:
    seen = []

    def behaviour(_: AlignmentProblem, options: base.Limits) -> base.Outcome:
        seen.append(options.deadline - time.perf_counter())
        return base.Outcome.nothing(al.Termination.TIME_LIMIT)

    use(FakeBackend(behaviour))
    al.solve(PROBLEM, time_limit=10)
    al.solve(PROBLEM)
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
        ({"warm_start": [0]}, "warm_start is neither a Result nor a tuple"),
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
