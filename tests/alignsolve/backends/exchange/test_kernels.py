"""Each kernel against its slow, obvious version."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from alignsolve.backends.exchange import bookkeeping as steps
from alignsolve.backends.exchange import heaps, newton_kernels, row_values, swaps
from alignsolve.backends.exchange import row_kernels as rows
from alignsolve.backends.exchange.inputs import Matrix, Switch, matrix_of
from alignsolve.backends.exchange.responses import response_kernel
from tests.alignsolve.backends.exchange.reference import (
    best_set,
    swap_losses,
    swap_rates,
    values_of,
    wanted_load,
)

EMPTY = np.empty(0, np.int64)


def read(fitness, least, most):
    """Return the matrix, and what bounds clients, as kernels take them."""
    matrix = matrix_of(fitness, least, most)
    return matrix.read, matrix.limits(EMPTY)


@st.composite
def clients(draw):
    """Draw fitness, slots, prices with a null price, and an answer's arrays."""
    n, m = draw(st.integers(1, 12)), draw(st.integers(1, 9))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    fitness = rng.integers(-4, 9, (n, m)).astype(np.float64)
    if draw(st.booleans()):
        fitness += rng.random((n, m))
    fitness[rng.random((n, m)) < 0.2] = -np.inf
    most = np.minimum(rng.integers(0, draw(st.integers(2, 5)), n), m)
    least = np.minimum(rng.integers(0, 3, n), most)
    price = np.append(rng.integers(-2, 5, m).astype(np.float64), 0.0)
    if m > 2 and draw(st.booleans()):
        price[0] = np.inf
    return fitness, least, most, price


def respond(fitness, least, most, price, keep=False, held=None, count=None):
    """Respond by the kernel for so many slots; return what it writes."""
    n, m = fitness.shape
    ptr = np.concatenate([[0], np.cumsum(most)]).astype(np.int64)
    held = np.zeros(ptr[-1], np.int32) if held is None else held
    count = np.zeros(n, np.int32) if count is None else count
    slack, runner_up = np.empty(n, np.float32), np.empty(n, np.int32)
    load = np.zeros(m + 1, np.int64)
    widest = int(most.max(initial=0))
    bad = response_kernel(widest, grouped=False)(
        *read(fitness, least, most), EMPTY, 0, n, widest, price, np.full(m, 0.3), keep,
        (ptr, held, count), slack, runner_up, load,
    )  # fmt: skip
    sets = [set(held[ptr[k] : ptr[k] + count[k]].tolist()) for k in range(n)]
    return bad, sets, (ptr, held, count), slack, runner_up, load


