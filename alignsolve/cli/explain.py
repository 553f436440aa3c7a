"""The command ``explain``."""

from __future__ import annotations

import io
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Any

import click
import typer

from alignsolve.certificate.certificate import certify
from alignsolve.cli import common, options
from alignsolve.cli.live import live_line
from alignsolve.cli.options import optional
from alignsolve.errors import ProblemError
from alignsolve.explain import ClientExplanation, ExpertExplanation, Explanation
from alignsolve.explain import explain as explain_answer
from alignsolve.explain.explainer import EXACT_SECONDS
from alignsolve.explain.wording import remarks
from alignsolve.io import Solution
from alignsolve.model.problem import AlignmentProblem
from alignsolve.relaxation import relaxed_by
from alignsolve.result import Result
from alignsolve.solve.solve import solve
from alignsolve.status import Status, Termination

#: Rows of a table at most.
MOST_ROWS = 40


def explain(
    file: options.File,
    client: Annotated[
        str | None, optional("Explain this client, by its id, or its number from 0.", "ID")
    ] = None,
    expert: Annotated[
        str | None, optional("Explain this expert, by its id, or its number from 0.", "ID")
    ] = None,
    solution: Annotated[
        str | None,
        optional("Explain this answer, which solve wrote, instead of solving.", "SOLUTION"),
    ] = None,
    audience: Annotated[
        str, typer.Option("--for", click_type=click.Choice(("engineer", "owner")),
                          help="owner: in a few sentences and round numbers, without prices.")
    ] = "engineer",
    exact: Annotated[
        bool, typer.Option("--exact", help="Settle estimates by solving again, for at most "
                                           "--exact-seconds.")
    ] = False,
    exact_seconds: Annotated[
        float, typer.Option(metavar="SECONDS", help="Time to settle estimates.")
    ] = EXACT_SECONDS,
    elastic: options.Elastic = False,
    time_limit: options.TimeLimit = None,
    index: options.Index = None,
    sense: options.Sense = None,
    settings: options.Settings = None,
    columns: options.Columns = None,
    json: options.Json = False,
) -> int:
    """Explain an answer: prices, margins, worths of slots, the price of balance.

    FILE is an instance file; it is solved first, unless an answer is given. For a
    client: what it holds and why, and by how much a fitness would have to change
    for it to hold something else. For an expert: who nearly lost and who nearly
    got it, and what a slot is worth. Without either: what balance costs.
    """
    if client is not None and expert is not None:
        raise ProblemError("give --client or --expert, not both")
    chosen = common.open_problems(file, index, sense, settings, columns)
    problem, label = common.only_one(file, chosen)
    remarks: list[str] = []
    if solution is not None:
        problem, claimed, remarks = common.open_solution(solution, file, problem, settings)
        result = result_of(problem, claimed)
    else:
        with live_line(f"solving {problem.n_clients} x {problem.n_experts}", json):
            result = solve(problem, time_limit=time_limit, elastic=elastic, on_interrupt="raise")
    if not result.has_answer:
        document = {"status": result.status, "conflict": result.conflict}
        common.report(json, document, result.summary())
        return common.FAILED if result.status is Status.INFEASIBLE else common.NOTHING_FOUND
    about: dict[str, Any] = {
        "client": _named(client, problem.client_ids), "expert": _named(expert, problem.expert_ids)
    }
    with live_line("explaining", json):
        found = explain_answer(problem, result, exact=exact, time_limit=exact_seconds, **about)
    found = replace(found, notes=(*remarks, *found.notes))
    page = _page(found) if audience == "engineer" else "\n".join([found.text("owner"), *remarks])
    common.report(json, {"file": label, "status": result.status} | vars(found), page)
    return common.DONE


def _named(text: str | None, ids: tuple[str, ...] | None) -> str | int | None:
    """Return an id, or, where the problem has none, an index; None for none."""
    return int(text) if text is not None and ids is None and text.isdecimal() else text


def result_of(problem: AlignmentProblem, claimed: Solution) -> Result:
    """Return a stored answer as a result, of which nothing is believed.

    Raises
    ------
    ProblemError
        If it breaks a bound that is not listed as relaxed.
    """
    began = time.perf_counter()
    if claimed.status in (Status.INFEASIBLE, Status.NO_SOLUTION_FOUND):
        raise ProblemError(f"the solution file has no answer, but status {claimed.status.value!r}")
    loosened = relaxed_by(problem, claimed.relaxations)
    certificate = certify(loosened, claimed.row_ind, claimed.col_ind, claimed.prices)
    if not certificate.feasible:
        raise ProblemError(f"the answer breaks a bound: {certificate.violations[0].message}")
    return Result.proved(
        problem, claimed.row_ind, claimed.col_ind, certificate, Termination.HEURISTIC_DONE,
        backend=claimed.backend or "file", relaxations=claimed.relaxations,
        relaxed_problem=loosened if claimed.relaxations else None,
        stats={"total_seconds": time.perf_counter() - began},
    )  # fmt: skip


# -- tables ---------------------------------------------------------------------


def _page(found: ClientExplanation | ExpertExplanation | Explanation) -> str:
    """Return an explanation as lines and a table."""
    table = found.table()
    return "\n".join([found.summary(), _table(*table), *remarks(table, found.notes)])


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table as text; ids are printed as they are."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    for head in heads:
        table.add_column(head, justify="left" if head in ("expert", "client", "") else "right")
    for row in rows[:MOST_ROWS]:
        table.add_row(*(Text(cell) for cell in row))
    text = io.StringIO()
    Console(file=text, width=110).print(table)
    more = len(rows) - MOST_ROWS
    lines = [line.rstrip() for line in text.getvalue().splitlines()]
    return "\n".join(lines + ([f"and {more:,} more"] if more > 0 else []))
