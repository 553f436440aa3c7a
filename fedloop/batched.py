"""The model of many clients at once; arithmetic as in `fedloop.model`, whose legend holds here.

Every client has its own copy of the trunk, with a leading axis N. Every (client,
expert) pair of a layer has its own copy of the expert and of its row of the gate,
with a leading axis P, so nothing is computed for experts that a client does not
hold, and clients may hold different numbers of experts. `fedloop.descent` goes the
way back through the model.
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

    def rows(self, clients: slice) -> slice:
        """Return which pairs are those of consecutive clients."""
        bounds = torch.tensor([clients.start, clients.stop], device=self.client.device)
        first, last = torch.searchsorted(self.client, bounds).tolist()
        return slice(first, last)

    def part(self, clients: slice) -> Pairs:
        """Return the pairs of consecutive clients, who are numbered from 0 anew."""
        rows = self.rows(clients)
        return Pairs(self.client[rows] - clients.start, self.expert[rows], self.slot[rows],
                     int(self.slot[rows].max()) + 1)


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
        client, expert, slot = torch.tensor(rows, dtype=torch.int64, device=device).T.contiguous()
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


def part_of(stacked: Mapping[str, Tensor], pairs: Sequence[Pairs], clients: slice) -> Params:
    """Return the parameters of consecutive clients, as views of `stacked`."""
    found = {name: value[clients] for name, value in stacked.items() if name.startswith("trunk.")}
    for layer, pair in enumerate(pairs):
        rows = pair.rows(clients)
        found |= {name: stacked[name][rows] for name in layer_names(layer)}
    return found


@dataclass(frozen=True)
class LayerPass:
    """What a layer computed on the way forwards, for the way back.

    Attributes
    ----------
    inputs, inner, outputs : Tensor
        float32, shapes (P, B, H), (P, B, F) and (P, B, O): of the pairs' experts.
    weight : Tensor
        float32, shape (P, B): weights of the experts.
    """

    inputs: Tensor
    inner: Tensor
    outputs: Tensor
    weight: Tensor


def linear(h: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Apply the k-th of several linear layers to the k-th of several batches."""
    return torch.bmm(h, weight.transpose(1, 2)).add_(bias[:, None])


def run_convolutions(stacked: Mapping[str, Tensor], image: Tensor, spec: ModelSpec) -> Tensor:
    """Return what the trunk's linear layer gets, (N, B, D), from images."""
    n, b = image.shape[:2]
    h = image
    if spec.trunk == "cnn":
        for number in range(len(CHANNELS)):
            weight, bias = (stacked[f"trunk.conv{number}.{part}"] for part in ("weight", "bias"))
            h = h.transpose(0, 1).flatten(1, 2)  # the clients' channels are groups of channels
            h = F.conv2d(h, weight.flatten(0, 1), bias.flatten(), stride=2, padding=1, groups=n)
            h = h.relu()
            h = h.view(b, n, -1, *h.shape[2:]).transpose(0, 1)
    return h.reshape(n, b, -1)


def run_trunk_stacked(stacked: Mapping[str, Tensor], image: Tensor, spec: ModelSpec) -> Tensor:
    """Return h_NBH of images (N, B, channels, height, width)."""
    flat_NBD = run_convolutions(stacked, image, spec)
    return linear(flat_NBD, stacked["trunk.linear.weight"], stacked["trunk.linear.bias"]).relu_()


def run_experts(
    stacked: Mapping[str, Tensor], layer: int, h_PBH: Tensor
) -> tuple[Tensor, Tensor]:
    """Return what every pair's expert computes: inside, inner_PBF, and its output, y_PBO."""
    w_in, b_in, w_out, b_out = (stacked[f"experts.{layer}.{part}"] for part in EXPERT_PARTS)
    inner_PBF = linear(h_PBH, w_in, b_in).relu_()
    return inner_PBF, linear(inner_PBF, w_out, b_out)


def run_layer(
    stacked: Mapping[str, Tensor], layer: int, h_NBH: Tensor, pair: Pairs, spec: ModelSpec
) -> tuple[Tensor, LayerPass]:
    """Return a layer's output, o_NBO, and what the way back needs."""
    h_PBH = h_NBH.index_select(0, pair.client)
    weight_PB = _route_pairs(h_PBH, stacked[f"gate.{layer}.weight"], pair, len(h_NBH), spec)
    inner_PBF, y_PBO = run_experts(stacked, layer, h_PBH)
    last = layer == spec.n_layers - 1
    total_NBO = h_NBH.new_zeros(*h_NBH.shape[:2], y_PBO.shape[2]) if last else h_NBH.clone()
    total_NBO.index_add_(0, pair.client, weight_PB[:, :, None] * y_PBO)
    return total_NBO, LayerPass(h_PBH, inner_PBF, y_PBO, weight_PB)


def _route_pairs(
    h_PBH: Tensor, gate_PH: Tensor, pair: Pairs, n_clients: int, spec: ModelSpec
) -> Tensor:
    """Return weight_PB: `route` over each client's pairs."""
    if pair.n_slots == 1:
        return h_PBH.new_ones(h_PBH.shape[:2])
    logit_PB = torch.bmm(h_PBH, gate_PH[:, :, None])[:, :, 0]
    logit_NSB = logit_PB.new_full((n_clients, pair.n_slots, logit_PB.shape[1]), -math.inf)
    logit_NSB[pair.client, pair.slot] = logit_PB
    return route(logit_NSB, spec.top_k, dim=1)[pair.client, pair.slot]


def run_layers(
    stacked: Mapping[str, Tensor], h_NBH: Tensor, pairs: Sequence[Pairs], spec: ModelSpec
) -> tuple[Tensor, list[LayerPass]]:
    """Return the last layer's output, and what every layer of `pairs` computed on the way."""
    passes = []
    for layer, pair in enumerate(pairs):
        h_NBH, done = run_layer(stacked, layer, h_NBH, pair, spec)
        passes.append(done)
    return h_NBH, passes


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
