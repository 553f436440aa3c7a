"""A step of gradient descent of many clients at once, its derivatives written out.

The same step as `torch.autograd` gives on `fedloop.model`, whose legend of shapes
holds here. Written out, a weight's derivative is added to the weight by the very
product of matrices that computes it, and never stored: local training spends most
of its time on moving parameters, not on arithmetic.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from fedloop.batched import (
    LayerPass,
    Pairs,
    linear,
    run_convolutions,
    run_layers,
)
from fedloop.config import LocalSettings
from fedloop.model import ModelSpec, Params


@torch.no_grad()
def descend(
    stacked: Params, sent: Mapping[str, Tensor] | None, image: Tensor, label_NB: Tensor,
    pairs: Sequence[Pairs], spec: ModelSpec, settings: LocalSettings,
) -> tuple[Tensor, list[Tensor]]:
    """Make one step of gradient descent on every client's mean loss, in place.

    Parameters
    ----------
    stacked : dict of str to Tensor
        The clients' parameters, as from `fedloop.batched.send`; changed.
    sent : mapping of str to Tensor, or None
        What they were sent, towards which FedProx pulls; None for FedAvg.
    image : Tensor
        float32, shape (N, B, channels, height, width).
    label_NB : Tensor
        int64.
    pairs : sequence of Pairs
        One per layer.
    spec, settings : ModelSpec, LocalSettings
        Sizes; step size and weight of FedProx.

    Returns
    -------
    loss_N : Tensor
        float32: mean loss of every client before the step.
    weights : list of Tensor
        For every layer weight_PB, float32.
    """
    step = _Step(stacked, sent, settings)
    with torch.enable_grad():
        kernels = {name: stacked[name].detach().requires_grad_()
                   for name in stacked if name.startswith("trunk.conv")}
        flat_NBD = run_convolutions(kernels, image, spec)
    trunk = "trunk.linear"
    h_NBH = linear(flat_NBD.detach(), stacked[f"{trunk}.weight"],
                   stacked[f"{trunk}.bias"]).relu_()
    logit_NBC, passes = run_layers(stacked, h_NBH, pairs, spec)
    loss_NB, slope_NBC = _losses_and_slopes(logit_NBC, label_NB)

    slope = slope_NBC / label_NB.shape[1]
    for layer in reversed(range(spec.n_layers)):
        through = _layer_back(step, layer, slope, passes[layer], pairs[layer])
        slope = through if layer == spec.n_layers - 1 else slope + through
    slope_NBH = torch.ops.aten.threshold_backward(slope, h_NBH, 0)
    if kernels:
        slope_NBD = torch.bmm(slope_NBH, stacked[f"{trunk}.weight"])
        slopes = torch.autograd.grad(flat_NBD, list(kernels.values()), slope_NBD)
        for name, value in zip(kernels, slopes, strict=True):
            step.plain(name, value)
    step.linear(trunk, slope_NBH, flat_NBD.detach())
    return loss_NB.mean(dim=1), [done.weight for done in passes]


def _losses_and_slopes(logit_NBC: Tensor, label_NB: Tensor) -> tuple[Tensor, Tensor]:
    """Return every image's cross entropy, loss_NB, and its derivative, slope_NBC."""
    # A softmax over an axis that is not the last is several times faster for few classes.
    log_NCB = logit_NBC.transpose(1, 2).contiguous().log_softmax(dim=1)
    label_N1B = label_NB[:, None]
    slope_NCB = log_NCB.exp()
    slope_NCB.scatter_add_(1, label_N1B, slope_NCB.new_full((), -1.0).expand(label_N1B.shape))
    return -log_NCB.gather(1, label_N1B)[:, 0], slope_NCB.transpose(1, 2)


def _layer_back(
    step: _Step, layer: int, slope_NBO: Tensor, done: LayerPass, pair: Pairs
) -> Tensor:
    """Move a layer's parameters, and return the derivative by its input, through its experts."""
    name, gate_PH = f"experts.{layer}", step.stacked[f"gate.{layer}.weight"]
    slope_PBO = slope_NBO.index_select(0, pair.client)
    by_weight_PB = (slope_PBO * done.outputs).sum(dim=2)
    slope_y_PBO = done.weight[:, :, None] * slope_PBO
    slope_inner_PBF = torch.ops.aten.threshold_backward(
        torch.bmm(slope_y_PBO, step.stacked[f"{name}.out.weight"]), done.inner, 0)
    slope_h_PBH = torch.bmm(slope_inner_PBF, step.stacked[f"{name}.in.weight"])
    if pair.n_slots > 1:
        # Softmax: every weight times how much its derivative exceeds their weighted mean.
        part_PB = done.weight * by_weight_PB
        mean_NB = part_PB.new_zeros(slope_NBO.shape[:2]).index_add_(0, pair.client, part_PB)
        slope_PB = part_PB - done.weight * mean_NB.index_select(0, pair.client)
        slope_h_PBH.addcmul_(slope_PB[:, :, None], gate_PH[:, None])
        by_gate_PH = torch.bmm(slope_PB[:, None], done.inputs)[:, 0]
    else:
        by_gate_PH = torch.zeros_like(gate_PH)
    step.plain(f"gate.{layer}.weight", by_gate_PH)
    step.linear(f"{name}.out", slope_y_PBO, done.inner)
    step.linear(f"{name}.in", slope_inner_PBF, done.inputs)
    shape = (*slope_NBO.shape[:2], slope_h_PBH.shape[2])
    return slope_h_PBH.new_zeros(shape).index_add_(0, pair.client, slope_h_PBH)


class _Step:
    """Moves parameters against their derivatives, and towards what was sent."""

    def __init__(
        self, stacked: Params, sent: Mapping[str, Tensor] | None, settings: LocalSettings
    ) -> None:
        self.stacked, self.sent, self.rate = stacked, sent, settings.learning_rate
        self.pull = settings.learning_rate * settings.prox

    def plain(self, name: str, slope: Tensor) -> None:
        """Move a parameter, given its derivative."""
        value = self.stacked[name]
        if self.sent is not None:
            value.lerp_(self.sent[name], self.pull)
        value.sub_(slope, alpha=self.rate)

    def linear(self, name: str, slope_KBO: Tensor, input_KBI: Tensor) -> None:
        """Move linear layers, given the derivatives by their outputs, and their inputs."""
        weight = self.stacked[f"{name}.weight"]
        if self.sent is not None:
            weight.lerp_(self.sent[f"{name}.weight"], self.pull)
        weight.baddbmm_(slope_KBO.transpose(1, 2), input_KBI, alpha=-self.rate)
        self.plain(f"{name}.bias", slope_KBO.sum(dim=1))
