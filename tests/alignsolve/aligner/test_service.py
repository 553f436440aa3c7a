"""The service under random participants, dropouts, hostile reports and restarts."""

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

import alignsolve as al
from alignsolve.aligner.strategies import STRATEGIES
from alignsolve.model.feasibility import violations

BAD_NUMBERS = [math.nan, math.inf, -math.inf, -1.0, 1e300, 10**400, None, "7", True, [1], 1j]

# That all reports of a round are refused is no surprise here.
pytestmark = pytest.mark.filterwarnings("ignore:round")

#: Kinds of hostile report, and as what each is refused.
HOSTILE = {
    "number": "malformed", "expert": "malformed", "object": "malformed", "id": "malformed",
    "late": "late", "early": "late", "stranger": "not asked", "twice": "duplicate",
}  # fmt: skip


def good_report(plan, client, score):
    """Report on all experts of a client."""
    return al.ClientReport(
        client, plan.round, 8, 2.0, down_mb=1.0, down_seconds=0.5, up_mb=1.0, up_seconds=0.25,
        experts={
            int(expert): al.ExpertReport(8, loss=score, accuracy=min(score, 1.0))
            for expert in plan.experts_of(client)
        },
    )  # fmt: skip


def bad_report(data, kind, plan):
    """Return a report that has to be refused."""
    client = data.draw(st.sampled_from(plan.clients))
    report = good_report(plan, client, 0.5)
    if kind == "number":
        field = data.draw(st.sampled_from(["samples", "seconds", "down_mb", "up_seconds"]))
        optional = field in ("down_mb", "up_seconds")
        wrong = [bad for bad in BAD_NUMBERS if not (bad is None and optional)]
        return dataclasses.replace(report, **{field: data.draw(st.sampled_from(wrong))})
    if kind == "expert":
        wrong = data.draw(st.sampled_from([
            {99: al.ExpertReport(1)}, {-1: al.ExpertReport(1)}, {0: 7}, {True: al.ExpertReport(1)},
            {"a": al.ExpertReport(1)}, {0: al.ExpertReport(math.nan)}, 5,
            {0: al.ExpertReport(0, accuracy=1.5, loss=1.0)}, {0: al.ExpertReport(0, loss=-1.0)},
        ]))  # fmt: skip
        return dataclasses.replace(report, experts=wrong)
    if kind == "object":
        return data.draw(st.sampled_from([None, 3, "report", {"client": client}]))
    if kind == "id":
        wrong = data.draw(st.sampled_from([None, 1.5, True, [1], (1, 2), {}]))
        return dataclasses.replace(report, client=wrong)
    if kind in ("late", "early"):
        return dataclasses.replace(report, round=plan.round + (1 if kind == "early" else -1))
    if kind == "stranger":
        return dataclasses.replace(report, client="nobody")
    return report


