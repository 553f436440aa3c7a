"""Sizes and times of a solve on Ray, in one place."""

from __future__ import annotations

from dataclasses import dataclass

from alignsolve.backends.exchange.params import DEFAULTS, ExchangeParams


@dataclass(frozen=True)
class RayParams:
    """How long to wait for what, and how much at a time.

    Attributes
    ----------
    object_store : int
        Bytes of shared memory of a cluster that is started for the solve.
    reached_within : float
        Seconds within which a cluster's address has to answer; Ray itself would try for
        minutes.
    max_restarts : int
        Times that Ray starts a worker anew.
    patience : float
        Seconds to wait for a worker that died.
    exchange : ExchangeParams
        Thresholds and sizes of the solver.
    """

    object_store: int = 2**29
    reached_within: float = 5.0
    max_restarts: int = 8
    patience: float = 300.0
    exchange: ExchangeParams = DEFAULTS
