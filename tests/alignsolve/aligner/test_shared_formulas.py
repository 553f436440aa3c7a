"""What clients alike tell of each other, by numbers worked out by hand."""

import math

import numpy as np
import pytest

from alignsolve.aligner import features as features_module
from alignsolve.aligner import shared_evidence as shared_module
from alignsolve.aligner.clients import Clients
from alignsolve.aligner.features import ClientFeatures, Kernel
from alignsolve.aligner.fitness import Shared
from alignsolve.aligner.shared_evidence import SharedEvidence, evidence_of, shared_evidence
from tests.alignsolve.aligner.test_shared_evidence import learnt

#: Two clients whose centre is 0 and whose distance from it is the unit.
APART = {0: [-1.0], 1: [1.0]}


def test_what_landmarks_cannot_tell_stays_open(monkeypatch):
    monkeypatch.setattr(features_module, "LANDMARKS", 1)
    features, tracker = learnt(2, 1, APART, [(0, 0, 0.9)])
    shared = shared_evidence(features, tracker, np.arange(2), 1)
    # The landmark is client 0, of likeness k = exp(-2) to client 1, and c = 1: of client 0
    # v = 1 - 1 + 1 / (1 + 1), of client 1 v = 1 - k**2 + k**2 / (1 + 1).
    v = np.array([0.5, 1 - math.exp(-4) / 2])
    np.testing.assert_allclose(shared.count[:, 0], 1 / v - 1, rtol=1e-4)


def test_of_too_many_clients_the_newest_count(monkeypatch):
    monkeypatch.setattr(shared_module, "MOST", 2)
    features, tracker = learnt(4, 1, {i: [float(i)] for i in range(4)},
                               [(i, 0, 0.5) for i in range(4)])
    tracker.update(np.array([1, 3]), np.array([0, 0]), np.array([0.5, 0.5]), 2)
    assert SharedEvidence.of(features, tracker, 2).rows.tolist() == [1, 3]


@pytest.mark.parametrize(("age", "count"), [(2, 2.0**-2), (9, 2.0**-9), (10, 0.0)])
def test_evidence_counts_until_it_has_faded(age, count):
    features, tracker = learnt(2, 1, {0: [1.0], 1: [1.0]}, [(0, 0, 0.9)], half_life=1.0)
    shared = shared_evidence(features, tracker, np.array([1]), 1 + age)
    # Of clients with the same features v = 1 / (1 + N), so that M = N.
    assert shared.count[0, 0] == pytest.approx(count, abs=1e-5)
    assert (shared.residual[0, 0] != 0) == (count > 0)


def test_shares_are_in_the_order_of_their_size_whatever_their_sign(monkeypatch):
    monkeypatch.setattr(shared_module, "NOISE", 1e-3)
    features, tracker = learnt(4, 1, {i: [float(i)] for i in range(4)},
                               [(i, 0, 0.5) for i in range(1, 4)])
    rows, shares = SharedEvidence.of(features, tracker, 1).shares(features, 0, 0)
    # Scores on a line are continued beyond it: the second nearest counts against the pair.
    assert rows.tolist() == [1, 2, 3]
    assert np.sign(shares).tolist() == [1, -1, 1]
    assert (np.diff(np.abs(shares)) < 0).all()


def test_own_scores_count_by_themselves_and_in_the_residual():
    features, tracker = learnt(1, 1, {0: [3.0]}, [(0, 0, 0.9)])
    clients = Clients()
    clients.add("me")
    (found,) = evidence_of(features, tracker, clients, "me", {0: "expert 0"}, 1)
    # N = 1 and M = 1 = k: half own score, half prior, half of whose residual is the own score.
    assert found.own == pytest.approx(0.75, abs=1e-4)
    assert found.others == ()


def test_the_weight_of_shared_evidence_has_bounds():
    shared = Shared(np.zeros((1, 3)), np.array([[0.5, 2.0, 10.0]]))
    assert shared.weight(1.0).tolist() == [[1.0, 2.0, 3.0]]
    assert shared.weight(4.0).tolist() == [[4.0, 4.0, 4.0]]


def test_fitness_with_shared_evidence_is_its_formula():
    tracker = learnt(1, 3, {0: [1.0]}, [(0, 0, 0.9), (0, 1, 0.2)], prior_weight=0.5)[1]
    shared = Shared(np.array([[0.25, -0.5, 0.125]]), np.array([[4.0, 0.25, 2.0]]))
    row, number = np.array([0]), np.array([1.0, 1.0, 0.0])
    weight, score = np.array([3.0, 0.5, 2.0]), np.array([0.9, 0.2, 0.0])
    plain = (score + weight * (tracker.prior(row, 7)[0] + shared.residual[0])) / (number + weight)
    np.testing.assert_allclose(tracker.fitness(row, 7, shared, bonus=False)[0], plain, rtol=1e-6)
    bonus = 0.1 * tracker._scale() * np.sqrt(np.log(8) / (1 + np.array([4.0, 1.0, 2.0])))
    np.testing.assert_allclose(tracker.fitness(row, 7, shared)[0], plain + bonus, rtol=1e-6)


def test_among_equally_common_lengths_that_of_today_stays():
    features = ClientFeatures()
    features.grow(3)
    assert features.update({0: [1.0, 2.0, 3.0]}) == ()
    assert features.update({1: [1.0, 2.0]}) == (1,)
    assert features.known.tolist() == [True, False, False]
    fresh = ClientFeatures()
    fresh.grow(2)
    assert fresh.update({0: [1.0, 2.0, 3.0], 1: [1.0, 2.0]}) == (0,)  # then the shortest


def test_the_unit_where_most_clients_send_nothing_but_zeros():
    vectors = np.array([[0.0], [0.0], [0.0], [4.0], [2.0]], dtype=np.float32)
    assert Kernel.of(vectors, 1.0).scale == 3.0
    assert Kernel.of(np.zeros((3, 1), dtype=np.float32), 1.0).scale == 1.0
