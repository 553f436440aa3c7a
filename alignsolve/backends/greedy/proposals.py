"""Proposals of many clients at once: what each wants most, and which of them are taken."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from alignsolve.backends.greedy.params import WorkBudget
from alignsolve.backends.greedy.state import ALL, State
from alignsolve.model.arrays import BoolArray, Float64Array, FloatArray, IntArray

#: Clients by their position among those asked, expert given up, expert taken, and gain.
Swaps = tuple[IntArray, IntArray, IntArray, Float64Array]

#: What to add to a score, by whether it counts; quicker than a choice entry by entry.
COUNTS = np.array([-np.inf, 0.0])


def best_swaps(
    state: State,
    clients: IntArray,
    held: BoolArray,
    budget: WorkBudget,
    gains: Callable[[IntArray, IntArray], Float64Array],
    least: float,
) -> Swaps:
    """Return the swap of each client that gains most, of those that have one.

    Parameters
    ----------
    state : State
        Read only.
    clients : int64 array, shape (k,)
        Who may swap.
    held : bool array, shape (k, n_experts)
        What they hold; by rows, where the state has it by columns.
    budget : WorkBudget
        Charged; ends the work early.
    gains : callable
        Maps held pairs, as positions among `clients` and experts to give up, to what each
        pair gains by every expert to take, float64 of shape (n_pairs, n_experts); -inf where
        that is held or forbidden, or exceeds a load.
    least : float
        Only more than this counts.

    Returns
    -------
    at, drop, add : int64 array
        Positions among `clients`, each once, experts given up, and experts taken.
    gain : float64 array
    """
    none = np.empty(0, dtype=np.int64)
    found: list[Swaps] = [(none, none, none, np.empty(0))]
    width = state.n_experts * max(1, int(state.count[clients].max(initial=0)))
    for block in budget.blocks(clients.size, width):
        # Looking for entries of a flat table is ten times as quick.
        at, drop = np.divmod(np.flatnonzero(held[block]), state.n_experts)
        at += block.start
        fits = state.allows(clients[at], drop, ALL, None)
        gain = gains(at, drop) + COUNTS.take(fits)
        add = gain.argmax(axis=1)
        gain = gain[np.arange(at.size), add]
        chosen = np.flatnonzero(gain > least)
        chosen = chosen[first_of_each(at[chosen], -gain[chosen])]
        found.append((at[chosen], drop[chosen], add[chosen], gain[chosen]))
    at, drop, add, gain = (np.concatenate(part) for part in zip(*found, strict=True))
    return at, drop, add, gain


def accepted(
    state: State, clients: IntArray, experts: IntArray,
    regret: Callable[[IntArray], Float64Array], most: Float64Array,
) -> BoolArray:  # fmt: skip
    """Tell which proposals the experts take: by regret, while loads stay up to `most`.

    `regret` tells, for some positions, what clients lose where they are not taken; it is asked
    only where an expert lacks room.
    """
    accepted = np.ones(clients.size, dtype=np.bool_)
    asked = [np.bincount(experts, weight[clients], state.n_experts) for weight in state.weight]
    crowded = np.asarray((state.amount + asked > most).any(axis=0))
    among = np.flatnonzero(crowded[experts])
    if not among.size:
        return accepted
    order = among[np.lexsort((-regret(among), experts[among]))]
    clients, experts = clients[order], experts[order]
    own = state.weight[:, clients]
    after = state.amount[:, experts] + running(experts, own) + own
    fits = np.asarray((after <= most[:, experts]).all(axis=0))
    # Sums in another order may differ in the last digit: the first alone was checked to fit.
    fits[run_starts(experts)] = True
    accepted[order] = fits
    return accepted


def running(keys: IntArray, weights: Float64Array) -> Float64Array:
    """Return the sums of the weights, (..., k), of the entries before with the same key, (k,)."""
    order = np.argsort(keys, kind="stable")
    starts = run_starts(keys[order])
    total = np.cumsum(weights[..., order], axis=-1) - weights[..., order]
    before = np.empty(weights.shape)
    run = np.repeat(starts, np.diff(np.r_[starts, order.size]))
    before[..., order] = total - total[..., run]
    return before


def regrets(others: Float64Array, best: IntArray, otherwise: float) -> Float64Array:
    """Return what rows lose by their second best, or by what they have otherwise.

    `others` is the table of what they gain, (k, n), changed in place.
    """
    each = np.arange(best.size)
    top = others[each, best]
    others[each, best] = -np.inf
    return np.asarray(top - np.maximum(others.max(axis=1), otherwise))


def first_of_each(keys: IntArray, loss: FloatArray) -> IntArray:
    """Return, for every key, where the first of its least losses is."""
    order = np.lexsort((loss, keys))
    return np.asarray(order[run_starts(keys[order])])


def run_starts(ordered: IntArray) -> IntArray:
    """Return where runs of equal entries start."""
    return np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]][: ordered.size])


def budget_share(state: State, clients: IntArray) -> Float64Array | None:
    """Return the share of a client that each expert takes: of its slots and its budgets.

    Returns
    -------
    share : float64 array, shape (k, n_experts), or None without budgets
    """
    if not state.n_budgets:
        return None
    share = 1.0 / np.maximum(state.slot_high[clients], 1)[:, None]
    for k in range(state.n_budgets):
        high = np.maximum(state.sum_high[k][clients], 1e-300)
        share = share + np.abs(state.entries[k][clients]) / high[:, None]
    return np.asarray(share)
