"""Tensors of a model in pieces of one expert each, whose names do not depend on who holds them.

A piece is called like its tensor; where experts have slices of it, ``@`` and the expert's
number, through all layers, follow.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from torch import Tensor

from fedloop.errors import ExpertMapError
from fedloop.expert_map.entries import Cut, Entry, positions_of
from fedloop.expert_map.index import ExpertIndex


class Pieces(ExpertIndex):
    """Cuts states into pieces, and puts them together; see `fedloop.ExpertMap`."""

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
