"""What every exchange of one client would lose, by the experts given up and taken."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from alignsolve.backends.greedy.params import WorkBudget
from alignsolve.backends.greedy.proposals import run_starts
from alignsolve.backends.greedy.state import ALL, State
from alignsolve.model.arrays import Float64Array, IntArray

#: Expert given up and expert taken; None for no expert.
Arc = tuple[int | None, int | None]


@dataclass(frozen=True, eq=False)
class ArcTable:
    """The least loss of every arc; the last node stands for "no expert".

    Attributes
    ----------
    experts : int64 array, shape (k,)
        Experts of the other nodes.
    prices : float64 array, shape (n_loads, n_experts)
        What a unit more of each load costs its expert.
    swap : float64 array, shape (k + 1, k + 1)
        As part of a cycle: the client's loss, and the loads it moves at their
        prices; +inf where nobody can.
    move : float64 array, shape (k + 1, k + 1)
        Alone: with the exact change of both experts' cost.
    """

    experts: IntArray
    prices: Float64Array
    swap: Float64Array
    move: Float64Array

    def arc(self, drop: int, add: int) -> Arc:
        """Return the arc between two nodes."""
        nodes = [*self.experts.tolist(), None]
        return nodes[drop], nodes[add]


def arc_table(state: State, rng: np.random.Generator, budget: WorkBudget) -> ArcTable:
    """Find the least loss of every arc, over all clients or a sample.

    Parameters
    ----------
    state : State
        An assignment.
    rng : numpy.random.Generator
        Draws what takes part where there is too much.
    budget : WorkBudget
        Charged; where it ends early, the table lacks arcs.

    Notes
    -----
    O(n_pairs n_experts) time in numpy passes over blocks.
    """
    m = state.n_experts
    chosen = _sampled(np.arange(m), state.params.table_experts, rng)
    k = chosen.size
    swap, move = (np.full((k + 1, k + 1), np.inf) for _ in range(2))
    table = ArcTable(chosen, state.load_prices(), swap, move)
    drop, clients = np.nonzero(state.held[:, chosen].T)
    free = np.flatnonzero(state.count < state.slot_high)
    most = state.params.table_entries // m + 1
    sample = _sampled(np.arange(clients.size), most, rng)
    drop, clients, free = drop[sample], clients[sample], _sampled(free, most, rng)
    for block in budget.blocks(clients.size, m):
        _enter_swaps(state, table, clients[block], drop[block])
    for block in budget.blocks(free.size, m):
        _enter_additions(state, table, free[block])
    if len(state.weight) == 1:
        # Every holder weighs 1: the experts' part does not depend on the client.
        more = state.expert_change(chosen, [np.float64(1.0)])
        less = state.expert_change(chosen, [np.float64(-1.0)])
        table.move[:] = table.swap + np.append(less, 0.0)[:, None] + np.append(more, 0.0)
    return table


def _sampled(these: IntArray, most: int, rng: np.random.Generator) -> IntArray:
    """Return these, in order, or as many of them as may be."""
    return these if these.size <= most else np.sort(rng.choice(these, most, replace=False))


def _enter_swaps(state: State, table: ArcTable, clients: IntArray, drop: IntArray) -> None:
    """Enter the swaps and drops of some held pairs, sorted by the node given up."""
    given = table.experts[drop]
    own = state.values[clients, given].astype(np.float64)
    loss = own[:, None] + _losses(state, table, clients, given)
    alone = own + state.client_change(clients, given, None)
    starts = run_starts(drop)
    if len(state.weight) > 1:
        weights = state.weight[:, clients]
        less = state.expert_change(given, -weights)
        more = state.expert_change(table.experts, weights[:, :, None])
        _enter(table.move, drop[starts], starts, loss + less[:, None] + more, alone + less)
        less = -(weights * table.prices[:, given]).sum(axis=0)
        more = weights.T @ table.prices[:, table.experts]
        loss, alone = loss + less[:, None] + more, alone + less
    _enter(table.swap, drop[starts], starts, loss, alone)


def _losses(
    state: State, table: ArcTable, clients: IntArray, given: IntArray | None
) -> Float64Array:
    """Return what clients lose by taking each expert of a table, less their own value."""
    values = state.values[clients].astype(np.float64)
    loss = state.client_change(clients, given, ALL) - values
    loss[state.held[clients] | (values == -np.inf)] = np.inf
    return loss if table.experts.size == state.n_experts else loss[:, table.experts]


def _enter(
    entries: Float64Array,
    nodes: IntArray,
    starts: IntArray,
    loss: Float64Array,
    alone: Float64Array,
) -> None:
    """Keep the least losses of each run of rows."""
    loss, alone = np.minimum.reduceat(loss, starts), np.minimum.reduceat(alone, starts)
    entries[nodes, :-1] = np.minimum(entries[nodes, :-1], loss)
    entries[nodes, -1] = np.minimum(entries[nodes, -1], alone)


def _enter_additions(state: State, table: ArcTable, clients: IntArray) -> None:
    """Enter the additions of some clients that have a free slot."""
    loss = _losses(state, table, clients, None)
    if len(state.weight) > 1:
        weights = state.weight[:, clients]
        alone = loss + state.expert_change(table.experts, weights[:, :, None])
        table.move[-1, :-1] = np.minimum(table.move[-1, :-1], alone.min(axis=0))
        loss += weights.T @ table.prices[:, table.experts]
    table.swap[-1, :-1] = np.minimum(table.swap[-1, :-1], loss.min(axis=0))
