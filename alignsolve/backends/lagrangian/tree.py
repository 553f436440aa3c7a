"""Exact search for generalized assignment, in rounds of values that an answer may have."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from alignsolve.backends.lagrangian import tree_kernels, tree_state
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
        self.values = np.where(allowed, values, 0.0)
        self.size, self.least = size, least
        self.allowed = (allowed & (size <= cap[:, None])).astype(np.uint8)
        self.domain = self.allowed.sum(axis=0).astype(np.int64)
        self.left, self.owner = cap.copy(), np.full(m, -1)
        self.member = np.nonzero(self.allowed)[1]
        self.start = np.concatenate([[0], np.cumsum(self.allowed.sum(axis=1))]).astype(np.int64)
        self.trail = np.empty(self.member.size + m + 1, dtype=np.int64)
        self.control = np.zeros(3, dtype=np.int64)
        self.prices = prices.copy()
        depth = min(self.member.size + 1, 4 * m)
        self.path = np.empty((depth, 5), dtype=np.int64)
        self.path_prices = np.empty((depth, m))
        self.answer = np.empty(m, dtype=np.int64)
        self.hopeless = bool((self.domain == 0).any())
        single = np.flatnonzero(self.domain == 1)
        self.owner[single] = self.allowed[:, single].argmax(axis=0)
        np.subtract.at(self.left, self.owner[single], size[self.owner[single], single])
        self.hopeless |= bool((self.left < 0).any())

    @property
    def nodes(self) -> int:
        """Nodes so far."""
        return int(self.control[tree_state.NODES])

    def run(self, max_nodes: int) -> Search:
        """Go on for some nodes."""
        if self.hopeless:
            return Search("none")
        status = tree_kernels.search(
            self.values, self.size, self.allowed, self.domain, self.left, self.owner,
            self.start, self.member, self.trail, self.control, self.prices, self.path,
            self.path_prices, self.least, max_nodes, self.answer,
        )
        if status == tree_kernels.FOUND:
            return Search("found", self.answer.copy())
        return Search("none" if status == tree_kernels.EXHAUSTED else "open")

    def dive(self, share: float, stop: int, noise: float, seed: int) -> Search:
        """Fix experts greedily until few are free; "none" is no proof then."""
        if self.hopeless:
            return Search("none")
        status = tree_kernels.dive(
            self.values, self.size, self.allowed, self.domain, self.left, self.owner,
            self.start, self.member, self.trail, self.control, self.prices, self.least,
            share, stop, noise, seed, self.answer,
        )
        if status == tree_kernels.FOUND:
            return Search("found", self.answer.copy())
        return Search("none" if status == tree_kernels.EXHAUSTED else "open")
