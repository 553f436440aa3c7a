"""Clients alike in features learn from each other's scores; without features nothing changes."""

import dataclasses
import math
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import alignsolve as al
from alignsolve.aligner.features import FARTHEST, LANDMARKS, ClientFeatures, Kernel
from alignsolve.aligner.fitness import FitnessTracker
from alignsolve.aligner.shared_evidence import NOISE, SharedEvidence, shared_evidence

pytestmark = pytest.mark.filterwarnings("ignore:round")


def learnt(n, m, vectors, scores, **wanted):
    """Return features and a tracker that saw scores (client, expert, score) in round 1."""
    tracker = FitnessTracker(al.FitnessSettings(**({"half_life": math.inf} | wanted)), m)
    features = ClientFeatures()
    tracker.grow(n)
    features.grow(n)
    features.update(vectors)
    clients, experts, values = zip(*scores, strict=True)
    tracker.update(np.array(clients), np.array(experts), np.array(values, dtype=float), 1)
    return features, tracker


def gaussian_process(features, tracker, kernel, rows, expert):
    """Return mean and variance of an expert's residuals at all clients by the dense formula."""
    points = kernel._scaled(features.vector)
    away = ((points[:, None] - points[None]) ** 2).sum(axis=2)
    likeness = np.exp(-away / (2 * kernel.width**2))
    count, excess = (part[:, expert] for part in tracker.evidence(rows, 1))
    seen = rows[count > 0]
    count, excess = count[count > 0], excess[count > 0]
    inner = likeness[np.ix_(seen, seen)] + NOISE * np.diag(1 / count)
    cross = likeness[:, seen]
    mean = cross @ np.linalg.solve(inner, excess / count)
    return mean, 1 - np.einsum("ij,ji->i", cross, np.linalg.solve(inner, cross.T))


@settings(max_examples=15)
@given(st.integers(0, 2**32 - 1), st.sampled_from([0.1, 1.0]), st.sampled_from([0.5, 1.0, 2.0]))
def test_estimates_are_those_of_the_dense_gaussian_process(seed, weight, width):
    rng = np.random.default_rng(seed)
    n, m = int(rng.integers(2, 20)), 3
    pairs = np.argwhere(rng.random((n, m)) < 0.6)
    scores = [(i, j, rng.random()) for i, j in pairs.tolist()] or [(0, 0, 0.7)]
    features, tracker = learnt(n, m, dict(enumerate(rng.standard_normal((n, 4)))), scores,
                               prior_weight=weight, kernel_width=width)
    model = SharedEvidence.of(features, tracker, 1)
    shared = model.estimate(features, np.arange(n))
    for expert in range(m):
        mean, variance = gaussian_process(features, tracker, model.kernel, model.rows, expert)
        np.testing.assert_allclose(shared.residual[:, expert], mean, atol=5e-3)
        np.testing.assert_allclose(shared.count[:, expert] / NOISE, 1 / variance - 1,
                                   rtol=0.05, atol=0.05)


def test_clients_with_equal_features_count_as_one():
    vectors = {0: [1.0, 0.0], 1: [1.0, 0.0], 2: [-1.0, 0.0], 3: [-1.0, 0.0]}
    features, tracker = learnt(4, 2, vectors, [(0, 0, 0.9), (0, 1, 0.1), (2, 0, 0.1), (2, 1, 0.9)])
    shared = shared_evidence(features, tracker, np.arange(4), 1)
    np.testing.assert_allclose(shared.residual[0], shared.residual[1], atol=1e-6)
    np.testing.assert_allclose(shared.count[:2], 1.0, atol=0.03)  # one score of each
    fitness = tracker.fitness(np.array([1, 3]), 1, shared=dataclasses.replace(
        shared, residual=shared.residual[[1, 3]], count=shared.count[[1, 3]]))
    assert fitness[0, 0] > fitness[0, 1] + 0.1 and fitness[1, 1] > fitness[1, 0] + 0.1


def test_who_has_no_features_has_the_fitness_of_today():
    features, tracker = learnt(3, 2, {0: [1.0], 1: [2.0]}, [(0, 0, 0.9), (1, 1, 0.4), (2, 0, 0.2)])
    clients = np.array([2])
    plain = tracker.fitness(clients, 4)
    shared = shared_evidence(features, tracker, clients, 4)
    assert np.array_equal(tracker.fitness(clients, 4, shared), plain)
    assert shared_evidence(ClientFeatures(), tracker, clients, 4) is None


