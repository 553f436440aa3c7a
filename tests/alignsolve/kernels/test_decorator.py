"""A kernel runs compiled or interpreted, by size, time and what is at hand; to the same bits."""

import numpy as np
import pytest

from alignsolve.kernels import costs, decorator, kernel, until
from tests.alignsolve.kernels.processes import run


@kernel
def _doubled(values):
    total = 0.0
    for value in values:
        total += 2.0 * value
    return total


@kernel
def summed(values):
    return _doubled(values)


class Clock:
    """One that each look moves by a second."""

    now = 0.0

    def __call__(self):
        self.now += 1.0
        return self.now


@pytest.fixture
def fresh(monkeypatch):
    """A kernel that was never called, in a process with time of its own."""
    monkeypatch.setattr(decorator, "clock", Clock())
    monkeypatch.setattr(decorator, "processor", Clock())
    monkeypatch.setattr(costs, "OTHER", 3.0)
    made = decorator.Kernel(summed.py_func, summed.exact, summed.options)
    compiled = []
    monkeypatch.setattr(made.files, "exist", lambda kind: False)
    monkeypatch.setattr(made, "_compile_for", lambda *args: compiled.append(args))
    made.compiled = compiled
    return made


def compiles(made):
    """Tell whether the next call of a kernel with little to do would compile."""
    return not made._stays_interpreted((np.ones(3),), False)


def test_small_work_is_interpreted_until_that_cost_as_much_as_compiling(fresh):
    for spent in (0, 1, 2):
        assert fresh.spent == spent
        assert not compiles(fresh)
        assert fresh(np.ones(3)) == 6.0
    assert compiles(fresh)


def test_large_work_compiles_at_once(fresh):
    assert not fresh._stays_interpreted((np.ones(decorator.SMALL + 1),), False)


def test_nothing_compiles_that_takes_longer_than_there_is_time(fresh):
    fresh.spent = 100.0
    assert compiles(fresh)
    with until(decorator.clock.now + 3.5):
        assert not compiles(fresh)
    with until(decorator.clock.now + 10.0):
        assert compiles(fresh)


def test_what_is_not_exact_always_compiles(fresh):
    fresh.exact = False
    assert compiles(fresh)


def test_it_compiles_and_runs(monkeypatch, tmp_path):
    monkeypatch.setattr(decorator, "SMALL", 2)
    values = np.arange(5.0)
    assert summed(values) == 20.0
    assert len(summed.dispatcher.overloads) == 1
    # Of another type and small again: nothing compiles.
    assert summed(values[:2].astype(np.float32)) == 2.0
    assert len(summed.dispatcher.overloads) == 1


def test_compiling_is_announced_once(monkeypatch, capsys, caplog):
    monkeypatch.setattr(costs, "said", set())
    with caplog.at_level("INFO", logger="alignsolve"):
        costs.announce("backends.exchange.paths.augment")
        costs.announce("backends.exchange.heaps.list_clients")
    said = capsys.readouterr().err
    assert said.count("compiling the kernels of 'exchange', once: up to") == 1
    assert "al.warm_up()" in said
    assert len(caplog.records) == 1


COLD = """
import sys
import alignsolve as al
{}
print("numba" in sys.modules)
"""

#: What must not wait for a compiler.
SMALL = {
    "flow": "al.solve(al.AlignmentProblem([[3, 1], [2, 2.5], [0, 1]], 2, load_min=1, load_max=2))",
    "budget": "al.solve(al.AlignmentProblem([[3, 1], [2, 2.5]], 2, "
              "resources={'memory': al.Resource([1.0, 2.0], 2.0)}))",
    "infeasible": "al.solve(al.AlignmentProblem([[3, 1], [2, 2.5]], 1, load_min=2))",
    "elastic": "al.solve(al.AlignmentProblem([[3, 1], [2, 2.5]], 1, load_min=2), elastic=True)",
    "certify": "al.certify(al.AlignmentProblem([[3, 1], [2, 2.5]], 1), [0, 1], [0, 1])",
    "repeatable": "al.solve(al.AlignmentProblem([[3, 1], [2, 2.5]], 2, "
                  "resources={'memory': al.Resource([1.0, 2.0], 2.0)}), repeatable=True)",
    "assignment": "al.solve(al.AlignmentProblem([[3, 1], [2, 2.5]], 2, load_min=1, load_max=1, "
                  "resources={'size': al.Resource([1.0, 2.0], 3.0)}))",
}


@pytest.mark.parametrize("case", SMALL)
def test_small_problems_compile_nothing(case, tmp_path):
    assert run(COLD.format(SMALL[case]), NUMBA_CACHE_DIR=str(tmp_path)).strip() == "False"
