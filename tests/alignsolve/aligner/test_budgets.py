"""Budgets that other budgets imply are left out, and no others."""

import itertools

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

import alignsolve as al
from alignsolve.aligner.budgets import fold_budget, without_implied
from alignsolve.model.problem import tolerance

NUMBERS = st.sampled_from([0.0, 0.5, 1.0, 1.5, 2.0, 3.0])


@settings(max_examples=80)
@given(st.data())
def test_the_same_sets_keep_what_is_left(data):
    n, m = data.draw(st.integers(1, 3)), data.draw(st.integers(1, 4))

    def table(count):
        return np.array(data.draw(st.lists(NUMBERS, min_size=count, max_size=count)))
    resources = {
        name: al.Resource(
            table(n * m).reshape(n, m), np.where(table(n) == 3, np.inf, 2 * table(n))
        ) for name in data.draw(st.sampled_from(["ab", "abc"]))
    }  # fmt: skip
    allowed = table(n * m).reshape(n, m) < 3
    kept = without_implied(resources, allowed)

    def fits(parts, i, held):
        return all(
            np.broadcast_to(part.size, (n, m))[i][held].sum()
            <= part.budget[i] + tolerance(part.budget[i]) for part in parts.values()
        )  # fmt: skip

    for i in range(n):
        for size in range(m + 1):
            for chosen in itertools.combinations(np.flatnonzero(allowed[i]), size):
                held = np.array(chosen, dtype=int)
                assert fits(resources, i, held) == fits(kept, i, held)


def test_memory_that_takes_no_larger_share_goes():
    size = np.array([4.0, 6.0])
    resources = {
        "memory_mb": al.Resource(4 * size, np.array([40.0, 20.0])),
        "down_mb": al.Resource(size, np.full(2, 8.0)),
    }
    kept = without_implied(resources, np.ones((2, 2), dtype=bool))
    assert kept["memory_mb"].budget.tolist() == [np.inf, 20]
    assert kept["down_mb"].budget.tolist() == [8, np.inf]


def test_slots_allow_what_a_budget_allows_within_its_tolerance():
    assert 3 * 0.1 > 0.3
    slots, likely, left = fold_budget(np.full((1, 3), 0.1), np.array([0.3]), np.array([3]),
                                      np.ones((1, 3), dtype=bool))
    assert (slots.tolist(), likely.tolist(), left) == ([3], [3], None)
