"""The commands ``solve`` and ``check``."""

from __future__ import annotations

import math
from typing import Annotated, Any

import typer

from alignsolve.backends import BACKEND_NAMES
from alignsolve.backends.base import Answer
from alignsolve.certificate import Certificate, certify, certify_answer
from alignsolve.cli_common import (
    DONE,
    FAILED,
    INTERRUPTED,
    NOTHING_FOUND,
    FileArgument,
    IndexOption,
    JsonOption,
    SenseOption,
    SetOption,
    open_problem,
    print_json,
    print_text,
    working,
)
from alignsolve.conflict import check_conflict
from alignsolve.errors import ProblemError
from alignsolve.io import Solution, read_solution, write_solution
from alignsolve.io.solution import check_solution_path, solution_document
from alignsolve.problem import AlignmentProblem
from alignsolve.result import Result, Status, Termination
from alignsolve.solve import solve as solve_problem

#: Relative difference at which a stated value counts as another one.
CLAIM_TOLERANCE = 1e-6


def solve(
    file: FileArgument,
    backend: Annotated[
        str, typer.Option(help=f"auto, {', '.join(BACKEND_NAMES)}.")
    ] = "auto",
    time_limit: Annotated[
        float | None, typer.Option(metavar="SECONDS", show_default=False,
                                   help="Stop after this many seconds.")
    ] = None,
    rel_gap: Annotated[
        float, typer.Option(metavar="GAP", help="Relative gap at which to stop early.")
    ] = 0.0,
    seed: Annotated[int, typer.Option(help="Seed of anything random.")] = 0,
    threads: Annotated[
        int | None, typer.Option(show_default=False, help="Threads; default: all cores.")
    ] = None,
    out: Annotated[
        str | None, typer.Option(metavar="FILE", show_default=False,
                                 help="Write the answer to a .json file, or its pairs to .csv.")
    ] = None,
    index: IndexOption = None,
    sense: SenseOption = None,
    settings: SetOption = None,
    json: JsonOption = False,
) -> int:
    """Solve a problem and certify the answer.

    FILE is an instance file; FILE#3 is its third problem. The exit code is 0
    with an answer, 1 where the problem is infeasible, and 3 where nothing was
    found within the limits.
    """
    if out is not None:
        check_solution_path(out)
    with working("reading", json):
        problem, label = open_problem(file, index, sense, settings)
    with working(f"solving {problem.n_clients} x {problem.n_experts}", json):
        result = solve_problem(problem, backend, time_limit, rel_gap, seed, threads)
    if out is not None:
        write_solution(result, out)
    if json:
        print_json(_result_document(label, result))
    else:
        print_text(f"problem      {label}: {problem.n_clients} clients x {problem.n_experts} "
                   f"experts, {problem.sense}, class {problem.problem_class}")
        print_text(result.summary())
        if out is not None:
            print_text(f"wrote        {out}")
    return _exit_code(result)


def _exit_code(result: Result) -> int:
    if result.status is Status.INFEASIBLE:
        return FAILED
    if result.has_answer:
        return DONE
    return INTERRUPTED if result.termination is Termination.INTERRUPTED else NOTHING_FOUND


def _result_document(label: str, result: Result) -> dict[str, Any]:
    """Return what ``solve --json`` prints: the solution file, and what only a run knows."""
    solution = solution_document(Solution.from_result(result), result.problem)
    return {
        "file": label,
        "gap": result.gap,
        "gap_abs": result.gap_abs,
        "fallbacks": result.fallbacks,
        "stats": result.stats,
    } | solution


