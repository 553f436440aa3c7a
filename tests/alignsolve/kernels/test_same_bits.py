"""Compiled and interpreted kernels write and return the same bits."""

import copy

import numpy as np
import pytest

import alignsolve as al
from alignsolve.certificate.best_responses import Multipliers
from alignsolve.certificate.duality_gap import dual_gap
from alignsolve.generators import generate
from alignsolve.kernels import Kernel, compiled


def random_problem(dtype="float64", slots=1, n=24, m=6, **more):
    rng = np.random.default_rng(slots)
    fitness = np.round(rng.random((n, m)), 2 if slots == 1 else 6).astype(dtype)
    fitness[rng.random(fitness.shape) < 0.1] = -np.inf
    bounds = {"min_experts": 1, "max_experts": slots, "load_min": 2, "load_max": 9} | more
    return al.AlignmentProblem(fitness, **bounds)


def factors():
    rng = np.random.default_rng(3)
    return al.AlignmentProblem(al.FactorSource(rng.random((40, 3)), rng.random((5, 3))), 1,
                               min_experts=1, load_max=10)  # fmt: skip


def regrets():
    """Certify a poor answer, at prices that prove nothing."""
    problem = random_problem(slots=3)
    held = al.solve(problem, "greedy")
    prices = Multipliers(np.linspace(-0.2, 0.2, 6))
    dual_gap(problem, held.row_ind, held.col_ind, prices)


held = {"switch_cost": 0.05, "held": (np.arange(24), np.arange(24) % 6)}
CASES = {
    "one slot": lambda: al.solve(random_problem(), "exchange"),
    "float32": lambda: al.solve(random_problem("float32", 2), "exchange"),
    "several slots": lambda: al.solve(random_problem(slots=4, load_max=16), "exchange"),
    "penalties": lambda: al.solve(random_problem(load_penalty=0.01, load_target=3), "exchange"),
    "switching": lambda: al.solve(random_problem("float32", 2, **held), "exchange"),
    "shared layers": lambda: al.solve(
        random_problem(slots=3, load_max=14, expert_group=np.arange(6) % 2, group_min=1),
        "exchange"),
    "warm start": lambda: al.solve(p := random_problem(slots=2), "exchange",
                                   warm_start=al.solve(p, "greedy")),
    "factors": lambda: al.solve(factors(), "exchange"),
    "regrets": regrets,
    "infeasible": lambda: al.solve(generate("infeasible", clients=12, experts=4), "exchange"),
    "relaxed": lambda: al.solve(generate("infeasible", clients=12, experts=4), elastic=True),
    "fleet": lambda: al.solve(generate("scarce", clients=8, experts=4), "lagrangian"),
    "relaxed fleet": lambda: al.solve(
        generate("scarce", clients=8, experts=4).replace(load_min=9), "lagrangian", elastic=True),
    "assignment": lambda: al.solve(generate("gap-c", agents=3, jobs=9), "lagrangian",
                                   repeatable=True),
}  # fmt: skip


def bits(value):
    """Return a value such that equal means the same bits."""
    if isinstance(value, np.ndarray) and value.dtype.names:
        # Without what lies between the fields.
        return tuple(bits(value[name]) for name in value.dtype.names)
    if isinstance(value, np.ndarray):
        return str(value.dtype), value.shape, value.tobytes()
    if isinstance(value, tuple):
        return tuple(bits(part) for part in value)
    if value is None:
        return b""
    return np.asarray(value, np.float64 if isinstance(value, float) else np.int64).tobytes()


@pytest.mark.parametrize("case", CASES)
def test_both_ways_give_the_same_bits(case, monkeypatch):
    run, compared, inside = Kernel.__call__, [], []

    def both(kernel, *args):
        if inside:
            return kernel.py_func(*args)
        once, again = copy.deepcopy(args), copy.deepcopy(args)
        with compiled():
            found = run(kernel, *once)
        if kernel.exact:
            inside.append(kernel)
            other = kernel._interpret(*again)
            inside.clear()
            assert (kernel.__name__, bits(once), bits(found)) == (
                kernel.__name__, bits(again), bits(other))  # fmt: skip
            compared.append(kernel.__name__)
        with compiled():
            return run(kernel, *args)

    monkeypatch.setattr(Kernel, "__call__", both)
    CASES[case]()
    assert compared
