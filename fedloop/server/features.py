"""Some numbers of every client's update, by which clients with like data are alike."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

import alignsolve as al
from fedloop.local.client import Training
from fedloop.models.layout import Layout

#: Sums that an update is projected to, and directions that its rows are.
SUMS, DIRECTIONS = 64, 16

#: Weight of older rounds.
KEPT = 0.9

#: Last part of the seed of the projections.
STREAM = 8


def update_features(
    sent: Mapping[str, Tensor], training: Training, layout: Layout, sound: np.ndarray,
    aligner: al.Aligner, seed: int,
) -> dict[int, np.ndarray]:
    """Return the features of the clients whose updates are sound.

    Parameters
    ----------
    sent : mapping of str to Tensor
        The model before the round.
    training : Training
        What the clients have after it.
    layout : Layout
        Which of it all clients train.
    sound : ndarray
        bool, shape (N,): whose updates are finite.
    aligner : al.Aligner
        Has the features of earlier rounds.
    seed : int
        Draws the projections.

    Returns
    -------
    dict of int to ndarray
        By client float32, shape (200,). A client whose update is the others' mean has none.

    Notes
    -----
    Two halves, each less its mean over the round's clients and of unit length, averaged over
    rounds with weight 0.9 for the older ones:

    - The update of all that every client trains: clients of one distribution go the same way
      [1]_. Every number is added, with a random sign, to one of 64 sums, which keeps inner
      products in expectation and needs no matrix [2]_.
    - Our own: of the update U of every such matrix, its longer axis taken for that of inputs
      and projected to 16 directions, ``U U'`` of unit trace, summed. U is a sum of inputs times
      derivatives, so this is a second moment of inputs, weighted by how derivatives agree: it
      depends on the data and hardly on which experts the client held, which turn the
      derivatives.

    The server sees all updates anyway. Where it only sees their sum there are no features.

    References
    ----------
    .. [1] F. Sattler, K.-R. Mueller, W. Samek, "Clustered Federated Learning", IEEE TNNLS 32(8),
       2021, arXiv:1910.01991.
    .. [2] K. Weinberger et al., "Feature Hashing for Large Scale Multitask Learning", ICML 2009,
       arXiv:0902.2206.
    """
    rows = np.flatnonzero(sound)
    if rows.size < 2:
        return {}
    generator = torch.Generator().manual_seed(seed * 16 + STREAM)
    sums = torch.zeros(rows.size, SUMS)
    moments = torch.zeros(rows.size, DIRECTIONS, DIRECTIONS)
    for name in layout.shared(training.params):
        change = (training.params[name][torch.from_numpy(rows)] - sent[name]).float().cpu()
        flat = change.flatten(1)
        place = torch.randint(SUMS, flat.shape[1:], generator=generator)
        sign = 2.0 * torch.randint(2, flat.shape[1:], generator=generator) - 1.0
        sums.index_add_(1, place, flat * sign)
        if change.ndim > 2:
            matrix = change.flatten(2)
            matrix = matrix if matrix.shape[1] >= matrix.shape[2] else matrix.mT
            along = torch.randn(DIRECTIONS, matrix.shape[1], generator=generator)
            inner = along @ matrix
            norm = torch.linalg.matrix_norm(inner, keepdim=True).clamp_min(1e-30)
            moments += (inner / norm) @ (inner / norm).mT
    row, column = np.triu_indices(DIRECTIONS)
    halves = [_unit(sums.double().numpy()), _unit(moments.double().numpy()[:, row, column])]
    away, known, found = np.hstack(halves), aligner.tables, {}
    for number, vector in zip(rows.tolist(), away, strict=True):
        client = training.clients[number]
        at = known.clients.row[client]
        if known.features.known[at]:
            vector = KEPT * known.features.vector[at] + (1.0 - KEPT) * vector
        if np.isfinite(vector).all() and vector.any():
            found[client] = vector.astype(np.float32)
    return found


def _unit(values: np.ndarray) -> np.ndarray:
    """Return rows less their mean, of unit length; zeros where nothing is left."""
    away = values - values.mean(axis=0)
    length = np.linalg.norm(away, axis=1, keepdims=True)
    unit: np.ndarray = away / np.where(length > 0, length, 1.0)
    return unit
