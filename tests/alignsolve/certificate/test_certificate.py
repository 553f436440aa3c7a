"""Certificates: the verdict is right whatever the answer came from."""

from __future__ import annotations

import itertools
import sys
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import alignsolve as al
from alignsolve.backends import base
from alignsolve.certificate.best_responses import Multipliers, _largest, best_responses
from alignsolve.certificate.certificate import certify_answer
from alignsolve.certificate.duality_gap import client_sums, dual_gap
from alignsolve.certificate.exchange_graph import apply_steps, bellman_ford
from alignsolve.certificate.row_pass import all_regrets, must_compile, prove_all
from alignsolve.model.feasibility import Assignment, is_feasible
from alignsolve.model.pair_kernel import scan
from tests.strategies import any_problems, brute_force, flow_problems


def random_answer(
    problem: al.AlignmentProblem, data: st.DataObject
) -> tuple[np.ndarray, np.ndarray]:
    """Draw any set of allowed pairs."""
    allowed = np.argwhere(problem.fitness > -np.inf)
    chosen = data.draw(st.lists(st.booleans(), min_size=len(allowed), max_size=len(allowed)))
    return tuple(allowed[np.array(chosen, dtype=bool)].T)  # type: ignore[return-value]


@settings(max_examples=200)
@given(flow_problems(), st.data())
def test_verdict_on_any_feasible_answer(
    problem: al.AlignmentProblem, data: st.DataObject
) -> None:
    best, best_rows, best_cols = brute_force(problem)
    rows, cols = random_answer(problem, data)
    certificate = al.certify(problem, rows, cols)
    assert certificate.feasible == is_feasible(problem, rows, cols)
    if not certificate.feasible:
        assert certificate.violations
        assert not certificate.optimal
        return
    assert best is not None
    value = problem.objective(rows, cols)
    missed = problem.sign * (best - value)
    slack = 1e-9 * max(1.0, abs(best))
    assert problem.sign * (certificate.dual_bound - best) >= -slack
    if missed > 1e-6:
        assert not certificate.optimal
        assert certificate.improving_cycle is not None
        assert certificate.improving_cycle.gain <= missed + slack
        steps = certificate.improving_cycle.steps
        better = apply_steps(np.asarray(rows), np.asarray(cols), steps, problem.n_experts)
        assert is_feasible(problem, *better)
        gained = problem.sign * (problem.objective(*better) - value)
        assert gained == pytest.approx(certificate.improving_cycle.gain, abs=slack)
    elif missed <= 0:
        assert certificate.optimal, certificate
    assert al.certify(problem, best_rows, best_cols).optimal


@settings(max_examples=150)
@given(flow_problems(), st.data())
def test_every_price_vector_bounds_the_optimum(
    problem: al.AlignmentProblem, data: st.DataObject
) -> None:
    best, rows, cols = brute_force(problem)
    if best is None:
        return
    price = st.floats(-20, 20, allow_subnormal=False)
    prices = data.draw(st.lists(price, min_size=problem.n_experts, max_size=problem.n_experts))
    gap = dual_gap(problem, rows, cols, Multipliers(np.array(prices)))
    assert gap.gap_abs >= 0
    certificate = al.certify(problem, rows, cols, prices=prices)
    assert certificate.optimal
    assert problem.sign * (certificate.dual_bound - best) >= 0


