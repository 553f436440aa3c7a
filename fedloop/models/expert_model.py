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

from fedloop.errors import ConfigError
from fedloop.models.layout import Layout, Params
from fedloop.models.moe import route

#: For every layer bool, shape (..., E or S): which rows may be used; None allows all.
Allowed = Sequence[Tensor] | None


class Router(Protocol):
    """Scores the experts of a layer."""

    def __call__(self, layer: int, batch: Tensor, hidden: Tensor) -> Tensor:
        """Return scores (..., E) of what the layer is given (..., H), made of a batch."""


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
    balance_weight : float
        Weight of the load-balancing loss [1]_ in training, such as ``router_aux_loss_coef``
        of transformers; 0 for none.
    router : Router, optional
        Adds to what the module's routers score.

    References
    ----------
    .. [1] W. Fedus, B. Zoph, N. Shazeer, "Switch Transformers", JMLR 23(120), 2022,
       arXiv:2101.03961, equations 4 to 6.
    """

    module: nn.Module
    layout: Layout
    top_k: int
    sliceable: bool
    balance_weight: float = 0.0
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
        """Return copies of the parameters that are trained, experts along the first axis.

        Others, such as those under adapters, stay as the module has them, and never travel.
        """
        found = self.layout.rows({name: value for name, value in self.module.named_parameters()
                                  if value.requires_grad})
        return {name: value.detach().clone() for name, value in found.items()}

    def own_rows(self, params: Mapping[str, Tensor], rows: int | slice | Sequence[int]) -> Params:
        """Return parameters of which what differs between clients is cut to some of them."""
        return {name: value[rows] if value.ndim > self.ndim[name] else value
                for name, value in params.items()}

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
    ) -> tuple[Tensor, tuple[Tensor, ...], Tensor]:
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
            Whether to measure `usage` and `balance`; they are empty and 0 otherwise.

        Returns
        -------
        output : Tensor
        usage : tuple of Tensor
            For every layer float, shape (S,): the mean weight of every row.
        balance : Tensor
            The load-balancing loss times its weight, a scalar to be added to the loss.

        Raises
        ------
        ConfigError
            If a router's scores were not met, and so not masked.
        """
        tensors = self.layout.tensors(params)
        with Routing(self, tensors, allowed, observed, batch) as routing:
            output: Any = torch.func.functional_call(self.module, tensors, (batch,))
        if missed := [name for layer, name in enumerate(self.layout.routers)
                      if layer not in routing.met]:
            raise ConfigError(f"no scores are computed from {missed[0]} by a linear function, so "
                              "experts cannot be left out: call torch.nn.functional.linear with it "
                              "as it is, without an adapter")
        if not isinstance(output, Tensor):
            output = output.logits if hasattr(output, "logits") else output[0]
        balance = routing.balance() if self.balance_weight and observed else output.new_zeros(())
        return output, tuple(routing.usage), self.balance_weight * balance


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
        self._weights = [tensors[name] if name in tensors else model.module.get_parameter(name)
                         for name in model.layout.routers]
        self._allowed = allowed
        self._top_k = model.top_k
        self._observed = observed
        self._balanced = observed and model.balance_weight > 0
        self._chosen: list[Tensor] = []
        self._likely: list[Tensor] = []
        self.met: set[int] = set()
        self.usage: list[Tensor] = [torch.empty(0)] * len(self._weights)

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        output = func(*args, **(kwargs or {}))
        if func is not F.linear:
            return output
        for layer, weight in enumerate(self._weights):
            if args[1] is weight:
                self.met.add(layer)
                self.seen[layer] = args[0].detach().flatten(0, -2)
                if self._router is not None:
                    output = output + self._router(layer, self._batch, args[0]).view_as(output)
                if self._allowed is not None:
                    output = output.masked_fill(~self._allowed[layer], -math.inf)
                if self._observed:
                    shares = route(output.detach().flatten(0, -2), self._top_k)
                    self.usage[layer] = shares.mean(dim=0)
                if self._balanced:
                    self._note_balance(output.flatten(0, -2), shares, layer)
        return output

    def _note_balance(self, scores: Tensor, shares: Tensor, layer: int) -> None:
        """Note which share of examples chose each row and how likely it was, rows held first."""
        chosen, likely = (shares > 0).float().mean(dim=0), scores.float().softmax(-1).mean(dim=0)
        if self._allowed is not None:
            order = (~self._allowed[layer]).int().argsort(stable=True)
            chosen, likely = chosen[order], likely[order]
        self._chosen.append(chosen)
        self._likely.append(likely)

    def balance(self) -> Tensor:
        """Return the load-balancing loss of the rows held.

        It is that of transformers for a model without the others: rows held are counted from
        0 in every layer, layers are averaged before the product, and its factor is the number
        of rows held, where a mask alone would leave that of all.
        """
        chosen, likely = (torch.stack(of).mean(dim=0) for of in (self._chosen, self._likely))
        if self._allowed is None:
            held: Tensor | int = len(chosen)
        else:
            held = torch.stack([rows.sum() for rows in self._allowed]).max()
        return held * (chosen * likely).sum()
