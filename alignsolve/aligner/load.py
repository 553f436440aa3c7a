"""Load of every expert over all rounds, and the bounds that keep it balanced."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from alignsolve.aligner.checks import NON_NEGATIVE, require
from alignsolve.aligner.rows import Rows
from alignsolve.errors import ProblemError
from alignsolve.model.arrays import Float64Array, IntArray

#: Halvings of the interval in which the level of `fill_level` is sought.
HALVINGS = 64


@dataclass(frozen=True)
class LoadSettings:
    """How load is balanced over the rounds.

    Parameters
    ----------
    share : sequence of float, optional
        Wanted share of each expert in all load, > 0, in any unit; None for equal.
    slack : float, default 0
        By how much a round's holders of an expert may miss their target, as a
        share of the mean target; 0 leaves the two whole numbers around it.
    sample_slack : float, optional
        The same for samples; None leaves samples unbounded. Bounds on samples
        make the round a problem of the class "mip".
    sample_price : float, default 0
        Balances samples by prices in place of bounds, so that rounds stay flow
        problems: what a client of mean samples loses on an expert whose samples so
        far are twice the mean, in units of fitness.
    carry : bool, default True
        Whether later rounds make up for what earlier ones missed; if not, every
        round is balanced as if it were the first.

    Examples
    --------
    Expert 0 shall be trained three times as often as expert 1:

    >>> import alignsolve as al
    >>> aligner = al.Aligner(n_experts=2, load=al.LoadSettings(share=[3, 1]))
    >>> aligner.plan(["a", "b", "c", "d"]).loads.tolist()
    [3, 1]
    """

    share: Sequence[float] | None = None
    slack: float = 0.0
    sample_slack: float | None = None
    sample_price: float = 0.0
    carry: bool = True

    def __post_init__(self) -> None:
        require(self, slack=NON_NEGATIVE, sample_slack=NON_NEGATIVE, sample_price=NON_NEGATIVE)


class LoadMonitor(Rows):
    """Finished holders and processed samples of every expert, and what each is owed.

    Notes
    -----
    Round t shall bring expert j as close to ``share_j L`` as it can, where L is
    the total after the round: its target is ``max(least, share_j L - load_j)``,
    cut at what can be had, with L such that the targets sum to what the
    participants are expected to finish (`fill_level`). A round too small for all
    deficits serves the largest first; what rounding, dropouts or a small round
    leave undone is in `load_j`, and so in the next target. That is error
    diffusion: with targets met up to e holders in every round, the sums differ
    by O(e) after any number of rounds, and their coefficient of variation falls
    like 1/t.
    """

    PLAIN: ClassVar[tuple[str, ...]] = ("holders", "samples", "planned")

    def __init__(self, settings: LoadSettings, n_experts: int) -> None:
        self.settings = settings
        self.share = _shares(settings.share, n_experts)
        #: Finished holders of each expert, all rounds.
        self.holders: IntArray = np.zeros(n_experts, dtype=np.int64)
        #: Samples that finished holders put through each expert.
        self.samples: Float64Array = np.zeros(n_experts)
        #: Holders that plans asked for, finished or not.
        self.planned: IntArray = np.zeros(n_experts, dtype=np.int64)

    def holder_bounds(
        self, slots: Float64Array, group: IntArray | None, finish: float, least: float,
        most: Float64Array,
    ) -> tuple[Float64Array, Float64Array]:
        """Return the bounds on this round's holders of every expert.

        Parameters
        ----------
        slots : float64 array, shape (n_groups,)
            Slots of all participants for each group of experts.
        group : int64 array, shape (n_experts,), or None
            Group of each expert; None for one group.
        finish : float
            Probability that a holder finishes, averaged over the slots.
        least : float
            Holders expected to finish that every expert shall have.
        most : float64 array, shape (n_experts,)
            Clients that may hold each expert.

        Returns
        -------
        low, high : float64 array, shape (n_experts,)
            Whole numbers around the target, wider by `LoadSettings.slack`.
        """
        finish = max(finish, 1e-6)
        target = np.zeros(most.size)
        for number, total in enumerate(slots):
            among = slice(None) if group is None else group == number
            target[among] = fill_level(
                self._carried(self.holders)[among], self.share[among], total * finish, least,
                most[among] * finish,
            )  # fmt: skip
        target = target / finish
        slack = self.settings.slack * float(slots.sum()) / target.size
        # A hair's breadth, so that 3 times 1/3 is a whole number.
        low = np.floor(target - slack + 1e-9 * (1 + target))
        high = np.ceil(target + slack - 1e-9 * (1 + target))
        return np.maximum(low, 0.0), np.minimum(high, most)

    def sample_bounds(self, total: float) -> tuple[Float64Array, Float64Array] | None:
        """Return the bounds on this round's expected samples of every expert.

        Parameters
        ----------
        total : float
            Samples that all slots together are expected to process.
        """
        if self.settings.sample_slack is None:
            return None
        most = np.full(self.samples.size, np.inf)
        target = fill_level(self._carried(self.samples), self.share, total, 0.0, most)
        slack = self.settings.sample_slack * total / target.size
        return np.maximum(target - slack, 0.0), target + slack

    def sample_costs(self, samples: Float64Array) -> Float64Array | None:
        """Return what every pair costs on account of samples, or None for nothing.

        Parameters
        ----------
        samples : float64 array, shape (n,)
            Samples that an expert is expected to process on each participant.

        Returns
        -------
        costs : float64 array, shape (n, n_experts), or None
            ``sample_price * excess_j * samples_i / mean samples``, >= 0.

        Notes
        -----
        ``excess_j`` is by how much the expert's samples of all rounds exceed those of
        the expert that lags most, relative to the mean. It grows until large clients
        find other experts better: a proportional controller on the sum over rounds.
        The excess that remains falls like the inverse of the price.
        """
        load = self._carried(self.samples) / self.share
        if self.settings.sample_price == 0 or not load.any() or not samples.any():
            return None
        excess = (load - load.min()) / load.mean()
        weight = samples / samples.mean()
        return np.asarray(self.settings.sample_price * weight[:, None] * excess)

    def _carried(self, load: Float64Array | IntArray) -> Float64Array:
        """Return the load that later rounds have to even out."""
        return np.asarray(load * float(self.settings.carry), dtype=np.float64)

    def add_plan(self, experts: IntArray) -> None:
        """Count the holders that a plan asked for: the expert of each."""
        self.planned += np.bincount(experts, minlength=self.planned.size)

    def add(self, experts: IntArray, samples: Float64Array) -> None:
        """Credit finished holders with the samples that they processed.

        Parameters
        ----------
        experts : int64 array, shape (n_holders,)
            Expert of each finished holder.
        samples : float64 array, shape (n_holders,)
            Samples that it put through the expert.
        """
        self.holders += np.bincount(experts, minlength=self.holders.size)
        self.samples += np.bincount(experts, samples, self.samples.size)


def fill_level(
    load: Float64Array | IntArray, share: Float64Array, total: float, least: float,
    most: Float64Array,
) -> Float64Array:
    """Return ``clip(share * L - load, least, most)`` with L such that it sums to `total`.

    Parameters
    ----------
    load : array, shape (n_experts,)
        What each expert has.
    share : float64 array, shape (n_experts,)
        Wanted shares, > 0.
    total : float
        What is to be given out.
    least : float
        Fewest for each expert; `most` goes before.
    most : float64 array, shape (n_experts,)
        Most for each expert.

    Returns
    -------
    target : float64 array, shape (n_experts,)
        Sums to `total` where `least` and `most` allow.

    Notes
    -----
    The sum grows with L: bisection, O(n_experts) times `HALVINGS`.
    """
    floor = np.minimum(least, most)
    low, high = 0.0, (float(load.sum()) + total + float(np.max(load + floor, initial=0.0)))
    high /= float(share.min())
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        if np.clip(share * middle - load, floor, most).sum() < total:
            low = middle
        else:
            high = middle
    return np.asarray(np.clip(share * high - load, floor, most))


def balance_metrics(load: Float64Array | IntArray, share: Float64Array) -> dict[str, float]:
    """Return how evenly a load is spread, relative to the wanted shares.

    Parameters
    ----------
    load : array, shape (n_experts,)
        Load >= 0.
    share : float64 array, shape (n_experts,)
        Wanted shares, sum 1.

    Returns
    -------
    metrics : dict
        Over ``x = load / share``: ``cv`` (standard deviation over mean),
        ``max_over_mean``, ``min_over_mean`` and ``jain``; those of perfect
        balance where there is no load.

    References
    ----------
    R. Jain, D. Chiu, W. Hawe, A Quantitative Measure of Fairness, DEC-TR-301,
    1984, arXiv:cs/9809099: ``(sum x)**2 / (n sum x**2)``.
    """
    relative = load / share
    mean = float(relative.mean())
    relative = np.ones(relative.size) if mean <= 0 else relative / mean
    return {
        "cv": float(relative.std()),
        "max_over_mean": float(relative.max()),
        "min_over_mean": float(relative.min()),
        "jain": float(1.0 / (relative**2).mean()),
    }


def _shares(share: Sequence[float] | None, n_experts: int) -> Float64Array:
    """Return the wanted shares with sum 1."""
    if share is None:
        return np.full(n_experts, 1.0 / n_experts)
    array = np.asarray(share, dtype=np.float64)
    if array.shape != (n_experts,) or not (np.isfinite(array) & (array > 0)).all():
        raise ProblemError(f"share is {share!r}; give {n_experts} finite numbers > 0")
    return np.asarray(array / array.sum())
