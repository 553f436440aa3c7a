"""Repair and improvement of a greedy answer by exchanges.

One neighbourhood serves both. An arc u -> v is a client that gives up expert u
for expert v; the node after the last expert stands for "no expert". Arcs are
made together: a lone move, two clients that swap experts, a cycle of several.
While bounds are broken, repairing them is what gains most.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from alignsolve.backends.greedy.excess import LEAST_EXCESS
from alignsolve.backends.greedy.exchanges import Arc, ArcTable, arc_table
from alignsolve.backends.greedy.params import WorkBudget
from alignsolve.backends.greedy.state import State
from alignsolve.certificate.exchange_graph import bellman_ford
from alignsolve.model.arrays import Float64Array, IntArray

Failed = dict[tuple[Arc, ...], float]
Moves = tuple[IntArray, Float64Array]


# -- rotations --------------------------------------------------------------------


def rotate(state: State, arcs: list[Arc]) -> bool:
    """Make moves along some arcs together, as many times as gains most.

    Parameters
    ----------
    state : State
        Changed where that gains.
    arcs : list of (drop, add)
        An arc ``(u, v)`` moves one client from expert u to v; None stands for
        no expert.

    Returns
    -------
    improved : bool

    Notes
    -----
    The clients of an arc are taken by least loss, the k-th of every arc
    together; all prefixes are evaluated exactly, and the best one is made.
    """
    lists = [_sorted_moves(state, arc, alone=len(arcs) == 1) for arc in arcs]
    is_exchange = len(arcs) == 2 and arcs[0] == arcs[1][::-1]
    # Arcs u -> v and v -> u have no client in common.
    if len(arcs) > 1 and not is_exchange:
        lists = _distinct(lists)
    length = min(clients.size for clients, _ in lists)
    if length == 0:
        return False
    total = np.sum([np.cumsum(loss[:length]) for _, loss in lists], axis=0)
    change: dict[int, Float64Array] = {}
    for arc, (clients, _) in zip(arcs, lists, strict=True):
        moved = np.cumsum(state.weight[:, clients[:length]], axis=1)
        for expert, step in zip(arc, (-1, 1), strict=True):
            if expert is not None:
                change[expert] = change.get(expert, 0.0) + step * moved
    for expert in sorted(change):
        total = total + state.expert_change(expert, change[expert])
    best = int(np.argmin(total))
    if total[best] < -state.noise * (best + 1):
        _make(state, arcs, [clients[: best + 1] for clients, _ in lists])
        return True
    if is_exchange and len(state.weight) > 1:
        return _exchange_unequal(state, arcs, lists)
    return False


def _exchange_unequal(state: State, arcs: list[Arc], lists: list[Moves]) -> bool:
    """Make the best exchange of two clients whose weights the loads allow, if it gains."""
    most = state.params.matched_clients
    (first, first_loss), (second, second_loss) = (
        (clients[:most], loss[:most]) for clients, loss in lists
    )
    total = first_loss[:, None] + second_loss[None, :]
    # Along the first arc, and back along the second.
    net = state.weight[:, first][:, :, None] - state.weight[:, second][:, None, :]
    for expert, step in zip(arcs[0], (-1, 1), strict=True):
        if expert is not None:
            total += state.expert_change(expert, step * net)
    i, j = np.unravel_index(int(total.argmin()), total.shape)
    if not total[i, j] < -state.noise:
        return False
    _make(state, arcs, [first[i : i + 1], second[j : j + 1]])
    return True


def _make(state: State, arcs: list[Arc], clients: list[IntArray]) -> None:
    """Move the given clients along each arc."""
    for (drop, add), chosen in zip(arcs, clients, strict=True):
        given, taken = (None if e is None else np.full(chosen.size, e) for e in (drop, add))
        state.apply(chosen, given, taken)


def _sorted_moves(state: State, arc: Arc, alone: bool) -> Moves:
    """Return the clients of an arc by least loss, what they do to the loads included."""
    clients, loss = state.moves(*arc)
    key, weights, prices = loss, state.weight[:, clients], state.load_prices()
    for expert, step in zip(arc, (-1, 1), strict=True):
        # Clients are equal but for their weights.
        if expert is None or len(weights) == 1:
            continue
        if alone:
            key = key + state.expert_change(expert, step * weights)
        else:
            key = key + step * (prices[:, expert] @ weights)
    most = state.params.rotation_clients
    if clients.size > most:
        chosen = np.argpartition(key, most)[:most]
        clients, loss, key = clients[chosen], loss[chosen], key[chosen]
    order = np.lexsort((clients, key))
    return clients[order], loss[order]


def _distinct(lists: list[Moves]) -> list[Moves]:
    """Leave every client in the first list only in which it occurs."""
    taken, distinct = np.empty(0, dtype=np.int64), []
    for clients, loss in lists:
        new = ~np.isin(clients, taken)
        distinct.append((clients[new], loss[new]))
        taken = np.concatenate([taken, clients])
    return distinct


# -- sweeps -----------------------------------------------------------------------


def sweep(state: State, rng: np.random.Generator, budget: WorkBudget, failed: Failed) -> bool:
    """Make the improving moves, swaps and cycles that one arc table shows.

    Parameters
    ----------
    failed : dict
        Predicted gains of arcs that failed; they are tried again when the
        prediction has changed. Added to.

    Returns
    -------
    improved : bool
        False at a local optimum, or where the budget is spent.
    """
    table, params = arc_table(state, rng, budget), state.params
    improved, failures = False, 0
    least = LEAST_EXCESS * state.strain if state.excess() else state.noise
    for predicted, arcs in _short_cycles(state, table, least):
        if failed.get(tuple(arcs)) == predicted:
            continue
        if budget.is_spent() or failures > params.failures + state.n_experts:
            return improved
        budget.work -= params.rotation_work + state.n_clients // params.clients_per_entry
        if rotate(state, arcs):
            improved, failures = True, 0
        else:
            failed[tuple(arcs)] = predicted
            failures += 1
    if improved or state.n_experts > params.cycle_experts:
        return improved
    return _long_cycles(state, table, budget)


def _short_cycles(
    state: State, table: ArcTable, least: float
) -> Iterator[tuple[float, list[Arc]]]:
    """Yield lone moves and exchanges of two with what they seem to gain, the best first."""
    both = np.triu(table.swap + table.swap.T, 1)
    single_u, single_v = np.nonzero(table.move < -least)
    double_u, double_v = np.nonzero(both < -least)
    gains = np.concatenate([table.move[single_u, single_v], both[double_u, double_v]])
    for k in np.argsort(gains, kind="stable"):
        if k < single_u.size:
            arcs = [table.arc(single_u[k], single_v[k])]
        else:
            u, v = double_u[k - single_u.size], double_v[k - single_u.size]
            arcs = [table.arc(u, v), table.arc(v, u)]
        yield float(gains[k]), arcs


def _long_cycles(state: State, table: ArcTable, budget: WorkBudget) -> bool:
    """Make cycles of any length, disjoint in experts, while Bellman-Ford finds one."""
    m = state.n_experts
    # An expert with slack takes or loses one alone: a typical client, less its linear price.
    linear = state.load_unit @ table.prices if len(state.weight) > 1 else 0.0
    more = state.expert_change(slice(None), state.load_unit) - linear
    less = state.expert_change(slice(None), -state.load_unit) + linear
    weight = table.swap.copy()
    by_client = np.ones(weight.shape, dtype=np.bool_)
    for source, target, own in ((slice(0, m), m, more), (m, slice(0, m), less)):
        by_client[source, target] = weight[source, target] <= own
        weight[source, target] = np.minimum(weight[source, target], own)
    improved = False
    while not budget.is_spent():
        budget.work -= weight.size
        _, cycle = bellman_ford(weight)
        if cycle is None:
            return improved
        arcs = [
            table.arc(u, v)
            for u, v in zip(cycle, cycle[1:] + cycle[:1], strict=True)
            if by_client[u, v]
        ]
        if arcs and rotate(state, arcs):
            improved = True
        used = [node for node in cycle if node != m]
        weight[used, :] = np.inf
        weight[:, used] = np.inf
    return improved


def search(
    state: State,
    rng: np.random.Generator,
    budget: WorkBudget,
    escapes: int,
    keep: Callable[[State], bool],
) -> bool:
    """Repair, then improve an answer until no exchange helps or the budget is spent.

    Parameters
    ----------
    state : State
        Changed in place.
    rng : numpy.random.Generator
        Draws samples of large answers.
    budget : WorkBudget
        Time and work left.
    escapes : int
        How often a local optimum with broken bounds is left by making them
        weigh more.
    keep : callable
        Called with the state whenever a sweep ends with every bound kept; tells whether it
        is feasible.

    Returns
    -------
    found : bool
        Whether it was feasible at any time.

    Notes
    -----
    Raising the weights of what stays broken follows P Morris, The breakout
    method for escaping from local minima, AAAI 1993.
    """
    failed: Failed = {}
    excess = state.excess()
    found = excess == 0 and keep(state)
    while not budget.is_spent():
        before = excess
        improved = sweep(state, rng, budget, failed)
        excess = state.excess()
        if excess == 0 and improved:
            found |= keep(state)
            # What repairing took would hide small gains.
            state.weigh_alike()
        if excess < before or (improved and (excess == 0 or escapes == 0)):
            continue
        if excess == 0 or escapes == 0:
            break
        escapes -= 1
        state.client_weight[state.broken_clients()] *= state.params.escape_factor
        state.expert_weight[state.broken_experts()] *= state.params.escape_factor
    return found