class Service(RuleBasedStateMachine):
    """Rounds of an aligner, with what must hold after each step."""

    plan = None

    @initialize(data=st.data())
    def start(self, data):
        self.m = data.draw(st.integers(1, 5), "experts")
        arguments = {}
        if self.m > 1 and data.draw(st.booleans(), "layers"):
            arguments = {"expert_group": [j % 2 for j in range(self.m)], "group_max": 2,
                         "group_min": data.draw(st.sampled_from([0, 1]))}
        self.aligner = al.Aligner(
            self.m,
            expert_mb=data.draw(st.sampled_from([1.0, [0.5 + j for j in range(self.m)]])),
            strategy=data.draw(st.sampled_from([*["optimal"] * 6, *STRATEGIES])),
            fitness=al.FitnessSettings(half_life=3.0),
            load=al.LoadSettings(
                slack=data.draw(st.sampled_from([0.0, 0.5])),
                sample_slack=data.draw(st.sampled_from([None, None, 0.3])),
            ),
            policy=al.PolicySettings(
                min_finishers=data.draw(st.sampled_from([0, 0, 1, 2.5])),
                switch_cost=data.draw(st.sampled_from([0, 0.1])),
                download_cost=data.draw(st.sampled_from([0, 0.1])),
                fitness_floor=data.draw(st.sampled_from([0, 0, 0.9])),
            ),
            **arguments,
        )
        self.credited = np.zeros(self.m, dtype=int)
        self.refused = 0

    @rule(client=st.integers(0, 5), slots=st.integers(0, 4), data=st.data())
    def declare(self, client, slots, data):
        # What is declared now counts from the next plan on.
        self.declared_since = True
        self.aligner.declare(
            client, max_experts=slots,
            memory_mb=data.draw(st.sampled_from([None, 0, 6, 20])),
            budget_mb=data.draw(st.sampled_from([None, 0, 1.5, 4])),
            forbidden=data.draw(st.sampled_from([None, [], [0]])),
            seconds_per_sample=data.draw(st.sampled_from([None, 0.1, 1.0])),
            samples=data.draw(st.sampled_from([None, 0, 5, 20])),
        )  # fmt: skip

    @rule(
        clients=st.lists(st.integers(0, 7), unique=True, max_size=6),
        deadline=st.sampled_from([None, None, 0.0, 5.0]),
    )
    def make_plan(self, clients, deadline):
        self.plan, self.declared_since = self.aligner.plan(clients, deadline), False
        self.check_plan(self.plan)
        assert self.plan.clients == tuple(clients)

    @rule(client=st.integers(0, 5), budget=st.sampled_from([0, 1.5]))
    def plan_where_downloads_bind(self, client, budget):
        self.aligner.declare(
            client, max_experts=4, memory_mb=100, budget_mb=budget, forbidden=[]
        )  # fmt: skip
        self.plan, self.declared_since = self.aligner.plan([client]), False
        self.check_plan(self.plan)

    @precondition(lambda self: self.plan is not None and self.plan.clients)
    @rule(data=st.data())
    def lose_clients(self, data):
        lost = data.draw(st.sets(st.sampled_from(self.plan.clients)))
        self.plan = self.aligner.replan(self.plan, lost)
        self.check_plan(self.plan)
        assert not lost & set(self.plan.clients)

    def check_plan(self, plan):
        """A plan keeps every bound, or says which were relaxed."""
        capacity = self.aligner.tables.capacity
        for client in () if self.declared_since else plan.clients:
            row = self.aligner.tables.clients.row[client]
            experts = plan.experts_of(client)
            slots = capacity.max_experts[row]
            assert experts.size <= (1 if slots < 0 else slots)
            assert not capacity.forbidden[row, experts].any()
            held = 4.0 * plan.expert_mb[experts].sum()
            assert held <= capacity.memory_mb[row] * (1 + 1e-9) + 1e-9
            sent = plan.expert_mb[plan.downloads_of(client)].sum()
            assert sent <= capacity.budget_mb[row] * (1 + 1e-9) + 1e-9
        if plan.result is not None:
            assert plan.result.has_answer
            problem = plan.result.problem
            if plan.relaxations:
                problem = plan.result.relaxed_problem
                assert all(part.text for part in plan.relaxations)
            assert not violations(problem, plan.result.row_ind, plan.result.col_ind)

    @precondition(lambda self: self.plan is not None and self.plan.clients)
    @rule(data=st.data(), score=st.sampled_from([0.0, 0.3, 2.0]))
    def close_round(self, data, score):
        plan = self.plan
        finished = data.draw(st.sets(st.sampled_from(plan.clients)))
        good = [good_report(plan, client, score) for client in plan.clients if client in finished]
        kinds = data.draw(st.lists(st.sampled_from(sorted(HOSTILE)), max_size=3))
        # Malformed ones first: after a good report they would count as its duplicates.
        kinds = sorted(kind for kind in kinds if kind != "twice") + ["twice"] * bool(finished)
        bad = [bad_report(data, kind, plan) for kind in kinds if kind != "twice"]
        seen = self.aligner.observe(plan, [*bad, *good, *good[:1]])
        assert seen.accepted == len(good)
        assert set(seen.dropped) == set(plan.clients) - finished
        assert [refusal.kind for refusal in seen.refused] == [HOSTILE[kind] for kind in kinds]
        assert all(refusal.reason for refusal in seen.refused)
        self.refused += len(kinds)
        for client in finished:
            self.credited[plan.experts_of(client)] += 1
        again = self.aligner.observe(plan, good)
        assert again.accepted == 0 and len(again.refused) == len(good)
        self.refused += len(good)
        self.plan = None

    @rule(clients=st.sets(st.integers(0, 8), max_size=3))
    def forget(self, clients):
        aligner, known = self.aligner, set(self.aligner.tables.clients.ids)
        open_plan = aligner.open_plan
        if open_plan is not None and clients & known & set(open_plan.clients):
            with pytest.raises(al.ProblemError, match="has a part in the open round"):
                aligner.forget(clients)
            clients = clients - set(open_plan.clients)
        assert aligner.forget(clients) == len(clients & known)
        assert not clients & set(aligner.tables.clients.ids)

    @rule()
    def restart(self):
        state = self.aligner.state_dict()
        other = al.Aligner(
            self.m,
            expert_mb=self.aligner.settings.expert_mb,
            strategy=self.aligner.strategy,
            fitness=self.aligner.settings.fitness,
            load=self.aligner.settings.load,
            policy=self.aligner.policy,
            **self.groups(),
        )
        other.load_state_dict(state)
        clients = [0, 3, 9]
        ours, theirs = self.aligner.plan(clients), other.plan(clients)
        assert ours.row_ind.tobytes() == theirs.row_ind.tobytes()
        assert ours.col_ind.tobytes() == theirs.col_ind.tobytes()
        assert ours.digest == theirs.digest
        # Neither plan counts: both go on from the saved state, the plan that was open included.
        self.aligner = other
        other.load_state_dict(state)

    def groups(self):
        return self.aligner.settings.group_arguments()

    @invariant()
    def only_finished_holders_count(self):
        if hasattr(self, "credited"):
            metrics = self.aligner.metrics()
            assert self.aligner.tables.load.holders.tolist() == self.credited.tolist()
            assert sum(metrics["refused"].values()) == self.refused
            assert metrics["holders"]["cv"] >= 0

    @invariant()
    def all_fitness_is_finite(self):
        if hasattr(self, "aligner") and len(self.aligner.tables.clients):
            rows = np.arange(len(self.aligner.tables.clients))
            assert np.isfinite(self.aligner.tables.fitness.fitness(rows, 50)).all()


