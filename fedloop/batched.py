"""The model of many clients at once; arithmetic as in `fedloop.model`, whose legend holds here.

Every client has its own copy of the trunk, with a leading axis N. Every (client,
expert) pair of a layer has its own copy of the expert and of its row of the gate,
with a leading axis P, so nothing is computed for experts that a client does not
hold, and clients may hold different numbers of experts.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from fedloop.model import (
    CHANNELS,
    EXPERT_PARTS,
    ModelSpec,
    Params,
    layer_names,
    route,
    trunk_names,
)


@dataclass(frozen=True)
class Pairs:
    """Which experts of a layer the clients hold, as one row per pair.

    Attributes
    ----------
    client, expert, slot : Tensor
        int64, shape (P,): the client, the expert within its layer, and the
        pair's rank among the client's pairs. Sorted by client, then expert.
    n_slots : int
        Most experts of this layer that any client holds.
    """

    client: Tensor
    expert: Tensor
    slot: Tensor
    n_slots: int


def pairs_of(held: Sequence[Sequence[int]], spec: ModelSpec, device: torch.device) -> list[Pairs]:
    """Return the pairs of every layer.

    Parameters
    ----------
    held : sequence of sequence of int
        For every client the experts that it holds, numbered through all layers.
    """
    layers = []
    for layer in range(spec.n_layers):
        first = layer * spec.n_experts
        rows = [
            (client, expert - first, slot)
            for client, experts in enumerate(held)
            for slot, expert in enumerate(
                sorted(e for e in experts if first <= e < first + spec.n_experts)
            )
        ]
        client, expert, slot = torch.tensor(rows, dtype=torch.int64, device=device).T
        layers.append(Pairs(client, expert, slot, int(slot.max()) + 1))
    return layers


def send(server: Mapping[str, Tensor], pairs: Sequence[Pairs], n_clients: int) -> Params:
    """Return copies of what the clients hold, stacked: the trunk along N, experts along P."""
    stacked = {
        name: server[name].expand(n_clients, *server[name].shape).clone()
        for name in trunk_names(server)
    }
    for layer, pair in enumerate(pairs):
        for name in layer_names(layer):
            # A personal gate has an axis of clients in front of that of experts.
            rows = (pair.client, pair.expert) if server[name].ndim == 3 and "gate" in name \
                else (pair.expert,)
            stacked[name] = server[name][rows]
    return stacked


def _linear(h: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Apply the k-th of several linear layers to the k-th of several batches."""
    return torch.baddbmm(bias[:, None], h, weight.transpose(1, 2))


def run_trunk_stacked(stacked: Mapping[str, Tensor], image: Tensor, spec: ModelSpec) -> Tensor:
    """Return h_NBH of images (N, B, channels, height, width)."""
    n, b = image.shape[:2]
    h = image
    if spec.trunk == "cnn":
        for number in range(len(CHANNELS)):
            weight, bias = (stacked[f"trunk.conv{number}.{part}"] for part in ("weight", "bias"))
            h = h.transpose(0, 1).flatten(1, 2)  # the clients' channels are groups of channels
            h = F.conv2d(h, weight.flatten(0, 1), bias.flatten(), stride=2, padding=1, groups=n)
            h = h.relu()
            h = h.view(b, n, -1, *h.shape[2:]).transpose(0, 1)
    h = h.reshape(n, b, -1)
    return _linear(h, stacked["trunk.linear.weight"], stacked["trunk.linear.bias"]).relu()


def run_layers(
    stacked: Mapping[str, Tensor], h_NBH: Tensor, pairs: Sequence[Pairs], spec: ModelSpec
) -> tuple[Tensor, list[Tensor]]:
    """Return logit_NBC, and for every layer the weights of its pairs, weight_PB."""
    weights = []
    for layer, pair in enumerate(pairs):
        h_PBH = h_NBH.index_select(0, pair.client)
        weight_PB = _route_pairs(h_PBH, stacked[f"gate.{layer}.weight"], pair, len(h_NBH), spec)
        w_in, b_in, w_out, b_out = (stacked[f"experts.{layer}.{part}"] for part in EXPERT_PARTS)
        y_PBO = _linear(_linear(h_PBH, w_in, b_in).relu(), w_out, b_out)
        total_NBO = y_PBO.new_zeros(*h_NBH.shape[:2], y_PBO.shape[2]).index_add(
            0, pair.client, weight_PB[:, :, None] * y_PBO
        )
        weights.append(weight_PB)
        h_NBH = total_NBO if layer == spec.n_layers - 1 else h_NBH + total_NBO
    return h_NBH, weights


def _route_pairs(
    h_PBH: Tensor, gate_PH: Tensor, pair: Pairs, n_clients: int, spec: ModelSpec
) -> Tensor:
    """Return weight_PB: `route` over each client's pairs."""
    logit_PB = torch.bmm(h_PBH, gate_PH[:, :, None])[:, :, 0]
    logit_NSB = logit_PB.new_full((n_clients, pair.n_slots, logit_PB.shape[1]), -math.inf)
    logit_NSB = logit_NSB.index_put((pair.client, pair.slot), logit_PB)
    return route(logit_NSB, spec.top_k, dim=1)[pair.client, pair.slot]


def forward_stacked(
    stacked: Mapping[str, Tensor], image: Tensor, pairs: Sequence[Pairs], spec: ModelSpec
) -> tuple[Tensor, list[Tensor]]:
    """Return logits and weights of experts of many clients.

    Parameters
    ----------
    stacked : mapping of str to Tensor
        As from `send`.
    image : Tensor
        float32, shape (N, B, channels, height, width).
    pairs : sequence of Pairs
        One per layer.
    spec : ModelSpec
        Sizes.

    Returns
    -------
    logit_NBC : Tensor
        float32.
    weights : list of Tensor
        For every layer weight_PB, float32.
    """
    return run_layers(stacked, run_trunk_stacked(stacked, image, spec), pairs, spec)


def alone(pairs: Sequence[Pairs], layer: int) -> tuple[list[Pairs], list[Tensor]]:
    """Return pairs of made-up clients: one per pair of `layer`, who hold no other of that layer.

    In the other layers the made-up client p holds what ``pairs[layer].client[p]``
    holds.

    Returns
    -------
    pairs : list of Pairs
        One per layer.
    rows : list of Tensor
        For every layer int64: which rows of the layer's parameters they are.
    """
    owner = pairs[layer].client
    new, rows = [], []
    for number, pair in enumerate(pairs):
        if number == layer:
            client = row = torch.arange(len(owner), device=owner.device)
            slot, n_slots = torch.zeros_like(row), 1
        else:
            client, row = torch.nonzero(owner[:, None] == pair.client, as_tuple=True)
            slot, n_slots = pair.slot[row], pair.n_slots
        new.append(Pairs(client, pair.expert[row], slot, n_slots))
        rows.append(row)
    return new, rows
