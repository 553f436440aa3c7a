"""Find the layers and experts in the names and shapes of a state dict, or say what is unclear."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import accumulate, takewhile

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
class _Rule:
    """A pattern of names, and the shape of what it finds."""

    pattern: re.Pattern[str]
    drawing: Drawing
    router: bool

    @property
    def each(self) -> bool:
        """Return whether it finds tensors of one expert, whose number is its last group."""
        return self.drawing.layout is None


#: A tensor that a rule found, and how its shape is drawn.
_Match = tuple[Entry, Drawing]


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
    shared = [_compiled(pattern) for pattern in family.shared]
    of_layer = _matches(state, _rules(family), shared)
    if not of_layer:
        raise NoExpertsError(f"{family.name}: no tensor's name is that of an expert; names are "
                             f"{_some(state)}. Say which are: ExpertMap.describe")
    names = sorted(of_layer, key=_natural)
    counts = [_count(name, of_layer[name], family, n_experts) for name in names]
    layers = tuple(map(Layer, names, counts, accumulate(counts, initial=0)))
    for layer in layers:
        _check_shapes(layer, of_layer[layer.name], family)
    _refuse_unexplained(state, of_layer, family, shared, layers)
    entries = {name: Entry(name, tuple(tensor.shape), tensor.element_size())
               for name, tensor in state.items()}
    return entries | {entry.name: replace(entry, layer=at) for at, name in enumerate(names)
                      for entry, _ in of_layer[name]}, layers


def _rules(family: Family) -> list[_Rule]:
    """Return the rules for experts and routers, checked."""
    rules = [_Rule(_compiled(pattern), Drawing(drawing), router)
             for router, drawings in ((False, family.experts), (True, family.router))
             for pattern, drawing in drawings.items()]
    for rule in rules:
        pattern, groups = rule.pattern.pattern, rule.pattern.groups
        if rule.router and rule.each:
            raise ExpertMapError(f"router rows {pattern!r}: draw the axis that counts experts, E")
        if not 0 <= groups - rule.each <= 1:
            raise ExpertMapError(
                f"{pattern!r} has {groups} groups; give one for the layer, if there are several" + (
                    ", and then one for the expert" if rule.each else ""))
    return rules


def _compiled(pattern: str) -> re.Pattern[str]:
    try:
        return re.compile(pattern)
    except re.error as fault:
        raise ExpertMapError(f"{pattern!r} is no regular expression: {fault}") from None


def _matches(
    state: Mapping[str, Tensor], rules: list[_Rule], shared: list[re.Pattern[str]]
) -> dict[str, list[_Match]]:
    """Return by layer what the rules find among tensors that are not said to be shared."""
    found: dict[str, list[_Match]] = {}
    for name, tensor in state.items():
        plain = name.replace(_WRAPPED, "")
        if any(pattern.search(plain) for pattern in shared):
            continue
        for rule in rules:
            if match := rule.pattern.search(name if rule.each else plain):
                last, expert, span = rule.pattern.groups, None, (0, 0)
                if rule.each:
                    if not match.group(last).isdecimal():
                        raise ExpertMapError(f"{name}: {match.group(last)!r} is no expert's number")
                    expert, span = int(match.group(last)), match.span(last)
                layer = match.group(1).rstrip(".") if last > rule.each else ""
                found.setdefault(layer, []).append((Entry(
                    name, tuple(tensor.shape), tensor.element_size(),
                    rule.drawing.layout or "each", rule.drawing.axis or 0, None, rule.router,
                    expert, span), rule.drawing))
                break
    return found


def _count(name: str, matches: list[_Match], family: Family, n_experts: int | None) -> int:
    """Return E of a layer, on which all its tensors must agree."""
    where = f"{family.name}, layer {name!r}" if name else family.name
    own: dict[str, set[int]] = {}  # experts that have a tensor each, by its name without a number
    counts: dict[int, str] = {}
    for entry, _ in matches:
        if entry.expert is not None:
            own.setdefault(entry.renamed("*"), set()).add(entry.expert)
        elif entry.layout == "stacked" and entry.axis < len(entry.shape):
            counts[entry.shape[entry.axis]] = entry.name
    counts = {len(experts): stem for stem, experts in own.items()} | counts
    if n_experts is not None:
        counts[n_experts] = "n_experts"
    if len(counts) != 1 or 0 in counts:
        raise ExpertMapError(
            f"{where}: tensors speak of "
            f"{' and '.join(f'{n} experts ({counts[n]})' for n in sorted(counts))}"
            if counts else f"{where}: no tensor tells the number of experts; give n_experts")
    for stem, experts in own.items():
        if experts != set(range(len(experts))):
            raise ExpertMapError(f"{where}: experts of {stem} are numbered {sorted(experts)}")
    if all(entry.router for entry, _ in matches):
        raise ExpertMapError(f"{where}: a router, but no expert")
    if family.router and n_experts is None and not any(entry.router for entry, _ in matches):
        raise ExpertMapError(f"{where}: experts, but no router; its rows may have other names, "
                             "which ExpertMap.describe(router=...) takes")
    return next(iter(counts))


def _check_shapes(layer: Layer, matches: list[_Match], family: Family) -> None:
    """Compare shapes with their drawings, and those of experts with each other."""
    sizes = {"E": layer.n_experts}
    first: dict[str, tuple[int, ...]] = {}
    for entry, drawing in matches:
        has = f"{family.name}: {entry.name} has shape {entry.shape}"
        if not drawing.fits(entry.shape, sizes):
            raise ExpertMapError(f"{has}, not {drawing.in_numbers(sizes)}")
        other = first.setdefault(entry.renamed("*"), entry.shape)
        if entry.expert is not None and other != entry.shape:
            raise ExpertMapError(f"{has}, that of another expert {other}")


def _refuse_unexplained(
    state: Mapping[str, Tensor], of_layer: Mapping[str, list[_Match]], family: Family,
    shared: list[re.Pattern[str]], layers: tuple[Layer, ...],
) -> None:
    """Name what could hold parts of experts, and no pattern finds."""
    found = {entry.name for matches in of_layer.values() for entry, _ in matches}
    count = {layer.name: layer.n_experts for layer in layers}
    inside = {layer: _common(entry.name for entry, _ in matches if not entry.router)
              for layer, matches in of_layer.items()}
    beside = {layer: _common(entry.name for entry, _ in matches)
              for layer, matches in of_layer.items()}

    def unclear(name: str, shape: tuple[int, ...]) -> bool:
        plain = name.replace(_WRAPPED, "")
        if name in found or any(pattern.search(plain) for pattern in shared):
            return False
        if family.block and (match := re.search(family.block, plain)) and match.group(1) in count:
            return True
        return "expert" in name.lower() or any(
            (prefix and name.startswith(prefix)) or (
                name.startswith(beside[layer]) and count[layer] in shape[:1])
            for layer, prefix in inside.items())

    names = [name for name, tensor in state.items() if unclear(name, tuple(tensor.shape))]
    if names:
        raise ExpertMapError(
            f"{family.name}: not explained, and beside experts: {_some(names)}. Say in "
            "ExpertMap.describe whose they are: experts=, router= or shared=", names)


def _common(names: Iterable[str]) -> str:
    """Return the longest common beginning of names that ends in a dot."""
    parts = [name.split(".")[:-1] for name in names]
    common = takewhile(lambda column: len(set(column)) == 1, zip(*parts, strict=False))
    return "".join(column[0] + "." for column in common)


def _natural(name: str) -> list[tuple[bool, int, str]]:
    """Return a key that sorts numbers in names by their value."""
    return [(part.isdecimal(), int(part) if part.isdecimal() else 0, part)
            for part in re.split(r"(\d+)", name)]


def _some(names: Iterable[str]) -> str:
    listed = list(names)
    more = len(listed) - _SHOWN
    return ", ".join(listed[:_SHOWN]) + (f" and {more} more" if more > 0 else "")
