"""Exact search for generalized assignment, in rounds of values that an answer may have."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from alignsolve.backends.lagrangian import knapsack, tree_bound, tree_kernels, tree_state
from alignsolve.model.arrays import BoolArray, Float64Array, IntArray


@dataclass(frozen=True, eq=False)
class Search:
    """What a run of the tree search ended with.

    Attributes
    ----------
    status : {"found", "none", "open"}
        An answer, a proof that there is none, or neither so far.
    clients : int64 array, shape (n_experts,), or None
        Client of each expert.
    """

    status: str
    clients: IntArray | None = None


class AssignmentTree:
    """The search for an answer of at least a given value; see `tree_kernels`.

    Parameters
    ----------
    values : float64 array, shape (n, m)
        Values, max sense; -inf forbids.
    size : int64 array, shape (n, m)
        Sizes in units.
    cap : int64 array, shape (n,)
        Capacities in units.
    allowed : bool array, shape (n, m)
        Pairs that such an answer may hold.
    prices : float64 array, shape (m,)
        Good prices of the experts.
    least : float
        The value sought, less what rounding may lose.
    stop : bool array, shape (1,), optional
        Another thread sets this to end what runs, which is "open" then.
    """

    def __init__(
        self, values: Float64Array, size: IntArray, cap: IntArray, allowed: BoolArray,
        prices: Float64Array, least: float, stop: BoolArray | None = None,
    ) -> None:  # fmt: skip
        m = values.shape[1]
        open_pairs = (allowed & (size <= cap[:, None])).astype(np.uint8)
        member = np.nonzero(open_pairs)[1]
        depth = min(member.size + 1, 4 * m)
        self.least = least
        self.state = state = tree_state.State(
            values=np.where(allowed, values, 0.0), size=size, member=member,
            start=np.append(0, np.cumsum(open_pairs.sum(axis=1, dtype=np.int64))),
            allowed=open_pairs, domain=open_pairs.sum(axis=0, dtype=np.int64),
            owner=np.full(m, -1), left=cap.copy(), prices=prices.copy(),
            path=np.empty((depth, 5), dtype=np.int64), path_prices=np.empty((depth, m)),
            trail=np.empty(member.size + m + 1, dtype=np.int64),
            control=np.zeros(3, dtype=np.int64), answer=np.empty(m, dtype=np.int64),
        )  # fmt: skip
        #: Room for the items of any client at any node, and more.
        self.work = tree_kernels.Work(
            knapsack.new_items(np.diff(state.start).max(), cap.max(), tabulated=True),
            np.empty(size.shape), np.empty(size.shape), np.empty(cap.size),
            np.empty(3, dtype=np.int64), np.zeros(1, dtype=np.bool_) if stop is None else stop,
        )  # fmt: skip
        single = np.flatnonzero(state.domain == 1)
        state.owner[single] = owner = open_pairs[:, single].argmax(axis=0)
        np.subtract.at(state.left, owner, size[owner, single])
        self.hopeless = bool((state.domain == 0).any() or (state.left < 0).any())

    @property
    def nodes(self) -> int:
        """Nodes so far."""
        return int(self.state.control[tree_state.NODES])

    def run(self, max_nodes: int) -> Search:
        """Go on for some nodes."""
        return self._ended(
            lambda: tree_kernels.search(self.state, self.work, self.least, max_nodes)
        )

    def dive(
        self, share: float, stop: int, noise: float, rng: np.random.Generator
    ) -> Iterator[Search]:
        """Fix the experts that would lose most elsewhere, some at a time, until few are free.

        Parameters
        ----------
        share : float
            Share of the free experts that is fixed between two updates of prices.
        stop : int
            Number of free experts at which to stop.
        noise : float
            Regrets are multiplied by up to one plus this, at random.
        rng : numpy.random.Generator
            Source of the noise.

        Yields
        ------
        Search
            What the dive has come to; "none" is no proof.
        """
        while True:
            self.state.control[tree_state.NODES] += 1
            found = self._ended(lambda: tree_kernels.process(self.state, self.work, self.least))
            free = np.flatnonzero(self.state.owner < 0)
            yield found
            if found.status != "open" or free.size <= stop:
                return
            cost = self._costs(free)
            # Two clients at least: with one, all experts have their owner.
            least, second = np.partition(cost, 1, axis=0)[:2]
            gain = (least - second) * (1.0 + noise * rng.random(free.size))
            order = np.argsort(gain, kind="stable")[: max(1, int(share * free.size))]
            client = cost.argmin(axis=0)
            if not all(self._give(int(client[at]), int(free[at])) for at in order):
                yield Search("none")
                return

    def _costs(self, experts: IntArray) -> Float64Array:
        """Return what giving free experts to each client costs all; see `tree_kernels`."""
        allowed = self.state.allowed[:, experts] > 0
        without = np.where(allowed, self.work.without[:, experts], 0.0)
        with_it = np.where(allowed, self.work.with_it[:, experts], np.inf)
        cost: Float64Array = with_it + (without.sum(axis=0) - without)
        return cost

    def _give(self, i: int, j: int) -> bool:
        """Give an expert to a client, if that is still possible; tell whether there is hope."""
        state = self.state
        free = state.owner[j] < 0 and state.allowed[i, j] > 0 and state.size[i, j] <= state.left[i]
        return not free or bool(tree_state.keep_only(state, i, j))

    def _ended(self, kernel: Callable[[], int]) -> Search:
        """Run a kernel, where there is hope, and say what it ended with."""
        status = tree_kernels.EXHAUSTED if self.hopeless else kernel()
        if status == tree_kernels.FOUND:
            return Search("found", self.state.answer.copy())
        return Search("none" if status == tree_kernels.EXHAUSTED else "open")

    def write_losses(self, i: int, loss: Float64Array) -> None:
        """Write what giving each free pair of a client costs the bound, before any search."""
        if not self.hopeless:
            tree_bound.write_losses(self.state, i, self.work.items, self.work.without, loss)
