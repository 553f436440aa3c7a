"""Every formula of the aligner, with numbers worked out by hand or as fractions."""

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest

import alignsolve as al
from alignsolve.aligner.budgets import fold_budget
from alignsolve.aligner.capacity import RATES, CapacityProfiler, ClientProfile
from alignsolve.aligner.fitness import FitnessTracker
from alignsolve.aligner.load import LoadMonitor, fill_level
from alignsolve.aligner.policy import Round, Start, round_problem
from alignsolve.aligner.settings import Settings

# -- fitness --------------------------------------------------------------------------------


class Exact:
    """The formulas in the docstring of `FitnessTracker`, as fractions; half_life is 1."""

    def __init__(self, n, m, smoothing, weight, initial):
        self.keep, self.k, self.initial = 1 - Fraction(smoothing), Fraction(weight), initial
        self.pairs = {pair: [Fraction(0), Fraction(0), 0]
                      for pair in itertools.product(range(n), range(m))}
        self.clients = [[Fraction(0), Fraction(0), 0] for _ in range(n)]
        self.experts = [[Fraction(0), Fraction(0)] for _ in range(m)]
        self.spread, self.round = [Fraction(0), Fraction(0)], 0

    def effects(self):
        total, number = (sum(part) for part in zip(*self.experts, strict=True))
        mean = (total + self.k * Fraction(self.initial)) / (number + self.k)
        return mean, [(s + self.k * mean) / (c + self.k) - mean for s, c in self.experts]

    def client_effect(self, i, round_):
        s, c, last = self.clients[i]
        fade = Fraction(1, 2 ** (round_ - last))
        return fade * s / (fade * c + self.k)

    def update(self, scores, round_):
        """Take in scores by pair."""
        mean, expert = self.effects()
        residual = {(i, j): y - mean - expert[j] - self.client_effect(i, round_)
                    for (i, j), y in scores.items()}
        fade = Fraction(1, 2 ** (round_ - self.round))
        self.round = round_
        self.experts = [[fade * s, fade * c] for s, c in self.experts]
        self.spread = [fade * self.spread[0] + sum(r * r for r in residual.values()),
                       fade * self.spread[1] + len(scores)]
        for i in {i for i, _ in scores}:
            s, c, last = self.clients[i]
            fade = Fraction(1, 2 ** (round_ - last))
            own = [y - mean - expert[j] for (at, j), y in scores.items() if at == i]
            self.clients[i] = [fade * s + sum(own), fade * c + len(own), round_]
        for (i, j), y in scores.items():
            self.experts[j][0] += y
            self.experts[j][1] += 1
            s, c, last = self.pairs[i, j]
            fade = self.keep * Fraction(1, 2 ** (round_ - last))
            self.pairs[i, j] = [fade * s + y, fade * c + 1, round_]

    def fitness(self, i, j, round_, exploration):
        mean, expert = self.effects()
        prior = mean + expert[j] + self.client_effect(i, round_)
        s, c, last = self.pairs[i, j]
        fade = Fraction(1, 2 ** (round_ - last))
        value = (fade * s + self.k * prior) / (fade * c + self.k)
        scale = (self.spread[0] + self.k * mean**2) / (self.spread[1] + self.k)
        bonus = math.log(1 + round_) / float(1 + fade * c) * float(scale)
        return float(value) + exploration * math.sqrt(bonus)


@pytest.mark.parametrize("exploration", [0.0, 0.5])
def test_fitness_is_its_formula(exploration):
    settings = al.FitnessSettings(smoothing=0.25, half_life=1.0, prior_weight=0.5, initial=0.75,
                                  exploration=exploration)
    made, exact, rng = FitnessTracker(settings, 3), Exact(3, 3, 0.25, 0.5, 0.75), (
        np.random.default_rng(0))
    made.grow(3)
    everyone = np.arange(3)
    for round_ in (1, 2, 4, 5, 9):
        pairs = np.argwhere(rng.random((3, 3)) < 0.5)
        scores = rng.integers(0, 9, len(pairs)) / 8
        made.update(*pairs.T, scores, round_)
        exact.update({tuple(pair): Fraction(y)
                      for pair, y in zip(pairs.tolist(), scores.tolist(), strict=True)}, round_)
        for at in (round_, round_ + 2):
            found = made.fitness(everyone, at)
            expected = [[exact.fitness(i, j, at, exploration) for j in range(3)] for i in range(3)]
            np.testing.assert_allclose(found, expected, rtol=1e-6)
    made.update(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0), 20)
    assert made.round == 9  # where nobody scored, nothing grows older


