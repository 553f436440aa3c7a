"""What of an aligner stays the same over all rounds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, Literal, TypeVar

import numpy as np
import numpy.typing as npt

from alignsolve.aligner.capacity import CapacitySettings
from alignsolve.aligner.checks import NON_NEGATIVE, ONE_OR_MORE, POSITIVE, SHARE, require
from alignsolve.aligner.fitness import FitnessSettings
from alignsolve.aligner.load import LoadSettings
from alignsolve.errors import ProblemError
from alignsolve.model.arguments import group_bounds
from alignsolve.model.arrays import Float64Array, IntArray, fitted
from alignsolve.model.ids import identifiers
from alignsolve.model.labels import by_label

Setting = TypeVar("Setting")

#: Names of strategies, each with a function in `alignsolve.aligner.strategies`.
Strategy = Literal["optimal", "random", "round-robin", "greedy", "flex-moe", "fedamole"]


@dataclass(frozen=True)
class PolicySettings:
    """What a round is to achieve.

    Parameters
    ----------
    min_experts : int, default 1
        Fewest experts of a participant, as far as its slots go.
    min_finishers : float, default 0
        Fewest holders of every expert that are expected to finish the round.
    switch_cost : float, default 0
        Cost of a pair that was not in the client's last placement, in units of
        fitness.
    download_cost : float, default 0
        Cost of a megabyte that must be sent, in units of fitness.
    fitness_floor : float, default 0
        Share of the fitness of its favourite experts that every participant is
        to get, 0 to 1. A floor makes the round a problem of the class "mip".
    rel_gap : float, default 0.01
        Gap at which rounds of the class "mip" end; others are solved exactly.
    time_limit : float, optional
        Seconds for a round. It makes plans depend on the machine's speed; None
        leaves them to gaps and limits on work, so that a restart repeats them.

    Examples
    --------
    Every participant trains two experts at least:

    >>> import alignsolve as al
    >>> aligner = al.Aligner(n_experts=3, capacity=al.CapacitySettings(max_experts=3),
    ...                      policy=al.PolicySettings(min_experts=2))
    >>> aligner.plan(["a", "b"]).experts_of("a").size >= 2
    True
    """

    min_experts: int = 1
    min_finishers: float = 0.0
    switch_cost: float = 0.0
    download_cost: float = 0.0
    fitness_floor: float = 0.0
    rel_gap: float = 0.01
    time_limit: float | None = None

    def __post_init__(self) -> None:
        require(
            self, min_experts=NON_NEGATIVE, min_finishers=NON_NEGATIVE, switch_cost=NON_NEGATIVE,
            download_cost=NON_NEGATIVE, fitness_floor=SHARE, rel_gap=NON_NEGATIVE,
            time_limit=POSITIVE,
        )


@dataclass(frozen=True, eq=False)
class Groups:
    """MoE layers: expert groups and what a client may hold of each.

    Attributes
    ----------
    of : int64 array, shape (n_experts,)
        Group of each expert, numbered from 0.
    min, max : int64 array, shape (n_groups,)
        Fewest and most experts of each group that a client may hold.
    """

    of: IntArray
    min: IntArray
    max: IntArray

    @classmethod
    def of_any(
        cls, group: npt.ArrayLike | None, low: npt.ArrayLike | None, high: npt.ArrayLike | None,
        n_experts: int,
    ) -> Groups | None:
        """Check groups as `AlignmentProblem` does; None where there are none."""
        found = group_bounds(group, low, high, 1, n_experts)
        of, fewest, most = found["expert_group"], found["group_min"], found["group_max"]
        if of is None or fewest is None or most is None:
            return None
        return cls(of, fewest[0], most[0])

    def totals(self, slots: IntArray) -> Float64Array:
        """Return the slots that each group can expect, float64 (n_groups,).

        The minima first; what is left in proportion to what the maxima leave open.
        """
        forced = float(slots.size) * self.min
        open_ = np.maximum(self.max - self.min, 0) * float(slots.size)
        left = max(0.0, float(slots.sum()) - float(forced.sum()))
        total = max(float(open_.sum()), 1e-300)
        return np.asarray(forced + open_ * min(1.0, left / total))


@dataclass(frozen=True, eq=False)
class Settings:
    """The arguments of an `alignsolve.aligner.aligner.Aligner`, checked.

    Attributes
    ----------
    n_experts : int
        Number of experts.
    expert_ids : tuple of str or None
        Their names.
    expert_mb : float64 array, shape (n_experts,)
        Megabytes of each expert.
    groups : Groups or None
        Layers.
    strategy : Strategy
        Who chooses the pairs of a round.
    seed : int
        Seed of anything random.
    fitness, load, capacity, policy : settings
        See their classes.
    forget_after : int or None
        Rounds after which a client that was not asked is forgotten.
    """

    n_experts: int
    expert_ids: tuple[str, ...] | None
    expert_mb: Float64Array
    groups: Groups | None
    strategy: Strategy
    seed: int
    fitness: FitnessSettings
    load: LoadSettings
    capacity: CapacitySettings
    policy: PolicySettings
    forget_after: int | None = None

    @classmethod
    def of_any(
        cls, n_experts: int, expert_ids: Sequence[str] | None, expert_mb: npt.ArrayLike,
        groups: tuple[npt.ArrayLike | None, npt.ArrayLike | None, npt.ArrayLike | None],
        strategy: Strategy, seed: int,
        fitness: FitnessSettings | None, load: LoadSettings | None,
        capacity: CapacitySettings | None, policy: PolicySettings | None,
        forget_after: int | None,
    ) -> Settings:
        """Check the arguments but for the strategy, or raise `ProblemError`."""
        counts = {} if forget_after is None else {"forget_after": forget_after}
        for name, value in ({"n_experts": n_experts} | counts).items():
            if fault := ONE_OR_MORE.fault(name, value):
                raise ProblemError(fault)
        n_experts, (group, low, high) = int(n_experts), groups
        given = by_label(expert_ids=expert_ids, expert_mb=expert_mb, expert_group=group)
        return cls(
            n_experts, identifiers("expert_ids", given["expert_ids"], n_experts),
            fitted("expert_mb", given["expert_mb"], (n_experts,), "one per expert",
                   valid=lambda a: np.isfinite(a) & (a > 0), would_be_right="give megabytes > 0"),
            Groups.of_any(given["expert_group"], low, high, n_experts), strategy, int(seed),
            fitness or FitnessSettings(), load or LoadSettings(), capacity or CapacitySettings(),
            policy or PolicySettings(), None if forget_after is None else int(forget_after),
        )  # fmt: skip

    def group_arguments(self) -> dict[str, Any]:
        """Return the layers as arguments of `AlignmentProblem`."""
        groups = self.groups
        if groups is None:
            return {"expert_group": None, "group_min": None, "group_max": None}
        return {"expert_group": groups.of, "group_min": groups.min, "group_max": groups.max}

    def limits(self) -> dict[str, Any]:
        """Return what ends the search for a round's pairs, as arguments of `solve`."""
        return {
            "time_limit": self.policy.time_limit, "rel_gap": self.policy.rel_gap,
            "seed": self.seed, "repeatable": self.policy.time_limit is None,
        }  # fmt: skip


class Changeable(Generic[Setting]):
    """One of the settings of an aligner, as an attribute that may be assigned.

    Parameters
    ----------
    checked : callable
        Returns the value to keep for one that is assigned, or raises.
    """

    def __init__(self, checked: Callable[[Any], Setting] = lambda value: value) -> None:
        self._checked = checked

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, aligner: Any, owner: type) -> Setting:
        value: Setting = getattr(aligner.tables.settings, self._name)
        return value

    def __set__(self, aligner: Any, value: Setting) -> None:
        changed = {self._name: self._checked(value)}
        aligner.tables.settings = replace(aligner.tables.settings, **changed)
