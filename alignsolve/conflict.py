"""Why a problem has no answer: a small set of bounds that cannot hold together."""

from __future__ import annotations

from dataclasses import dataclass

from alignsolve.problem import AlignmentProblem


@dataclass(frozen=True)
class Bound:
    """One bound of a problem.

    Attributes
    ----------
    kind : str
        "min_experts", "max_experts", "load_min", "load_max", "resource",
        "group_min", "group_max" or "client_fitness_min".
    client, expert, group : int or None
        Where, as far as it applies.
    name : str or None
        Name of the load or resource.
    value : float
        The bound, in the problem's own sense.
    """

    kind: str
    client: int | None
    expert: int | None
    group: int | None
    name: str | None
    value: float


@dataclass(frozen=True)
class Conflict:
    """Bounds that cannot hold together.

    Attributes
    ----------
    bounds : tuple of Bound
        The bounds; without any one of them the others can hold.
    text : str
        The contradiction in one sentence.
    """

    bounds: tuple[Bound, ...]
    text: str


def find_conflict(problem: AlignmentProblem, deadline: float = float("inf")) -> Conflict:
    """Return a conflict of an infeasible problem."""
    raise NotImplementedError
