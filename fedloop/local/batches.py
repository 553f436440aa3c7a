"""Which of its examples a client uses in a round."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from fedloop.config import LocalSettings
from fedloop.tasks.base import Examples


def draw_batches(
    seed: int, round_: int, client: int, n_examples: int, settings: LocalSettings
) -> np.ndarray:
    """Return which of its examples a client uses in every step.

    Returns
    -------
    ndarray
        int64, shape (steps, batch_size): permutations of the client's examples,
        one after the other, so none is met twice before all were met.
    """
    rng = np.random.default_rng((seed, round_, client))
    wanted = settings.steps * settings.batch_size
    passes = [rng.permutation(n_examples) for _ in range(-(-wanted // n_examples))]
    drawn = passes[0] if len(passes) == 1 else np.concatenate(passes)
    return drawn[:wanted].reshape(settings.steps, settings.batch_size)


def positions(
    data: Examples, clients: Sequence[int], seed: int, round_: int, settings: LocalSettings
) -> tuple[Tensor, Tensor]:
    """Return where examples lie: of steps (N, steps, B), and of probes (N, probe_images)."""
    steps = np.stack([
        data.first[i] + draw_batches(seed, round_, i, data.size(i), settings) for i in clients
    ])
    sizes = np.array([data.size(i) for i in clients])
    turn = round_ * settings.probe_images + np.arange(settings.probe_images)
    probes = data.first[list(clients)][:, None] + turn % sizes[:, None]
    device = data.input.device
    return torch.from_numpy(steps).to(device), torch.from_numpy(probes).to(device)
