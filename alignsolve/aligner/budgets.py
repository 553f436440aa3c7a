"""Budgets that say no more than slots or other budgets do: without them rounds are easy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from alignsolve.model.arrays import BoolArray, Float64Array, IntArray
from alignsolve.model.problem import Resource, tolerance


def fold_budget(
    size: Float64Array, budget: Float64Array, slots: IntArray, allowed: BoolArray
) -> tuple[IntArray, IntArray, Resource | None]:
    """Turn a budget into slots where that loses nothing.

    Parameters
    ----------
    size : float64 array, broadcasts to (n_clients, n_experts)
        What each expert takes, >= 0.
    budget : float64 array, shape (n_clients,)
        What each client has; inf for no limit.
    slots : int64 array, shape (n_clients,)
        Most experts of each client.
    allowed : bool array, shape (n_clients, n_experts)
        Pairs that are not forbidden.

    Returns
    -------
    slots : int64 array, shape (n_clients,)
        At most the given ones: how many of its smallest experts fit a client.
    likely : int64 array, shape (n_clients,)
        How many fit of average size.
    resource : Resource or None
        What slots cannot express; None where they express everything. The
        budget is inf for clients whose slots do.

    Notes
    -----
    Slots say the same as the budget where all experts of a client take the same,
    or where its largest ones fit together. Time O(n m log m) for the clients
    where neither is plain to see.
    """
    limited = np.flatnonzero(np.isfinite(budget) & (slots > 0))
    slots, likely = slots.copy(), slots.copy()
    left = np.full(budget.shape, np.inf)
    size = np.broadcast_to(size, allowed.shape)
    if limited.size:
        sizes = np.sort(np.where(allowed[limited], size[limited], np.inf), axis=1)
        number = np.isfinite(sizes).sum(axis=1)
        room = budget[limited] + tolerance(budget[limited])
        used = np.cumsum(sizes, axis=1)
        fit = np.minimum((used <= room[:, None]).sum(axis=1), slots[limited])
        total = np.where(np.isfinite(sizes), sizes, 0.0).sum(axis=1)
        mean = total / np.maximum(number, 1)
        with np.errstate(divide="ignore", invalid="ignore"):
            average = np.where(mean > 0, np.floor(room / mean), np.inf)
        slots[limited] = fit
        likely[limited] = np.minimum(fit, np.maximum(average, np.minimum(fit, 1)))
        # The largest `fit` allowed experts: where they fit together, any `fit` do.
        upto = np.where(np.isfinite(used), used, 0.0)
        before = np.concatenate([np.zeros((limited.size, 1)), upto], axis=1)
        at = np.arange(limited.size)
        largest = before[at, number] - before[at, np.maximum(number - fit, 0)]
        binding = largest > room
        left[limited[binding]] = budget[limited[binding]]
    return slots, likely, Resource(size, left) if np.isfinite(left).any() else None


def without_implied(resources: Mapping[str, Resource], allowed: BoolArray) -> dict[str, Resource]:
    """Leave out the budgets that other budgets imply.

    Parameters
    ----------
    resources : mapping of str to Resource
        Budgets of a round.
    allowed : bool array, shape (n_clients, n_experts)
        Pairs that are not forbidden.

    Returns
    -------
    resources : dict of str to Resource
        The same answers keep them. A budget is inf for clients where another one
        implies it, and a resource that is inf for all is not there.

    Notes
    -----
    A budget is implied where every expert takes no larger share of it than of the
    other one. Solvers of knapsacks with one row are faster than with two. O(n m)
    for each pair of resources.
    """
    budgets = {name: np.array(part.budget, dtype=np.float64) for name, part in resources.items()}
    sizes = {name: np.broadcast_to(part.size, allowed.shape) for name, part in resources.items()}
    for name, budget in budgets.items():
        for other, bound in budgets.items():
            # Below 1 the tolerance is larger, relative to the budget.
            able = np.isfinite(budget) & np.isfinite(bound) & (bound >= 1)
            if other == name or not able.any():
                continue
            share = sizes[name][able] * bound[able, None]
            limit = sizes[other][able] * budget[able, None]
            implied = ((share <= limit) | ~allowed[able]).all(axis=1)
            budget[np.flatnonzero(able)[implied]] = np.inf
    return {
        name: replace(part, budget=budgets[name])
        for name, part in resources.items()
        if np.isfinite(budgets[name]).any()
    }
