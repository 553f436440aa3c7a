"""The per-round service: fitness, load and capacity carried from round to round."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from alignsolve.aligner.baselines import BASELINES, Choice
from alignsolve.aligner.capacity import CapacityProfiler, CapacitySettings, ClientProfile
from alignsolve.aligner.clients import Clients
from alignsolve.aligner.fitness import FitnessSettings, FitnessTracker
from alignsolve.aligner.intake import Intake
from alignsolve.aligner.load import LoadMonitor, LoadSettings, balance_metrics
from alignsolve.aligner.log import RoundLog
from alignsolve.aligner.optimal import solve_round
from alignsolve.aligner.placement import Placements
from alignsolve.aligner.plan import Plan
from alignsolve.aligner.policy import Groups, PolicySettings, Round, round_problem
from alignsolve.aligner.reports import ClientId, ClientReport, Observation, number_fault
from alignsolve.arrays import Float64Array, IntArray, fitted, identifiers
from alignsolve.digest import problem_digest
from alignsolve.errors import ProblemError

#: Strategies of `Aligner`.
STRATEGIES = ("optimal", *BASELINES)


class Aligner:
    """Decide, round after round, which client trains which experts.

    Parameters
    ----------
    n_experts : int
        Number of experts.
    expert_ids : sequence of str, optional
        Distinct names, used in explanations.
    expert_group, group_min, group_max : array_like, optional
        MoE layers, as in `AlignmentProblem`; the bounds hold for every client.
    expert_mb : array_like, shape (n_experts,), default 1
        Megabytes of each expert.
    strategy : str, default "optimal"
        Or one of the baselines "random", "round-robin", "greedy".
    fitness, load, capacity, policy : settings, optional
        See their classes.
    seed : int, default 0
        Seed of anything random.
    log : path, optional
        File to which a line of JSON is appended for everything done.

    Notes
    -----
    A round is `plan`, then `observe`. `observe` closes the round: clients of the
    plan without an accepted report count as dropped out, and later reports are
    late. A plan that is never observed leaves no trace when the next one is made.

    Nothing is learnt from a refused report, and no array that is passed in is
    changed.

    Examples
    --------
    >>> import alignsolve as al
    >>> aligner = al.Aligner(n_experts=4)
    >>> plan = aligner.plan(["phone-1", "phone-2", "edge-1", "edge-2"])
    >>> sorted(plan.col_ind.tolist())
    [0, 1, 2, 3]
    >>> reports = [
    ...     al.ClientReport(client, plan.round, samples=10, seconds=1.0, experts={
    ...         int(expert): al.ExpertReport(samples=10, loss=0.5)
    ...         for expert in plan.experts_of(client)})
    ...     for client in plan.clients]
    >>> aligner.observe(plan, reports).accepted
    4
    """

    def __init__(
        self,
        n_experts: int,
        *,
        expert_ids: Sequence[str] | None = None,
        expert_group: npt.ArrayLike | None = None,
        group_min: npt.ArrayLike | None = None,
        group_max: npt.ArrayLike | None = None,
        expert_mb: npt.ArrayLike = 1.0,
        strategy: str = "optimal",
        fitness: FitnessSettings | None = None,
        load: LoadSettings | None = None,
        capacity: CapacitySettings | None = None,
        policy: PolicySettings | None = None,
        seed: int = 0,
        log: str | Path | None = None,
    ) -> None:
        if isinstance(n_experts, bool) or not isinstance(n_experts, (int, np.integer)):
            raise ProblemError(f"n_experts is {n_experts!r}; give a whole number >= 1")
        if n_experts < 1:
            raise ProblemError(f"n_experts is {n_experts}; give a whole number >= 1")
        if strategy not in STRATEGIES:
            raise ProblemError(f"strategy is {strategy!r}; give one of {', '.join(STRATEGIES)}")
        self.n_experts = int(n_experts)
        self.expert_ids = identifiers("expert_ids", expert_ids, self.n_experts)
        self.expert_mb = fitted(
            "expert_mb", expert_mb, (self.n_experts,), "one per expert",
            valid=lambda a: np.isfinite(a) & (a > 0), would_be_right="give megabytes > 0",
        )
        self.groups: Groups | None = None
        if expert_group is not None:
            self.groups = Groups.of_any(expert_group, group_min, group_max, self.n_experts)
        elif group_min is not None or group_max is not None:
            raise ProblemError("group_min and group_max need expert_group (a group per expert)")
        self.strategy = strategy
        self.policy = policy or PolicySettings()
        self.seed = int(seed)
        self.round = 0
        self.clients = Clients()
        self.fitness = FitnessTracker(fitness or FitnessSettings(), self.n_experts)
        self.load = LoadMonitor(load or LoadSettings(), self.n_experts)
        self.capacity = CapacityProfiler(capacity or CapacitySettings())
        self.placements = Placements(self.n_experts)
        self.refusals: Counter[str] = Counter()
        self._totals: Counter[str] = Counter()
        self._open: Plan | None = None
        self._log = RoundLog(log)

    # -- before a round -------------------------------------------------------

    def declare(self, client: ClientId, **profile: float | int | None) -> None:
        """Declare what a client can do.

        Parameters
        ----------
        client : str or int
            Its id; a new client is added.
        **profile
            Fields of `ClientProfile`. What is not given stays as it was.

        Raises
        ------
        ProblemError
            If a field is unknown or no finite number >= 0.
        """
        for name, value in profile.items():
            if name not in ClientProfile.__dataclass_fields__:
                known = ", ".join(ClientProfile.__dataclass_fields__)
                raise ProblemError(f"{name!r} is no part of a client's profile; give {known}")
            if value is not None and (fault := number_fault(name, value)):
                raise ProblemError(f"client {client!r}: {fault}")
        declared = ClientProfile(**profile)  # type: ignore[arg-type]
        if declared.max_experts is not None and declared.max_experts != int(declared.max_experts):
            raise ProblemError(
                f"client {client!r}: max_experts is {declared.max_experts}; give a whole number"
            )
        row = self.clients.add(client)
        self._grow()
        self.capacity.declare(row, declared)

    def plan(
        self,
        clients: Iterable[ClientId],
        deadline_s: float | None = None,
        *,
        fitness: npt.ArrayLike | None = None,
    ) -> Plan:
        """Decide who trains what in the next round.

        Parameters
        ----------
        clients : iterable of str or int
            Participants, each once; unknown ones are added without a profile.
        deadline_s : float, optional
            Seconds in which a participant has to download, train and upload.
        fitness : array_like, shape (n_clients, n_experts), optional
            Used in place of the tracker's; ``-inf`` forbids a pair.

        Returns
        -------
        Plan
            Always: where bounds conflict, `Plan.relaxations` says what gave way.

        Raises
        ------
        ProblemError
            If an argument is malformed.
        """
        started = time.perf_counter()
        if deadline_s is not None and (fault := number_fault("deadline_s", deadline_s)):
            raise ProblemError(fault)
        rows = self.clients.rows(clients)
        self._grow()
        number = self.round + 1
        round_ = self._inputs(number, rows, deadline_s, fitness)
        problem_hash = ""
        if self.strategy in BASELINES:
            choice = BASELINES[self.strategy](round_)
        else:
            problem = round_problem(round_, self.policy)
            problem_hash = problem_digest(problem)
            row_ind, col_ind = np.nonzero(round_.placed & round_.allowed)
            choice = solve_round(problem, self.policy, round_.seed, (row_ind, col_ind))
        self.round = number
        plan = self._make_plan(round_, rows, choice, problem_hash, started)
        self._open = plan
        return plan

    def _grow(self) -> None:
        for table in (self.fitness, self.capacity, self.placements):
            table.grow(len(self.clients))

    def _inputs(
        self, number: int, rows: IntArray, deadline_s: float | None, fitness: npt.ArrayLike | None
    ) -> Round:
        """Assemble the inputs of a round."""
        m = self.n_experts
        if fitness is None:
            matrix = self.fitness.fitness(rows, number)
        else:
            matrix = np.array(fitness, dtype=np.float64)
            if matrix.shape != (rows.size, m):
                raise ProblemError(f"fitness has shape {matrix.shape}; give ({rows.size}, {m})")
        slots = self.capacity.slots(rows, m)
        if self.groups is not None:
            slots = np.minimum(slots, int(self.groups.max.sum()))
        rates = self.capacity.rates(rows)
        samples = np.where(np.isnan(rates["samples"]), 1.0, rates["samples"])
        round_ = Round(
            number=number, ids=tuple(str(self.clients.ids[row]) for row in rows.tolist()),
            fitness=matrix, slots=slots, likely_slots=slots,
            finish=self.capacity.finish_probability(rows), samples=samples,
            placed=self.placements.placed[rows], current=self.placements.current(rows),
            expert_mb=self.expert_mb, groups=self.groups, planned=self.load.planned,
            seed=self.seed,
        )  # fmt: skip
        self._add_budgets(round_, rows, rates, deadline_s)
        self._add_load_bounds(round_)
        return round_

    def _add_budgets(
        self, round_: Round, rows: IntArray, rates: dict[str, Float64Array],
        deadline_s: float | None,
    ) -> None:  # fmt: skip
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

    def _add_load_bounds(self, round_: Round) -> None:
        """Set the bounds on holders and samples of a round."""
        most = (round_.allowed & (round_.slots > 0)[:, None]).sum(axis=0).astype(np.float64)
        round_.load_min, round_.load_max = self.load.holder_bounds(
            round_.likely_slots.sum(), round_.mean_finish(), self.policy.min_finishers, most
        )
        total = float((round_.finish * round_.samples * round_.likely_slots).sum())
        round_.sample_bounds = self.load.sample_bounds(total)

    def _make_plan(
        self, round_: Round, rows: IntArray, choice: Choice, digest: str, started: float
    ) -> Plan:
        pairs = choice.row_ind, choice.col_ind
        self.load.planned = self.load.planned + np.bincount(pairs[1], minlength=self.n_experts)
        return Plan(
            round=round_.number,
            clients=tuple(self.clients.ids[row] for row in rows.tolist()),
            row_ind=pairs[0],
            col_ind=pairs[1],
            expert_mb=self.expert_mb,
            download=~round_.current[pairs],
            moved=~round_.placed[pairs],
            finish=round_.finish,
            strategy=self.strategy,
            seconds=time.perf_counter() - started,
            result=choice.result,
            relaxations=choice.relaxations,
            digest=digest,
        )

    def replan(self, plan: Plan, lost: Iterable[ClientId]) -> Plan:
        """Plan the open round again without some of its clients.

        Parameters
        ----------
        plan : Plan
            The open round's plan.
        lost : iterable of str or int
            Participants that vanished.

        Returns
        -------
        Plan
            Of the same round, for the clients that are left.
        """
        gone = set(lost)
        self._require_open(plan)
        self.round -= 1
        self.load.planned = self.load.planned - plan.loads
        return self.plan([client for client in plan.clients if client not in gone])

    def _require_open(self, plan: Plan) -> None:
        if self._open is None or plan.round != self._open.round:
            raise ProblemError(f"round {plan.round} is not open; give the last plan")

    # -- after a round --------------------------------------------------------

    def observe(self, plan: Plan, reports: Iterable[ClientReport]) -> Observation:
        """Take in the reports of a round, and close it.

        Parameters
        ----------
        plan : Plan
            What `plan` or `replan` returned last.
        reports : iterable of ClientReport
            In any order. Each is taken or refused as a whole.

        Returns
        -------
        Observation
            How many were taken, and why the others were not.
        """
        is_open = self._open is not None and plan.round == self._open.round
        intake = Intake(self._open if is_open and self._open else plan,
                        self.fitness.settings.scorer())
        intake.take(reports, is_open)
        self.refusals.update(refusal.kind for refusal in intake.refused)
        if not is_open:
            return Observation(0, tuple(intake.refused), ())
        plan, self._open = intake.plan, None
        finished = intake.finished()
        self._learn(plan, intake, finished)
        dropped = tuple(plan.clients[row] for row in np.flatnonzero(~finished).tolist())
        return Observation(len(intake.accepted), tuple(intake.refused), dropped)

    def _learn(self, plan: Plan, intake: Intake, finished: npt.NDArray[np.bool_]) -> None:
        """Update every table from the accepted reports of a round."""
        rows = np.array([self.clients.row[client] for client in plan.clients], dtype=np.int64)
        samples = intake.samples()
        trained = samples > 0
        self.load.add(plan.col_ind[trained], samples[trained])
        self.capacity.observe(rows, intake.rates())
        self.capacity.observe_finish(rows, finished.astype(np.float64))
        reported = finished[plan.row_ind]
        self.placements.finish(
            rows, rows[plan.row_ind[reported]], plan.col_ind[reported], trained[reported]
        )
        scored, experts, scores = intake.score_columns()
        self.fitness.update(rows[scored], experts, scores, plan.round)

    def metrics(self) -> dict[str, Any]:
        """Return figures over all rounds so far.

        Returns
        -------
        metrics : dict
            ``holders`` and ``samples``: see `balance_metrics`; ``rounds``,
            ``clients``, and ``refused``: reports refused, by kind.
        """
        return {
            "rounds": self.round,
            "clients": len(self.clients),
            "holders": balance_metrics(self.load.holders, self.load.share),
            "samples": balance_metrics(self.load.samples, self.load.share),
            "refused": dict(sorted(self.refusals.items())),
        }
