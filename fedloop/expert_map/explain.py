"""Find the layers and experts in the names and shapes of a state dict, or say what is unclear."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import accumulate

from torch import Tensor

from fedloop.errors import ExpertMapError, NoExpertsError
from fedloop.expert_map.drawing import Drawing
from fedloop.expert_map.entries import Entry, Layer
from fedloop.expert_map.families import Family

#: PEFT puts this into the names of what it wraps.
_WRAPPED = "base_layer."

#: Most names in a message.
_SHOWN = 5


@dataclass(frozen=True)
class _Match:
    """A tensor that a pattern found."""

    name: str
    tensor: Tensor
    drawing: Drawing
    router: bool
    layer: str
    expert: int | None
    span: tuple[int, int]


def explain(
    state: Mapping[str, Tensor], family: Family, n_experts: int | None = None
) -> tuple[dict[str, Entry], tuple[Layer, ...]]:
    """Return an entry for every tensor, and the layers in natural order of their names.

    Raises
    ------
    ExpertMapError
        If the family finds no experts, if shapes do not fit, or if tensors stay
        unexplained; the message names them.
    """
    found = _matches(state, family)
    if not found:
        raise NoExpertsError(f"{family.name}: no tensor's name is that of an expert; names are "
                             f"{_some(state)}. Say which are: ExpertMap.describe")
    names = sorted({match.layer for match in found.values()}, key=_natural)
    of_layer = {name: [m for m in found.values() if m.layer == name] for name in names}
    counts = [_count(name, of_layer[name], family, n_experts) for name in names]
    layers = tuple(map(Layer, names, counts, accumulate(counts, initial=0)))
    for layer in layers:
        _check_shapes(layer, of_layer[layer.name], family)
    _refuse_unexplained(state, found, family, layers)
    number = {layer.name: at for at, layer in enumerate(layers)}
    return {name: _entry(name, tensor, found.get(name), number) for name, tensor in state.items()
            }, layers


def _matches(state: Mapping[str, Tensor], family: Family) -> dict[str, _Match]:
    """Return what the patterns of experts and routers find."""
    rules = [(re.compile(pattern), Drawing(drawing), router)
             for router, drawings in ((False, family.experts), (True, family.router))
             for pattern, drawing in drawings.items()]
    shared = [re.compile(pattern) for pattern in family.shared]
    found: dict[str, _Match] = {}
    for name, tensor in state.items():
        plain = name.replace(_WRAPPED, "")
        if any(pattern.search(plain) for pattern in shared):
            continue
        for pattern, drawing, router in rules:
            each = drawing.layout is None
            if match := pattern.search(name if each else plain):
                if not 0 <= pattern.groups - each <= 1:
                    raise ExpertMapError(
                        f"{pattern.pattern!r} has {pattern.groups} groups; give one for the layer, "
                        "if there are several"
                        + (", and then one for the expert" if each else ", and draw E in its shape"
                           if pattern.groups > 1 else ""))
                layer = match.group(1).rstrip(".") if pattern.groups - each else ""
                last = pattern.groups
                found[name] = _Match(name, tensor, drawing, router, layer,
                                     int(match.group(last)) if each else None,
                                     match.span(last) if each else (0, 0))
                break
    return found


def _count(name: str, matches: list[_Match], family: Family, n_experts: int | None) -> int:
    """Return E of a layer, on which all its tensors must agree."""
    where = f"{family.name}, layer {name!r}" if name else family.name
    counts = {len(own) for own in _stems(matches).values()}
    for match in matches:
        axis = match.drawing.axis
        if match.drawing.layout == "stacked" and axis is not None and axis < match.tensor.ndim:
            counts.add(match.tensor.shape[axis])
    if n_experts is not None:
        counts.add(n_experts)
    if len(counts) != 1:
        raise ExpertMapError(
            f"{where}: tensors speak of {' and '.join(map(str, sorted(counts)))} experts"
            if counts else f"{where}: no tensor tells the number of experts; give n_experts")
    for stem, experts in _stems(matches).items():
        if experts != set(range(len(experts))):
            raise ExpertMapError(f"{where}: experts of {stem} are numbered {sorted(experts)}")
    if all(match.router for match in matches):
        raise ExpertMapError(f"{where}: a router, but no expert")
    if family.router and n_experts is None and not any(match.router for match in matches):
        raise ExpertMapError(f"{where}: experts, but no router; its rows may have other names, "
                             "which ExpertMap.describe(router=...) takes")
    return counts.pop()


def _stems(matches: list[_Match]) -> dict[str, set[int]]:
    """Return the experts that have a tensor of their own, by its name without their number."""
    stems: dict[str, set[int]] = {}
    for match in matches:
        if match.expert is not None:
            start, end = match.span
            stems.setdefault(f"{match.name[:start]}*{match.name[end:]}", set()).add(match.expert)
    return stems


def _check_shapes(layer: Layer, matches: list[_Match], family: Family) -> None:
    """Compare shapes with their drawings, and those of experts with each other."""
    sizes = {"E": layer.n_experts}
    first: dict[str, tuple[int, ...]] = {}
    for match in matches:
        shape, (start, end) = tuple(match.tensor.shape), match.span
        if not match.drawing.fits(shape, sizes):
            raise ExpertMapError(f"{family.name}: {match.name} has shape {shape}, not "
                                 f"{match.drawing.in_numbers(sizes)}")
        stem = match.name[:start] + "*" + match.name[end:]
        if match.expert is not None and first.setdefault(stem, shape) != shape:
            raise ExpertMapError(f"{family.name}: {match.name} has shape {shape}, that of another "
                                 f"expert {first[stem]}")


def _refuse_unexplained(
    state: Mapping[str, Tensor], found: Mapping[str, _Match], family: Family,
    layers: tuple[Layer, ...],
) -> None:
    """Name what could hold parts of experts, and no pattern finds."""
    block = family.block and re.compile(family.block)
    counts = {layer.name: layer.n_experts for layer in layers}
    inside = {layer: _common(m.name for m in found.values() if m.layer == layer and not m.router)
              for layer in counts}
    beside = {layer: _common(m.name for m in found.values() if m.layer == layer)
              for layer in counts}
    shared = [re.compile(pattern) for pattern in family.shared]

    def unclear(name: str, shape: tuple[int, ...]) -> bool:
        plain = name.replace(_WRAPPED, "")
        if name in found or any(pattern.search(plain) for pattern in shared):
            return False
        if block and (match := block.search(plain)) and match.group(1) in counts:
            return True
        return "expert" in name.lower() or any(
            (prefix and name.startswith(prefix)) or (
                name.startswith(beside[layer]) and counts[layer] in shape[:1])
            for layer, prefix in inside.items())

    names = [name for name, tensor in state.items() if unclear(name, tuple(tensor.shape))]
    if names:
        raise ExpertMapError(
            f"{family.name}: not explained, and beside experts: {_some(names)}. Say in "
            "ExpertMap.describe whose they are: experts=, router= or shared=", names)


def _entry(
    name: str, tensor: Tensor, match: _Match | None, number: Mapping[str, int]
) -> Entry:
    shape, size = tuple(tensor.shape), tensor.element_size()
    if match is None:
        return Entry(name, shape, size)
    return Entry(name, shape, size, match.drawing.layout or "each", match.drawing.axis or 0,
                 number[match.layer], match.router, match.expert, match.span)


def _common(names: Iterable[str]) -> str:
    """Return the longest common beginning of names that ends in a dot."""
    parts = [name.split(".")[:-1] for name in names]
    common: list[str] = []
    for column in zip(*parts, strict=False):
        if len(set(column)) > 1:
            break
        common.append(column[0])
    return "".join(part + "." for part in common)


def _natural(name: str) -> list[tuple[bool, int, str]]:
    """Return a key that sorts numbers in names by their value."""
    return [(part.isdecimal(), int(part) if part.isdecimal() else 0, part)
            for part in re.split(r"(\d+)", name)]


def _some(names: Iterable[str]) -> str:
    listed = list(names)
    more = len(listed) - _SHOWN
    return ", ".join(listed[:_SHOWN]) + (f" and {more} more" if more > 0 else "")
