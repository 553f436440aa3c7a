"""True and false claims, which every way to a certificate must tell apart."""

from __future__ import annotations

import itertools
from fractions import Fraction
from functools import cache

import numpy as np
import pytest

import alignsolve as al
from alignsolve.backends.base import Outcome
from alignsolve.certificate import certificate as certificates
from alignsolve.certificate import judgement, numbers, row_pass_kernels
from alignsolve.certificate.best_responses import Multipliers
from alignsolve.certificate.certificate import certify_answer
from alignsolve.certificate.duality_gap import dual_gap
from alignsolve.errors import BackendError
from alignsolve.model.feasibility import Assignment, is_feasible
from tests.alignsolve.certificate.exact import (
    WAYS,
    a_row_at_a_time,
    exact_dual,
    flow_problem,
    mip_problem,
    of_source,
    proof_of_shards,
)
from tests.enumeration import Enumeration


@cache
def ranked(problem):
    """Return all feasible answers with their values, max sense, the best first.

    All numbers are small multiples of 1/64, so that sums of floats are exact.
    """
    found = Enumeration(problem)
    answers, kept, cost = found.answers, found.kept, found.penalties()
    values = problem.values(slice(0, problem.n_clients))
    worth = (answers * np.where(values > -np.inf, values, 0)).sum(axis=(1, 2)) - cost
    order = np.flatnonzero(kept)[np.argsort(-worth[kept], kind="stable")]
    return [(Fraction(float(worth[at])), *np.nonzero(answers[at])) for at in order.tolist()]


def claims(problem):
    """Return answers with what they lack: the best, those just below it, and some others."""
    every = ranked(problem)
    assert len(every) > 3
    best = every[0][0]
    chosen = [every[0], next(one for one in every if one[0] < best), every[-1]]
    return best, [(best - value, rows, cols) for value, rows, cols in chosen]


FLOW = [(seed, whole, groups) for seed in range(4) for whole in (True, False)
        for groups in (False, True)]


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
@pytest.mark.parametrize("whole", [True, False])
def test_the_gap_is_the_dual_bound_less_the_value_exactly(way, whole, monkeypatch):
    for seed in range(8):
        problem = flow_problem(seed, whole=whole)
        best, answers = claims(problem)
        for number, (lacks, rows, cols) in enumerate(answers):
            prices = np.random.default_rng((seed, number)).integers(-20, 40, 3) / 4
            expected = exact_dual(problem, Multipliers(prices)) - (best - lacks)
            assert Fraction(way(problem, rows, cols, prices, monkeypatch)) == expected


def test_the_gap_of_groups_and_of_every_multiplier_is_exact():
    for seed in range(8):
        problem, rng = mip_problem(seed), np.random.default_rng((seed, 9))
        floors = problem.client_fitness_min
        multipliers = Multipliers(
            rng.integers(-20, 40, 3) / 4, {"samples": rng.integers(-8, 9, 3) / 4},
            {"mb": rng.integers(0, 5, 4) / 4},
            np.where(floors > -np.inf, rng.integers(0, 5, 4) / 4, 0.0),
        )
        for given in (multipliers, Multipliers(multipliers.experts)):
            bound = exact_dual(problem, given)
            for value, rows, cols in ranked(problem)[:3]:
                gap = dual_gap(problem, rows, cols, given)
                assert Fraction(gap.gap_abs) == bound - value
                certificate = al.certify(problem, rows, cols, prices=given)
                assert certificate.gap_abs == gap.gap_abs
                assert not certificate.optimal or value == bound


def recovered(problem, pairs):
    return al.certify(problem, *pairs)


@cache
def true_prices(problem):
    """Return prices that prove the best answer, in the problem's own sense."""
    return al.certify(problem, *ranked(problem)[0][1:]).prices


def at_true_prices(problem, pairs):
    return al.certify(problem, *pairs, prices=true_prices(problem))


def at_wrong_prices(problem, pairs):
    return al.certify(problem, *pairs, prices=[3.0, -1.0, 2.5][: problem.n_experts])


def of_a_source(problem, pairs):
    return recovered(of_source(problem), pairs)


def of_a_source_at_true_prices(problem, pairs):
    return al.certify(of_source(problem), *pairs, prices=true_prices(problem))


def of_a_backend(problem, pairs):
    answer = Outcome(al.Termination.PROVED, prices=problem.sign * true_prices(problem))
    return certify_answer(problem, Assignment.of(problem, *pairs), answer, np.inf)


VERDICTS = [recovered, at_true_prices, at_wrong_prices, of_a_source, of_a_source_at_true_prices,
            of_a_backend]


