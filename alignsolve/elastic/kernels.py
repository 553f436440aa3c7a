"""Compiled responses of clients to prices of violation: which sets violate least, given prices.

A client picks from its allowed experts. A pick is worth the expert's price, and
the price of a violation that it repairs: of the client's minimum, or of the
group's. Picks come in falling order, so that a threshold per client and one per
group tell which pairs every best set has, which none has, and which are tied.

Prices are whole numbers, so that ties are exact.
"""

from __future__ import annotations

from collections import namedtuple
from typing import Any

import numpy as np

from alignsolve.kernels import kernel
from alignsolve.kernels.values import holds_any

#: Entries of a state matrix: never held by a best set, tied, always held.
NEVER, TIED, ALWAYS = 0, 1, 2

#: What clients may hold. allowed (n, m) uint8, 0 for forbidden pairs; group (m,), of each expert;
#: low, high and reward (n,): fewest and most experts, and the price of one missing; the same of
#: each group, (n, G), in group_low, group_high and group_reward. Prices are int64.
Clients = namedtuple("Clients", "allowed group low high reward group_low group_high group_reward")


@kernel
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


@kernel
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


@kernel
def _gains(clients: Any, i: int, order: Any, price: Any) -> Any:
    """Return what a client's picks earn, the groups' minima included, in falling order.

    Picks beyond the client's maximum may be left out.
    """
    low, high = clients.group_low[i], clients.group_high[i]
    gain = np.empty(order.size, np.int64)
    taken = np.zeros(low.size, np.int64)
    size = 0
    enough = order.size if holds_any(low) else max(1, clients.high[i])
    for j in order:
        if size == enough:
            break
        g = clients.group[j]
        if clients.allowed[i, j] == NEVER or taken[g] >= high[g]:
            continue
        repairs = taken[g] < low[g]
        earned = price[j] + (clients.group_reward[i, g] if repairs else 0)
        at = size
        while at > 0 and gain[at - 1] < earned:
            gain[at] = gain[at - 1]
            at -= 1
        gain[at] = earned
        taken[g] += 1
        size += 1
    return gain[:size]


@kernel
def _group_threshold(clients: Any, i: int, g: int, order: Any, price: Any, paid: int) -> Any:
    """Return a group's threshold beyond the client's, and the counts of best sets."""
    low, high = clients.group_low[i, g], clients.group_high[i, g]
    if low == 0 and high >= order.size:
        return 0, low, high
    gain = np.empty(order.size, np.int64)
    size = 0
    for j in order:
        if clients.allowed[i, j] != NEVER and clients.group[j] == g:
            gain[size] = price[j] - paid
            size += 1
    return _choice(gain[:size], low, high, clients.group_reward[i, g])


@kernel
def best_responses(
    clients: Any, price: Any, order: Any, state: Any, client_range: Any, group_range: Any
) -> None:
    """Describe every client's best sets at some prices.

    Parameters
    ----------
    clients
        See `Clients`.
    price : int64 array, shape (m,)
        What a holder of each expert is worth.
    order : int64 array, shape (m,)
        Experts by falling price.
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
    n, n_groups = clients.group_low.shape
    limit = np.empty(n_groups, np.int64)
    for i in range(n):
        gain = _gains(clients, i, order, price)
        paid, client_range[0, i], client_range[1, i] = _choice(
            gain, clients.low[i], clients.high[i], clients.reward[i]
        )
        for g in range(n_groups):
            more, group_range[0, i, g], group_range[1, i, g] = _group_threshold(
                clients, i, g, order, price, paid
            )
            limit[g] = paid + more
        for j in range(price.size):
            bar = limit[clients.group[j]]
            if clients.allowed[i, j] == NEVER or price[j] < bar:
                state[i, j] = NEVER
            else:
                state[i, j] = TIED if price[j] == bar else ALWAYS


@kernel
def response_worth(clients: Any, price: Any, order: Any) -> int:
    """Return what the clients' best sets are worth together; parameters as `best_responses`."""
    worth = 0
    for i in range(clients.low.size):
        gain = _gains(clients, i, order, price)
        for k in range(min(clients.high[i], gain.size)):
            earned = gain[k] + (clients.reward[i] if k < clients.low[i] else 0)
            if earned <= 0:
                break
            worth += earned
    return worth
