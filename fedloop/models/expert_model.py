"""A module with experts, run with parameters from outside and with only some experts."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from fedloop.models.layout import Layout, Params
from fedloop.models.moe import route

#: For every layer bool, shape (..., E or S): which rows may be used; None allows all.
Allowed = Sequence[Tensor] | None


class Router(Protocol):
    """Scores the experts of a layer."""

    def __call__(self, layer: int, batch: Tensor, hidden: Tensor) -> Tensor:
        """Return scores (..., E) of what the layer is given (..., H), made of a batch."""
        ...


@dataclass(frozen=True)
class ExpertModel:
    """A module, and who owns which of its rows.

    Attributes
    ----------
    module : nn.Module
        Takes a batch; returns a tensor, or something with `logits`. It is run in the mode
        of evaluation: nothing is dropped out, so every run can be repeated.
    layout : Layout
        Rows of its experts.
    top_k : int
        Most experts of a layer that an example is sent to; for what is reported.
    sliceable : bool
        Whether it runs with any number of rows, as our own modules do. Others get all
        rows, and a mask on their routers' scores.
    router : Router, optional
        Adds to what the module's routers score.
    """

    module: nn.Module
    layout: Layout
    top_k: int
    sliceable: bool
    router: Router | None = None

    @property
    def n_experts(self) -> int:
        """Return the number of experts of each layer."""
        return self.layout.n_experts

    @property
    def n_layers(self) -> int:
        """Return the number of MoE layers."""
        return self.layout.n_layers

    @property
    def total_experts(self) -> int:
        """Return the number of experts in all layers."""
        return self.layout.total_experts

    @cached_property
    def ndim(self) -> dict[str, int]:
        """Return the number of axes of every parameter, as from `initial`."""
        return {name: value.ndim for name, value in self.initial().items()}

    def initial(self) -> Params:
        """Return copies of the module's parameters, experts along the first axis."""
        found = self.layout.rows(dict(self.module.named_parameters()))
        return {name: value.detach().clone() for name, value in found.items()}

    def router_inputs(self, params: Mapping[str, Tensor], batch: Tensor) -> list[Tensor]:
        """Return what every layer's router is given, float (examples or tokens, H)."""
        tensors = self.layout.tensors(params)
        with Routing(self, tensors, None, False, batch) as routing:
            torch.func.functional_call(self.module, tensors, (batch,))
        seen: list[Tensor] = routing.seen
        return seen

    def run(
        self, params: Mapping[str, Tensor], batch: Tensor, allowed: Allowed = None,
        observed: bool = True,
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Return what the module makes of a batch, and how it used its experts.

        Parameters
        ----------
        params : mapping of str to Tensor
            As from `initial`, with all rows or, where sliceable, some.
        batch : Tensor
            Examples.
        allowed : sequence of Tensor, optional
            For every layer bool, shape (S,): rows that may be used.
        observed : bool
            Whether to measure `usage`; it is empty otherwise.

        Returns
        -------
        output : Tensor
        usage : tuple of Tensor
            For every layer float, shape (S,): the mean weight of every row.
        """
        tensors = self.layout.tensors(params)
        with Routing(self, tensors, allowed, observed, batch) as routing:
            output: Any = torch.func.functional_call(self.module, tensors, (batch,))
        if not isinstance(output, Tensor):
            output = output.logits if hasattr(output, "logits") else output[0]
        return output, tuple(routing.usage)


class Routing(TorchFunctionMode):
    """Masks what routers score, and notes what they choose.

    A router is known by its weights: whatever module it is, it multiplies by them with
    `torch.nn.functional.linear`.
    """

    def __init__(
        self, model: ExpertModel, tensors: Mapping[str, Tensor], allowed: Allowed,
        observed: bool, batch: Tensor,
    ) -> None:
        super().__init__()
        self._router, self._batch = model.router, batch
        #: What routers were given, (examples or tokens, H) of every layer.
        self.seen: list[Tensor] = [torch.empty(0)] * len(model.layout.routers)
        self._weights = [tensors[name] for name in model.layout.routers]
        self._allowed = allowed
        self._top_k = model.top_k
        self._observed = observed
        self.usage: list[Tensor] = [torch.empty(0)] * len(self._weights)

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        output = func(*args, **(kwargs or {}))
        if func is not F.linear:
            return output
        for layer, weight in enumerate(self._weights):
            if args[1] is weight:
                self.seen[layer] = args[0].detach().flatten(0, -2)
                if self._router is not None:
                    output = output + self._router(layer, self._batch, args[0]).view_as(output)
                if self._allowed is not None:
                    output = output.masked_fill(~self._allowed[layer], -math.inf)
                if self._observed:
                    shares = route(output.detach().flatten(0, -2), self._top_k)
                    self.usage[layer] = shares.mean(dim=0)
        return output
