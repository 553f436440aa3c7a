"""Check a conflict of the flow class from its bounds alone, however it was found."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from alignsolve.arrays import IntArray
from alignsolve.conflict.bounds import EXPERT_KINDS, Bound, BoundSet, ConflictCheck, Key
from alignsolve.feasible_flow import (
    FeasibleFlow,
    FlowBounds,
    allowed_state,
    expert_groups,
    pair_counts,
)
from alignsolve.problem import AlignmentProblem


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
    irreducible = all(
        listed.can_hold(bounds[:at] + bounds[at + 1 :]) for at in range(len(bounds))
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
        state = allowed_state(problem)
        _, everyone = pair_counts(state, 1, self._group)
        self._state = state[rows]
        self._size, self._load_size = pair_counts(self._state, 1, self._group)
        self._others = everyone - self._load_size
        self._of_clients = _of_clients(bounds)
        # A flow within all the clients' bounds, and so within any part of them.
        self._flow: FeasibleFlow | None = None
        self._flow, possible = self._attempt(bounds)
        self.contradictory = not possible

    def can_hold(self, bounds: tuple[Bound, ...]) -> bool:
        """Tell whether a part of the bounds can hold together."""
        return self._attempt(bounds)[1]

    def _attempt(self, bounds: tuple[Bound, ...]) -> tuple[FeasibleFlow | None, bool]:
        """Return a flow within the clients' bounds, if any, and whether all can hold."""
        listed = BoundSet.of(bounds)
        low, high = self._loads(listed)
        empty = bool((low > high).any())
        low = np.maximum(0, low - self._others)
        high = np.minimum(high, self._load_size)
        flow = self._flow
        if flow is not None and _of_clients(bounds) == self._of_clients:
            flow.bounds = replace(flow.bounds, load_low=low, load_high=high)
        else:
            limits = self._limits(listed, low, high)
            if limits.impossible_clients().any():
                return None, False
            if flow is not None:
                flow = flow.copy(limits)
            else:
                flow = FeasibleFlow(self._state.copy(), self._group, limits)
                flow.seed()
        possible = not empty and not (low > high).any() and bool(flow.run())
        return flow, possible

    def _loads(self, listed: BoundSet) -> tuple[IntArray, IntArray]:
        """Return the listed bounds on holders, each int64 of shape (n_experts,)."""
        low, high = self._problem.holder_bounds()
        need, limit = (
            np.isin(np.arange(low.size), listed.experts.get((kind, None, None), []))
            for kind in EXPERT_KINDS
        )
        return np.where(need, low, 0), np.where(limit, high, self._problem.n_clients)

    def _limits(self, listed: BoundSet, load_low: IntArray, load_high: IntArray) -> FlowBounds:
        """Return the listed bounds of the listed clients."""
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
            load_low=load_low,
            load_high=load_high,
            group_size=size,
            load_size=self._load_size,
        )


def _of_clients(bounds: tuple[Bound, ...]) -> tuple[Bound, ...]:
    return tuple(bound for bound in bounds if bound.kind not in EXPERT_KINDS)
