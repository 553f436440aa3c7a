"""What changes of an optimal answer cost: least losses along all chains of exchanges.

For the flow class the optimum after a change by one unit, such as one more
slot or one pair forced, differs from the answer by one cheapest chain of
exchanges. So each loss here is exact: it is a shortest distance in the answer's
exchange graph, closed by the change (R K Ahuja, T L Magnanti, J B Orlin,
Network Flows, 1993, chapters 9 and 11).
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property

import numpy as np

from alignsolve.certificate.answer import Answer, Changes
from alignsolve.certificate.exchange_graph import ExchangeGraph, SingleMoves, exchange_graph
from alignsolve.model.arrays import BoolArray, Float64Array, IntArray
from alignsolve.model.problem import AlignmentProblem

#: A slot counts as enough where the best answer loses at most this, relative to its values.
ROUNDING = 1e-9


class Exchanges(Answer):
    """Least losses of all single changes of an optimal answer of the flow class.

    Parameters
    ----------
    problem : AlignmentProblem
        A problem of the flow class.
    rows, cols : int64 array, shape (n_pairs,)
        An optimal answer, sorted.

    Notes
    -----
    Losses are in units of fitness (max sense), and at least 0 but for rounding,
    which is cut off. Building takes O(n_pairs n_experts + n_experts**3) time.
    """

    def __init__(self, problem: AlignmentProblem, rows: IntArray, cols: IntArray) -> None:
        super().__init__(problem, rows, cols)
        self.moves = SingleMoves(problem, rows, cols)

    @cached_property
    def graph(self) -> ExchangeGraph:
        """The exchange graph; node `n_experts` stands for free slots and slack of loads."""
        return exchange_graph(self.problem, self.rows, self.cols)

    @cached_property
    def distance(self) -> Float64Array:
        """Least loss of moving a holder's place, float64 (n_experts + 1, n_experts + 1)."""
        distance = self.graph.weight.copy()
        np.fill_diagonal(distance, 0.0)
        for node in range(distance.shape[0]):
            np.minimum(distance, distance[:, node, None] + distance[None, node], out=distance)
        return distance

    # -- experts ------------------------------------------------------------------

    @cached_property
    def one_more(self) -> Float64Array:
        """Loss of one more holder of each expert than now, < 0 for a gain, (n_experts,)."""
        return np.asarray(self.distance[-1, :-1] + self.up)

    @cached_property
    def one_fewer(self) -> Float64Array:
        """Loss of one holder fewer of each expert, < 0 for a gain, (n_experts,)."""
        return np.asarray(self.distance[:-1, -1] + self.down)

    def next_holder(self, expert: int, cost: Float64Array) -> int | None:
        """Return who would take an expert's further slot, where one would be used.

        Of `cost`, what changes of the expert alone cost, it makes no use: chains begin elsewhere.
        """
        if not self.slot_worth[expert] > 0:
            return None
        into = self.distance[-1, :] + self.graph.weight[:, expert]
        client = int(self.graph.client[int(np.argmin(into)), expert])
        return None if client < 0 else client

    # -- clients ------------------------------------------------------------------

    def of_expert(self, clients: IntArray, expert: int) -> Float64Array:
        """Return what it costs to take an expert from its holders, or to give it to others."""
        changes, held = self.changes(clients), self.held.mask(clients)[:, expert]
        return np.where(held, changes.margin[:, expert], changes.loss[:, expert])

    def slot_suffices(self, client: int, expert: int, missing: float) -> bool:
        """Tell whether a further slot of an expert gives it to a client in a best answer."""
        worth = float(self.slot_worth[expert])
        if not worth > 0:
            return False
        loss = float(self.changes(np.array([client]), slot_of=expert).loss[0, expert])
        return loss <= -worth + ROUNDING * max(1.0, self.problem.largest)

    def gain_without_budget(self, name: str, clients: IntArray) -> Float64Array:
        """Return 0: budgets that bind make a problem one of the mip class."""
        return np.zeros(clients.size)

    def gain_of_slot(self, clients: IntArray) -> Float64Array:
        """Return what one more slot would gain each client and the others, (len(clients),)."""
        values, held = self.block(clients)
        room, _ = self.moves.room(clients)
        gain = np.where(room & ~held, values - self.distance[:-1, -1], -np.inf)
        return np.asarray(np.maximum(0.0, gain.max(axis=1, initial=-np.inf)))

    def gain_of_minimum(self, clients: IntArray) -> Float64Array:
        """Return what one required expert fewer would gain, (len(clients),)."""
        values, held = self.block(clients)
        _, room = self.moves.room(clients)
        binds = ~self.moves.may_drop[clients] & (self.problem.min_experts[clients] > 0)
        gain = np.where(room & held, -np.where(held, values, 0.0) - self.distance[-1, :-1], -np.inf)
        return np.where(binds, np.maximum(0.0, gain.max(axis=1, initial=-np.inf)), 0.0)

    def changes(self, clients: IntArray, slot_of: int | None = None) -> Changes:
        """Return the least losses of giving some clients each expert, and of taking it away.

        Parameters
        ----------
        clients : int64 array
            The clients.
        slot_of : int, optional
            An expert that may take one holder more, for once. What its slot
            brings is then part of the losses, which may be negative.
        """
        values, held = self.block(clients)
        can_add, can_drop = self.moves.room(clients)
        paths = self.distance
        if slot_of is not None:
            detour = paths[:, slot_of, None] + self.up[slot_of] + paths[None, -1, :]
            paths = np.minimum(paths, detour)
        free = self.moves.may_add[clients, None]
        found = Changes(
            loss=np.where(free & can_add & ~held, paths[:-1, -1] - values, np.inf),
            given=np.full(values.shape, -1),
            margin=np.full(values.shape, np.inf),
            taken=np.full(values.shape, -1),
            gain=np.where(held, 0.0, values),
        )
        may_drop = self.moves.may_drop[clients, None] & can_drop & held
        found.margin[may_drop] = (np.where(held, values, 0.0) + paths[-1, :-1])[may_drop]
        for of, j in self._held_one_by_one(held):
            swap = ~held[of] & self.moves.swaps(j, can_add[of], can_drop[of])
            own = values[of, j][:, None]
            loss = np.where(swap, own - values[of] + paths[:-1, j].T, np.inf)
            better = loss < found.loss[of]
            found.given[of] = np.where(better, j[:, None], found.given[of])
            found.loss[of] = np.where(better, loss, found.loss[of])
            found.gain[of] = np.where(better, values[of] - own, found.gain[of])
            best = loss.argmin(axis=1)
            least = loss[np.arange(of.size), best]
            closer = least < found.margin[of, j]
            found.taken[of, j] = np.where(closer, best, -1)
            found.margin[of, j] = np.where(closer, least, found.margin[of, j])
        if slot_of is None:
            # Less than 0 is rounding: the answer is optimal.
            np.maximum(found.loss, 0.0, out=found.loss)
            np.maximum(found.margin, 0.0, out=found.margin)
        found.loss[held] = 0.0
        return found

    def held_margins(self) -> Float64Array:
        """Return the margin of each held pair, float64 of shape (n_pairs,); see `Changes`."""
        parts = [self.changes(clients).margin[self.held.mask(clients)]
                 for clients in self.all_clients()]
        return np.concatenate([np.empty(0), *parts])

    def _held_one_by_one(self, held: BoolArray) -> Iterator[tuple[IntArray, IntArray]]:
        """Yield rows and columns of held pairs, at most one of each row at a time."""
        row, column = np.nonzero(held)
        position = np.arange(row.size) - np.searchsorted(row, row)
        for at in range(int(position.max(initial=-1)) + 1):
            yield row[position == at], column[position == at]
