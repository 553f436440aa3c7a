"""Compiled responses of clients to prices of violation: which sets violate least, given prices.

A client picks from its allowed experts. A pick is worth the expert's price, and
the price of a violation that it repairs: of the client's minimum, or of the
group's. Picks come in falling order, so that a threshold per client and one per
group tell which pairs every best set has, which none has, and which are tied.

Shapes: ``state`` (n, m) uint8; ``price`` (m,), ``client_*`` (n,) int64;
``group_*`` (n, G), int32 for counts and int64 for prices. Prices are whole
numbers, so that ties are exact.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

#: Entries of a state matrix: never held by a best set, tied, always held.
NEVER, TIED, ALWAYS = 0, 1, 2


@njit(cache=True)
def _threshold(gain: Any, low: int, high: int, reward: int) -> int:
    """Return a price of one more pick at which taking between `low` and `high` is best.

    ``gain`` falls; each of the first `low` picks earns `reward` besides.
    """
    if high == 0:
        return max(0, gain[0]) if gain.size else 0
    if low > 0 and gain[low - 1] <= -reward:
        return -reward
    if gain[high - 1] >= 0:
        return int(gain[high - 1])
    if low > 0 and gain[low - 1] < 0:
        return int(gain[low - 1])
    return 0


@njit(cache=True)
def _choice(gain: Any, low: int, high: int, reward: int) -> Any:
    """Return a threshold, and the fewest and most picks of the best sets at it."""
    high = min(high, gain.size)
    low = min(low, high)
    threshold = _threshold(gain, low, high, reward)
    if threshold > 0:
        return threshold, high, high
    if threshold == 0:
        return threshold, low, high
    if threshold > -reward:
        return threshold, low, low
    return threshold, 0, low


@njit(cache=True)
def _gains(
    allowed: Any, group: Any, order: Any, price: Any, group_low: Any, group_high: Any,
    group_reward: Any, most: int,
) -> Any:
    """Return what a client's picks earn, the groups' minima included, in falling order.

    Later ones than the first `most` may be left out.
    """
    gain = np.empty(order.size, np.int64)
    taken = np.zeros(group_low.size, np.int64)
    size, sort = 0, False
    enough = order.size if group_low.any() else max(1, most)
    for j in order:
        if size == enough:
            break
        g = group[j]
        if allowed[j] == NEVER or taken[g] >= group_high[g]:
            continue
        repairs = taken[g] < group_low[g]
        gain[size] = price[j] + (group_reward[g] if repairs else 0)
        sort |= repairs
        taken[g] += 1
        size += 1
    gain = gain[:size]
    if sort:
        gain = np.sort(gain)[::-1].copy()
    return gain


@njit(cache=True)
def _group_threshold(
    allowed: Any, group: Any, order: Any, price: Any, g: int, paid: int, low: int, high: int,
    reward: int,
) -> Any:
    """Return a group's threshold beyond the client's, and the counts of best sets."""
    if low == 0 and high >= order.size:
        return 0, low, high
    gain = np.empty(order.size, np.int64)
    size = 0
    for j in order:
        if allowed[j] != NEVER and group[j] == g:
            gain[size] = price[j] - paid
            size += 1
    return _choice(gain[:size], low, high, reward)


@njit(cache=True, nogil=True)
def best_responses(
    allowed: Any, group: Any, price: Any, client_low: Any, client_high: Any, client_reward: Any,
    group_low: Any, group_high: Any, group_reward: Any,
    state: Any, client_range: Any, group_range: Any,
) -> None:
    """Describe every client's best sets at some prices.

    Parameters
    ----------
    allowed : uint8 array, shape (n, m)
        0 for forbidden pairs.
    group : int64 array, shape (m,)
        Group of each expert.
    price : int64 array, shape (m,)
        What a holder of each expert is worth.
    client_low, client_high, client_reward : int64 array, shape (n,)
        Fewest experts, most experts, and the price of one missing.
    group_low, group_high, group_reward : array, shape (n, G)
        The same of each group.
    state : uint8 array, shape (n, m)
        Set to NEVER, TIED or ALWAYS.
    client_range : int64 array, shape (2, n)
        Set to the fewest and most experts of the best sets.
    group_range : int32 array, shape (2, n, G)
        The same of each group.

    Notes
    -----
    The best sets are exactly those that hold every ALWAYS pair, no NEVER pair,
    and keep all ranges: complementary slackness. Time O(n m G).
    """
    order = np.argsort(-price)
    n_groups = group_low.shape[1]
    limit = np.empty(n_groups, np.int64)
    for i in range(allowed.shape[0]):
        gain = _gains(
            allowed[i], group, order, price, group_low[i], group_high[i], group_reward[i],
            client_high[i],
        )
        paid, client_range[0, i], client_range[1, i] = _choice(
            gain, client_low[i], client_high[i], client_reward[i]
        )
        for g in range(n_groups):
            more, group_range[0, i, g], group_range[1, i, g] = _group_threshold(
                allowed[i], group, order, price, g, paid, group_low[i, g], group_high[i, g],
                group_reward[i, g],
            )
            limit[g] = paid + more
        for j in range(price.size):
            bar = limit[group[j]]
            if allowed[i, j] == NEVER or price[j] < bar:
                state[i, j] = NEVER
            else:
                state[i, j] = TIED if price[j] == bar else ALWAYS


@njit(cache=True, nogil=True)
def response_worth(
    allowed: Any, group: Any, price: Any, client_low: Any, client_high: Any, client_reward: Any,
    group_low: Any, group_high: Any, group_reward: Any,
) -> int:
    """Return what the clients' best sets are worth together; parameters as `best_responses`."""
    order = np.argsort(-price)
    worth = 0
    for i in range(allowed.shape[0]):
        gain = _gains(
            allowed[i], group, order, price, group_low[i], group_high[i], group_reward[i],
            client_high[i],
        )
        for k in range(min(client_high[i], gain.size)):
            earned = gain[k] + (client_reward[i] if k < client_low[i] else 0)
            if earned <= 0:
                break
            worth += earned
    return worth
