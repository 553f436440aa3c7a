"""What the conformance tests share: who is asked, how often, and what every answer promises."""

from __future__ import annotations

import math
import os

import numpy as np
import pytest

import alignsolve as al
from alignsolve.backends import BACKEND_NAMES, Capabilities
from alignsolve.model.feasibility import is_feasible
from alignsolve.model.problem import FLOW_FEATURES
from tests.strategies import any_problems, flow_problems

#: Random problems per backend: thousands in all, fewer where a solve takes longer.
EXAMPLES = {
    "exchange": 500,
    "ortools-mcf": 350,
    "networkx": 250,
    "scipy-lsa": 400,
    "greedy": 150,
    "lagrangian": 150,
    "ortools-cpsat": 150,
    "ortools-mip": 150,
    "ortools-scip": 100,
    "scipy-milp": 200,
}

#: For a longer search: ALIGNSOLVE_EXAMPLES=10 asks ten times as much.
MORE = float(os.environ.get("ALIGNSOLVE_EXAMPLES", "1"))

AVAILABLE = al.available_backends()


def examples(name: str, share: float = 1.0) -> int:
    """Return how many random problems a backend gets."""
    return max(10, round(MORE * share * EXAMPLES[name]))


def declared(name: str) -> Capabilities:
    """Return what a backend declares; skip where its library is not installed."""
    capabilities = AVAILABLE[name]
    if isinstance(capabilities, str):
        pytest.skip(capabilities)
    return capabilities


def exact_backends() -> list[str]:
    """Return the names of the exact backends, and of those that are not installed."""
    return [
        name
        for name in BACKEND_NAMES
        if not isinstance(AVAILABLE[name], Capabilities) or AVAILABLE[name].exact
    ]


def problems_for(name: str):
    """Return a strategy of the problems that a backend may support."""
    flow_only = declared(name).features <= FLOW_FEATURES
    return flow_problems() if flow_only else any_problems()


def assert_sound(problem: al.AlignmentProblem, result: al.Result) -> None:
    """Check what every result promises, whatever the backend."""
    if result.status is al.Status.INFEASIBLE:
        assert result.conflict is not None
        assert result.conflict.bounds
        assert result.row_ind.size == 0
        return
    if not result.has_answer:
        assert math.isnan(result.objective_value)
        return
    assert is_feasible(problem, result.row_ind, result.col_ind)
    keys = result.row_ind * problem.n_experts + result.col_ind
    assert (np.diff(keys) > 0).all()
    assert result.objective_value == problem.objective(result.row_ind, result.col_ind)
    slack = 1e-9 * max(1.0, abs(result.objective_value))
    assert problem.sign * (result.dual_bound - result.objective_value) >= -slack
    assert result.gap_abs >= 0
    certificate = result.certificate
    assert certificate is not None
    assert (result.status is al.Status.OPTIMAL) == certificate.optimal
    assert (result.termination is al.Termination.PROVED) == result.certificate.optimal
    if certificate.optimal and problem.problem_class == "flow":
        assert certificate.kind == "prices"
        again = al.certify(problem, result.row_ind, result.col_ind, prices=result.prices)
        assert again.optimal
    if certificate.kind == "solver":
        assert certificate.source
