"""A set of clients being solved: the whole problem, or a sample of its clients."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt

from alignsolve.backends.exchange import bookkeeping as steps
from alignsolve.backends.exchange import heaps, newton_kernels, repair
from alignsolve.backends.exchange import row_kernels as rows

#: Rows of a block of a pass: fixed, so that no answer depends on the thread count.
BLOCK = 8192
#: Batches of blocks at most that a pass is handed to threads in.
BATCHES = 16
#: Limits from here on are no limit for slack, which is kept as float32.
LARGEST_SLACK = 3e38
_NONE = np.empty(0, np.int64)


def above(value: float) -> np.float32:
    """Return a float32 that is greater; +inf from `LARGEST_SLACK` on."""
    if value >= LARGEST_SLACK:
        return np.float32(np.inf)
    return np.float32(np.nextafter(np.float32(value), np.float32(np.inf)))


@dataclass
class Matrix:
    """The matrix with what belongs to its rows, in the form the kernels take.

    Attributes
    ----------
    fitness : float32 or float64 array, shape (n, m)
    cost, cost_row, cost_col : float64 array (flat), int, int
        Switching costs with strides in entries; an empty array for none.
    held_ptr, held_ind : int64 arrays, shapes (n + 1,) and (number of pairs,)
        Pairs held before.
    slot_min, slot_max : int64 arrays, shape (n,)
    """

    fitness: npt.NDArray[Any]
    cost: npt.NDArray[np.float64]
    cost_row: int
    cost_col: int
    held_ptr: npt.NDArray[np.int64]
    held_ind: npt.NDArray[np.int64]
    slot_min: npt.NDArray[np.int64]
    slot_max: npt.NDArray[np.int64]

    @property
    def read(self) -> tuple[Any, ...]:
        """What every kernel that reads rows takes first."""
        return (self.fitness, self.cost, self.cost_row, self.cost_col, self.held_ptr,
                self.held_ind)  # fmt: skip


@dataclass
class Bounds:
    """Load bounds and penalties of the experts, shape (m,) each, in holders."""

    load_min: npt.NDArray[np.int64]
    load_max: npt.NDArray[np.int64]
    penalty: npt.NDArray[np.float64]
    goal: npt.NDArray[np.float64]


@dataclass
class Stats:
    """What a solve did: counts, and seconds of each phase."""

    passes: float = 0.0
    searches: int = 0
    paths: int = 0
    swaps: int = 0
    listed: int = 0
    scanned: int = 0
    widenings: int = 0
    calls: int = 0
    newton: int = 0
    seconds: dict[str, float] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Return a copy; `dataclasses.asdict` takes a tenth of a small solve."""
        return vars(self) | {"seconds": dict(self.seconds)}


