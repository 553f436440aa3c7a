"""Fill the minima of loads in bulk, where many clients hold what others lack."""

from __future__ import annotations

import numpy as np

from alignsolve.backends.greedy.params import WorkBudget
from alignsolve.backends.greedy.proposals import (
    COUNTS,
    Swaps,
    best_swaps,
    first_of_each,
    running,
    still_spared,
)
from alignsolve.backends.greedy.state import ALL, State
from alignsolve.model.arrays import BoolArray, Float64Array, IntArray


def fill_experts(state: State, budget: WorkBudget) -> None:
    """Let clients swap an expert that can spare them for one that lacks, in rounds.

    Parameters
    ----------
    state : State
        Changed in place. No upper bound, and no bound of a client, is broken further.
    budget : WorkBudget
        Charged; ends the work early.

    Notes
    -----
    A round proposes to every client its cheapest such swap. An expert that lacks
    takes those that lose least until it has enough, and an expert that spares gives
    while it keeps its own minimum. Where no swap is left, clients that lose least give
    up an expert, which makes room for the next round. O(n_pairs n_experts) a round.
    """
    params = state.params
    for number in range(params.fill_rounds):
        lacking = (state.amount < state.low).any(axis=0)
        if not lacking.any() or budget.is_spent():
            break
        # A part of the clients, in turn, suffices where little is lacking.
        wanted = max(params.least_asked, int(params.asked * _lack(state).sum()))
        stride = max(1, state.n_clients // wanted)
        asked = np.arange(number % stride, state.n_clients, stride)
        client, drop, add, gain = _filling_swaps(state, asked, budget)
        order = np.argsort(-gain, kind="stable")
        client, drop, add = client[order], drop[order], add[order]
        taken = _still_lacking(state, client, add)
        client, drop, add = client[taken], drop[taken], add[taken]
        taken = still_spared(state, client, drop)
        if taken.any():
            state.apply(client[taken], drop[taken], add[taken])
        elif not _release(state, budget):
            break


def _lack(state: State) -> Float64Array:
    """Return what each expert lacks of each load, in clients of typical weight."""
    lack: Float64Array = np.maximum(state.low - state.amount, 0) / state.load_unit[:, None]
    return lack


def _filling_swaps(state: State, asked: IntArray, budget: WorkBudget) -> Swaps:
    """Return the cheapest swap of each client: client, drop, add, and gain for what it fills."""
    lack, held = _lack(state), state.held[asked]

    def gains(at: IntArray, drop: IntArray) -> Float64Array:
        rows, values = asked[at], state.values[asked[at]].astype(np.float64)
        filled = np.zeros(values.shape)
        for k, weight in enumerate(state.weight):
            filled += np.minimum(weight[rows, None] / state.load_unit[k], lack[k])
        gain = values - values[np.arange(rows.size), drop][:, None]
        # What a unit filled costs; a gain counts by how much it is.
        gain = np.where(gain < 0, gain / np.maximum(filled, 1e-300), gain)
        fits = (filled > 0) & ~held[at] & state.has_room(rows, ALL, state.high)
        return np.asarray(gain + COUNTS.take(fits))

    at, drop, add, gain = best_swaps(state, asked, held, budget, gains, -np.inf, spare=True)
    return asked[at], drop, add, gain


def _release(state: State, budget: WorkBudget) -> bool:
    """Let about twice as many clients as are lacking give up their least; tell whether any did."""
    wanted = int(np.ceil(2 * _lack(state).sum()))
    rows, cols = state.pairs()
    budget.work -= rows.size
    spare = still_spared(state, rows, cols, each=True)
    # Nothing that the client itself needs.
    spare[spare] = state.client_change(rows[spare], cols[spare], None) <= 0
    rows, cols = rows[spare], cols[spare]
    value = state.values[rows, cols]
    first = first_of_each(rows, value)
    chosen = first[np.argsort(value[first], kind="stable")][:wanted]
    chosen = chosen[still_spared(state, rows[chosen], cols[chosen])]
    if chosen.size:
        state.apply(rows[chosen], cols[chosen], None)
    return bool(chosen.size)


def _still_lacking(state: State, clients: IntArray, experts: IntArray) -> BoolArray:
    """Tell, in order, which additions find their expert below a minimum and with room."""
    wanted = np.zeros(clients.size, dtype=np.bool_)
    fits = np.ones(clients.size, dtype=np.bool_)
    for amount, low, high, weight in zip(
        state.amount, state.low, state.high, state.weight, strict=True
    ):
        before = running(experts, weight[clients]) + amount[experts]
        wanted |= before < low[experts]
        fits &= before + weight[clients] <= high[experts]
    return wanted & fits
