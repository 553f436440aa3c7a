"""What a round's problem says, what moves, what is logged, what strategies do."""

import dataclasses
import json
import re

import numpy as np
import pytest

import alignsolve as al
from alignsolve.aligner.log import plan_figures
from alignsolve.aligner.placement import Placements
from alignsolve.backends.portfolio import TOO_SLOW


def report(plan, client, samples=10, **more):
    return al.ClientReport(client, plan.round, samples, 1.0, **({
        "experts": {int(j): al.ExpertReport(samples, loss=0.1 * j) for j in plan.experts_of(client)}
    } | more))  # fmt: skip


def close(aligner, plan, clients=None, **more):
    return aligner.observe(plan, [
        report(plan, client, **more) for client in (plan.clients if clients is None else clients)
    ])


def test_only_untrained_copies_are_current():
    placements = Placements(3)
    placements.grow(2)
    both = np.array([0, 1])
    # Client 0 trains expert 0 and only looks at expert 1; client 1 vanishes.
    placements.finish(both, np.array([0, 0]), np.array([0, 1]), np.array([True, False]))
    assert placements.version.tolist() == [1, 0, 0]
    assert placements.current(both).tolist() == [[False, True, False], [False] * 3]
    assert placements.placed.tolist() == [[True, True, False], [False] * 3]
    # Client 1 trains expert 1: client 0's copy is outdated, its placement stays.
    placements.finish(np.array([1]), np.array([1]), np.array([1]), np.array([True]))
    assert not placements.current(both).any()
    assert placements.placed[0].tolist() == [True, True, False]


def test_downloads_and_placements_are_told_apart():
    aligner = al.Aligner(2, expert_mb=[5.0, 7.0])
    fitness = [[9.0, 1.0], [1.0, 9.0]]
    plan = aligner.plan(["a", "b"], fitness=fitness)
    assert (plan.down_mb, plan.placements_changed) == (12.0, 2)
    aligner.observe(plan, [report(plan, "a"), report(plan, "b", experts={})])
    plan = aligner.plan(["a", "b"], fitness=fitness)
    # Expert 0 was trained: the copy of client a is outdated, and its placement is not new.
    assert plan.placements_changed == 0
    assert plan.downloads_of("a").tolist() == [0] and plan.downloads_of("b").tolist() == []
    assert plan.down_mb == 5.0
    assert plan.holders_of(1) == ("b",)


def test_switching_cost_keeps_placements():
    changed = {}
    for cost in (0.0, 2.0):
        rng = np.random.default_rng(3)
        aligner = al.Aligner(6, policy=al.PolicySettings(switch_cost=cost))
        for _ in range(6):
            plan = aligner.plan(range(12), fitness=rng.random((12, 6)))
            close(aligner, plan)
        changed[cost] = aligner.metrics()["placements_changed"]
    assert changed[2.0] < changed[0.0] / 2


def test_rounds_stay_flow_problems_where_they_can():
    aligner = al.Aligner(3, policy=al.PolicySettings(min_finishers=1.0, switch_cost=0.1))
    for client in range(9):
        aligner.declare(client, max_experts=1, memory_mb=50, samples=20)
    assert aligner.plan(range(9)).result.problem.problem_class == "flow"
    aligner = al.Aligner(3, policy=al.PolicySettings(min_finishers=1.5))
    plan = aligner.plan(range(5))
    assert set(plan.result.problem.loads) == {"finishers"}


def test_a_round_that_cannot_hold_says_what_relaxed():
    aligner = al.Aligner(4, policy=al.PolicySettings(min_finishers=2))
    plan = aligner.plan(["a", "b"])
    assert plan.result.has_answer and plan.relaxations
    assert all(relaxation.amount > 0 for relaxation in plan.relaxations)
    empty = aligner.plan([])
    assert empty.row_ind.size == 0 and empty.clients == ()


