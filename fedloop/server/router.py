"""A router of all experts in closed form, from sums that clients add up.

Routers that clients train see only the experts that their client holds, and their average sends
examples to the wrong ones. Here every layer's router is a linear discriminant analysis [1]_:
which experts suit which clients is known to the server, and what examples of these clients look
like is told by sums over all clients:

    n_e = sum_i q_ie n_i      m_e = sum_i q_ie (sum of z)      S = sum_i (sum of z z')

with q_i the weights of experts for client i, which add up to 1, and z an example's features: its
numbers x and, since no plane tells rotated images apart, rectified random sums ``relu(W x)`` of
x less its mean and over its deviation [2]_. With the means ``u_e = m_e / n_e``, shares
``p_e = n_e / n`` and the covariance within, ``C = S / n - sum_e p_e u_e u_e'``, shrunk towards
its mean variance [3]_, the logarithms of posteriors are, but for a constant,
``z' C**-1 u_e - u_e' C**-1 u_e / 2 + log p_e``. `SHARPNESS` times they are added to what the
trained router scores: the sums tell whose examples these are like, the trained router which of
their experts suits this one.

The sums are additive: one round of them is enough, and secure aggregation can hide who sent
what. Our own is what the classes are: experts, weighted by the tracker's fitness; and the factor,
found by trial: clients of several experts bring their classes nearer to each other than examples
are.

What they reveal. S is the second moment of all examples together, and of one client's if it is
not added up securely: principal directions of its data, of few examples the examples themselves.

References
----------
.. [1] T. Hastie, R. Tibshirani, J. Friedman, "The Elements of Statistical Learning", 2009,
   section 4.3.
.. [2] A. Rahimi, B. Recht, "Weighted Sums of Random Kitchen Sinks", NeurIPS 2008.
.. [3] J. H. Friedman, "Regularized Discriminant Analysis", JASA 84 (1989),
   doi:10.1080/01621459.1989.10478752.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from fedloop.models.expert_model import ExpertModel
from fedloop.tasks.base import Examples

#: Random sums of an example; with more numbers than this, they take the place of its own.
MOST = 512

#: Most images, or tokens, of a client that enter the sums.
ROWS = 2048

#: Share of the mean variance in the covariance.
SHRINKAGE = 0.05

#: Factor of the logarithms of posteriors.
SHARPNESS = 3.0

#: Difference of fitness at which an expert weighs 1/e of a better one.
TEMPERATURE = 0.2

#: Last part of the seed of the random sums.
STREAM = 9


@dataclass(frozen=True)
class ExampleSums:
    """What clients' examples look like.

    Attributes
    ----------
    layers : list of (Tensor, Tensor, Tensor)
        For every layer float64: each client's number of examples or tokens, (clients,), and sum
        of their features, (clients, D); and the sum of ``z z'`` over all clients, (D, D).
    directions : dict of int to Tensor
        By the size of what is routed float32, shape (size, 512): draws the random sums.
    of_input : bool
        Whether an example itself is routed, or what the layer's router is given.
    """

    layers: list[tuple[Tensor, Tensor, Tensor]]
    directions: dict[int, Tensor]
    of_input: bool


@dataclass(frozen=True)
class ClosedFormRouter:
    """Linear scores of an example's features; a `fedloop.models.expert_model.Router`.

    Attributes
    ----------
    weight : list of Tensor
        For every layer float32, shape (E, D).
    bias : list of Tensor
        For every layer float32, shape (E,).
    directions, of_input
        As in `ExampleSums`.
    """

    weight: list[Tensor]
    bias: list[Tensor]
    directions: dict[int, Tensor]
    of_input: bool

    def __call__(self, layer: int, batch: Tensor, hidden: Tensor) -> Tensor:
        """Return scores (..., E) of what the layer is given (..., H), made of a batch."""
        x = (batch.flatten(1) if self.of_input else hidden).float()
        score = features(x, self.directions[x.shape[-1]]) @ self.weight[layer].T + self.bias[layer]
        if self.of_input:  # every token of an example has its score
            score = score.repeat_interleave(hidden.flatten(0, -2).shape[0] // len(batch), dim=0)
        # Half precision keeps the digits of numbers near 0.
        return (score - score.amax(dim=-1, keepdim=True)).to(hidden.dtype)


def features(x: Tensor, directions: Tensor) -> Tensor:
    """Return the features (..., D) of what is routed, float32 (..., size)."""
    sums = F.layer_norm(x, x.shape[-1:]) @ directions
    return torch.cat([x if x.shape[-1] <= MOST else x @ directions, sums.relu()], dim=-1)


def client_weights(fitness: np.ndarray, candidates: np.ndarray, n_layers: int) -> np.ndarray:
    """Return the weights q of experts for clients: a softmax of fitness over candidates.

    Parameters
    ----------
    fitness : ndarray
        float64, shape (clients, experts of all layers).
    candidates : ndarray
        bool, the same shape: experts that suit the client; of every layer one at least.

    Returns
    -------
    ndarray
        float64, shape (clients, layers, E); sums to 1 along the last axis.
    """
    shape = (len(fitness), n_layers, -1)
    score = np.where(candidates, fitness / TEMPERATURE, -np.inf).reshape(shape)
    above = np.exp(score - score.max(axis=2, keepdims=True))
    weight: np.ndarray = above / above.sum(axis=2, keepdims=True)
    return weight


@torch.no_grad()
def example_sums(
    model: ExpertModel, server: Mapping[str, Tensor], data: Examples, seed: int
) -> ExampleSums:
    """Return the sums of all clients' examples.

    Parameters
    ----------
    model : ExpertModel
        Whose experts are scored.
    server : mapping of str to Tensor
        Its parameters; routers that are personal are not used.
    data : Examples
        Training examples.
    seed : int
        Draws the random sums.

    Notes
    -----
    Images are routed by themselves, whatever the model: what clients train together need not
    tell their domains apart. Of text, features are of what a layer's router is given.
    """
    of_input = data.input.is_floating_point()
    params = model.own_rows(server, 0)
    directions: dict[int, Tensor] = {}
    n_routed, each = (1, 1) if of_input else (model.n_layers, data.input[0].numel())
    own: list[list[tuple[Tensor, Tensor]]] = [[] for _ in range(n_routed)]
    square: list[Tensor] = []
    for first, after in zip(data.first[:-1].tolist(), data.first[1:].tolist(), strict=True):
        batch = data.input[first:after:-(-(after - first) * each // ROWS)]
        routed = [batch.flatten(1)] if of_input else model.router_inputs(params, batch)
        for layer, x in enumerate(routed):
            if x.shape[1] not in directions:
                directions[x.shape[1]] = random_directions(x.shape[1], seed).to(x.device)
            z = features(x.float(), directions[x.shape[1]])
            if len(square) == layer:
                square.append(torch.zeros(z.shape[1], z.shape[1], dtype=torch.float64).to(z.device))
            square[layer] += z.T @ z
            z = z.double()
            own[layer].append((z.new_tensor(len(z)), z.sum(dim=0)))
    layers = [(torch.stack([number for number, _ in of]), torch.stack([total for _, total in of]),
               square[layer]) for layer, of in enumerate(own)]
    return ExampleSums(layers * (model.n_layers // n_routed), directions, of_input)


def closed_form_router(sums: ExampleSums, weights: np.ndarray) -> ClosedFormRouter:
    """Return the router from all clients' sums and their weights of experts.

    `weights` are float64, shape (clients, layers, E), from `client_weights`.
    """
    found = []
    for layer, (number, total, square) in enumerate(sums.layers):
        q = torch.from_numpy(weights[:, layer]).to(total)
        found.append(discriminant(number @ q, q.T @ total, square))
    return ClosedFormRouter([SHARPNESS * weight for weight, _ in found],
                            [SHARPNESS * bias for _, bias in found],
                            sums.directions, sums.of_input)


def random_directions(size: int, seed: int) -> Tensor:
    """Return the directions of random sums of so many numbers, float32, shape (size, 512)."""
    generator = torch.Generator().manual_seed(seed * 16 + STREAM)
    return torch.randn(size, MOST, generator=generator) / math.sqrt(size)


def discriminant(number: Tensor, total: Tensor, square: Tensor) -> tuple[Tensor, Tensor]:
    """Return weights (E, D) and biases (E,) of the scores, float32.

    Parameters
    ----------
    number, total, square : Tensor
        float64, shapes (E,), (E, D) and (D, D): the sums n, m and S. An expert without
        examples has the score -inf.
    """
    mean = total / number.clamp_min(1e-12)[:, None]
    share = number / number.sum()
    within = square / number.sum() - (share[:, None] * mean).T @ mean
    size = len(within)
    variance = within.diagonal().sum() / size
    eye = torch.eye(size, dtype=within.dtype, device=within.device)
    within = (1 - SHRINKAGE) * within + (SHRINKAGE * variance + 1e-9) * eye
    weight = torch.linalg.solve(within, mean.T).T
    bias = share.log() - (weight * mean).sum(dim=1) / 2
    return weight.float(), bias.float()
