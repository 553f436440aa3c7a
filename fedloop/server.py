"""What the server does after a round: refuse damaged updates, and average the others.

The trunk is averaged over all accepted clients, as in FedAvg [1]_. Every expert is
averaged over its holders, weighted by how many images their gates sent to it; its
row of the gate likewise. An expert that nobody held stays as it was.

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

from fedloop.client import Training
from fedloop.model import Params, layer_names, trunk_names

#: How holders of an expert count: by images that reached it, by their images, or equally.
Weighting = Literal["usage", "samples", "mean"]


def sound_updates(training: Training) -> Tensor:
    """Return which clients' parameters and losses are finite throughout: bool, shape (N,)."""
    bad = ~training.loss.isfinite()
    for name in trunk_names(training.params):
        bad |= ~_finite(training.params[name])
    for layer, pair in enumerate(training.pairs):
        for name in layer_names(layer):
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
    server: Mapping[str, Tensor], training: Training, accepted: Tensor, samples: Sequence[int],
    weighting: Weighting = "usage",
) -> Params:
    """Return the model after a round.

    Parameters
    ----------
    server : mapping of str to Tensor
        The model before. A personal gate has a leading axis of all clients;
        its rows of accepted clients are replaced, not averaged.
    training : Training
        What the participants have.
    accepted : Tensor
        bool, shape (N,): whose updates count.
    samples : sequence of int
        Images of every participant: its weight in the trunk.
    weighting : {"usage", "samples", "mean"}
        How holders count in an expert: by images times the share that the gate
        sent to this expert, by images, or equally.

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
    for name in trunk_names(server):
        new[name] = _mixed(share_N[None, some], training.params[name][some])[0]
    for layer, pair in enumerate(training.pairs):
        kept = slice(None) if everybody else accepted[pair.client]
        client, expert = pair.client[kept], pair.expert[kept]
        weight_P = torch.ones_like(training.usage[layer][kept])
        if weighting != "mean":
            weight_P = weight_N[client]
        if weighting == "usage":
            weight_P = weight_P * training.usage[layer][kept]
        for name in layer_names(layer):
            rows = training.params[name][kept]
            if server[name].ndim == 3 and name.startswith("gate."):
                owner = torch.tensor(training.clients, device=client.device)[client]
                new[name] = server[name].index_put((owner, expert), rows)
            else:
                new[name] = _average_experts(server[name], rows, expert, weight_P)
    return new


def _mixed(share_KR: Tensor, rows: Tensor) -> Tensor:
    """Return K sums of R rows times their shares."""
    return (share_KR @ rows.flatten(1)).view(len(share_KR), *rows.shape[1:])


def _average_experts(old: Tensor, rows: Tensor, expert: Tensor, weight: Tensor) -> Tensor:
    """Return weighted means of rows by expert; the old row where the weights sum to 0."""
    weight_EP = torch.zeros(len(old), len(rows), device=old.device)
    weight_EP[expert, torch.arange(len(rows), device=old.device)] = weight
    total_E1 = weight_EP.sum(dim=1, keepdim=True)
    share_EP = weight_EP / total_E1.clamp_min(torch.finfo(torch.float32).tiny)
    return torch.where(_column(total_E1 > 0, old), _mixed(share_EP, rows), old)


def _column(values: Tensor, like: Tensor) -> Tensor:
    """Return a vector shaped to multiply the rows of `like`."""
    return values.view(-1, *[1] * (like.ndim - 1))


def add_momentum(
    old: Mapping[str, Tensor], new: Mapping[str, Tensor], velocity: Mapping[str, Tensor],
    momentum: float,
) -> tuple[Params, Params]:
    """Apply server momentum to what changed: FedAvgM, expert by expert.

    Parameters
    ----------
    old, new : mapping of str to Tensor
        The model before the round, and as averaged.
    velocity : mapping of str to Tensor
        Running update of every parameter; missing ones are 0.
    momentum : float
        Weight of the running update, from 0 to below 1.

    Returns
    -------
    model, velocity : dict of str to Tensor
        An expert that did not change keeps its parameters and its velocity.
        Gates of clients' own are left out.

    References
    ----------
    .. [1] T.-M. H. Hsu, H. Qi, M. Brown, "Measuring the Effects of Non-Identical Data
       Distribution for Federated Visual Classification", 2019, arXiv:1909.06335.
    """
    model, moving = dict(new), dict(velocity)
    for name, value in new.items():
        if name.startswith("gate.") and value.ndim == 3:
            continue
        step, run = value - old[name], velocity.get(name, torch.zeros_like(value))
        changed = step != 0
        if name.startswith(("gate.", "experts.")):
            changed = _column(changed.flatten(1).any(dim=1), value)
        moving[name] = torch.where(changed, momentum * run + step, run)
        model[name] = torch.where(changed, old[name] + moving[name], value)
    return model, moving
