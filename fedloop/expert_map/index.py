"""Numbers of experts through all layers, the bytes of each, and where it lies in tensors.

Tensors are cut into pieces of one expert each, whose names do not depend on who holds them. A
piece is called like its tensor; where experts have slices of it, ``@`` and the expert's number,
through all layers, follow.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor

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
        held = self.columns(dict(enumerate(self.by_layer(experts))))
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

    # -- pieces ----------------------------------------------------------------

    def split(
        self, part: Mapping[str, Tensor], experts: Iterable[int] | None = None
    ) -> dict[str, Tensor]:
        """Cut a state into pieces of one expert each.

        Parameters
        ----------
        part : mapping of str to Tensor
            The whole state, or what `take` cut out of it or of some of its tensors; routers
            may be whole.
        experts : iterable of int, optional
            The experts of which `part` is; by default all.

        Returns
        -------
        dict of str to Tensor
            By names that do not depend on `experts`: that of the tensor, and for a slice
            ``@`` and the expert's number.

        Raises
        ------
        ExpertMapError
            If a tensor is none of these experts'.
        """
        found: dict[str, Tensor] = {}
        rest = dict(part)
        for cut, pieces in self._pieces(experts):
            if (tensor := rest.pop(cut.name, None)) is None:
                continue
            shape, entry = tuple(tensor.shape), cut.entry
            if entry.router and entry.sliced and shape == entry.shape and entry.layer is not None:
                pieces = [f"{entry.name}@{at}" for at in self.layers[entry.layer].columns]
            elif shape != cut.shape:
                raise ExpertMapError(f"{cut.name} has shape {shape}, and these experts have "
                                     f"{cut.shape}")
            for rank, name in enumerate(pieces):
                found[name] = tensor if cut.positions is None else tensor.index_select(
                    entry.axis, _places(entry, shape, len(pieces), rank).to(tensor.device))
        for name, tensor in rest.items():
            raise ExpertMapError(f"{name} has shape {tuple(tensor.shape)}, and these experts have "
                                 "no such tensor")
        return found

    def join(
        self, pieces: Mapping[str, Tensor], experts: Iterable[int] | None = None
    ) -> dict[str, Tensor]:
        """Put pieces together again: what `take` would cut out of the whole.

        Raises
        ------
        ExpertMapError
            If a piece of a tensor is missing; tensors without any are left out.
        """
        found: dict[str, Tensor] = {}
        for cut, names in self._pieces(experts):
            having = [pieces[name] for name in names if name in pieces]
            if not having:
                continue
            if len(having) < len(names):
                missing = next(name for name in names if name not in pieces)
                raise ExpertMapError(f"the piece {missing} is missing")
            found[cut.name] = having[0]
            if cut.positions is not None:
                whole = having[0].new_empty(cut.shape)
                for rank, piece in enumerate(having):
                    places = _places(cut.entry, cut.shape, len(names), rank)
                    whole.index_copy_(cut.entry.axis, places.to(whole.device), piece)
                found[cut.name] = whole
        return found

    def owner(self, piece: str) -> int | None:
        """Return the expert that a piece belongs to; None where all clients share it.

        Raises
        ------
        ExpertMapError
            If there is no such piece.
        """
        entry = self.entries.get(piece)
        if entry is not None and not entry.sliced:
            if entry.expert is None or entry.layer is None:
                return None
            return self.layers[entry.layer].first + entry.expert
        name, _, number = piece.rpartition("@")
        entry = self.entries.get(name)
        if entry is None or entry.layer is None or not entry.sliced:
            raise ExpertMapError(f"{piece} is no piece of this map: it is neither a tensor that is "
                                 "whole, nor one that experts have slices of, with @ and a number")
        columns = self.layers[entry.layer].columns
        if not number.isdecimal() or int(number) not in columns:
            raise ExpertMapError(f"{piece} is no piece of this map: {name} is of the experts "
                                 f"{columns[0]} to {columns[-1]}")
        return int(number)

    def _pieces(self, experts: Iterable[int] | None) -> Iterator[tuple[Cut, list[str]]]:
        """Return for every tensor its part and the names of this part's pieces."""
        held = self.by_layer(range(self.n_experts) if experts is None else experts)
        for cut in self.cuts(self.entries, held):
            entry = cut.entry
            if cut.positions is None or entry.layer is None:
                yield cut, [entry.name]
            else:
                first = self.layers[entry.layer].first
                yield cut, [f"{entry.name}@{first + expert}" for expert in held[entry.layer]]


def _places(entry: Entry, shape: tuple[int, ...], n_held: int, rank: int) -> Tensor:
    return positions_of(entry.layout, shape[entry.axis], n_held, (rank,))
