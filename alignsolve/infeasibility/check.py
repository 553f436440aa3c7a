"""Check a conflict from its bounds alone, however it was found."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from alignsolve.infeasibility.conflict import ConflictCheck
from alignsolve.infeasibility.max_flow import (
    FeasibleFlow,
    StateArray,
    allowed_state,
    expert_groups,
    flow_bounds,
    pair_counts,
)
from alignsolve.model.bounds import Bound, BoundSet
from alignsolve.model.problem import AlignmentProblem


def check_bounds(
    bounds: tuple[Bound, ...], listed: BoundSet, can_hold: Callable[[BoundSet], bool | None]
) -> ConflictCheck:
    """Check whether bounds cannot hold together, and can without any one of them.

    Parameters
    ----------
    bounds : tuple of Bound
        The bounds.
    listed : BoundSet
        The same by kind.
    can_hold : callable
        Tells whether these, or a part of them, can hold together; None where it cannot tell.
    """
    if can_hold(listed) is not False:
        return ConflictCheck(contradictory=False, irreducible=False)
    irreducible = all(can_hold(_without(listed, bounds, at)) for at in range(len(bounds)))
    return ConflictCheck(contradictory=True, irreducible=irreducible)


def _without(listed: BoundSet, bounds: tuple[Bound, ...], at: int) -> BoundSet:
    """Return listed bounds without one, unless another entry lists the same."""
    key = bounds[at].key
    same = BoundSet.of(b for b in (*bounds[:at], *bounds[at + 1 :]) if b.key == key)
    others = [(of, index) for of, index in listed.items() if of != key]
    return BoundSet.by_kind([*others, *same.items()])


class ListedFlow:
    """The flow problem with only some bounds of slots, groups and holders in force.

    Parameters
    ----------
    problem : AlignmentProblem
        The problem.
    listed : BoundSet
        The bounds that may be asked about.

    Notes
    -----
    One flow for all bounds, and one for each part of them, from where the first ended.
    Only clients with a listed bound take part: the others can hold any allowed
    experts, and lower what an expert needs of them.
    """

    def __init__(self, problem: AlignmentProblem, listed: BoundSet) -> None:
        self._listed, self._group = listed, expert_groups(problem)
        rows = np.unique(np.concatenate([np.empty(0, np.int64), *listed.clients.values()]))
        self._place = np.empty(problem.n_clients, dtype=np.int64)
        self._place[rows] = np.arange(rows.size)
        state = allowed_state(problem)
        stated = flow_bounds(problem, state)
        self._allowed = state[rows]
        _, self._load_size = pair_counts(self._allowed, 1, self._group)
        self._others = stated.load_size - self._load_size
        self._stated = stated.of_clients(rows)
        # Where the flow under all the bounds ended: it keeps any part of the clients' bounds.
        self._reached: StateArray | None = None

    def can_hold(self, kept: BoundSet) -> bool:
        """Tell whether the listed bounds, or a part of them, can hold together."""
        clients = {key: self._place[index] for key, index in kept.clients.items()}
        bounds = self._stated.only(BoundSet(clients, kept.experts))
        if bounds.impossible_experts().any() or bounds.impossible_clients().any():
            return False
        bounds = replace(
            bounds, load_low=np.maximum(0, bounds.load_low - self._others),
            load_high=np.minimum(bounds.load_high, self._load_size), load_size=self._load_size,
        )
        if bounds.impossible_experts().any():
            return False
        state = self._allowed if self._reached is None else self._reached
        flow = FeasibleFlow(state.copy(), self._group, bounds)
        if self._reached is None:
            flow.seed()
        can_hold = bool(flow.run())
        if kept is self._listed:
            self._reached = flow.state
        return can_hold