def judged_in_floats(monkeypatch):
    """Lower the size up to which answers are judged in whole numbers to nothing."""
    for module in (numbers, certificates, judgement):
        monkeypatch.setattr(module, "is_small", lambda problem: False)


@pytest.mark.parametrize("small", [True, False])
@pytest.mark.parametrize("verdict", VERDICTS, ids=lambda verdict: verdict.__name__)
def test_an_answer_is_called_optimal_if_and_only_if_it_is(verdict, small, monkeypatch):
    if not small:
        judged_in_floats(monkeypatch)
    rng = np.random.default_rng(0)
    for seed, whole, groups in FLOW:
        problem = flow_problem(seed, whole=whole, groups=groups)
        best, answers = claims(problem)
        for lacks, rows, cols in answers:
            order = rng.permutation(rows.size) if seed % 2 else slice(None)
            found = verdict(problem, (rows[order], cols[order]))
            assert found.feasible
            assert found.objective_value == problem.sign * float(best - lacks)
            assert problem.sign * found.dual_bound >= best
            assert found.optimal == (lacks == 0) == (found.gap_abs == 0)
            assert found.gap_abs >= lacks
            assert (found.improving_cycle is None) == (lacks == 0)
            if lacks:
                assert 0 < found.improving_cycle.gain <= lacks


def neighbours(problem):
    """Return the best answer with one pair more, and with one less, where that breaks a bound."""
    best = np.zeros(problem.fitness.shape, dtype=bool)
    best[ranked(problem)[0][1:]] = True
    for at in np.ndindex(best.shape):
        other = best.copy()
        other[at] ^= True
        if not is_feasible(problem, *np.nonzero(other)):
            yield np.nonzero(other)


@pytest.mark.parametrize("verdict", VERDICTS, ids=lambda verdict: verdict.__name__)
def test_answers_that_break_a_bound_are_refused(verdict):
    # All values are below 0: without bounds everybody would hold nothing.
    for problem in (flow_problem(0, whole=True), flow_problem(3, whole=False),
                    flow_problem(2, whole=True, groups=True),
                    al.AlignmentProblem([[-3.0, -1.0], [-2.0, -4.0]], 2, min_experts=1),
                    al.AlignmentProblem([[-3.0, -1.0], [-2.0, -4.0]], 1, load_min=1)):
        for pairs in neighbours(problem):
            found = verdict(problem, pairs)
            assert (found.kind, found.feasible, found.optimal) == ("none", False, False)


