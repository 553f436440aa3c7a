"""Everything that is carried from round to round, and the inputs of a round from it."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import numpy.typing as npt

from alignsolve.aligner.capacity import CapacityProfiler, CapacitySettings
from alignsolve.aligner.clients import Clients
from alignsolve.aligner.fitness import FitnessSettings, FitnessTracker
from alignsolve.aligner.intake import Intake
from alignsolve.aligner.load import LoadMonitor, LoadSettings
from alignsolve.aligner.placement import Placements
from alignsolve.aligner.plan import Plan
from alignsolve.aligner.policy import Groups, PolicySettings, Round
from alignsolve.aligner.rows import Rows
from alignsolve.errors import ProblemError
from alignsolve.model.arrays import BoolArray, Float64Array, IntArray


class Tables:
    """The trackers of an aligner, over one list of clients.

    Parameters
    ----------
    expert_mb : float64 array, shape (n_experts,)
        Megabytes of each expert.
    groups : Groups or None
        Layers.
    fitness, load, capacity : settings
        See their classes.
    """

    def __init__(
        self,
        expert_mb: Float64Array,
        groups: Groups | None,
        fitness: FitnessSettings,
        load: LoadSettings,
        capacity: CapacitySettings,
    ) -> None:
        n_experts = expert_mb.size
        self.expert_mb, self.groups = expert_mb, groups
        self.clients = Clients()
        self.fitness = FitnessTracker(fitness, n_experts)
        self.load = LoadMonitor(load, n_experts)
        self.capacity = CapacityProfiler(capacity, n_experts)
        self.placements = Placements(n_experts)
        #: Prices of the last plan that had any: where the next solve starts.
        self.prices: Float64Array = np.zeros(n_experts)
        #: Reports refused, by kind.
        self.refused: Counter[str] = Counter()
        #: Pairs planned, placements changed, megabytes sent, over all closed rounds.
        self.totals = {"pairs": 0.0, "placements_changed": 0.0, "down_mb": 0.0}

    def _rows(self) -> dict[str, Rows]:
        return {
            "fitness": self.fitness, "load": self.load, "capacity": self.capacity,
            "placements": self.placements,
        }  # fmt: skip

    def grow(self) -> None:
        """Make room for all clients."""
        for table in self._rows().values():
            table.grow(len(self.clients))

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Return copies of all arrays, by the name of their table and their own."""
        found = {
            f"{name}.{key}": array
            for name, table in self._rows().items()
            for key, array in table.arrays().items()
        }
        return found | {"prices": self.prices.copy()}

    def load_arrays(self, arrays: dict[str, npt.NDArray[Any]]) -> None:
        """Take over what `arrays` returned, for the clients that are listed already."""
        for name, table in self._rows().items():
            own = {
                key.removeprefix(f"{name}."): array
                for key, array in arrays.items()
                if key.startswith(f"{name}.")
            }
            table.load_arrays(own, len(self.clients))
        self.prices = np.array(arrays["prices"], dtype=np.float64).reshape(self.prices.shape)

    # -- the inputs of a round --------------------------------------------------

    def inputs(
        self, number: int, rows: IntArray, deadline_s: float | None, fitness: npt.ArrayLike | None,
        policy: PolicySettings, seed: int,
    ) -> Round:
        """Assemble the inputs of a round.

        Parameters
        ----------
        number : int
            The round.
        rows : int64 array, shape (n,)
            Participants.
        deadline_s : float or None
            Seconds for download, training and upload.
        fitness : array_like, shape (n, n_experts), or None
            Used in place of the tracker's.
        policy : PolicySettings
            Aims.
        seed : int
            Seed of anything random.

        Raises
        ------
        ProblemError
            If `fitness` has another shape.
        """
        if fitness is None:
            matrix = self.fitness.fitness(rows, number)
        else:
            matrix = np.array(fitness, dtype=np.float64)
            wanted = rows.size, self.expert_mb.size
            if matrix.shape != wanted:
                raise ProblemError(f"fitness has shape {matrix.shape}; give {wanted}")
        forbidden = self.capacity.forbidden[rows]
        if forbidden.any():
            matrix = np.where(forbidden, -np.inf, matrix)
        slots = self.capacity.slots(rows)
        if self.groups is not None:
            slots = np.minimum(slots, int(self.groups.max.sum()))
        rates = self.capacity.rates(rows)
        ids = self.clients.ids
        round_ = Round(
            number=number, rows=rows, ids=tuple(str(ids[row]) for row in rows.tolist()),
            fitness=matrix,
            slots=slots, likely_slots=slots, finish=self.capacity.finish_probability(rows),
            # Without any knowledge of samples, holders are what is balanced.
            samples=np.where(np.isnan(rates["samples"]), 1.0, rates["samples"]),
            placed=self.placements.placed[rows], current=self.placements.current(rows),
            expert_mb=self.expert_mb, groups=self.groups, planned=self.load.planned, seed=seed,
        )  # fmt: skip
        self._add_budgets(round_, rows, rates, deadline_s)
        self.add_load_bounds(round_, policy)
        return round_

    def _add_budgets(
        self, round_: Round, rows: IntArray, rates: dict[str, Float64Array],
        deadline_s: float | None,
    ) -> None:
        """Bound memory, download and time of every participant."""
        memory = self.capacity.settings.memory_factor * self.expert_mb
        round_.add_budget("memory_mb", memory, self.capacity.memory_mb[rows])
        sent = np.where(round_.current, 0.0, self.expert_mb)
        round_.add_budget("down_mb", sent, self.capacity.budget_mb[rows])
        if deadline_s is not None:
            # What is not known of anybody in the fleet limits nothing.
            known = {name: np.nan_to_num(rate)[:, None] for name, rate in rates.items()}
            seconds = (
                sent * known["down_seconds_per_mb"]
                + self.expert_mb * known["up_seconds_per_mb"]
                + round_.samples[:, None] * known["seconds_per_sample"]
            )
            round_.add_budget("seconds", seconds, np.full(rows.size, float(deadline_s)))

    def add_load_bounds(self, round_: Round, policy: PolicySettings) -> None:
        """Set a round's bounds and costs of load from what experts are owed."""
        most = (round_.allowed & (round_.slots > 0)[:, None]).sum(axis=0).astype(np.float64)
        groups = round_.groups
        totals = (
            np.array([float(round_.likely_slots.sum())])
            if groups is None
            else groups.totals(round_.likely_slots)
        )
        round_.load_min, round_.load_max = self.load.holder_bounds(
            totals, None if groups is None else groups.of,
            round_.mean_finish(), policy.min_finishers, most,
        )  # fmt: skip
        total = float((round_.finish * round_.samples * round_.likely_slots).sum())
        round_.sample_bounds = self.load.sample_bounds(total)
        round_.sample_costs = self.load.sample_costs(round_.samples)

    # -- after a round ------------------------------------------------------------

    def learn(self, plan: Plan, intake: Intake) -> BoolArray:
        """Update every table from the accepted reports of a round.

        Returns
        -------
        finished : bool array, shape (n_clients,)
            Participants with an accepted report.
        """
        rows = np.array([self.clients.row[client] for client in plan.clients], dtype=np.int64)
        finished, samples = intake.finished(), intake.samples()
        trained = samples > 0
        self.load.add_plan(plan.col_ind)
        self.load.add(plan.col_ind[trained], samples[trained])
        self.capacity.observe(rows, intake.rates())
        self.capacity.observe_finish(rows, finished.astype(np.float64))
        reported = finished[plan.row_ind]
        self.placements.finish(
            rows, rows[plan.row_ind[reported]], plan.col_ind[reported], trained[reported]
        )
        scored, experts, scores = intake.score_columns()
        self.fitness.update(rows[scored], experts, scores, plan.round)
        self.refused.update(refusal.kind for refusal in intake.refused)
        self.totals["pairs"] += plan.row_ind.size
        self.totals["placements_changed"] += plan.placements_changed
        self.totals["down_mb"] += plan.down_mb
        return finished
