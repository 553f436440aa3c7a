"""Sets of layer groups that share no slots: each is a problem of its own.

Where the bounds of a client's groups imply its slots, no choice in one group limits another one.
Experts have load bounds of their own, so that groups are coupled by the slots of clients alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from alignsolve.backends.exchange.inputs import Groups, Ints
from alignsolve.model.arrays import concatenated_ranges, starts_of
from alignsolve.model.contradictions import impossible_clients

AnyCounts = npt.NDArray[np.signedinteger[Any]]


@dataclass(frozen=True, eq=False)
class Component:
    """Groups that share slots, or one group that shares none.

    Attributes
    ----------
    experts : int64 array, shape (k,)
        Their experts, group by group.
    slot_min, slot_max : int64 array, shape (n_clients,)
        Fewest and most of these experts that each client holds.
    groups : Groups or None
        Of several groups, their bounds; None for one group, whose bounds are the slots.
    """

    experts: Ints
    slot_min: Ints
    slot_max: Ints
    groups: Groups | None = None


class Components:
    """The parts that a problem with groups falls into.

    Parameters
    ----------
    slots : tuple of int64 array, shape (n_clients,)
        Fewest and most experts of each client.
    of_expert : int64 array, shape (n_experts,)
        Group of each expert.
    bounds : tuple of int array, shape (n_clients, n_groups)
        Fewest and most experts of each group, the latter at most its size.

    Attributes
    ----------
    members : list of int64 array
        Groups of each component, ascending; components by their first group. Empty where a
        client's bounds contradict each other.
    conflict_client : int
        A client whose own bounds contradict each other, or -1.

    Notes
    -----
    Group bounds are first made as tight as each client's slots make them. Of clients whose slots
    still exclude some of what the groups allow, all groups that leave a choice share slots. Time
    and memory O(n_clients n_groups), and O(n_clients n_groups**2) operations of a matrix product.
    """

    def __init__(
        self, slots: tuple[Ints, Ints], of_expert: Ints, bounds: tuple[npt.NDArray[Any], ...]
    ) -> None:
        self.of_expert = of_expert
        self._by_group = np.argsort(of_expert, kind="stable")
        self._starts = starts_of(np.bincount(of_expert, minlength=bounds[0].shape[1]))
        crossed = impossible_clients(slots, (bounds[0], bounds[1]))
        self.conflict_client = int(crossed.argmax()) if crossed.any() else -1
        self.members: list[Ints] = []
        if self.conflict_client >= 0:
            return
        fewest, most = slots
        kind = np.int16 if of_expert.size < 2**15 else np.int32
        low, high = np.maximum(bounds[0], 0).astype(kind), bounds[1].astype(kind)
        all_low, all_high = low.sum(axis=1), high.sum(axis=1)
        self.low: AnyCounts = np.maximum(low, (fewest - all_high)[:, None] + high).astype(kind)
        self.high: AnyCounts = np.minimum(high, (most - all_low)[:, None] + low).astype(kind)
        self.fewest = np.maximum(fewest, self.low.sum(axis=1))
        self.most = np.minimum(most, self.high.sum(axis=1))
        coupled = (self.low.sum(axis=1) < self.fewest) | (self.most < self.high.sum(axis=1))
        self.members = _connected(self.low[coupled] < self.high[coupled])

    @property
    def of_group(self) -> Ints:
        """Component of each group, int64."""
        found = np.empty(sum(part.size for part in self.members), np.int64)
        for number, part in enumerate(self.members):
            found[part] = number
        return found

    @property
    def most_shared(self) -> int:
        """Experts of the largest component of several groups; 0 where no groups share slots."""
        several = (number for number, part in enumerate(self.members) if part.size > 1)
        return max((self.experts(number).size for number in several), default=0)

    def experts(self, number: int) -> Ints:
        """Return the experts of a component, group by group."""
        groups = self.members[number]
        first, last = self._starts[groups], self._starts[groups + 1]
        return self._by_group[concatenated_ranges(first, last)[0]]

    def component(self, number: int) -> Component:
        """Return a component with its bounds."""
        part, experts = self.members[number], self.experts(number)
        if part.size == 1:
            fewest, most = (bound[:, part[0]].astype(np.int64) for bound in (self.low, self.high))
            return Component(experts, fewest, most)
        # In order of rows: kernels are compiled for one layout.
        low, high = (bound[:, part].astype(np.int32, order="C") for bound in (self.low, self.high))
        # Elsewhere a client holds a fixed number, or what it holds there leaves its slots alone.
        others = self.low.sum(axis=1) - low.sum(axis=1)
        rest = self.high.sum(axis=1) - high.sum(axis=1)
        fewest = np.maximum(self.fewest - rest, low.sum(axis=1))
        most = np.minimum(self.most - others, high.sum(axis=1))
        start = starts_of(self._starts[part + 1] - self._starts[part])
        return Component(experts, fewest, most, Groups(start, low, high))


def _connected(shares: npt.NDArray[np.bool_]) -> list[Ints]:
    """Return the groups that belong together where groups marked in one row do.

    Parameters
    ----------
    shares : bool array, shape (k, n_groups)
        Of each client whose slots matter, the groups that leave it a choice.
    """
    n_groups = shares.shape[1]
    if not shares.size or not shares.any():
        return [np.array([group]) for group in range(n_groups)]
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import connected_components

    marked = shares.astype(np.float32)
    _, label = connected_components(csr_array(marked.T @ marked), directed=False)
    first = np.unique(label, return_index=True)[1]
    return [np.flatnonzero(label == label[group]) for group in np.sort(first)]
