"""The model that settings name."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from inspect import signature
from operator import attrgetter
from typing import Any

import torch
from torch import nn

from fedloop.config import ModelSettings
from fedloop.errors import ConfigError
from fedloop.models.classifier import Classifier
from fedloop.models.expert_model import ExpertModel
from fedloop.models.language import ByteModel
from fedloop.models.layout import Layout

#: What an example is: channels, height and width of an image, or the bytes of a window.
Shape = tuple[int, ...]


def build_model(
    settings: ModelSettings, shape: Shape, n_classes: int, seed: int,
    module: nn.Module | None = None,
) -> ExpertModel:
    """Return the model of a run.

    Parameters
    ----------
    settings : ModelSettings
        Its name and sizes.
    shape : tuple of int
        Channels, height and width of images, or the bytes of a window of text.
    n_classes : int
        Classes; symbols of a text.
    seed : int
        Draws our own models' parameters, and is `torch.manual_seed` for others.
    module : nn.Module, optional
        A user's own model, in place of the one that is named.

    Raises
    ------
    ConfigError
        If there is no such model, or its experts are not recognised.
    """
    own = module is None and settings.name == "own"
    if module is None:
        module = _named(settings, shape, n_classes, seed)
    if not any(value.requires_grad for value in module.parameters()):
        raise ConfigError("the model has no parameters that require gradients")
    layout = Layout.of(module)
    top_k = settings.top_k if own else min(_top_k(module) or settings.top_k, layout.n_experts)
    weight = getattr(getattr(module, "config", None), "router_aux_loss_coef", None) or 0.0
    return ExpertModel(module.eval(), layout, top_k, own, weight)


def _named(settings: ModelSettings, shape: Shape, n_classes: int, seed: int) -> nn.Module:
    """Return the module of a name."""
    generator = torch.Generator().manual_seed(seed)
    if settings.name == "own":
        if len(shape) == 3:
            return Classifier((shape[0], shape[1], shape[2]), n_classes, settings, generator)
        return ByteModel(shape[0], settings, generator)
    torch.manual_seed(seed)
    build = _imported(settings.name)
    try:
        signature(build).bind(**settings.arguments)
    except TypeError as error:
        raise ConfigError(f"model.arguments: {settings.name}: {error}") from None
    except ValueError:  # what has no signature says itself what is wrong
        pass
    module = build(**settings.arguments)
    if not isinstance(module, nn.Module):
        raise ConfigError(f"model.name: {settings.name} returns {type(module).__name__}, not a "
                          "torch.nn.Module")
    return module


def _imported(path: str) -> Callable[..., Any]:
    """Return what ``package.module:function`` names."""
    place, colon, name = path.partition(":")
    if not (place and colon and name) or place.startswith("."):
        raise ConfigError(f"model.name is {path!r}; give own, or package.module:function")
    try:
        module = import_module(place)
    except ModuleNotFoundError as error:
        raise ConfigError(f"model.name: {path}: there is no module {error.name!r}; "
                          "is its folder on PYTHONPATH?") from None
    try:
        found: Callable[..., Any] = attrgetter(name)(module)
    except AttributeError as error:
        raise ConfigError(f"model.name: {path}: {error}") from None
    if not callable(found):
        raise ConfigError(f"model.name: {path} is no function, but {type(found).__name__}")
    return found


def _top_k(module: nn.Module) -> int | None:
    """Return how many experts a module says that it uses."""
    found = (getattr(part, "top_k", None) for part in module.modules())
    return next((value for value in found if isinstance(value, int)), None)
