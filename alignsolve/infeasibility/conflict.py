"""What is said of bounds that cannot hold together."""

from __future__ import annotations

from dataclasses import dataclass

from alignsolve.model.bounds import Bound


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
    """

    bounds: tuple[Bound, ...]
    text: str
    irreducible: bool = True
    proved: bool = True
    experts: tuple[int, ...] = ()
    needed: float | None = None
    possible: float | None = None


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
    """

    contradictory: bool
    irreducible: bool
