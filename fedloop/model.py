"""The mixture-of-experts classifier of one client, as functions of named tensors.

Shape legend, used as suffixes of names here and in `fedloop.batched`:

====  ================================================================
B     images in a batch
D     inputs of the trunk: pixels of an image, or channels x height x width
H     width of the trunk, and of every MoE layer but the last one's output
E     experts of a layer; S of them where a client holds only some
F     width inside an expert
O     outputs of an expert: H, or in the last layer C
C     classes
N, P  clients, and (client, expert) pairs of a layer (`fedloop.batched`)
====  ================================================================

    image_BD -> trunk -> h_BH -> MoE layer, ..., MoE layer -> logit_BC

A layer's gate scores the experts that are held, keeps the `top_k` best and mixes
their outputs by a softmax over these scores. Layers before the last add the
mixture to their input; the last one's mixture is the logits, so nothing but
the trunk is common to all clients and experts have to do the work.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

Params = dict[str, Tensor]

#: Channels of the two convolutions of the CNN trunk.
CHANNELS = (8, 16)

#: The parts of an expert, in the order in which they act.
EXPERT_PARTS = ("in.weight", "in.bias", "out.weight", "out.bias")


@dataclass(frozen=True)
class ModelSpec:
    """Sizes of a model.

    Attributes
    ----------
    image_shape : tuple of int
        Channels, height and width of an image, in pixels.
    n_classes : int
        C.
    n_experts : int
        E, experts of each MoE layer.
    n_layers : int
        MoE layers. Expert j of layer l has the number ``l * n_experts + j``.
    trunk : {"mlp", "cnn"}
        One linear layer, or two strided convolutions and one linear layer.
    width, expert_width : int
        H and F.
    top_k : int
        Most experts of a layer that an image is sent to.
    """

    image_shape: tuple[int, int, int]
    n_classes: int
    n_experts: int
    n_layers: int = 1
    trunk: Literal["mlp", "cnn"] = "mlp"
    width: int = 64
    expert_width: int = 32
    top_k: int = 2

    @property
    def total_experts(self) -> int:
        """Return the number of experts in all layers."""
        return self.n_experts * self.n_layers

    def outputs(self, layer: int) -> int:
        """Return O of a layer."""
        return self.n_classes if layer == self.n_layers - 1 else self.width

    @property
    def flat_features(self) -> int:
        """Return the inputs of the trunk's linear layer."""
        channels, height, width = self.image_shape
        if self.trunk == "mlp":
            return channels * height * width
        for _ in CHANNELS:  # a 3 x 3 convolution of stride 2 and padding 1
            height, width = (height + 1) // 2, (width + 1) // 2
        return CHANNELS[-1] * height * width


def init_params(spec: ModelSpec, seed: int) -> Params:
    """Draw the parameters of a whole model, as `torch.nn.Linear` draws its own.

    Parameters
    ----------
    spec : ModelSpec
        Sizes.
    seed : int
        Seed; the same on every machine.

    Returns
    -------
    dict of str to Tensor
        float32: ``trunk.*``; for every layer l ``gate.l.weight`` (E, H) and
        ``experts.l.*`` with a leading axis of length E.
    """
    generator = torch.Generator().manual_seed(seed)

    def uniform(*shape: int, fan_in: int) -> Tensor:
        bound = 1 / math.sqrt(fan_in)
        return torch.empty(shape).uniform_(-bound, bound, generator=generator)

    params: Params = {}
    if spec.trunk == "cnn":
        inputs = spec.image_shape[0]
        for number, channels in enumerate(CHANNELS):
            fan_in = 9 * inputs
            params[f"trunk.conv{number}.weight"] = uniform(channels, inputs, 3, 3, fan_in=fan_in)
            params[f"trunk.conv{number}.bias"] = uniform(channels, fan_in=fan_in)
            inputs = channels
    flat = spec.flat_features
    params["trunk.linear.weight"] = uniform(spec.width, flat, fan_in=flat)
    params["trunk.linear.bias"] = uniform(spec.width, fan_in=flat)
    for layer in range(spec.n_layers):
        e, h, f, o = spec.n_experts, spec.width, spec.expert_width, spec.outputs(layer)
        params[f"gate.{layer}.weight"] = uniform(e, h, fan_in=h)
        shapes = ((e, f, h), (e, f), (e, o, f), (e, o))
        for part, shape in zip(EXPERT_PARTS, shapes, strict=True):
            fan_in = h if part.startswith("in") else f
            params[f"experts.{layer}.{part}"] = uniform(*shape, fan_in=fan_in)
    return params


def trunk_names(params: Mapping[str, Tensor]) -> list[str]:
    """Return the names of the parameters that every client trains."""
    return [name for name in params if name.startswith("trunk.")]


