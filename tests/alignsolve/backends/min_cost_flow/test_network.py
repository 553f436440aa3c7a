"""The flow network: structure, the way back to pairs, and exact scaling of costs."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import alignsolve as al
from alignsolve.backends.min_cost_flow.network import build_network
from alignsolve.backends.min_cost_flow.networkx_flow import NetworkxBackend
from alignsolve.backends.min_cost_flow.ortools_mcf import MinCostFlowBackend
from alignsolve.backends.min_cost_flow.scaling import (
    ValueRange,
    choose_scaling,
    cost_bits,
    fraction_bits,
)
from alignsolve.certificate.polish import polish
from alignsolve.errors import UnsupportedProblemError
from alignsolve.model.feasibility import is_feasible
from alignsolve.status import Limits
from tests.strategies import brute_force, flow_problems


def pair_costs(problem, network):
    """Return cost of each pair arc by (client, expert), as Python integers."""
    rows, cols = network.pairs(np.ones(network.n_pair_arcs, dtype=int))
    return dict(zip(zip(rows.tolist(), cols.tolist(), strict=True),
                    network.cost[: network.n_pair_arcs].tolist(), strict=True))


def exact_objective(problem, rows, cols):
    """Return the objective (max sense) as an exact fraction of the float values and steps."""
    total = sum((Fraction(v) for v in problem.pair_values(rows, cols).tolist()), Fraction(0))
    holders = np.bincount(cols, minlength=problem.n_experts)
    low, _ = problem.holder_bounds()
    for j, count in enumerate(holders.tolist()):
        for load in range(int(low[j]), count):
            step = problem.load_penalty[j] * (2 * (load - problem.load_target[j]) + 1)
            total -= Fraction(float(step))
    return total


class TestStructure:
    def test_a_small_network_is_as_documented(self):
        problem = al.AlignmentProblem(
            [[3, -np.inf], [2, 1]], max_experts=[1, 2], min_experts=[1, 0],
            load_min=[1, 0], load_max=[2, 1],
        )
        network = build_network(problem)
        arcs = list(zip(network.tail.tolist(), network.head.tolist(),
                        network.capacity.tolist(), network.cost.tolist(), strict=True))
        assert arcs == [
            (0, 2, 1, -3), (1, 2, 1, -2), (1, 3, 1, -1),  # pairs
            (1, 4, 2, 0),  # unused slots of client 1
            (2, 4, 1, 0), (3, 4, 1, 0),  # loads above the minimum
        ]
        assert network.supply.tolist() == [1, 2, -1, 0, -2]
        assert network.n_pair_arcs == 3
        assert network.scaling.exact
        assert network.scaling.exponent == 0

    def test_only_groups_that_can_bind_get_a_node(self):
        problem = al.AlignmentProblem(
            np.ones((2, 4)), max_experts=[2, 3], expert_group=[0, 0, 1, 1],
            group_min=[[0, 1], [0, 0]], group_max=[[2, 2], [2, 1]],
        )
        network = build_network(problem)
        assert network.n_nodes == 2 + 4 + 1 + 2
        assert network.node_client[-2:].tolist() == [0, 1]
        assert network.supply[-2:].tolist() == [1, 0]

    def test_penalties_are_unit_arcs_with_rising_costs(self):
        problem = al.AlignmentProblem(np.zeros((3, 1)), 1, load_penalty=1, load_target=1)
        network = build_network(problem)
        steps = network.cost[network.tail == 3]
        assert steps.tolist() == [-1, 1, 3]

    def test_dtypes_serve_the_solver_without_a_copy(self):
        network = build_network(al.AlignmentProblem(np.ones((3, 2), dtype=np.float32), 1))
        assert network.tail.dtype == network.head.dtype == np.int32
        assert network.capacity.dtype == network.cost.dtype == network.supply.dtype == np.int64

    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            ({"max_experts": 1, "min_experts": [0, 2]}, "client 1 needs at least 2 experts"),
            ({"max_experts": 1, "load_min": 2, "load_max": 1}, "expert 0 needs at least 2 holders"),
            ({"max_experts": 1, "load_min": [2, 1]}, "need 3 holders and the clients have 2 slots"),
            ({"max_experts": 2, "expert_group": [0, 0], "group_min": 2, "group_max": 1},
             "experts of group 0"),
            ({"max_experts": 1, "expert_group": [0, 1], "group_min": 1}, "for its groups"),
        ],
    )
    def test_plain_contradictions_are_named(self, arguments, words):
        network = build_network(al.AlignmentProblem(np.ones((2, 2)), **arguments))
        assert words in network.contradiction
        assert network.supply.tolist() == [1, -1]
        assert network.n_arcs == 0
        assert MinCostFlowBackend().least_cost_flow(network) is None
        assert NetworkxBackend().least_cost_flow(network) is None

    def test_a_mip_problem_is_refused(self):
        problem = al.AlignmentProblem(np.ones((2, 2)), 1, resources={"mb": al.Resource(1, 1)})
        with pytest.raises(UnsupportedProblemError, match="resources"):
            build_network(problem)

    @given(flow_problems())
    def test_supplies_and_arcs_are_consistent(self, problem):
        network = build_network(problem)
        assert network.supply.sum() == 0
        assert (network.capacity > 0).all()
        assert network.n_arcs == network.head.size == network.capacity.size == network.cost.size
        if not network.contradiction:
            assert (network.supply[: problem.n_clients] >= 0).all()
            assert set(pair_costs(problem, network)) == set(
                zip(*(index.tolist() for index in np.nonzero(problem.fitness > -np.inf)),
                    strict=True)
            )

    @given(flow_problems(kinds=("integers", "ties")))
    def test_the_cost_of_a_flow_is_the_objective(self, problem):
        network = build_network(problem)
        objective, rows, cols = brute_force(problem)
        if objective is None or not network.scaling.exact:
            return
        costs, scaling = pair_costs(problem, network), network.scaling
        cost = sum(costs[pair] for pair in zip(rows.tolist(), cols.tolist(), strict=True))
        low, _ = problem.holder_bounds()
        holders = np.bincount(cols, minlength=problem.n_experts)
        for j in range(problem.n_experts):
            steps = np.sort(network.cost[network.tail == problem.n_clients + j])
            capacity = network.capacity[network.tail == problem.n_clients + j]
            if (capacity == 1).all():
                cost += int(steps[: holders[j] - low[j]].sum())
        value = exact_objective(problem, rows, cols)
        assert Fraction(-cost) == value * Fraction(2) ** scaling.exponent


class TestFractionBits:
    @pytest.mark.parametrize(
        ("values", "bits"),
        [([1, -7, 0], 0), ([0.5], 1), ([0.75, 3], 2), ([1e6 + 2**-20], 20), ([5e-324], 1074),
         ([0.1], 55), ([], 0), ([1e300], 0)],
    )
    def test_counts_binary_digits_after_the_point(self, values, bits):
        assert fraction_bits(np.array(values, dtype=float)) == bits

    @given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=5))
    def test_is_the_least_exponent_that_is_exact(self, values):
        bits = fraction_bits(np.array(values))
        scaled = [Fraction(v) * 2**bits for v in values]
        assert all(v.denominator == 1 for v in scaled)
        assert bits == 0 or any(v.numerator % 2 for v in scaled)


class TestScaling:
    def test_integers_stay_as_they_are(self):
        problem = al.AlignmentProblem([[5, 900], [-3, 2**40]], 1)
        network = build_network(problem)
        assert pair_costs(problem, network) == {(0, 0): -5, (0, 1): -900, (1, 0): 3,
                                                (1, 1): -(2**40)}

    @pytest.mark.parametrize("dtype", [np.float32, np.float64])
    def test_floats_are_scaled_exactly_where_they_fit(self, dtype):
        fitness = np.random.default_rng(0).random((50, 8)).astype(np.float32).astype(dtype)
        problem = al.AlignmentProblem(fitness, 1, load_max=7)
        network = build_network(problem)
        assert network.scaling.error_bound == 0
        scale = 2.0**network.scaling.exponent
        costs = -fitness.astype(np.float64).ravel() * scale
        assert network.cost[: network.n_pair_arcs].tolist() == costs.tolist()

    @pytest.mark.parametrize(
        ("slots", "offset"), [({}, 1e6), ({}, -1e6), ({"min_experts": 1}, 1e6),
                              ({"load_min": 9, "load_penalty": 0.25}, 1e6)]
    )
    def test_a_common_offset_costs_no_precision(self, slots, offset):
        rng = np.random.default_rng(1)
        fitness = offset + rng.integers(0, 2**30, (640, 8)) / 2**30
        problem = al.AlignmentProblem(fitness, 1, load_max=81, **slots)
        network = build_network(problem)
        assert network.scaling.error_bound == 0
        assert network.scaling.exponent == 30
        bits = cost_bits(640, 8, network.n_nodes)
        assert np.abs(network.cost).max() < 2**bits
        # The offset alone would take more than there is.
        assert 2**bits < 1e6 * 2**30

    def test_offsets_of_clients_without_a_choice_cost_no_precision(self):
        rng = np.random.default_rng(1)
        fitness = rng.integers(-(10**6), 10**6, (640, 1)) + rng.integers(0, 2**30, (640, 8)) / 2**30
        problem = al.AlignmentProblem(fitness, 2, min_experts=2, load_max=200)
        assert build_network(problem).scaling.exact

    @pytest.mark.parametrize(
        "values",
        [[1e300, 1e-300, 1.0], [1e12, 1e-12, 1.0], [1e300, -1e300, 1e299], [1e-300, 2e-300, 0],
         [2.0**52, 2.0**52 - 1, 0.5], [1e303, 5e-324, -1e303], [2.0**60, 2.0**61, 2.0**62]],
    )
    def test_no_overflow_at_extreme_values(self, values):
        rng = np.random.default_rng(2)
        problem = al.AlignmentProblem(rng.choice(values, (40, 5)), 1, load_max=9)
        network = build_network(problem)
        bits = cost_bits(40, 5, network.n_nodes)
        assert np.abs(network.cost.astype(object)).max() <= 2**bits
        result = al.solve(problem, backend="ortools-mcf")
        assert result.certificate.feasible
        reference = al.solve(problem, backend="networkx")
        assert result.objective_value == pytest.approx(reference.objective_value, rel=1e-9)
        if max(values) / min(abs(v) for v in values if v) < 2**40:
            assert result.status is al.Status.OPTIMAL

    def test_costs_at_the_limit_do_not_overflow_in_the_solver(self):
        for seed in range(20):
            rng = np.random.default_rng(seed)
            n, m = int(rng.integers(20, 400)), int(rng.integers(2, 12))
            bits = cost_bits(n, m, n + m + 1)
            sign = rng.choice([-1, 1], (n, m))
            fitness = (sign * (2**bits - 1 - rng.integers(0, 2**20, (n, m)))).astype(float)
            problem = al.AlignmentProblem(
                fitness, 2, min_experts=1, load_min=n // m, load_max=2 * n // m + 1
            )
            network = build_network(problem)
            assert network.scaling.exponent == 0
            result = al.solve(problem, backend="ortools-mcf")
            assert result.status is al.Status.OPTIMAL
            assert result.gap_abs == 0

    def test_costs_stay_below_the_limit(self):
        # The client's offset leaves costs up to the difference of its values: 2**10 is too much.
        for difference, exponent, error in ((2**10, -1, 2.0), (2**10 - 1, 0, 0.0)):
            values = ValueRange(np.array([2.0**50]), np.array([2.0**50 + difference]),
                                np.ones(2, dtype=np.int64), 0)
            found = choose_scaling(values, np.zeros(0), np.zeros(1, dtype=bool), 1, 10)
            assert (found.exponent, found.error_bound) == (exponent, error)

    @given(problem=flow_problems(), bits=st.sampled_from([3, 5, 8, 14, 24]))
    @settings(max_examples=150)
    def test_the_error_bound_holds(self, problem, bits):
        network = build_network(problem, bits)
        best, best_rows, best_cols = brute_force(problem)
        if network.contradiction:
            assert best is None
            return
        assert int(np.abs(network.cost).max(initial=0)) <= 2**bits
        flow = MinCostFlowBackend().least_cost_flow(network)
        assert (flow is None) == (best is None)
        if flow is None:
            return
        rows, cols = network.pairs(flow)
        assert is_feasible(problem, rows, cols)
        lost = exact_objective(problem, best_rows, best_cols) - exact_objective(problem, rows, cols)
        # `lost` is exact; the bound is a float.
        assert lost <= network.scaling.error_bound * (1 + 1e-12)

    @given(
        problem=flow_problems(kinds=("offset",)), bits=st.sampled_from([8, 12, 16]),
        eighths=st.integers(0, 2**31),
    )
    @settings(max_examples=150)
    def test_offsets_do_not_change_the_best_answer(self, problem, bits, eighths):
        """Multiples of 1/8 near a million: only offsets can fit them into few bits."""
        rng = np.random.default_rng(eighths)
        whole = problem.sign * 1e6 + rng.integers(-8, 8, problem.fitness.shape) / 8
        fitness = np.where(problem.fitness > -np.inf, whole, -np.inf)
        kept = {k: v for k, v in problem.arguments().items() if "cost" not in k and "fit" not in k}
        kept["load_penalty"] = np.round(kept["load_penalty"])
        kept["load_target"] = np.round(kept["load_target"])
        problem = al.AlignmentProblem(fitness, **kept)
        network = build_network(problem, bits)
        best, _, _ = brute_force(problem)
        if best is None or not network.scaling.exact:
            return
        rows, cols = network.pairs(MinCostFlowBackend().least_cost_flow(network))
        assert problem.objective(rows, cols) == best


class TestPolish:
    @given(problem=flow_problems(), bits=st.sampled_from([2, 4, 8]))
    @settings(max_examples=100)
    def test_wins_back_what_rounding_lost(self, problem, bits):
        best, _, _ = brute_force(problem)
        if best is None:
            return
        rounded = MinCostFlowBackend()
        rounded.most_bits = bits
        answer = rounded.solve(problem, Limits())
        certificate = al.certify(problem, answer.row_ind, answer.col_ind, answer.prices)
        assert certificate.optimal
        assert certificate.objective_value == pytest.approx(best, rel=1e-9, abs=1e-9)

    def test_stops_after_the_most_exchanges(self):
        problem = al.AlignmentProblem([[1.5, 0], [0, 2.5]], 1, min_experts=1)
        done = polish(problem, np.array([0, 1]), np.array([1, 0]), 0.0, math.inf, 0)
        assert done.termination is al.Termination.WORK_LIMIT
        assert done.stats["polishing_exchanges"] == 0

    def test_stops_at_the_deadline(self):
        problem = al.AlignmentProblem([[1.5, 0], [0, 2.5]], 1, min_experts=1)
        done = polish(problem, np.array([0, 1]), np.array([1, 0]), 0.0, -math.inf, 9)
        assert done.termination is al.Termination.TIME_LIMIT
        assert done.prices is None
        assert done.col_ind.tolist() == [1, 0]

    def test_ends_with_prices_that_prove_the_answer(self):
        problem = al.AlignmentProblem([[1.5, 0], [0, 2.5]], 1, min_experts=1)
        done = polish(problem, np.array([0, 1]), np.array([1, 0]), 0.0, math.inf, 9)
        assert done.termination is al.Termination.PROVED
        assert al.certify(problem, done.row_ind, done.col_ind, done.prices).optimal
        assert done.stats["polishing_exchanges"] >= 1
