"""Bounds of clients that a shortage does not need, by hand."""

import numpy as np
import pytest

from alignsolve.infeasibility.hall_thinning import supplies, thinned_clients
from alignsolve.infeasibility.max_flow import FlowBounds


def bounds(client_high, group_high, group_low=None, size=2):
    group_high = np.array(group_high, dtype=np.int32)
    n, groups = group_high.shape
    low = np.zeros_like(group_high) if group_low is None else np.array(group_low, np.int32)
    m = size * groups
    return FlowBounds(
        np.zeros(n, np.int64), np.array(client_high), low, group_high, np.zeros(m, np.int64),
        np.full(m, n), np.full((n, groups), size, np.int32), np.full(m, n))


def thinned(of, spare):
    count = of.group_size.copy()  # the set is of all experts
    kept, left = thinned_clients(of, count, spare)
    assert int((supplies(kept, count) - supplies(of, count)).sum()) == spare - left
    return kept.client_high.tolist(), kept.group_high.tolist(), kept.group_low.tolist(), left


@pytest.mark.parametrize(("spare", "expected"), [
    (0, ([4], [[1, 0]], [[0, 0]], 0)),
    # The first group's bound is worth one holder, the second's two, the client's three.
    (1, ([4], [[2, 0]], [[0, 0]], 0)), (2, ([4], [[2, 0]], [[0, 0]], 1)),
    (3, ([4], [[2, 2]], [[0, 0]], 0)),
])
def test_groups_bounds_go_one_by_one(spare, expected):
    assert thinned(bounds([4], [[1, 0]]), spare) == expected


def test_of_three_groups_those_go_that_gain_least():
    assert thinned(bounds([6], [[0, 1, 0]]), 3) == ([6], [[0, 2, 2]], [[0, 0, 0]], 0) or thinned(
        bounds([6], [[0, 1, 0]]), 3) == ([6], [[2, 2, 0]], [[0, 0, 0]], 0)


def test_whole_clients_go_first_and_the_last_among_equals():
    one_group = bounds([1, 1, 0], [[2], [2], [2]])
    assert thinned(one_group, 1) == ([1, 2, 0], [[2]] * 3, [[0]] * 3, 0)
    assert thinned(one_group, 2) == ([2, 2, 0], [[2]] * 3, [[0]] * 3, 0)
    assert thinned(one_group, 3) == ([2, 2, 0], [[2]] * 3, [[0]] * 3, 1)
    assert thinned(one_group, 4) == ([2, 2, 2], [[2]] * 3, [[0]] * 3, 0)


def test_minima_that_claim_slots_outside_the_set():
    # Of three slots the second group's minimum claims two, whose experts are not in the set.
    of, count = bounds([3], [[2, 2]], [[0, 2]]), np.array([[2, 0]], np.int32)
    assert supplies(of, count).tolist() == [1]
    kept, left = thinned_clients(of, count, 0)
    assert (kept.client_high.tolist(), kept.group_low.tolist(), left) == ([3], [[0, 2]], 0)
    kept, left = thinned_clients(of, count, 1)
    assert (kept.client_high.tolist(), kept.group_low.tolist(), left) == ([4], [[0, 0]], 0)
