"""Handwritten digits that four groups of clients see turned by quarters of a circle.

Replace these functions by your own: a node reads its own data, and nobody else's.
"""

from __future__ import annotations

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import Tensor

#: Turns by 90 degrees; client i sees images turned i % N_TURNS times.
N_TURNS = 4

#: Images kept for the server's evaluation.
N_HELD_OUT = 360


def _digits() -> tuple[np.ndarray, np.ndarray]:
    """Return images (n, 8, 8) from 0 to 1 and labels, in a fixed random order."""
    digits = load_digits()
    order = np.random.default_rng(0).permutation(len(digits.target))
    return digits.images[order].astype(np.float32) / 16, digits.target[order]


def _flat(image: np.ndarray, turns: int) -> Tensor:
    turned = np.rot90(image, turns, axes=(1, 2))
    return torch.from_numpy(np.ascontiguousarray(turned).reshape(len(image), -1))


def client_data(client: int, n_clients: int) -> tuple[Tensor, Tensor]:
    """Return a client's own images (n, pixels) and labels (n,)."""
    image, label = _digits()
    own = slice(N_HELD_OUT + client, None, n_clients)
    return _flat(image[own], client % N_TURNS), torch.from_numpy(label[own])


def held_out() -> tuple[Tensor, Tensor]:
    """Return held-out images in all turns, and labels."""
    image, label = _digits()
    turned = [_flat(image[:N_HELD_OUT], turns) for turns in range(N_TURNS)]
    return torch.cat(turned), torch.from_numpy(label[:N_HELD_OUT]).repeat(N_TURNS)
