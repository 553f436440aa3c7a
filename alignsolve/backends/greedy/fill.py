"""Fill the minima of loads in bulk, where many clients hold what others lack."""

from __future__ import annotations

import numpy as np

from alignsolve.backends.greedy.exchanges import WorkBudget
from alignsolve.backends.greedy.state import ALL, State
from alignsolve.backends.greedy.take import running, still_spared
from alignsolve.model.arrays import BoolArray, Float64Array, IntArray

#: Rounds in which experts are filled.
FILL_ROUNDS = 80
#: Clients asked in a round, for each client that is lacking, and at least.
ASKED, LEAST_ASKED = 8, 500


def fill_experts(state: State, effort: WorkBudget) -> None:
    """Let clients swap an expert that can spare them for one that lacks, in rounds.

    Parameters
    ----------
    state : State
        Changed in place. No upper bound, and no bound of a client, is broken further.
    effort : WorkBudget
        Charged; ends the work early.

    Notes
    -----
    A round proposes to every client its cheapest such swap. An expert that lacks
    takes those that lose least until it has enough, and an expert that spares gives
    while it keeps its own minimum. Where no swap is left, clients that lose least give
    up an expert, which makes room for the next round. O(n_pairs n_experts) a round.
    """
    for number in range(FILL_ROUNDS):
        lacking = (state.amount < state.low).any(axis=0)
        if not lacking.any() or effort.is_spent():
            break
        # A part of the clients, in turn, suffices where little is lacking.
        stride = max(1, state.n_clients // max(LEAST_ASKED, int(ASKED * _lack(state).sum())))
        asked = np.arange(number % stride, state.n_clients, stride)
        client, drop, add, loss = _filling_swaps(state, asked, np.flatnonzero(lacking), effort)
        order = np.argsort(loss, kind="stable")
        client, drop, add = client[order], drop[order], add[order]
        taken = _still_lacking(state, client, add)
        client, drop, add = client[taken], drop[taken], add[taken]
        taken = still_spared(state, client, drop)
        if taken.any():
            state.apply(client[taken], drop[taken], add[taken])
        elif not _release(state, effort):
            break


def _lack(state: State) -> Float64Array:
    """Return what each expert lacks of each load, in clients of typical weight."""
    lack: Float64Array = np.maximum(state.low - state.amount, 0) / state.load_unit[:, None]
    return lack


def _filling_swaps(
    state: State, asked: IntArray, lacking: IntArray, effort: WorkBudget
) -> tuple[IntArray, IntArray, IntArray, Float64Array]:
    """Return the cheapest swap of each client: client, drop, add, and loss for what it fills."""
    found: list[tuple[IntArray, IntArray, IntArray, Float64Array]] = []
    lack = _lack(state)[:, lacking]
    width = state.n_experts * max(1, int(state.count.max()))
    for block in effort.blocks(asked.size, width):
        local, given = np.nonzero(state.held[asked[block]])
        rows = asked[block][local]
        spare = still_spared(state, rows, given, each=True)
        rows, given = rows[spare], given[spare]
        if not rows.size:
            continue
        barred = state.held[rows][:, lacking]
        barred |= ~(state.client_change(rows, given, ALL)[:, lacking] <= 0)
        filled = np.zeros(barred.shape)
        for k, weight in enumerate(state.weight):
            room = state.high[k, lacking] - state.amount[k, lacking]
            barred |= weight[rows, None] > room
            filled += np.minimum(weight[rows, None] / state.load_unit[k], lack[k])
        values = state.values[rows].astype(np.float64)
        lost = values[np.arange(rows.size), given][:, None] - values[:, lacking]
        # What a unit filled costs; a gain counts by how much it is.
        lost = np.where(lost > 0, lost / np.maximum(filled, 1e-300), lost)
        lost[barred | ~(filled > 0) | np.isnan(lost)] = np.inf
        best = lost.argmin(axis=1)
        least = lost[np.arange(rows.size), best]
        # The pairs of a client are neighbours: the first of the least losses of each.
        order = np.lexsort((least, rows))
        chosen = order[np.r_[True, rows[order][1:] != rows[order][:-1]]]
        chosen = chosen[np.isfinite(least[chosen])]
        found.append((rows[chosen], given[chosen], lacking[best[chosen]], least[chosen]))
    if not found:
        none = np.empty(0, dtype=np.int64)
        return none, none, none, np.empty(0)
    clients, drops, adds, losses = (np.concatenate(part) for part in zip(*found, strict=True))
    return clients, drops, adds, losses


def _release(state: State, effort: WorkBudget) -> bool:
    """Let about twice as many clients as are lacking give up their least; tell whether any did."""
    wanted = int(np.ceil(2 * _lack(state).sum()))
    rows, cols = state.pairs()
    effort.work -= rows.size
    spare = still_spared(state, rows, cols, each=True)
    # Nothing that the client itself needs.
    spare[spare] = state.client_change(rows[spare], cols[spare], None) <= 0
    rows, cols = rows[spare], cols[spare]
    value = state.values[rows, cols]
    order = np.lexsort((value, rows))
    first = order[np.r_[True, rows[order][1:] != rows[order][:-1]][: order.size]]
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
