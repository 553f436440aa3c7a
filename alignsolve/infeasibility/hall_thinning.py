"""Leave out bounds of clients that a shortage of a set of experts does not need."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from alignsolve.infeasibility.max_flow import CountArray, FlowBounds
from alignsolve.model.arrays import IntArray


def supplies(bounds: FlowBounds, count: CountArray) -> IntArray:
    """Return how many experts of a set each client can hold, int64 (n_clients,).

    Parameters
    ----------
    bounds : FlowBounds
        Bounds of the clients.
    count : int32 array, shape (n_clients, n_groups)
        Allowed experts of the set, by client and group.

    Notes
    -----
    Either the upper bounds of its groups limit a client, or its slots, less what the lower
    bounds of the groups claim outside the set.
    """
    inside, claimed = _inside_and_claimed(bounds, count)
    return np.asarray(np.minimum(inside, bounds.client_high - claimed))


def thinned_clients(bounds: FlowBounds, count: CountArray, spare: int) -> tuple[FlowBounds, int]:
    """Leave out bounds of clients until no other can go.

    Parameters
    ----------
    bounds : FlowBounds
        Bounds of the clients.
    count : int32 array, shape (n_clients, n_groups)
        Allowed experts of the short set, by client and group.
    spare : int
        Holders that the clients may gain so that the set is still short.

    Returns
    -------
    bounds : FlowBounds
        The bounds kept; those left out cannot bind.
    spare : int
        Holders that they may still gain; leaving out any bound gains more.

    Notes
    -----
    Whole clients go first, those that gain least before others, so that many
    bounds go. O(n log n), and O(n n_groups) per single bound after that, of
    which there are fewer than experts.
    """
    kept = _binding(bounds, count)
    gain = count.sum(axis=1) - supplies(kept, count)
    # Among equals the last go, so that those named first stay.
    order = gain.size - 1 - np.argsort(gain[::-1], kind="stable")
    gone = order[np.cumsum(gain[order]) <= spare]
    spare -= int(gain[gone].sum())
    # Fresh arrays, which the next steps change in place.
    kept.client_high[gone] = kept.client_size[gone]
    kept.group_low[gone], kept.group_high[gone] = 0, kept.group_size[gone]
    if count.shape[1] > 1:
        spare = _thin_groups(kept, count, spare)
    return kept, spare


def _binding(bounds: FlowBounds, count: CountArray) -> FlowBounds:
    """Keep of each client the bounds that limit it, by groups or by slots."""
    inside, claimed = _inside_and_claimed(bounds, count)
    by_slots = bounds.client_high - claimed < inside
    by_group = ~by_slots[:, None] & (bounds.group_high < count)
    return replace(
        bounds, client_high=np.where(by_slots, bounds.client_high, bounds.client_size),
        group_low=np.where(by_slots[:, None] & (count < bounds.group_low), bounds.group_low, 0),
        group_high=np.where(by_group, bounds.group_high, bounds.group_size),
    )


def _inside_and_claimed(bounds: FlowBounds, count: CountArray) -> tuple[CountArray, CountArray]:
    """Return what the groups of each client let it hold of a set, and claim outside the set."""
    inside, outside = np.minimum(count, bounds.group_high), np.maximum(0, bounds.group_low - count)
    # Sums over short rows: `sum` takes three times as long.
    return np.einsum("ig->i", inside), np.einsum("ig->i", outside)


def _thin_groups(bounds: FlowBounds, count: CountArray, spare: int) -> int:
    """Leave out single bounds on groups, those that gain least first; change in place."""
    by_groups = (bounds.group_high < bounds.group_size).sum(axis=1) > 1
    by_slots = (bounds.group_low > 0).any(axis=1)
    rows = np.flatnonzero(by_groups | by_slots)
    gains = _group_gains(bounds, count, rows)
    while spare > 0 and gains.size:
        at, g = np.unravel_index(int(np.argmin(gains)), gains.shape)
        if gains[at, g] > spare:
            break
        spare -= int(gains[at, g])
        row = rows[at : at + 1]
        bounds.group_low[row, g] = 0
        bounds.group_high[row, g] = bounds.group_size[row, g]
        gains[at] = _group_gains(bounds, count, row)[0]
    return spare


def _group_gains(bounds: FlowBounds, count: CountArray, rows: IntArray) -> IntArray:
    """Return what some clients gain by each bound on a group; the maximum where there is none."""
    part, count = bounds.of_clients(rows), count[rows]
    before = supplies(part, count)
    gains = np.full(count.shape, np.iinfo(np.int64).max)
    for g in range(count.shape[1]):
        low, high = part.group_low.copy(), part.group_high.copy()
        low[:, g], high[:, g] = 0, part.group_size[:, g]
        used = ((low != part.group_low) | (high != part.group_high))[:, g]
        after = supplies(replace(part, group_low=low, group_high=high), count)
        gains[used, g] = (after - before)[used]
    return gains