class TestResponses:
    @settings(max_examples=400)
    @given(drawn=clients())
    def test_best_replies_and_slack(self, drawn):
        fitness, least, most, price = drawn
        m = fitness.shape[1]
        bad, sets, _, slack, runner_up, load = respond(*drawn)
        reduced = np.where(price[:m] < np.inf, fitness - price[:m], -np.inf)
        hopeless = np.isfinite(reduced).sum(axis=1) < least
        assert (bad >= 0) == hopeless.any()
        for k in np.flatnonzero(~hopeless):
            best = best_set(reduced[k], least[k], most[k])
            mine = sorted(sets[k])
            assert least[k] <= len(mine) <= most[k]
            np.testing.assert_allclose(reduced[k, mine].sum(), reduced[k, list(best)].sum())
            losses = swap_losses(reduced[k], mine, least[k], most[k])
            expected = min(losses.values(), default=np.inf)
            assert slack[k] <= expected + 1e-15
            if expected == np.inf:
                assert slack[k] == np.inf
            else:
                np.testing.assert_allclose(slack[k], expected, rtol=1e-5, atol=1e-12)
            if runner_up[k] <= m and expected > 0:
                if runner_up[k] < 0:
                    np.testing.assert_allclose(losses[m, -1 - runner_up[k]], expected)
                else:
                    to_rival = [loss for (_, u), loss in losses.items() if u == runner_up[k]]
                    assert min(abs(loss - expected) for loss in to_rival) < 1e-9
        if not hopeless.any():
            held_by = np.bincount([j for s in sets for j in s], minlength=m)
            assert (load[:m] == held_by).all()

    @given(drawn=clients())
    def test_slack_of_a_given_answer(self, drawn):
        fitness, least, most, price = drawn
        bad, _, answer, slack, _, _ = respond(*drawn)
        if bad >= 0:
            return
        again = np.empty_like(slack)
        rows.slack_rows(*read(fitness, least, most), 0, len(fitness), price, answer, again)
        np.testing.assert_allclose(again, slack, rtol=1e-5, atol=1e-12)

    @given(seed=st.integers(0, 9999), m=st.integers(2, 70), kind=st.sampled_from("fd"))
    def test_values_that_differ_in_their_last_bits(self, seed, m, kind):
        rng = np.random.default_rng(seed)
        eps = np.finfo(np.dtype(kind)).eps
        fitness = (rng.choice([-1, 1, 3]) * (1 + eps * rng.integers(0, 40, (30, m)))).astype(kind)
        ones = np.ones(30, np.int64)
        _, sets, _, slack, runner_up, _ = respond(fitness, ones, ones, np.zeros(m + 1))
        for values, chosen, least, other in zip(fitness, sets, slack, runner_up, strict=True):
            (pick,) = chosen
            best, second = np.sort(values)[:-3:-1].astype(float)
            assert values[pick] >= best - 2 * rows.TIE * abs(best)
            assert least <= best - second
            if best - second > 2 * rows.TIE * abs(best):
                assert values[pick] == best
                np.testing.assert_allclose(values[other], second, rtol=2e-14)
                np.testing.assert_allclose(least, best - second, rtol=1e-5, atol=2e-14)

    @given(seed=st.integers(0, 9999), m=st.integers(2, 40), at=st.sampled_from([0.0, 1.0, -1.0]))
    def test_several_slots_among_near_ties_hold_different_experts(self, seed, m, at):
        rng = np.random.default_rng(seed)
        n, most = 40, min(4, m)
        fitness = at + rng.integers(0, 30, (n, m)) * (2.0**-52 if at else 0.0)
        slots = np.full(n, most)
        held = np.concatenate([rng.permutation(m)[:most] for _ in range(n)]).astype(np.int32)
        for keep in (False, True):
            count = slots.astype(np.int32)
            before = held.copy(), count
            bad, sets, *_ = respond(fitness, slots, slots, np.zeros(m + 1), keep, *before)
            assert bad < 0
            for values, mine in zip(fitness, sets, strict=True):
                assert len(mine) == most
                edge = np.sort(values)[-most]
                assert values[list(mine)].min() >= edge - 2 * rows.TIE * abs(edge)

    def test_ties_at_zero_follow_the_wanted_shares(self):
        twos = np.full(500, 2)
        *_, load = respond(np.zeros((500, 4)), twos, twos, np.zeros(5))
        assert load[:4].max() - load[:4].min() <= 2

    def test_ties_follow_the_wanted_shares(self):
        fitness = np.zeros((1000, 4))
        ones = np.ones(1000, np.int64)
        *_, load = respond(fitness, ones, ones, np.zeros(5))
        assert load[:4].max() - load[:4].min() <= 1

    def test_ties_keep_what_is_held(self):
        ones = np.ones(50, np.int64)
        held = np.arange(50, dtype=np.int32) % 4
        before = held.copy()
        respond(np.zeros((50, 4)), ones, ones, np.zeros(5), True, held, ones.astype(np.int32))
        assert (held == before).all()

    @given(drawn=clients(), seed=st.integers(0, 999))
    def test_values_with_switching_costs(self, drawn, seed):
        fitness = drawn[0]
        n, m = fitness.shape
        rng = np.random.default_rng(seed)
        held = rng.random((n, m)) < 0.3
        indptr = np.concatenate([[0], np.cumsum(held.sum(axis=1))])
        indices = np.nonzero(held)[1]
        cost = rng.random((n, m))
        expected = values_of(fitness, (cost, indptr, indices))
        matrix = Matrix(fitness, *drawn[1:3], Switch(cost.reshape(-1), m, 1, indptr, indices))
        out = np.empty(m)
        for i in range(n):
            row_values.read_values(matrix.read, i, out)
            assert (out == expected[i]).all()


def filled(drawn, width, cap=99):
    """Return an answer, what heaps hold up to at first, and the heaps; None where there is none."""
    fitness, least, most, price = drawn
    bad, _, answer, slack, *_ = respond(*drawn)
    if bad >= 0:
        return None
    known = np.where(price < np.inf, price, 0.0)
    sentinel = width + np.subtract.outer(known, known)
    nodes = fitness.shape[1] + 1
    lists = {
        "head": np.full((nodes, nodes), -1, np.int32),
        "top": np.full((nodes, nodes), np.inf),
        "arc": sentinel.copy(),
        "sentinel": sentinel.copy(),
        "pool": np.empty(4000, heaps.ENTRY),
        "meta": np.array([0, -1, 0, 0, 0]),
    }  # fmt: skip
    heaps.list_clients(
        *read(fitness, least, most), np.arange(len(fitness)), 0, price,
        ~np.eye(nodes, dtype=bool), np.full((nodes, nodes), cap),
        np.zeros((nodes, nodes), np.int64), answer, tuple(lists.values()),
    )  # fmt: skip
    return answer, slack, sentinel, lists


