"""The command ``explain``."""

from __future__ import annotations

import io
import math
import time
from collections.abc import Sequence
from typing import Annotated, Any

import numpy as np
import typer

from alignsolve.certificate.certificate import certify
from alignsolve.cli.common import (
    DONE,
    FAILED,
    NOTHING_FOUND,
    FileArgument,
    IndexOption,
    JsonOption,
    SenseOption,
    SetOption,
    only_one,
    open_problems,
    open_solution,
    optional,
    report,
    working,
)
from alignsolve.errors import ProblemError
from alignsolve.explain import ClientExplanation, ExpertExplanation, Explanation
from alignsolve.explain import explain as explain_answer
from alignsolve.explain.views import amount
from alignsolve.io import Solution
from alignsolve.model.problem import AlignmentProblem
from alignsolve.relaxation import relaxed_by
from alignsolve.result import Result
from alignsolve.solve.solve import solve
from alignsolve.status import Status, Termination

#: Rows of a table at most.
MOST_ROWS = 40


def explain(
    file: FileArgument,
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
    elastic: Annotated[
        bool, typer.Option("--elastic", help="Solve with bounds that may be relaxed.")
    ] = False,
    time_limit: Annotated[
        float | None, optional("Stop solving after this many seconds.", "SECONDS")
    ] = None,
    index: IndexOption = None,
    sense: SenseOption = None,
    settings: SetOption = None,
    json: JsonOption = False,
) -> int:
    """Explain an answer: prices, margins, worths of slots, the price of balance.

    FILE is an instance file; it is solved first, unless an answer is given. For a
    client: what it holds and why, and by how much a fitness would have to change
    for it to hold something else. For an expert: who nearly lost and who nearly
    got it, and what a slot is worth. Without either: what balance costs.
    """
    if client is not None and expert is not None:
        raise ProblemError("give --client or --expert, not both")
    problem, label = only_one(file, open_problems(file, index, sense, settings))
    if solution is not None:
        result = result_of(problem, open_solution(solution, file, problem))
    else:
        with working(f"solving {problem.n_clients} x {problem.n_experts}", json):
            result = solve(problem, time_limit=time_limit, elastic=elastic, on_interrupt="raise")
    if not result.has_answer:
        report(json, {"status": result.status, "conflict": result.conflict}, result.summary())
        return FAILED if result.status is Status.INFEASIBLE else NOTHING_FOUND
    about: dict[str, Any] = {
        "client": _named(client, problem.client_ids), "expert": _named(expert, problem.expert_ids)
    }
    with working("explaining", json):
        found = explain_answer(problem, result, **about)
    report(json, {"file": label, "status": result.status} | vars(found), _page(found, result))
    return DONE


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


def _page(found: ClientExplanation | ExpertExplanation | Explanation, result: Result) -> str:
    """Return an explanation as lines and a table."""
    if isinstance(found, ClientExplanation):
        table = _client_table(found)
    elif isinstance(found, ExpertExplanation):
        table = _expert_table(found)
    else:
        table = _overall_table(found, result)
    return "\n".join([found.summary(), table, *(f"note: {note}" for note in found.notes)])


def _client_table(found: ClientExplanation) -> str:
    """Return what a client holds and does not hold, as a table."""
    names = {part.expert: part.name for part in found.held}
    names |= {part.expert: part.name for part in found.alternatives}

    def other(expert: int | None) -> str:
        if not found.exact:
            return "?"
        return "nothing" if expert is None else names[expert]

    rows = [(part.name, "held", amount(part.value), _spelled(part.price), _spelled(part.margin),
             other(part.runner_up), "")
            for part in found.held]
    rows += [(part.name, "", amount(part.value), _spelled(part.price), _spelled(part.missing),
              other(part.in_place_of), {True: "yes", False: "no", None: "?"}[part.slot_suffices])
             for part in found.alternatives]
    heads = ("expert", "", "value", "price", "changes beyond", "exchanged for", "with one slot")
    return _table(heads, rows)


def _expert_table(found: ExpertExplanation) -> str:
    """Return the clients that hold an expert, or nearly do, as a table."""
    rows = [(part.name, word, amount(part.value), _spelled(part.margin))
            for word, parts in (("holds it", found.weakest), ("does not", found.nearest))
            for part in parts]
    return _table(("client", "", "value", "changes beyond"), rows)


def _overall_table(found: Explanation, result: Result) -> str:
    """Return all experts as a table, those whose slots are worth most first."""
    problem = result.relaxed_problem or result.problem
    low, high = problem.holder_bounds()
    worth = result.loads if found.slot_worth is None else found.slot_worth
    rows = [
        (found.expert_names[j], f"{result.loads[j]:,}", f"{low[j]:,} to {high[j]:,}",
         *(_spelled(None if part is None else float(part[j]))
           for part in (found.prices, found.slot_worth, found.minimum_worth)))
        for j in np.argsort(-worth, kind="stable").tolist()
    ]
    heads = ("expert", "holders", "allowed", "price", "one slot more", "one needed less")
    return _table(heads, rows)


def _spelled(value: float | None) -> str:
    if value is None:
        return "?"
    return "never" if math.isinf(value) else amount(value)


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
    console = Console(file=io.StringIO(), width=110)
    with console.capture() as captured:
        console.print(table)
    more = len(rows) - MOST_ROWS
    lines = [line.rstrip() for line in captured.get().splitlines()]
    return "\n".join(lines + ([f"and {more:,} more"] if more > 0 else []))
