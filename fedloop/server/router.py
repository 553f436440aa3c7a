"""A router of all experts in closed form, from sums that clients add up.

Routers that clients train see only the experts that their client holds, and their average sends
examples to the wrong ones. Here every layer's router is a linear discriminant analysis [1]_:
which experts suit which clients is known to the server, and what examples of these clients look
like is told by sums over all clients:

    n_e = sum_i q_ie n_i      m_e = sum_i q_ie (sum of x)      S = sum_i (sum of x x')

with q_i the weights of experts for client i, which add up to 1, and x an example's features. With
the means ``u_e = m_e / n_e``, shares ``p_e = n_e / n`` and the covariance within,
``C = S / n - sum_e p_e u_e u_e'``, shrunk towards its mean variance [2]_, the logarithms of
posteriors are, but for a constant, ``x' C**-1 u_e - u_e' C**-1 u_e / 2 + log p_e``. They are added
to what the trained router scores: the sums tell whose examples these are like, the trained router
which of their experts suits this one.

The sums are additive: one round of them is enough, and secure aggregation can hide who sent
what. Our own is what the classes are: experts, weighted by the tracker's fitness.

What they reveal. S is the second moment of all examples together, and of one client's if it is
not added up securely: principal directions of its data, of few examples the examples themselves.

References
----------
.. [1] T. Hastie, R. Tibshirani, J. Friedman, "The Elements of Statistical Learning", 2009,
   section 4.3.
.. [2] J. H. Friedman, "Regularized Discriminant Analysis", JASA 84 (1989),
   doi:10.1080/01621459.1989.10478752.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from fedloop.models.expert_model import ExpertModel
from fedloop.tasks.base import Examples

#: Most features of an example; more are projected at random.
MOST = 512

#: Most examples of a client that enter the sums, and most features' rows made of them.
EXAMPLES, ROWS = 128, 2048

#: Share of the mean variance in the covariance.
SHRINKAGE = 0.05

#: Difference of fitness at which an expert weighs 1/e of a better one.
TEMPERATURE = 0.2

#: Last part of the seed of the projection.
STREAM = 9


@dataclass(frozen=True)
class ClosedFormRouter:
    """Linear scores of an example's features; a `fedloop.models.expert_model.Router`.

    Attributes
    ----------
    weight : list of Tensor
        For every layer float32, shape (E, D).
    bias : list of Tensor
        For every layer float32, shape (E,).
    projection : dict of int to Tensor
        By number of features, where there are more than 512 of them: float32, shape
        (features, D), what they are multiplied by.
    of_input : bool
        Whether features are an example itself, or what the layer's router is given.
    """

    weight: list[Tensor]
    bias: list[Tensor]
    projection: dict[int, Tensor]
    of_input: bool

    def __call__(self, layer: int, batch: Tensor, hidden: Tensor) -> Tensor:
        """Return scores (..., E) of what the layer is given (..., H), made of a batch."""
        x = (batch.flatten(1) if self.of_input else hidden).float()
        if x.shape[1] in self.projection:
            x = x @ self.projection[x.shape[1]]
        score = x @ self.weight[layer].T + self.bias[layer]
        if self.of_input:  # every token of an example has its score
            score = score.repeat_interleave(hidden.flatten(0, -2).shape[0] // len(batch), dim=0)
        # Half precision keeps the digits of numbers near 0.
        return (score - score.amax(dim=-1, keepdim=True)).to(hidden.dtype)


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
def closed_form_router(
    model: ExpertModel, server: Mapping[str, Tensor], data: Examples, weights: np.ndarray,
    seed: int,
) -> ClosedFormRouter:
    """Return the router from all clients' sums.

    Parameters
    ----------
    model : ExpertModel
        Whose experts are scored.
    server : mapping of str to Tensor
        Its parameters; routers that are personal are not used.
    data : Examples
        Training examples; up to 128 of every client count.
    weights : ndarray
        float64, shape (clients, layers, E): from `client_weights`.
    seed : int
        Draws the projection where there are more than 512 features.

    Notes
    -----
    Images are their own features: what clients train together need not tell their domains
    apart. Of text, features are what a layer's router is given.
    """
    of_input = data.input.is_floating_point()
    params = {name: value[0] if value.ndim > model.ndim[name] else value
              for name, value in server.items()}
    projection: dict[int, Tensor] = {}
    sums: list[list[Tensor]] = [[] for _ in range(model.n_layers)]
    for client in range(len(weights)):
        first, size = int(data.first[client]), min(data.size(client), EXAMPLES)
        batch = data.input[first:first + size]
        seen = [batch.flatten(1).float()] * model.n_layers if of_input else [
            part[:: -(-len(part) // ROWS)].float() for part in model.router_inputs(params, batch)]
        for layer, x in enumerate(seen):
            size = x.shape[1]
            if size > MOST:
                if size not in projection:
                    projection[size] = projected(size, seed).to(x)
                x = x @ projection[size]
            x = x.double()
            q = torch.from_numpy(weights[client, layer]).to(x)
            mine = [q * len(x), q[:, None] * x.sum(dim=0), x.T @ x]
            before = sums[layer] or [torch.zeros_like(part) for part in mine]
            sums[layer] = [a + b for a, b in zip(before, mine, strict=True)]
    found = [discriminant(*parts) for parts in sums]
    return ClosedFormRouter([w for w, _ in found], [b for _, b in found], projection, of_input)


def projected(size: int, seed: int) -> Tensor:
    """Return a random projection of so many features, float32, shape (size, 512)."""
    generator = torch.Generator().manual_seed(seed * 16 + STREAM)
    normal = torch.randn(size, MOST, generator=generator)
    return normal / math.sqrt(size)


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