def swaps_of(drawn, answer, sentinel):
    """Return the clients that could make each swap, and their losses up to the sentinel."""
    fitness, least, most, price = drawn
    found, (ptr, held, count) = {}, answer
    for k in range(len(fitness)):
        values = np.where(price[:-1] < np.inf, fitness[k], -np.inf)
        mine = sorted(held[ptr[k] : ptr[k] + count[k]].tolist())
        for swap, loss in swap_losses(values, mine, least[k], most[k]).items():
            if loss <= sentinel[swap]:
                found.setdefault(swap, []).append((loss, k))
    return found


def entries_of(lists, nodes):
    """Empty the heaps; return their entries in order."""
    found = {}
    for h, u in np.ndindex(nodes, nodes):
        x = lists["head"][h, u]
        while x >= 0:
            found.setdefault((h, u), []).append(tuple(lists["pool"][x].tolist()[:2]))
            x = heaps.without_root(x, lists["pool"])
    return found


class TestLists:
    @settings(max_examples=200)
    @given(drawn=clients(), width=st.floats(0, 8), cap=st.sampled_from([1, 2, 99]))
    def test_heaps_hold_every_swap_up_to_the_sentinel(self, drawn, width, cap):
        made = filled(drawn, width, cap)
        if made is None:
            return
        answer, _, sentinel, lists = made
        expected = swaps_of(drawn, answer, sentinel)
        found = entries_of(lists, drawn[0].shape[1] + 1)
        assert found.keys() == expected.keys()
        for swap, entries in expected.items():
            listed = found[swap]
            assert set(listed) <= set(entries)
            assert len(listed) == min(cap, len(entries))
            # Who was turned away loses no less than the heap says that anybody not listed does.
            left_out = set(entries) - set(listed)
            assert all(loss >= lists["sentinel"][swap] for loss, _ in left_out)
            keys = [key for key, _ in listed]
            assert keys == sorted(keys)
            assert lists["top"][swap] == keys[0]
            assert lists["arc"][swap] == min(keys[0], lists["sentinel"][swap])

    @settings(max_examples=100)
    @given(drawn=clients(), width=st.floats(0, 8), seed=st.integers(0, 99))
    def test_heaps_hold_every_swap_after_some_were_made(self, drawn, width, seed):
        made = filled(drawn, width)
        if made is None:
            return
        (fitness, least, most, price), (answer, slack, sentinel, lists) = drawn, made
        nodes, rng = fitness.shape[1] + 1, np.random.default_rng(seed)
        for _ in range(3):
            possible = np.argwhere(lists["head"] >= 0)
            if not len(possible):
                return
            h, u = rng.choice(possible)
            swaps.swap(h, u, *read(fitness, least, most), price, answer, slack, np.empty(nodes),
                       np.zeros(nodes, bool), tuple(lists.values()))
            tops = lists["top"].copy()
            expected = swaps_of(drawn, answer, sentinel)
            for swap in np.ndindex(nodes, nodes):
                assert tops[swap] == min(expected.get(swap, [(np.inf, -1)]))[0]
        found = entries_of(lists, nodes)
        for swap, entries in expected.items():
            # Some are listed twice, or no longer apply, and are passed over at the top.
            assert set(entries) <= set(found[swap])

    @given(drawn=clients())
    def test_which_swaps_exist_at_all(self, drawn):
        fitness, least, most, price = drawn
        n, m = fitness.shape
        bad, sets, answer, *_ = respond(*drawn)
        if bad >= 0:
            return
        exists = np.zeros((m + 1, m + 1), np.bool_)
        heaps.swap_exists(*read(fitness, least, most), 0, n, price, answer, exists)
        expected = np.zeros_like(exists)
        for k, mine in enumerate(sets):
            values = np.where(price[:m] < np.inf, fitness[k], -np.inf)
            for swap in swap_losses(values, sorted(mine), least[k], most[k]):
                expected[swap] = True
        assert (exists == expected).all()


