"""Passes over blocks of rows say what one pass says: blocks are made as small as a row."""

import numpy as np
import pytest

import alignsolve as al
from alignsolve.model.arrays import row_blocks
from alignsolve.model.describe import describe
from alignsolve.model.digest import problem_digest
from alignsolve.status import Status
from tests.alignsolve.certificate.exact import flow_problem, mip_problem

CASES = {
    "whole": lambda: flow_problem(0, whole=True), "quarters": lambda: flow_problem(3, whole=False),
    "groups": lambda: flow_problem(2, whole=True, groups=True), "mip": lambda: mip_problem(2),
    "no features": lambda: flow_problem(5, whole=True, features=False),
    "large offsets": lambda: flow_problem(4, whole=True, features=False).replace(
        fitness=flow_problem(4, whole=True, features=False).fitness + 1.7e9),
    "too many for slots": lambda: al.AlignmentProblem(np.ones((4, 3)), 1, load_min=2),
    "too few for minima": lambda: al.AlignmentProblem(
        np.ones((4, 3)), 2, min_experts=2, load_max=2, expert_group=[0, 0, 1], group_max=1),
    "budgets too small": lambda: al.AlignmentProblem(
        np.ones((4, 3)), 2, load_min=2, resources={"mb": al.Resource([1.0, 2.0, 3.0], 2.5)}),
}
BACKENDS = ("auto", "exchange", "greedy", "lagrangian", "ortools-mcf", "scipy-milp", "scipy-lsa")


def everything(problem):
    """Return what the package says of a problem."""
    said = {"digest": problem_digest(problem), "text": str(describe(problem))}
    for backend in BACKENDS:
        try:
            result = al.solve(problem, backend, repeatable=True)
        except (al.UnsupportedProblemError, al.BackendNotFoundError) as error:
            said[backend] = str(error)
            continue
        pairs = result.row_ind.tolist(), result.col_ind.tolist()
        # HiGHS may find another one of several best answers.
        said[backend] = (result.status, result.objective_value, result.dual_bound,
                         pairs if backend not in ("auto", "scipy-milp") else None)
        if result.status is Status.INFEASIBLE and backend == "auto":
            said["conflict"] = result.conflict.bounds
            relaxed = al.solve(problem, elastic=True, repeatable=True)
            said["elastic"] = relaxed.stats["violation"], relaxed.objective_value
        if result.has_answer:
            certificate = al.certify(problem, *pairs)
            said[backend, "proof"] = certificate.dual_bound, certificate.optimal
            said[backend, "why"] = al.explain(problem, result).text()
    return said


@pytest.mark.parametrize("case", CASES)
def test_one_row_at_a_time_says_the_same(case, monkeypatch):
    problem = CASES[case]()
    at_once = everything(problem)
    monkeypatch.setattr(row_blocks, "__defaults__", (8 * 3,))
    assert everything(problem.replace()) == at_once
