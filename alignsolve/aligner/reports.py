"""What clients report after a round, and what is refused of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import numpy.typing as npt

from alignsolve.aligner.checks import AMOUNT, SHARE, expert_fault, fault_of, is_whole
from alignsolve.aligner.features import features_fault
from alignsolve.errors import ProblemError
from alignsolve.model.foreign import number

Report = TypeVar("Report", "ClientReport", "ExpertReport")

#: How clients are called: a string or a whole number.
ClientId = str | int


@dataclass(frozen=True)
class ExpertReport:
    """What a client says of one expert.

    Attributes
    ----------
    samples : float
        Samples that went through the expert in training; 0 where it was only
        evaluated, which counts as a score and not as load.
    loss, loss_before : float, optional
        Mean loss per sample after and before training, >= 0.
    accuracy : float, optional
        Share of right answers, 0 to 1.
    gate_usage : float, optional
        Share of the client's tokens that its gate sends to the expert, 0 to 1.
    gradient_norm : float, optional
        Root mean square over samples of the gradient's Euclidean norm.

    Examples
    --------
    >>> import alignsolve as al
    >>> al.ExpertReport(samples=120, loss=0.7, loss_before=0.9).loss
    0.7
    """

    samples: float
    loss: float | None = None
    loss_before: float | None = None
    accuracy: float | None = None
    gate_usage: float | None = None
    gradient_norm: float | None = None


@dataclass(frozen=True)
class ClientReport:
    """What one client says after a round.

    Attributes
    ----------
    client : str or int
        Its id.
    round : int
        The plan's round.
    samples : float
        Samples that the client trained on.
    seconds : float
        Seconds of training, without transfers.
    down_mb, up_mb : float, optional
        Megabytes moved.
    down_seconds, up_seconds : float, optional
        Seconds that moving them took.
    experts : mapping of int to ExpertReport
        Reports on experts. One that was assigned and is missing here was not
        trained. One that was not assigned may be reported with 0 samples.
    features : sequence of float, optional
        A few numbers, at most 1024, by which clients with like data are alike, of any
        origin: clients alike learn from each other's scores
        (`alignsolve.aligner.shared_evidence`). They tell the server which clients are alike,
        and whatever else they were computed from. None keeps those sent before.

    Examples
    --------
    >>> import alignsolve as al
    >>> report = al.ClientReport(
    ...     "phone", round=1, samples=120, seconds=4.0, down_mb=20.0, down_seconds=2.5,
    ...     experts={3: al.ExpertReport(samples=120, loss=0.7)}, features=[0.2, -1.3])
    >>> report.experts[3].samples
    120
    """

    client: ClientId
    round: int
    samples: float
    seconds: float
    down_mb: float | None = None
    up_mb: float | None = None
    down_seconds: float | None = None
    up_seconds: float | None = None
    experts: Mapping[int, ExpertReport] = field(default_factory=dict)
    features: Sequence[float] | npt.NDArray[Any] | None = None


@dataclass(frozen=True)
class Refusal:
    """A report that was not taken.

    Attributes
    ----------
    client : object
        The client that it names; None where it names none.
    reason : str
        Why, in words.
    kind : {"malformed", "not asked", "late", "duplicate"}
        What refusals are counted by.

    Examples
    --------
    >>> import alignsolve as al
    >>> aligner = al.Aligner(n_experts=2)
    >>> plan = aligner.plan(["phone", "edge"])
    >>> reports = [al.ClientReport(client, plan.round, samples=10, seconds=1.0)
    ...            for client in ("phone", "laptop")]
    >>> [(refusal.client, refusal.kind) for refusal in aligner.observe(plan, reports).refused]
    [('laptop', 'not asked')]
    """

    client: object
    reason: str
    kind: str


@dataclass(frozen=True)
class Observation:
    """What became of a round's reports.

    Attributes
    ----------
    accepted : int
        Reports taken.
    refused : tuple of Refusal
        The others, in the order in which they came.
    dropped : tuple of str or int
        Clients of the plan without an accepted report.
    ignored_features : tuple of str or int
        Clients whose features have another length than those of others, and were ignored.

    Examples
    --------
    >>> import alignsolve as al
    >>> aligner = al.Aligner(n_experts=2)
    >>> plan = aligner.plan(["phone", "edge"])
    >>> expert = int(plan.experts_of("phone")[0])
    >>> report = al.ClientReport("phone", plan.round, samples=10, seconds=1.0,
    ...                          experts={expert: al.ExpertReport(samples=10, loss=0.5)})
    >>> observation = aligner.observe(plan, [report])
    >>> observation.accepted, observation.dropped
    (1, ('edge',))
    """

    accepted: int
    refused: tuple[Refusal, ...]
    dropped: tuple[ClientId, ...]
    ignored_features: tuple[ClientId, ...] = ()


def client_id(value: object) -> ClientId:
    """Return a client's id as str or int.

    Raises
    ------
    ProblemError
        If it is neither.
    """
    if isinstance(value, str):
        return value
    if is_whole(value):
        return int(value)
    raise ProblemError(f"client {value!r} is {type(value).__name__}; give a str or a whole number")


def with_numbers(report: ClientReport) -> ClientReport | None:
    """Return a report with numbers for arrays and tensors without dimensions.

    None where two of its experts then are one.
    """
    report = _numbers_of(report)
    if not isinstance(report.experts, Mapping):
        return report
    experts = {
        number(expert): _numbers_of(seen) if isinstance(seen, ExpertReport) else seen
        for expert, seen in report.experts.items()
    }
    return replace(report, experts=experts) if len(experts) == len(report.experts) else None


def _numbers_of(record: Report) -> Report:
    found = {name: number(value) for name, value in vars(record).items()}
    return replace(record, **{name: n for name, n in found.items() if n is not vars(record)[name]})


def report_fault(report: ClientReport, n_experts: int, held: frozenset[int]) -> str:
    """Return what is wrong with the numbers of a report, or "" if nothing is.

    Parameters
    ----------
    held : frozenset of int
        Experts that the client was assigned.
    """
    fault = fault_of(
        report, samples=AMOUNT, seconds=AMOUNT, down_mb=AMOUNT, up_mb=AMOUNT, down_seconds=AMOUNT,
        up_seconds=AMOUNT,
    )
    fault = fault or features_fault(report.features)
    if fault:
        return fault
    if not isinstance(report.experts, Mapping):
        return f"experts is {type(report.experts).__name__}; give a mapping of expert to report"
    for expert, seen in report.experts.items():
        if fault := expert_fault(expert, n_experts):
            return fault
        if fault := _fault_of_expert(seen, expert in held):
            return f"expert {expert}: {fault}"
    return ""


def _fault_of_expert(seen: object, held: bool) -> str:
    """Return what is wrong with what a client says of one expert."""
    if not isinstance(seen, ExpertReport):
        return f"report is {type(seen).__name__}; give an ExpertReport"
    fault = fault_of(
        seen, samples=AMOUNT, loss=AMOUNT, loss_before=AMOUNT, accuracy=SHARE, gate_usage=SHARE,
        gradient_norm=AMOUNT,
    )
    if not fault and seen.samples > 0 and not held:
        return "trained without being assigned"
    return fault
