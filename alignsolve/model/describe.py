"""What can be said of a problem without solving it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from alignsolve.model.arrays import IntArray, row_blocks
from alignsolve.model.problem import AlignmentProblem


@dataclass(frozen=True)
class Description:
    """Size, class and first facts on feasibility.

    Attributes
    ----------
    n_clients, n_experts : int
        Size.
    sense, dtype : str
        Sense, and type of the fitness.
    problem_class, class_reason : str
        "flow" or "mip", and why.
    features : list of str
        Parts of the model that can change the answer.
    allowed : float
        Share of the pairs that are not forbidden.
    slots : tuple of int
        Fewest and most pairs that the clients' slots allow.
    holders : tuple of int
        Fewest and most pairs that the experts' load bounds allow.
    contradictions : list of str
        Why the problem is infeasible, as far as that shows at sight; empty is
        no proof that it is feasible.
    """

    n_clients: int
    n_experts: int
    sense: str
    dtype: str
    problem_class: str
    class_reason: str
    features: list[str]
    allowed: float
    slots: tuple[int, int]
    holders: tuple[int, int]
    contradictions: list[str]


def describe(problem: AlignmentProblem) -> Description:
    """Describe a problem, in one pass over its matrix."""
    by_client, by_expert = allowed_counts(problem)
    slots_min, slots_max = problem.slot_bounds()
    load_min, load_max = problem.holder_bounds()
    slots_max, load_max = np.minimum(slots_max, by_client), np.minimum(load_max, by_expert)
    cells = problem.n_clients * problem.n_experts
    return Description(
        problem.n_clients,
        problem.n_experts,
        problem.sense,
        problem.fitness.dtype.name,
        problem.problem_class,
        problem.class_reason,
        sorted(feature.value for feature in problem.features),
        float(by_client.sum()) / cells if cells else 1.0,
        (int(slots_min.sum()), int(slots_max.sum())),
        (int(load_min.sum()), int(np.maximum(load_max, 0).sum())),
        _contradictions(problem, slots_min, slots_max, load_min, load_max),
    )


def allowed_counts(problem: AlignmentProblem) -> tuple[IntArray, IntArray]:
    """Return how many allowed pairs each client and each expert has."""
    by_client = np.zeros(problem.n_clients, dtype=np.int64)
    by_expert = np.zeros(problem.n_experts, dtype=np.int64)
    for rows in row_blocks(problem.n_clients, problem.n_experts):
        allowed = problem.fitness[rows] > -np.inf
        by_client[rows] = np.count_nonzero(allowed, axis=1)
        by_expert += np.count_nonzero(allowed, axis=0)
    return by_client, by_expert


def _contradictions(
    problem: AlignmentProblem, slots_min: IntArray, slots_max: IntArray, load_min: IntArray,
    load_max: IntArray,
) -> list[str]:
    """Return at most one contradiction of each kind; bounds count allowed pairs only."""
    found = []
    for name, held, low, high in ((problem.client_name, "experts", slots_min, slots_max),
                                  (problem.expert_name, "holders", load_min, load_max)):
        short = np.flatnonzero(low > high)
        if short.size:
            at = int(short[0])
            more = f" (and {short.size - 1} more like it)" if short.size > 1 else ""
            found.append(f"{name(at)} needs {low[at]} {held} and can have {high[at]}{more}")
    if load_min.sum() > slots_max.sum():
        found.append(f"the experts need {load_min.sum()} holders and the clients have "
                     f"{slots_max.sum()} slots for them")
    if slots_min.sum() > load_max.sum():
        found.append(f"the clients need {slots_min.sum()} experts and the experts take "
                     f"{load_max.sum()} holders")
    return found
