"""Fill the minima of loads in bulk, where many clients hold what others lack."""

from __future__ import annotations

import numpy as np

from alignsolve.backends.greedy.params import WorkBudget
from alignsolve.backends.greedy.proposals import COUNTS, Swaps, best_swaps, running
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
    while it keeps its own minimum. O(n_pairs n_experts) a round.
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
        taken = _still_spared(state, client, drop)
        if not taken.any():
            break
        state.apply(client[taken], drop[taken], add[taken])


def _lack(state: State) -> Float64Array:
    """Return what each expert lacks of each load, in clients of typical weight."""
    lack: Float64Array = np.maximum(state.low - state.amount, 0) / state.load_unit[:, None]
    return lack


def _filling_swaps(state: State, asked: IntArray, budget: WorkBudget) -> Swaps:
    """Return the cheapest swap of each client: client, drop, add, and gain for what it fills."""
    lack, held, low = _lack(state), state.held[asked], state.low[:, None]
    after = state.amount[:, None] - state.weight[:, asked, None]
    spared = ((low <= 0) | (after >= low)).all(axis=0)

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

    at, drop, add, gain = best_swaps(state, asked, held & spared, budget, gains, -np.inf)
    return asked[at], drop, add, gain


def _still_lacking(state: State, clients: IntArray, experts: IntArray) -> BoolArray:
    """Tell, in order, which additions find their expert below a minimum and with room."""
    own = state.weight[:, clients]
    before = state.amount[:, experts] + running(experts, own)
    fits = (before + own <= state.high[:, experts]).all(axis=0)
    return np.asarray(fits & (before < state.low[:, experts]).any(axis=0))


def _still_spared(state: State, clients: IntArray, experts: IntArray) -> BoolArray:
    """Tell, in order, which drops leave their expert its minima."""
    own, low = state.weight[:, clients], state.low[:, experts]
    after = state.amount[:, experts] - running(experts, own) - own
    return np.asarray(((low <= 0) | (after >= low)).all(axis=0))
