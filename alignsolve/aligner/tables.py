"""Everything that is carried from round to round, and the inputs of a round from it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from alignsolve.aligner.capacity import CapacityProfiler
from alignsolve.aligner.clients import Clients, LastSeen
from alignsolve.aligner.features import ClientFeatures
from alignsolve.aligner.fitness import FitnessTracker
from alignsolve.aligner.intake import Intake
from alignsolve.aligner.load import LoadMonitor, balance_metrics
from alignsolve.aligner.placement import Placements
from alignsolve.aligner.policy import Round, Start
from alignsolve.aligner.reports import ClientId
from alignsolve.aligner.rows import Rows
from alignsolve.aligner.settings import Settings
from alignsolve.aligner.shared_evidence import shared_evidence
from alignsolve.errors import ProblemError
from alignsolve.model.arguments import known_fitness
from alignsolve.model.arrays import BoolArray, Float64Array, IntArray, numeric
from alignsolve.model.labels import by_label


class Tables:
    """The trackers of an aligner, over one list of clients."""

    def __init__(self, settings: Settings, clients: Iterable[ClientId] = ()) -> None:
        self.settings, n_experts = settings, settings.n_experts
        self.clients = Clients(clients)
        self.fitness = FitnessTracker(settings.fitness, n_experts)
        self.load = LoadMonitor(settings.load, n_experts)
        self.capacity = CapacityProfiler(settings.capacity, n_experts)
        self.placements = Placements(n_experts)
        self.seen = LastSeen()
        self.features = ClientFeatures()
        self._rows: dict[str, Rows] = {
            "fitness": self.fitness, "load": self.load, "capacity": self.capacity,
            "placements": self.placements, "seen": self.seen, "features": self.features,
        }  # fmt: skip
        #: Prices of holders ("") and named loads of the last plan that had any: where the next
        #: solve starts.
        self.prices: dict[str, Float64Array] = {"": np.zeros(n_experts)}
        #: Reports refused, by kind.
        self.refused: Counter[str] = Counter()
        #: Pairs planned, placements changed, megabytes sent, over all closed rounds.
        self.totals = {"pairs": 0.0, "placements_changed": 0.0, "down_mb": 0.0}

    def grow(self) -> None:
        """Make room for all clients."""
        for table in self._rows.values():
            table.grow(len(self.clients))

    def keep(self, number: int) -> None:
        """Forget all but the first clients, of whom nothing is known yet."""
        self.clients.keep(number)
        self.grow()

    def forget(self, rows: IntArray, waiting: Round | None) -> tuple[ClientId, ...]:
        """Drop clients, number the others anew, also in inputs that wait, and return who went.

        Copies what is left.
        """
        gone = np.zeros(len(self.clients), dtype=np.bool_)
        gone[rows] = True
        names = self.clients.named(np.flatnonzero(gone))
        if names:
            kept = np.flatnonzero(~gone)
            self.clients = Clients(self.clients.named(kept))
            for table in self._rows.values():
                table.keep(kept)
            if waiting is not None:
                waiting.rows = (np.cumsum(~gone) - 1)[waiting.rows]
                waiting.tracked = False
        return names

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Return copies of all arrays, by the name of their table and their own."""
        found: dict[str, npt.NDArray[Any]] = {}
        for name, table in self._rows.items():
            found |= table.arrays(f"{name}.")
        return found | {f"prices.{name}".rstrip("."): prices.copy()
                        for name, prices in self.prices.items()}

    def load_arrays(self, arrays: dict[str, npt.NDArray[Any]]) -> None:
        """Take over what `arrays` returned, for the clients that are listed already."""
        for name, table in self._rows.items():
            table.load_arrays(arrays, f"{name}.", len(self.clients))
        shape = (self.settings.n_experts,)
        self.prices = {
            name[len("prices."):]: np.array(arrays[name], dtype=np.float64).reshape(shape)
            for name in ("prices", *arrays) if name.partition(".")[0] == "prices"
        }

    def metrics(self) -> dict[str, Any]:
        """Return figures over all closed rounds; see `Aligner.metrics`."""
        load = self.load
        return {
            "clients": len(self.clients),
            "holders": balance_metrics(load.holders, load.share),
            "samples": balance_metrics(load.samples, load.share),
            **self.totals,
            "refused": dict(sorted(self.refused.items())),
        }

    # -- the inputs of a round --------------------------------------------------

    def inputs(
        self, number: int, rows: IntArray, deadline_s: float | None = None,
        fitness: npt.ArrayLike | None = None,
    ) -> Round:
        """Assemble the inputs of a round.

        Parameters
        ----------
        number : int
            The round.
        rows : int64 array, shape (n,)
            Participants.
        deadline_s : float, optional
            Seconds for download, training and upload.
        fitness : array_like, shape (n, n_experts), optional
            Used in place of the tracker's.

        Raises
        ------
        ProblemError
            If `fitness` has another shape.
        """
        if fitness is None:
            matrix = self.fitness.fitness(
                rows, number, shared_evidence(self.features, self.fitness, rows, number))
        else:
            matrix = self._given(fitness, rows)
        forbidden = self.capacity.forbidden[rows]
        if forbidden.any():
            matrix = np.where(forbidden, -np.inf, matrix)
        slots, groups = self.capacity.slots(rows), self.settings.groups
        if groups is not None:
            slots = np.minimum(slots, int(groups.max.sum()))
        rates, placed = self.capacity.rates(rows), self.placements.placed[rows]
        held = np.nonzero(placed & (matrix > -np.inf))
        round_ = Round(
            self.settings, number, rows, ids=tuple(map(str, self.clients.named(rows))),
            fitness=matrix, slots=slots, likely_slots=slots,
            finish=self.capacity.finish_probability(rows),
            # Without any knowledge of samples, holders are what is balanced.
            samples=np.where(np.isnan(rates["samples"]), 1.0, rates["samples"]),
            placed=placed, current=self.placements.current(rows), planned=self.load.planned,
            start=Start(held[0], held[1], self.prices), tracked=fitness is None,
        )  # fmt: skip
        self._add_budgets(round_, rates, deadline_s)
        self.add_load_bounds(round_)
        return round_

    def _given(self, fitness: npt.ArrayLike, rows: IntArray) -> Float64Array:
        """Return the caller's fitness of some clients, a fresh array."""
        ordered = by_label(fitness=fitness, client_ids=self.clients.named(rows),
                           expert_ids=self.settings.expert_ids)["fitness"]  # fmt: skip
        given = numeric("fitness", ordered)
        wanted = rows.size, self.settings.n_experts
        if given.shape != wanted:
            raise ProblemError(f"fitness has shape {given.shape}; give {wanted}")
        return np.array(known_fitness(given)[0], dtype=np.float64)

    def _add_budgets(
        self, round_: Round, rates: dict[str, Float64Array], deadline_s: float | None
    ) -> None:
        """Bound memory, download and time of every participant."""
        expert_mb, rows = self.settings.expert_mb, round_.rows
        memory = self.settings.capacity.memory_factor * expert_mb
        round_.add_budget("memory_mb", memory, self.capacity.memory_mb[rows])
        sent = np.where(round_.current, 0.0, expert_mb)
        round_.add_budget("down_mb", sent, self.capacity.budget_mb[rows])
        if deadline_s is not None:
            # What is not known of anybody in the fleet limits nothing.
            known = {name: np.nan_to_num(rate)[:, None] for name, rate in rates.items()}
            seconds = (
                sent * known["down_seconds_per_mb"]
                + expert_mb * known["up_seconds_per_mb"]
                + round_.samples[:, None] * known["seconds_per_sample"]
            )
            round_.add_budget("seconds", seconds, np.full(rows.size, float(deadline_s)))

    def add_load_bounds(self, round_: Round) -> None:
        """Set a round's bounds and costs of load from what experts are owed."""
        most = (round_.allowed & (round_.slots > 0)[:, None]).sum(axis=0).astype(np.float64)
        groups, totals = self.settings.groups, np.array([float(round_.likely_slots.sum())])
        if groups is not None:
            totals = groups.totals(round_.likely_slots)
        round_.load_min, round_.load_max = self.load.holder_bounds(
            totals, None if groups is None else groups.of, round_.mean_finish(),
            self.settings.policy.min_finishers, most,
        )  # fmt: skip
        total = float((round_.finish * round_.samples * round_.likely_slots).sum())
        round_.sample_bounds = self.load.sample_bounds(total)
        round_.sample_costs = self.load.sample_costs(round_.samples)

    # -- after a round ------------------------------------------------------------

    def learn(self, intake: Intake) -> tuple[BoolArray, tuple[ClientId, ...]]:
        """Update every table from the accepted reports of a plan.

        Returns
        -------
        finished : bool array, shape (n_clients,)
            Participants with an accepted report.
        ignored : tuple of str or int
            Clients whose features were ignored.
        """
        plan = intake.plan
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
        ignored = self.features.update({
            self.clients.row[client]: report.features for client, report in intake.accepted.items()
            if report.features is not None})
        self.totals["pairs"] += plan.row_ind.size
        self.totals["placements_changed"] += plan.placements_changed
        self.totals["down_mb"] += plan.down_mb
        return finished, self.clients.named(np.array(ignored, dtype=np.int64))