def served(rounds, features_of, n=12, m=4, seed=0, **more):
    """Play rounds on clients of two kinds that suit other experts; return aligner and plans."""
    aligner = al.Aligner(m, fitness=al.FitnessSettings(score="accuracy"), **more)
    rng = np.random.default_rng(seed)
    plans = []
    for _ in range(rounds):
        plan = aligner.plan(range(n))
        plans.append(plan)
        aligner.observe(plan, [
            al.ClientReport(client, plan.round, 8, 1.0, features=features_of(client), experts={
                expert: al.ExpertReport(8, accuracy=min(1.0, 0.1 * rng.random() + 0.8 * (
                    client % 2 == expert % 2))) for expert in plan.experts_of(client).tolist()})
            for client in plan.clients])
    return aligner, plans


def kind_of(client):
    return [10.0 * (client % 2) + 0.1 * client, 1.0]


def matched(plan):
    """Return the share of pairs in which client and expert suit each other."""
    return float((np.array(plan.clients)[plan.row_ind] % 2 == plan.col_ind % 2).mean())


def test_alike_clients_need_fewer_rounds():
    alone, shared = (served(4, told, n=40, m=8)[1] for told in (lambda _: None, kind_of))
    assert matched(shared[2]) == 1.0 > matched(alone[2])


def test_features_that_are_absent_leave_plans_as_they_were():
    _, plans = served(5, lambda _: None)
    aligner, _ = served(5, lambda _: None)
    rows = np.arange(12)
    assert not aligner.tables.features.known.any()
    assert np.array_equal(aligner.tables.inputs(6, rows).fitness,
                          aligner.tables.fitness.fitness(rows, 6))
    assert len(plans) == 5


@pytest.mark.parametrize("wrong", [
    math.nan, "text", [math.nan], [math.inf, 1.0], [1e13], [], [[1.0]], ["a"], [1j], {"a": 1},
    [0.0] * 1025, object(),
])  # fmt: skip
def test_features_that_are_no_numbers_are_refused(wrong):
    aligner = al.Aligner(2)
    plan = aligner.plan([0, 1])
    report = al.ClientReport(0, plan.round, 1, 1.0, features=wrong)
    seen = aligner.observe(plan, [report, al.ClientReport(1, plan.round, 1, 1.0)])
    assert [refusal.kind for refusal in seen.refused] == ["malformed"]
    assert "features" in seen.refused[0].reason and not aligner.tables.features.known.any()


def test_features_of_another_length_are_ignored_and_told():
    aligner = al.Aligner(2)
    for _ in range(2):
        plan = aligner.plan(["short", "a", "b", "later"])
        given = {"short": [1.0], "a": [1.0, 2.0], "b": np.array([3, 4]), "later": None}
        seen = aligner.observe(plan, [al.ClientReport(name, plan.round, 1, 1.0, features=vector)
                                      for name, vector in given.items()])
        assert seen.accepted == 4 and seen.ignored_features == ("short",)
    assert aligner.tables.features.known[:4].tolist() == [False, True, True, False]
    assert aligner.tables.features.vector[:4].tolist() == [[0, 0], [1, 2], [3, 4], [0, 0]]


def test_the_length_of_features_is_that_of_most_clients():
    features = ClientFeatures()
    features.grow(5)
    assert features.update({0: [1.0]}) == ()
    # One against one: the length stays.
    assert features.update({1: [1.0, 2.0]}) == (1,)
    assert features.update({2: [1.0, 2.0], 3: [3.0, 4.0], 4: [5.0]}) == (2, 3)
    assert features.known.tolist() == [True, False, False, False, True]
    assert features.update({1: [1.0, 2.0], 2: [3.0, 4.0], 3: [5.0, 6.0]}) == ()
    assert features.known.tolist() == [False, True, True, True, False]
    assert features.vector[1:4].tolist() == [[1, 2], [3, 4], [5, 6]]
    # Clients that send another length count for that one alone.
    assert features.update({1: [1.0], 2: [2.0]}) == ()
    assert features.known.tolist() == [False, True, True, False, False]
    features.keep(np.array([0, 3]))
    assert features.update({0: [1.0, 2.0, 3.0]}) == ()


@pytest.mark.parametrize("width", [1e-3, 0.05, 1e6])
def test_features_that_nearly_agree_have_a_kernel_of_any_width(width):
    rng = np.random.default_rng(0)
    near = np.ones((60, 3)) + 1e-6 * rng.standard_normal((60, 3))
    vectors = np.concatenate([near, rng.standard_normal((60, 3))]).astype(np.float32)
    kernel = Kernel.of(vectors, width)
    phi = kernel.embed(kernel.landmarks * kernel.scale + kernel.centre)
    away = ((kernel.landmarks[:, None] - kernel.landmarks[None]) ** 2).sum(axis=2)
    np.testing.assert_allclose(phi @ phi.T, np.exp(-away / (2 * width**2)), atol=1e-3)


@pytest.mark.parametrize("width", [0.0, 1e-25, 1e-200, 1e200, math.nan, math.inf])
def test_widths_that_no_kernel_has_are_refused(width):
    with pytest.raises(al.ProblemError, match=r"kernel_width is .*; give a number from 0\.001"):
        al.FitnessSettings(kernel_width=width)