def test_fairness_floor():
    fitness = np.array([[9.0, 1.0], [8.0, 7.9], [9.0, 1.0]])
    plans = {}
    for floor in (0.0, 0.9):
        aligner = al.Aligner(
            2, load=al.LoadSettings(slack=1.0), policy=al.PolicySettings(fitness_floor=floor)
        )
        plans[floor] = aligner.plan("abc", fitness=fitness)
    chosen = fitness[plans[0.9].row_ind, plans[0.9].col_ind]
    assert (chosen >= 0.9 * fitness.max(axis=1)).all()
    assert not plans[0.9].relaxations


def test_download_cost_prefers_current_copies():
    aligner = al.Aligner(2, policy=al.PolicySettings(download_cost=10.0, switch_cost=0.1),
                         load=al.LoadSettings(slack=2.0))  # fmt: skip
    plan = aligner.plan(["a"], fitness=[[1.0, 0.0]])
    aligner.observe(plan, [report(plan, "a", experts={})])
    assert aligner.plan(["a"], fitness=[[1.0, 1.05]]).experts_of("a").tolist() == [0]


def test_replan_is_the_plan_of_those_left():
    rng = np.random.default_rng(0)
    fitness = rng.random((40, 5))
    aligner, other = al.Aligner(5), al.Aligner(5)
    plan = aligner.plan(range(40), fitness=fitness)
    again = aligner.replan(plan, [3, 17])
    kept = [client for client in range(40) if client not in (3, 17)]
    fresh = other.plan(kept, fitness=fitness[kept])
    assert again.round == plan.round == 1 and again.clients == fresh.clients
    assert again.result.status is al.Status.OPTIMAL
    assert again.result.objective_value == pytest.approx(fresh.result.objective_value)
    seen = close(aligner, again)
    assert seen.accepted == 38 and seen.dropped == ()
    with pytest.raises(al.ProblemError, match="round 1 is not open"):
        aligner.replan(again, [4])
    with pytest.raises(al.ProblemError, match="client 'x' has no part"):
        other.replan(fresh, ["x"])


@pytest.mark.parametrize("seed", range(3))
def test_replan_moves_few_and_is_optimal(seed):
    rng = np.random.default_rng(seed)
    aligner = al.Aligner(6, expert_group=[0, 0, 0, 1, 1, 1] if seed == 2 else None,
                         policy=al.PolicySettings(switch_cost=0.05))  # fmt: skip
    for client in range(600):
        aligner.declare(client, max_experts=int(rng.integers(1, 4)), memory_mb=12)
    for _ in range(2):
        plan = aligner.plan(range(600), fitness=rng.random((600, 6)))
        close(aligner, plan, range(500))
    plan = aligner.plan(range(600), fitness=rng.random((600, 6)))
    again = aligner.replan(plan, range(7))
    assert again.result.backend.endswith("on part")
    assert again.result.status is al.Status.OPTIMAL
    whole = al.solve(again.result.problem)
    assert again.result.objective_value == pytest.approx(whole.objective_value, rel=1e-12)
    kept = {(client, expert) for client in range(7, 600) for expert in plan.experts_of(client)}
    assert sum((client, expert) not in kept for client in again.clients
               for expert in again.experts_of(client)) < 60  # fmt: skip


def test_restart_with_an_open_round(tmp_path):
    aligner = al.Aligner(3)
    plan = aligner.plan(["a", 1, "b"], deadline_s=9.0)
    aligner.save(tmp_path / "a.npz")
    other = al.Aligner.load(tmp_path / "a.npz")
    assert other.open_plan.clients == plan.clients and other.open_plan.deadline_s == 9.0
    ours, theirs = (each.replan(plan, ["b"]) for each in (aligner, other))
    np.testing.assert_array_equal(ours.col_ind, theirs.col_ind)
    assert close(other, theirs).accepted == 2


