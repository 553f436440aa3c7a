"""What can be said of a problem without solving it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from alignsolve.model.arrays import IntArray, row_blocks
from alignsolve.model.contradictions import contradictions
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
        Why the problem is infeasible, as far as its bounds alone show; empty is
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
        list(contradictions(problem, by_client, by_expert)),
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
