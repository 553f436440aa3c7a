"""Compiled counts of what clients can hold of a set of experts.

Within its own bounds client i can hold at most ::

    min( sum_g min(a_g, high_g),  high - sum_g max(0, low_g - a_g) )

experts of a set S, where a_g counts the allowed experts of S in group g: either
the groups' upper bounds limit it, or its slots, less what the groups' lower
bounds claim outside S.
"""

# Compiled functions are typed by numba, from their arguments.
# mypy: disallow-untyped-decorators=False

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit


@njit(cache=True)
def count_within(state: Any, group: Any, within: Any, count: Any) -> None:
    """Set `count`, int32 (n, G), to each client's allowed experts of a set, by group."""
    for i in range(state.shape[0]):
        count[i] = 0
        for j in range(state.shape[1]):
            if within[j] and state[i, j] > 0:
                count[i, group[j]] += 1


@njit(cache=True)
def _most(count: Any, i: int, client_high: Any, group_low: Any, group_high: Any) -> int:
    """Return how many experts of the counted set client i can hold."""
    inside, outside = 0, 0
    for g in range(count.shape[1]):
        inside += min(count[i, g], group_high[i, g])
        outside += max(0, group_low[i, g] - count[i, g])
    return int(min(inside, client_high[i] - outside))


@njit(cache=True)
def single_supply(
    state: Any, group: Any, client_high: Any, group_low: Any, group_high: Any
) -> Any:
    """Return for each expert how many clients can hold it, int64 (m,)."""
    supply = np.zeros(state.shape[1], np.int64)
    for i in range(state.shape[0]):
        claimed = 0
        for g in range(group_low.shape[1]):
            claimed += group_low[i, g]
        for j in range(state.shape[1]):
            g = group[j]
            # Holding j itself counts towards the minimum of its group.
            others = claimed - min(group_low[i, g], 1)
            if state[i, j] > 0 and group_high[i, g] > 0 and client_high[i] > others:
                supply[j] += 1
    return supply


@njit(cache=True)
def supply_without(
    column: Any, g: int, count: Any, client_high: Any, group_low: Any, group_high: Any
) -> int:
    """Return by how much the supply shrinks when an expert of group g leaves the set.

    Parameters
    ----------
    column : uint8 array, shape (n,)
        Positive for the clients that may hold the expert.
    g : int
        Group of the expert.
    count : int32 array, shape (n, G)
        Counts of the set; those without the expert on return.
    """
    lost = 0
    for i in range(count.shape[0]):
        if column[i] > 0:
            before = _most(count, i, client_high, group_low, group_high)
            count[i, g] -= 1
            lost += before - _most(count, i, client_high, group_low, group_high)
    return lost


@njit(cache=True)
def put_back(column: Any, g: int, count: Any) -> None:
    """Count an expert of group g again."""
    for i in range(count.shape[0]):
        if column[i] > 0:
            count[i, g] += 1