def test_a_replan_with_budgets_goes_on_from_the_plan_also_after_a_restart(tmp_path):
    rng = np.random.default_rng(0)
    aligner = al.Aligner(8, expert_mb=rng.choice([4.0, 6.0, 8.0], 8),
                         load=al.LoadSettings(slack=0.1, sample_slack=0.1),
                         policy=al.PolicySettings(rel_gap=0.005))  # fmt: skip
    for client in range(600):
        aligner.declare(client, max_experts=int(rng.integers(1, 4)), samples=rng.integers(20, 400),
                        memory_mb=rng.choice([40, 60, 80]), budget_mb=rng.choice([8, 12, 16]))
    plan = aligner.plan(range(600))
    aligner.observe(plan, [
        report(plan, client, experts={
            int(expert): al.ExpertReport(10, loss=rng.random())
            for expert in plan.experts_of(client)
        }) for client in plan.clients
    ])
    plan = aligner.plan(range(600))
    assert plan.result.backend == "lagrangian"
    assert plan.result.load_prices.keys() == aligner.tables.prices.keys() == {"", "samples"}
    aligner.save(tmp_path / "a.npz")
    other = al.Aligner.load(tmp_path / "a.npz")
    ours, theirs = (each.replan(plan, range(6)) for each in (aligner, other))
    assert ours.result.stats["passes"] == 1 and ours.result.gap <= 0.005
    from_nothing = al.solve(ours.result.problem, rel_gap=0.005, repeatable=True)
    assert ours.result.dual_bound != from_nothing.dual_bound
    np.testing.assert_array_equal(ours.row_ind, theirs.row_ind)
    np.testing.assert_array_equal(ours.col_ind, theirs.col_ind)
    for name, prices in aligner.tables.prices.items():
        np.testing.assert_array_equal(prices, other.tables.prices[name])


def test_own_scores_are_not_saved(tmp_path):
    settings = al.FitnessSettings(score=lambda report: report.samples)
    al.Aligner(3, fitness=settings).save(tmp_path / "a.npz")
    with pytest.raises(al.ProblemError, match="score of your own"):
        al.Aligner.load(tmp_path / "a.npz")
    assert al.Aligner.load(tmp_path / "a.npz", fitness=settings).n_experts == 3


def test_log(tmp_path):
    path = tmp_path / "rounds.jsonl"
    aligner = al.Aligner(3, log=path, policy=al.PolicySettings(min_finishers=5))
    plan = aligner.plan(["a", "b"])
    plan = aligner.replan(plan, ["b"])
    aligner.observe(plan, [report(plan, "a"), None])
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["event"] for line in lines] == ["plan", "replan", "observe"]
    assert lines[0]["problem"].startswith("sha256:") and lines[0]["relaxations"]
    assert lines[0]["reproducible"] is True and lines[1]["lost"] == 1
    assert lines[2]["accepted"] == 1 and lines[2]["refused"] == {"malformed": 1}


def test_all_strategies_log_the_same_inputs(tmp_path):
    inputs = set()
    for strategy in ("optimal", "greedy", "flex-moe"):
        aligner = al.Aligner(3, strategy=strategy, log=tmp_path / "rounds.jsonl")
        aligner.plan(["a", "b"], fitness=[[1, 2, 3], [3, 2, 1]])
        line = json.loads((tmp_path / "rounds.jsonl").read_text().splitlines()[-1])
        assert line["strategy"] == strategy
        inputs.add(line["inputs"])
    assert len(inputs) == 1 and inputs.pop().startswith("sha256:")
    aligner.plan(["a", "b"], fitness=[[1, 2, 3], [3, 2, 1.5]])
    again = json.loads((tmp_path / "rounds.jsonl").read_text().splitlines()[-1])
    assert again["inputs"] != line["inputs"]


def test_log_says_where_the_clock_had_a_say():
    plan = al.Aligner(3).plan(["a", "b"])
    assert plan_figures(plan)["reproducible"] is True
    late = dataclasses.replace(plan.result, termination=al.Termination.TIME_LIMIT)
    passed = dataclasses.replace(plan.result, fallbacks=(
        al.Fallback("lagrangian", f"{TOO_SLOW} 30 s of the 1 s left"),))  # fmt: skip
    for result in (late, passed):
        assert plan_figures(dataclasses.replace(plan, result=result))["reproducible"] is False