def check(
    file: FileArgument,
    solution: Annotated[
        str, typer.Argument(metavar="SOLUTION", show_default=False)
    ],
    index: IndexOption = None,
    sense: SenseOption = None,
    settings: SetOption = None,
    json: JsonOption = False,
) -> int:
    """Check a solution against its problem, without a solver.

    FILE is an instance file, SOLUTION what solve wrote or a table of pairs.
    Feasibility, value and, for the flow class, optimality are computed anew;
    for other problems the bound is recomputed where the file holds
    multipliers, else it is that of the solver the file names. The exit code is
    1 where the solution breaks a bound or claims what is not so.
    """
    problem, label = open_problem(file, index, sense, settings)
    claimed = read_solution(solution, problem)
    with working("checking", json):
        failures, remarks, certificate = verdict(problem, claimed)
    if json:
        print_json({"file": label, "solution": solution, "ok": not failures,
                    "failures": failures, "remarks": remarks} | _certified(certificate))
    else:
        for failure in failures:
            print_text(f"failed: {failure}")
        if certificate is not None and certificate.feasible:
            print_text(certificate.summary())
        for remark in remarks:
            print_text(remark)
        if not failures:
            print_text("ok")
    return FAILED if failures else DONE


def _certified(certificate: Certificate | None) -> dict[str, Any]:
    """Return the parts of a certificate that a program wants to know."""
    if certificate is None:
        return {}
    names = ("kind", "source", "feasible", "optimal", "objective_value", "dual_bound", "gap",
             "gap_abs", "violations")
    return {name: getattr(certificate, name) for name in names}


def verdict(
    problem: AlignmentProblem, claimed: Solution
) -> tuple[list[str], list[str], Certificate | None]:
    """Return what is wrong with a solution, what else is to be said, and its certificate."""
    if claimed.status is Status.INFEASIBLE:
        return *_check_infeasible(problem, claimed), None
    if claimed.status is Status.NO_SOLUTION_FOUND:
        return ["the file says that nothing was found; there is nothing to check"], [], None
    certificate = _certify(problem, claimed)
    if not certificate.feasible:
        return [violation.message for violation in certificate.violations], [], certificate
    failures, remarks = [], []
    value, sign = certificate.objective_value, problem.sign
    slack = CLAIM_TOLERANCE * max(1.0, abs(value))
    if abs(claimed.objective_value - value) > slack:
        failures.append(f"the objective is {value:.12g}, not {claimed.objective_value:.12g}")
    if sign * claimed.dual_bound < sign * value - slack:
        failures.append(f"the bound {claimed.dual_bound:.12g} is beaten by the answer itself")
    if claimed.status is Status.OPTIMAL and not certificate.optimal:
        failures.append("the answer is claimed optimal, but that is not proved")
    if certificate.kind == "solver":
        remarks.append(f"the bound is that of {certificate.source or 'an unnamed solver'}; it is "
                       f"not recomputed")
    elif abs(claimed.dual_bound - certificate.dual_bound) > slack:
        remarks.append(f"the file states the bound {claimed.dual_bound:.12g}")
    return failures, remarks, certificate


def _certify(problem: AlignmentProblem, claimed: Solution) -> Certificate:
    """Certify by prices where the file has them, else by the bound of the solver it names."""
    prices = claimed.prices if claimed.multipliers is None else claimed.multipliers
    if problem.problem_class == "mip" and prices is None and math.isfinite(claimed.dual_bound):
        answer = Answer(Termination.PROVED, claimed.row_ind, claimed.col_ind,
                        bound=problem.sign * claimed.dual_bound, source=claimed.bound_source)
        return certify_answer(problem, claimed.row_ind, claimed.col_ind, answer, math.inf)
    return certify(problem, claimed.row_ind, claimed.col_ind, prices)


def _check_infeasible(
    problem: AlignmentProblem, claimed: Solution
) -> tuple[list[str], list[str]]:
    """Check the conflict that a solution gives for a problem without an answer."""
    if claimed.conflict is None:
        return ["the problem is claimed infeasible, without a conflict to check"], []
    try:
        found = check_conflict(problem, claimed.conflict)
    except ProblemError as error:
        return [f"the conflict is not about this problem: {error}"], []
    if not found.contradictory:
        return ["the bounds of the conflict do not contradict each other"], []
    text = f"infeasible: {claimed.conflict.text}"
    return [], [text] if found.irreducible else [text, "a smaller conflict exists"]
