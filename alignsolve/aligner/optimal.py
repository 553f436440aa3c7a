"""The optimal strategy: solve the round's problem, relaxed where its bounds conflict."""

from __future__ import annotations

from typing import Any

from alignsolve.aligner.baselines import Choice
from alignsolve.aligner.incremental import repaired
from alignsolve.aligner.policy import Round, round_problem
from alignsolve.model.problem import AlignmentProblem
from alignsolve.solve.solve import solve


def optimal(round_: Round) -> Choice:
    """Choose the best pairs; after clients vanished, let few others move where that is optimal."""
    problem, start = round_problem(round_), round_.start
    is_flow = problem.problem_class == "flow"
    if start.lost and is_flow:
        part = repaired(problem, start, round_.settings.limits())
        if part is not None:
            return Choice(part.row_ind, part.col_ind, part)
    # Of the mip class, prices of other participants are no better start than none.
    prices = start.prices if is_flow or start.lost else {}
    return solved(problem, round_, warm_start=(start.rows, start.cols, prices))


def solved(problem: AlignmentProblem, round_: Round, **more: Any) -> Choice:
    """Return the answer to a problem of a round; `more` are arguments of `solve`."""
    result = solve(problem, elastic=True, on_interrupt="raise", **round_.settings.limits(), **more)
    return Choice(result.row_ind, result.col_ind, result)
