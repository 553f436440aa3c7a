"""What clients report after a round, and what is refused of it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from alignsolve.errors import ProblemError

#: How clients are called: a string or a whole number.
ClientId = str | int

#: Largest number in a report: far beyond any real one, far below where sums overflow.
LARGEST_NUMBER = 1e12


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
    """

    accepted: int
    refused: tuple[Refusal, ...]
    dropped: tuple[ClientId, ...]


def client_id(value: object) -> ClientId:
    """Return a client's id as str or int.

    Raises
    ------
    ProblemError
        If it is neither.
    """
    if isinstance(value, str) or type(value) is int:
        return value
    if isinstance(value, np.integer):
        return int(value)
    raise ProblemError(f"client {value!r} is {type(value).__name__}; give a str or a whole number")


def number_fault(name: str, value: object, low: float = 0.0, high: float = LARGEST_NUMBER) -> str:
    """Return what is wrong with a number, or "" if it is finite and within bounds."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(
        value, (int, float, np.integer, np.floating)
    ):
        return f"{name} is {_short(value)}; give a number"
    if not low <= value <= high:  # false for NaN
        return f"{name} is {_short(value)}; give a number from {low:g} to {high:g}"
    return ""


def report_fault(report: ClientReport, n_experts: int, held: frozenset[int]) -> str:
    """Return what is wrong with the numbers of a report, or "" if nothing is.

    Parameters
    ----------
    held : frozenset of int
        Experts that the client was assigned.
    """
    for name in ("samples", "seconds", "down_mb", "up_mb", "down_seconds", "up_seconds"):
        value = getattr(report, name)
        needed = name in ("samples", "seconds")
        if (needed or value is not None) and (fault := number_fault(name, value)):
            return fault
    if not isinstance(report.experts, Mapping):
        return f"experts is {type(report.experts).__name__}; give a mapping of expert to report"
    for expert, seen in report.experts.items():
        if isinstance(expert, bool) or not isinstance(expert, (int, np.integer)):
            return f"expert {_short(expert)} is {type(expert).__name__}; give its index"
        if not 0 <= expert < n_experts:
            return f"expert {_short(expert)} does not exist; give 0 to {n_experts - 1}"
        if fault := _expert_fault(expert, seen, expert in held):
            return f"expert {expert}: {fault}"
    return ""


def _expert_fault(expert: int, seen: object, held: bool) -> str:
    """Return what is wrong with what a client says of one expert."""
    if not isinstance(seen, ExpertReport):
        return f"report is {type(seen).__name__}; give an ExpertReport"
    if fault := number_fault("samples", seen.samples):
        return fault
    if seen.samples > 0 and not held:
        return "trained without being assigned"
    bounds = {"accuracy": 1.0, "gate_usage": 1.0}
    for name in ("loss", "loss_before", "accuracy", "gate_usage", "gradient_norm"):
        value = getattr(seen, name)
        high = bounds.get(name, LARGEST_NUMBER)
        if value is not None and (fault := number_fault(name, value, 0.0, high)):
            return fault
    return ""


def score_fault(score: object) -> str:
    """Return what is wrong with a score, or "" if it is finite and plausible."""
    return number_fault("score", score, -LARGEST_NUMBER, LARGEST_NUMBER)


def _short(value: object) -> str:
    """Return hostile content in few characters."""
    if isinstance(value, int) and abs(value) > 10**18:
        return f"a whole number of {math.floor(value.bit_length() * math.log10(2)) + 1} digits"
    text = repr(value)
    return text if len(text) <= 40 else text[:37] + "..."
