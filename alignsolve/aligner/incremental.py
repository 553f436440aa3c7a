"""Plan again after a few clients vanished: let only clients near a change move."""

from __future__ import annotations

import math
import time

import numpy as np

from alignsolve.aligner.policy import PolicySettings
from alignsolve.certificate.certificate import certify_answer
from alignsolve.model.arrays import BoolArray, Float64Array, IntArray
from alignsolve.model.feasibility import Assignment
from alignsolve.model.problem import AlignmentProblem, Load, Resource
from alignsolve.result import Result
from alignsolve.solve.solve import solve
from alignsolve.status import Outcome, Termination

#: Clients that may move at least, and for each that vanished.
MOVABLE, MOVABLE_PER_LOST = 128, 16

#: Of the clients, the share beyond which moving some is no quicker than moving all.
WORTHWHILE = 0.5

#: Clients and experts of pairs, and prices of the experts.
WarmStart = tuple[IntArray, IntArray, Float64Array]


def repaired(
    problem: AlignmentProblem, policy: PolicySettings, seed: int, warm: WarmStart, lost: int
) -> Result | None:
    """Return the best answer in which only the clients nearest to a change move.

    Parameters
    ----------
    problem : AlignmentProblem
        The round without the clients that vanished.
    policy : PolicySettings
        Limits.
    seed : int
        Seed of anything random.
    warm : tuple of two int64 arrays and a float64 array
        The pairs that are left, sorted, and the prices of the earlier plan.
    lost : int
        Clients that vanished.

    Returns
    -------
    Result or None
        None where the whole problem has to be solved: few clients, no such answer,
        or (flow class) none that is proved optimal for the whole problem.

    Notes
    -----
    At an optimum every client prefers what it holds at the prices of the experts.
    By how much is its slack, and few slots that change hands move prices little,
    so that clients with much slack stay. All others' pairs are fixed, and their
    loads taken off the bounds. The answer of the flow class is certified against
    the whole problem.
    """
    started = time.perf_counter()
    number = MOVABLE + MOVABLE_PER_LOST * lost
    if number > WORTHWHILE * problem.n_clients:
        return None
    rows, cols, prices = warm
    held = np.zeros(problem.fitness.shape, dtype=np.bool_)
    held[rows, cols] = True
    slack = _slack(problem, held, problem.sign * prices)
    movable = np.zeros(problem.n_clients, dtype=np.bool_)
    movable[np.argpartition(slack, number)[:number]] = True
    moves = movable[rows]
    small = _restricted(problem, movable, rows[~moves], cols[~moves])
    near = (np.cumsum(movable) - 1)[rows[moves]], cols[moves], prices
    part = solve(
        small, time_limit=policy.time_limit, rel_gap=policy.rel_gap, seed=seed, warm_start=near,
        repeatable=policy.time_limit is None,
    )  # fmt: skip
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
    m = problem.n_experts
    arguments = problem.arguments()
    fixed = np.bincount(cols, minlength=m)
    for name in ("load_min", "load_max", "load_target"):
        arguments[name] = getattr(problem, name) - fixed
    for name in ("fitness", "max_experts", "min_experts", "client_fitness_min", "switch_cost"):
        arguments[name] = getattr(problem, name)[movable]
    if problem.expert_group is not None:
        assert problem.group_min is not None and problem.group_max is not None
        arguments["group_min"] = problem.group_min[movable]
        arguments["group_max"] = problem.group_max[movable]
    if problem.held is not None:
        arguments["held"] = problem.held.mask(np.flatnonzero(movable))
    arguments["client_ids"] = None
    arguments["loads"] = {
        name: _restricted_load(load, movable, problem.load_amounts(name, rows, cols))
        for name, load in problem.loads.items()
    }
    arguments["resources"] = {
        name: Resource(np.asarray(part.size)[movable], np.asarray(part.budget)[movable])
        for name, part in problem.resources.items()
    }
    return AlignmentProblem(**arguments)


def _restricted_load(load: Load, movable: BoolArray, fixed: Float64Array) -> Load:
    return Load(
        np.asarray(load.weight)[movable], min=np.asarray(load.min) - fixed,
        max=np.asarray(load.max) - fixed, target=np.asarray(load.target) - fixed,
        penalty=load.penalty,
    )


def _certified(
    problem: AlignmentProblem, pairs: tuple[IntArray, IntArray], part: Result, started: float
) -> Result | None:
    """Return an answer to the whole problem with what can be proved about it."""
    held = Assignment.of(problem, *pairs)
    answer = Outcome(Termination.PROVED, *pairs, prices=part.prices)
    proof = certify_answer(problem, held, answer, math.inf)
    if not proof.feasible or (problem.problem_class == "flow" and not proof.optimal):
        return None
    return Result.proved(
        problem, held.rows, held.cols, proof, part.termination, loads=held.load,
        backend=f"{part.backend} on part", fallbacks=part.fallbacks,
        stats=dict(part.stats) | {"total_seconds": time.perf_counter() - started},
    )  # fmt: skip
