"""What clients do at prices of violation, against all of their sets."""

import itertools

import numpy as np
import pytest

from alignsolve.elastic.kernels import ALWAYS, NEVER, Clients, best_responses, response_worth


def drawn(seed):
    """Return one client of up to five experts in two groups, and prices with many ties."""
    rng = np.random.default_rng(seed)
    m, groups = int(rng.integers(1, 6)), 2
    group = rng.integers(0, groups, m)
    low = rng.integers(0, 3, 1)
    group_high = rng.integers(0, 4, (1, groups))
    group_low = np.minimum(rng.integers(0, 3, (1, groups)), group_high)
    clients = Clients(
        rng.integers(0, 4, (1, m)).clip(0, 1).astype(np.uint8), group, low,
        low + rng.integers(0, 3, 1), rng.integers(1, 4, 1), group_low.astype(np.int32),
        group_high.astype(np.int32), rng.integers(1, 4, (1, groups)))
    return clients, rng.integers(-4, 4, m)


def worths(clients, price):
    """Yield each set that the client may hold, with what it is worth."""
    allowed = np.flatnonzero(clients.allowed[0]).tolist()
    for size in range(min(len(allowed), int(clients.high[0])) + 1):
        for chosen in map(list, itertools.combinations(allowed, size)):
            count = np.bincount(clients.group[chosen], minlength=2)
            if (count <= clients.group_high[0]).all():
                in_groups = np.minimum(count, clients.group_low[0]) @ clients.group_reward[0]
                repaired = clients.reward[0] * min(size, clients.low[0]) + in_groups
                yield tuple(chosen), int(price[chosen].sum() + repaired)


@pytest.mark.parametrize("seeds", [range(start, start + 40) for start in range(0, 200, 40)])
def test_best_sets_by_enumeration(seeds):
    for seed in seeds:
        clients, price = drawn(seed)
        every = dict(worths(clients, price))
        most, order = max(every.values()), np.argsort(-price, kind="stable")
        assert response_worth(clients, price, order) == most
        m = price.size
        state = np.empty((1, m), np.uint8)
        client_range = np.empty((2, 1), np.int64)
        group_range = np.empty((2, 1, 2), np.int32)
        best_responses(clients, price, order, state, client_range, group_range)
        described = set()
        for chosen in every:
            held = np.zeros(m, bool)
            held[list(chosen)] = True
            count = np.bincount(clients.group[held], minlength=2)
            if (held[state[0] == ALWAYS].all() and not held[state[0] == NEVER].any()
                    and client_range[0, 0] <= held.sum() <= client_range[1, 0]
                    and (group_range[0, 0] <= count).all() and (count <= group_range[1, 0]).all()):
                described.add(chosen)
        assert described == {chosen for chosen, worth in every.items() if worth == most}
