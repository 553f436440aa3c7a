"""Assemble the problem of a round from fitness, load and capacity."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from alignsolve.aligner.budgets import fold_budget, without_implied
from alignsolve.errors import ProblemError
from alignsolve.model.arrays import BoolArray, Float64Array, IntArray
from alignsolve.model.problem import AlignmentProblem, Load, Resource


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
    """

    min_experts: int = 1
    min_finishers: float = 0.0
    switch_cost: float = 0.0
    download_cost: float = 0.0
    fitness_floor: float = 0.0
    rel_gap: float = 0.01
    time_limit: float | None = None

    def __post_init__(self) -> None:
        for name in ("min_experts", "min_finishers", "switch_cost", "download_cost", "rel_gap"):
            value = getattr(self, name)
            if not 0 <= value < math.inf:
                raise ProblemError(f"{name} is {value!r}; give a finite number >= 0")
        if not 0 <= self.fitness_floor <= 1:
            raise ProblemError(f"fitness_floor is {self.fitness_floor!r}; give 0 to 1")
        if self.time_limit is not None and not self.time_limit > 0:
            raise ProblemError(f"time_limit is {self.time_limit!r}; give seconds > 0, or None")


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
    def of_any(cls, group: npt.ArrayLike, low: Any, high: Any, n_experts: int) -> Groups:
        """Check groups as `AlignmentProblem` does."""
        probe = AlignmentProblem(
            np.zeros((1, n_experts)), 0, expert_group=group, group_min=low, group_max=high
        )
        assert probe.expert_group is not None
        assert probe.group_min is not None and probe.group_max is not None
        return cls(probe.expert_group, probe.group_min[0], probe.group_max[0])

    def totals(self, slots: IntArray) -> Float64Array:
        """Return the slots that each group can expect, float64 (n_groups,).

        The minima first; what is left in proportion to what the maxima leave open.
        """
        forced = float(slots.size) * self.min
        open_ = np.maximum(self.max - self.min, 0) * float(slots.size)
        left = max(0.0, float(slots.sum()) - float(forced.sum()))
        total = max(float(open_.sum()), 1e-300)
        return np.asarray(forced + open_ * min(1.0, left / total))


@dataclass(eq=False)
class Round:
    """The inputs of one round, from which every strategy chooses pairs.

    Attributes
    ----------
    number : int
        The round.
    rows : int64 array, shape (n,)
        Row of each participant in the aligner's tables.
    ids : tuple of str
        Their names.
    fitness : float64 array, shape (n, n_experts)
        ``-inf`` forbids.
    slots, likely_slots : int64 array, shape (n,)
        Most experts, and how many are likely to fit the budgets.
    finish : float64 array, shape (n,)
        Probability of finishing.
    samples : float64 array, shape (n,)
        Samples that an expert sees on the client.
    placed, current : bool array, shape (n, n_experts)
        Pairs of the last placement; pairs whose version is the server's.
    resources : dict of str to Resource
        Budgets that slots do not express.
    expert_mb : float64 array, shape (n_experts,)
        Megabytes of each expert.
    groups : Groups or None
        Layers.
    load_min, load_max : float64 array, shape (n_experts,)
        Bounds on holders.
    sample_bounds : tuple of two float64 arrays, or None
        Bounds on expected samples.
    sample_costs : float64 array, shape (n, n_experts), or None
        What pairs cost on account of samples.
    planned : int64 array, shape (n_experts,)
        Holders that earlier plans asked for.
    seed : int
        Seed of anything random in this round.
    """

    number: int
    rows: IntArray
    ids: tuple[str, ...]
    fitness: Float64Array
    slots: IntArray
    likely_slots: IntArray
    finish: Float64Array
    samples: Float64Array
    placed: BoolArray
    current: BoolArray
    expert_mb: Float64Array
    groups: Groups | None
    planned: IntArray
    seed: int
    resources: dict[str, Resource] = field(default_factory=dict)
    load_min: Float64Array = field(default_factory=lambda: np.zeros(0))
    load_max: Float64Array = field(default_factory=lambda: np.zeros(0))
    sample_bounds: tuple[Float64Array, Float64Array] | None = None
    sample_costs: Float64Array | None = None

    @property
    def n_experts(self) -> int:
        """Number of experts."""
        return int(self.fitness.shape[1])

    @property
    def allowed(self) -> BoolArray:
        """Pairs that are not forbidden, bool (n, n_experts)."""
        return np.asarray(self.fitness > -np.inf)

    def add_budget(self, name: str, size: Float64Array, budget: Float64Array) -> None:
        """Bound what participants use of a resource, by slots where these say the same."""
        self.slots, likely, resource = fold_budget(size, budget, self.slots, self.allowed)
        self.likely_slots = np.minimum(self.likely_slots, likely)
        if resource is not None:
            self.resources[name] = resource

    def without(self, lost: BoolArray) -> Round:
        """Return the inputs of the other participants, without load bounds.

        Parameters
        ----------
        lost : bool array, shape (n,)
            Participants to leave out.
        """
        kept = ~lost
        return Round(
            number=self.number, rows=self.rows[kept],
            ids=tuple(itertools.compress(self.ids, kept.tolist())), fitness=self.fitness[kept],
            slots=self.slots[kept], likely_slots=self.likely_slots[kept], finish=self.finish[kept],
            samples=self.samples[kept], placed=self.placed[kept], current=self.current[kept],
            expert_mb=self.expert_mb, groups=self.groups, planned=self.planned, seed=self.seed,
            resources={
                name: Resource(
                    np.broadcast_to(np.asarray(part.size), self.fitness.shape)[kept],
                    np.asarray(part.budget)[kept],
                )
                for name, part in self.resources.items()
            },
        )  # fmt: skip

    def mean_finish(self) -> float:
        """Return the probability that a holder finishes, averaged over likely slots."""
        slots = self.likely_slots.sum()
        return float((self.finish * self.likely_slots).sum() / slots) if slots else 1.0

    def group_arguments(self) -> dict[str, Any]:
        """Return the layers as arguments of `AlignmentProblem`."""
        if self.groups is None:
            return {}
        return {
            "expert_group": self.groups.of,
            "group_min": self.groups.min,
            "group_max": self.groups.max,
        }


