"""`auto` while kernels are not compiled: others solve until that has cost as much as compiling."""

import math
import time
from typing import ClassVar

import numpy as np
import pytest

import alignsolve as al
from alignsolve.backends import get_backend
from alignsolve.backends.base import Backend, Capabilities
from alignsolve.backends.portfolio import AutoParams
from alignsolve.backends.renting import Rent
from alignsolve.kernels import WARM_UP_HINT, Kernel
from alignsolve.model.features import Feature
from alignsolve.solve.params import SolveParams
from alignsolve.solve.solve import solve_within
from alignsolve.status import Limits, Outcome, Termination

PROBLEM = al.AlignmentProblem([[3.0, 1.0], [2.0, 2.5]], 1, min_experts=1, load_max=1)


class Clock:
    """A clock that work moves."""

    now = 0.0

    def __call__(self):
        return self.now


class Fake(Backend):
    """One that answers, and takes its time on a clock."""

    name: ClassVar[str] = "fake"
    capabilities: ClassVar[Capabilities] = Capabilities(frozenset(Feature), True, True, True)
    speed_hint: ClassVar[str] = WARM_UP_HINT

    def __init__(self, clock, price=0.0, seconds=math.inf, takes=0.0, finds=True):
        super().__init__()
        self.clock, self.price, self.seconds = clock, price, seconds
        self.takes, self.finds = takes, finds

    def preparation(self, problem):
        return self.price

    def substitute_seconds(self, problem):
        return self.seconds

    def solve(self, problem, limits):
        self.clock.now += self.takes
        if not self.finds:
            return Outcome.nothing(Termination.TIME_LIMIT)
        return Outcome(Termination.PROVED, np.arange(2), np.arange(2))


class Process:
    """A process in which `auto` chooses."""

    def __init__(self, **other):
        self.clock = Clock()
        self.rent = Rent(self.clock)
        backends = {"exchange": Fake(self.clock, price=10.0),
                    "other": Fake(self.clock, seconds=1.0, takes=4.0, **other),
                    "greedy": get_backend("greedy")}  # fmt: skip
        auto = AutoParams({"flow": tuple(backends)}, lambda name: backends[name.partition(":")[0]],
                          rent=self.rent)  # fmt: skip
        self.params = SolveParams(auto=auto)

    def solve(self, limit=math.inf, repeatable=False):
        limits = Limits(deadline=time.perf_counter() + limit, repeatable=repeatable)
        return solve_within(PROBLEM, limits, params=self.params)


def test_others_answer_until_that_cost_as_much_as_compiling():
    process = Process()
    found = [process.solve() for _ in range(4)]
    assert [result.backend for result in found] == ["other"] * 3 + ["exchange"]
    assert process.rent.paid == {"exchange": 12.0}
    reason = ("its kernels are not compiled yet, `alignsolve warm-up` or al.warm_up() compiles "
              "them (about 10 s)")
    assert found[0].fallbacks == (al.Fallback("exchange", reason),)
    assert found[3].fallbacks == ()


def test_nothing_compiles_that_takes_longer_than_there_is_time():
    process = Process()
    process.rent.pay("exchange", 100.0)
    assert process.solve(limit=5.0).backend == "other"
    assert process.solve(limit=500.0).backend == "exchange"


def test_without_another_solver_it_compiles_where_there_is_time():
    for process in (Process(), Process()):
        process.params.auto.find("other").seconds = math.inf
    assert process.solve().backend == "exchange"
    result = process.solve(limit=5.0)
    assert (result.backend, result.status) == ("other", al.Status.OPTIMAL)
    assert "al.warm_up() compiles them" in result.fallbacks[0].reason


def test_one_that_found_nothing_in_its_time_ends_nothing():
    process = Process(finds=False)
    result = process.solve()
    assert result.backend == "exchange"
    assert [step.backend for step in result.fallbacks] == ["exchange", "other"]


def test_repeatable_answers_come_from_the_same_backend_always():
    process = Process()
    assert process.solve(repeatable=True).backend == "exchange"
    assert process.rent.paid == {}


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("size", [(30, 4), (300, 20)])
@pytest.mark.parametrize("mip", [False, True])
def test_what_is_compiled_does_not_choose_where_answers_are_repeatable(
    monkeypatch, compiled, size, mip
):
    n, m = size
    rng = np.random.default_rng(0)
    more = {"resources": {"mb": al.Resource(rng.random(m), 1.5)}} if mip else {}
    problem = al.AlignmentProblem(rng.random(size), 2, load_max=n, **more)
    monkeypatch.setattr(Kernel, "has", lambda *_: compiled)
    asked = []

    def find(name):
        backend = get_backend(name)
        monkeypatch.setattr(backend, "solve", lambda *_: asked.append(name) or Outcome.nothing(
            Termination.WORK_LIMIT))  # fmt: skip
        return backend

    params = SolveParams(auto=AutoParams(find=find))
    solve_within(problem, Limits(repeatable=True), params=params)
    tried = [name for name in asked if not name.startswith("greedy")]
    small_mip = mip and n * m <= 4096
    assert tried[0] == ("ortools-mip" if small_mip else "lagrangian" if mip else "exchange")
