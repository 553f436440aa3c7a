"""Steps of descent on many clients' parameters at once, and the size of steps by round.

Every tensor has an axis of clients in front, of length 1 where there is one client.
Nothing is shared along it: a client's steps are those that it would make alone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.optim.adamw import adamw
from torch.optim.sgd import sgd

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
        self._settings, self._rate, self._params = settings, rate, list(params)
        self._sent = [value.detach().clone() for value in params] if settings.prox else []
        self._buffers: list[Tensor | None] = [None] * len(self._params)
        adaptive = params if settings.optimiser == "adamw" else []
        self._mean = [torch.zeros_like(value) for value in adaptive]
        self._square = [torch.zeros_like(value) for value in adaptive]
        self._steps = [torch.zeros(()) for _ in adaptive]

    @torch.no_grad()
    def step(self, slopes: Sequence[Tensor]) -> None:
        """Move the parameters, given their derivatives, which may be overwritten."""
        settings, slopes = self._settings, list(slopes)
        if settings.prox:
            slopes = [slope + settings.prox * (value - sent) for slope, value, sent
                      in zip(slopes, self._params, self._sent, strict=True)]
        if settings.clip:
            _clip(slopes, settings.clip)
        if settings.optimiser == "adamw":
            adamw(self._params, slopes, self._mean, self._square, [], self._steps, foreach=False,
                  amsgrad=False, beta1=BETA1, beta2=BETA2, lr=self._rate, eps=EPSILON,
                  weight_decay=settings.weight_decay, maximize=False)
        else:
            sgd(self._params, slopes, self._buffers, foreach=False, lr=self._rate,
                momentum=settings.momentum, weight_decay=0.0, dampening=0.0, nesterov=False,
                maximize=False)


def _clip(slopes: Sequence[Tensor], most: float) -> None:
    """Scale every client's derivatives down, in place, to a norm over all of them."""
    squares = [torch.linalg.vector_norm(slope.flatten(1), dim=1, dtype=torch.float32).square()
               for slope in slopes]
    norm_N = torch.stack(squares).sum(dim=0).sqrt()
    scale_N = (most / (norm_N + TINY)).clamp(max=1.0)
    for slope in slopes:
        slope.mul_(scale_N.to(slope.dtype).view(-1, *[1] * (slope.ndim - 1)))
