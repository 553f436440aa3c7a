"""Time to quality and the primal integral, on examples worked out by hand."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path

import pytest

import alignsolve as al
from alignsolve.bench.measure import Incumbents
from alignsolve.bench.quality import best_bound, quality_of
from alignsolve.bench.records import Instance, Reference, Row, Settings
from alignsolve.bench.score import judge, score_class
from alignsolve.progress import Progress

SETTINGS = Settings(10.0, 1000.0, 1, 1, 0, {})


def instance(name="a", sense="max", **known):
    return Instance(name, Path(name), 0, name, 5, 3, "mip", (), sense, Reference(**known))


def row(backend="x", name="a", outcome="feasible", objective=None, **fields):
    return Row(f"{name} {backend}", name, backend, outcome, objective=objective,
               **{"total_seconds": 10.0} | fields)


def told(*states, sign=1.0):
    found = Incumbents(sign)
    for seconds, value in states:
        assert not found(Progress("x", value, math.inf, math.inf, seconds))
    return found.found


# -- answers on the way --------------------------------------------------------------------


def test_only_better_answers_are_kept():
    states = [(0.1, math.nan), (1.0, 5.0), (2.0, 4.0), (3.0, 7.0), (4.0, 7.0)]
    assert told(*states) == [(1.0, 5.0), (3.0, 7.0)]
    assert told(*states, sign=-1.0) == [(1.0, 5.0), (2.0, 4.0)]


def test_of_answers_at_about_one_time_the_last_counts():
    assert told((1.0, 5.0), (1.002, 6.0), (1.1, 7.0)) == [(1.002, 6.0), (1.1, 7.0)]
    assert told((1e-5, 5.0), (9e-4, 6.0)) == [(9e-4, 6.0)]
    dense = told(*((at / 1e4, at) for at in range(1, 100_000)))
    assert len(dense) < 1000
    assert dense[-1][0] == pytest.approx(10, abs=0.01)


def test_a_solve_tells_its_answer():
    problem = al.AlignmentProblem([[3, 1], [2, 2.5]], 1, load_max=1)
    found = Incumbents(problem.sign)
    al.solve(problem, callback=found)
    assert [value for _, value in found.found][-1] == 5.5


# -- one run --------------------------------------------------------------------------------


def test_time_to_quality_by_hand():
    run = row(objective=1000.0, incumbents=[[1.0, 500.0], [2.0, 995.0], [4.0, 999.5]])
    found = quality_of(instance(), run, bound=1000.1, best=1000.0, limit=10.0)
    # 5.1 of 995 is within 1%, 0.6 of 999.5 within 0.1%, and 0.1 of 1000 within 0.02%.
    assert found.seconds == {"1%": 2.0, "0.1%": 4.0, "0.02%": 10.0}
    # Gap 1 for 1 s, 0.5 for 1 s, 0.005 for 2 s, 0.0005 for 6 s, and 0 from then on.
    assert found.primal_integral == pytest.approx(1.0 + 0.5 + 0.01 + 0.003)
    assert found.figures() == {
        "within_1_percent_seconds": 2.0, "within_0.1_percent_seconds": 4.0,
        "within_0.02_percent_seconds": 10.0, "primal_integral_seconds": found.primal_integral,
    }


def test_costs_come_down():
    run = row(objective=100.0, incumbents=[(1.0, 200.0), (5.0, 100.0)])
    found = quality_of(instance(sense="min"), run, bound=99.5, best=100.0, limit=10.0)
    assert found.seconds == {"1%": 5.0, "0.1%": math.inf, "0.02%": math.inf}
    assert found.primal_integral == pytest.approx(1.0 + 4 * 0.5)


def test_the_primal_gap_is_one_where_signs_differ_and_none_at_zero():
    run = row(objective=0.0, incumbents=[(2.0, -5.0), (4.0, 0.0)])
    assert quality_of(instance(), run, 0.0, 0.0, 10.0).primal_integral == pytest.approx(4.0)
    run = row(objective=3.0, incumbents=[(2.0, -5.0), (4.0, 3.0)])
    assert quality_of(instance(), run, 3.0, 3.0, 10.0).primal_integral == pytest.approx(4.0)


def test_what_is_better_than_the_checked_answer_was_none():
    run = row(objective=90.0, total_seconds=6.0, incumbents=[(1.0, 80.0), (2.0, 100.0)])
    found = quality_of(instance(), run, bound=100.0, best=90.0, limit=10.0)
    assert set(found.seconds.values()) == {math.inf}
    assert found.primal_integral == pytest.approx(1.0 + 5.0 / 9.0)


def test_a_silent_run_answers_at_its_end_and_within_the_grace_at_the_limit():
    silent = quality_of(instance(), row(objective=7.0, total_seconds=3.0), 7.0, 7.0, 10.0)
    assert set(silent.seconds.values()) == {3.0}
    assert silent.primal_integral == 3.0
    at_limit = quality_of(instance(), row(objective=7.0, total_seconds=10.3), 7.0, 7.0, 10.0)
    assert set(at_limit.seconds.values()) == {10.0}
    assert at_limit.primal_integral == 10.0


def test_a_run_that_failed_reaches_nothing():
    run = row(outcome="timeout", incumbents=[(1.0, 7.0)])
    for found in (quality_of(instance(), run, 7.0, 7.0, 10.0),
                  quality_of(instance(), row(objective=7.0), 7.0, 7.0, 10.0, failed=True)):
        assert set(found.seconds.values()) == {math.inf}
        assert found.primal_integral == 10.0


def test_without_an_answer_there_is_nothing_to_reach():
    found = quality_of(instance(infeasible=True), row(outcome="infeasible"), None, None, 10.0)
    assert all(map(math.isnan, found.figures().values()))


# -- a class --------------------------------------------------------------------------------


@pytest.mark.parametrize(("sense", "best"), [("max", 7.0), ("min", 12.0)])
def test_the_best_bound_is_the_tightest(sense, best):
    rows = [row(bound=7.0), row(bound=12.0), row(bound=None)]
    assert best_bound(instance(sense=sense, best_bound=9.0), rows) == best
    assert best_bound(instance(sense=sense), [row()]) is None


def test_a_class_by_hand():
    instances = [instance("a"), instance("b"), instance("none", infeasible=True)]
    rows = [
        row("x", "a", objective=100.0, bound=100.0, incumbents=[(1.0, 100.0)]),
        row("y", "a", objective=99.5, bound=150.0, incumbents=[(3.0, 99.5)]),
        # The bound is beaten by the other's answer: it does not count.
        row("x", "b", objective=100.0, bound=104.0, incumbents=[(7.0, 100.0)]),
        row("y", "b", objective=90.0, bound=95.0, incumbents=[(1.0, 90.0)]),
        *(row(name, "none", outcome="infeasible", proof="conflict") for name in "xy"),
    ]
    judgements = judge(instances, rows, SETTINGS)
    assert "claims the bound 95" in judgements[3].wrong
    score = score_class("mip", instances, judgements, ("x", "y"), SETTINGS)
    assert score.quality_profiles["1%"] == {"x": [1.0, math.inf], "y": [3.0, math.inf]}
    assert score.quality_profiles["0.1%"] == {"x": [1.0, math.inf], "y": [math.inf] * 2}
    x, y = (one.quality for one in score.summaries)
    # Shifted by 1 s: (2 * 11)**(1/2) - 1, (4 * 11)**(1/2) - 1.
    assert x.seconds["1%"] == pytest.approx(22**0.5 - 1)
    assert y.seconds["1%"] == pytest.approx(44**0.5 - 1)
    assert y.seconds["0.1%"] == pytest.approx(10.0)
    # Integrals 1 and 7; 3 + 7 * 0.005 and, as it is wrong, 10.
    assert x.primal_integral == pytest.approx((2 * 8) ** 0.5 - 1)
    assert y.primal_integral == pytest.approx((4.035 * 11) ** 0.5 - 1)


def test_rows_survive_json_and_those_of_older_stores_have_no_incumbents():
    run = row(objective=7.0, incumbents=[(1.0, 7.0)])
    stored = json.loads(json.dumps(dataclasses.asdict(run)))
    assert Row(**stored) == run
    del stored["incumbents"]
    assert Row(**stored) == dataclasses.replace(run, incumbents=())
