"""The per-round service: fitness, load and capacity carried from round to round."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from alignsolve.aligner import state as files
from alignsolve.aligner.capacity import CapacitySettings
from alignsolve.aligner.checks import AMOUNT
from alignsolve.aligner.fitness import FitnessSettings
from alignsolve.aligner.intake import Intake, warned
from alignsolve.aligner.load import LoadSettings
from alignsolve.aligner.log import RoundLog
from alignsolve.aligner.members import Members
from alignsolve.aligner.plan import Plan
from alignsolve.aligner.policy import Round
from alignsolve.aligner.reports import ClientId, ClientReport, Observation, client_id
from alignsolve.aligner.settings import Changeable, PolicySettings, Settings, Strategy
from alignsolve.aligner.shared_evidence import evidence_of
from alignsolve.aligner.strategies import chosen, known_strategy
from alignsolve.aligner.tables import Tables
from alignsolve.aligner.threads import Shared, one_at_a_time
from alignsolve.errors import ProblemError
from alignsolve.explain import ClientExplanation, ExpertExplanation, Explanation
from alignsolve.explain.explainer import EXACT_SECONDS, ONE_OF_BOTH
from alignsolve.interrupts import Call
from alignsolve.io.files import located


@one_at_a_time("declare", "forget", "plan", "replan", "observe", "metrics", "explain",
               "fitness", "state_dict", "load_state_dict")  # fmt: skip
class Aligner(Members, Shared):
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
        Or one of the baselines "random", "round-robin", "greedy", "flex-moe",
        "fedamole".
    fitness, load, capacity, policy : settings, optional
        See their classes.
    seed : int, default 0
        Seed of anything random.
    forget_after : int, optional
        Rounds after which `observe` forgets, as `forget` does, clients that were neither
        asked nor declared anything; None for never.
    log : path, optional
        File to which a line of JSON is appended for everything done (`docs/state.md`). Where it
        cannot be written, rounds go on without it, after one warning.

    Notes
    -----
    A round is `plan`, then `observe`. `observe` closes the round: clients of the
    plan without an accepted report count as dropped out, and later reports are
    late. A plan that is never observed leaves no trace but its number and the
    prices at which the next solve starts; one that raises, as on Ctrl-C, none at all.
    Ctrl-C in `observe` raises once reports are taken in. Nothing is learnt from a
    refused report, and no array that is passed in is changed.

    Plans depend on the state, the arguments and the seed alone: solvers end by
    proofs or limits on work, unless `PolicySettings.time_limit` is set. An aligner
    restored from `state_dict` goes on with the same plans, bit for bit, on the
    same machine and versions.

    Threads may share an aligner: each call is whole, and others wait for it. `strategy`, `policy`
    and `seed` may be assigned, for the next plans.
    `alignsolve.aligner.placement.Placements` says what must be sent after aggregation.

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

    strategy = Changeable(known_strategy)
    policy: Changeable[PolicySettings] = Changeable()
    seed = Changeable(int)

    def __init__(
        self,
        n_experts: int,
        *,
        expert_ids: Sequence[str] | None = None,
        expert_group: npt.ArrayLike | None = None,
        group_min: npt.ArrayLike | None = None,
        group_max: npt.ArrayLike | None = None,
        expert_mb: npt.ArrayLike = 1.0,
        strategy: Strategy = "optimal",
        fitness: FitnessSettings | None = None,
        load: LoadSettings | None = None,
        capacity: CapacitySettings | None = None,
        policy: PolicySettings | None = None,
        seed: int = 0,
        forget_after: int | None = None,
        log: str | Path | None = None,
    ) -> None:
        settings = Settings.of_any(
            n_experts, expert_ids, expert_mb, (expert_group, group_min, group_max),
            known_strategy(strategy), seed, fitness, load, capacity, policy, forget_after,
        )  # fmt: skip
        self.n_experts: Final = settings.n_experts
        self.expert_ids: Final = settings.expert_ids
        self.round = 0
        self.tables = Tables(settings)
        #: The plan that waits for reports, and its inputs; those are not saved.
        self.open_plan: Plan | None = None
        self._open_inputs: Round | None = None
        #: The last plan, open or not.
        self._last: Plan | None = None
        self._log = RoundLog(log)

    @property
    def settings(self) -> Settings:
        """The arguments of this aligner, checked."""
        return self.tables.settings

    # -- before a round -------------------------------------------------------

    def plan(
        self, clients: Iterable[ClientId], deadline_s: float | None = None, *,
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
            Always: where bounds conflict, `Plan.relaxations` says which were relaxed.

        Raises
        ------
        ProblemError
            If an argument is malformed.
        """
        started = time.perf_counter()
        if deadline_s is not None and (fault := AMOUNT.fault("deadline_s", deadline_s)):
            raise ProblemError(fault)
        number = len(self.tables.clients)
        try:
            with Call():
                rows = self.tables.clients.rows(clients)
                self.tables.grow()
                inputs = self.tables.inputs(self.round + 1, rows, deadline_s, fitness)
                plan = chosen(inputs, self.tables.clients, deadline_s, started)
                self._log.plan("plan", plan, inputs)
            self._open(plan, inputs)
            return plan
        except BaseException:
            with Call("finish"):
                self.tables.keep(number)
            raise

    def _open(self, plan: Plan, inputs: Round) -> None:
        """Let a plan wait for reports, and later ones start from its prices."""
        prices = self.tables.prices
        if plan.result is not None and self.strategy == "optimal":
            found = plan.result.prices
            stated = {} if found is None else {"": np.array(found)}
            prices = dict(plan.result.load_prices) or stated or prices
        # Python looks for signals where it calls: all of this is done, or nothing.
        self.tables.seen.round[inputs.rows] = plan.round
        self.tables.prices, self.round = prices, plan.round
        self.open_plan, self._last, self._open_inputs = plan, plan, inputs

    def replan(self, plan: Plan, lost: Iterable[ClientId]) -> Plan:
        """Plan the open round again without clients that vanished.

        Parameters
        ----------
        plan : Plan
            The open plan.
        lost : iterable of str or int
            Some of its clients.

        Returns
        -------
        Plan
            Of the same round, for the clients that are left. It takes the place
            of the open plan; clients that are lost do not count as dropped out.

        Raises
        ------
        ProblemError
            If the plan is not the open one, or a client has no part in it.

        Notes
        -----
        The inputs of the plan are used again; what clients declared since counts
        from the next plan on. Load is shared out anew among those left, so that their
        experts may change as well: first among those for whom a change costs least
        (`alignsolve.aligner.incremental`), among all where that is not optimal. Rounds of the
        class "mip" go on from the plan's prices and pairs until the gap is reached.

        After a restart the inputs are computed again; fitness given to `plan` by the
        caller is not saved, and the tracker's takes its place.
        """
        started = time.perf_counter()
        waits = self.open_plan and self.open_plan.in_place_of(plan)
        if waits is None:
            raise ProblemError(f"round {plan.round} is not open; give the plan made last")
        gone = np.zeros(len(waits.clients), dtype=np.bool_)
        gone[[waits.row_of(client_id(client)) for client in lost]] = True
        inputs = self._open_inputs or self.tables.inputs(
            waits.round, self.tables.clients.rows(waits.clients), waits.deadline_s
        )
        with Call():
            inputs = inputs.without(gone, waits.row_ind, waits.col_ind, self.tables.prices)
            self.tables.add_load_bounds(inputs)
            again = chosen(inputs, self.tables.clients, waits.deadline_s, started)
            self._log.plan("replan", again, inputs, lost=inputs.start.lost)
        self._open(again, inputs)
        return again

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
            How many were taken, and why the others were not. Where all were refused,
            or the plan is not open, a `UserWarning` says so.
        """
        reports = list(reports)
        with Call("finish"):
            waits = self.open_plan and self.open_plan.in_place_of(plan)
            intake = Intake(waits or plan, waits is not None, self.settings.fitness.scorer())
            intake.take(reports)
            refused = tuple(intake.refused)
            self.tables.refused.update(refusal.kind for refusal in refused)
            if waits is None:
                return warned(Observation(0, refused, ()), plan, is_open=False)
            self.open_plan = self._open_inputs = None
            finished, ignored = self.tables.learn(intake)
            dropped = tuple(waits.clients[row] for row in np.flatnonzero(~finished).tolist())
            accepted = list(intake.accepted.values())
            seen = Observation(len(accepted), refused, dropped, ignored)
            self._log.observe(waits, seen, accepted, self.metrics())
            if self.settings.forget_after is not None:
                self._forget(self.tables.seen.before(self.round - self.settings.forget_after))
        return warned(seen, waits, is_open=True)

    def metrics(self) -> dict[str, Any]:
        """Return figures over all closed rounds.

        Returns
        -------
        metrics : dict
            ``rounds`` planned, ``clients`` known, ``holders`` and ``samples``
            (see `balance_metrics`), ``pairs`` planned, of these
            ``placements_changed``, ``down_mb`` to send for them, and ``refused``:
            reports refused, by kind.
        """
        return {"rounds": self.round, **self.tables.metrics()}

    def explain(
        self, client: ClientId | None = None, *, expert: int | str | None = None,
        exact: bool = False, time_limit: float = EXACT_SECONDS,
    ) -> ClientExplanation | ExpertExplanation | Explanation:
        """Explain the last plan: to a client, to an expert, or as a whole.

        Parameters
        ----------
        client : str or int, optional
            Id of one of its clients.
        expert : int or str, optional
            Index or id of an expert.
        exact, time_limit : bool, float
            As in `alignsolve.explain`.

        Returns
        -------
        ClientExplanation, ExpertExplanation or Explanation
            See `alignsolve.explain`; ``text()`` says it in words. Fitness is what the
            plan was made with: bonus for exploration and price on samples included. With
            features, a client's `evidence` says whose scores count in it: until `observe` or
            `forget` change these, and not where `plan` was given fitness.

        Raises
        ------
        ProblemError
            If there is no plan, its strategy solved no problem, it was made before
            a restart, or the client has no part in it.
        """
        if client is not None and expert is not None:
            raise ProblemError(ONE_OF_BOTH)
        if self._last is None:
            raise ProblemError("there is no solved plan to explain; call plan() first")
        explainer = self._last.explainer.settling(exact, time_limit)
        found = explainer.of(None if client is None else self._last.row_of(client), expert)
        inputs, tables = self._open_inputs, self.tables
        if client is None or inputs is None or not inputs.tracked:
            return found
        assert isinstance(found, ClientExplanation)
        held = {part.expert: part.name for part in found.held}
        return replace(found, evidence=evidence_of(
            tables.features, tables.fitness, tables.clients, client, held, self.round))

    # -- state ------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """Return everything that later plans depend on, but for the settings.

        Returns
        -------
        state : dict
            Plain values for JSON, and ``arrays``: name to numpy array, copies.
        """
        return files.state_of(self.tables, self.round, self.open_plan)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over a state; settings stay those of this aligner.

        Raises
        ------
        ProblemError
            If it is no state, or of another number of experts.
        """
        self.tables, self.round, self.open_plan = files.restored(self.settings, state)
        self._open_inputs = self._last = None
        self._log.write("load", round=self.round)

    def save(self, path: str | Path) -> None:
        """Write settings and state to an npz file, in one piece or not at all.

        It ends in a checksum. What it replaces is kept: as ``x.before.npz`` for ``x.npz``.

        Raises
        ------
        ProblemError
            If the file cannot be written.
        """
        files.save(path, self.settings, self.state_dict())

    @classmethod
    def load(
        cls, path: str | Path, *, fitness: FitnessSettings | None = None,
        log: str | Path | None = None,
    ) -> Aligner:
        """Return the aligner that `save` wrote.

        Parameters
        ----------
        path : path
            The file. Nothing in it is executed.
        fitness : FitnessSettings, optional
            In place of those saved; needed where the score is a function of yours.
        log : path, optional
            As in the constructor.

        Raises
        ------
        CheckpointError
            If the file is damaged; the message offers the one before it.
        ProblemError
            If it is no aligner's state.
        """
        state, config = files.load(path, fitness)
        with located(path):
            aligner = cls(**config, log=log)
            aligner.load_state_dict(state)
        return aligner
