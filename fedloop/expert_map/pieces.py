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


def split(
    index: ExpertIndex, part: Mapping[str, Tensor], experts: Iterable[int]
) -> dict[str, Tensor]:
    """Do what `ExpertMap.split` says."""
    found: dict[str, Tensor] = {}
    rest = dict(part)
    for cut, pieces in _pieces(index, experts):
        if (tensor := rest.pop(cut.name, None)) is None:
            continue
        shape, entry = tuple(tensor.shape), cut.entry
        if entry.router and entry.sliced and shape == entry.shape and entry.layer is not None:
            pieces = [f"{entry.name}@{at}" for at in index.layers[entry.layer].columns]
        elif shape != cut.shape:
            raise ExpertMapError(f"{cut.name} has shape {shape}, and these experts have "
                                 f"{cut.shape}")
        for rank, name in enumerate(pieces):
            found[name] = tensor if cut.positions is None else tensor.index_select(
                entry.axis, _places(entry, shape, len(pieces), rank).to(tensor.device))
    for name, tensor in rest.items():
        raise ExpertMapError(f"{name} has shape {tuple(tensor.shape)}, and these experts have no "
                             "such tensor")
    return found


def join(
    index: ExpertIndex, pieces: Mapping[str, Tensor], experts: Iterable[int]
) -> dict[str, Tensor]:
    """Do what `ExpertMap.join` says."""
    found: dict[str, Tensor] = {}
    for cut, names in _pieces(index, experts):
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


def owner(index: ExpertIndex, piece: str) -> int | None:
    """Do what `ExpertMap.owner` says."""
    entry = index.entries.get(piece)
    if entry is not None and not entry.sliced:
        if entry.expert is None or entry.layer is None:
            return None
        return index.layers[entry.layer].first + entry.expert
    name, _, number = piece.rpartition("@")
    entry = index.entries.get(name)
    if entry is None or entry.layer is None or not entry.sliced:
        raise ExpertMapError(f"{piece} is no piece of this map: it is neither a tensor that is "
                             "whole, nor one that experts have slices of, with @ and a number")
    columns = index.layers[entry.layer].columns
    if not number.isdecimal() or int(number) not in columns:
        raise ExpertMapError(f"{piece} is no piece of this map: {name} is of the experts "
                             f"{columns[0]} to {columns[-1]}")
    return int(number)


def _pieces(index: ExpertIndex, experts: Iterable[int]) -> Iterator[tuple[Cut, list[str]]]:
    """Return for every tensor its part and the names of this part's pieces."""
    held = index.by_layer(experts)
    for cut in index.cuts(index.entries, index.columns(dict(enumerate(held)))):
        entry = cut.entry
        if cut.positions is None or entry.layer is None:
            yield cut, [entry.name]
        else:
            first = index.layers[entry.layer].first
            yield cut, [f"{entry.name}@{first + expert}" for expert in held[entry.layer]]


def _places(entry: Entry, shape: tuple[int, ...], n_held: int, rank: int) -> Tensor:
    return positions_of(entry.layout, shape[entry.axis], n_held, (rank,))