def layer_names(layer: int) -> list[str]:
    """Return the names of the parameters of a layer that have a row per expert."""
    return [f"gate.{layer}.weight"] + [f"experts.{layer}.{part}" for part in EXPERT_PARTS]


def route(logit: Tensor, top_k: int, dim: int) -> Tensor:
    """Return the weights of experts: a softmax over the `top_k` best scores.

    Parameters
    ----------
    logit : Tensor
        float32 scores; -inf where an expert is not held. No slice may be
        -inf throughout.
    top_k : int
        Most experts with a weight above zero.
    dim : int
        The axis of the experts.

    Returns
    -------
    Tensor
        float32, the shape of `logit`, sums to 1 along `dim`.
    """
    if top_k < logit.shape[dim]:
        best = logit.topk(top_k, dim=dim).indices
        kept = torch.zeros_like(logit, dtype=torch.bool).scatter(dim, best, True)
        logit = logit.masked_fill(~kept, -math.inf)
    return logit.softmax(dim=dim)


def run_trunk(params: Mapping[str, Tensor], image: Tensor, spec: ModelSpec) -> Tensor:
    """Return h_BH of images (B, channels, height, width)."""
    h = image
    if spec.trunk == "cnn":
        for number in range(len(CHANNELS)):
            weight, bias = (params[f"trunk.conv{number}.{part}"] for part in ("weight", "bias"))
            h = F.conv2d(h, weight, bias, stride=2, padding=1).relu()
    h = h.flatten(1)
    return F.linear(h, params["trunk.linear.weight"], params["trunk.linear.bias"]).relu()


def run_expert(params: Mapping[str, Tensor], layer: int, row: int, h_BH: Tensor) -> Tensor:
    """Return the outputs y_BO of the expert in one row of a layer's parameters."""
    w_in, b_in, w_out, b_out = (
        params[f"experts.{layer}.{part}"][row] for part in EXPERT_PARTS
    )
    return F.linear(F.linear(h_BH, w_in, b_in).relu(), w_out, b_out)


def forward(
    params: Mapping[str, Tensor],
    image: Tensor,
    spec: ModelSpec,
    held: list[Tensor] | None = None,
) -> tuple[Tensor, list[Tensor]]:
    """Return logits and the weights of experts.

    Parameters
    ----------
    params : mapping of str to Tensor
        As from `init_params`, with all experts or only the rows of those held.
        A gate may have a leading axis B: a gate of its own for every image.
    image : Tensor
        float32, shape (B, channels, height, width).
    spec : ModelSpec
        Sizes.
    held : list of Tensor, optional
        For every layer bool, shape (B, E): which experts an image may be sent
        to. None allows every row.

    Returns
    -------
    logit_BC : Tensor
        float32.
    weights : list of Tensor
        For every layer weight_BE, float32.
    """
    return run_layers(params, run_trunk(params, image, spec), spec, held)


def run_layers(
    params: Mapping[str, Tensor], h_BH: Tensor, spec: ModelSpec,
    held: list[Tensor] | None = None, first: list[Tensor] | None = None,
) -> tuple[Tensor, list[Tensor]]:
    """Return what `forward` returns, from the trunk's output.

    Parameters
    ----------
    params, spec, held
        As for `forward`.
    h_BH : Tensor
        float32, from `run_trunk`.
    first : list of Tensor, optional
        What the first layer's experts make of `h_BH`, from `run_experts`, where known.
    """
    weights = []
    for layer in range(spec.n_layers):
        gate = params[f"gate.{layer}.weight"]
        form = "bh,eh->be" if gate.ndim == 2 else "bh,beh->be"
        logit_BE = torch.einsum(form, h_BH, gate)
        if held is not None:
            logit_BE = logit_BE.masked_fill(~held[layer], -math.inf)
        weight_BE = route(logit_BE, spec.top_k, dim=1)
        weights.append(weight_BE)
        outputs = first if layer == 0 else None
        if outputs is None:
            outputs = run_experts(params, layer, h_BH)
        total = mix(weight_BE, outputs)
        h_BH = total if layer == spec.n_layers - 1 else h_BH + total
    return h_BH, weights


def run_experts(params: Mapping[str, Tensor], layer: int, h_BH: Tensor) -> list[Tensor]:
    """Return the outputs y_BO of every expert of a layer."""
    rows = range(len(params[f"experts.{layer}.{EXPERT_PARTS[0]}"]))
    return [run_expert(params, layer, row, h_BH) for row in rows]


def mix(weight_BE: Tensor, outputs: list[Tensor]) -> Tensor:
    """Return the sum of experts' outputs, weighted."""
    total = weight_BE[:, 0, None] * outputs[0]
    for row, y_BO in enumerate(outputs[1:], start=1):
        total = total + weight_BE[:, row, None] * y_BO
    return total
