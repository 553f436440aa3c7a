"""Small models, data and holdings that several tests use."""

from functools import partial

import numpy as np
import torch

from fedloop.config import ModelSettings
from fedloop.local.executors import train_participants
from fedloop.models.build import build_model
from fedloop.tasks.base import Examples

one_by_one, together = (partial(train_participants, batched=batched) for batched in (False, True))


def images(n_clients, per_client=40, shape=(1, 6, 6), classes=4, seed=0):
    generator = torch.Generator().manual_seed(seed)
    n = n_clients * per_client
    return Examples(
        torch.rand((n, *shape), generator=generator),
        torch.randint(classes, (n,), generator=generator),
        np.arange(n_clients + 1) * per_client,
    )


def spec(seed=0, shape=(1, 6, 6), classes=4, **changes):
    sizes = {"experts": 5, "width": 12, "expert_width": 7}
    return build_model(ModelSettings(**{**sizes, **changes}), shape, classes, seed)


def holdings(n_clients, sizes, seed=0, most=3):
    """Between one and `most` experts of every layer for every client."""
    rng = np.random.default_rng(seed)
    return [
        sorted(
            int(layer * sizes.n_experts + expert)
            for layer in range(sizes.n_layers)
            for expert in rng.choice(sizes.n_experts, rng.integers(1, most + 1), replace=False)
        )
        for _ in range(n_clients)
    ]
