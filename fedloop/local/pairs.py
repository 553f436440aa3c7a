"""Who holds which experts: (client, expert) pairs, and where their rows lie in stacks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from fedloop.models.layout import Layout


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


def pairs_of(
    layout: Layout, held: Sequence[Sequence[int]], device: torch.device | str = "cpu"
) -> list[Pairs]:
    """Return the pairs of every layer.

    Parameters
    ----------
    layout : Layout
        Layers, and experts of each.
    held : sequence of sequence of int
        For every client the experts that it holds, numbered through all layers.
    device : torch.device
        Where the tensors go.
    """
    layers = []
    for layer in range(layout.n_layers):
        first = layer * layout.n_experts
        rows = [
            (client, expert - first, slot)
            for client, experts in enumerate(held)
            for slot, expert in enumerate(
                sorted(e for e in experts if first <= e < first + layout.n_experts)
            )
        ]
        client, expert, slot = torch.tensor(rows, dtype=torch.int64, device=device).T.contiguous()
        layers.append(Pairs(client, expert, slot, int(slot.max()) + 1))
    return layers