def test_default_scores_are_those_in_the_docs():
    assert al.FitnessSettings() == al.FitnessSettings("loss", 1.0, 0.3, 50.0, 1.0, 0.5, 0.1)
    assert al.CapacitySettings() == al.CapacitySettings(1, 4.0, (9.0, 1.0), 20.0)
    assert al.LoadSettings() == al.LoadSettings(None, 0.0, None, 0.0, True)


def state_after(order, seed=0):
    """Return the state after a round whose reports come in some order."""
    aligner = al.Aligner(3, expert_mb=0.3, capacity=al.CapacitySettings(max_experts=2))
    for round_ in range(2):
        plan = aligner.plan(["a", "b", "c"])
        rng = np.random.default_rng((seed, round_))
        reports = [al.ClientReport(
            client, plan.round, 7.0, float(rng.random()), down_mb=1.0, down_seconds=rng.random(),
            experts={int(j): al.ExpertReport(float(rng.integers(1, 9)) / 10, loss=rng.random())
                     for j in plan.experts_of(client)},
        ) for client in plan.clients]  # fmt: skip
        aligner.observe(plan, [reports[at] for at in order])
    return aligner.state_dict()


def test_the_order_of_reports_changes_no_bit_of_the_state():
    first = state_after((0, 1, 2))
    for order in itertools.permutations(range(3)):
        again = state_after(order)
        for name, array in first["arrays"].items():
            assert array.tobytes() == again["arrays"][name].tobytes(), name
        assert {**first, "arrays": 0} == {**again, "arrays": 0}


# -- capacity -------------------------------------------------------------------------------


def profiler(n=1, **settings):
    made = CapacityProfiler(al.CapacitySettings(**settings), 3)
    made.grow(n)
    return made


def observe(made, *rates, client=0):
    for rate in rates:
        values = np.full((1, len(RATES)), np.nan)
        values[0, 0] = rate
        made.observe(np.array([client]), values)
    return made.rates(np.array([client]))["seconds_per_sample"][0]


@pytest.mark.parametrize(("seen", "estimate"), [
    ([2.0], 2.0), ([2.0, 6.0], 6.0), ([6.0, 2.0], 6.0), ([1.0, 2.0, 3.0], 2.0),
    ([1.0, 2.0, 3.0, 4.0], 3.0), ([5.0, 1.0, 1.0, 1.0], 1.0), ([5.0, 5.0, 1.0, 1.0], 5.0),
    ([1.0, 1.0, 1.0, 1.0, 1.0, 9.0, 8.0], 8.0), ([9.0] * 4 + [1.0] * 3, 9.0),
    ([9.0] * 5 + [1.0] * 4, 1.0), ([1.0] * 3 + [9.0] + [2.0] * 7, 2.0),
])  # fmt: skip
def test_a_rate_is_the_larger_of_two_medians(seen, estimate):
    assert observe(profiler(), *seen) == estimate


