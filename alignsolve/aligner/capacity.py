"""What every client can do in a round: declared, observed, and robust to outliers."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from alignsolve.aligner.checks import (
    AMOUNT,
    COUNT,
    FINITE_POSITIVE,
    POSITIVE,
    expert_fault,
    is_whole,
    require,
)
from alignsolve.aligner.rows import Rows
from alignsolve.errors import ProblemError
from alignsolve.model.arrays import BoolArray, Float64Array, IntArray
from alignsolve.model.foreign import number

#: Observed rates, all in the sense that larger is slower or more.
RATES = ("seconds_per_sample", "down_seconds_per_mb", "up_seconds_per_mb", "samples")

#: Newest observations kept of each rate.
WINDOW = 7

#: Of these, how many newest ones can raise an estimate on their own.
RECENT = 3

#: Rates below count as this one: what they send takes longer than any round.
SLOWEST_MBPS = 1e-9

#: Megabits in a megabyte.
BITS = 8.0


@dataclass(frozen=True)
class CapacitySettings:
    """How clients' capacity is judged.

    Parameters
    ----------
    max_experts : int, default 1
        Slots of a client that declared none.
    memory_factor : float, default 4
        Memory that training an expert takes, in sizes of the expert: 4 is
        weights, gradients and two moments of Adam.
    finish_prior : tuple of float, default (9, 1)
        Rounds finished and not finished that a new client is judged by.
    finish_half_life : float, default 20
        Rounds asked after which an old finish counts half.

    Examples
    --------
    >>> import alignsolve as al
    >>> aligner = al.Aligner(n_experts=4, capacity=al.CapacitySettings(max_experts=3))
    >>> aligner.plan(["phone"]).experts_of("phone").size
    3
    """

    max_experts: int = 1
    memory_factor: float = 4.0
    finish_prior: tuple[float, float] = (9.0, 1.0)
    finish_half_life: float = 20.0

    def __post_init__(self) -> None:
        require(self, max_experts=COUNT, memory_factor=FINITE_POSITIVE, finish_half_life=POSITIVE)
        if not all(0 < part < math.inf for part in self.finish_prior):
            raise ProblemError(f"finish_prior is {self.finish_prior!r}; give two numbers > 0")


@dataclass(frozen=True)
class ClientProfile:
    """What a client declares; None for what it does not know.

    Attributes
    ----------
    max_experts : int
        Most experts held at a time.
    memory_mb : float
        Megabytes of memory for training experts.
    budget_mb : float
        Megabytes that the client may download in a round.
    down_mbps, up_mbps : float
        Rates of transfer, in megabits per second.
    seconds_per_sample : float
        Seconds that one expert trains on one sample.
    samples : float
        Samples that an expert sees on this client in a round.
    forbidden : sequence of int
        Experts that the client may not hold.

    Raises
    ------
    ProblemError
        If a field is no finite number >= 0 (slots: no whole number).

    Examples
    --------
    `Aligner.declare` takes its fields:

    >>> import alignsolve as al
    >>> aligner = al.Aligner(n_experts=3, expert_mb=10.0)
    >>> aligner.declare("phone", max_experts=2, memory_mb=100.0, forbidden=[0])
    >>> aligner.plan(["phone"]).experts_of("phone").tolist()
    [1, 2]
    """

    max_experts: int | None = None
    memory_mb: float | None = None
    budget_mb: float | None = None
    down_mbps: float | None = None
    up_mbps: float | None = None
    seconds_per_sample: float | None = None
    samples: float | None = None
    forbidden: Sequence[int] | None = None

    def __post_init__(self) -> None:
        require(
            self, max_experts=COUNT, memory_mb=AMOUNT, budget_mb=AMOUNT, down_mbps=AMOUNT,
            up_mbps=AMOUNT, seconds_per_sample=AMOUNT, samples=AMOUNT,
        )
        if self.forbidden is not None and not (
            isinstance(self.forbidden, Iterable) and all(map(is_whole, self.forbidden))
        ):
            raise ProblemError(f"forbidden is {self.forbidden!r}; give a sequence of experts")

    @classmethod
    def of(cls, fields: Mapping[str, Any], n_experts: int) -> ClientProfile:
        """Return a profile from fields by name.

        Raises
        ------
        ProblemError
            If a field is unknown or malformed, or an expert does not exist.
        """
        for name in fields:
            if name not in cls.__dataclass_fields__:
                known = ", ".join(cls.__dataclass_fields__)
                raise ProblemError(f"{name!r} is no part of a client's profile; give {known}")
        profile = cls(**{name: number(value) for name, value in fields.items()})
        for expert in profile.forbidden or ():
            if fault := expert_fault(expert, n_experts):
                raise ProblemError(f"forbidden {fault}")
        return profile

    def rates(self) -> Float64Array:
        """Return what the profile says of `RATES`, NaN where nothing."""
        # As a float, None is NaN.
        mbps = np.array([self.down_mbps, self.up_mbps], dtype=np.float64)
        # A client that cannot send at all never gets done.
        down, up = BITS / np.maximum(mbps, SLOWEST_MBPS)
        return np.array([self.seconds_per_sample, down, up, self.samples], dtype=np.float64)


class CapacityProfiler(Rows):
    """Rates, limits and reliability of every client.

    Notes
    -----
    A rate is estimated by ::

        max(median of the last 7, median of the last 3)

    where a declared rate counts as the oldest observation. Medians ignore
    outliers: one in three, or three in seven. The second term makes the estimate
    follow a slow-down after two slow rounds out of three, while a speed-up has
    to last for a majority of seven: a deadline missed costs a whole round, one
    undershot costs little. This rule is our own. A rate never declared nor
    observed is the median of the round's other participants; where none has it,
    it limits nothing.

    The probability that a client finishes is a discounted mean, shrunk to that
    of the fleet, which is itself shrunk to `CapacitySettings.finish_prior`.
    """

    ROWS: ClassVar[dict[str, float]] = {
        "max_experts": -1, "memory_mb": np.inf, "budget_mb": np.inf,
        "observed": np.nan, "finished": 0, "asked": 0, "forbidden": False,
    }  # fmt: skip
    PLAIN: ClassVar[tuple[str, ...]] = ("fleet",)

    def __init__(self, settings: CapacitySettings, n_experts: int) -> None:
        self.settings = settings
        self.max_experts: IntArray = np.zeros(0, dtype=np.int64)
        self.memory_mb: Float64Array = np.zeros(0)
        self.budget_mb: Float64Array = np.zeros(0)
        #: Pairs that a client declared it may not hold.
        self.forbidden: BoolArray = np.zeros((0, n_experts), dtype=np.bool_)
        #: Observations, newest last, NaN where there is none yet.
        self.observed: Float64Array = np.zeros((0, len(RATES), WINDOW))
        #: Discounted rounds that were finished, and that were asked for.
        self.finished: Float64Array = np.zeros(0)
        self.asked: Float64Array = np.zeros(0)
        #: The same over the whole fleet.
        self.fleet: Float64Array = np.zeros(2)

    def declare(self, client: int, profile: ClientProfile) -> None:
        """Take over what a client declares; what it does not know stays as it was."""
        for name in ("max_experts", "memory_mb", "budget_mb"):
            value = getattr(profile, name)
            if value is not None:
                getattr(self, name)[client] = value
        if profile.forbidden is not None:
            self.forbidden[client] = False
            self.forbidden[client, list(profile.forbidden)] = True
        declared = profile.rates()
        known = np.isfinite(declared)
        # A new declaration replaces the history: the device may be another one.
        self.observed[client, known] = np.nan
        self.observed[client, known, -1] = declared[known]

    def observe(self, clients: IntArray, values: Float64Array) -> None:
        """Take in the rates seen in a round.

        Parameters
        ----------
        clients : int64 array, shape (n,)
            Distinct rows.
        values : float64 array, shape (n, len(RATES))
            Rates; NaN where nothing was seen.
        """
        rows, rates = np.nonzero(np.isfinite(values))
        seen = self.observed[clients[rows], rates]
        seen[:, :-1] = seen[:, 1:]
        seen[:, -1] = values[rows, rates]
        self.observed[clients[rows], rates] = seen

    def observe_finish(self, clients: IntArray, finished: Float64Array) -> None:
        """Take in who finished (1) and who did not (0), of those asked."""
        keep = 2.0 ** (-1.0 / self.settings.finish_half_life)
        self.finished[clients] = keep * self.finished[clients] + finished
        self.asked[clients] = keep * self.asked[clients] + 1
        if clients.size:
            # One round of a fleet counts as one observation, whatever its size.
            self.fleet = keep * self.fleet + (float(finished.mean()), 1.0)

    def rates(self, clients: IntArray) -> dict[str, Float64Array]:
        """Return the estimate of every rate, float64 (n,); NaN where nothing is known."""
        observed = self.observed[clients]
        estimate = np.fmax(_median(observed), _median(observed[..., -RECENT:]))
        if clients.size:
            among = _median(np.moveaxis(estimate, 0, -1))
            estimate = np.where(np.isnan(estimate), among, estimate)
        return dict(zip(RATES, estimate.T, strict=True))

    def finish_probability(self, clients: IntArray) -> Float64Array:
        """Return the probability that each client finishes the round, float64 (n,)."""
        good, bad = self.settings.finish_prior
        number = good + bad
        fleet = (self.fleet[0] + good) / (self.fleet[1] + number)
        return np.asarray(
            (self.finished[clients] + number * fleet) / (self.asked[clients] + number)
        )

    def slots(self, clients: IntArray) -> IntArray:
        """Return the slots of each client, int64 (n,), at most the experts that there are."""
        declared = self.max_experts[clients]
        slots = np.where(declared < 0, self.settings.max_experts, declared)
        return np.minimum(slots, self.forbidden.shape[1])


def _median(values: Float64Array) -> Float64Array:
    """Return the median along the last axis without NaN, NaN where there is nothing else."""
    ordered = np.sort(values, axis=-1)  # NaN last
    number = np.isfinite(ordered).sum(axis=-1, keepdims=True)
    # Of an even number the upper middle: never an average of a normal and a wild value.
    middle = np.minimum(number // 2, values.shape[-1] - 1)
    return np.asarray(np.take_along_axis(ordered, middle, axis=-1)[..., 0])