@settings(max_examples=150)
@given(any_problems(), st.data())
def test_any_multipliers_bound_the_mip_class(
    problem: al.AlignmentProblem, data: st.DataObject
) -> None:
    best, rows, cols = brute_force(problem)
    if best is None or rows.size == 0:
        return
    seed = data.draw(st.integers(0, 2**16))
    rng = np.random.default_rng(seed)
    n, m = problem.fitness.shape
    floors = np.where(problem.client_fitness_min > -np.inf, rng.random(n), 0)
    budgets = {
        name: np.where(np.isfinite(np.asarray(resource.budget)), rng.random(n), 0)
        for name, resource in problem.resources.items()
    }
    multipliers = Multipliers(
        experts=rng.normal(size=m),
        loads={name: rng.normal(size=m) for name in problem.loads},
        budgets=budgets,
        fairness=floors,
    )
    # Any other feasible answer must lie below the bound derived from this one.
    gap = dual_gap(problem, rows, cols, multipliers).gap_abs
    assert gap >= -1e-9
    for keep in itertools.islice(itertools.product([False, True], repeat=rows.size), 64):
        other_rows, other_cols = rows[list(keep)], cols[list(keep)]
        if is_feasible(problem, other_rows, other_cols):
            certificate = al.certify(problem, other_rows, other_cols, prices=multipliers)
            assert problem.sign * (certificate.dual_bound - best) >= -1e-7


@given(flow_problems(), st.integers(0, 2**16))
def test_best_replies_by_enumeration(problem: al.AlignmentProblem, seed: int) -> None:
    n, m = problem.fitness.shape
    reduced = problem.values(slice(0, n)) - np.random.default_rng(seed).integers(-3, 4, m)
    chosen, possible = best_responses(problem, slice(0, n), reduced)
    low, high = problem.slot_bounds()
    for client in range(n):
        values = []
        for size in range(m + 1):
            for subset in itertools.combinations(range(m), size):
                columns = np.array(subset, dtype=int)
                if not low[client] <= size <= high[client]:
                    continue
                if problem.expert_group is not None:
                    counts = np.bincount(
                        problem.expert_group[columns], minlength=problem.n_groups
                    )
                    if (counts < problem.group_min[client]).any():
                        continue
                    if (counts > problem.group_max[client]).any():
                        continue
                if (reduced[client, columns] > -np.inf).all():
                    values.append(reduced[client, columns].sum())
        assert possible[client] == bool(values)
        if values:
            assert reduced[client, chosen[client]].sum() == pytest.approx(max(values), abs=1e-9)