class Blocks:
    """Runs a kernel over all blocks of rows, in threads where a pool is given and it pays."""

    def __init__(self, pool: ThreadPoolExecutor | None) -> None:
        self.pool = pool

    @staticmethod
    def pay(size: int) -> bool:
        """Say whether so many rows are worth a second thread."""
        return size > 2 * BLOCK

    def __call__(self, work: Callable[[int, int], Any], size: int) -> list[Any]:
        """Return what ``work(lo, hi)`` returns for each block of ``range(size)``."""
        spans = range(0, size, BLOCK)

        def some(first: int, last: int) -> list[Any]:
            return [work(lo, min(size, lo + BLOCK)) for lo in spans[first:last]]

        if self.pool is None or not self.pay(size):
            return some(0, len(spans))
        # Several blocks at a time: to hand one over takes as long as a tenth of its work.
        cuts = range(0, len(spans), -(-len(spans) // BATCHES))
        return list(chain.from_iterable(self.pool.map(some, cuts, (*cuts[1:], len(spans)))))


class Subproblem:
    """Answer, slack and prices of the clients of one level.

    Attributes
    ----------
    rows : int64 array
        Clients of the level; empty when it is the whole problem.
    clients : float
        Clients whose rows are one pass over the matrix.
    size : int
        Number of clients s.
    price : float64 array, shape (m + 1,)
        Prices, the null expert's 0 last; +inf for an expert that cannot be held.
    whole : bool
        Keep prices whole numbers, and thereby exact.
    places : int
        Slots of all clients.
    ptr, held, count : int64 (s + 1,), int32 (ptr[-1],), int32 (s,)
        Client k holds ``held[ptr[k] : ptr[k] + count[k]]``.
    slack : float32 array, shape (s,)
        Lower bound of each client's slack at `slack_price`.
    """

    def __init__(
        self,
        matrix: Matrix,
        rows: npt.NDArray[np.int64],
        bounds: Bounds,
        price: npt.NDArray[np.float64],
        whole: bool,
        run: Callable[[Callable[[int, int], Any], int], list[Any]],
        stats: Stats,
    ) -> None:
        self.matrix = matrix
        self.rows = rows
        self.clients: float = matrix.fitness.shape[0]
        self.size = rows.size or matrix.fitness.shape[0]
        self.m = matrix.fitness.shape[1]
        self.bounds = bounds
        self.price = np.rint(price) if whole else price
        self.whole = whole
        self.barred = bool(np.isinf(price).any())
        self.slack_price = price.copy()
        self.run = run
        self.stats = stats
        slots = matrix.slot_max[rows] if rows.size else matrix.slot_max
        self.ptr = np.zeros(self.size + 1, np.int64)
        np.cumsum(slots, out=self.ptr[1:])
        self.places = int(self.ptr[-1])
        self.held = np.zeros(self.places, np.int32)
        self.count = np.zeros(self.size, np.int32)
        self.slack = np.empty(self.size, np.float32)
        self.runner_up = np.empty(self.size, np.int32)
        self.clients_load = np.zeros(self.m + 1, np.int64)
        self.near: npt.NDArray[np.int64] | None = None
        self.nearby = _NONE
        self.fresh = 0.0

    def respond(self, keep: bool = False) -> int:
        """Give all clients their best responses; return a client that has none, or -1."""
        bad, self.clients_load = self._response(_NONE, self.size, keep)
        self.slack_price = self.price.copy()
        self.near = None
        return bad

    def move_to(self, price: npt.NDArray[np.float64], margin: float = 0.0) -> None:
        """Change the prices, and the responses of those clients whom this may concern.

        Parameters
        ----------
        price : float64 array, shape (m + 1,)
            New prices.
        margin : float
            Slack up to which clients must be known exactly afterwards: they are
            `near`, and `fresh` is the margin.
        """
        self.price = price
        drift = self.drift()
        # Others keep their response; their slack shrinks at most by what prices moved.
        near = np.empty(self.size, np.int64)
        found = steps.lower_slack(self.slack, above(margin + drift),
                                  above(drift * (1.0 + 1e-6)), near)  # fmt: skip
        if found > self.size // 2:
            self.respond(keep=True)
            return
        chosen = near[:found].copy()
        if chosen.size:
            before = np.zeros(self.m + 1, np.int64)
            steps.chosen_load(chosen, self.ptr, self.held, self.count, before)
            _, after = self._response(chosen, chosen.size, True)
            self.clients_load = self.clients_load - before + after
        self.slack_price = price.copy()
        self.near = chosen
        self.fresh = margin

    def nearest(self, wanted: int) -> tuple[int, float]:
        """Find clients of small exact slack, whose swaps `swap_rates` tells.

        Returns
        -------
        number : int
            How many they are, about `wanted`.
        limit : float
            The slack that they stay below.
        """
        if self.near is None:
            limit = self.slack_quantile(min(0.5, wanted / self.size))
            self.nearby = self.within(limit)
            return self.nearby.size, limit
        some = self.slack[self.near]
        if some.size <= wanted:
            self.nearby = self.near
            return some.size, self.fresh
        limit = min(self.fresh, float(np.partition(some, wanted)[wanted]))
        self.nearby = self.near[some <= limit]
        return self.nearby.size, limit

    def swap_rates(self, limit: float, crowd: float) -> npt.NDArray[np.float64]:
        """Return how fast the nearest clients swap, by pair of nodes, shape (m + 1, m + 1)."""
        rate = np.empty((self.m + 1, self.m + 1))
        newton_kernels.swap_rates(self.nearby, self.slack, self.runner_up, self.ptr, self.held,
                                  self.count, limit, crowd, rate)  # fmt: skip
        return rate

    def _response(
        self, chosen: npt.NDArray[np.int64], size: int, keep: bool
    ) -> tuple[int, npt.NDArray[np.int64]]:
        """Respond for some clients; return one that has no response, or -1, and their loads."""
        share = self.bounds.load_max / max(1, self.size)
        load = np.zeros((-(-size // BLOCK), self.m + 1), np.int64)

        def work(lo: int, hi: int) -> int:
            return int(
                rows.response_rows(
                    *self.matrix.read, self.rows, self.matrix.slot_min, self.matrix.slot_max,
                    chosen, lo, hi, self.price, share, keep, self.ptr, self.held,
                    self.count, self.slack, self.runner_up, load[lo // BLOCK],
                )
            )  # fmt: skip

        bad = max(self.run(work, size))
        self.stats.passes += size / self.clients
        return bad, load.sum(axis=0)

    def refresh_slack(self) -> None:
        """Recompute all slack at the present prices, keeping the answer."""

        def work(lo: int, hi: int) -> None:
            rows.slack_rows(
                *self.matrix.read, self.rows, self.matrix.slot_min, self.matrix.slot_max,
                lo, hi, self.price, self.ptr, self.held, self.count, self.slack,
            )  # fmt: skip

        self.run(work, self.size)
        self.slack_price = self.price.copy()
        self.stats.passes += self.size / self.clients

    def drift(self) -> float:
        """Return how far prices moved against each other since the slack was computed."""
        if self.barred:
            known = np.isfinite(self.price)
            move = self.price[known] - self.slack_price[known]
        else:
            move = self.price - self.slack_price
        return float(move.max() - move.min())

    def within(self, theta: float) -> npt.NDArray[np.int64]:
        """Return all clients whose slack may be `theta` or less."""
        limit = theta + self.drift()
        if limit >= LARGEST_SLACK:
            return np.flatnonzero(self.slack < np.inf)
        return np.flatnonzero(self.slack <= above(limit))

    def near_boundary(self, far: float) -> tuple[npt.NDArray[np.int64], float]:
        """Return all clients of slack up to `far`, and the largest slack of any client."""
        chosen = self.within(far)
        if chosen.size > self.size // 8 and self.drift() > far:
            self.refresh_slack()
            chosen = self.within(far)
        largest = self.largest_slack()
        return (self.within(np.inf) if far > largest else chosen), largest

    def to_list(
        self, chosen: npt.NDArray[np.int64], pairs: npt.NDArray[np.bool_], far: float,
        cap: npt.NDArray[np.int64], sentinel: npt.NDArray[np.float64],
    ) -> npt.NDArray[np.int64]:  # fmt: skip
        """Return the clients to list for some pairs up to their sentinels: all are here."""
        return chosen

    def largest_slack(self) -> float:
        """Return an upper bound on the finite slack of any client."""
        known = self.slack.max(initial=0.0)
        if known == np.inf:
            known = self.slack.max(where=self.slack < np.inf, initial=0.0)
        return float(known) + self.drift()

    def slack_quantile(self, share: float) -> float:
        """Return the slack that about this share of the clients stay below."""
        if share >= 1.0:
            return float("inf")
        some = self.slack[:: max(1, self.size // 16384)]
        at = min(some.size - 1, int(share * some.size))
        return float(np.partition(some, at)[at])

    def least_slack_above(self, theta: float) -> float:
        """Return the least slack of any client beyond `theta`; +inf for none."""
        least = float(self.slack.min(where=self.slack > theta, initial=np.inf))
        return least * (1.0 + 1e-6)

    def hold(self, row_ind: npt.NDArray[np.int64], col_ind: npt.NDArray[np.int64]) -> None:
        """Hold an earlier answer, as far as slots allow, to settle ties in its favour.

        Parameters
        ----------
        row_ind, col_ind : int64 arrays, shape (n_pairs,)
            Pairs sorted by row.
        """
        steps.read_pairs(row_ind, col_ind, self.ptr, self.held, self.count)

    def pairs(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Return the answer as pairs sorted by row, then column."""
        total = int(self.count.sum())
        row_ind, col_ind = np.empty(total, np.int64), np.empty(total, np.int64)
        steps.write_pairs(self.ptr, self.held, self.count, row_ind, col_ind)
        return row_ind, col_ind

    def repair(self) -> bool:
        """Bring all loads within their bounds, at some loss; return whether that worked."""
        matrix = self.matrix
        left = repair.keep_loads(
            *matrix.read, matrix.slot_min, matrix.slot_max, self.price, self.ptr, self.held,
            self.count, self.clients_load, self.bounds.load_min, self.bounds.load_max,
        )  # fmt: skip
        return int(left) == 0

    def swaps(self) -> npt.NDArray[np.bool_]:
        """Return which swaps some client could make at any loss, shape (m + 1, m + 1)."""
        matrix = self.matrix

        def work(lo: int, hi: int) -> npt.NDArray[np.bool_]:
            exists = np.zeros((self.m + 1, self.m + 1), np.bool_)
            heaps.swap_exists(
                matrix.fitness, self.rows, matrix.slot_min, matrix.slot_max, lo, hi, self.price,
                self.ptr, self.held, self.count, exists,
            )  # fmt: skip
            return exists

        return np.asarray(np.logical_or.reduce(self.run(work, self.size)))

    def unreachable(self, load: npt.NDArray[np.int64], excess: npt.NDArray[np.int64]) -> bool:
        """Say whether no swaps at all, at any loss, lead from the excess to a deficit."""
        exists = self.swaps()
        self.stats.passes += self.size / self.clients
        exists[:-1, -1] |= load[:-1] < self.bounds.load_max
        exists[-1, :-1] |= load[:-1] > self.bounds.load_min
        reached = excess > 0
        while True:
            more = reached | exists[reached].any(axis=0)
            if (more == reached).all():
                return not bool((reached & (excess < 0)).any())
            reached = more

    def imbalance(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], int]:
        """Return the loads wanted at the prices, the clients' excess over them, and its sum."""
        bounds = self.bounds
        load, excess = np.empty(self.m + 1, np.int64), np.empty(self.m + 1, np.int64)
        total = steps.imbalance(
            self.price, self.clients_load, bounds.load_min, bounds.load_max, bounds.penalty,
            bounds.goal, load, excess,
        )  # fmt: skip
        return load, excess, int(total)
