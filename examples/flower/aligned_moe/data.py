"""Handwritten digits that four groups of clients see turned by quarters of a circle."""

import numpy as np
import torch
from sklearn.datasets import load_digits

IMAGE, LABEL = load_digits(return_X_y=True)
ORDER = np.random.default_rng(0).permutation(len(LABEL))
HELD_OUT = 360


def turned(chosen, turns):
    image = np.rot90(IMAGE[chosen].reshape(-1, 8, 8) / 16, turns, axes=(1, 2)).reshape(-1, 64)
    return torch.from_numpy(image.astype(np.float32)), torch.from_numpy(LABEL[chosen])


def client_data(client, n_clients):
    return turned(ORDER[HELD_OUT + client::n_clients], client % 4)


def held_out():
    images, labels = zip(*(turned(ORDER[:HELD_OUT], turns) for turns in range(4)), strict=True)
    return torch.cat(images), torch.cat(labels)
