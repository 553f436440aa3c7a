"""Backends that go wrong in every way, for the tests of the bench.

Imported by the workers of a bench (``plugins=["bench_backends"]``) and by the
tests; importing it registers them.
"""

from __future__ import annotations

import ctypes
import os
import time
from collections.abc import Callable

import numpy as np

from alignsolve.backends import registry
from alignsolve.backends.base import Backend, Capabilities
from alignsolve.model.problem import AlignmentProblem, Feature
from alignsolve.status import Limits, Outcome, Termination

#: Tiny problems of the warm-up have fewer clients than this; there everybody behaves.
WARM_UP_CLIENTS = 10


def _nobody(problem: AlignmentProblem, options: Limits) -> Outcome:
    nothing = np.empty(0, dtype=np.int64)
    return Outcome(Termination.HEURISTIC_DONE, nothing, nothing, bound=0.0, source="liar 1.0")


def _honest(problem: AlignmentProblem, options: Limits) -> Outcome:
    # Right for one slot each and no bound that binds.
    rows = np.arange(problem.n_clients)
    cols = problem.fitness.argmax(axis=1)
    bound = float(problem.fitness.max(axis=1).sum())
    stats = {"build_seconds": 0.0, "solve_seconds": 0.001}
    return Outcome(Termination.PROVED, rows, cols, bound=bound, source="honest 1.0", stats=stats)


def _crash(problem: AlignmentProblem, options: Limits) -> Outcome:
    ctypes.string_at(0)
    raise AssertionError("still alive")


def _exit(problem: AlignmentProblem, options: Limits) -> Outcome:
    os.write(2, b"library says goodbye\n")
    os._exit(7)


def _hang(problem: AlignmentProblem, options: Limits) -> Outcome:
    while True:
        time.sleep(1.0)


def _late(problem: AlignmentProblem, options: Limits) -> Outcome:
    time.sleep(options.remaining() + 0.7)
    return _nobody(problem, options)


def _hog(problem: AlignmentProblem, options: Limits) -> Outcome:
    # Above the limit of the tests, and no further, however late somebody looks.
    held = np.ones(600 * 2**17)
    while held.size:
        time.sleep(1.0)
    raise AssertionError("still there")


def _raise(problem: AlignmentProblem, options: Limits) -> Outcome:
    raise ValueError("a library's\nown error")


def _slow(problem: AlignmentProblem, options: Limits) -> Outcome:
    print("chatter on standard output")
    time.sleep(0.25)
    return _nobody(problem, options)


def _temper(behaviour: Callable[[AlignmentProblem, Limits], Outcome]) -> type[Backend]:
    class Fake(Backend):
        name = behaviour.__name__[1:]
        capabilities = Capabilities(
            frozenset(Feature) - (set() if behaviour is _honest else {Feature.GROUPS}),
            exact=False,
            proves_infeasibility=False,
            interruptible=False,
        )

        def solve(self, problem: AlignmentProblem, options: Limits) -> Outcome:
            if problem.n_clients < WARM_UP_CLIENTS:
                return _nobody(problem, options)
            return behaviour(problem, options)

    return Fake


_loaded: list[str] = []


def _loads(problem: AlignmentProblem, options: Limits) -> Outcome:
    if "library" not in _loaded:
        _loaded.append("library")
        time.sleep(0.6)
    return _honest(problem, options)


def _compiles(problem: AlignmentProblem, options: Limits) -> Outcome:
    if "kernel" not in _loaded:
        import numba

        _loaded.append("kernel")
        numba.njit(lambda number: number + 1)(1.0)
        time.sleep(1.6)
    return _honest(problem, options)


def _empty(problem: AlignmentProblem, options: Limits) -> Outcome:
    return _nobody(problem, options)


BEHAVIOURS = (_honest, _crash, _exit, _hang, _late, _hog, _raise, _slow, _empty, _loads, _compiles)
FAKES = {
    fake.name: fake
    for fake in map(_temper, BEHAVIOURS)
}
globals().update({f"fake_{name}": fake for name, fake in FAKES.items()})
for _name in FAKES:
    registry._CLASSES[_name] = f"bench_backends:fake_{_name}"