class TestSmallKernels:
    def test_slack_stays_a_lower_bound_however_small_the_drops_are(self):
        slack = np.array([1.0, 100.0, 16777216.0, np.inf], np.float32)
        exact, near = slack.astype(float), np.empty(4, np.int64)
        for drop in np.float32([2e-8, 1e-6, 0.4] * 10):
            assert steps.lower_slack(slack, np.float32(50), drop, near) == 1
            exact -= float(drop)
            assert (slack <= np.maximum(exact, 0.0)).all()  # no slack is negative
        np.testing.assert_allclose(slack, exact, rtol=1e-5)

    @given(seed=st.integers(0, 9999), m=st.integers(1, 6))
    def test_wanted_loads(self, seed, m):
        rng = np.random.default_rng(seed)
        price = np.append(rng.integers(-4, 5, m) / 2, 0.0)
        low = rng.integers(0, 5, m)
        high = low + rng.integers(0, 6, m)
        load = rng.integers(0, 12, m)
        weight = rng.integers(0, 3, m) / 4
        goal = rng.integers(0, 12, m) / 2
        best = np.empty(m, np.int64)
        steps.wanted_loads(price, load, (low, high, weight, goal), best)
        experts = zip(price[:-1], load, low, high, weight, goal, strict=True)
        assert best.tolist() == [wanted_load(*expert) for expert in experts]

    @given(seed=st.integers(0, 9999), m=st.integers(1, 6), crowd=st.integers(1, 6))
    def test_swap_rates(self, seed, m, crowd):
        rng = np.random.default_rng(seed)
        size, limit = 24, 0.5
        holdings = [rng.permutation(m)[: rng.integers(0, m + 1)] for _ in range(size)]
        ptr = np.arange(size + 1) * m
        held = np.zeros(ptr[-1], np.int32)
        for k, experts in enumerate(holdings):
            held[ptr[k] : ptr[k] + len(experts)] = experts
        count = np.array([len(experts) for experts in holdings], np.int32)
        runner_up = rng.integers(-1 - m, m + 2, size).astype(np.int32)
        slack = (rng.random(size) * limit).astype(np.float32)
        chosen = np.flatnonzero(rng.random(size) < 0.8)
        rate, far = np.zeros((m + 1, m + 1)), np.zeros((m + 1, m + 1))
        newton_kernels.near_swaps(chosen, slack, runner_up, (ptr, held, count), rate, far)
        newton_kernels.settle_rates(rate, far, limit, crowd)
        expected = swap_rates(chosen, slack, runner_up, holdings, m + 1, limit, crowd)
        np.testing.assert_allclose(rate, expected, rtol=1e-6)

    @given(seed=st.integers(0, 9999), m=st.integers(1, 12))
    def test_damped_laplacian(self, seed, m):
        rng = np.random.default_rng(seed)
        rate = rng.random((m + 1, m + 1)) * (rng.random((m + 1, m + 1)) < 0.5)
        rate = np.triu(rate, 1)
        rate += rate.T
        extra, right = rng.random(m) + 0.1, rng.normal(size=m)
        free = rng.random(m) < 0.7
        step = np.where(free, 0.0, rng.normal(size=m))
        fixed = step.copy()
        newton_kernels.solve_damped(rate, extra, right, free, step, 1e-12, 200)
        full = np.diag(rate.sum(axis=1)[:m] + extra) - rate[:m, :m]
        np.testing.assert_allclose((full @ step)[free], right[free], atol=1e-7)
        assert (step[~free] == fixed[~free]).all()

    @given(seed=st.integers(0, 9999), size=st.integers(0, 30))
    def test_lower_slack(self, seed, size):
        rng = np.random.default_rng(seed)
        slack = rng.random(size, dtype=np.float32)
        slack[rng.random(size) < 0.2] = np.inf
        limit = np.float32(rng.choice([0.5, np.inf]))
        after, near = slack.copy(), np.empty(size, np.int64)
        found = steps.lower_slack(after, limit, np.float32(0.25), near)
        expected = [k for k in range(size) if slack[k] <= limit and np.isfinite(slack[k])]
        assert near[:found].tolist() == expected
        finite = np.isfinite(slack)
        below = slack.astype(np.float64) - 0.25
        np.testing.assert_allclose(after[finite], below[finite], rtol=1e-6, atol=1e-6)
        assert (after[finite] <= np.maximum(below, 0)[finite]).all()
        assert np.isinf(after[~finite]).all()

    @given(counts=st.lists(st.integers(0, 4), min_size=1, max_size=20), seed=st.integers(0, 99))
    def test_pairs_come_out_sorted(self, counts, seed):
        rng = np.random.default_rng(seed)
        sets = [rng.permutation(6)[:c] for c in counts]
        ptr = np.arange(len(counts) + 1) * 4
        held = np.zeros(ptr[-1], np.int32)
        for k, chosen in enumerate(sets):
            held[ptr[k] : ptr[k] + len(chosen)] = chosen
        total = sum(counts)
        row_ind, col_ind = np.empty(total, np.int64), np.empty(total, np.int64)
        steps.write_pairs((ptr, held, np.array(counts, np.int32)), row_ind, col_ind)
        expected = [(k, j) for k, chosen in enumerate(sets) for j in sorted(chosen)]
        assert list(zip(row_ind.tolist(), col_ind.tolist(), strict=True)) == expected
        again, filled = np.zeros_like(held), np.zeros(len(counts), np.int32)
        short = np.arange(len(counts) + 1) * 2
        steps.read_pairs(row_ind, col_ind, (short, again, filled))
        assert filled.tolist() == [min(2, c) for c in counts]
        for k, chosen in enumerate(sets):
            assert again[2 * k : 2 * k + filled[k]].tolist() == sorted(chosen)[:2]