def round_problem(
    round_: Round, policy: PolicySettings, expert_ids: tuple[str, ...] | None = None
) -> AlignmentProblem:
    """Return the problem of a round.

    Parameters
    ----------
    round_ : Round
        Inputs.
    policy : PolicySettings
        Aims.
    expert_ids : tuple of str, optional
        Names of the experts.

    Notes
    -----
    The class is "flow" unless budgets, bounds on samples, a fairness floor, or
    a minimum of expected finishers that holder bounds do not imply say more.
    Fitness is less what pairs cost on account of samples.
    """
    fitness = round_.fitness
    if round_.sample_costs is not None:
        fitness = fitness - round_.sample_costs
    fewest = np.minimum(policy.min_experts, np.minimum(round_.slots, round_.allowed.sum(axis=1)))
    return AlignmentProblem(
        fitness, round_.slots, min_experts=fewest, load_min=round_.load_min,
        load_max=round_.load_max, loads=_named_loads(round_, policy),
        resources=without_implied(round_.resources, round_.allowed),
        client_fitness_min=_floors(fitness, round_.likely_slots, policy.fitness_floor),
        client_ids=round_.ids, expert_ids=expert_ids, **round_.group_arguments(),
        **_switching(round_, policy),
    )


def _named_loads(round_: Round, policy: PolicySettings) -> dict[str, Load]:
    """Return the bounds on expected finishers and samples, where they say anything."""
    loads = {}
    if policy.min_finishers > 0:
        # The fewest that `load_min` holders can be expected to be: is that enough?
        worst = np.concatenate([[0.0], np.cumsum(np.sort(round_.finish[round_.slots > 0]))])
        fewest = np.minimum(round_.load_min.astype(np.int64), worst.size - 1)
        if (worst[fewest] < policy.min_finishers).any():
            loads["finishers"] = Load(round_.finish, min=policy.min_finishers)
    if round_.sample_bounds is not None:
        low, high = round_.sample_bounds
        loads["samples"] = Load(round_.finish * round_.samples, min=low, max=high)
    return loads


def _floors(fitness: Float64Array, slots: IntArray, share: float) -> Float64Array | None:
    """Return the least fitness of each participant, or None for no floors."""
    if share == 0:
        return None
    best = -np.sort(-fitness, axis=1)
    within = np.arange(fitness.shape[1]) < slots[:, None]
    total = np.where(within & np.isfinite(best), best, 0.0).sum(axis=1)
    return np.asarray(total - (1 - share) * np.abs(total))


def _switching(round_: Round, policy: PolicySettings) -> dict[str, Any]:
    """Return the costs of new placements and of downloads as one switching cost."""
    if policy.download_cost == 0:
        if policy.switch_cost == 0:
            return {}
        return {"held": round_.placed, "switch_cost": policy.switch_cost}
    sent = np.where(round_.current, 0.0, round_.expert_mb * policy.download_cost)
    # A pair may be placed and outdated: `held` would waive both costs at once.
    return {"switch_cost": sent + np.where(round_.placed, 0.0, policy.switch_cost)}