def test_a_declaration_replaces_the_history_of_what_it_names_and_nothing_else():
    made = profiler()
    made.declare(0, ClientProfile(seconds_per_sample=5.0, down_mbps=4.0, memory_mb=30.0,
                                  forbidden=[0]))
    assert observe(made, 5.0, 5.0, 5.0, 5.0) == 5.0
    made.declare(0, ClientProfile(seconds_per_sample=1.0, max_experts=2, forbidden=[2]))
    rates = made.rates(np.array([0]))
    assert rates["seconds_per_sample"].tolist() == [1.0]  # not the median of the old ones
    assert observe(made, 1.0) == 1.0
    assert rates["down_seconds_per_mb"].tolist() == [2.0]
    assert (made.memory_mb.tolist(), made.slots(np.array([0])).tolist()) == ([30.0], [2])
    assert made.forbidden.tolist() == [[False, False, True]]
    made.declare(0, ClientProfile(budget_mb=7.0))
    assert made.forbidden.tolist() == [[False, False, True]]
    assert (made.budget_mb.tolist(), made.memory_mb.tolist()) == ([7.0], [30.0])


def test_rates_have_units():
    profile = ClientProfile(down_mbps=16.0, up_mbps=4.0, seconds_per_sample=0.5, samples=3.0)
    assert profile.rates().tolist() == [0.5, 0.5, 2.0, 3.0]  # 8 megabits are a megabyte


def test_rates_of_a_report_are_per_sample_megabyte_and_expert():
    aligner = al.Aligner(3, capacity=al.CapacitySettings(max_experts=2), seed=0)
    plan = aligner.plan(["a", "b", "c"])
    experts = {int(expert): al.ExpertReport(samples, loss=1.0)
               for expert, samples in zip(plan.experts_of("a"), (6, 2), strict=True)}
    aligner.observe(plan, [
        al.ClientReport("a", plan.round, 8, 4.0, down_mb=2.0, down_seconds=3.0, up_mb=4.0,
                        up_seconds=1.0, experts=experts),
        # Neither samples nor bytes: nothing is seen.
        al.ClientReport("b", plan.round, 0, 4.0, down_mb=0.0, down_seconds=3.0, experts={}),
    ])  # fmt: skip
    seen = aligner.tables.capacity.observed[aligner.tables.clients.rows(["a", "b", "c"])]
    assert seen[0, :, -1].tolist() == [4.0 / 8, 3.0 / 2, 1.0 / 4, 8.0 / 2]
    assert np.isnan(seen[0, :, :-1]).all() and np.isnan(seen[1:]).all()


def test_reliability_is_its_formula():
    made = profiler(2, finish_half_life=1.0, finish_prior=(3.0, 1.0))
    both = np.arange(2)
    for finished in ([1.0, 0.0], [0.0, 1.0], [1.0, 1.0]):
        made.observe_finish(both, np.array(finished))
    half = Fraction(1, 2)
    asked = 1 + half + half**2
    fleet = (1 + half * half + half * half**2 + 3) / (asked + 4)
    expected = [float((sum_ + 4 * fleet) / (asked + 4)) for sum_ in (1 + half**2, 1 + half)]
    assert made.finish_probability(both).tolist() == pytest.approx(expected, rel=1e-15)
    before = made.fleet.copy()
    made.observe_finish(np.zeros(0, np.int64), np.zeros(0))
    assert made.fleet.tolist() == before.tolist()


def test_slots_are_those_declared_and_no_more_than_experts():
    made = profiler(3, max_experts=2)
    made.declare(1, ClientProfile(max_experts=9))
    made.declare(2, ClientProfile(max_experts=0))
    assert made.slots(np.arange(3)).tolist() == [2, 3, 0]


# -- load -----------------------------------------------------------------------------------


def bounds(monitor, slots, *, group=None, finish=1.0, least=0.0, most=20.0):
    m = monitor.holders.size
    low, high = monitor.holder_bounds(np.array(slots, float), group, finish, least,
                                      np.full(m, most))
    return low.tolist(), high.tolist()


