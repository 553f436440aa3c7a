"""Send the model and take back what was trained, where both are rounded on the way.

Both directions are differences: down, to what the client has of its last message, 0 where it
has nothing; up, to what it was sent. The same arithmetic as `fedloop.payload` does with bytes,
for all clients of a round at once.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from fedloop.local.client import Training
from fedloop.local.pairs import Pairs, pairs_of
from fedloop.models.expert_model import ExpertModel
from fedloop.models.layout import Params
from fedloop.payload import transmitted
from fedloop.server.aggregation import column


def deliver(
    spec: ExpertModel, model: Params, received: Params, clients: Sequence[int],
    held: Mapping[int, Sequence[int]],
) -> Params:
    """Return what all clients have after some were sent what they hold.

    Parameters
    ----------
    spec : ExpertModel
        Who owns which rows.
    model : dict of str to Tensor
        The server's.
    received : dict of str to Tensor
        What clients had; float32, an axis of clients in front. Personal routers are missing.
    clients : sequence of int
        Who is sent something.
    held : mapping of int to sequence of int
        Their experts.
    """
    new = {}
    pairs = _pairs(spec, clients, held, model)
    for name, old in received.items():
        at, rows = _places(spec, name, clients, pairs), _rows(spec, name, model[name], pairs)
        new[name] = old.clone()
        new[name][list(clients)] = 0.0
        new[name][at] = old[at] + transmitted(rows.float() - old[at], leading=1)
    return new


def collect(
    spec: ExpertModel, model: Params, received: Params, lost: Params, training: Training
) -> tuple[Training, Params]:
    """Return training as the server gets it, and what rounding took by now.

    What counts is the change since a client was sent its parameters, as it loaded them in the
    model's type, added to the server's.
    """
    params, new = dict(training.params), dict(lost)
    for name, old in lost.items():
        at = _places(spec, name, training.clients, training.pairs)
        base = received[name][at].to(model[name].dtype).float()
        meant = params[name].float() - base + old[at]
        got = transmitted(meant, leading=1)
        left = meant - got
        # As in `pack_differences`: what is not finite leaves a tensor's memory as it was.
        finite = column(left.isfinite().reshape(len(left), -1).all(dim=1), left)
        new[name] = old.index_put(at, left.where(finite, old[at]))
        rows = _rows(spec, name, model[name], training.pairs)
        params[name] = (rows.float() + got).to(model[name].dtype)
    return dataclasses.replace(training, params=params), new


def _pairs(
    spec: ExpertModel, clients: Sequence[int], held: Mapping[int, Sequence[int]], model: Params
) -> list[Pairs]:
    return pairs_of([held[client] for client in clients], spec.n_layers, spec.n_experts,
                    next(iter(model.values())).device)


def _places(
    spec: ExpertModel, name: str, clients: Sequence[int], pairs: Sequence[Pairs]
) -> tuple[Tensor, ...]:
    """Return where the tensors of a name lie: clients, and for rows of experts these as well."""
    owner = torch.tensor(clients, device=pairs[0].client.device)
    layer = spec.layout.layer_of.get(name)
    return (owner,) if layer is None else (owner[pairs[layer].client], pairs[layer].expert)


def _rows(spec: ExpertModel, name: str, value: Tensor, pairs: Sequence[Pairs]) -> Tensor:
    layer = spec.layout.layer_of.get(name)
    return value[None] if layer is None else value[pairs[layer].expert]
