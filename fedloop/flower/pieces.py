"""Parameters of fedloop's own experiment in pieces of one expert each, as they travel."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from fedloop.flower.messages import Parameters
from fedloop.models.expert_model import ExpertModel


def pieces_of(
    spec: ExpertModel, params: Mapping[str, Tensor], held: Iterable[int]
) -> Parameters:
    """Return parameters with the rows of every expert apart, as they travel."""
    found: Parameters = {}
    for name, value in params.items():
        layer = spec.layout.layer_of.get(name)
        if layer is None:
            found[name] = value
        else:
            own = sorted(expert for expert in held if expert // spec.n_experts == layer)
            found |= {f"{name}@{expert}": row for expert, row in zip(own, value, strict=True)}
    return found


def params_of(spec: ExpertModel, pieces: Mapping[str, Tensor], held: Iterable[int]) -> Parameters:
    """Return pieces together again, in the type of the model's parameters."""
    found: Parameters = {}
    for name, like in spec.initial().items():
        layer = spec.layout.layer_of.get(name)
        value = pieces[name] if layer is None else torch.stack([
            pieces[f"{name}@{expert}"] for expert in sorted(held)
            if expert // spec.n_experts == layer])
        found[name] = value.to(like.dtype)
    return found
