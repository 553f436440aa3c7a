"""Average what clients trained of a model of which each has a part."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor

from fedloop.errors import ExpertMapError
from fedloop.expert_map.entries import Cut, Entry
from fedloop.expert_map.index import ExpertIndex

#: A client's experts, and its tensors as `ExpertMap.take` returns them.
Update = tuple[Iterable[int], Mapping[str, Tensor]]


def merge(
    index: ExpertIndex, state: Mapping[str, Tensor], updates: Sequence[Update],
    weights: Sequence[float] | None, expert_weights: Sequence[Mapping[int, float]] | None,
) -> dict[str, Tensor]:
    """Do what `ExpertMap.merge` says."""
    weights = [1.0] * len(updates) if weights is None else weights
    expert_weights = [{}] * len(updates) if expert_weights is None else expert_weights
    if not len(updates) == len(weights) == len(expert_weights):
        raise ExpertMapError(f"{len(updates)} updates have {len(weights)} weights and "
                             f"{len(expert_weights)} of their experts; give one each")
    clients = [_Client(index, state, experts, part, number, weights[number], expert_weights[number])
               for number, (experts, part) in enumerate(updates)]
    return {name: _average(index.entries[name], whole, clients) for name, whole in state.items()}


class _Client:
    """A client's part, with where its tensors belong and how much they count."""

    def __init__(
        self, index: ExpertIndex, state: Mapping[str, Tensor], experts: Iterable[int],
        part: Mapping[str, Tensor], number: int, weight: float, by_expert: Mapping[int, float],
    ) -> None:
        self.part, self.weight = part, weight
        held = list(experts)
        known = {cut.name: cut for cut in index.cuts(state, held)}
        whole = {cut.name: cut for cut in index.cuts(state, held, all_router_rows=True)}
        self.cuts: dict[str, Cut] = {}
        for name, tensor in part.items():
            shape = tuple(tensor.shape)
            cut = next((c for c in (known.get(name), whole.get(name)) if c and c.shape == shape),
                       None)
            if cut is None:
                right = f"{known[name].shape}" if name in known else "no such tensor"
                raise ExpertMapError(f"update {number}: {name} has shape {shape}, and the client's "
                                     f"experts have {right}")
            self.cuts[cut.entry.name] = cut
        #: Weight of every expert, by layer.
        self.of_expert = [torch.full((layer.n_experts,), float(weight), dtype=torch.float64)
                          for layer in index.layers]
        for at, (layer, own) in enumerate(zip(index.layers, index.by_layer(held), strict=True)):
            for expert in own:
                self.of_expert[at][expert] = float(by_expert.get(layer.first + expert, weight))

    def weight_in(self, entry: Entry) -> Tensor:
        """Return the client's weight in a tensor, or at each of its positions along the axis."""
        if entry.layer is None:
            return torch.tensor(float(self.weight), dtype=torch.float64)
        weight_E = self.of_expert[entry.layer]
        if entry.expert is not None:
            return weight_E[entry.expert]
        positions = self.cuts[entry.name].positions
        weight = weight_E[entry.owners(len(weight_E))]
        return weight if positions is None else weight[positions]


def _average(entry: Entry, whole: Tensor, clients: Sequence[_Client]) -> Tensor:
    """Return a tensor plus the weighted mean of the clients' differences to it."""
    clients = [client for client in clients if entry.name in client.cuts]
    if not clients or not whole.is_floating_point():
        return whole
    moved = torch.zeros_like(whole, dtype=torch.float64)
    rows = moved.movedim(entry.axis, 0) if entry.sliced else moved[None]  # views of it
    total = torch.zeros(len(rows), dtype=torch.float64, device=whole.device)
    for client in clients:
        cut, weight = client.cuts[entry.name], client.weight_in(entry).to(whole.device)
        step = client.part[cut.name].to(moved) - cut.of(whole)
        step = step.movedim(entry.axis, 0) if entry.sliced else step[None]
        at = slice(None) if cut.positions is None else cut.positions.to(whole.device)
        rows[at] += _column(weight, step) * step
        total[at] += weight
    rows /= _column(total.where(total > 0, torch.ones_like(total)), rows)
    return (whole + moved).to(whole.dtype)


def _column(values: Tensor, like: Tensor) -> Tensor:
    """Return a vector shaped to multiply the rows of `like`."""
    return values.view(-1, *[1] * (like.ndim - 1))
