"""Fitness of every client for every expert, learnt from reports round by round."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt

from alignsolve.aligner.checks import (
    ANY,
    KERNEL_WIDTH,
    NON_NEGATIVE,
    POSITIVE,
    POSITIVE_SHARE,
    require,
)
from alignsolve.aligner.reports import ExpertReport
from alignsolve.aligner.rows import Rows
from alignsolve.errors import ProblemError
from alignsolve.model.arrays import Float64Array, IntArray

#: Names of scores.
ScoreName = Literal["loss", "accuracy", "gate_usage", "loss_improvement", "gradient_utility"]

#: As how many own scores the evidence of clients alike counts at most.
MOST_SHARED = 3.0

#: A score of one report; None where the report lacks what it needs.
Score = Callable[[ExpertReport], float | None]


def loss_improvement(report: ExpertReport) -> float | None:
    """Return how much training lowered the mean loss."""
    if report.loss is None or report.loss_before is None:
        return None
    return report.loss_before - report.loss


def gradient_utility(report: ExpertReport) -> float | None:
    """Return samples times the root mean square of the samples' gradient norms.

    Notes
    -----
    Importance sampling draws samples in proportion to their gradient norms; the
    sum ``|B| sqrt(mean ||grad||**2)`` is a client's utility. Oort replaces the
    norms by losses to save their computation; here clients report the norms.

    References
    ----------
    F. Lai et al., Oort: Efficient Federated Learning via Guided Participant
    Selection, OSDI 2021, arXiv:2010.06081.
    """
    return None if report.gradient_norm is None else report.samples * report.gradient_norm


NAMED_SCORES: dict[ScoreName, Score] = {
    "accuracy": lambda report: report.accuracy,
    "gate_usage": lambda report: report.gate_usage,
    "loss_improvement": loss_improvement,
    "gradient_utility": gradient_utility,
}


@dataclass(frozen=True)
class FitnessSettings:
    """How reports become fitness.

    Parameters
    ----------
    score : str or callable, default "loss"
        "loss" for ``exp(-alpha * loss)``, "accuracy", "loss_improvement",
        "gate_usage", "gradient_utility", or a function from `ExpertReport` to a
        number, or to None where the report does not tell.
    alpha : float, default 1
        Rate of the score "loss", per unit of loss.
    smoothing : float, default 0.3
        Weight of a new score against the older ones of its pair, in (0, 1].
    half_life : float, default 50
        Rounds after which an old score counts half.
    prior_weight : float, default 1
        Number of scores that the prior counts as.
    initial : float, default 0.5
        Expected score before any report.
    exploration : float, default 0.1
        Weight of the uncertainty bonus; 0 for none.
    kernel_width : float, default 1
        Distance between clients' features over which likeness fades, in units of their
        median distance from the centre; from 0.001 to 1e6.
        See `alignsolve.aligner.shared_evidence`.

    Examples
    --------
    >>> import alignsolve as al
    >>> settings = al.FitnessSettings(score="accuracy", exploration=0.0)
    >>> aligner = al.Aligner(n_experts=2, fitness=settings)
    >>> plan = aligner.plan(["phone"])
    >>> report = al.ClientReport("phone", plan.round, samples=10, seconds=1.0, experts={
    ...     0: al.ExpertReport(samples=0, accuracy=0.9),
    ...     1: al.ExpertReport(samples=0, accuracy=0.1)})
    >>> aligner.observe(plan, [report]).accepted
    1
    >>> aligner.fitness(["phone"]).round(2).tolist()
    [[0.8, 0.2]]
    """

    score: ScoreName | Score = "loss"
    alpha: float = 1.0
    smoothing: float = 0.3
    half_life: float = 50.0
    prior_weight: float = 1.0
    initial: float = 0.5
    exploration: float = 0.1
    kernel_width: float = 1.0

    def __post_init__(self) -> None:
        if not callable(self.score) and self.score not in ("loss", *NAMED_SCORES):
            raise ProblemError(
                f"score is {self.score!r}; give one of {['loss', *NAMED_SCORES]} or a function"
            )
        require(
            self, alpha=POSITIVE, smoothing=POSITIVE_SHARE, half_life=POSITIVE,
            prior_weight=POSITIVE, exploration=NON_NEGATIVE, initial=ANY,
            kernel_width=KERNEL_WIDTH,
        )

    def scorer(self) -> Score:
        """Return the function behind `score`."""
        if callable(self.score):
            return self.score
        return self._exp_loss if self.score == "loss" else NAMED_SCORES[self.score]

    def _exp_loss(self, report: ExpertReport) -> float | None:
        return None if report.loss is None else math.exp(-self.alpha * report.loss)


@dataclass(frozen=True, eq=False)
class Shared:
    """What clients alike tell of pairs, beside these pairs' own scores.

    Attributes
    ----------
    residual : float64 array, shape (n, n_experts)
        By how much the pair is expected to differ from its prior, in units of the score.
    count : float64 array, shape (n, n_experts)
        As how many scores of the pair all evidence counts, for the bonus.
    """

    residual: Float64Array
    count: Float64Array

    def weight(self, least: float) -> Float64Array:
        """Return as how many of a pair's own scores its prior and the residual count.

        At least the prior's weight, at most `MOST_SHARED` where others' evidence is ample.
        """
        return np.maximum(least, np.minimum(self.count, MOST_SHARED))


class FitnessTracker(Rows):
    """Discounted mean scores of pairs, shrunk to what expert and client lead one to expect.

    Notes
    -----
    For pair (i, j), ``N`` is the discounted number of its scores and ``S`` their
    discounted sum. With ``g = 2**(-rounds since the last score / half_life)``, a
    score y makes ``S = (1 - smoothing) g S + y`` and ``N = (1 - smoothing) g N + 1``:
    ``S / N`` is the exponential moving average without the bias towards its
    start (the correction of Kingma and Ba, arXiv:1412.6980, section 3). In
    round t the fitness is ::

        (g S + k prior_ij) / (g N + k)  +  c s sqrt(ln(1 + t) / (1 + g N))

    with ``k = prior_weight``. The first part lets a score that is not refreshed
    decay to ``prior_ij = mean + expert effect_j + client effect_i``: discounted
    means of the expert's scores, and of the client's residuals, themselves
    shrunk to zero by k. A client never seen has its experts' priors, so one bad
    early round locks nobody out.

    The second part is the upper confidence bound of Auer et al. for arms tried
    ``g N`` times, with counts discounted as by Garivier and Moulines, since
    fitness drifts. Our own, and without their guarantee of logarithmic regret:
    the 1 in the denominator (a pair never tried has a finite bonus), the scale s
    (root mean square of residuals, so that c has no unit), and that pairs are
    not chosen alone but under the round's bounds. A residual as large as the mean
    score counts k times in s: scores that never surprise would end exploration.

    Time O(rows m) for fitness and O(scores) for an update; 12 bytes a pair.

    References
    ----------
    P. Auer, N. Cesa-Bianchi, P. Fischer, Finite-time Analysis of the Multiarmed
    Bandit Problem, Machine Learning 47 (2002), doi:10.1023/A:1013689704352.
    A. Garivier, E. Moulines, On Upper-Confidence Bound Policies for Switching
    Bandit Problems, ALT 2011, arXiv:0805.3415.
    """

    ROWS: ClassVar[dict[str, float]] = {
        "pair_sum": 0, "pair_count": 0, "pair_round": 0,
        "client_sum": 0, "client_count": 0, "client_round": 0,
    }  # fmt: skip
    PLAIN: ClassVar[tuple[str, ...]] = ("expert_sum", "expert_count", "spread", "round")

    def __init__(self, settings: FitnessSettings, n_experts: int) -> None:
        self.settings = settings
        self.pair_sum = np.zeros((0, n_experts), dtype=np.float32)
        self.pair_count = np.zeros((0, n_experts), dtype=np.float32)
        self.pair_round = np.zeros((0, n_experts), dtype=np.int32)
        self.client_sum = np.zeros(0)
        self.client_count = np.zeros(0)
        self.client_round = np.zeros(0, dtype=np.int32)
        self.expert_sum = np.zeros(n_experts)
        self.expert_count = np.zeros(n_experts)
        #: Discounted sum of squared residuals, and their number.
        self.spread: Float64Array = np.zeros(2)
        #: Round of the last update of what has no row per client.
        self.round: npt.NDArray[Any] = np.zeros((), dtype=np.int64)

    def fitness(
        self, clients: IntArray, round_: int, shared: Shared | None = None, bonus: bool = True
    ) -> Float64Array:
        """Return the fitness of some clients.

        Parameters
        ----------
        clients : int64 array, shape (n,)
            Row of each client.
        round_ : int
            Current round.
        shared : Shared, optional
            What clients alike tell of these pairs
            (`alignsolve.aligner.shared_evidence.SharedEvidence`).
        bonus : bool
            Whether the bonus for exploration is included.

        Returns
        -------
        fitness : float64 array, shape (n, n_experts)
            A fresh array, finite, in units of the score.
        """
        weight: float | Float64Array = self.settings.prior_weight
        fade = self._fade(round_ - self.pair_round[clients])
        count = fade * self.pair_count[clients]
        expected = self.prior(clients, round_)
        if shared is not None:
            expected += shared.residual
            weight = shared.weight(self.settings.prior_weight)
        value = fade * self.pair_sum[clients] + weight * expected
        value /= count + weight
        if self.settings.exploration and bonus:
            if shared is not None:
                count = np.maximum(count, shared.count)
            scale = self.settings.exploration * self._scale() * math.sqrt(math.log1p(round_))
            value += scale / np.sqrt(1 + count)
        return value

    def evidence(self, clients: IntArray, round_: int) -> tuple[Float64Array, Float64Array]:
        """Return discounted numbers of pairs' scores, and sums of their residuals.

        Both float64 (n, n_experts); a residual is a score less the pair's prior.
        """
        fade = self._fade(round_ - self.pair_round[clients])
        count = fade * self.pair_count[clients]
        return count, fade * self.pair_sum[clients] - count * self.prior(clients, round_)

    def prior(self, clients: IntArray, round_: int) -> Float64Array:
        """Return what expert and client lead one to expect, float64 (n, n_experts)."""
        mean, expert = self._effects()
        return np.asarray(mean + expert + self._client_effect(clients, round_)[:, None])

    def update(
        self, clients: IntArray, experts: IntArray, scores: Float64Array, round_: int
    ) -> None:
        """Take in the scores of a round.

        Parameters
        ----------
        clients, experts : int64 array, shape (n_scores,)
            Distinct pairs.
        scores : float64 array, shape (n_scores,)
            Finite.
        round_ : int
            Round that they are of.
        """
        if not scores.size:
            return
        mean, expert = self._effects()
        number = np.bincount(clients, minlength=self.n_clients)
        own = np.flatnonzero(number)
        residual = scores - mean - expert[experts] - self._client_effect(clients, round_)
        self._discount_shared(round_)
        m = self.expert_sum.size
        self.expert_sum += np.bincount(experts, scores, m)
        self.expert_count += np.bincount(experts, minlength=m)
        self.spread += (float((residual**2).sum()), float(scores.size))
        fade = self._fade(round_ - self.client_round[own])
        excess = np.bincount(clients, scores - mean - expert[experts], self.n_clients)
        self.client_sum[own] = fade * self.client_sum[own] + excess[own]
        self.client_count[own] = fade * self.client_count[own] + number[own]
        self.client_round[own] = round_
        pair = clients, experts
        keep = (1 - self.settings.smoothing) * self._fade(round_ - self.pair_round[pair])
        self.pair_sum[pair] = keep * self.pair_sum[pair] + scores
        self.pair_count[pair] = keep * self.pair_count[pair] + 1
        self.pair_round[pair] = round_

    def _scale(self) -> float:
        """Return by how much scores differ from what is expected, in units of the score."""
        squares, number = self.spread
        mean, _ = self._effects()
        weight = self.settings.prior_weight
        return math.sqrt((squares + weight * mean**2) / (number + weight))

    def _fade(self, age: npt.NDArray[Any]) -> Float64Array:
        return np.exp2(age * (-1.0 / self.settings.half_life))

    def _client_effect(self, clients: IntArray, round_: int) -> Float64Array:
        """Return by how much clients differ from their experts' means, shrunk to zero."""
        fade = self._fade(round_ - self.client_round[clients])
        count = fade * self.client_count[clients]
        effect = fade * self.client_sum[clients] / (count + self.settings.prior_weight)
        return np.asarray(effect)

    def _discount_shared(self, round_: int) -> None:
        """Let what has no row per client grow older."""
        fade = self._fade(np.asarray(round_ - self.round))
        self.expert_sum *= fade
        self.expert_count *= fade
        self.spread = self.spread * fade
        self.round = np.asarray(round_, dtype=np.int64)

    def _effects(self) -> tuple[float, Float64Array]:
        """Return the mean score and the effect of every expert on it.

        All sums fade alike between updates; where nothing was reported for long
        the prior's weight is not raised against them, which is on purpose: they
        are the best that is known.
        """
        weight = self.settings.prior_weight
        total, number = float(self.expert_sum.sum()), float(self.expert_count.sum())
        mean = (total + weight * self.settings.initial) / (number + weight)
        return mean, (self.expert_sum + weight * mean) / (self.expert_count + weight) - mean
