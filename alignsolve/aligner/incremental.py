"""Plan again after a few clients vanished: let only clients near a change move."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from typing import Any

import numpy as np

from alignsolve.aligner.policy import Start
from alignsolve.certificate.certificate import certify_answer
from alignsolve.model.arrays import BoolArray, Float64Array, IntArray
from alignsolve.model.feasibility import Assignment
from alignsolve.model.problem import AlignmentProblem
from alignsolve.relaxation import bounds_beside
from alignsolve.result import Result
from alignsolve.solve.solve import solve
from alignsolve.status import Outcome, Termination

#: Clients that may move at least, and for each that vanished.
MOVABLE, MOVABLE_PER_LOST = 128, 16

#: Of the clients, the share beyond which moving some is no quicker than moving all.
WORTHWHILE = 0.5

#: What a problem has of every client, in rows.
PER_CLIENT = (
    "fitness", "max_experts", "min_experts", "client_fitness_min", "switch_cost", "group_min",
    "group_max",
)  # fmt: skip


def repaired(
    problem: AlignmentProblem, start: Start, limits: Mapping[str, Any]
) -> Result | None:
    """Return the best answer in which only the clients nearest to a change move.

    Parameters
    ----------
    problem : AlignmentProblem
        The round without the clients that vanished, of the flow class.
    start : Start
        The pairs that are left, the prices of the earlier plan, and how many clients vanished.
    limits : mapping of str to value
        Arguments of `solve` that end the search.

    Returns
    -------
    Result or None
        None where the whole problem has to be solved: few clients, no such answer,
        or none that is proved optimal for the whole problem.

    Notes
    -----
    At an optimum every client prefers what it holds at the prices of the experts.
    By how much is its slack, and few slots that change hands move prices little,
    so that clients with much slack stay. All others' pairs are fixed, and their
    loads taken off the bounds. The answer is certified against the whole problem.
    """
    started = time.perf_counter()
    number = MOVABLE + MOVABLE_PER_LOST * start.lost
    if number > WORTHWHILE * problem.n_clients:
        return None
    rows, cols, prices = start.rows, start.cols, start.prices[""]
    held = np.zeros(problem.fitness.shape, dtype=np.bool_)
    held[rows, cols] = True
    slack = _slack(problem, held, problem.sign * prices)
    movable = np.zeros(problem.n_clients, dtype=np.bool_)
    movable[np.argpartition(slack, number)[:number]] = True
    moves = movable[rows]
    small = _restricted(problem, movable, rows[~moves], cols[~moves])
    near = (np.cumsum(movable) - 1)[rows[moves]], cols[moves], prices
    part = solve(small, warm_start=near, on_interrupt="raise", **limits)
    if not part.has_answer:
        return None
    index = np.flatnonzero(movable)
    pairs = np.concatenate([rows[~moves], index[part.row_ind]]), np.concatenate(
        [cols[~moves], part.col_ind]
    )
    return _certified(problem, pairs, part, started)


def _slack(problem: AlignmentProblem, held: BoolArray, prices: Float64Array) -> Float64Array:
    """Return what each client would lose by its cheapest exchange, float64 (n_clients,)."""
    reduced = problem.values(slice(0, problem.n_clients)) - prices
    worst = np.where(held, reduced, np.inf).min(axis=1)
    best = np.where(held, -np.inf, reduced).max(axis=1)
    _, slots = problem.slot_bounds()
    # A client with a free slot compares with leaving it free.
    worst = np.where(held.sum(axis=1) < slots, np.minimum(worst, 0.0), worst)
    slack = worst - best
    return np.where(np.isnan(slack), np.inf, slack)


def _restricted(
    problem: AlignmentProblem, movable: BoolArray, rows: IntArray, cols: IntArray
) -> AlignmentProblem:
    """Return the problem of some clients, with the pairs of all others fixed."""
    bounds = bounds_beside(problem, rows, cols)
    for name in PER_CLIENT:
        values = bounds.get(name, getattr(problem, name))
        bounds[name] = None if values is None else values[movable]
    held = None if problem.held is None else problem.held.mask(np.flatnonzero(movable))
    return problem.replace(client_ids=None, held=held, **bounds)


def _certified(
    problem: AlignmentProblem, pairs: tuple[IntArray, IntArray], part: Result, started: float
) -> Result | None:
    """Return an answer to the whole problem with what can be proved about it."""
    held = Assignment.of(problem, *pairs)
    answer = Outcome(Termination.PROVED, *pairs, prices=part.prices)
    proof = certify_answer(problem, held, answer, math.inf)
    if not (proof.feasible and proof.optimal):
        return None
    return Result.proved(
        problem, held.rows, held.cols, proof, part.termination, loads=held.load,
        backend=f"{part.backend} on part", fallbacks=part.fallbacks,
        stats=dict(part.stats) | {"total_seconds": time.perf_counter() - started},
    )  # fmt: skip
