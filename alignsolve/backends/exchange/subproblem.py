"""A set of clients being solved: the whole problem, or a sample of its clients."""

from __future__ import annotations

from functools import reduce

import numpy as np
import numpy.typing as npt

from alignsolve.backends.exchange import bookkeeping as steps
from alignsolve.backends.exchange import newton_kernels
from alignsolve.backends.exchange.inputs import NONE, Bounds, Floats, Ints, Matrix
from alignsolve.backends.exchange.responses import Responses, nothing_held
from alignsolve.backends.exchange.task import Task

#: Limits from here on are no limit for slack, which is kept as float32.
LARGEST_SLACK = 3e38


def above(value: float) -> np.float32:
    """Return a float32 that is greater; +inf from `LARGEST_SLACK` on."""
    if value >= LARGEST_SLACK:
        return np.float32(np.inf)
    return np.float32(np.nextafter(np.float32(value), np.float32(np.inf)))


class Subproblem(Responses):
    """Answer, slack and prices of the clients of one level.

    Parameters
    ----------
    matrix : Matrix
        The rows of the clients, and maybe of others.
    rows : int64 array
        Clients of the level; empty when it is the whole problem.
    bounds : Bounds
        Bounds of the level.
    price : float64 array, shape (m + 1,)
        Prices, the null expert's 0 last; +inf for an expert that cannot be held.
    task : Task
        What all levels share.

    Attributes
    ----------
    clients : float
        Clients whose rows are one pass over the matrix.
    size : int
        Number of clients s.
    places : int
        Slots of all clients.
    bad : int
        A client that has no response at all, or -1.
    slack_price : float64 array, shape (m + 1,)
        Prices at which `slack` was computed.
    """

    def __init__(
        self, matrix: Matrix, rows: Ints, bounds: Bounds, price: Floats, task: Task
    ) -> None:
        slots = matrix.slot_max[rows] if rows.size else matrix.slot_max
        super().__init__(*nothing_held(slots), matrix, rows)
        self.clients: float = matrix.fitness.shape[0]
        self.size = slots.size
        self.m = matrix.fitness.shape[1]
        self.bounds = bounds
        self.price = np.rint(price) if task.whole else price
        self.barred = bool(np.isinf(price).any())
        self.slack_price = price.copy()
        self.task = task
        self.stats = task.stats
        self.places = int(self.ptr[-1])
        self.bad = -1
        self.clients_load = np.zeros(self.m + 1, np.int64)
        self.near: Ints | None = None
        self.nearby = NONE
        self.fresh = 0.0

    def respond(self, keep: bool = False) -> None:
        """Give all clients their best responses."""
        self.bad, self.clients_load = self._response(NONE, self.size, keep)
        self.slack_price = self.price.copy()
        self.near = None

    def move_to(self, price: Floats, margin: float) -> None:
        """Change the prices, and the responses that the change can affect.

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
            steps.chosen_load(chosen, self.answer, before)
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

    def near_swaps(self, limit: float) -> tuple[Floats, Floats]:
        """Count the least lossy swaps of the nearest clients; see `Answer.count_swaps`."""
        return self.count_swaps(self.nearby, self.slack, self.m + 1)

    def swap_rates(self, limit: float, crowd: float) -> Floats:
        """Return how fast the nearest clients swap, by pair of nodes, shape (m + 1, m + 1)."""
        rate, far = self.near_swaps(limit)
        newton_kernels.settle_rates(rate, far, limit, crowd)
        return rate

    def _response(self, chosen: Ints, size: int, keep: bool) -> tuple[int, Ints]:
        """Respond for some clients; return one that has no response, or -1, and their loads."""
        share = self.bounds.load_max / max(1, self.size)
        found = self.task.run(
            lambda lo, hi: self.respond_rows(chosen, lo, hi, self.price, share, keep), size
        )
        self.stats.passes += size / self.clients
        return max(bad for bad, _ in found), reduce(np.add, [load for _, load in found])

    def refresh_slack(self) -> None:
        """Recompute all slack at the present prices, keeping the answer."""
        self.task.run(lambda lo, hi: self.slack_rows(lo, hi, self.price), self.size)
        self.slack_price = self.price.copy()
        self.stats.passes += self.size / self.clients

    def moved(self, price: Floats, before: Floats) -> float:
        """Return how far prices moved against each other."""
        if self.barred:
            known = np.isfinite(price)
            price, before = price[known], before[known]
        move = price - before
        return float(move.max() - move.min())

    def drift(self) -> float:
        """Return how far prices moved against each other since the slack was computed."""
        return self.moved(self.price, self.slack_price)

    def within(self, theta: float) -> Ints:
        """Return all clients whose slack may be `theta` or less."""
        if theta == np.inf or (limit := theta + self.drift()) >= LARGEST_SLACK:
            return np.flatnonzero(self.slack < np.inf)
        return np.flatnonzero(self.slack <= above(limit))

    def near_boundary(self, far: float) -> tuple[Ints, float]:
        """Return all clients of slack up to `far`, and the largest slack of any client."""
        if far == np.inf:
            return self.within(far), self.largest_slack()
        chosen = self.within(far)
        if chosen.size > self.size // 8 and self.drift() > far:
            self.refresh_slack()
            chosen = self.within(far)
        largest = self.largest_slack()
        return (self.within(np.inf) if far > largest else chosen), largest

    def to_list(
        self, chosen: Ints, pairs: npt.NDArray[np.bool_], far: float,
        cap: Ints, sentinel: Floats,
    ) -> Ints:  # fmt: skip
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
        some = self.slack[:: max(1, self.size // self.task.params.slack_sample)]
        at = min(some.size - 1, int(share * some.size))
        return float(np.partition(some, at)[at])

    def least_slack_above(self, theta: float) -> float:
        """Return the least slack of any client beyond `theta`; +inf for none."""
        least = float(self.slack.min(where=self.slack > theta, initial=np.inf))
        return least * (1.0 + 1e-6)

    def repair(self) -> bool:
        """Bring all loads within their bounds, at some loss; return whether that worked."""
        bounds = self.bounds
        return self.keep_loads(self.price, self.clients_load, bounds.load_min,
                               bounds.load_max) == 0  # fmt: skip

    def swaps(self) -> npt.NDArray[np.bool_]:
        """Return which swaps some client could make at any loss, shape (m + 1, m + 1)."""
        found = self.task.run(lambda lo, hi: self.swap_exists(lo, hi, self.price), self.size)
        return np.asarray(np.logical_or.reduce(found))

    def unreachable(self, load: Ints, excess: Ints) -> bool:
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

    def imbalance(self) -> tuple[Ints, Ints, int]:
        """Return the loads wanted at the prices, the clients' excess over them, and its sum."""
        load, excess = np.empty(self.m + 1, np.int64), np.empty(self.m + 1, np.int64)
        total = steps.imbalance(self.price, self.clients_load, tuple(self.bounds), load, excess)
        return load, excess, int(total)
