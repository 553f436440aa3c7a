"""The flow backends: right on every feature mix, and true to what they declare."""

import importlib.util
import signal

import numpy as np
import pytest
from hypothesis import assume, given, settings

import alignsolve as al
from alignsolve.backends import get_backend
from alignsolve.backends.min_cost_flow import backend as network_backend
from alignsolve.backends.min_cost_flow import ortools_mcf
from alignsolve.backends.min_cost_flow.network import build_network
from alignsolve.backends.scipy_lsa import MAX_ENTRIES
from alignsolve.errors import BackendError, UnsupportedProblemError
from alignsolve.interruptible import calls
from alignsolve.model.problem import FLOW_FEATURES, Feature
from alignsolve.status import Limits
from tests.strategies import brute_force, flow_problems

NETWORK_BACKENDS = ("ortools-mcf", "networkx")


def check_against_brute_force(backend, problem):
    """Assert that a backend's answer is optimal, or that there is none."""
    best, _, _ = brute_force(problem)
    answer = get_backend(backend).solve(problem, Limits())
    assert answer.infeasible == (best is None)
    if best is None:
        return
    certificate = al.certify(problem, answer.row_ind, answer.col_ind)
    assert certificate.feasible
    assert certificate.optimal, certificate.summary()
    assert certificate.objective_value == pytest.approx(best, rel=1e-9, abs=1e-9)
    assert answer.termination is al.Termination.PROVED


@pytest.mark.parametrize("backend", NETWORK_BACKENDS)
class TestNetworkBackends:
    @settings(max_examples=250)
    @given(problem=flow_problems())
    def test_same_optimum_as_brute_force(self, backend, problem):
        check_against_brute_force(backend, problem)

    def test_certified_on_a_problem_with_every_feature(self, backend):
        rng = np.random.default_rng(3)
        n, m = 60, 6
        fitness = rng.normal(size=(n, m))
        fitness[rng.random((n, m)) < 0.2] = -np.inf
        problem = al.AlignmentProblem(
            fitness, rng.integers(1, 4, n), min_experts=1, load_min=5, load_max=25,
            load_penalty=0.03, expert_group=[0, 0, 1, 1, 2, 2], group_max=1,
            held=rng.random((n, m)) < 0.2, switch_cost=rng.random((n, m)),
        )
        assert problem.features == FLOW_FEATURES
        result = al.solve(problem, backend=backend)
        assert result.status is al.Status.OPTIMAL
        assert result.stats["arcs"] > n * m / 2
        assert result.stats["build_seconds"] > 0

    def test_minimises_costs(self, backend):
        problem = al.AlignmentProblem.from_cost([[4, 1], [2, 3]], 1, min_experts=1, load_max=1)
        result = al.solve(problem, backend=backend)
        assert result.objective_value == 3
        assert result.status is al.Status.OPTIMAL

    def test_an_answer_may_be_empty(self, backend):
        result = al.solve(al.AlignmentProblem([[-1, -2.5]], 1), backend=backend)
        assert result.status is al.Status.OPTIMAL
        assert result.row_ind.size == 0

    def test_all_pairs_forbidden(self, backend):
        problem = al.AlignmentProblem(np.full((2, 2), -np.inf), 1)
        assert al.solve(problem, backend=backend).status is al.Status.OPTIMAL
        answer = get_backend(backend).solve(problem.replace(min_experts=1), Limits())
        assert answer.infeasible

    def test_declares_the_flow_class_and_no_more(self, backend):
        capabilities = get_backend(backend).capabilities
        assert capabilities.features == FLOW_FEATURES
        assert capabilities.exact
        assert capabilities.proves_infeasibility
        assert not capabilities.interruptible
        assert all(importlib.util.find_spec(name) for name in capabilities.libraries)

    def test_expects_longer_for_more(self, backend):
        seconds = [
            get_backend(backend).estimated_seconds(al.AlignmentProblem(np.ones((n, 4)), 1))
            for n in (100, 10_000, 100_000)
        ]
        assert 0 < seconds[0] < seconds[1] < seconds[2]

    def test_expects_longer_for_a_penalty(self, backend):
        problem = al.AlignmentProblem(np.ones((1000, 4)), 1)
        penalised = problem.replace(load_penalty=1)
        estimate = get_backend(backend).estimated_seconds
        assert estimate(penalised) > estimate(problem)

    def test_refuses_the_mip_class_by_name(self, backend):
        problem = al.AlignmentProblem(np.ones((2, 2)), 1, resources={"mb": al.Resource(1, 1)})
        with pytest.raises(UnsupportedProblemError, match="does not support resources"):
            al.solve(problem, backend=backend)