def test_bounds_on_holders_are_worked_out_by_hand():
    plain = LoadMonitor(al.LoadSettings(), 4)
    assert bounds(plain, [10.0]) == ([2.0] * 4, [3.0] * 4)  # 2.5 each
    assert bounds(plain, [12.0]) == ([3.0] * 4, [3.0] * 4)
    assert bounds(plain, [10.0], most=2.0) == ([2.0] * 4, [2.0] * 4)
    # Half of all holders finish: three expected finishers each are six holders.
    assert bounds(plain, [10.0], finish=0.5, least=3.0) == ([6.0] * 4, [6.0] * 4)
    assert bounds(plain, [10.0], finish=0.0) == ([2.0] * 4, [3.0] * 4)
    wide = LoadMonitor(al.LoadSettings(slack=0.5), 4)
    assert bounds(wide, [12.0]) == ([1.0] * 4, [5.0] * 4)  # 3 -+ 1.5, outward
    wide = LoadMonitor(al.LoadSettings(slack=2.0), 4)
    assert bounds(wide, [12.0]) == ([0.0] * 4, [9.0] * 4)
    thirds = LoadMonitor(al.LoadSettings(share=[1, 1, 1]), 3)
    assert bounds(thirds, [3.0]) == ([1.0] * 3, [1.0] * 3)
    groups = LoadMonitor(al.LoadSettings(share=[1, 3, 1, 1]), 4)
    group = np.array([0, 0, 1, 1])
    assert bounds(groups, [8.0, 4.0], group=group) == ([2.0, 6.0, 2.0, 2.0], [2.0, 6.0, 2.0, 2.0])
    groups.add(np.array([1, 1, 2]), np.array([2.0, 3.0, 5.0]))
    # 10 in all, 2.5 and 7.5 by share, of which 2 are there; and 5, of which expert 2 has one.
    assert bounds(groups, [8.0, 4.0], group=group) == (
        [2.0, 5.0, 1.0, 2.0], [3.0, 6.0, 2.0, 3.0])
    assert (groups.holders.tolist(), groups.samples.tolist()) == ([0, 2, 1, 0], [0, 5, 5, 0])
    groups.add_plan(np.array([1, 3, 3]))
    groups.add_plan(np.array([3]))
    assert groups.planned.tolist() == [0, 1, 0, 3]


def test_the_largest_deficits_are_served_first():
    assert fill_level(np.array([5, 1, 0]), np.full(3, 1 / 3), 3.0, 0.0, np.full(3, 9.0)).tolist(
        ) == pytest.approx([0, 1, 2])
    # 3 more for each part of the shares 1 and 3, whatever more there could be.
    assert fill_level(np.array([0, 0]), np.array([0.25, 0.75]), 4.0, 0.0, np.full(2, 9.0)).tolist(
        ) == pytest.approx([1, 3])
    assert fill_level(np.array([0, 9]), np.array([0.5, 0.5]), 4.0, 1.0, np.full(2, 9.0)).tolist(
        ) == pytest.approx([3, 1])
    assert fill_level(np.array([0, 0]), np.array([0.5, 0.5]), 9.0, 0.0, np.array([2.0, 9.0])
                      ).tolist() == pytest.approx([2, 7])


def test_prices_of_samples_are_their_formula():
    monitor = LoadMonitor(al.LoadSettings(share=[1, 1, 2], sample_price=2.0), 3)
    assert monitor.sample_costs(np.ones(2)) is None
    monitor.add(np.array([0, 1, 2]), np.array([6.0, 3.0, 12.0]))
    # Per share 24, 12 and 24, of mean 20: the excess over the least is 0.6, 0 and 0.6.
    costs = monitor.sample_costs(np.array([1.0, 3.0]))
    np.testing.assert_allclose(costs, [[0.6, 0.0, 0.6], [1.8, 0.0, 1.8]], rtol=1e-12)
    assert monitor.sample_costs(np.zeros(2)) is None
    forgetful = LoadMonitor(al.LoadSettings(sample_price=2.0, carry=False), 3)
    forgetful.add(np.array([0]), np.array([6.0]))
    assert forgetful.sample_costs(np.ones(2)) is None


