"""The commands ``solve`` and ``check``."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated, Any

import typer

from alignsolve.backends.registry import BACKEND_NAMES
from alignsolve.certificate.certificate import Certificate, certify
from alignsolve.cli import common, options
from alignsolve.cli.live import live_line
from alignsolve.cli.options import optional
from alignsolve.cli.streams import STANDARD, read_from, written_to
from alignsolve.distributed import RayEngine
from alignsolve.distributed.engine import EngineName
from alignsolve.errors import ProblemError
from alignsolve.interrupts import Call
from alignsolve.io import Solution, read_solution, write_solution
from alignsolve.io.solution import check_solution_path, solution_document
from alignsolve.model.problem import AlignmentProblem
from alignsolve.relaxation import relaxed_by
from alignsolve.result import Result
from alignsolve.solve.conflicts import check_conflict
from alignsolve.solve.solve import solve as solve_problem
from alignsolve.status import Status, Termination

#: Relative difference at which a stated value counts as another one.
CLAIM_TOLERANCE = 1e-6


def solve(
    file: options.File,
    backend: Annotated[str, typer.Option(help=f"auto, {', '.join(BACKEND_NAMES)}.")] = "auto",
    time_limit: options.TimeLimit = None,
    rel_gap: Annotated[
        float, typer.Option(metavar="GAP", help="Relative gap at which to stop early.")
    ] = 0.0,
    seed: Annotated[int, typer.Option(help="Seed of anything random.")] = 0,
    threads: Annotated[int | None, optional("Threads; default: all cores.")] = None,
    out: Annotated[
        str | None, optional("Write the answer to a .json file, or its pairs to .csv.", "FILE")
    ] = None,
    warm_start: Annotated[
        str | None, optional("Begin with an earlier answer, in a solution file.", "FILE")
    ] = None,
    elastic: options.Elastic = False,
    engine: Annotated[
        str, typer.Option(metavar="local|ray", help="Solve here, or on workers of a Ray cluster.")
    ] = "local",
    address: Annotated[str | None, optional("Ray: address of an existing cluster.")] = None,
    workers: Annotated[int | None, optional("Ray: workers; default: all cores.")] = None,
    parts: Annotated[
        str | None, optional("Ray: let workers write their pairs as Parquet files.", "FOLDER")
    ] = None,
    index: options.Index = None,
    sense: options.Sense = None,
    settings: options.Settings = None,
    columns: options.Columns = None,
    json: options.Json = False,
) -> int:
    """Solve a problem and certify the answer.

    FILE is an instance file, or - for standard input; FILE#3 is its third problem, and of several
    all are solved, one after the other, with the limits for each. A terminal shows best
    value, bound, gap and time meanwhile; Ctrl-C ends the search and keeps the best
    answer. The exit code is 0 with an answer, 1 where the problem is infeasible,
    and 3 where nothing was found within the limits. --out - prints the answer's file.
    """
    if time_limit is not None and not time_limit >= 0:
        raise ProblemError(f"--time-limit is {time_limit:g}; give seconds >= 0")
    if threads is not None and threads < 1:
        raise ProblemError(f"--threads is {threads}; give a whole number >= 1")
    place = _place(engine, address, workers, parts, out)
    if out == STANDARD and json:
        raise ProblemError("--out - and --json both take standard output; give one of them")
    with live_line("reading", json):
        chosen = common.open_problems(file, index, sense, settings, columns)
        start = None if warm_start is None else read_from(warm_start, read_solution)
    if start is not None and len(chosen) > 1:
        common.only_one(file, chosen)  # an earlier answer is that of one problem

    def solved(problem: AlignmentProblem, text: str = "") -> Result:
        with live_line(f"solving {text}{problem.n_clients} x {problem.n_experts}", json) as show:
            return solve_problem(problem, backend, time_limit, rel_gap, seed, threads,
                                 start, elastic=elastic, engine=place, callback=show)

    made = common.settings_of(settings)
    if len(chosen) > 1 and out is None and parts is None:
        return _solve_several(file, chosen, solved, json, made)
    return _solve_one(*common.only_one(file, chosen), solved, json, out, parts, made)


def _place(
    engine: str, address: str | None, workers: int | None, parts: str | None, out: str | None
) -> RayEngine | EngineName:
    """Return where to solve, after checking the options of where the answer goes."""
    if engine not in ("local", "ray"):
        raise ProblemError(f"--engine is {engine!r}; give local or ray")
    if engine == "local" and (address, workers, parts) != (None, None, None):
        raise ProblemError("--address, --workers and --parts need --engine ray")
    if parts is not None and out is not None:
        raise ProblemError("--parts leaves no pairs to write to --out; give one of them")
    if out not in (None, STANDARD):
        check_solution_path(out)
    return RayEngine(address, workers, parts) if engine == "ray" else "local"


def _solve_one(
    problem: AlignmentProblem, label: str, solved: Callable[[AlignmentProblem], Result],
    json: bool, out: str | None, parts: str | None, made: dict[str, float],
) -> int:
    """Solve a problem, write the answer and print all that is known of it."""
    # What comes between the answer and its end ends nothing but that.
    with Call("answer"):
        result = solved(problem)
        failure = "" if out is None else _written(result, out, made)
        if json:
            failed = {"error": failure} if failure else {}
            common.print_json(_result_document(label, result, made) | failed)
        elif out != STANDARD:
            common.print_text(
                f"problem      {label}: {problem.n_clients} clients x {problem.n_experts} "
                f"experts, {problem.sense}, class {problem.problem_class}")
            common.print_text(result.summary())
            wrote = out is not None or (parts is not None and result.has_answer)
            if wrote and not failure:
                common.print_text(f"wrote        {out or f'{parts}, a part for each worker'}")
    if failure:
        common.note(f"error: {failure}")
    return common.BAD_INPUT if failure else _exit_code(result)


def _written(result: Result, out: str, made: dict[str, float]) -> str:
    """Write an answer; return why that was not possible, so that it can still be printed."""
    try:
        with written_to(out) as place:
            write_solution(result, place, settings=made)
    except ProblemError as error:
        return " ".join(str(error).split())
    return ""


def _solve_several(
    file: str, chosen: list[common.Chosen], solved: Callable[[AlignmentProblem, str], Result],
    json: bool, made: dict[str, float],
) -> int:
    """Solve the problems of a file, a line for each; Ctrl-C ends it after the one at work."""
    documents, codes = [], []
    if not json:
        common.print_text(f"{file}: {len(chosen)} problems")
    with Call("answer") as call:
        for part in chosen:
            result = solved(part.problem, f"{part.number} of {part.total}, ")
            codes.append(_exit_code(result))
            documents.append(_result_document(part.label, result, made))
            if not json:
                size = f"{part.problem.n_clients} x {part.problem.n_experts}"
                common.print_text(f"  #{part.number:<4}{size:<12}{_in_a_line(result)}")
            if result.termination is Termination.INTERRUPTED or call.noted:
                codes.append(common.INTERRUPTED if part.number < part.total else common.DONE)
                break
        if json:
            common.print_json({"file": file, "problems": documents})
    return max(codes)


def _in_a_line(result: Result) -> str:
    """Return the outcome of a solve in one line."""
    words = f"{result.status.value} ({result.termination.value})"
    if result.has_answer:
        words += f", {result.objective_value:.12g}"
    if result.status is Status.FEASIBLE and math.isfinite(result.gap):
        words += f", bound {result.dual_bound:.12g}, gap {result.gap:.3%}"
    return f"{words}, {result.backend}, {result.stats['total_seconds']:.2f} s"


def _exit_code(result: Result) -> int:
    if result.status is Status.INFEASIBLE:
        return common.FAILED
    if result.has_answer:
        return common.DONE
    if result.termination is Termination.INTERRUPTED:
        return common.INTERRUPTED
    return common.NOTHING_FOUND


def _result_document(label: str, result: Result, made: dict[str, float]) -> dict[str, Any]:
    """Return what ``solve --json`` prints: the solution file, and what only a run knows."""
    solution = solution_document(Solution.from_result(result, made), result.problem)
    return {
        "file": label,
        "gap": result.gap,
        "gap_abs": result.gap_abs,
        "fallbacks": result.fallbacks,
        "stats": result.stats,
    } | solution


def check(
    file: options.File,
    solution: Annotated[str, typer.Argument(metavar="SOLUTION", show_default=False)],
    index: options.Index = None,
    sense: options.Sense = None,
    settings: options.Settings = None,
    columns: options.Columns = None,
    json: options.Json = False,
) -> int:
    """Check a solution against its problem, without a solver.

    FILE is an instance file, SOLUTION what solve wrote or a table of pairs.
    Feasibility, value and, for the flow class, optimality are computed anew;
    for other problems a bound in the file that is better than what is proved
    here is called a claim of the solver the file names. The exit code is 1 where
    the solution breaks a bound or claims what is not so.
    """
    chosen = common.open_problems(file, index, sense, settings, columns)
    problem, label = common.only_one(file, chosen)
    problem, claimed, remarks = common.open_solution(solution, file, problem, settings)
    with live_line("checking", json):
        found = verdict(problem, claimed)
    remarks = [*remarks, *found.remarks]
    lines = [f"failed: {failure}" for failure in found.failures]
    if found.certificate is not None and found.certificate.feasible:
        lines.append(found.certificate.summary() if found.claim is None
                     else found.claim.summary(found.certificate.objective_value))
    lines += remarks if found.failures else [*remarks, "ok"]
    document = {"file": label, "solution": solution, "ok": not found.failures,
                "failures": found.failures, "remarks": remarks} | _certified(found)
    common.report(json, document, "\n".join(lines))
    return common.FAILED if found.failures else common.DONE


@dataclass(frozen=True)
class Claim:
    """A bound that a file states and nothing in it proves.

    Attributes
    ----------
    bound : float
        The bound, in the problem's own sense.
    by : str
        Whose word it is.
    gap_abs, gap : float
        Distance of the answer from it, as in `Certificate`.
    optimal : bool
        Whether the answer would be optimal if it held.
    """

    bound: float
    by: str
    gap_abs: float
    gap: float
    optimal: bool

    def summary(self, value: float) -> str:
        """Return in words what the bound would mean for an answer of a value."""
        known = f"objective {value:.12g}, bound {self.bound:.12g}"
        if self.optimal:
            return (f"optimal, claimed by {self.by}, not recomputed: {known}, "
                    f"gap_abs {self.gap_abs:.3g}")
        return (f"feasible, not proved optimal: {known} claimed by {self.by}, not recomputed, "
                f"gap {self.gap:.3%}")


@dataclass(frozen=True)
class Verdict:
    """What is wrong with a solution, what else is to be said, what is proved, what claimed."""

    failures: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    certificate: Certificate | None = None
    claim: Claim | None = None


def _certified(found: Verdict) -> dict[str, Any]:
    """Return what is proved, and what only claimed, as a program wants to know it."""
    if found.certificate is None:
        return {}
    names = ("kind", "source", "feasible", "optimal", "objective_value", "dual_bound", "gap",
             "gap_abs", "violations")
    proved = {name: getattr(found.certificate, name) for name in names}
    if found.claim is None:
        return proved
    return proved | {"claimed_by": found.claim.by, "claimed_bound": found.claim.bound,
                     "claimed_gap": found.claim.gap, "claimed_optimal": found.claim.optimal}


def verdict(problem: AlignmentProblem, claimed: Solution) -> Verdict:
    """Return what is to be said of a solution."""
    if claimed.status is Status.INFEASIBLE:
        return _check_infeasible(problem, claimed)
    if claimed.status is Status.NO_SOLUTION_FOUND:
        return Verdict(["the file says that nothing was found; there is nothing to check"])
    prices = claimed.prices if claimed.multipliers is None else claimed.multipliers
    failures, remarks = [], []
    if claimed.relaxations:
        try:
            problem = relaxed_by(problem, claimed.relaxations)
        except ProblemError as error:
            return Verdict([str(error)])
        remarks = [f"relaxed: {part.text}" for part in claimed.relaxations]
        remarks.append("that no less had to be relaxed is not checked")
    certificate = certify(problem, claimed.row_ind, claimed.col_ind, prices)
    if not certificate.feasible:
        return Verdict([violation.message for violation in certificate.violations],
                       certificate=certificate)
    value, sign = certificate.objective_value, problem.sign
    slack = CLAIM_TOLERANCE * max(1.0, abs(value))
    if abs(claimed.objective_value - value) > slack:
        failures.append(f"the objective is {value:.12g}, not {claimed.objective_value:.12g}")
    if sign * claimed.dual_bound < sign * value - slack:
        failures.append(f"the bound {claimed.dual_bound:.12g} is beaten by the answer itself")
    claim = _claim(problem, claimed, certificate, slack)
    if claimed.status is Status.OPTIMAL and not (
        certificate.optimal or (claim is not None and claim.optimal)
    ):
        failures.append("the answer is claimed optimal, but that is not proved")
    if claim is None and abs(claimed.dual_bound - certificate.dual_bound) > slack:
        remarks.append(f"the file states the bound {claimed.dual_bound:.12g}")
    if claim is not None and certificate.kind == "prices":
        remarks.append(f"the bound proved here is {certificate.dual_bound:.12g}")
    return Verdict(failures, remarks, certificate, claim)


def _claim(
    problem: AlignmentProblem, claimed: Solution, certificate: Certificate, slack: float
) -> Claim | None:
    """Return the bound of a file where it says more than is proved, and may be right.

    Notes
    -----
    In the flow class everything that is true can be proved, so nothing is left
    to claims. The word of a solver is taken within its own tolerance.
    """
    if problem.problem_class == "flow" or certificate.optimal:
        return None
    bound, value, sign = claimed.dual_bound, certificate.objective_value, problem.sign
    if not sign * value - slack <= sign * bound < sign * certificate.dual_bound - slack:
        return None
    gap_abs = max(0.0, sign * (bound - value))
    return Claim(bound, claimed.bound_source or "an unnamed solver", gap_abs,
                 gap_abs / max(1.0, abs(value)), gap_abs <= slack)


def _check_infeasible(problem: AlignmentProblem, claimed: Solution) -> Verdict:
    """Check the conflict that a solution gives for a problem without an answer."""
    if claimed.conflict is None:
        return Verdict(["the problem is claimed infeasible, without a conflict to check"])
    try:
        found = check_conflict(problem, claimed.conflict)
    except ProblemError as error:
        return Verdict([f"the conflict is not about this problem: {error}"])
    if not found.contradictory:
        return Verdict(["the bounds of the conflict do not contradict each other"])
    text = f"infeasible: {claimed.conflict.text}"
    return Verdict(remarks=[text] if found.irreducible else [text, "a smaller conflict exists"])
