"""The least priced violation of the flow class, and all assignments that have it.

Let experts pay a price per holder. Clients response with the sets that are best at
these prices, a violated minimum of their own included; experts ask for the
loads at which the violation of their bounds and the payments add up to least.
Both together bound the least violation from below, whatever the prices. Where
responses meet loads, the bound is met, and by complementary slackness the
assignments of least violation are exactly the responses that meet the loads: a
problem of the flow class again, whose best fitness is the answer.

Prices rise for experts that the responses cannot give enough holders, and fall
for those on which they crowd: the cut of a maximum flow names them. That is
steepest ascent on an L-natural-concave function (K Murota, Discrete Convex
Analysis, SIAM 2003, doi:10.1137/1.9780898718508); steps end where the slope
does. All prices are whole numbers, so that nothing is rounded.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from alignsolve.elastic.violation_weights import ViolationWeights, WholeWeights
from alignsolve.infeasibility.max_flow import (
    CountArray,
    FeasibleFlow,
    FlowBounds,
    StateArray,
    allowed_state,
    expert_groups,
    flow_bounds,
    pair_counts,
)
from alignsolve.model.arrays import BoolArray, IntArray
from alignsolve.model.problem import AlignmentProblem
from alignsolve.relaxation import bounds_beside

#: Codes of a pair, as in `alignsolve.elastic.kernels`: held by some best sets, by all; and, as in
#: `alignsolve.infeasibility.max_flow_kernels`, held.
TIED, ALWAYS, HELD = 1, 2, 2


@dataclass(frozen=True, eq=False)
class Responses:
    """All best sets of all clients at some prices.

    Attributes
    ----------
    state : uint8 array, shape (n_clients, n_experts)
        0 where no best set has the pair, 1 where some have it, 2 where all do.
    client_range : int64 array, shape (2, n_clients)
        Fewest and most experts of the best sets.
    group_range : int32 array, shape (2, n_clients, max(1, n_groups))
        The same of each group.
    """

    state: StateArray
    client_range: IntArray
    group_range: CountArray


@dataclass(frozen=True, eq=False)
class LeastViolation:
    """The assignments with the least priced violation of the bounds of the flow class.

    Attributes
    ----------
    problem : AlignmentProblem
        A problem whose answers, with the pairs `always`, are exactly these
        assignments, as far as they keep the other bounds, and whose objective
        is theirs but for a constant.
    always : tuple of int64 array
        Clients and experts of the pairs that all of them hold.
    pairs : tuple of int64 array
        Clients and experts of one of them, whatever its fitness.
    rounds : int
        Maximum flows that it took.
    """

    problem: AlignmentProblem
    always: tuple[IntArray, IntArray]
    pairs: tuple[IntArray, IntArray]
    rounds: int

    def complete(self, rows: IntArray, cols: IntArray) -> tuple[IntArray, IntArray]:
        """Return the assignment that an answer of `problem` stands for."""
        return np.concatenate([rows, self.always[0]]), np.concatenate([cols, self.always[1]])


def least_violation(
    problem: AlignmentProblem, weights: ViolationWeights, deadline: float = math.inf
) -> LeastViolation | None:
    """Find the assignments of a flow problem that violate its bounds least.

    Parameters
    ----------
    problem : AlignmentProblem
        Named loads, resources and fairness floors do not count: they are
        stated again in what is returned.
    weights : ViolationWeights
        What violations cost.
    deadline : float
        Value of ``time.perf_counter()`` at which to give up.

    Returns
    -------
    LeastViolation or None
        None where time ran out.

    Notes
    -----
    A maximum flow and a few passes over the matrix per round. With one weight
    per kind of bound there are few rounds. Memory: some three bytes per pair,
    and a copy of the fitness.
    """
    search = _Search(problem, weights)
    rounds = 0
    while True:
        rounds += 1
        responses = search.responses()
        flow = _flow(responses, search.group, *search.loads(search.price))
        done = flow.run(deadline)
        if done is None:
            return None
        if done:
            always = responses.state == ALWAYS
            restricted = _restricted(problem, responses, flow.bounds)
            return LeastViolation(
                restricted, _pairs(always), _pairs(always | (flow.state == HELD)), rounds
            )
        search.step(flow.cut, -1 if flow.crowded else 1)


class _Search:
    """Prices of the experts, and what everybody makes of them."""

    def __init__(self, problem: AlignmentProblem, weights: ViolationWeights) -> None:
        from alignsolve.elastic.kernels import Clients

        allowed, self.group = allowed_state(problem), expert_groups(problem)
        reward = self.reward = WholeWeights.of(problem, weights)
        bounds = self.bounds = flow_bounds(problem, allowed)
        # One group of all experts bounds nothing.
        group_high = (bounds.group_high if problem.n_groups
                      else np.full_like(bounds.group_high, problem.n_experts))
        self.clients = Clients(
            allowed, self.group, bounds.client_low, bounds.client_high, reward.min_experts,
            bounds.group_low, group_high, reward.group,
        )
        self.price = np.zeros(problem.n_experts, dtype=np.int64)

    def responses(self) -> Responses:
        """Return the best sets at the prices."""
        from alignsolve.elastic.kernels import best_responses

        n, n_groups = self.bounds.group_low.shape
        state = np.empty_like(self.clients.allowed)
        client_range = np.empty((2, n), dtype=np.int64)
        group_range = np.empty((2, n, n_groups), dtype=np.int32)
        order = _falling(self.price)
        best_responses(self.clients, self.price, order, state, client_range, group_range)
        return Responses(state, client_range, group_range)

    def loads(self, price: IntArray) -> tuple[IntArray, IntArray]:
        """Return the fewest and most holders at which each expert misses and pays least."""
        low, high, size = self.bounds.load_low, self.bounds.load_high, self.bounds.load_size
        fewest, most = np.zeros_like(price), np.zeros_like(price)
        # A missing holder costs the reward below both bounds, an extra one above both. Between
        # them neither costs; or, where they cross, both do, and add up to a constant.
        for reward, end in (
            (-self.reward.load, np.minimum(low, high)),
            (0, np.maximum(low, high)),
            (self.reward.load, size),
        ):
            end = np.clip(end, 0, size)
            fewest = np.where(reward + price < 0, end, fewest)
            most = np.where(reward + price <= 0, end, most)
        return fewest, most

    def step(self, cut: BoolArray, direction: int) -> None:
        """Move the prices of some experts as far as the bound on the violation rises."""
        move = direction * cut.astype(np.int64)

        def at(reach: int) -> tuple[int, int]:
            """Return the bound and its slope, which is constant up to the next whole number."""
            here = self.price + reach * move
            bound = self.bound(here)
            return bound, self.bound(here + move) - bound

        rising, (low, up) = 0, at(0)
        falling = self.reward.largest
        high, down = at(falling)
        while down > 0:
            rising, low, up = falling, high, down
            falling *= 2
            high, down = at(falling)
        halve = False
        while falling - rising > 1:
            middle = (rising + falling) // 2
            if not halve:
                # Where the tangents of both ends meet; every other time, to be sure of progress.
                meet = rising + (high - low - down * (falling - rising)) // (up - down)
                middle = min(max(meet, rising + 1), falling - 1)
            halve = not halve
            value, slope = at(middle)
            if slope > 0:
                rising, low, up = middle, value, slope
            else:
                falling, high, down = middle, value, slope
        self.price = self.price + falling * move

    def bound(self, price: IntArray) -> int:
        """Return a bound from below on the least violation, but for a constant."""
        from alignsolve.elastic.kernels import response_worth

        low, high, (holders, _) = self.bounds.load_low, self.bounds.load_high, self.loads(price)
        missed = np.maximum(low - holders, 0) + np.maximum(holders - high, 0)
        worth = int(response_worth(self.clients, price, _falling(price)))
        return int((self.reward.load * missed + price * holders).sum()) - worth


def _falling(price: IntArray) -> IntArray:
    """Return the experts by falling price."""
    return np.argsort(-price, kind="stable")


def _pairs(held: BoolArray) -> tuple[IntArray, IntArray]:
    """Return the clients and experts of a mask."""
    rows, cols = np.nonzero(held)
    return rows, cols


def _flow(responses: Responses, group: IntArray, low: IntArray, high: IntArray) -> FeasibleFlow:
    """Return the flow of the tied pairs that has to meet the loads left by the others."""
    count, load = pair_counts(responses.state, ALWAYS, group)
    tied = (responses.state == TIED).view(np.uint8)
    size, load_size = pair_counts(tied, TIED, group)
    fewest, most = responses.client_range - count.sum(axis=1)
    group_fewest, group_most = responses.group_range - count
    flow = FeasibleFlow(
        tied,
        group,
        FlowBounds(
            client_low=np.maximum(fewest, 0),
            client_high=np.minimum(most, size.sum(axis=1)),
            group_low=np.maximum(group_fewest, 0),
            group_high=np.minimum(group_most, size),
            load_low=np.clip(low - load, 0, load_size + 1),
            # Negative where the others are too many: no flow meets that.
            load_high=np.minimum(high - load, load_size),
            group_size=size,
            load_size=load_size,
        ),
    )
    flow.seed()
    return flow


def _restricted(
    problem: AlignmentProblem, responses: Responses, flow: FlowBounds
) -> AlignmentProblem:
    """Return the problem of the tied pairs that the bounds of a flow allow."""
    tied, always = responses.state == TIED, _pairs(responses.state == ALWAYS)
    changes = bounds_beside(problem, *always) | {
        "min_experts": flow.client_low,
        "max_experts": flow.client_high,
        "load_min": flow.load_low,
        "load_max": flow.load_high,
    }
    if problem.expert_group is not None:
        changes |= {"group_min": flow.group_low, "group_max": flow.group_high}
    # A matrix is large, and most often nothing in it changes.
    if (tied != (problem.fitness > -np.inf)).any():
        changes["fitness"] = np.where(tied, problem.fitness, -np.inf)
    return problem.replace(**changes)
