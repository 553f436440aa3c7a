"""What bounds the work of a solve."""

from __future__ import annotations

from dataclasses import dataclass, field

from alignsolve.backends.portfolio import AutoParams


@dataclass(frozen=True)
class SolveParams:
    """What bounds the work of a solve beside its limits.

    Attributes
    ----------
    conflict_pairs : int
        Pairs of a problem over a source up to which a conflict is looked for, which takes a
        byte a pair, 256 MiB, and some 150 bytes a client.
    conflict_seconds : float
        Most seconds for which a conflict of the mip class is looked for, unless `repeatable`:
        each of hundreds of questions is NP-hard.
    elastic_pairs : int
        Pairs of a source up to which it is read into memory to relax bounds: 0.5 GiB of
        float32.
    auto : AutoParams
        How backends are found and chosen.
    """

    conflict_pairs: int = 2**28
    conflict_seconds: float = 30.0
    elastic_pairs: int = 2**27
    auto: AutoParams = field(default_factory=AutoParams)


DEFAULT_PARAMS = SolveParams()