def test_bounds_on_samples_are_worked_out_by_hand():
    monitor = LoadMonitor(al.LoadSettings(sample_slack=0.5), 2)
    low, high = monitor.sample_bounds(8.0)  # 4 each, less and more by half the mean of 4
    np.testing.assert_allclose([low, high], [[2, 2], [6, 6]])
    monitor.add(np.array([0]), np.array([9.0]))
    low, high = monitor.sample_bounds(8.0)
    np.testing.assert_allclose([low, high], [[0, 6], [2, 10]], atol=1e-9)
    assert LoadMonitor(al.LoadSettings(), 2).sample_bounds(8.0) is None


# -- a round's problem ------------------------------------------------------------------------


def round_of(fitness, *, slots=1, finish=1.0, samples=1.0, placed=False, current=False,
             expert_mb=1.0, **policy):
    fitness = np.array(fitness, dtype=np.float64)
    n, m = fitness.shape
    settings = Settings.of_any(
        m, None, expert_mb, (None, None, None), "optimal", 0, None, None, None,
        al.PolicySettings(**policy), None)

    def full(value, dtype, shape=(n,)):
        return np.array(np.broadcast_to(value, shape), dtype=dtype)

    return Round(
        settings, 1, np.arange(n), tuple("abcdefgh"[:n]), fitness, full(slots, np.int64),
        full(slots, np.int64), full(finish, float), full(samples, float),
        full(placed, bool, (n, m)), full(current, bool, (n, m)), np.zeros(m, np.int64),
        Start(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(m)),
        load_min=np.zeros(m), load_max=np.full(m, float(n)),
    )  # fmt: skip


@pytest.mark.parametrize(("fitness", "slots", "share", "floor"), [
    ([4.0, 2.0, 1.0], 2, 0.5, 3.0), ([4.0, 2.0, 1.0], 2, 1.0, 6.0),
    # Of negative fitness a floor of half is half as much again below.
    ([-4.0, -2.0, -1.0], 2, 0.5, -4.5), ([-4.0, -2.0, -1.0], 1, 1.0, -1.0),
    ([4.0, -np.inf, -np.inf], 2, 0.75, 3.0), ([4.0, 2.0, 1.0], 0, 0.5, 0.0),
])  # fmt: skip
def test_fairness_floors_are_their_formula(fitness, slots, share, floor):
    found = round_problem(round_of([fitness], slots=slots, fitness_floor=share))
    assert found.client_fitness_min.tolist() == [floor]


def test_without_a_share_there_is_no_floor():
    found = round_problem(round_of([[4.0, 2.0]]))
    assert found.client_fitness_min.tolist() == [-np.inf]
    assert found.problem_class == "flow"


def test_fewest_experts_are_cut_at_slots_and_allowed_pairs():
    round_ = round_of([[1.0, 2.0, 3.0], [1.0, -np.inf, -np.inf], [1.0, 2.0, 3.0]],
                      slots=[3, 3, 1], min_experts=2)
    assert round_problem(round_).min_experts.tolist() == [2, 1, 1]


def test_switching_costs_are_their_formula():
    placed, current = [[True, False, True, False]], [[True, True, False, False]]
    given = {"placed": placed, "current": current, "expert_mb": [3.0, 3.0, 3.0, 5.0]}
    plain = round_problem(round_of([[0.0] * 4], **given))
    assert (plain.switch_cost == 0).all()
    moved = round_problem(round_of([[0.0] * 4], switch_cost=0.5, **given))
    assert (-moved.values(slice(0, 1))).tolist() == [[0.0, 0.5, 0.0, 0.5]]
    sent = round_problem(round_of([[0.0] * 4], download_cost=0.25, **given))
    assert (-sent.values(slice(0, 1))).tolist() == [[0.0, 0.0, 0.75, 1.25]]
    both = round_problem(round_of([[0.0] * 4], switch_cost=0.5, download_cost=0.25, **given))
    assert (-both.values(slice(0, 1))).tolist() == [[0.0, 0.5, 0.75, 1.75]]