def assigned(n: int, m: int, offset: float, dtype: type) -> al.AlignmentProblem:
    fitness = np.random.default_rng(7).random((n, m)).astype(dtype) + dtype(offset)
    return al.AlignmentProblem(fitness, 1, min_experts=1, load_max=-(-n // m))


@pytest.mark.parametrize("offset", [0.0, 1e6, -1e6])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_an_offset_hides_no_error(offset: float, dtype: type) -> None:
    problem = assigned(400, 5, offset, dtype)
    result = al.solve(problem, backend="scipy-lsa")
    assert result.status is al.Status.OPTIMAL
    spoiled = result.col_ind.copy()
    first = int(np.flatnonzero(spoiled != spoiled[0])[0])
    spoiled[[0, first]] = spoiled[[first, 0]]
    certificate = al.certify(problem, result.row_ind, spoiled)
    assert not certificate.optimal
    assert certificate.improving_cycle is not None
    lost = problem.pair_values(result.row_ind, result.col_ind) - problem.pair_values(
        result.row_ind, spoiled
    )
    assert certificate.gap_abs >= lost.sum() * (1 - 1e-6)


def test_integers_need_a_gap_of_exactly_zero() -> None:
    # Off by one in a sum of spreads of 1e10: within 1e-9 of it, and still wrong.
    fitness = np.zeros((4, 2))
    fitness[0] = [1e10, 0]
    fitness[1] = [1, 0]
    problem = al.AlignmentProblem(fitness, 1, min_experts=1, load_max=2)
    certificate = al.certify(problem, [0, 1, 2, 3], [0, 1, 0, 1])
    assert 0 < certificate.gap_abs <= 1e-9 * 1e10
    assert not certificate.optimal
    assert certificate.improving_cycle is not None
    assert certificate.improving_cycle.gain == 1


def test_improving_exchange_in_words() -> None:
    problem = al.AlignmentProblem(
        [[3, 1], [2, 2.5]], 1, load_max=1, client_ids=["ann", "bob"], expert_ids=["x", "y"]
    )
    cycle = al.certify(problem, [0, 1], [1, 0]).improving_cycle
    assert cycle is not None
    assert cycle.text == (
        "client 'ann' swaps expert 'y' for expert 'x'; client 'bob' swaps expert 'x' for "
        "expert 'y': 2.5 more fitness"
    ) or cycle.text == (
        "client 'bob' swaps expert 'x' for expert 'y'; client 'ann' swaps expert 'y' for "
        "expert 'x': 2.5 more fitness"
    )


def test_prices_are_in_the_problems_own_sense() -> None:
    fitness = np.array([[5.0, 1.0], [4.0, 2.0], [3.0, 2.5]])
    up = al.AlignmentProblem(fitness, 1, min_experts=1, load_max=[1, 3])
    down = al.AlignmentProblem.from_cost(-fitness, 1, min_experts=1, load_max=[1, 3])
    answer = ([0, 1, 2], [0, 1, 1])
    high, low = al.certify(up, *answer), al.certify(down, *answer)
    assert high.optimal
    assert low.optimal
    assert high.prices is not None
    assert low.prices is not None
    # One more place at expert 0 is worth 4 - 2 to client 1.
    assert 2 <= high.prices[0] - high.prices[1] <= 4
    assert -4 <= low.prices[0] - low.prices[1] <= -2
    assert (high.objective_value, low.objective_value) == (9.5, -9.5)
    assert (high.dual_bound, low.dual_bound) == (9.5, -9.5)


def test_infeasible_answers_are_named() -> None:
    problem = al.AlignmentProblem(
        [[1, -np.inf], [1, 1]],
        [1, 2],
        min_experts=[1, 0],
        load_min=[0, 2],
        load_max=[1, 2],
        resources={"mb": al.Resource([1, 2], [9, 2])},
        client_fitness_min=[-np.inf, 3],
    )
    messages = [v.message for v in al.certify(problem, [0, 1, 1, 1], [1, 0, 1, 1]).violations]
    assert messages == [
        "client 1 is given expert 1 twice",
        "client 0 may not hold expert 1",
        "client 1 holds 3 experts; at most 2 allowed",
        "expert 1 has 3 holders; at most 2 allowed",
        "client 1 uses 5 of 'mb'; its budget is 2",
    ]
    messages = [v.message for v in al.certify(problem, [1], [0]).violations]
    assert messages == [
        "client 0 holds 0 experts; at least 1 allowed",
        "expert 1 has 0 holders; at least 2 allowed",
        "client 1 has fitness 1; at least 3 allowed",
    ]


def test_decimal_sizes_fit_their_budget() -> None:
    problem = al.AlignmentProblem(
        [[1, 1]], 2, resources={"gb": al.Resource([0.1, 0.2], 0.3)}
    )
    assert al.certify(problem, [0, 0], [0, 1]).feasible
    tight = problem.replace(resources={"gb": al.Resource([0.1, 0.2], 0.3 - 1e-8)})
    assert not al.certify(tight, [0, 0], [0, 1]).feasible


def test_mip_without_multipliers_has_the_bound_of_free_experts() -> None:
    problem = al.AlignmentProblem([[1.0, 2.0]], 2, resources={"mb": al.Resource([1, 1], 1)})
    certificate = al.certify(problem, [0], [1])
    assert (certificate.kind, certificate.feasible, certificate.optimal) == ("prices", True, False)
    assert certificate.dual_bound == 3
    priced = Multipliers(np.zeros(2), budgets={"mb": np.array([2.0])})
    proved = al.certify(problem, [0], [1], prices=priced)
    assert (proved.kind, proved.dual_bound, proved.optimal) == ("prices", 2.0, True)


@pytest.mark.parametrize(
    ("rows", "cols", "prices", "message"),
    [
        ([0], [0, 1], None, "give two index arrays of one length"),
        ([2], [0], None, r"row_ind\[0\] is 2; give 0 to 1"),
        ([0], [-1], None, r"col_ind\[0\] is -1; give 0 to 1"),
        ([0.5], [0], None, "row_ind has dtype float64; give integers"),
        ([0], [0], [1, 2, 3], r"prices has shape \(3,\); give shape \(2,\)"),
        ([0], [0], [np.nan, 0], r"prices\[0\] is not finite"),
    ],
)
def test_malformed_answers(rows: list, cols: list, prices: list | None, message: str) -> None:
    problem = al.AlignmentProblem(np.zeros((2, 2)), 1)
    with pytest.raises(al.ProblemError, match=message):
        al.certify(problem, rows, cols, prices=prices)


@pytest.mark.parametrize(
    ("multipliers", "message"),
    [
        (Multipliers(np.zeros(3)), r"multipliers\.experts has shape \(3,\); give shape \(2,\)"),
        (Multipliers(np.zeros(2), loads={"s": np.zeros(2)}), "names 's', which the problem lacks"),
        (Multipliers(np.zeros(2), budgets={"mb": np.zeros(9)}), r"give shape \(1,\)"),
        (Multipliers(np.zeros(2), budgets={"mb": np.array([-1.0])}), "give finite prices >= 0"),
        (Multipliers(np.array([np.inf, 0])), r"multipliers\.experts holds a wrong price"),
    ],
)
def test_malformed_multipliers(multipliers: Multipliers, message: str) -> None:
    problem = al.AlignmentProblem([[1.0, 2.0]], 2, resources={"mb": al.Resource([1, 1], 1)})
    with pytest.raises(al.ProblemError, match=message):
        al.certify(problem, [0], [1], prices=multipliers)


@pytest.mark.parametrize("prices", [None, [0.0, 0.0], Multipliers(np.zeros(2))])
def test_an_unpriced_load_keeps_its_penalty_in_the_bound(prices: object) -> None:
    problem = al.AlignmentProblem(
        [[1.0, 0.0]] * 3,
        1,
        min_experts=1,
        loads={"s": al.Load(1.0, target=1.5, penalty=10.0)},
    )
    certificate = al.certify(problem, [0, 1, 2], [0, 0, 0], prices=prices)  # type: ignore[arg-type]
    assert certificate.objective_value == -42
    assert certificate.dual_bound >= -3
    assert not certificate.optimal


@pytest.mark.parametrize("mask", [-1e9, -1e20, -1e300, float(np.finfo(np.float32).min)])
def test_a_mask_does_not_loosen_the_proof(mask: float) -> None:
    fitness = np.array([[0.9, 0.1, mask], [0.8, 0.7, 0.1], [0.2, 0.9, 0.3]])
    problem = al.AlignmentProblem(fitness, 1, min_experts=1, load_max=1)
    certificate = al.certify(problem, [0, 1, 2], [1, 0, 2])
    assert not certificate.optimal
    assert certificate.improving_cycle is not None
    assert al.certify(problem, [0, 1, 2], [0, 1, 2]).optimal is bool(0.9 + 0.7 + 0.3 >= 1.9)


def by_solver(problem: al.AlignmentProblem, cols: list[int], bound: float) -> al.Certificate:
    answer = base.Outcome(al.Termination.PROVED, bound=bound, source="HiGHS 1")
    held = Assignment.of(problem, np.arange(len(cols)), np.array(cols, dtype=np.int64))
    return certify_answer(problem, held, answer, np.inf)


def test_a_solvers_bound_counts_by_what_is_at_stake() -> None:
    limited = {"resources": {"mb": al.Resource(1, 1)}}
    whole = al.AlignmentProblem(np.full((3, 2), 1e7), 1, **limited)  # type: ignore[arg-type]
    assert by_solver(whole, [0, 0, 0], 3e7 + 1e-3).optimal
    assert by_solver(whole, [0, 0, 0], 3e7 + 0.9).gap_abs == 0
    assert not by_solver(whole, [0, 0, 0], 3e7 + 25).optimal
    tiny = al.AlignmentProblem(np.full((3, 2), 3e-7), 1, **limited)  # type: ignore[arg-type]
    assert not by_solver(tiny, [], 9e-7).optimal
    assert by_solver(tiny, [0, 0, 0], 9e-7).optimal
    idle = al.Load(np.zeros(3), max=1)
    penalised = al.AlignmentProblem(
        np.zeros((3, 2)), 0, load_penalty=[0, 0.1], loads={"idle": idle}
    )
    assert by_solver(penalised, [], 4.4e-16).optimal
    assert not by_solver(penalised, [], 1e-6).optimal


def test_bellman_ford_ignores_rounding_but_not_a_real_cycle() -> None:
    weight = np.full((3, 3), np.inf)
    weight[0, 1], weight[1, 2], weight[2, 0] = 0.1, 0.2, -(0.1 + 0.2)
    assert bellman_ford(weight)[1] is None
    weight[2, 0] -= 1e-9
    cycle = bellman_ford(weight)[1]
    assert cycle is not None
    assert sorted(cycle) == [0, 1, 2]


@pytest.mark.parametrize("rounds_per_look", [1, 10**9])
def test_a_cycle_is_found_early_or_at_the_end(rounds_per_look, monkeypatch) -> None:
    monkeypatch.setattr("alignsolve.certificate.exchange_graph.ROUNDS_PER_LOOK", rounds_per_look)
    rng = np.random.default_rng(0)
    for size in (2, 5, 40):
        potential = rng.random(size)
        # Every cycle weighs what its arcs weigh beside the potentials: more than 0.
        weight = rng.random((size, size)) + potential - potential[:, None]
        distance, cycle = bellman_ford(weight)
        assert cycle is None
        assert (distance[:, None] + weight >= distance - 1e-12).all()
        weight[1, 0] = -weight[0, 1] - 0.5
        cycle = bellman_ford(weight)[1]
        assert sum(weight[u, v] for u, v in zip(cycle, cycle[1:] + cycle[:1], strict=True)) < 0


def test_the_largest_of_a_row_are_the_first_of_equals() -> None:
    block = np.array([[1.0, 3, 3, -np.inf, 3], [2.0, 2, 1, 0, 0], [0.0, 1, 2, 3, 4]])
    for count in ([2, 1, 0], [4, 3, 9], [5, -1, 4], [0, 0, 0]):
        wanted = np.zeros(block.shape, dtype=np.bool_)
        for row, k in enumerate(count):
            wanted[row, np.argsort(-block[row], kind="stable")[: max(k, 0)]] = True
        assert np.array_equal(_largest(block, np.array(count)), wanted)
    assert _largest(np.empty((2, 0)), np.array([1, 0])).shape == (2, 0)


def test_one_expert_dominates_and_memory_stays_in_blocks() -> None:
    fitness = np.random.default_rng(0).random((60_000, 3))
    problem = al.AlignmentProblem(fitness, 1, load_max=[60_000, 1, 1])
    rows = np.arange(60_000)
    assert not al.certify(problem, rows, np.zeros_like(rows)).optimal


def test_layers_whose_experts_are_mixed_are_proved_block_by_block() -> None:
    n, m = 10_000, 64
    fitness = np.random.default_rng(0).random((n, m), dtype=np.float32)
    group = np.arange(m) % 4
    problem = al.AlignmentProblem(fitness, 4, expert_group=group, group_min=1, group_max=1)
    best = np.array([4 * fitness[:, k::4].argmax(axis=1) + k for k in range(4)])
    other = 4 * fitness[5000:, 0::4].argmin(axis=1)
    lost = (fitness[5000:].max(axis=1, where=group == 0, initial=0).astype(np.float64)
            - fitness[np.arange(5000, n), other]).sum()  # fmt: skip
    best[0, 5000:] = other
    cols = np.sort(best, axis=0).T.ravel()
    arguments = problem, np.arange(0, 4 * n + 1, 4), cols, np.zeros(m)
    prove_all(*arguments)
    tracemalloc.start()
    proof = prove_all(*arguments)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert proof.residual == pytest.approx(lost)
    assert most < fitness.nbytes / 2


def compiled_sums(
    problem: al.AlignmentProblem, rows: np.ndarray, cols: np.ndarray, prices: np.ndarray
) -> tuple[float, float, float]:
    held = Assignment.of(problem, rows, cols)
    proof = prove_all(problem, held.indptr, held.cols, prices)
    assert proof.held.tolist() == problem.pair_values(rows, cols).tolist()
    return proof.residual, *all_regrets(problem, held.indptr, held.cols, prices)


@settings(max_examples=150)
@given(flow_problems(), st.integers(0, 2**16))
def test_compiled_pass_agrees_with_numpy(problem: al.AlignmentProblem, seed: int) -> None:
    best, rows, cols = brute_force(problem)
    if best is None:
        return
    prices = np.random.default_rng(seed).integers(-8, 9, problem.n_experts) / 2
    reference, _ = client_sums(problem, rows, cols, Multipliers(prices))
    # Sums in another order differ by roundings of the largest value.
    np.testing.assert_allclose(
        compiled_sums(problem, rows, cols, prices),
        reference,
        rtol=1e-12,
        atol=1e-12 + 1e-14 * problem.largest,
    )
    assert (compiled_sums(problem, rows, cols, prices)[0] == 0) == (reference[0] == 0)


@pytest.mark.parametrize("slots", [1, 3, 15, 40])
def test_compiled_pass_at_size(slots: int) -> None:
    rng = np.random.default_rng(slots)
    fitness = rng.random((5_000, 40)).astype(np.float32)
    fitness[rng.random(fitness.shape) < 0.3] = -np.inf
    problem = al.AlignmentProblem(fitness, rng.integers(0, slots + 1, 5_000))
    allowed = fitness > -np.inf
    held = allowed & (np.cumsum(allowed, axis=1) <= problem.max_experts[:, None])
    rows, cols = np.nonzero(held)
    prices = rng.random(40)
    reference, _ = client_sums(problem, rows, cols, Multipliers(prices))
    parallel = compiled_sums(problem, rows, cols, prices)
    np.testing.assert_allclose(parallel, reference, rtol=1e-12)
    blocks = compiled_sums(
        problem.replace(fitness=np.asfortranarray(fitness)), rows, cols, prices
    )
    np.testing.assert_allclose(blocks, reference, rtol=1e-12)


@settings(max_examples=300)
@given(st.integers(0, 2**16), st.integers(1, 6), st.integers(1, 6), st.booleans())
def test_scan_of_pairs_agrees_with_numpy(seed: int, n: int, m: int, spoil: bool) -> None:
    rng = np.random.default_rng(seed)
    problem = al.AlignmentProblem(np.zeros((n, m)), m)
    rows, cols = np.nonzero(rng.random((n, m)) < rng.random())
    twice = np.repeat(np.arange(rows.size), rng.integers(1, 3, rows.size) if seed % 2 else 1)
    rows, cols = rows[twice], cols[twice]
    if spoil and rows.size:
        (rows if seed % 3 else cols)[rng.integers(rows.size)] = rng.integers(-1, 7)
    found = scan(rows, cols, n, m)
    try:
        held = Assignment._of_any(problem, rows, cols)
    except al.ProblemError:
        assert found is None
        return
    if held.rows.tolist() != rows.tolist() or held.cols.tolist() != cols.tolist():
        assert found is None
        return
    assert found is not None
    assert found[0].tolist() == held.indptr.tolist() == np.searchsorted(rows, range(n + 1)).tolist()
    assert found[1].tolist() == held.load.tolist() == [(cols == j).sum() for j in range(m)]
    assert found[2] == held.distinct == (len(set(zip(rows, cols, strict=True))) == rows.size)


@pytest.mark.parametrize("compiled", [True, False])
@pytest.mark.parametrize(
    ("at", "pair", "message"),
    [
        (5, (3, 1), None),
        (5, (-1, 1), r"row_ind\[5\] is -1; give 0 to "),
        (9, (9, 2), r"col_ind\[9\] is 2; give 0 to 1"),
    ],
)
def test_pairs_are_checked_and_sorted_with_and_without_numba(
    monkeypatch: pytest.MonkeyPatch, compiled: bool, at: int, pair: tuple[int, int],
    message: str | None,
) -> None:  # fmt: skip
    if not compiled:
        monkeypatch.delitem(sys.modules, "numba")
    problem = al.AlignmentProblem(np.zeros((10, 2)), 2)
    rows, cols = np.arange(10), np.zeros(10, dtype=np.int64)
    rows[at], cols[at] = pair
    if message is not None:
        with pytest.raises(al.ProblemError, match=message):
            Assignment.of(problem, rows, cols)
        return
    held = Assignment.of(problem, rows, cols)
    assert held.rows.tolist() == sorted(rows.tolist())
    assert held.cols[:5].tolist() == [0, 0, 0, 0, 1]
    assert np.diff(held.indptr)[:7].tolist() == [1, 1, 1, 2, 1, 0, 1]
    assert (held.load.tolist(), held.distinct) == ([9, 1], True)


@pytest.mark.parametrize(
    ("rows", "cols", "kind"),
    [
        ([0, 1, 1, 2], [0, 1, 1, 0], "duplicate"),
        ([0, 1, 2], [0, 1, 2], "forbidden"),
        ([0, 2], [0, 0], "min_experts"),
        ([0, 1, 2, 2, 2], [0, 1, 0, 1, 2], "forbidden"),
        ([0, 1, 2, 2], [0, 0, 0, 1], "max_experts"),
        ([0, 1, 2], [1, 1, 1], "load_max"),
        ([0, 1, 2], [0, 0, 0], "load_max"),
    ],
)
def test_prices_prove_nothing_that_breaks_a_bound(
    rows: list[int], cols: list[int], kind: str
) -> None:
    fitness = np.ones((3, 3))
    fitness[2, 2] = -np.inf
    problem = al.AlignmentProblem(fitness, 1, min_experts=1, load_min=[1, 0, 0], load_max=2)
    certificate = al.certify(problem, rows, cols, prices=[0, 0, 0])
    assert not certificate.feasible
    assert kind in [violation.kind for violation in certificate.violations]
    assert al.certify(problem, [0, 1, 2], [0, 1, 0], prices=[0, 0, 0]).optimal


def test_a_client_of_forbidden_pairs_alone_holds_none() -> None:
    problem = al.AlignmentProblem([[-np.inf, -np.inf], [1, 1]], [2, 1], min_experts=[2, 0])
    certificate = al.certify(problem, [0, 0, 1], [0, 1, 0], prices=[0, 0])
    assert [violation.kind for violation in certificate.violations] == ["forbidden", "forbidden"]


def streamed(fitness):
    return al.FunctionSource(lambda a, b: fitness[a:b], fitness.shape, fitness.dtype, 1)


@pytest.mark.parametrize("of", [np.asarray, streamed])
@pytest.mark.parametrize("offset", [0.0, 0.5])
def test_whole_numbers_must_be_proved_exactly(of, offset):
    # The other way round is better by 1, which a regret of 2e9 times 1e-9 would grant.
    fitness = np.array([[2e9, 0.0], [2e9 + 1, 0.0]]) + offset
    problem = al.AlignmentProblem(of(fitness), 1, min_experts=1, load_max=1)
    found = al.certify(problem, [0, 1], [0, 1], [2e9, 0.0])
    assert found.gap_abs == 1
    assert not found.optimal
    best = al.certify(problem, [0, 1], [1, 0], [2e9, 0.0])
    assert best.optimal


def test_a_large_proof_without_a_compiler_counts_as_one_that_takes_long(monkeypatch):
    large, small = (al.AlignmentProblem(np.zeros((n, 8)), 1) for n in (8000, 10))
    monkeypatch.setenv("NUMBA_DISABLE_JIT", "1")
    assert (must_compile(large), must_compile(small)) == (True, False)
