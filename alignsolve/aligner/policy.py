"""Assemble the problem of a round from fitness, load and capacity."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from alignsolve.aligner.budgets import fold_budget, without_implied
from alignsolve.aligner.settings import Settings
from alignsolve.model.arrays import BoolArray, Float64Array, IntArray
from alignsolve.model.problem import AlignmentProblem, Load, Resource

#: What a round has of every participant, in rows.
PER_CLIENT = (
    "rows", "fitness", "slots", "likely_slots", "finish", "samples", "placed", "current"
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Start:
    """Where the search for a round's pairs starts.

    Attributes
    ----------
    rows, cols : int64 array, shape (n_pairs,)
        Participants and experts of pairs, sorted.
    prices : dict of str to float64 array, shape (n_experts,)
        Prices of holders ("") and named loads of an earlier plan.
    lost : int
        Where the pairs are what is left of the round's plan: how many of its clients vanished.
    """

    rows: IntArray
    cols: IntArray
    prices: dict[str, Float64Array]
    lost: int = 0


@dataclass(eq=False)
class Round:
    """The inputs of one round, from which every strategy chooses pairs.

    Attributes
    ----------
    settings : Settings
        Those of the aligner.
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
    planned : int64 array, shape (n_experts,)
        Holders that earlier plans asked for.
    start : Start
        Where to start.
    resources : dict of str to Resource
        Budgets that slots do not express.
    load_min, load_max : float64 array, shape (n_experts,)
        Bounds on holders.
    sample_bounds : tuple of two float64 arrays, or None
        Bounds on expected samples.
    sample_costs : float64 array, shape (n, n_experts), or None
        What pairs cost on account of samples.
    tracked : bool
        Whether `fitness` is what the tracker tells, of the clients that are still known.
    """

    settings: Settings
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
    planned: IntArray
    start: Start
    resources: dict[str, Resource] = field(default_factory=dict)
    load_min: Float64Array = field(default_factory=lambda: np.zeros(0))
    load_max: Float64Array = field(default_factory=lambda: np.zeros(0))
    sample_bounds: tuple[Float64Array, Float64Array] | None = None
    sample_costs: Float64Array | None = None
    tracked: bool = False

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

    def without(
        self, lost: BoolArray, rows: IntArray, cols: IntArray, prices: dict[str, Float64Array]
    ) -> Round:
        """Return the inputs of the other participants; load bounds are still those of all.

        Parameters
        ----------
        lost : bool array, shape (n,)
            Participants to leave out.
        rows, cols : int64 array, shape (n_pairs,)
            Pairs of the round's plan; what is left of them is where to start.
        prices : dict of str to float64 array, shape (n_experts,)
            Prices of that plan.
        """
        kept = ~lost
        parts: dict[str, Any] = {name: getattr(self, name)[kept] for name in PER_CLIENT}
        # Sizes are given by pair.
        resources = {name: Resource(np.asarray(part.size)[kept], np.asarray(part.budget)[kept])
                     for name, part in self.resources.items()}
        ids = tuple(itertools.compress(self.ids, kept.tolist()))
        stays, new_row = kept[rows], np.cumsum(kept) - 1
        start = Start(new_row[rows[stays]], cols[stays], prices, int(lost.sum()))
        return replace(self, ids=ids, resources=resources, start=start, **parts)

    def mean_finish(self) -> float:
        """Return the probability that a holder finishes, averaged over likely slots."""
        slots = self.likely_slots.sum()
        return float((self.finish * self.likely_slots).sum() / slots) if slots else 1.0


def round_problem(round_: Round) -> AlignmentProblem:
    """Return the problem of a round.

    Notes
    -----
    The class is "flow" unless budgets, bounds on samples, a fairness floor, or
    a minimum of expected finishers that holder bounds do not imply say more.
    Fitness is less what pairs cost on account of samples.
    """
    settings, fitness = round_.settings, round_.fitness
    policy = settings.policy
    if round_.sample_costs is not None:
        fitness = fitness - round_.sample_costs
    fewest = np.minimum(policy.min_experts, np.minimum(round_.slots, round_.allowed.sum(axis=1)))
    return AlignmentProblem(
        fitness, round_.slots, min_experts=fewest, load_min=round_.load_min,
        load_max=round_.load_max, loads=_named_loads(round_),
        resources=without_implied(round_.resources, round_.allowed),
        client_fitness_min=_floors(fitness, round_.likely_slots, policy.fitness_floor),
        client_ids=round_.ids, expert_ids=settings.expert_ids, **settings.group_arguments(),
        **_switching(round_),
    )


def _named_loads(round_: Round) -> dict[str, Load]:
    """Return the bounds on expected finishers and samples, where they say anything."""
    loads, least = {}, round_.settings.policy.min_finishers
    if least > 0:
        # The fewest that `load_min` holders can be expected to be: is that enough?
        worst = np.concatenate([[0.0], np.cumsum(np.sort(round_.finish[round_.slots > 0]))])
        fewest = np.minimum(round_.load_min.astype(np.int64), worst.size - 1)
        if (worst[fewest] < least).any():
            loads["finishers"] = Load(round_.finish, min=least)
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


def _switching(round_: Round) -> dict[str, Any]:
    """Return the costs of new placements and of downloads as one switching cost."""
    policy, expert_mb = round_.settings.policy, round_.settings.expert_mb
    if policy.download_cost == 0:
        if policy.switch_cost == 0:
            return {}
        return {"held": round_.placed, "switch_cost": policy.switch_cost}
    sent = np.where(round_.current, 0.0, expert_mb * policy.download_cost)
    # A pair may be placed and outdated: `held` would waive both costs at once.
    return {"switch_cost": sent + np.where(round_.placed, 0.0, policy.switch_cost)}