class TestMinCostFlow:
    def test_a_failed_solve_is_an_error_and_not_a_crash(self):
        network = build_network(al.AlignmentProblem(np.ones((3, 2)), 1))
        network.cost[0] = 2**62
        with pytest.raises(BackendError, match="BAD_COST_RANGE"):
            ortools_mcf.MinCostFlowBackend().least_cost_flow(network)

    def test_keeps_its_answer_when_interrupted_while_polishing(self, monkeypatch):
        def interrupt(*arguments):
            signal.raise_signal(signal.SIGINT)
            return polish(*arguments)

        polish = network_backend.polish
        monkeypatch.setattr(network_backend, "polish", interrupt)
        rng = np.random.default_rng(0)
        problem = al.AlignmentProblem(rng.random((50, 4)) * 10 ** rng.normal(size=(50, 4)), 1)
        result = al.solve(problem, backend="ortools-mcf")
        assert result.termination is al.Termination.INTERRUPTED
        assert result.row_ind.size == 50

    def test_does_not_modify_the_fitness(self):
        fitness = np.random.default_rng(0).random((20, 3))
        before = fitness.copy()
        al.solve(al.AlignmentProblem(fitness, 1, load_max=8), backend="ortools-mcf")
        assert (fitness == before).all()

    def test_auto_passes_it_over_where_it_would_not_end_in_time(self):
        problem = al.AlignmentProblem(np.broadcast_to(np.float32(1), (500_000, 64)), 1)
        assert get_backend("ortools-mcf").estimated_seconds(problem) > 10

    def test_refuses_more_arcs_than_the_library_can_number(self, monkeypatch):
        problem = al.AlignmentProblem(np.ones((3, 2)), 1)
        monkeypatch.setattr(ortools_mcf, "MOST_ARCS", 10)
        refusal = ortools_mcf.MinCostFlowBackend().refusal(problem)
        assert refusal == "numbers at most 10 arcs; this problem has 11"
        monkeypatch.setattr(ortools_mcf, "MOST_ARCS", 11)
        assert ortools_mcf.MinCostFlowBackend().refusal(problem) is None


class TestLinearSumAssignment:
    @settings(max_examples=150)
    @given(problem=flow_problems())
    def test_same_optimum_as_brute_force(self, problem):
        # Fewer slots, no groups and no penalty: most problems reduce then.
        problem = problem.replace(
            max_experts=np.minimum(problem.max_experts, 1), load_penalty=0,
            min_experts=np.minimum(problem.min_experts, 1),
            expert_group=None, group_min=None, group_max=None,
        )
        assume(get_backend("scipy-lsa").refusal(problem) is None)
        check_against_brute_force("scipy-lsa", problem)

    @settings(max_examples=80)
    @given(problem=flow_problems())
    def test_takes_only_what_it_solves(self, problem):
        if get_backend("scipy-lsa").refusal(problem) is None:
            check_against_brute_force("scipy-lsa", problem)

    @pytest.mark.parametrize(
        ("changes", "words"),
        [
            ({"max_experts": [1, 2]}, "client 1 has 2"),
            ({"load_penalty": 1}, "does not support load penalty"),
            ({"expert_group": [0, 0]}, "does not support expert groups"),
            ({"resources": {"mb": al.Resource(1, 1)}}, "does not support resources"),
        ],
    )
    def test_refuses_by_name(self, changes, words):
        problem = al.AlignmentProblem(np.ones((2, 2)), 1).replace(**changes)
        with pytest.raises(UnsupportedProblemError, match=words):
            al.solve(problem, backend="scipy-lsa")

    def test_refuses_a_matrix_that_is_too_large(self):
        problem = al.AlignmentProblem(np.broadcast_to(np.float32(1), (5_000, 4)), 1)
        assert MAX_ENTRIES < 5_000 * 25_000
        with pytest.raises(UnsupportedProblemError, match="5000 x 25000"):
            al.solve(problem, backend="scipy-lsa")

    def test_lower_bounds_on_loads_are_exact(self):
        fitness = np.zeros((6, 3))
        fitness[:, 0] = 5
        problem = al.AlignmentProblem(fitness, 1, load_min=[0, 2, 1], load_max=[4, 3, 3])
        result = al.solve(problem, backend="scipy-lsa")
        assert result.status is al.Status.OPTIMAL
        assert result.loads.tolist() == [3, 2, 1]

    def test_declares_what_it_takes(self):
        capabilities = get_backend("scipy-lsa").capabilities
        assert Feature.LOAD_PENALTY not in capabilities.features
        assert not capabilities.interruptible


@pytest.mark.parametrize("name", ["ortools-mcf", "networkx", "scipy-lsa"])
def test_a_process_of_its_own_changes_no_answer(name, monkeypatch):
    problem = al.AlignmentProblem(np.random.default_rng(0).random((30, 5)), 1, load_max=7)
    here = al.solve(problem, name)
    monkeypatch.setattr(calls, "LONG", -1.0)
    there = al.solve(problem, name)
    assert there.status is al.Status.OPTIMAL
    assert there.col_ind.tolist() == here.col_ind.tolist()
    # Told to stop, nothing is left to wait for.
    asked = []
    stopped = al.solve(problem, name, callback=lambda state: asked.append(state) or len(asked) > 1)
    assert stopped.termination in (al.Termination.INTERRUPTED, al.Termination.PROVED)
