"""Restrict a whole model to some experts, by a mask on what its routers compute.

A router scores experts by a linear function. While the mask lasts, scores of experts
that are not held are -inf: a softmax gives them 0, and no gradient reaches them or their
rows. The numbers are those of a sub-model without them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from fedloop.errors import ExpertMapError
from fedloop.expert_map.index import ExpertIndex

#: Functions by which routers compute scores from their rows, or add to scores.
_LINEAR = {F.linear, torch.matmul, torch.mm, torch.addmm, torch.einsum, torch.add,
           Tensor.matmul, Tensor.mm, Tensor.add, Tensor.__matmul__, Tensor.__add__,
           Tensor.__radd__}


@contextmanager
def mask(index: ExpertIndex, model: nn.Module, experts: Iterable[int]) -> Iterator[None]:
    """Route to some experts only, while the context lasts.

    Parameters
    ----------
    index : ExpertIndex
        With the names of the model's own state.
    model : nn.Module
        The whole model.
    experts : iterable of int
        The client's experts; at least one of every layer.

    Raises
    ------
    ExpertMapError
        If a layer is left without experts, if the model lacks a router of the map, or, from
        the model's forward, if a router computes no scores that could be masked.

    Notes
    -----
    The load-balancing loss of transformers multiplies by the number of experts, and would
    be too large by experts over experts held. So routers return scores of the held experts
    only, and the model counts only these: its loss is that of the sub-model. A loss of
    your own needs the factor held / experts.

    A model cannot be masked by two threads at once. With gradient checkpointing, call
    ``backward`` inside the context as well.
    """
    held = held_in_every_layer(index, experts)
    most = max(len(own) for own in held)
    balanced = [module for module in model.modules()
                if {"router_aux_loss_coef", "num_experts"} <= vars(module).keys()]
    with ExitStack() as stack:
        for module in balanced:
            chosen = min(getattr(module, "num_experts_per_tok", 1), most)
            stack.enter_context(_set(module, num_experts=most, num_experts_per_tok=chosen))
        for name, layer in routers(index).items():
            mode = _MaskedScores(index, model, name, layer, held[layer])
            stack.callback(mode.remove)
            if balanced:
                mode.return_held_scores(most)
        yield


def held_in_every_layer(index: ExpertIndex, experts: Iterable[int]) -> list[list[int]]:
    """Return the experts within each layer, at least one; a layer without any has no output."""
    held = index.by_layer(experts)
    for layer, own in zip(index.layers, held, strict=True):
        if not own:
            raise ExpertMapError(f"layer {layer.name!r}: the client holds none of its "
                                 f"{layer.n_experts} experts; give it at least one")
    return held


def routers(index: ExpertIndex) -> dict[str, int]:
    """Return the layer by the name of the module that has the router's rows."""
    return {name.rpartition(".")[0]: entry.layer for name, entry in index.entries.items()
            if entry.router and entry.layer is not None and ".lora_" not in name}


def submodule(model: nn.Module, name: str) -> nn.Module:
    """Return a module of the model."""
    try:
        return model.get_submodule(name)
    except AttributeError:
        raise ExpertMapError(f"the model has no module {name!r}; a map for it has the names in "
                             "memory, not those on disk: ExpertMap.of(model)") from None


class _MaskedScores(TorchFunctionMode):
    """Active while a router runs: sets the scores of experts that are not held to -inf."""

    def __init__(
        self, index: ExpertIndex, model: nn.Module, name: str, layer: int, held: list[int]
    ) -> None:
        super().__init__()
        self._name, self._held = name, held
        self._n_experts = index.layers[layer].n_experts
        self._owner = submodule(model, name)
        refuse_groups(self._owner, name)
        start = f"{name}." if name else ""
        self._names = [tensor.removeprefix(start) for tensor, entry in index.entries.items()
                       if entry.router and tensor.rpartition(".")[0] == name]
        self._rows: list[Tensor] = []
        self._masked = 0
        self._hooks = [
            self._owner.register_forward_pre_hook(self._begin),
            self._owner.register_forward_hook(self._end, prepend=True, always_call=True),
        ]

    def remove(self) -> None:
        """Let the router run as before."""
        for hook in self._hooks:
            hook.remove()

    def return_held_scores(self, most: int) -> None:
        """Leave only the held experts' scores in what the router returns, and -inf up to `most`."""
        def shorten(owner: nn.Module, inputs: object, output: Any) -> Any:
            if isinstance(output, tuple) and output[0].shape[-1] == self._n_experts:
                scores = output[0][..., self._held]
                padding = most - len(self._held)
                return (F.pad(scores, (0, padding), value=-float("inf")), *output[1:])
            return output

        # Recorders of transformers are hooks as well, and must see what this one returns.
        self._hooks.append(self._owner.register_forward_hook(shorten, prepend=True))

    def _begin(self, owner: nn.Module, inputs: object) -> None:
        self._masked = 0
        self._rows = [getattr(owner, name) for name in self._names]
        self.__enter__()  # type: ignore[no-untyped-call]

    def _end(self, owner: nn.Module, inputs: object, output: object) -> None:
        self.__exit__(None, None, None)  # type: ignore[no-untyped-call]
        if output is not None and not self._masked:
            raise ExpertMapError(
                f"{self._name!r} computes no scores that could be masked: no linear function of "
                f"its rows with {self._n_experts} outputs. Use a sub-model")

    def __torch_function__(
        self, func: Callable[..., Any], types: object, args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Call the function; mask what it computes of the router's rows and something else."""
        result = func(*args, **(kwargs or {}))
        if isinstance(result, Tensor) and result.shape[-1:] == (self._n_experts,) and (
                self._scores(func, (*args, *(kwargs or {}).values()))):
            self._masked += 1
            away = torch.ones(self._n_experts, dtype=torch.bool, device=result.device)
            away[self._held] = False
            return result.masked_fill(away, -float("inf"))
        return result

    def _scores(self, func: Callable[..., Any], args: tuple[Any, ...]) -> bool:
        tensors = [arg for arg in args if isinstance(arg, Tensor)]
        if len(tensors) < 2 or func not in _LINEAR:
            return False
        # The weight may be a cast, or an adapted, copy of the rows.
        return any((func is F.linear and tensors[1].shape == rows.shape)
                   or any(arg is rows or arg._base is rows for arg in tensors)
                   for rows in self._rows)


def refuse_groups(router: nn.Module, name: str) -> None:
    """Refuse routers that choose groups of experts first: a client's experts have other groups."""
    groups, chosen = getattr(router, "num_group", 1), getattr(router, "topk_group", 1)
    if groups != chosen:
        raise ExpertMapError(f"{name!r} chooses {chosen} of {groups} groups of experts first; set "
                             "n_group = topk_group = 1 in the model's configuration")


@contextmanager
def _set(module: nn.Module, **values: int) -> Iterator[None]:
    """Set attributes that the module has, while the context lasts."""
    before = {name: getattr(module, name) for name in values if hasattr(module, name)}
    for name in before:
        setattr(module, name, values[name])
    try:
        yield
    finally:
        for name, value in before.items():
            setattr(module, name, value)
