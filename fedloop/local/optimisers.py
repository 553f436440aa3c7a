"""Steps of descent on many clients' parameters at once, and the size of steps by round.

Every tensor has an axis of clients in front, of length 1 where there is one client.
Nothing is shared along it: a client's steps are those that it would make alone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from fedloop.config import LocalSettings

#: Of AdamW: weights of the running mean and square, and what is added to the root.
BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8

#: Added to a norm before it divides.
TINY = 1e-6


def learning_rate(settings: LocalSettings, round_: int) -> float:
    """Return the size of steps in a round; rounds count from 1.

    Examples
    --------
    >>> falling = LocalSettings(learning_rate=1.0, schedule="cosine", decay_rounds=10)
    >>> [round(learning_rate(falling, number), 2) for number in (1, 6, 11, 50)]
    [1.0, 0.55, 0.1, 0.1]
    """
    rate = settings.learning_rate
    if settings.warmup_rounds:
        rate *= min(1.0, round_ / settings.warmup_rounds)
    if settings.schedule == "cosine":
        passed = min(1.0, (round_ - 1) / settings.decay_rounds)
        height = 0.5 * (1.0 + math.cos(math.pi * passed))
        rate *= settings.final_rate + (1.0 - settings.final_rate) * height
    return rate


class Optimiser:
    """SGD with momentum, or AdamW; FedProx's pull and clipping before either.

    Parameters
    ----------
    settings : LocalSettings
        Which, and its numbers.
    rate : float
        Size of the steps.
    params : sequence of Tensor
        Changed in place; axis 0 is that of clients.
    """

    def __init__(self, settings: LocalSettings, rate: float, params: Sequence[Tensor]) -> None:
        self._settings, self._rate, self._params = settings, rate, params
        self._sent = [value.detach().clone() for value in params] if settings.prox else []
        self._mean: list[Tensor] = []
        self._square: list[Tensor] = []
        self._steps = 0

    @torch.no_grad()
    def step(self, slopes: Sequence[Tensor]) -> None:
        """Move the parameters, given their derivatives, which may be overwritten."""
        settings = self._settings
        if settings.prox:
            slopes = [slope + settings.prox * (value - sent) for slope, value, sent
                      in zip(slopes, self._params, self._sent, strict=True)]
        if settings.clip:
            _clip(slopes, settings.clip)
        if not self._mean and (settings.optimiser == "adamw" or settings.momentum):
            self._mean = [torch.zeros_like(slope) for slope in slopes]
        if settings.optimiser == "adamw":
            self._adamw(slopes)
            return
        if settings.momentum:
            for run, slope in zip(self._mean, slopes, strict=True):
                run.mul_(settings.momentum).add_(slope)
            slopes = self._mean
        for value, slope in zip(self._params, slopes, strict=True):
            value.sub_(slope, alpha=self._rate)

    def _adamw(self, slopes: Sequence[Tensor]) -> None:
        if not self._square:
            self._square = [torch.zeros_like(slope) for slope in slopes]
        self._steps += 1
        by_mean, by_square = 1.0 - BETA1**self._steps, 1.0 - BETA2**self._steps
        for value, slope, mean, square in zip(self._params, slopes, self._mean, self._square,
                                              strict=True):
            value.mul_(1.0 - self._rate * self._settings.weight_decay)
            mean.lerp_(slope, 1.0 - BETA1)
            square.mul_(BETA2).addcmul_(slope, slope, value=1.0 - BETA2)
            below = square.sqrt().div_(math.sqrt(by_square)).add_(EPSILON)
            value.addcdiv_(mean, below, value=-self._rate / by_mean)


def _clip(slopes: Sequence[Tensor], most: float) -> None:
    """Scale every client's derivatives down, in place, to a norm over all of them."""
    squares = [torch.linalg.vector_norm(slope.flatten(1), dim=1, dtype=torch.float32).square()
               for slope in slopes]
    norm_N = torch.stack(squares).sum(dim=0).sqrt()
    scale_N = (most / (norm_N + TINY)).clamp(max=1.0)
    for slope in slopes:
        slope.mul_(scale_N.to(slope.dtype).view(-1, *[1] * (slope.ndim - 1)))
