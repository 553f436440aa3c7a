"""What the solver returns; shared by all ways to run it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from alignsolve.backends.exchange.inputs import Bounds, Floats, Ints
from alignsolve.model.contradictions import contradictory_counts


@dataclass(frozen=True, eq=False)
class ExchangeAnswer:
    """What `solve_exchange` returns.

    Attributes
    ----------
    status : str
        "optimal"; "infeasible"; "stopped" (deadline, or asked to); "stalled"
        (the method does not suit the problem: use another solver).
    row_ind, col_ind : int64 arrays, shape (n_pairs,), or None
        Held pairs sorted by (row, col); None where no feasible assignment is known.
    prices : float64 array, shape (m,), or None
        Max-sense price of a holder of each expert: a client's best response
        maximises value less price, an expert's price times load less penalty.
    conflict_experts : int64 array or None
        Experts whose bounds cannot hold together, where paths found that out.
    conflict_client : int
        A client that cannot fill its least slots, or -1.
    stats : dict
        Counts, and seconds of each phase.
    feasible : bool
        Whether a feasible answer is known, if only where its clients are.
    """

    status: str
    row_ind: Ints | None = None
    col_ind: Ints | None = None
    prices: Floats | None = None
    conflict_experts: Ints | None = None
    conflict_client: int = -1
    stats: dict[str, Any] = field(default_factory=dict)
    feasible: bool = False


def obvious_conflict(slot_min: Ints, slot_max: Ints, bounds: Bounds) -> bool:
    """Say whether bounds alone, before any value is looked at, contradict each other."""
    holders = bounds.load_min, bounds.load_max
    return any(True for _ in contradictory_counts((slot_min, slot_max), holders))


def finite_prices(price: Floats, spread: Callable[[], float]) -> Floats:
    """Return the prices, shape (m,); where nobody may hold an expert, one at which nobody does.

    Parameters
    ----------
    price : float64 array, shape (m + 1,)
        +inf where nobody may hold an expert.
    spread : callable
        Returns by how much two values may differ at most.
    """
    found = price[:-1].copy()
    barred = ~np.isfinite(found)
    if barred.any():
        found[barred] = np.ceil(spread() + found.max(where=~barred, initial=0.0))
    return found