def test_explain():
    aligner = al.Aligner(2, expert_ids=["north", "south"])
    with pytest.raises(al.ProblemError, match="no solved plan"):
        aligner.explain()
    # Ids that are numbers are ids, not rows.
    plan = aligner.plan([7, 1, "a", "b"], fitness=[[5.0, 0.0], [4.0, 0.0], [3.0, 2.0], [0.0, 1.0]])
    close(aligner, plan)
    why = aligner.explain(1)
    assert why.client == 1 and "north" in why.text()
    assert "south" in aligner.explain("a").text()
    assert "south" in aligner.explain(expert="south").text()
    assert aligner.explain().text()
    for wrong in ({"client": 3}, {"client": 1, "expert": 0}, {"expert": 9}):
        with pytest.raises(al.ProblemError):
            aligner.explain(**wrong)
    floors = al.Aligner(2, policy=al.PolicySettings(fitness_floor=0.5))
    floors.plan(["a", "b"], fitness=[[3.0, 1.0], [2.0, 1.5]])
    estimated, settled = floors.explain("a"), floors.explain("a", exact=True, time_limit=20)
    assert (estimated.exact, settled.exact) == (False, True)
    assert "estimates" in floors.explain("a").text()
    greedy = al.Aligner(2, strategy="greedy")
    greedy.plan(["a"])
    with pytest.raises(al.ProblemError, match="strategy that solves"):
        greedy.explain("a")


def fleet(strategy, **policy):
    aligner = al.Aligner(6, strategy=strategy, expert_mb=[1, 1, 1, 2, 2, 4.0],
                         policy=al.PolicySettings(**policy))  # fmt: skip
    rng = np.random.default_rng(1)
    for client in range(30):
        aligner.declare(client, max_experts=int(rng.integers(1, 5)), memory_mb=16.0)
    return aligner, rng.random((30, 6)) + np.arange(6) / 3


def test_baselines_differ_as_they_should():
    plans = {}
    for strategy in ("random", "round-robin", "greedy", "flex-moe", "fedamole"):
        aligner, fitness = fleet(strategy)
        plans[strategy] = aligner.plan(range(30), fitness=fitness)
    spread = {name: np.ptp(plan.loads) for name, plan in plans.items()}
    assert spread["greedy"] > spread["flex-moe"]
    for plan in plans.values():
        memory = np.bincount(plan.row_ind, 4 * plan.expert_mb[plan.col_ind], 30)
        assert (memory <= 16).all()


def test_fedamole_gives_every_expert_as_many_clients():
    aligner = al.Aligner(4, strategy="fedamole")
    for client in range(9):
        aligner.declare(client, max_experts=3)
    plan = aligner.plan(range(9))
    assert plan.loads.tolist() == [6, 6, 6, 6]
    assert np.bincount(plan.row_ind).min() >= 2


def test_round_robin_goes_on_where_it_ended():
    aligner = al.Aligner(5, strategy="round-robin")
    dealt = []
    for _ in range(3):
        plan = aligner.plan(["a", "b", "c"])
        dealt += plan.col_ind.tolist()
        close(aligner, plan)
    assert dealt == [0, 1, 2, 3, 4, 0, 1, 2, 3]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n_experts": 0}, "n_experts is 0"),
        ({"n_experts": True}, "n_experts is True"),
        ({"n_experts": 2, "strategy": "best"}, "strategy is 'best'"),
        ({"n_experts": 2, "expert_mb": [1, -1]}, r"expert_mb\[1\] is -1"),
        ({"n_experts": 2, "group_max": 1}, "need expert_group"),
        ({"n_experts": 2, "expert_ids": ["a", "a"]}, "repeats 'a'"),
    ],
)
def test_wrong_aligners(arguments, message):
    with pytest.raises(al.ProblemError, match=message):
        al.Aligner(**arguments)


