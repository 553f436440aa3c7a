"""The plan of a round: who trains what, and what that costs to set up."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from alignsolve.aligner.checks import expert_fault
from alignsolve.aligner.reports import ClientId
from alignsolve.elastic import Relaxation
from alignsolve.errors import ProblemError
from alignsolve.explain import Explainer
from alignsolve.model.arrays import BoolArray, Float64Array, IntArray
from alignsolve.model.digest import problem_digest
from alignsolve.model.frames import to_frame
from alignsolve.model.html import MOST_ROWS, facts, span
from alignsolve.model.ids import id_fault, look
from alignsolve.result import Result


@dataclass(frozen=True, eq=False)
class Plan:
    """Which participant trains which experts in one round.

    Attributes
    ----------
    round : int
        Number of the round, from 1.
    clients : tuple of str or int
        Participants, in the order of the rows.
    row_ind, col_ind : int64 array, shape (n_pairs,)
        Participant and expert of every pair, sorted by (row, col).
    expert_mb : float64 array, shape (n_experts,)
        Megabytes of each expert.
    download : bool array, shape (n_pairs,)
        Whether the client lacks the server's version, so that it must be sent.
    moved : bool array, shape (n_pairs,)
        Whether the expert was not in the client's last placement.
    finish : float64 array, shape (n_clients,)
        Probability with which each participant was expected to finish.
    strategy : str
        Who made it.
    seconds : float
        Time that planning took.
    result : Result or None
        What the solver said; None where none was called.
    relaxations : tuple of Relaxation
        The relaxed bounds; empty where all hold.
    deadline_s : float or None
        Seconds that participants have.

    Examples
    --------
    >>> import alignsolve as al
    >>> plan = al.Aligner(n_experts=2).plan(["phone", "edge"])
    >>> plan.round, plan.loads.tolist(), plan.holders_of(0)
    (1, [1, 1], ('phone',))
    """

    round: int
    clients: tuple[ClientId, ...]
    row_ind: IntArray = field(repr=False)
    col_ind: IntArray = field(repr=False)
    expert_mb: Float64Array = field(repr=False)
    download: BoolArray = field(repr=False)
    moved: BoolArray = field(repr=False)
    finish: Float64Array = field(repr=False)
    strategy: str = "optimal"
    seconds: float = 0.0
    result: Result | None = field(default=None, repr=False)
    relaxations: tuple[Relaxation, ...] = ()
    deadline_s: float | None = None

    @property
    def client_ids(self) -> tuple[str, ...]:
        """The participants as text, by which a warm start matches them."""
        return tuple(map(str, self.clients))

    @property
    def expert_ids(self) -> None:
        """None: experts are known by their position."""
        return

    @property
    def prices(self) -> Float64Array | None:
        """Shadow price of a holder of each expert; None where no solver found any."""
        return None if self.result is None else self.result.prices

    @property
    def n_experts(self) -> int:
        """Number of experts."""
        return int(self.expert_mb.size)

    @cached_property
    def digest(self) -> str:
        """Digest of the problem solved (`alignsolve.model.digest`), "" where there is none."""
        return "" if self.result is None else problem_digest(self.result.problem)

    @cached_property
    def explainer(self) -> Explainer:
        """What explains it, made once somebody asks.

        Raises
        ------
        ProblemError
            If no solver made it.
        """
        if self.result is None:
            raise ProblemError(
                "there is no solved plan to explain; call plan() with a strategy that solves"
            )
        return Explainer(self.result.problem, self.result)

    def _repr_html_(self) -> str:
        loads, result = self.loads, self.result
        solved = "" if result is None else f"{result.status.value}, gap {result.gap:.3g}"
        return facts(f"Plan of round {self.round}", [
            ("clients", f"{len(self.clients):,}"), ("strategy", self.strategy), ("status", solved),
            ("pairs", f"{self.row_ind.size:,}, {self.placements_changed:,} new"),
            ("holders of an expert", span(int(loads.min()), int(loads.max()))),
            ("to send", f"{self.down_mb:,.6g} MB"), ("planned in", f"{self.seconds:.3g} s"),
            ("relaxed", "\n".join(part.text for part in self.relaxations[:MOST_ROWS])),
        ])

    @cached_property
    def rows(self) -> dict[ClientId, int]:
        """Row of each participant."""
        return {client: row for row, client in enumerate(self.clients)}

    @cached_property
    def _starts(self) -> IntArray:
        return np.searchsorted(self.row_ind, np.arange(len(self.clients) + 1))

    def row_of(self, client: ClientId) -> int:
        """Return the row of a client.

        Raises
        ------
        ProblemError
            If the client has no part in the round.
        """
        row = self.rows.get(client)
        if row is None:
            raise ProblemError(self.stranger(client))
        return row

    @cached_property
    def _looks(self) -> dict[str, str]:
        return {look(str(client)): str(client) for client in self.clients}

    def stranger(self, client: ClientId) -> str:
        """Return why a client has no part in the round: its id may only look like one that has."""
        text = str(client)
        alike = self._looks.get(look(text))
        fault = id_fault(text, None if alike == text else alike)
        return f"client {fault or f'{client!r} has no part in round {self.round}'}"

    def in_place_of(self, plan: Plan) -> Plan | None:
        """Return this plan where another is of its round, and warn where it is not the same."""
        if plan.round != self.round:
            return None
        same = plan is self or (plan.clients == self.clients and all(
            np.array_equal(getattr(plan, name), getattr(self, name))
            for name in ("row_ind", "col_ind")))
        if not same:
            # Out of here, the aligner's method and its lock.
            warnings.warn(f"this plan of round {plan.round} is not the open one: the round was "
                          f"planned again, and its last plan counts", UserWarning, stacklevel=4)
        return self

    def _pairs_of(self, client: ClientId) -> slice:
        row = self.row_of(client)
        return slice(int(self._starts[row]), int(self._starts[row + 1]))

    def experts_of(self, client: ClientId) -> IntArray:
        """Return the experts of a client, int64, ascending.

        Raises
        ------
        ProblemError
            If the client has no part in the round.
        """
        return self.col_ind[self._pairs_of(client)]

    def downloads_of(self, client: ClientId) -> IntArray:
        """Return those of the client's experts that must be sent to it, int64, ascending.

        Raises
        ------
        ProblemError
            If the client has no part in the round.
        """
        pairs = self._pairs_of(client)
        return self.col_ind[pairs][self.download[pairs]]

    def holders_of(self, expert: int) -> tuple[ClientId, ...]:
        """Return the clients that train an expert, in row order.

        Raises
        ------
        ProblemError
            If there is no such expert.
        """
        if fault := expert_fault(expert, self.n_experts):
            raise ProblemError(fault)
        return tuple(self.clients[row] for row in self.row_ind[self.col_ind == expert])

    def to_frame(self, library: str | None = None, margins: bool = True) -> Any:
        """Return the plan as a data frame, a row for each pair.

        Parameters
        ----------
        library : str, optional
            "pandas" (default), "polars", "pyarrow" or another library that narwhals knows.
        margins : bool, default True
            Whether to compute margins, where a solver made the plan.

        Returns
        -------
        frame : data frame
            ``client``, ``expert``; where a solver made the plan ``fitness``, ``price`` and
            ``margin`` as in `Result.to_frame`; ``expert_mb``, ``download``, ``moved``, and
            ``finish`` of the client.

        Raises
        ------
        ProblemError
            If a library is missing, with the line that installs it.
        """
        names = [self.clients[row] for row in self.row_ind.tolist()]
        whole = all(type(client) is int for client in self.clients)
        columns: dict[str, Any] = {
            "client": np.array(names, dtype=np.int64) if whole else list(map(str, names)),
            "expert": self.col_ind,
        }
        kind = None
        if self.result is not None:
            kind = self.result.problem.frame_kind
            columns = self.result.pair_columns(margins) | columns
        columns |= {"expert_mb": self.expert_mb[self.col_ind], "download": self.download,
                    "moved": self.moved, "finish": self.finish[self.row_ind]}
        return to_frame(columns, library, kind)

    @property
    def loads(self) -> IntArray:
        """Holders of each expert, int64 (n_experts,)."""
        return np.bincount(self.col_ind, minlength=self.n_experts)

    @property
    def down_mb(self) -> float:
        """Megabytes to send: experts of which clients lack the server's version."""
        return float(self.expert_mb[self.col_ind[self.download]].sum())

    @property
    def placements_changed(self) -> int:
        """Pairs that were not in their client's last placement."""
        return int(self.moved.sum())
