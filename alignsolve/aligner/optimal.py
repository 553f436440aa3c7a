"""The optimal strategy: solve the round's problem, relaxed where its bounds conflict."""

from __future__ import annotations

from alignsolve.aligner.baselines import Choice
from alignsolve.aligner.policy import PolicySettings
from alignsolve.arrays import Float64Array, IntArray
from alignsolve.problem import AlignmentProblem
from alignsolve.solve import solve

#: Clients and experts of pairs, and prices of the experts.
WarmStart = tuple[IntArray, IntArray, Float64Array]


def solve_round(
    problem: AlignmentProblem,
    policy: PolicySettings,
    seed: int,
    warm: WarmStart | None = None,
) -> Choice:
    """Solve a round's problem.

    Parameters
    ----------
    problem : AlignmentProblem
        From `round_problem`.
    policy : PolicySettings
        Limits.
    seed : int
        Seed of anything random.
    warm : tuple of two int64 arrays and a float64 array, optional
        Pairs to start from, and prices.
    """
    result = solve(
        problem, time_limit=policy.time_limit, rel_gap=policy.rel_gap, seed=seed,
        warm_start=warm, elastic=True,
    )  # fmt: skip
    return Choice(result.row_ind, result.col_ind, result, result.relaxations)
