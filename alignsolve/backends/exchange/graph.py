"""The exchange graph of a level, which grows as far as it has to."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from alignsolve.backends.exchange import heaps, paths
from alignsolve.backends.exchange.inputs import Floats, Ints
from alignsolve.backends.exchange.responses import Responses
from alignsolve.backends.exchange.subproblem import Subproblem


class Lists:
    """Heaps of the clients that could swap one node for another, for every ordered pair.

    Parameters
    ----------
    nodes : int
        Experts, and the null expert.
    room : int
        Entries to make room for.
    """

    def __init__(self, nodes: int, room: int) -> None:
        self.head = np.full((nodes, nodes), -1, np.int32)
        self.loss_top = np.full((nodes, nodes), np.inf)
        self.arc = np.full((nodes, nodes), np.inf)
        self.sentinel = np.full((nodes, nodes), np.inf)
        self.pool = np.empty(room, heaps.ENTRY)
        self.meta = np.array([0, -1, 0, 0, 0], np.int64)

    @property
    def made(self) -> int:
        """Entries made so far."""
        return int(self.meta[heaps.FRESH])

    def arrays(self) -> tuple[Any, ...]:
        """Return the arrays of the heaps, as kernels take them."""
        return self.head, self.loss_top, self.arc, self.sentinel, self.pool, self.meta

    def fill(
        self, clients: Responses, chosen: Ints, price: Floats, pairs: npt.NDArray[np.bool_],
        cap: Ints, listed: Ints,
    ) -> None:  # fmt: skip
        """List the chosen of some clients, up to each pair's sentinel; see `heaps.list_clients`."""
        first = 0
        while first < chosen.size:
            first = clients.list_swaps(chosen, first, price, pairs, cap, listed, self.arrays())
            if first < chosen.size:
                self.grow()

    def grow(self) -> None:
        """Make room for three times as many entries."""
        pool = np.empty(3 * self.pool.size, heaps.ENTRY)
        pool[: self.pool.size] = self.pool
        self.pool = pool


class Graph(Lists):
    """The exchange graph of a level, whose arcs are the tops of the heaps.

    Parameters
    ----------
    level : Subproblem
        Clients whose responses are at its prices.
    theta : float
        Slack up to which clients are listed at first.
    cap : int
        Most entries of a pair at first; more only where clients tie.
    room : int
        Entries to make room for.
    """

    def __init__(self, level: Subproblem, theta: float, cap: int, room: int) -> None:
        nodes = level.m + 1
        super().__init__(nodes, room)
        theta = self._width(level, theta)
        self.level = level
        self.width = np.full((nodes, nodes), theta)
        self.cap = np.full((nodes, nodes), cap, np.int64)
        self.goal = np.full((nodes, nodes), np.inf)
        self.frontier = np.zeros((nodes, nodes), np.bool_)
        self.pairs = np.ones((nodes, nodes), np.bool_)
        self._list(theta)

    @staticmethod
    def _width(level: Subproblem, theta: float) -> float:
        """Return a width to list up to: prices move by it, and must stay whole where they are."""
        return float(np.ceil(theta)) if level.task.whole else theta

    def widen(self) -> None:
        """List more clients, at least for the pairs where the last search had to stop.

        Pairs that ran out of listed clients because very many tie are listed
        anew, with room for more. Otherwise all pairs are listed farther while
        lists are short, and only those in the way once they are long.
        """
        frontier, params = self.frontier, self.level.task.params
        nodes = frontier.shape[0]
        turned_away = (self.sentinel < self.goal) & (self.loss_top > self.sentinel)
        if (turned_away & frontier).any():
            # Turned away for the cap: tied clients took the places.
            self.cap[turned_away] *= params.cap_growth
            self.pairs = frontier | turned_away
        else:
            near = self.width
            self.pairs = frontier.copy()
            if self.made < params.long_lists * near.size:
                near = near[frontier].max(initial=0.0)
                self.pairs = ~np.eye(nodes, dtype=np.bool_)
            least = self._width(self.level, self.level.least_slack_above(0.0))
            wider = np.maximum(params.wider * near, least)
            self.width = np.where(self.pairs, wider, self.width)
        if np.count_nonzero(self.pairs) == nodes * (nodes - 1):
            # Nothing that was listed stays; no node is swapped for itself.
            self.meta[:2] = 0, -1
        frontier[:] = False
        self._list(float(self.width[self.pairs].max(initial=0.0)))

    def _list(self, far: float) -> None:
        """List clients for the chosen pairs, up to their widths, of which `far` is the largest."""
        level = self.level
        chosen, largest = level.near_boundary(far)
        # Clients not chosen lose more than the width in every swap, at these prices.
        heaps.clear_pairs(self.pairs, level.price, self.width, largest, self.head, self.loss_top,
                          self.arc, self.sentinel, self.goal)  # fmt: skip
        chosen = level.to_list(chosen, self.pairs, far, self.cap, self.sentinel)
        np.minimum(self.arc, self.sentinel, out=self.arc)
        before = self.made
        self.fill(level, chosen, level.price, self.pairs, self.cap, np.zeros_like(self.cap))
        level.stats.listed += self.made - before
        level.stats.scanned += chosen.size
        level.stats.widenings += 1

    def augment(self, load: Ints, excess: Ints, phases: int) -> int:
        """Move excess along paths, as `paths.augment`; both arrays are updated."""
        level = self.level
        bounds = level.bounds
        before = self.meta.copy()
        level.stats.calls += 1
        code = level.augment(load, bounds, excess, level.price, self.arrays(), phases,
                             self.frontier)  # fmt: skip
        if code == paths.POOL_FULL:
            self.grow()
        did = self.meta - before
        level.stats.searches += int(did[heaps.SEARCHES])
        level.stats.swaps += int(did[heaps.SWAPS])
        level.stats.paths += int(did[heaps.PATHS])
        level.clients_load = load + excess
        return code
