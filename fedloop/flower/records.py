"""Flower's records of arrays for tensors of every type, and back."""

from __future__ import annotations

from collections.abc import Mapping

from flwr.app import ArrayRecord
from torch import Tensor, nn

from fedloop.flower.messages import Parameters, as_array
from fedloop.payload import unpack


def trainable(model: nn.Module) -> Parameters:
    """Return the parameters that are trained, with their names in the state: what travels.

    Examples
    --------
    >>> import torch
    >>> from fedloop.flower import trainable
    >>> layer = torch.nn.Linear(2, 1)
    >>> layer.bias.requires_grad = False
    >>> list(trainable(layer))
    ['weight']
    """
    return {name: value.detach() for name, value in model.named_parameters()
            if value.requires_grad}


def record_of(state: Mapping[str, Tensor]) -> ArrayRecord:
    """Return tensors as Flower sends them; bfloat16 as raw bytes.

    Examples
    --------
    >>> import torch
    >>> from fedloop.flower import record_of, state_of
    >>> record = record_of({"weight": torch.ones(2, dtype=torch.bfloat16)})
    >>> state_of(record)["weight"].dtype
    torch.bfloat16
    """
    return ArrayRecord({name: as_array(value) for name, value in state.items()})


def state_of(record: ArrayRecord) -> Parameters:
    """Return the tensors of a record, one's own or a trusted one's.

    Examples
    --------
    >>> import torch
    >>> from fedloop.flower import record_of, state_of
    >>> state_of(record_of({"weight": torch.ones(2)}))["weight"].tolist()
    [1.0, 1.0]
    """
    return {name: unpack(array, array) for name, array in record.items()}