def test_expected_finishers_are_bounded_only_where_holders_do_not_imply_it():
    def loads(least, load_min, slots=1):
        round_ = round_of([[1.0, 2.0]] * 3, finish=[0.5, 0.75, 1.0], slots=slots,
                          min_finishers=least)
        round_.load_min = np.array(load_min, dtype=float)
        return round_problem(round_).loads

    assert loads(0.0, [0, 0]) == {}
    assert loads(1.25, [2, 2]) == {}  # the least likely two are expected to be 1.25
    assert list(loads(1.5, [2, 2])) == ["finishers"]
    assert list(loads(1.25, [2, 1])) == ["finishers"]
    assert loads(0.75, [1, 1], slots=[0, 1, 1]) == {}  # whoever has no slot is none of them
    assert list(loads(2.5, [9, 9])) == ["finishers"]  # at most the three that there are
    part = loads(1.5, [2, 2])["finishers"]
    assert (np.asarray(part.weight).tolist(), np.asarray(part.min).tolist()) == (
        [0.5, 0.75, 1.0], [1.5, 1.5])


def test_samples_are_weighed_by_who_finishes_and_cost_fitness():
    round_ = round_of([[1.0, 2.0]] * 2, finish=[0.5, 1.0], samples=[4.0, 6.0])
    round_.sample_bounds = np.array([1.0, 2.0]), np.array([7.0, 8.0])
    round_.sample_costs = np.array([[0.5, 0.0], [0.25, 0.0]])
    found = round_problem(round_)
    load = found.loads["samples"]
    assert np.asarray(load.weight).tolist() == [2.0, 6.0]
    assert (np.asarray(load.min).tolist(), np.asarray(load.max).tolist()) == ([1, 2], [7, 8])
    assert found.fitness.tolist() == [[0.5, 2.0], [0.75, 2.0]]


def test_the_mean_of_who_finishes_is_weighed_by_slots():
    assert round_of([[1.0]] * 2, finish=[0.5, 1.0], slots=[3, 1]).mean_finish() == 0.625
    assert round_of([[1.0]], slots=0).mean_finish() == 1.0


def test_a_round_without_some_clients_keeps_the_rows_of_the_others():
    round_ = round_of([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]], finish=[0.5, 0.75, 1.0],
                      samples=[1, 2, 3])
    round_.resources = {"mb": al.Resource(np.arange(6.0).reshape(3, 2), np.array([7.0, 8.0, 9.0]))}
    left = round_.without(np.array([False, True, False]), np.array([0, 1, 2]), np.array([1, 0, 0]),
                          np.array([2.0, 3.0]))
    assert (left.ids, left.rows.tolist()) == (("a", "c"), [0, 2])
    assert left.fitness.tolist() == [[1, 2], [5, 6]]
    assert (left.finish.tolist(), left.samples.tolist()) == ([0.5, 1.0], [1, 3])
    assert np.asarray(left.resources["mb"].size).tolist() == [[0, 1], [4, 5]]
    assert np.asarray(left.resources["mb"].budget).tolist() == [7, 9]
    start = left.start
    assert (start.rows.tolist(), start.cols.tolist(), start.lost) == ([0, 1], [1, 0], 1)


@pytest.mark.parametrize(("budget", "slots", "fit", "likely", "binds"), [
    (4.0, 3, 2, 2, True),   # 1 + 2 fit, 2 + 3 do not
    (3.0, 3, 2, 1, True),   # of average size 2 one fits
    (6.0, 3, 3, 3, False),  # all fit
    (5.0, 2, 2, 2, False),  # the two largest fit
    (0.5, 3, 0, 0, False), (1.0, 3, 1, 1, True), (np.inf, 2, 2, 2, False), (1.0, 0, 0, 0, False),
])  # fmt: skip
def test_budgets_become_slots_by_hand(budget, slots, fit, likely, binds):
    found, average, left = fold_budget(
        np.array([1.0, 2.0, 3.0]), np.array([budget]), np.array([slots]), np.ones((1, 3), bool))
    assert (found.tolist(), average.tolist(), left is not None) == ([fit], [likely], binds)
