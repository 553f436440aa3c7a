"""The strategies of the aligner, by name, on one interface: a round in, pairs out."""

from __future__ import annotations

from alignsolve.aligner.baselines import BASELINES, Choice
from alignsolve.aligner.formulations import FORMULATIONS
from alignsolve.aligner.incremental import WarmStart
from alignsolve.aligner.optimal import solve_round
from alignsolve.aligner.policy import PolicySettings, Round, round_problem

#: Names of all strategies.
STRATEGIES = ("optimal", *BASELINES, *FORMULATIONS)


def choose(
    strategy: str, round_: Round, policy: PolicySettings, expert_ids: tuple[str, ...] | None,
    warm: WarmStart, lost: int,
) -> Choice:
    """Let a strategy choose the pairs of a round.

    Parameters
    ----------
    strategy : str
        One of `STRATEGIES`.
    round_ : Round
        Inputs.
    policy : PolicySettings
        Aims and limits.
    expert_ids : tuple of str or None
        Names of the experts.
    warm : tuple of two int64 arrays and a float64 array
        Pairs and prices from which the optimal strategy starts.
    lost : int
        Where the pairs are those of a plan without some clients: of how many.
    """
    if strategy in BASELINES:
        return BASELINES[strategy](round_)
    if strategy in FORMULATIONS:
        return FORMULATIONS[strategy](round_, policy)
    problem = round_problem(round_, policy, expert_ids)
    return solve_round(problem, policy, round_.seed, warm, lost)
