"""The strategies of the aligner, by name, on one interface: a round in, pairs out."""

from __future__ import annotations

import time
from collections.abc import Callable

from alignsolve.aligner.baselines import Choice, greedy, random_choice, round_robin
from alignsolve.aligner.clients import Clients
from alignsolve.aligner.formulations import fedamole, flex_moe
from alignsolve.aligner.optimal import optimal
from alignsolve.aligner.plan import Plan
from alignsolve.aligner.policy import Round
from alignsolve.aligner.settings import Strategy
from alignsolve.errors import ProblemError

#: All strategies: the optimal one, some that call no solver, and published formulations.
STRATEGIES: dict[Strategy, Callable[[Round], Choice]] = {
    "optimal": optimal,
    "random": random_choice,
    "round-robin": round_robin,
    "greedy": greedy,
    "flex-moe": flex_moe,
    "fedamole": fedamole,
}


def known_strategy(name: str) -> Strategy:
    """Return the name of a strategy, or raise `ProblemError` where there is none of it."""
    if name not in STRATEGIES:
        raise ProblemError(f"strategy is {name!r}; give one of {', '.join(STRATEGIES)}")
    return name


def chosen(
    inputs: Round, clients: Clients, deadline_s: float | None, started: float
) -> Plan:
    """Let the strategy of a round choose, and make a plan of it."""
    strategy = inputs.settings.strategy
    choice = STRATEGIES[strategy](inputs)
    pairs = choice.row_ind, choice.col_ind
    return Plan(
        round=inputs.number, clients=clients.named(inputs.rows), row_ind=choice.row_ind,
        col_ind=choice.col_ind, expert_mb=inputs.settings.expert_mb,
        download=~inputs.current[pairs], moved=~inputs.placed[pairs], finish=inputs.finish,
        strategy=strategy, result=choice.result,
        relaxations=() if choice.result is None else choice.result.relaxations,
        seconds=time.perf_counter() - started, deadline_s=deadline_s,
    )
