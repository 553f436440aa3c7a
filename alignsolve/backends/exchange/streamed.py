"""All clients of a source as a level: those near a boundary are here, the others in shards."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from alignsolve.backends.exchange import bookkeeping as steps
from alignsolve.backends.exchange.inputs import NONE, Floats, Ints
from alignsolve.backends.exchange.shard import UNITS, Clients, Shard, cut
from alignsolve.backends.exchange.subproblem import Subproblem, above
from alignsolve.backends.exchange.task import Task
from alignsolve.model.arrays import concatenated_ranges


class Shards(ABC):
    """Shards that together hold all clients in order, wherever they are.

    Parameters
    ----------
    starts : int64 array, shape (n_shards,)
        First client of each shard.
    """

    def __init__(self, starts: Ints) -> None:
        self.starts = starts

    @abstractmethod
    def call(self, method: str, arguments: dict[int, tuple[Any, ...]]) -> list[Any]:
        """Call a method of some shards at once, by number; return what they return."""

    def all(self, method: str, *arguments: Any) -> list[Any]:
        """Call a method of `Shard` on all shards at once; return what they return."""
        return self.call(method, dict.fromkeys(range(self.starts.size), arguments))

    def each(self, method: str, arguments: Sequence[tuple[Any, ...]]) -> list[Any]:
        """Do the same with arguments of its own for each shard."""
        return self.call(method, dict(enumerate(arguments)))


class LocalShards(Shards):
    """One shard in this process."""

    def __init__(self, shard: Shard) -> None:
        super().__init__(np.zeros(1, np.int64))
        self.shard = shard

    def call(self, method: str, arguments: dict[int, tuple[Any, ...]]) -> list[Any]:
        """Call a method of the shard."""
        return [getattr(self.shard, method)(*some) for some in arguments.values()]


class StreamedSubproblem(Subproblem):
    """A level whose clients stay in shards, but for those that may matter now.

    Every client that is not here has slack beyond ``limit`` at ``shard_price``,
    the prices at which the shards last responded. What is asked of the level about
    clients near a boundary first brings them here, as long as they fit into
    `room`; the arrays of `Subproblem` are those of the clients here.

    Parameters
    ----------
    shards : Shards
        Where the clients are.
    nobody : Clients
        No clients, of the type that the shards send.
    slots : int64 array, shape (n,)
        Most experts of each client.
    price : float64 array, shape (m + 1,)
        Prices to start from.
    task : Task
        What all levels share.

    Attributes
    ----------
    here : Clients
        The clients here, whose answers are those of the level.
    room : int
        Most clients here.
    """

    def __init__(
        self, shards: Shards, nobody: Clients, slots: Ints, price: Floats, task: Task
    ) -> None:
        super().__init__(nobody.responses().matrix, NONE, task.bounds, price, task)
        self.shards = shards
        self.nobody = nobody
        self.size = slots.size
        self.places = int(slots.sum())
        self.clients = np.inf  # reading rows that are here is no pass over the data
        self.room = max(task.params.room // (self.m + 1), 1)
        self._empty()

    def _have(self, here: Clients) -> None:
        """Have these clients here, and no others."""
        self.here = here
        self.who = here.who
        self.become(here.responses())

    def _empty(self) -> None:
        """Have no client here."""
        self._have(self.nobody)
        self.limit = -np.inf
        self.near = None

    # -- the traffic with the shards ------------------------------------------

    def put_back(self) -> None:
        """Tell the shards the answers of the clients that are here."""
        if not self.who.size:
            return
        parts = []
        for mine in cut(self.who, self.shards.starts):
            at = np.flatnonzero(mine)
            first, count = self.ptr[at], self.count[at]
            held = self.held[concatenated_ranges(first, first + count)[0]]
            parts.append((self.who[at], count, held))
        self.shards.each("store", parts)

    def _take(self, found: list[Clients]) -> None:
        """Add clients that shards sent."""
        moved = self._moved(self.slack_price)
        if moved:
            for new in found:
                everyone = np.empty(new.who.size, np.int64)
                steps.lower_slack(new.slack, np.float32(np.inf), above(moved * (1 + 1e-6)),
                                  everyone)  # fmt: skip
        self._have(Clients.join([self.here, *found]))

    def _moved(self, price: Floats) -> float:
        """Return how far prices moved against each other since the shards last responded."""
        return self.moved(price, self.shard_price)

    def _bring(self, theta: float) -> bool:
        """Bring all clients here whose slack may be `theta` or less, if they fit."""
        limit = theta + self._moved(self.price)
        if limit <= self.limit:
            return True
        if self.who.size + sum(self.shards.all("count_within", limit)) > self.room:
            return False
        self._take(self.shards.all("fetch_within", limit))
        self.limit = limit
        return True

    # -- what `Subproblem` does with all clients ------------------------------------

    def respond(self, keep: bool = False) -> None:
        """Give all clients their best responses."""
        if keep:
            self.put_back()
        self._empty()
        share = self.bounds.load_max / max(1, self.size)
        found = self.shards.all("respond", self.price, share, keep)
        self.clients_load = np.sum([load for _, load in found], axis=0)
        self._responded()
        self.bad = max(bad for bad, _ in found)
        if self.size <= self.room // self.task.params.whole_share:
            self._bring(np.inf)

    def _responded(self) -> None:
        """Note that the shards know their slack at the present prices."""
        self.slack_price = self.price.copy()
        self.shard_price = self.price.copy()
        self.sampled = np.concatenate(self.shards.all("sample"))

    def refresh_slack(self) -> None:
        """Recompute all slack at the present prices, keeping the answer."""
        self.put_back()
        self.shards.all("refresh", self.price)
        self.slack_rows(0, self.who.size, self.price)
        self._responded()
        self.limit = np.inf if self.who.size == self.size else -np.inf

    def move_to(self, price: Floats, margin: float) -> None:
        """Change the prices as `Subproblem.move_to`; respond anew if many may change."""
        self.price = price
        # Slack bounds of clients here shrink by what prices move: a little more is needed.
        if self._bring(margin + self.drift()):
            super().move_to(price, margin)
        else:
            self.respond(keep=True)

    def nearest(self, wanted: int) -> tuple[int, float]:
        """Find clients of small exact slack, wherever they are; see `Subproblem.nearest`."""
        if self.near is not None:
            return super().nearest(wanted)
        limit = self.slack_quantile(min(0.5, wanted / self.size))
        return sum(self.shards.all("count_within", limit)), limit

    def near_swaps(self, limit: float) -> tuple[Floats, Floats]:
        """Count the least lossy swaps of the nearest clients, wherever they are."""
        if self.near is not None:
            return super().near_swaps(limit)
        pairs, far = np.sum(self.shards.all("near_swaps", limit), axis=0)
        return pairs, far * (limit / UNITS)

    def near_boundary(self, far: float) -> tuple[Ints, float]:
        """Return all clients here of slack up to `far`, and the largest slack of any client."""
        if not self._bring(far) and self._moved(self.price) > far:
            self.refresh_slack()
            self._bring(far)
        if self.who.size == self.size:
            return super().near_boundary(far)
        return self.within(far), np.inf

    def to_list(
        self, chosen: Ints, pairs: npt.NDArray[np.bool_], far: float, cap: Ints, sentinel: Floats
    ) -> Ints:
        """Return the clients to list; lower sentinels to what is known of clients elsewhere."""
        limit = far + self._moved(self.price)
        if limit <= self.limit:
            return chosen
        self.put_back()
        found = self.shards.all("fetch_listed", self.price, limit, pairs, cap, sentinel)
        self._take([clients for clients, _ in found])
        for _, known in found:
            np.minimum(sentinel, known, out=sentinel)
        return np.arange(self.who.size)

    def slack_quantile(self, share: float) -> float:
        """Return the slack that about this share of the clients stay below."""
        if share >= 1.0:
            return np.inf
        at = int(share * self.size)
        if at < 0.9 * self.who.size:
            return float(np.partition(self.slack, at)[at])
        at = min(self.sampled.size - 1, int(share * self.sampled.size))
        return float(np.partition(self.sampled, at)[at])

    def largest_slack(self) -> float:
        """Return an upper bound on the finite slack of any client."""
        return super().largest_slack() if self.who.size == self.size else np.inf

    def swaps(self) -> npt.NDArray[np.bool_]:
        """Return which swaps some client could make at any loss, shape (m + 1, m + 1)."""
        self.put_back()
        return np.asarray(np.logical_or.reduce(self.shards.all("swaps", self.price)))

    def hold(self, row_ind: Ints, col_ind: Ints) -> None:
        """Hold an earlier answer, as far as slots allow; see `Subproblem.hold`."""
        bounds = np.searchsorted(row_ind, np.append(self.shards.starts, self.size))
        parts = [(row_ind[a:b], col_ind[a:b]) for a, b in pairwise(bounds)]
        self.shards.each("hold", parts)

    def repair(self) -> bool:
        """Bring all loads within their bounds, at some loss; return whether that worked."""
        self.put_back()
        self._empty()
        bounds = self.bounds
        load = self.clients_load.copy()
        for shard in range(self.shards.starts.size):
            loads = self.price, load, bounds.load_min, bounds.load_max
            (load,) = self.shards.call("repair", {shard: loads})
        self.clients_load = load
        return bool(((load[:-1] >= bounds.load_min) & (load[:-1] <= bounds.load_max)).all())

    def pairs(self) -> tuple[Ints, Ints]:
        """Return the answer as pairs sorted by row, then column."""
        self.put_back()
        parts = list(zip(*self.shards.all("pairs"), strict=True))
        # One shard's pairs are long: they are not copied.
        rows, cols = (part[0] if len(part) == 1 else np.concatenate(part) for part in parts)
        return rows, cols
