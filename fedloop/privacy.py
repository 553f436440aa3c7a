"""Clip and noise what clients report of their experts: the Gaussian mechanism, on the client.

What is protected
    The statistics of one report: per expert the gate's share, losses and accuracy, and
    the mean training loss. Every statistic is clipped to a range that does not depend
    on the data and divided by its width, so a report of d statistics lies in the unit
    cube. Neighbouring data sets are *any two* data sets of one client (local
    differential privacy): whatever replaces whatever, the report moves by at most
    sqrt(d), the cube's diagonal. Noise of standard deviation ``noise_multiplier *
    sqrt(d)`` is added to each statistic, and the sum clipped to the cube again, which
    costs nothing.
What it costs
    ``epsilon_of(noise_multiplier, delta, rounds)`` for a client that reports in
    `rounds` rounds, exactly [1]_: so many Gaussian mechanisms, chosen one after the
    other, are together one with ``noise_multiplier / sqrt(rounds)`` [2]_.
What is not protected
    Trained parameters, which leave the client as they are; how many experts it holds,
    images in a step and seconds. Noise is drawn in double precision, which an attacker
    who sees every bit can exploit [3]_.

References
----------
.. [1] B. Balle, Y.-X. Wang, "Improving the Gaussian Mechanism for Differential Privacy:
   Analytical Calibration and Optimal Denoising", ICML 2018, arXiv:1805.06530, theorem 8.
.. [2] J. Dong, A. Roth, W. J. Su, "Gaussian Differential Privacy", JRSS B 84(1), 2022,
   doi:10.1111/rssb.12454, arXiv:1905.02383, on composition.
.. [3] I. Mironov, "On Significance of the Least Significant Bits for Differential
   Privacy", CCS 2012, doi:10.1145/2382196.2382264.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np
import torch

import alignsolve as al

if TYPE_CHECKING:  # what clients call needs neither SciPy nor pydantic
    from fedloop.config import PrivacySettings
    from fedloop.local.client import Training

#: Last part of the seed of a client's noise in a round.
STREAM = 7


def clip_and_noise(
    values: np.ndarray, bounds: np.ndarray, noise_multiplier: float, rng: np.random.Generator
) -> np.ndarray:
    """Return statistics of one report as they may leave the client.

    Parameters
    ----------
    values, bounds : ndarray
        float64, shape (d,): statistics, and the upper ends of their ranges, which
        begin at 0. What is not a number counts as the upper end.
    noise_multiplier : float
        Standard deviation of the noise in units of the sensitivity sqrt(d).
    rng : Generator
        Draws the noise.

    Returns
    -------
    ndarray
        float64, shape (d,), within the ranges.
    """
    share = np.nan_to_num(np.clip(values, 0.0, bounds) / bounds, nan=1.0)
    noise = rng.normal(0.0, noise_multiplier * math.sqrt(len(share)), len(share))
    found: np.ndarray = np.clip(share + noise, 0.0, 1.0) * bounds
    return found


def protect(training: Training, settings: PrivacySettings, seed: int, round_: int) -> Training:
    """Return what clients have and saw, with what they saw clipped and noised.

    Parameters
    ----------
    training : Training
        Of any number of clients; each is protected by itself.
    settings : PrivacySettings
        A noise multiplier of 0 changes nothing.
    seed, round_ : int
        The noise depends on them and the client where `settings.seeded`.
    """
    if not settings.noise_multiplier:
        return training
    loss, seen = training.loss.clone(), [rows.clone() for rows in training.seen]
    bound = settings.loss_bound
    for number, client in enumerate(training.clients):
        own = [pair.client == number for pair in training.pairs]
        # Without a seed noise comes from the operating system.
        rng = np.random.default_rng((seed, round_, client, STREAM) if settings.seeded else None)
        table = torch.cat([rows[at] for rows, at in zip(seen, own, strict=True)])
        noisy = torch.from_numpy(clip_and_noise(
            torch.cat([loss[number:number + 1], table.T.flatten()]).double().cpu().numpy(),
            np.concatenate([[bound], np.repeat([1.0, bound, bound, 1.0], len(table))]),
            settings.noise_multiplier, rng)).to(loss)
        loss[number] = noisy[0]
        parts = torch.split(noisy[1:].view(table.T.shape).T, [int(at.sum()) for at in own])
        for rows, at, part in zip(seen, own, parts, strict=True):
            rows[at] = part
    return dataclasses.replace(training, loss=loss, seen=seen)


def protect_reports(
    reports: Mapping[int, al.ExpertReport], loss_bound: float, noise_multiplier: float,
    rng: np.random.Generator,
) -> dict[int, al.ExpertReport]:
    """Return one client's reports of its experts, clipped and noised; for apps of your own.

    Parameters
    ----------
    reports : mapping of int to ExpertReport
        By expert. Samples stay as they are; gradient norms, which have no bound, are
        withheld.
    loss_bound : float
        Upper end of losses.
    noise_multiplier : float
        As for `clip_and_noise`; 0 changes nothing.
    rng : Generator
        Draws the noise; ``numpy.random.default_rng()`` takes it from the operating system.
    """
    if not noise_multiplier:
        return dict(reports)
    ranges = {"loss_before": loss_bound, "loss": loss_bound, "accuracy": 1.0, "gate_usage": 1.0}
    places = [(expert, name) for expert, seen in reports.items() for name in ranges
              if getattr(seen, name) is not None]
    noisy = clip_and_noise(
        np.array([getattr(reports[expert], name) for expert, name in places], np.float64),
        np.array([ranges[name] for _, name in places], np.float64), noise_multiplier, rng)
    found = {expert: dataclasses.replace(seen, gradient_norm=None)
             for expert, seen in reports.items()}
    for (expert, name), value in zip(places, noisy.tolist(), strict=True):
        found[expert] = dataclasses.replace(found[expert], **{name: value})
    return found


# -- privacy loss ------------------------------------------------------------------------


def stated_loss(settings: PrivacySettings, rounds: int) -> dict[str, float | None]:
    """Return ``epsilon`` and ``delta`` of a client that reports in every round of a run.

    Epsilon is None, for no privacy at all, where the noise is off, or where it comes
    from the run's seed: the server knows it, and can take such noise off again.
    """
    hidden = settings.noise_multiplier and not settings.seeded
    epsilon = epsilon_of(settings.noise_multiplier, settings.delta, rounds) if hidden else None
    return {"epsilon": epsilon, "delta": settings.delta}


def delta_of(epsilon: float, noise_multiplier: float, rounds: int = 1) -> float:
    """Return the smallest delta for which reports are (epsilon, delta) private.

    Parameters
    ----------
    epsilon : float
        At least 0.
    noise_multiplier : float
        Above 0.
    rounds : int
        Rounds in which the client reports, at least 1.

    Raises
    ------
    ValueError
        If a value is outside its range.
    """
    if not (epsilon >= 0 and noise_multiplier > 0 and rounds >= 1):
        raise ValueError(f"epsilon {epsilon:g}, noise_multiplier {noise_multiplier:g}, rounds "
                         f"{rounds}: give at least 0, above 0, and at least 1")
    from scipy.special import log_ndtr, ndtr

    z = noise_multiplier / math.sqrt(rounds)
    # exp(epsilon) alone overflows where its product with the tail is small.
    tail = math.exp(min(0.0, epsilon + float(log_ndtr(-0.5 / z - epsilon * z))))
    return max(0.0, float(ndtr(0.5 / z - epsilon * z)) - tail)


def epsilon_of(noise_multiplier: float, delta: float, rounds: int = 1) -> float:
    """Return the smallest epsilon for which reports are (epsilon, delta) private.

    Parameters and errors are those of `delta_of`; delta is above 0 and below 1.

    Examples
    --------
    >>> round(epsilon_of(1.0, 1e-5), 2)
    4.38
    """
    _check_delta(delta)
    if delta_of(0.0, noise_multiplier, rounds) <= delta:
        return 0.0
    return _root(lambda epsilon: delta_of(epsilon, noise_multiplier, rounds), delta)


def noise_for(epsilon: float, delta: float, rounds: int = 1) -> float:
    """Return the least noise multiplier that keeps `rounds` reports (epsilon, delta) private.

    Parameters and errors are those of `delta_of`; delta is above 0 and below 1.

    Examples
    --------
    >>> round(epsilon_of(noise_for(2.0, 1e-5, rounds=80), 1e-5, rounds=80), 6)
    2.0
    """
    _check_delta(delta)
    return _root(lambda multiplier: delta_of(epsilon, multiplier, rounds), delta)


def _root(function: Callable[[float], float], delta: float) -> float:
    """Return where a falling function of positive numbers is `delta`."""
    from scipy.optimize import brentq

    below = above = 1.0
    while function(above) > delta:
        above *= 2.0
    while function(below) <= delta:
        below /= 2.0
    return float(brentq(lambda value: function(value) - delta, below, above, xtol=1e-12))


def _check_delta(delta: float) -> None:
    if not 0 < delta < 1:
        raise ValueError(f"delta is {delta:g}; give a number above 0 and below 1")
