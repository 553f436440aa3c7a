"""Numbers of experts through all layers, the bytes of each, and where it lies in tensors."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from fedloop.errors import ExpertMapError
from fedloop.expert_map.entries import Cut, Entry, Layer, positions_of

#: Bytes of a megabyte, as `alignsolve.Aligner` counts memory.
_MEGA = 1e6


class ExpertIndex:
    """Layers of experts and the layout of tensors; see `fedloop.ExpertMap`, which has more."""

    def __init__(self, entries: Mapping[str, Entry], layers: Sequence[Layer]) -> None:
        self.entries = dict(entries)
        self.layers = tuple(layers)

    @property
    def n_experts(self) -> int:
        """Return the number of experts in all layers."""
        return sum(layer.n_experts for layer in self.layers)

    def by_layer(self, experts: Iterable[int]) -> list[list[int]]:
        """Return the numbers within each layer, ascending, for numbers through all layers."""
        wanted = {int(expert) for expert in experts}
        if unknown := sorted(wanted - set(range(self.n_experts))):
            raise ExpertMapError(f"expert {unknown[0]} is none of the {self.n_experts}")
        return [[at for at, column in enumerate(layer.columns) if column in wanted]
                for layer in self.layers]

    def columns(self, experts: Mapping[int, Iterable[int]]) -> list[int]:
        """Return numbers through all layers for numbers within layers, by layer."""
        for layer, numbers in experts.items():
            if not 0 <= layer < len(self.layers):
                raise ExpertMapError(f"layer {layer} is none of the {len(self.layers)}")
            if wrong := [n for n in numbers if not 0 <= n < self.layers[layer].n_experts]:
                raise ExpertMapError(f"layer {layer} has no expert {wrong[0]}")
        return sorted(self.layers[layer].first + int(number)
                      for layer, numbers in experts.items() for number in numbers)

    def groups(self) -> dict[str, Any]:
        """Return the layers as arguments of `alignsolve.AlignmentProblem` or `alignsolve.Aligner`.

        ``expert_ids`` ("layer/expert"), ``expert_group`` int64 (n_experts,), and bounds int64
        (n_layers,): at least one expert of every layer, since a layer needs one to run.
        """
        sizes = np.array([layer.n_experts for layer in self.layers], dtype=np.int64)
        return {
            "expert_ids": [f"{layer.name or at}/{number}" for at, layer in enumerate(self.layers)
                           for number in range(layer.n_experts)],
            "expert_group": np.repeat(np.arange(len(sizes)), sizes),
            "group_min": np.ones_like(sizes),
            "group_max": sizes,
        }

    @property
    def expert_bytes(self) -> npt.NDArray[np.int64]:
        """Return the bytes of every expert with its router rows: int64 (n_experts,)."""
        total = np.zeros(self.n_experts, dtype=np.int64)
        for entry in self.entries.values():
            if entry.layer is None:
                continue
            layer = self.layers[entry.layer]
            if entry.expert is not None:
                total[layer.first + entry.expert] += entry.nbytes
            else:
                total[layer.columns] += entry.nbytes // layer.n_experts
        return total

    @property
    def expert_mb(self) -> npt.NDArray[np.float64]:
        """Return megabytes of every expert, for `alignsolve.Aligner`: float64 (n_experts,)."""
        return self.expert_bytes / _MEGA

    @property
    def shared_bytes(self) -> int:
        """Return the bytes of what all clients share."""
        return sum(entry.nbytes for entry in self.entries.values() if entry.layer is None)

    def bytes_of(self, experts: Iterable[int]) -> int:
        """Return the bytes of some experts with their router rows, without what is shared."""
        layers = zip(self.layers, self.by_layer(experts), strict=True)
        held = [layer.first + number for layer, own in layers for number in own]
        return int(self.expert_bytes[held].sum())

    def cuts(
        self, state: Iterable[str], held: list[list[int]], all_router_rows: bool = False
    ) -> Iterator[Cut]:
        """Return where experts, as from `by_layer`, lie in the tensors of which they have some."""
        for tensor in state:
            entry = self.entries[tensor]
            if entry.layer is None or (entry.router and entry.sliced and all_router_rows):
                yield Cut(entry, tensor)
            elif entry.expert is None:
                yield Cut(entry, tensor, positions_of(
                    entry.layout, entry.shape[entry.axis], self.layers[entry.layer].n_experts,
                    tuple(held[entry.layer])))
            elif entry.expert in held[entry.layer]:
                yield Cut(entry, entry.renamed(held[entry.layer].index(entry.expert)))
