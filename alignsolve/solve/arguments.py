"""Check the arguments of `alignsolve.solve`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from alignsolve.errors import ProblemError
from alignsolve.interrupts import Call
from alignsolve.model.arrays import Float64Array, IntArray, fitted
from alignsolve.model.feasibility import sorted_pairs
from alignsolve.model.labels import by_label
from alignsolve.model.problem import AlignmentProblem
from alignsolve.progress import Callback, Reporter
from alignsolve.result import Result
from alignsolve.solve.warm_start import EarlierAnswer, is_earlier_answer, matched
from alignsolve.status import Limits


def checked_limits(
    problem: AlignmentProblem,
    started: float,
    time_limit: float | None,
    rel_gap: float,
    seed: int,
    threads: int | None,
    warm_start: Result | EarlierAnswer | tuple[Any, ...] | None,
    callback: Callback | None,
    repeatable: bool,
    call: Call,
) -> tuple[Limits, dict[str, Any]]:
    """Return what is asked for, or raise `ProblemError`; see `alignsolve.solve`.

    The second part is what `Result.stats` says of the warm start.
    """
    if not isinstance(problem, AlignmentProblem):
        raise ProblemError(f"problem is {type(problem).__name__}; give an AlignmentProblem")
    if time_limit is not None and not _is_number(time_limit, 0):
        raise ProblemError(f"time_limit is {time_limit!r}; give seconds >= 0, or None")
    if not _is_number(rel_gap, 0) or math.isinf(rel_gap):
        raise ProblemError(f"rel_gap is {rel_gap!r}; give a finite number >= 0")
    if threads is not None and (not isinstance(threads, (int, np.integer)) or threads < 1):
        raise ProblemError(f"threads is {threads!r}; give a whole number >= 1, or None")
    if not isinstance(seed, (int, np.integer)) or not 0 <= seed < 2**31:
        raise ProblemError(f"seed is {seed!r}; give a whole number from 0 to 2**31 - 1")
    if callback is not None and not callable(callback):
        raise ProblemError(f"callback is {callback!r}; give a function of an al.Progress, or None")
    pairs, given, stats = _warm_start(problem, warm_start)
    prices = {name: problem.sign * part for name, part in given.items()}
    limits = Limits(
        deadline=math.inf if time_limit is None else started + float(time_limit),
        rel_gap=float(rel_gap),
        seed=int(seed),
        threads=None if threads is None else int(threads),
        warm_start=pairs,
        repeatable=bool(repeatable),
        warm_prices=prices.get(""),
        warm_load_prices=prices if problem.problem_class == "mip" else {},
        report=Reporter(problem, callback, started, call),
    )
    return limits, stats


def _warm_start(
    problem: AlignmentProblem, given: Any
) -> tuple[tuple[IntArray, IntArray] | None, dict[str, Float64Array], dict[str, Any]]:
    """Return pairs, prices in the problem's own sense, and what `Result.stats` says of them."""
    if given is None or (isinstance(given, Result) and not given.has_answer):
        return None, {}, {}
    if is_earlier_answer(given):
        return matched(problem, given)
    if not isinstance(given, tuple) or len(given) not in (2, 3):
        raise ProblemError("warm_start is neither a Result, a Plan or a Solution nor a tuple "
                           "(row_ind, col_ind[, prices])")
    pairs = sorted_pairs(problem, given[0], given[1])
    parts = given[2] if len(given) == 3 else {}
    parts = parts if isinstance(parts, Mapping) else {"": parts}
    prices = {}
    for name, part in parts.items():
        ordered = by_label(prices=part, expert_ids=problem.expert_ids)["prices"]
        prices[name] = fitted("warm_start prices", ordered, (problem.n_experts,), "one per expert",
                              valid=np.isfinite, would_be_right="give finite prices")
    count = int(pairs[0].size)
    return pairs, prices, {"warm_start_pairs": count, "warm_start_used": count,
                           "warm_start_by": "positions"}


def _is_number(value: object, least: float) -> bool:
    return isinstance(value, (int, float, np.number)) and float(value) >= least
