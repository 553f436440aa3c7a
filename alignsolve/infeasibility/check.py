"""Check a conflict of the flow class from its bounds alone, however it was found."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from alignsolve.infeasibility.conflict import ConflictCheck
from alignsolve.infeasibility.max_flow import (
    FeasibleFlow,
    FlowBounds,
    allowed_state,
    expert_groups,
    pair_counts,
)
from alignsolve.model.arrays import IntArray
from alignsolve.model.bounds import EXPERT_KINDS, Bound, BoundSet, Key
from alignsolve.model.problem import AlignmentProblem


def check_flow_bounds(problem: AlignmentProblem, bounds: tuple[Bound, ...]) -> ConflictCheck:
    """Check bounds of the flow class by maximum flows on problems with only those bounds.

    Parameters
    ----------
    problem : AlignmentProblem
        The problem.
    bounds : tuple of Bound
        Its bounds of slots, groups and holders that are said to conflict.

    Notes
    -----
    One flow for all bounds, and one without each, from where the first ended.
    Only clients with a listed bound take part: the others can hold any allowed
    experts, and lower what an expert needs of them.
    """
    listed = _ListedFlow(problem, bounds)
    if not listed.contradictory:
        return ConflictCheck(contradictory=False, irreducible=False)
    irreducible = len(set(bounds)) == len(bounds) and all(
        listed.can_hold_without(at) for at in range(len(bounds))
    )
    return ConflictCheck(contradictory=True, irreducible=irreducible)


class _ListedFlow:
    """The flow problem with only some bounds of clients and experts in force.

    Parameters
    ----------
    problem : AlignmentProblem
        The problem.
    bounds : tuple of Bound
        The bounds.

    Attributes
    ----------
    contradictory : bool
        Whether they cannot hold together.
    """

    def __init__(self, problem: AlignmentProblem, bounds: tuple[Bound, ...]) -> None:
        listed = BoundSet.of(bounds)
        rows = np.unique(np.concatenate([np.empty(0, np.int64), *listed.clients.values()]))
        self._problem, self._group, self._rows = problem, expert_groups(problem), rows
        self._bounds = bounds
        state = allowed_state(problem)
        _, everyone = pair_counts(state, 1, self._group)
        self._state = state[rows]
        self._size, self._load_size = pair_counts(self._state, 1, self._group)
        self._others = everyone - self._load_size
        self._low, self._high = self._loads(listed)
        # A flow within all the clients' bounds, and so within any part of them.
        self._flow: FeasibleFlow | None = None
        limits = self._limits(listed)
        if not limits.impossible_clients().any():
            self._flow = FeasibleFlow(self._state.copy(), self._group, limits)
            self._flow.seed()
        self.contradictory = not self._run(self._flow, self._low, self._high)
        self._missing = 0 if self._flow is None else self._flow.missing

    def can_hold_without(self, at: int) -> bool:
        """Tell whether the bounds without one of them, given by its place, can hold together."""
        bound = self._bounds[at]
        if bound.expert is not None and self._flow is not None:
            return self._can_hold_without_load(bound, self._flow)
        rest = BoundSet.of(self._bounds[:at] + self._bounds[at + 1 :])
        limits = self._limits(rest)
        if limits.impossible_clients().any():
            return False
        if self._flow is not None:
            flow = self._flow.copy(limits)
        else:
            flow = FeasibleFlow(self._state.copy(), self._group, limits)
            flow.seed()
        return self._run(flow, *self._loads(rest))

    def _can_hold_without_load(self, bound: Bound, flow: FeasibleFlow) -> bool:
        """Drop a bound on holders: first by what is missing, which moves few units."""
        never = self._problem.n_clients + 1
        for slack in (self._missing, never):
            low, high = self._low.copy(), self._high.copy()
            if bound.kind == "load_min":
                low[bound.expert] -= slack
            else:
                high[bound.expert] += slack
            if self._run(flow, low, high):
                return True
        return False

    def _run(self, flow: FeasibleFlow | None, low: IntArray, high: IntArray) -> bool:
        """Tell whether the holders of all clients can get within bounds."""
        if flow is None or (low > high).any():
            return False
        low = np.maximum(0, low - self._others)
        high = np.minimum(high, self._load_size)
        flow.bounds = replace(flow.bounds, load_low=low, load_high=high)
        return not (low > high).any() and bool(flow.run())

    def _loads(self, listed: BoundSet) -> tuple[IntArray, IntArray]:
        """Return the listed bounds on holders, each int64 of shape (n_experts,)."""
        low, high = self._problem.holder_bounds()
        need, limit = (
            np.isin(np.arange(low.size), listed.experts.get((kind, None, None), []))
            for kind in EXPERT_KINDS
        )
        return np.where(need, low, 0), np.where(limit, high, self._problem.n_clients)

    def _limits(self, listed: BoundSet) -> FlowBounds:
        """Return the listed bounds of the listed clients, and none on holders."""
        problem, rows, size = self._problem, self._rows, self._size
        total = np.asarray(size.sum(axis=1), dtype=np.int64)

        def only(key: Key, values: IntArray, free: npt.NDArray[Any]) -> IntArray:
            chosen = np.isin(rows, listed.clients.get(key, []))
            return np.where(chosen, np.minimum(values[rows], problem.n_experts + 1), free)

        group_low, group_high = np.zeros_like(size), size.copy()
        if problem.group_min is not None and problem.group_max is not None:
            for g in range(size.shape[1]):
                group_low[:, g] = only(
                    ("group_min", None, g), problem.group_min[:, g], group_low[:, g]
                )
                group_high[:, g] = only(
                    ("group_max", None, g), problem.group_max[:, g], group_high[:, g]
                )
        return FlowBounds(
            client_low=only(("min_experts", None, None), problem.min_experts, 0 * total),
            client_high=np.minimum(
                only(("max_experts", None, None), problem.max_experts, total), total
            ),
            group_low=group_low,
            group_high=np.minimum(group_high, size),
            load_low=np.zeros_like(self._load_size),
            load_high=self._load_size,
            group_size=size,
            load_size=self._load_size,
        )

