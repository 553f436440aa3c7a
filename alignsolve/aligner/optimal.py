"""The optimal strategy: solve the round's problem, relaxed where its bounds conflict."""

from __future__ import annotations

from alignsolve.aligner.baselines import Choice
from alignsolve.aligner.incremental import WarmStart, repaired
from alignsolve.aligner.policy import PolicySettings
from alignsolve.model.problem import AlignmentProblem
from alignsolve.solve.solve import solve


def solve_round(
    problem: AlignmentProblem, policy: PolicySettings, seed: int, warm: WarmStart | None = None,
    lost: int = 0,
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
    lost : int
        Where the pairs are those of an optimal plan without some clients: of how many.
    """
    if warm is not None and lost:
        part = repaired(problem, policy, seed, warm, lost)
        if part is not None:
            return Choice(part.row_ind, part.col_ind, part)
    result = solve(
        problem, time_limit=policy.time_limit, rel_gap=policy.rel_gap, seed=seed,
        warm_start=warm, elastic=True, repeatable=policy.time_limit is None,
    )  # fmt: skip
    return Choice(result.row_ind, result.col_ind, result, result.relaxations)
