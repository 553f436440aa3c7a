"""Which tensors of a module have a row for each expert, and which all clients share.

The loop works on *rows*: for every kind of tensor of an expert one tensor with the
experts of a layer along its first axis. A module may hold them like that, or as a
module for each expert; both are the same rows, and train alike.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from fedloop.errors import ConfigError

Params = dict[str, Tensor]

#: A module for each expert: what stands before and after its number.
NUMBERED = re.compile(r"^(.*\bexperts\.)(\d+)(\..+)$")

#: A tensor with all experts of a layer along its first axis.
STACKED = re.compile(r"^(.*\bexperts\.)[^.]+(\.[^.]+)*$")

#: What scores a layer's experts.
ROUTER = re.compile(r"^(.*)\b(router|gate)\.(weight|bias)$")


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
    """

    n_experts: int
    n_layers: int
    layer_of: dict[str, int]
    routers: tuple[str, ...]
    members: dict[str, tuple[str, ...]] = field(default_factory=dict)

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

    def is_router(self, name: str) -> bool:
        """Return whether a name's rows score experts."""
        return ROUTER.match(name) is not None

    def rows(self, tensors: Mapping[str, Tensor]) -> Params:
        """Return a module's tensors with experts along the first axis."""
        inside = {part for parts in self.members.values() for part in parts}
        found = {name: value for name, value in tensors.items() if name not in inside}
        return found | {name: torch.stack([tensors[part] for part in parts])
                        for name, parts in self.members.items()}

    def tensors(self, rows: Mapping[str, Tensor]) -> Params:
        """Return what `rows` was made of, as views."""
        found: Params = {}
        for name, value in rows.items():
            if name in self.members:
                found |= dict(zip(self.members[name], value.unbind(0), strict=True))
            else:
                found[name] = value
        return found

    @staticmethod
    def of(module: nn.Module) -> Layout:
        """Recognise the experts of a module by the names and shapes of its parameters.

        Raises
        ------
        ConfigError
            If there are no experts, or a layer lacks its router.
        """
        shapes = {name: tuple(value.shape) for name, value in module.named_parameters()}
        routers = [name for name in shapes if _scores(name, shapes)]
        places = [ROUTER.match(name)[1] for name in routers]  # type: ignore[index]
        if not routers:
            raise ConfigError(
                "the model has no parameters of experts next to a router: name them "
                "'...experts.3...' or '...experts.weight' (with the experts along the first axis), "
                "and '...router.weight' or '...gate.weight' beside them")
        n_experts = {shapes[name][0] for name in routers}
        if len(n_experts) > 1:
            raise ConfigError(f"the model's layers have {sorted(n_experts)} experts; fedloop needs "
                              "as many in every layer")
        layer_of: dict[str, int] = {}
        members: dict[str, dict[int, str]] = {}
        for name, shape in shapes.items():
            layer = next((at for at, place in enumerate(places)
                          if name.startswith(f"{place}experts.")), None)
            router = ROUTER.match(name)
            if layer is None and router is not None and router[1] in places:
                layer_of[name] = places.index(router[1])
            elif layer is not None and (found := NUMBERED.match(name)):
                row = f"{found[1]}*{found[3]}"
                members.setdefault(row, {})[int(found[2])] = name
                layer_of[row] = layer
            elif layer is not None and STACKED.match(name) and shape[0] in n_experts:
                layer_of[name] = layer
            elif layer is not None:
                raise ConfigError(f"the model's {name} {shape} is among experts and has no row for "
                                  "each of them")
        return Layout(n_experts.pop(), len(routers), layer_of, tuple(routers), {
            row: tuple(found[number] for number in sorted(found))
            for row, found in members.items()})


def _scores(name: str, shapes: Mapping[str, tuple[int, ...]]) -> bool:
    """Return whether a parameter is the weight of a router with experts beside it."""
    match = ROUTER.match(name)
    return (match is not None and match[3] == "weight" and len(shapes[name]) == 2
            and any(other.startswith(f"{match[1]}experts.") for other in shapes))
