"""Take in a round's reports one by one; refuse what does not hold."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from alignsolve.aligner.capacity import RATES
from alignsolve.aligner.checks import SCORE, is_whole
from alignsolve.aligner.fitness import Score
from alignsolve.aligner.plan import Plan
from alignsolve.aligner.reports import (
    ClientId,
    ClientReport,
    Observation,
    Refusal,
    client_id,
    report_fault,
    with_numbers,
)
from alignsolve.errors import ProblemError
from alignsolve.model.arrays import BoolArray, Float64Array, IntArray
from alignsolve.model.ids import id_fault
from alignsolve.model.text import counted


@dataclass
class Intake:
    """Accepted reports of a round as columns, in the order of the plan's rows.

    Attributes
    ----------
    plan : Plan
        The plan.
    is_open : bool
        Whether it still waits for reports.
    score : callable
        What makes a score of a report on an expert.
    accepted : dict of client to ClientReport
        The reports.
    refused : list of Refusal
        The others.
    scores : list of (row, expert, score)
        Scores in the accepted reports; rows index the plan.
    """

    plan: Plan
    is_open: bool
    score: Score
    accepted: dict[ClientId, ClientReport] = field(default_factory=dict)
    refused: list[Refusal] = field(default_factory=list)
    scores: list[tuple[int, int, float]] = field(default_factory=list)

    def take(self, reports: Iterable[object]) -> None:
        """Look at every report, and take it in or refuse it."""
        for report in reports:
            kind, reason = self._fault(report)
            if kind:
                named = getattr(report, "client", None)
                self.refused.append(Refusal(named, reason, kind))

    def _fault(self, report: object) -> tuple[str, str]:
        """Return why a report is refused, as kind and reason; take it in where it is not."""
        if not isinstance(report, ClientReport):
            return "malformed", f"report is {type(report).__name__}; give a ClientReport"
        report = with_numbers(report)
        if report is None:
            return "malformed", "the report has an expert twice; give each once"
        try:
            client = client_id(report.client)
        except ProblemError as error:
            return "malformed", str(error)
        if not is_whole(report.round):
            return "malformed", f"round is {type(report.round).__name__}; give the plan's round"
        if report.round != self.plan.round or not self.is_open:
            now = "open" if self.is_open else "closed"
            return "late", (
                f"the report is of round {report.round}, and round {self.plan.round} is {now}"
            )
        row = self.plan.rows.get(client)
        if row is None:
            kind = "malformed" if id_fault(str(client)) else "not asked"
            return kind, self.plan.stranger(client)
        if client in self.accepted:
            return "duplicate", "a report of this client was accepted before"
        held = frozenset(self.plan.experts_of(client).tolist())
        if fault := report_fault(report, self.plan.n_experts, held):
            return "malformed", fault
        scores = []
        for expert, seen in report.experts.items():
            value = self.score(seen)
            if value is None:
                continue
            if fault := SCORE.fault("score", value):
                return "malformed", f"expert {expert}: {fault}"
            scores.append((row, int(expert), float(value)))
        self.accepted[client] = report
        self.scores += scores
        return "", ""

    def finished(self) -> BoolArray:
        """Tell for each row of the plan whether its report was accepted."""
        return np.array([client in self.accepted for client in self.plan.clients], dtype=np.bool_)

    def samples(self) -> Float64Array:
        """Return what each pair of the plan trained on, float64 (n_pairs,); 0 for nothing."""
        trained = np.zeros(self.plan.row_ind.size)
        for position, (row, col) in enumerate(
            zip(self.plan.row_ind.tolist(), self.plan.col_ind.tolist(), strict=True)
        ):
            report = self.accepted.get(self.plan.clients[row])
            if report is not None and col in report.experts:
                trained[position] = float(report.experts[col].samples)
        return trained

    def score_columns(self) -> tuple[IntArray, IntArray, Float64Array]:
        """Return rows, experts and values of the scores, sorted by row and expert.

        The order of reports must not matter: sums of floats depend on it.
        """
        columns = [("row", np.int64), ("expert", np.int64), ("score", np.float64)]
        table = np.array(sorted(self.scores), dtype=columns)
        return table["row"], table["expert"], table["score"]

    def rates(self) -> Float64Array:
        """Return the rates seen by each row of the plan, float64 (n, len(RATES)), or NaN."""
        values = np.full((len(self.plan.clients), len(RATES)), np.nan)
        for client, report in self.accepted.items():
            used = [float(seen.samples) for seen in report.experts.values() if seen.samples > 0]
            total = sum(used)
            amounts = report.seconds, report.down_seconds, report.up_seconds, total
            # As a float, None is NaN, which is not above 0.
            units = np.array([total, report.down_mb, report.up_mb, len(used)], dtype=np.float64)
            row = values[self.plan.rows[client]]
            np.divide(np.array(amounts, dtype=np.float64), units, out=row, where=units > 0)
        return values


def warned(seen: Observation, plan: Plan, *, is_open: bool) -> Observation:
    """Warn where the reports of a plan taught nothing, with the reason and counts."""
    count, reason = len(seen.refused), seen.refused[0].reason if seen.refused else "none came"
    if not is_open:
        text = (f"round {plan.round} is not open: nothing was learnt of {counted(count, 'report')} "
                f"({reason})")
    elif count and not seen.accepted:
        kinds = sorted(Counter(refusal.kind for refusal in seen.refused).items())
        text = (f"round {plan.round}: every report was refused, "
                f"{', '.join(f'{number} {kind}' for kind, number in kinds)}; the first because "
                f"{reason}; clients that count as dropped out: {len(seen.dropped)}")
    else:
        return seen
    warnings.warn(text, UserWarning, stacklevel=4)
    return seen
