"""Exact search for generalized assignment, in rounds of values that an answer may have."""

from __future__ import annotations

from collections.abc import Callable
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
    """

    def __init__(
        self, values: Float64Array, size: IntArray, cap: IntArray, allowed: BoolArray,
        prices: Float64Array, least: float,
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
            np.empty(3, dtype=np.int64),
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

    def dive(self, share: float, stop: int, noise: float, seed: int) -> Search:
        """Fix experts greedily until few are free; "none" is no proof then."""
        return self._ended(
            lambda: tree_kernels.dive(
                self.state, self.work, self.least, share, stop, noise, seed
            )
        )

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
