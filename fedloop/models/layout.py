"""Which tensors of a module have a row for each expert, and which all clients share.

The loop works on *rows*: for every kind of tensor of an expert one tensor with the
experts of a layer along its first axis. A module may hold them like that, or as a
module for each expert; both are the same rows, and train alike.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from fedloop.errors import ConfigError, ExpertMapError
from fedloop.expert_map import ExpertMap

Params = dict[str, Tensor]

#: What scores a layer's experts.
ROUTER = re.compile(r"^(.*)\b(router|gate)\.weight$")

#: Of a piece (`Layout.pieces`), the expert.
OWNER = re.compile(r"@(\d+)$")

#: What is told where layers differ.
UNEQUAL = "the model's layers have {} experts; fedloop needs as many in every layer"


@dataclass(frozen=True)
class Layout:
    """Rows of the experts of each layer.

    Attributes
    ----------
    n_experts, n_layers : int
        Experts of each layer, and layers. Expert j of layer l has the number
        ``l * n_experts + j``.
    layer_of : dict of str to int
        Layer of every name that has rows; the others are shared.
    routers : tuple of str
        For every layer the name of the router's weights.
    members : dict of str to tuple of str
        For a name that the module does not have as one tensor: the tensors of its rows.
    folded : dict of str to tuple
        For a tensor that has the experts along another axis, or in one axis with something
        else: that axis, and whether experts alternate along it.
    scorers : frozenset of str
        Names whose rows score experts.
    """

    n_experts: int
    n_layers: int
    layer_of: dict[str, int]
    routers: tuple[str, ...]
    members: dict[str, tuple[str, ...]] = field(default_factory=dict)
    folded: dict[str, tuple[int, bool]] = field(default_factory=dict)
    scorers: frozenset[str] = frozenset()

    @property
    def total_experts(self) -> int:
        """Return the number of experts in all layers."""
        return self.n_experts * self.n_layers

    def of_layer(self, layer: int) -> list[str]:
        """Return the names that have a row for each expert of a layer."""
        return [name for name, number in self.layer_of.items() if number == layer]

    def shared(self, names: Iterable[str]) -> list[str]:
        """Return the names that every client trains."""
        return [name for name in names if name not in self.layer_of]

    def rows(self, tensors: Mapping[str, Tensor]) -> Params:
        """Return a module's tensors with experts along the first axis."""
        inside = {part for parts in self.members.values() for part in parts}
        found = {name: value for name, value in tensors.items() if name not in inside}
        for name, (axis, interleaved) in self.folded.items():
            # Of one axis two: experts, and what each of them has.
            shape = found[name].shape
            each = shape[axis] // self.n_experts
            split = (each, self.n_experts) if interleaved else (self.n_experts, each)
            value = found[name].reshape(*shape[:axis], *split, *shape[axis + 1:])
            found[name] = value.movedim(axis + interleaved, 0)
        return found | {name: torch.stack([tensors[part] for part in parts])
                        for name, parts in self.members.items()}

    def tensors(self, rows: Mapping[str, Tensor]) -> Params:
        """Return what `rows` was made of, as views where that is possible."""
        found: Params = {}
        for name, value in rows.items():
            if name in self.members:
                found |= dict(zip(self.members[name], value.unbind(0), strict=True))
            elif name in self.folded:
                axis, interleaved = self.folded[name]
                found[name] = value.movedim(0, axis + interleaved).flatten(axis, axis + 1)
            else:
                found[name] = value
        return found

    def _by_layer(self, held: Iterable[int] | None) -> list[list[int]]:
        """Return experts, all or those held, of every layer, ascending."""
        experts = range(self.total_experts) if held is None else sorted(held)
        return [[expert for expert in experts if expert // self.n_experts == layer]
                for layer in range(self.n_layers)]

    def pieces(self, rows: Mapping[str, Tensor], held: Iterable[int] | None = None) -> Params:
        """Return rows, of all experts or of those held, apart: ``@`` and the expert in the name."""
        found: Params = {}
        own = self._by_layer(held)
        for name, value in rows.items():
            layer = self.layer_of.get(name)
            if layer is None:
                found[name] = value
            else:
                found |= {f"{name}@{expert}": row
                          for expert, row in zip(own[layer], value, strict=True)}
        return found

    def joined(
        self, pieces: Mapping[str, Tensor], like: Mapping[str, Tensor],
        held: Iterable[int] | None = None,
    ) -> Params:
        """Return pieces together again, of the type and on the device of `like`.

        Of all experts, rows without a piece are 0.

        Raises
        ------
        KeyError
            If a piece that all share is missing, or one of an expert held.
        """
        found: Params = {}
        own = self._by_layer(held)
        for name, value in like.items():
            layer = self.layer_of.get(name)
            if layer is None:
                found[name] = pieces[name].to(value)
                continue
            found[name] = value.new_zeros(len(own[layer]), *value.shape[1:])
            for row, expert in zip(found[name], own[layer], strict=True):
                if held is not None or f"{name}@{expert}" in pieces:
                    row.copy_(pieces[f"{name}@{expert}"])
        return found

    @staticmethod
    def from_map(map: ExpertMap, trained: Container[str]) -> Layout:
        """Return the rows, of the tensors that are trained, that a model's map describes.

        Raises
        ------
        ConfigError
            If layers have different numbers of experts, or of a kind of tensor that every
            expert has for itself, only some are trained.
        """
        n_experts = {layer.n_experts for layer in map.layers}
        if len(n_experts) != 1:
            raise ConfigError(UNEQUAL.format(sorted(n_experts)))
        layer_of: dict[str, int] = {}
        members: dict[str, dict[int, str]] = {}
        folded: dict[str, tuple[int, bool]] = {}
        routers: dict[int, str] = {}
        for name, entry in map.entries.items():
            if entry.layer is None:
                continue
            if entry.router and len(entry.shape) == 2 and not entry.axis:
                routers.setdefault(entry.layer, name)
            if name not in trained:
                continue
            row = name if entry.expert is None else entry.renamed("*")
            layer_of[row] = entry.layer
            if entry.expert is not None:
                members.setdefault(row, {})[entry.expert] = name
            elif entry.axis or entry.layout in ("blocks", "interleaved"):
                folded[name] = entry.axis, entry.layout == "interleaved"
        for row, found in members.items():
            if absent := set(range(map.layers[0].n_experts)) - found.keys():
                raise ConfigError(f"{row.replace('*', str(min(absent)))} is not trained, and that "
                                  "of other experts of its layer is: all must require gradients, "
                                  "or none")
        return Layout(
            n_experts.pop(), len(map.layers), layer_of,
            tuple(routers[layer] for layer in range(len(map.layers))),
            {row: tuple(found[number] for number in sorted(found))
             for row, found in members.items()},
            folded, frozenset(name for name, entry in map.entries.items() if entry.router))

    @staticmethod
    def of(module: nn.Module) -> Layout:
        """Recognise the experts that a module trains by the names and shapes of its parameters.

        A model of transformers is described by `fedloop.ExpertMap`; of others, experts lie
        beside their router.

        Raises
        ------
        ConfigError
            If there are no experts, a layer lacks its router, or as for `from_map`.
        """
        params = dict(module.named_parameters())
        trained = {name for name, value in params.items() if value.requires_grad}
        places = [match[1] for name, value in params.items()
                  if (match := ROUTER.match(name)) and value.ndim == 2
                  and any(other.startswith(f"{match[1]}experts.") for other in params)]
        try:
            if hasattr(module, "config"):
                return Layout.from_map(ExpertMap.of(params), trained)
            if not places:
                raise ConfigError(
                    "the model has no parameters of experts next to a router: name them "
                    "'...experts.3...' or '...experts.weight' (with the experts along the first "
                    "axis), and '...router.weight' or '...gate.weight' beside them")
            place = "|".join(map(re.escape, places))
            return Layout.from_map(ExpertMap.describe(
                params, router={rf"^({place})(?:router|gate)\.(?:weight|bias)$": "E ..."},
                experts={rf"^({place})experts\.(\d+)\.": "...", rf"^({place})experts\.": "E ..."},
                shared=[rf"^(?!(?:{place})(?:experts|router|gate)\.)"]), trained)
        except ExpertMapError as error:
            raise ConfigError(f"the model's experts: {error}") from None


def part_of(pieces: Mapping[str, Tensor], held: Container[int]) -> Params:
    """Return the pieces that a client with some experts needs: theirs, and what all share."""
    return {name: value for name, value in pieces.items()
            if not (match := OWNER.search(name)) or int(match[1]) in held}