def test_the_unit_is_that_of_the_clients_that_differ():
    rng = np.random.default_rng(0)
    differ = 100 + rng.standard_normal((40, 3)).astype(np.float32)
    same = np.full((60, 3), 100.0, dtype=np.float32)
    same[::2, 0] = np.nextafter(np.float32(100), np.float32(101))
    hostile = np.full((4, 3), 1e12, dtype=np.float32)
    scale = Kernel.of(np.concatenate([same, differ, hostile]), 1.0).scale
    assert 1 < scale < 3
    assert Kernel.of(same, 1.0).scale == Kernel.of(same[:1], 1.0).scale == 1.0


def test_features_beyond_all_others_change_little_for_the_rest():
    def hostile(client):
        return [1e12 * (-1) ** client, -1e12] if client >= 30 else kind_of(client)

    plain, mixed = (served(3, told, n=40)[0] for told in (kind_of, hostile))
    kernels = [Kernel.of(aligner.tables.features.vector[:40], 1.0) for aligner in (plain, mixed)]
    for kernel in kernels:
        assert np.isfinite(kernel.root).all() and len(kernel.landmarks) <= LANDMARKS
        assert np.linalg.norm(kernel.landmarks, axis=1).max() <= FARTHEST * 1.001
    assert np.isfinite(mixed.tables.inputs(4, np.arange(40)).fitness).all()
    assert np.array_equal(np.argmax(mixed.tables.inputs(4, np.arange(30)).fitness, axis=1) % 2,
                          np.arange(30) % 2)


def test_state_holds_features_and_older_states_have_none(tmp_path):
    aligner, _ = served(3, kind_of)
    aligner.save(tmp_path / "state.npz")
    again = al.Aligner.load(tmp_path / "state.npz")
    assert np.array_equal(again.tables.inputs(4, np.arange(12)).fitness,
                          aligner.tables.inputs(4, np.arange(12)).fitness)
    old = al.Aligner.load(Path(__file__).with_name("state-0.1.npz"))
    assert len(old.tables.features.known) == len(old.tables.clients) > 0
    assert not old.tables.features.known.any()


@pytest.mark.parametrize("wrong", [
    np.full((12, 2), np.nan, np.float32), np.full((12, 2), 2e12, np.float32),
    np.zeros((12, 0), np.float32), np.zeros((12, 1025), np.float32),
])  # fmt: skip
def test_states_of_features_that_are_no_features_are_refused(wrong):
    aligner, _ = served(1, kind_of)
    state = aligner.state_dict()
    state["arrays"]["features.vector"] = wrong
    with pytest.raises(al.ProblemError, match="features"):
        al.Aligner(4).load_state_dict(state)
    state["arrays"]["features.known"][:] = False
    al.Aligner(4).load_state_dict(state)


def test_features_go_with_the_clients_that_are_forgotten():
    aligner, _ = served(2, kind_of)
    aligner.forget([0, 5])
    names = aligner.tables.clients.ids
    assert aligner.tables.features.vector[:10, 0].tolist() == pytest.approx(
        [kind_of(client)[0] for client in names])


def test_explanations_say_whose_evidence_counted():
    aligner, _ = served(3, kind_of)
    aligner.plan(range(12))
    found = aligner.explain(2)
    assert {part.expert for part in found.evidence} == {part.expert for part in found.held}
    for part in found.evidence:
        alike = [name for name, _ in part.others[:2]]
        assert 0 < part.own <= 1 and alike and all(int(name) % 2 == 0 for name in alike)
        assert part.own + sum(weight for _, weight in part.others) <= 1.05
        assert part.text in found.text() and "own scores count" in part.text
    aligner.declare(99)
    aligner.forget([99])
    assert aligner.explain(2).evidence == ()
    plan = aligner.plan(range(12))
    plan = aligner.replan(plan, [3])
    assert aligner.explain(2).evidence
    aligner.observe(plan, [al.ClientReport(2, plan.round, 8, 1.0)])
    assert aligner.explain(2).evidence == ()
    aligner.plan(range(12), fitness=np.ones((12, 4)))
    assert aligner.explain(2).evidence == ()
    without, _ = served(2, lambda _: None)
    without.plan(range(12))
    assert without.explain(2).evidence == ()


def test_memory_grows_with_clients_and_not_with_their_pairs():
    n = 20_000
    rng = np.random.default_rng(0)
    features, tracker = learnt(n, 2, dict(enumerate(rng.standard_normal((n, 3), np.float32))),
                               [(i, i % 2, 0.5) for i in range(n)])
    tracemalloc.start()
    shared_evidence(features, tracker, np.arange(100), 1)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < n * n * 4 / 50  # of float32; it is about 400 bytes a client
