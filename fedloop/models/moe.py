"""The parts of our own models: router, experts, and the layer made of both.

Shape legend, used as suffixes of names in `fedloop.models` and `fedloop.local`:

====  ================================================================
B     examples, or bytes of texts, in a batch
D     inputs of a linear layer: pixels of an image, or channels x height x width
H     width of the trunk, and of every MoE layer but the last one's output
E     experts of a layer; S of them where a client holds only some
F     width inside an expert
O     outputs of an expert: H, or in the last layer of a classifier C
C     classes
T     bytes in a window of text
N, P  clients, and (client, expert) pairs of a layer (`fedloop.local`)
====  ================================================================

Every tensor that has a row for each expert has the axis of experts first, and no part
asks how many rows there are: a module with the rows that a client holds is a smaller
model of the same kind. Weights are stored as (inputs, outputs), so that the products of
many clients' matrices, and their derivatives, lie in memory in one order.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn


def uniform(*shape: int, fan_in: int, generator: Generator) -> Tensor:
    """Draw weights as `torch.nn.Linear` does: from -1 to 1 over the square root of fan_in."""
    bound = 1 / math.sqrt(fan_in)
    return torch.empty(shape).uniform_(-bound, bound, generator=generator)


def route(logit: Tensor, top_k: int) -> Tensor:
    """Return the weights of experts: a softmax over the `top_k` best scores.

    Parameters
    ----------
    logit : Tensor
        Scores, shape (..., E); -inf where an expert is not held. No row may be -inf
        throughout.
    top_k : int
        Most experts with a weight above zero.

    Returns
    -------
    Tensor
        The shape and type of `logit`, sums to 1 along the last axis.
    """
    if top_k < logit.shape[-1]:
        best = logit.topk(top_k, dim=-1).indices
        kept = torch.zeros_like(logit, dtype=torch.bool).scatter(-1, best, True)
        logit = logit.masked_fill(~kept, -math.inf)
    return logit.softmax(dim=-1)


class Linear(nn.Module):
    """A linear layer, y_BO = x_BD @ weight_DO + bias_O."""

    def __init__(self, inputs: int, outputs: int, generator: Generator) -> None:
        super().__init__()
        drawn = uniform(outputs, inputs, fan_in=inputs, generator=generator)
        self.weight = nn.Parameter(drawn.T.contiguous())
        self.bias = nn.Parameter(uniform(outputs, fan_in=inputs, generator=generator))

    def forward(self, x_BD: Tensor) -> Tensor:
        """Return y_BO."""
        return F.linear(x_BD, self.weight.mT, self.bias)


class Experts(nn.Module):
    """Networks of one hidden layer each, one per row: in_EHF, in_bias_EF, out_EFO, out_bias_EO."""

    def __init__(
        self, n_experts: int, width: int, inside: int, outputs: int, generator: Generator
    ) -> None:
        super().__init__()
        e, h, f, o = n_experts, width, inside, outputs
        drawn = [uniform(*shape, fan_in=fan_in, generator=generator)
                 for shape, fan_in in (((e, f, h), h), ((e, f), h), ((e, o, f), f), ((e, o), f))]
        self.in_weight = nn.Parameter(drawn[0].mT.contiguous())
        self.in_bias = nn.Parameter(drawn[1])
        self.out_weight = nn.Parameter(drawn[2].mT.contiguous())
        self.out_bias = nn.Parameter(drawn[3])

    def forward(self, h_BH: Tensor, weight_BE: Tensor) -> Tensor:
        """Return the sum of the experts' outputs, weighted, mix_BO."""
        inner_EBF = (h_BH @ self.in_weight + self.in_bias[:, None]).relu()
        y_EBO = inner_EBF @ self.out_weight + self.out_bias[:, None]
        return (weight_BE.T[:, :, None] * y_EBO).sum(dim=0)


class MoELayer(nn.Module):
    """Mixes the `top_k` experts that the router scores best, by a softmax over these scores."""

    def __init__(
        self, width: int, n_experts: int, inside: int, outputs: int, top_k: int,
        generator: Generator,
    ) -> None:
        super().__init__()
        self.top_k = top_k
        # Scores the experts: logit_BE = h_BH @ weight_EH.T.
        self.router = nn.Linear(width, n_experts, bias=False, device="meta")
        self.router.weight = nn.Parameter(
            uniform(n_experts, width, fan_in=width, generator=generator))
        self.experts = Experts(n_experts, width, inside, outputs, generator)

    def forward(self, h_BH: Tensor) -> Tensor:
        """Return mix_BO."""
        mix: Tensor = self.experts(h_BH, route(self.router(h_BH), self.top_k))
        return mix
