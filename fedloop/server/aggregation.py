"""What the server does after a round: refuse damaged updates, and average the others.

What is shared is averaged over all accepted clients, as in FedAvg [1]_. Every expert is
averaged over its holders, weighted by how many examples their routers sent to it; its
row of the router likewise. An expert that nobody held stays as it was.

References
----------
.. [1] B. McMahan et al., "Communication-Efficient Learning of Deep Networks from
   Decentralized Data", AISTATS 2017, arXiv:1602.05629.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor

from fedloop.local.client import Training
from fedloop.models.layout import Layout, Params

#: How holders of an expert count: by examples that reached it, by their examples, or equally.
Weighting = Literal["usage", "samples", "mean"]


def sound_updates(training: Training, layout: Layout) -> Tensor:
    """Return which clients' parameters and losses are finite throughout: bool, shape (N,)."""
    bad = ~training.loss.isfinite()
    for name in layout.shared(training.params):
        bad |= ~_finite(training.params[name])
    for layer, pair in enumerate(training.pairs):
        for name in layout.of_layer(layer):
            bad[pair.client[~_finite(training.params[name])]] = True
    return ~bad


def _finite(rows: Tensor) -> Tensor:
    """Return which rows are finite throughout: bool, shape (rows,)."""
    flat = rows.flatten(1)
    # A sum is finite only where all its terms are; others, if finite, summed beyond the range.
    finite = flat.sum(dim=1).isfinite()
    if not bool(finite.all()):
        finite[~finite] = flat[~finite].isfinite().all(dim=1)
    return finite


def aggregate(
    server: Mapping[str, Tensor], training: Training, layout: Layout, accepted: Tensor,
    samples: Sequence[int], weighting: Weighting = "usage",
) -> Params:
    """Return the model after a round.

    Parameters
    ----------
    server : mapping of str to Tensor
        The model before. Personal routers have a leading axis of all clients;
        their rows of accepted clients are replaced, not averaged.
    training : Training
        What the participants have.
    layout : Layout
        Who owns which rows.
    accepted : Tensor
        bool, shape (N,): whose updates count.
    samples : sequence of int
        Examples of every participant: its weight in what is shared.
    weighting : {"usage", "samples", "mean"}
        How holders count in an expert: by examples times the share that the
        router sent to this expert, by examples, or equally.

    Returns
    -------
    dict of str to Tensor
        A new model; the same as before where nobody was accepted.
    """
    new = dict(server)
    weight_N = torch.tensor(samples, dtype=torch.float32, device=accepted.device) * accepted
    if not bool(accepted.any()):
        return new
    everybody = bool(accepted.all())
    some = slice(None) if everybody else accepted  # a slice copies no parameters
    share_N = weight_N / weight_N.sum()
    for name in layout.shared(server):
        new[name] = _mixed(share_N[None, some], training.params[name][some])[0]
    for layer, pair in enumerate(training.pairs):
        kept = slice(None) if everybody else accepted[pair.client]
        client, expert = pair.client[kept], pair.expert[kept]
        usage_P = training.seen[layer][kept, 0]
        weight_P = torch.ones_like(usage_P) if weighting == "mean" else weight_N[client]
        if weighting == "usage":
            weight_P = weight_P * usage_P
        for name in layout.of_layer(layer):
            rows = training.params[name][kept]
            if server[name].ndim > rows.ndim:
                owner = torch.tensor(training.clients, device=client.device)[client]
                new[name] = server[name].index_put((owner, expert), rows)
            else:
                new[name] = _average_experts(server[name], rows, expert, weight_P)
    return new


def _mixed(share_KR: Tensor, rows: Tensor) -> Tensor:
    """Return K sums of R rows times their shares."""
    # Half precision would lose digits in a mean of many.
    mixed = share_KR @ rows.flatten(1).float()
    return mixed.to(rows.dtype).view(len(share_KR), *rows.shape[1:])


def _average_experts(old: Tensor, rows: Tensor, expert: Tensor, weight: Tensor) -> Tensor:
    """Return weighted means of rows by expert; the old row where the weights sum to 0."""
    weight_EP = torch.zeros(len(old), len(rows), device=old.device)
    weight_EP[expert, torch.arange(len(rows), device=old.device)] = weight
    total_E1 = weight_EP.sum(dim=1, keepdim=True)
    share_EP = weight_EP / total_E1.clamp_min(torch.finfo(torch.float32).tiny)
    return torch.where(column(total_E1 > 0, old), _mixed(share_EP, rows), old)


def column(values: Tensor, like: Tensor) -> Tensor:
    """Return a vector shaped to multiply the rows of `like`."""
    return values.view(-1, *[1] * (like.ndim - 1))
