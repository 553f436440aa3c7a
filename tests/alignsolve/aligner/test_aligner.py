"""The per-round service, round by round."""

import numpy as np
import pytest

import alignsolve as al
from alignsolve.aligner.strategies import STRATEGIES
from alignsolve.model.feasibility import violations


def reports_of(plan, loss=0.5, samples=10):
    """Every client of a plan reports on all of its experts."""
    return [
        al.ClientReport(client, plan.round, samples, 1.0, experts={
            int(expert): al.ExpertReport(samples, loss=loss) for expert in plan.experts_of(client)
        })
        for client in plan.clients
    ]


def test_rounds_balance_and_optimise():
    aligner = al.Aligner(4)
    for client in range(10):
        aligner.declare(client, max_experts=2)
    for _ in range(5):
        plan = aligner.plan(range(10))
        assert plan.result.status is al.Status.OPTIMAL
        assert not violations(plan.result.problem, plan.row_ind, plan.col_ind)
        assert aligner.observe(plan, reports_of(plan)).accepted == 10
    assert aligner.metrics()["holders"]["cv"] == 0


def test_every_strategy_fills_slots():
    for strategy in STRATEGIES:
        aligner = al.Aligner(5, strategy=strategy)
        for client in "abcdef":
            aligner.declare(client, max_experts=3)
        plan = aligner.plan("abcdef")
        filled = np.bincount(plan.row_ind, minlength=6)
        # FedAMoLE leaves slots open where they do not divide among the experts.
        assert (filled == 3).all() or (strategy == "fedamole" and filled.min() >= 2)


@pytest.mark.parametrize(("strategy", "name", "value"), [
    ("optimal", "policy", al.PolicySettings(min_experts=0)),
    ("random", "strategy", "round-robin"),
    ("random", "seed", 7),
])  # fmt: skip
def test_settings_that_are_assigned_count_and_are_saved(strategy, name, value, tmp_path):
    def planned(aligner):
        return aligner.plan(range(20), fitness=np.full((20, 4), -1.0)).col_ind.tolist()

    loose = {"load": al.LoadSettings(slack=8), "strategy": strategy}
    aligner = al.Aligner(4, **loose)
    setattr(aligner, name, value)
    aligner.save(tmp_path / "state.npz")
    wanted = planned(al.Aligner(4, **loose | {name: value}))
    assert wanted != planned(al.Aligner(4, **loose))
    for changed in (aligner, al.Aligner.load(tmp_path / "state.npz")):
        assert getattr(changed, name) == value
        assert planned(changed) == wanted


def test_an_unknown_strategy_cannot_be_assigned():
    aligner = al.Aligner(4)
    with pytest.raises(al.ProblemError, match="'best'; give one of optimal, random"):
        aligner.strategy = "best"
    assert aligner.strategy == "optimal"