@pytest.mark.parametrize(
    ("clients", "more", "message"),
    [
        (["z", "a", "a"], {}, "client 'a' is given twice"),
        ([1, "1"], {}, "reads like another"),
        ([1.5], {}, "1.5 is float"),
        ([True], {}, "True is bool"),
        (["a"], {"deadline_s": np.nan}, "deadline_s is nan"),
        (["a"], {"fitness": [[1.0]]}, "fitness has shape"),
        (["a"], {"fitness": [[np.nan, 1.0]]}, "fitness"),
    ],
)
def test_wrong_plans(clients, more, message):
    aligner = al.Aligner(2)
    with pytest.raises(al.ProblemError, match=message):
        aligner.plan(clients, **more)
    # Nothing of it stays.
    assert aligner.round == 0 and aligner.open_plan is None


@pytest.mark.parametrize("name", ["min_experts", "min_finishers", "switch_cost", "fitness_floor",
                                  "time_limit", "rel_gap"])  # fmt: skip
def test_wrong_policies(name):
    with pytest.raises(al.ProblemError, match=name):
        al.PolicySettings(**{name: -1})


@pytest.mark.parametrize("library", ["numpy", "torch"])
def test_reports_of_arrays_and_tensors_teach_the_same(library):
    made = pytest.importorskip(library).asarray
    learnt = []
    for of in (lambda value: value, made):
        aligner = al.Aligner(2, capacity=al.CapacitySettings(max_experts=2))
        plan = aligner.plan(["a"])
        # An array of numpy is no key.
        experts = {j if library == "numpy" else of(j): al.ExpertReport(
            of(8), loss=of(0.25), accuracy=of(0.5)) for j in (0, 1)}  # fmt: skip
        told = al.ClientReport("a", of(1), of(8), of(1.5), down_mb=of(2.0), experts=experts)
        assert aligner.observe(plan, [told]).accepted == 1
        learnt.append(aligner.state_dict()["arrays"])
    for name, array in learnt[0].items():
        np.testing.assert_array_equal(learnt[1][name], array)


def test_a_tensor_that_asks_for_gradients_is_a_number():
    torch = pytest.importorskip("torch")
    aligner = al.Aligner(1)
    plan = aligner.plan(["a"])
    loss = torch.tensor(0.5, requires_grad=True, dtype=torch.bfloat16)
    aligner.declare("a", samples=torch.tensor(20))
    told = report(plan, "a", experts={0: al.ExpertReport(1, loss)})
    assert aligner.observe(plan, [told]).accepted == 1


@pytest.mark.parametrize("value", [np.ma.masked, np.array([0.5]), np.array(True), np.array(1j)])
def test_other_arrays_are_no_numbers(value):
    aligner = al.Aligner(1)
    plan = aligner.plan(["a"])
    wrong = report(plan, "a", experts={0: al.ExpertReport(1, loss=value)})
    with pytest.warns(UserWarning, match="round 1: every report was refused, 1 malformed; the fir"):
        seen = aligner.observe(plan, [wrong])
    assert "expert 0: loss is " in seen.refused[0].reason


def test_an_expert_named_twice_is_refused():
    aligner = al.Aligner(1)
    plan = aligner.plan(["a"])
    zero = {np.int64(0): al.ExpertReport(1), _Zero(): al.ExpertReport(2)}
    with pytest.warns(UserWarning, match="an expert twice"):
        assert not aligner.observe(plan, [report(plan, "a", experts=zero)]).accepted


class _Zero:
    """A tensor without dimensions, as a key."""

    ndim = 0

    def item(self):
        return 0


def test_a_round_that_taught_nothing_warns():
    aligner = al.Aligner(2)
    plan = aligner.plan(["a", "b"])
    reports = [report(plan, client, samples=-1) for client in plan.clients]
    with pytest.warns(UserWarning, match=re.escape(
        "round 1: every report was refused, 2 malformed; the first because samples is -1; give a "
        "number from 0 to 1e+12; clients that count as dropped out: 2"
    )):  # fmt: skip
        aligner.observe(plan, reports)
    with pytest.warns(UserWarning, match=r"round 1 is not open: nothing was learnt of 2 reports "):
        aligner.observe(plan, reports)
    plan = aligner.plan(["a", "b"])
    wrong = [dataclasses.replace(report(plan, "a"), round=7)]
    with pytest.warns(UserWarning, match=r"1 late; the first because the report is of round 7, "):
        aligner.observe(plan, wrong)