TestService = Service.TestCase
TestService.settings = settings(max_examples=10, stateful_step_count=12)


def test_service_saves_to_a_file(tmp_path):
    aligner = al.Aligner(3, expert_ids=["a", "b", "c"], log=tmp_path / "log.jsonl")
    for client in ("x", 7):
        aligner.declare(client, max_experts=2)
    plan = aligner.plan(["x", 7])
    aligner.save(tmp_path / "state.npz")
    other = al.Aligner.load(tmp_path / "state.npz")
    for each in (aligner, other):
        reports = [good_report(plan, client, 0.5) for client in plan.clients]
        assert each.observe(plan, reports).accepted == 2
    ours, theirs = aligner.plan([7, "x"]), other.plan([7, "x"])
    assert ours.digest == theirs.digest
    np.testing.assert_array_equal(ours.col_ind, theirs.col_ind)


def test_damaged_state_is_refused(tmp_path):
    path = tmp_path / "state.npz"
    al.Aligner(3).save(path)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 255
    path.write_bytes(data[: len(data) * 3 // 4])
    with pytest.raises(al.ProblemError, match="not a complete npz archive"):
        al.Aligner.load(path)
    with pytest.raises(al.ProblemError, match="this aligner needs"):
        al.Aligner(4).load_state_dict(al.Aligner(3).state_dict())
