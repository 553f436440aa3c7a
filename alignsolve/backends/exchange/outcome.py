"""What the solver returns, and what ends it; shared by all ways to run it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from alignsolve.model.contradictions import contradictory_counts

if TYPE_CHECKING:
    from alignsolve.backends.exchange.subproblem import Bounds, Subproblem

#: Seconds that a stopped solve may take to make its answer feasible.
GRACE = 0.2

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


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
    barred = np.flatnonzero(~np.isfinite(found))
    if barred.size:
        known = found[np.isfinite(found)]
        top = float(known.max()) if known.size else 0.0
        found[barred] = np.ceil(spread() + max(0.0, top))
    return found


def warm_start(prices: Any, rows: Any, cols: Any, bounds: Bounds) -> tuple[Floats, Any] | None:
    """Return earlier prices, with +inf for experts that cannot be held, and the pairs."""
    if prices is None:
        return None
    price = np.zeros(bounds.load_max.size + 1)
    price[:-1] = prices
    price[~np.isfinite(price)] = 0.0
    price[:-1][bounds.load_max == 0] = np.inf
    pairs = None if rows is None else (np.asarray(rows, np.int64), np.asarray(cols, np.int64))
    return price, pairs


class Stop:
    """Whether to stop: the deadline, or the caller's wish; with a grace period after it."""

    def __init__(self, deadline: float | None, wish: Callable[[], bool] | None) -> None:
        self.deadline = float("inf") if deadline is None else deadline
        self.wish = wish
        self.stopped = False

    def __call__(self) -> bool:
        """Say whether to stop now."""
        if not self.stopped:
            late = time.perf_counter() > self.deadline
            self.stopped = late or (self.wish is not None and self.wish())
        return self.stopped

    def last_chance(self) -> Callable[[], bool]:
        """Return a stop for what has to follow a stop."""
        end = time.perf_counter() + GRACE
        return lambda: time.perf_counter() > end


def cores() -> int:
    """Return the number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def answer_of(
    code: int, level: Subproblem, bad: int, feasible: bool, stopped: bool, prices: Floats,
    stats: dict[str, Any], collect: bool = True,
) -> ExchangeAnswer:  # fmt: skip
    """Return what a level came to; `code` as of `algorithm.move_excess`."""
    from alignsolve.backends.exchange import paths

    if code == paths.INFEASIBLE:
        cut = None if bad >= 0 else np.flatnonzero(level.clients_load[:-1] > level.bounds.load_max)
        return ExchangeAnswer("infeasible", conflict_experts=cut, conflict_client=bad, stats=stats)
    row_ind, col_ind = level.pairs() if feasible and collect else (None, None)
    status = "optimal" if code == paths.DONE else "stopped" if stopped else "stalled"
    return ExchangeAnswer(status, row_ind, col_ind, prices, stats=stats, feasible=feasible)
