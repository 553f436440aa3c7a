"""The bench's arithmetic and verdicts, on examples worked out by hand."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest

import alignsolve as al
from alignsolve.bench import worker
from alignsolve.bench.records import Instance, Reference, Row, Settings
from alignsolve.bench.score import (
    best_values,
    judge,
    score_class,
    shifted_geometric_mean,
)
from alignsolve.plot.performance import performance_profile

SETTINGS = Settings(10.0, 1000.0, 1, 1, 0, {})


def instance(name="a", sense="max", problem_class="flow", **known):
    return Instance(
        name, Path(name), 0, f"digest of {name}", 5, 3, problem_class, (), sense, Reference(**known)
    )


def row(name="a", backend="x", outcome="optimal", objective=None, **fields):
    fields = {"proof": "prices", "total_seconds": 1.0} | fields
    return Row(f"{name} {backend}", name, backend, outcome, objective=objective, **fields)


def verdict(one, *rows):
    return judge([one], rows, SETTINGS)


# -- means and profiles ------------------------------------------------------------------


def test_shifted_geometric_mean_by_hand():
    # (1+1)(7+1) = 16, root 4, less the shift 3.
    assert shifted_geometric_mean([1.0, 7.0], shift=1.0) == pytest.approx(3.0)
    assert shifted_geometric_mean([2.5]) == pytest.approx(2.5)
    assert shifted_geometric_mean([0.0, 0.0]) == 0.0
    assert math.isnan(shifted_geometric_mean([]))


def test_performance_profile_by_hand():
    seconds = {
        "x": [1.0, 2.0, 4.0, math.inf],
        "y": [2.0, 1.0, math.inf, math.inf],
        "z": [math.inf, math.inf, math.inf, math.inf],
    }
    profile = performance_profile(seconds)
    # x is fastest on the 1st and 3rd and needs twice the time on the 2nd; nobody solves the 4th.
    np.testing.assert_allclose(profile["x"][0], [1.0, 2.0])
    np.testing.assert_allclose(profile["x"][1], [0.5, 0.75])
    np.testing.assert_allclose(profile["y"][0], [1.0, 2.0])
    np.testing.assert_allclose(profile["y"][1], [0.25, 0.5])
    np.testing.assert_allclose(profile["z"][0], [1.0])
    np.testing.assert_allclose(profile["z"][1], [0.0])


def test_a_profile_starts_at_one_and_ignores_differences_below_the_clock():
    profile = performance_profile({"x": [1e-6, 8.0], "y": [1e-4, 2.0]})
    np.testing.assert_allclose(profile["x"], [[1.0, 4.0], [0.5, 1.0]])
    np.testing.assert_allclose(profile["y"], [[1.0], [1.0]])


# -- right and wrong ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("known", "fields", "word"),
    [
        ({"best_known": 10.0}, {"objective": 9.0}, "9 is optimal, but 10 is known"),
        ({"best_bound": 10.0}, {"objective": 11.0, "outcome": "feasible"}, "beyond the proved"),
        ({"best_known": 10.0}, {"outcome": "infeasible"}, "no answer, but one of value 10"),
        ({"infeasible": True}, {"objective": 1.0}, "known to have none"),
        (
            {"best_known": 10.0},
            {"objective": 8.0, "outcome": "feasible", "bound": 9.0},
            "claims the bound 9, but 10 is known",
        ),
    ],
)
def test_wrong_answers_are_flagged(known, fields, word):
    (one,) = verdict(instance(**known), row(**fields))
    assert word in one.wrong
    assert one.failed
    assert not one.solved


@pytest.mark.parametrize(
    ("known", "fields"),
    [
        ({"best_known": 10.0, "best_bound": 10.0}, {"objective": 10.0 + 1e-7}),
        ({"best_known": 10.0}, {"objective": 11.0}),
        ({"best_known": 10.0, "best_bound": 12.0}, {"objective": 11.0, "outcome": "feasible"}),
        ({"best_known": 10.0}, {"objective": 9.0, "outcome": "feasible", "bound": 10.5}),
        ({"infeasible": True}, {"outcome": "infeasible"}),
        ({"infeasible": True}, {"outcome": "nothing"}),
        ({}, {"outcome": "infeasible"}),
        ({"best_known": 10.0}, {"outcome": "crash"}),
    ],
)
def test_right_answers_are_not_flagged(known, fields):
    (one,) = verdict(instance(**known), row(**fields))
    assert one.wrong == ""


def test_an_unproved_conflict_solves_nothing(monkeypatch):
    problem = al.AlignmentProblem([[3, 1], [2, 2.5]], 1, load_min=2)
    result = al.solve(problem, "ortools-mcf")
    claim = dataclasses.replace(result, conflict=dataclasses.replace(result.conflict, proved=False))
    for found, proof in ((result, "conflict"), (claim, "")):
        monkeypatch.setattr("alignsolve.bench.measure.solve", lambda *_, found=found, **__: found)
        sent = []
        worker._solve(sent.append, "ortools-mcf", problem, {})
        fields = next(message["fields"] for message in sent if "fields" in message)
        if sent[-1] == {"conflict_checked": True}:
            fields["proof"] = "conflict"
        assert (fields["outcome"], fields["proof"]) == ("infeasible", proof)
        assert fields["message"] == found.conflict.text
        (one,) = verdict(instance(), row(**fields))
        assert one.solved is one.at_best is bool(proof)
        assert one.wrong == ""
        (summary,) = score_class("flow", [instance()], [one], ["x"], SETTINGS).summaries
        assert summary.solved == summary.proved_here == bool(proof)
        if not proof:
            assert summary.proof_seconds == pytest.approx(SETTINGS.time_limit)


def test_minimisation_turns_every_comparison_round():
    worse, better = (
        verdict(instance(sense="min", best_known=10.0, best_bound=10.0), row(objective=value))[0]
        for value in (11.0, 9.0)
    )
    assert "is optimal, but 10" in worse.wrong
    assert "beyond the proved bound" in better.wrong


def test_backends_convict_each_other_without_a_known_value():
    liar, honest, denier = verdict(
        instance(),
        row(backend="liar", objective=5.0),
        row(backend="honest", objective=7.0),
        row(backend="denier", outcome="infeasible"),
    )
    assert "7 is known" in liar.wrong
    assert honest.wrong == ""
    assert "7 is known" in denier.wrong


def test_an_impossible_value_convicts_nobody_else():
    one = instance(best_known=10.0, best_bound=10.0)
    impossible, honest = verdict(one, row(backend="x", objective=20.0), row(objective=10.0))
    assert impossible.wrong
    assert not honest.wrong
    assert best_values([one], [impossible.row]) == {"a": 10.0}


def test_an_answer_after_the_grace_is_a_failure():
    early, late = verdict(
        instance(best_known=3.0),
        row(backend="x", objective=3.0, total_seconds=11.0),
        row(backend="y", objective=3.0, total_seconds=11.1),
    )
    assert early.solved
    assert early.at_best
    assert late.late
    assert late.failed
    assert not late.solved
    assert not late.at_best


def test_gaps_lie_between_0_and_1():
    rows = [
        row(backend="x", objective=9.0, outcome="feasible"),
        row(backend="y", outcome="timeout"),
        row(backend="z", objective=-500.0, outcome="feasible"),
    ]
    gaps = [one.gap for one in verdict(instance(best_known=10.0), *rows)]
    assert gaps == pytest.approx([0.1, 1.0, 1.0])


# -- figures of a class ------------------------------------------------------------------


def test_where_none_has_run_half_nothing_is_compared():
    instances = [instance(name) for name in "abc"]
    judgements = judge(instances, [row("a", "x", objective=1.0)], SETTINGS)
    score = score_class("flow", instances, judgements, ("x", "y"), SETTINGS)
    assert (score.common, score.profile) == ((), {})
    assert not score.summaries[0].compared


def test_a_class_by_hand():
    instances = [instance(name) for name in "abcd"] + [instance("m", problem_class="mip")]
    rows = [
        row("a", "x", objective=1.0, total_seconds=1.0, build_seconds=0.0, solve_seconds=1.0),
        row("b", "x", objective=1.0, total_seconds=7.0, build_seconds=0.0, solve_seconds=7.0),
        row("c", "x", objective=1.0, proof="solver", rise_mib=30.0),
        row("d", "x", outcome="infeasible", proof="conflict", rise_mib=70.0),
        row("m", "x", objective=1.0, total_seconds=9.9),
        row("a", "y", objective=0.5, outcome="feasible"),
        row("b", "y", outcome="timeout"),
        row("c", "y", outcome="unsupported"),
        row("d", "y", outcome="nothing"),
        row("a", "narrow", objective=1.0),
        *(row(name, "narrow", outcome="unsupported") for name in "bcd"),
        *(row(name, "never", outcome="unsupported") for name in "abcd"),
    ]
    judgements = judge(instances, rows, SETTINGS)
    score = score_class("flow", instances, judgements, ("x", "y", "narrow", "never"), SETTINGS)
    assert score.instances == 4
    # y does not support c; narrow supports too few to be compared, and does not shrink the set.
    assert score.common == ("a", "b", "d")
    x, y, narrow, never = score.summaries
    assert (x.solved, x.supported, x.proved_here, x.proved_by_solver) == (4, 4, 3, 1)
    assert (x.at_best, y.at_best) == (4, 0)
    assert (y.solved, y.supported, y.unsupported, y.nothing, y.failed) == (0, 3, 1, 1, 1)
    assert (narrow.supported, narrow.unsupported, narrow.compared) == (1, 3, False)
    assert math.isnan(narrow.proof_seconds)
    assert (never.supported, never.unsupported, never.compared) == (0, 4, False)
    # a 1 s, b 7 s, d 1 s: (2 * 8 * 2)**(1/3) - 1; y proves nothing and is charged 10 s thrice.
    assert x.proof_seconds == pytest.approx(32 ** (1 / 3) - 1)
    assert y.proof_seconds == pytest.approx(10.0)
    # Gaps where a value is known: a and b.
    assert x.gap == 0.0
    assert y.gap == pytest.approx((0.5 + 1.0) / 2)
    assert x.rise_mib == 70.0
    assert score.profile["x"] == [1.0, 7.0, 1.0]
    assert score.profile["y"] == [math.inf] * 3
    assert set(score.profile) == {"x", "y"}


def test_an_unfinished_bench_compares_what_all_have_done():
    instances = [instance("a"), instance("b")]
    rows = [row(name, one, objective=1.0) for name, one in ("ax", "bx", "ay")]
    score = score_class("flow", instances, judge(instances, rows, SETTINGS), ("x", "y"), SETTINGS)
    assert score.common == ("a",)
    assert [one.supported for one in score.summaries] == [2, 1]