@pytest.mark.parametrize("verdict", VERDICTS, ids=lambda verdict: verdict.__name__)
def test_pairs_that_come_twice_are_refused_in_any_order(verdict):
    # Slots and loads leave room for one more, which is worth something each time it is counted.
    fitness = np.array([[5.0, -1.0], [4.0, -1.0], [-2.0, 3.0]])
    for problem in (al.AlignmentProblem(fitness, 3, load_max=9),
                    al.AlignmentProblem.from_cost(-fitness + 0.25, 3, load_max=9)):
        for pair in range(3):
            rows, cols = np.array([0, 1, 2, pair]), np.array([0, 0, 1, pair // 2])
            for order in itertools.permutations(range(4)):
                at = list(order)
                found = verdict(problem, (rows[at], cols[at]))
                assert (found.kind, found.optimal) == ("none", False)
                assert [violation.kind for violation in found.violations] == ["duplicate"]


def test_shards_refuse_what_lacks_or_exceeds_a_bound():
    for problem in (flow_problem(0, whole=True), flow_problem(3, whole=False)):
        for pairs in neighbours(problem):
            with pytest.raises(BackendError, match="broke a bound"):
                proof_of_shards(problem, *pairs, problem.sign * true_prices(problem))


def test_shards_tell_true_from_false():
    for seed in range(6):
        problem = flow_problem(seed, whole=True)
        best, answers = claims(problem)
        prices = problem.sign * true_prices(problem)
        for lacks, rows, cols in answers:
            found = proof_of_shards(problem, rows, cols, prices)
            assert found.optimal == (lacks == 0)
            assert found.objective_value == problem.sign * float(best - lacks)
            assert problem.sign * found.dual_bound >= best


@pytest.mark.parametrize(("rows", "cols", "message"), [
    ([0, 1, 2], [0, 0, 0], "expert 0 has 3 holders; 0 to 2 allowed"),
    ([0, 1, 2, 2], [0, 0, 1, 2], "client 2 holds 2 experts; 0 to 1 allowed"),
    ([1, 2, 3], [0, 1, 1], "client 0 holds 0 experts; 1 to 2 allowed"),
    ([0, 0, 3, 1], [0, 0, 1, 2], "client 0 is given expert 0 twice"),
    ([0, 1, 3], [0, 2, 1], "client 1 may not hold expert 2"),
    ([0, 2, 3], [1, 1, 1], "expert 2 has 0 holders; 1 to 4 allowed"),
])  # fmt: skip
def test_shards_refuse_what_breaks_a_bound(rows, cols, message):
    fitness = np.ones((4, 3))
    fitness[1, 2] = -np.inf
    problem = al.AlignmentProblem(fitness, [2, 1, 1, 1], min_experts=[1, 0, 0, 0],
                                  load_min=[0, 0, 1 if "expert 2" in message[:8] else 0],
                                  load_max=[2, 3, 4])
    held = np.array(rows, dtype=np.int64), np.array(cols, dtype=np.int64)
    with pytest.raises(BackendError, match=message):
        proof_of_shards(problem, *held, np.zeros(3))


# -- a solver's word ------------------------------------------------------------------------


def by_word(problem, rows, cols, bound):
    answer = Outcome(al.Termination.PROVED, bound=float(bound), source="HiGHS 1")
    return certify_answer(problem, Assignment.of(problem, rows, cols), answer, np.inf)


@pytest.mark.parametrize("in_blocks", [False, True])
def test_a_solvers_bound_proves_the_best_and_nothing_else(in_blocks, monkeypatch):
    if in_blocks:
        a_row_at_a_time(monkeypatch)
    for seed in range(8):
        problem = mip_problem(seed)
        every = ranked(problem)
        best = every[0][0]
        for value, rows, cols in every[:4]:
            found = by_word(problem, rows, cols, best)
            assert (found.kind, found.feasible) == ("solver", True)
            assert found.optimal == (value == best)
            assert found.gap_abs == best - value
            assert found.dual_bound == problem.sign * float(best)
        assert not by_word(problem, *every[0][1:], best + Fraction(1, 4)).optimal
        # Fractions: 1e-6 of what clients could have lost, and 1e-8 of values and penalties.
        assert not by_word(problem, *every[0][1:], best + Fraction(1, 1000)).optimal
        assert by_word(problem, *every[0][1:], best - Fraction(1, 8)).gap_abs == 0


@pytest.mark.parametrize(("fitness", "more"), [
    ([[2.0], [1.0]], {"loads": {"s": al.Load(1.0, target=0.0, penalty=0.25)}}),
    ([[2.0], [1.0]], {"loads": {"s": al.Load(0.5, target=0.0, penalty=1.0)}}),
    ([[2.0], [1.0]], {"loads": {"s": al.Load(1.0, target=0.5, penalty=1.0)}}),
    ([[2.0], [1.0]], {"load_penalty": 0.25}),
    ([[2.0], [1.0]], {"load_penalty": 1.0, "load_target": 0.25}),
    ([[2.0], [1.0]], {"switch_cost": 0.25}),
    ([[2.0], [1.25]], {}),
    ([[2.0]] * 40 + [[1.5]], {}),  # a fraction beyond the first rows
])  # fmt: skip
def test_a_bound_counts_rounded_down_only_where_all_is_whole(fitness, more):
    n = len(fitness)
    problem = al.AlignmentProblem(fitness, 1, resources={"mb": al.Resource(1, 1)}, **more)
    rows, cols = np.arange(n), np.zeros(n, dtype=np.int64)
    value = problem.objective(rows, cols)
    found = by_word(problem, rows, cols, value + 0.75)
    assert not found.optimal
    assert found.gap_abs == 0.75
    whole = al.AlignmentProblem(np.floor(fitness), 1, resources={"mb": al.Resource(1, 1)})
    value = whole.objective(rows, cols)
    assert by_word(whole, rows, cols, value + 0.75).gap_abs == 0
    assert by_word(whole, rows, cols, value + 0.75).optimal
    assert not by_word(whole, rows, cols, value + 1).optimal
    # What a solver rounds: a bound just below a whole number stands for it.
    assert by_word(whole, rows, cols, value + 1 - 1e-12).gap_abs == 1
    # Without a penalty's constant being whole: objectives still differ by whole numbers.
    shifted = whole.replace(load_penalty=1.0, load_target=0.5)
    value = shifted.objective(rows, cols)
    assert value != np.floor(value)
    assert by_word(shifted, rows, cols, value + 0.75).gap_abs == 0


@pytest.mark.parametrize("n", [1, 40])
@pytest.mark.parametrize("small", [True, False])
@pytest.mark.parametrize("by", [lambda problem: problem, of_source], ids=["array", "source"])
def test_whole_numbers_need_exactly_nothing_whatever_is_at_stake(by, small, n, monkeypatch):
    # Whoever holds the first expert and one of the others could lose 2e9, of which 1e-9 is 2.
    if not small:
        judged_in_floats(monkeypatch)
    fitness = np.tile([2e9, 0.0, 1.0], (n, 1))
    problem = by(al.AlignmentProblem(fitness, 2, min_experts=2, load_max=n))
    rows, right = np.repeat(np.arange(n), 2), np.tile([0, 2], n)
    wrong = right.copy()
    wrong[-1] = 1
    for cols in (wrong, right):
        answer = Outcome(al.Termination.PROVED, prices=np.zeros(3))
        held = Assignment.of(problem, rows, cols)
        for found in (al.certify(problem, rows, cols), al.certify(problem, rows, cols, np.zeros(3)),
                      certify_answer(problem, held, answer, np.inf)):
            assert found.optimal == (cols is right)
            assert found.gap_abs == (cols is wrong)


@pytest.mark.parametrize("at", [0, 17, 39])
def test_a_fraction_anywhere_grants_what_rounding_may_cost(at, monkeypatch):
    judged_in_floats(monkeypatch)
    fitness = np.tile([2e9, 0.0, 1.0], (40, 1))
    fitness[at] += 0.5
    rows, cols = np.repeat(np.arange(40), 2), np.tile([0, 2], 40)
    cols[1] = 1
    problem = al.AlignmentProblem(fitness, 2, min_experts=2, load_max=40)
    for one in (problem, of_source(problem)):
        found = al.certify(one, rows, cols, np.zeros(3))
        assert (found.gap_abs, found.optimal) == (1, True)
        # A penalty's steps that are fractions count as well as values.
    whole = al.AlignmentProblem(np.floor(fitness), 2, min_experts=2, load_max=40)
    for penalty, optimal in ((0.0, False), (2.0**-60, True)):
        one = whole.replace(load_penalty=[penalty, 0, 0], load_target=[40, 0, 0])
        for problem in (one, of_source(one)):
            assert al.certify(problem, rows, cols, np.zeros(3)).optimal == optimal


def test_prices_stay_whole_above_the_size_that_is_judged_exactly(monkeypatch):
    problem = flow_problem(1, whole=True, features=False)
    _, rows, cols = ranked(problem)[0]
    judged_in_floats(monkeypatch)
    found = al.certify(problem, rows, cols)
    assert found.optimal
    assert (found.prices == np.round(found.prices)).all()


def test_rounding_allowed_to_exchanges_leaves_whole_prices(monkeypatch):
    for seed in range(6):
        problem = flow_problem(seed, whole=True, features=False)
        _, rows, cols = ranked(problem)[0]
        found = judgement.judge(problem, rows, cols)
        assert not found.refuted
        assert (found.prices == np.round(found.prices)).all()


@pytest.mark.parametrize("m", [4, 20])  # of many slots the best are found by sorting
def test_the_pass_over_rows_says_infinite_where_there_is_no_response(m):
    values, prices = np.full((1, m), -np.inf), np.zeros(m)
    values[0, [0, 2]] = 1.0, 2.0
    for slots, cols, expected in (
        ((3, m), [0, 1, 3], np.inf),  # only two are allowed
        ((2, m), [0, 2], 0.0), ((2, m), [0], np.inf), ((0, 1), [0, 2], np.inf),
        ((0, 1), [0], 1.0), ((0, 2), [], 3.0),
    ):
        least, most = (np.array([bound]) for bound in slots)
        held = np.zeros(len(cols))
        residual, _ = row_pass_kernels.residual_sum(
            values, prices, np.array([0, len(cols)]), np.array(cols, dtype=np.int64), least, most,
            held)
        assert residual == expected


def test_prices_of_an_answer_that_only_rounding_improves_prove_it():
    # An exchange gains 0.1 + 0.2 - 0.3 = 2**-54; both clients would pay 1 for the first expert.
    problem = al.AlignmentProblem([[1.25, 0.3], [1.25, 0.25 + (0.1 + 0.2 - 0.25)]], 1,
                                  min_experts=1, load_max=1)
    gain = float(problem.fitness[1, 1] - problem.fitness[0, 1])
    assert 0 < gain < 1e-15
    found = al.certify(problem, [0, 1], [1, 0])
    assert found.optimal
    assert gain <= found.gap_abs < 1e-14
    assert found.prices[0] - found.prices[1] == pytest.approx(0.95)
