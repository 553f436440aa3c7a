"""Published formulations of the assignment, solved exactly, as baselines."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from alignsolve.aligner.baselines import Choice, in_order
from alignsolve.aligner.optimal import solved
from alignsolve.aligner.policy import Round
from alignsolve.model.arrays import Float64Array, IntArray
from alignsolve.model.problem import AlignmentProblem

#: How far a round's load may be from the mean in the FLEX-MoE formulation, as a share of it.
FLEX_MOE_SLACK = 0.1

#: Fewest experts of a client in the FedAMoLE formulation.
FEDAMOLE_LEAST = 2


def flex_moe(round_: Round) -> Choice:
    """Choose as FLEX-MoE does: fitness under client counts, load bounds and deficits.

    Notes
    -----
    As described publicly, the server maximises total fitness such that every
    client gets as many experts as it has room for and every expert's load keeps
    bounds, which account for how far it lagged behind in earlier rounds. Our
    reading where details are not public: a round's load is within 10% of the
    mean, plus what the expert lacks of the mean of all earlier assignments.

    The paper solves a linear program. Its constraints are totally unimodular, so
    that the whole-number optimum found here is an optimum of it. Assignments
    count, not finished ones; there are no budgets but the number of experts, so
    pairs that break another budget are left out, worst fitness first.

    References
    ----------
    B. Zhang et al., FLEX-MoE: Federated Mixture-of-Experts with Load-balanced
    Expert Assignment, 2025, arXiv:2512.23070.
    """
    mean = float(round_.slots.sum()) / round_.settings.n_experts
    deficit = round_.planned.mean() - round_.planned
    return _solved(
        round_, round_.slots,
        np.floor(np.maximum((1 - FLEX_MOE_SLACK) * mean + deficit, 0.0)),
        np.ceil(np.maximum((1 + FLEX_MOE_SLACK) * mean + deficit, 0.0)),
    )  # fmt: skip


def fedamole(round_: Round) -> Choice:
    """Choose as FedAMoLE does: every expert takes exactly r clients.

    Notes
    -----
    Every client gets 2 to as many experts as it has room for (fewer than 2 only
    where it has no more room). The publication takes r as a parameter; here it is
    as many as the slots allow for all experts alike. What was said of budgets
    for `flex_moe` holds here too.

    References
    ----------
    Y. Zhang et al., Personalized Federated Fine-Tuning for LLMs via Data-Driven
    Heterogeneous Model Architectures, 2024, arXiv:2411.19128.
    """
    n_experts = round_.settings.n_experts
    each = np.full(n_experts, np.floor(round_.slots.sum() / n_experts))
    fewest = np.minimum(FEDAMOLE_LEAST, round_.slots)
    return _solved(round_, fewest, each, each)


def _solved(
    round_: Round, fewest: IntArray, low: Float64Array, high: Float64Array
) -> Choice:
    """Maximise fitness within slots, layers and load bounds; then leave out what budgets refuse."""
    problem = AlignmentProblem(
        round_.fitness, round_.slots, min_experts=fewest, load_min=low, load_max=high,
        client_ids=round_.ids, **round_.settings.group_arguments(),
    )  # fmt: skip
    choice = solved(problem, round_)
    if not round_.resources:
        return choice
    chosen = np.full(round_.fitness.shape, -np.inf)
    chosen[choice.row_ind, choice.col_ind] = round_.fitness[choice.row_ind, choice.col_ind]
    kept = in_order(round_, chosen)
    return replace(choice, row_ind=kept.row_ind, col_ind=kept.col_ind)
