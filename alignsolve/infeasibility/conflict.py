"""What is said of bounds that cannot hold together."""

from __future__ import annotations

from dataclasses import dataclass

from alignsolve.model.bounds import FAMILY_LIMIT, Bound, BoundSet
from alignsolve.model.html import table
from alignsolve.model.problem import AlignmentProblem

#: Added to the sentence where the reduction was not completed.
UNFINISHED = "; time ran out before it was shown that every listed bound is needed"


@dataclass(frozen=True)
class Conflict:
    """Bounds that cannot hold together.

    Attributes
    ----------
    bounds : tuple of Bound
        The bounds. Forbidden pairs, and that a client holds an expert once or
        not at all, are in force besides.
    text : str
        The contradiction in one sentence.
    irreducible : bool
        Whether without any one entry of `bounds` the others can hold. False
        where time ran out before that was shown.
    proved : bool
        Whether `bounds` were shown to contradict each other. False where time
        ran out before any smaller set than all bounds was found.
    experts : tuple of int
        The experts whose bounds are in conflict, where it is one of loads.
    needed, possible : float or None
        The contradiction in numbers, where it is one inequality of the listed
        bounds: `needed` exceeds `possible`.

    Examples
    --------
    >>> import alignsolve as al
    >>> result = al.solve(al.AlignmentProblem([[3, 1], [2, 2.5]], max_experts=1, load_min=2))
    >>> print(result.conflict.text.partition(";")[0])
    experts 0 and 1 need at least 4 client slots
    >>> result.conflict.needed, result.conflict.possible
    (4.0, 3.0)
    """

    bounds: tuple[Bound, ...]
    text: str
    irreducible: bool = True
    proved: bool = True
    experts: tuple[int, ...] = ()
    needed: float | None = None
    possible: float | None = None

    def _repr_html_(self) -> str:
        rows = [(bound.kind, bound.name or "", _whose(bound), f"{bound.value:.6g}")
                for bound in self.bounds]
        notes = ["without any one of them the others can hold"] if self.irreducible else []
        return table(f"Conflict: {self.text}", ("bound", "of", "whose", "value"), rows, notes)

    @classmethod
    def of(
        cls, problem: AlignmentProblem, kept: BoundSet, text: str, irreducible: bool,
        limit: int = FAMILY_LIMIT, needed: float | None = None, possible: float | None = None,
    ) -> Conflict:
        """List bounds that were shown to contradict each other; `limit` as in `BoundSet.bounds`."""
        return cls(
            bounds=kept.bounds(problem, limit), text=text + ("" if irreducible else UNFINISHED),
            irreducible=irreducible,
            experts=tuple(sorted({int(j) for index in kept.experts.values() for j in index})),
            needed=None if needed is None else float(needed),
            possible=None if possible is None else float(possible),
        )


@dataclass(frozen=True)
class ConflictCheck:
    """What a re-check of a conflict shows.

    Attributes
    ----------
    contradictory : bool
        Whether the listed bounds alone cannot hold together.
    irreducible : bool
        Whether, moreover, the others can hold without any one of them.

    Notes
    -----
    For the mip class False also stands for "not shown in time".

    Examples
    --------
    >>> import alignsolve as al
    >>> problem = al.AlignmentProblem([[3, 1], [2, 2.5]], max_experts=1, load_min=2)
    >>> al.check_conflict(problem, al.solve(problem).conflict)
    ConflictCheck(contradictory=True, irreducible=True)
    """

    contradictory: bool
    irreducible: bool


def _whose(bound: Bound) -> str:
    """Return the client or expert that a bound is of, or how many clients."""
    if bound.expert is not None:
        return f"expert {bound.expert}"
    who = f"client {bound.client}" if bound.clients is None else f"{len(bound.clients):,} clients"
    return who if bound.group is None else f"{who}, group {bound.group}"
