"""The strategies of the aligner, by name, on one interface: a round in, pairs out."""

from __future__ import annotations

from collections.abc import Callable

from alignsolve.aligner.baselines import Choice, greedy, random_choice, round_robin
from alignsolve.aligner.formulations import fedamole, flex_moe
from alignsolve.aligner.optimal import optimal
from alignsolve.aligner.policy import Round
from alignsolve.errors import ProblemError

#: All strategies: the optimal one, some that call no solver, and published formulations.
STRATEGIES: dict[str, Callable[[Round], Choice]] = {
    "optimal": optimal,
    "random": random_choice,
    "round-robin": round_robin,
    "greedy": greedy,
    "flex-moe": flex_moe,
    "fedamole": fedamole,
}


def known_strategy(name: str) -> str:
    """Return the name of a strategy, or raise `ProblemError` where there is none of it."""
    if name not in STRATEGIES:
        raise ProblemError(f"strategy is {name!r}; give one of {', '.join(STRATEGIES)}")
    return name
