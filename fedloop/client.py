"""What clients do in a round: train what they hold on their own images, and measure it.

`train_plain` trains one client after the other, as a device would; it is the
reference. `train_batched` trains all of them at once and gives the same numbers
within rounding.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from fedloop.batched import (
    Pairs,
    alone,
    pairs_of,
    part_of,
    run_experts,
    run_layers,
    run_trunk_stacked,
    send,
)
from fedloop.config import LocalSettings
from fedloop.descent import descend
from fedloop.model import ModelSpec, Params, forward, layer_names, run_trunk, trunk_names

#: Clients trained together: so many that their parameters stay in a processor's cache.
TOGETHER = 64


@dataclass(frozen=True)
class Images:
    """Images of all clients, one after the other.

    Attributes
    ----------
    image : Tensor
        float32, shape (n, channels, height, width).
    label : Tensor
        int64, shape (n,).
    first : ndarray
        int64, shape (clients + 1,): client i owns images ``first[i]`` to ``first[i + 1] - 1``.
    """

    image: Tensor
    label: Tensor
    first: np.ndarray

    def size(self, client: int) -> int:
        """Return the number of a client's images."""
        return int(self.first[client + 1] - self.first[client])

    def to(self, device: torch.device) -> Images:
        """Return the same on a device."""
        return Images(self.image.to(device), self.label.to(device), self.first)

    def pick(self, chosen: Tensor) -> Tensor:
        """Return images by their positions, an int64 tensor of any shape."""
        picked = self.image.index_select(0, chosen.flatten())
        return picked.view(*chosen.shape, *self.image.shape[1:])


@dataclass(frozen=True)
class Training:
    """What the participants of a round have after training, and what they saw.

    Attributes
    ----------
    clients : tuple of int
        The N participants.
    pairs : list of Pairs
        For every layer who holds what; clients are numbered as in `clients`.
    params : dict of str to Tensor
        As from `fedloop.batched.send`, trained.
    loss : Tensor
        float32, shape (N,): mean loss over the training steps.
    usage : list of Tensor
        For every layer float32, shape (P,): share of the client's training
        images that its gate sent to the expert; sums to 1 over a client's pairs.
    before, after : list of Tensor
        For every layer float32, shape (P, 2): mean loss and accuracy on the
        probe images with this expert as the layer's only one, before and after.
    """

    clients: tuple[int, ...]
    pairs: list[Pairs]
    params: Params
    loss: Tensor
    usage: list[Tensor]
    before: list[Tensor]
    after: list[Tensor]


def draw_batches(
    seed: int, round_: int, client: int, n_images: int, settings: LocalSettings
) -> np.ndarray:
    """Return which of its images a client uses in every step.

    Returns
    -------
    ndarray
        int64, shape (steps, batch_size): permutations of the client's images,
        one after the other, so none is met twice before all were met.
    """
    rng = np.random.default_rng((seed, round_, client))
    wanted = settings.steps * settings.batch_size
    passes = [rng.permutation(n_images) for _ in range(-(-wanted // n_images))]
    drawn = passes[0] if len(passes) == 1 else np.concatenate(passes)
    return drawn[:wanted].reshape(settings.steps, settings.batch_size)


def _chosen_images(
    data: Images, clients: Sequence[int], seed: int, round_: int, settings: LocalSettings
) -> tuple[Tensor, Tensor]:
    """Return the positions of the images of steps (N, steps, B) and of probes (N, probe_images)."""
    steps = np.stack([
        data.first[i] + draw_batches(seed, round_, i, data.size(i), settings) for i in clients
    ])
    sizes = np.array([data.size(i) for i in clients])
    turn = round_ * settings.probe_images + np.arange(settings.probe_images)
    probes = data.first[list(clients)][:, None] + turn % sizes[:, None]
    device = data.image.device
    return torch.from_numpy(steps).to(device), torch.from_numpy(probes).to(device)


def train_batched(
    server: Mapping[str, Tensor], data: Images, clients: Sequence[int],
    held: Sequence[Sequence[int]], spec: ModelSpec, settings: LocalSettings,
    seed: int, round_: int,
) -> Training:
    """Train all participants at once.

    Parameters
    ----------
    server : mapping of str to Tensor
        The whole model. A personal gate has a leading axis of clients.
    data : Images
        Training images.
    clients : sequence of int
        Participants.
    held : sequence of sequence of int
        For every participant its experts, at least one of every layer.
    spec, settings : ModelSpec, LocalSettings
        Sizes, and how to train.
    seed, round_ : int
        With the client's number these decide which images are drawn.

    Returns
    -------
    Training
        The same as `train_plain` returns, within rounding.

    Notes
    -----
    Memory grows with participants x (trunk + experts held).
    """
    pairs = pairs_of(held, spec, data.image.device)
    steps, probes = _chosen_images(data, clients, seed, round_, settings)
    params = send(_rows_of_clients(server, clients), pairs, len(clients))
    parts = []
    for first in range(0, len(clients), TOGETHER):
        some = slice(first, min(first + TOGETHER, len(clients)))
        parts.append(_train_some(
            server, part_of(params, pairs, some), data, steps[some], probes[some],
            [pair.part(some) for pair in pairs], spec, settings,
        ))
    loss, *by_layer = zip(*parts, strict=True)
    usage, before, after = (
        [torch.cat(layer) for layer in zip(*lists, strict=True)] for lists in by_layer
    )
    return Training(tuple(clients), pairs, params, torch.cat(loss), usage, before, after)


@torch.no_grad()
def _train_some(
    server: Mapping[str, Tensor], params: Params, data: Images, steps: Tensor, probes: Tensor,
    pairs: Sequence[Pairs], spec: ModelSpec, settings: LocalSettings,
) -> tuple[Tensor, list[Tensor], list[Tensor], list[Tensor]]:
    """Train some participants in place; return loss, usage, before and after of `Training`."""
    # All have the server's trunk still: one product of matrices in place of one per client.
    probe, label_NB = data.pick(probes), data.label[probes]
    h_NBH = run_trunk(server, probe.flatten(0, 1), spec).view(*probe.shape[:2], spec.width)
    before = _judge(params, h_NBH, label_NB, pairs, spec)
    sent = {name: value.clone() for name, value in params.items()} if settings.prox else None
    total = torch.zeros(len(steps), device=data.image.device)
    usage = [torch.zeros(len(pair.client), device=data.image.device) for pair in pairs]
    for chosen in steps.unbind(dim=1):
        loss_N, weights = descend(params, sent, data.pick(chosen), data.label[chosen], pairs,
                                  spec, settings)
        total += loss_N
        for sums, weight_PB in zip(usage, weights, strict=True):
            sums += weight_PB.mean(dim=1)
    after = _judge(params, run_trunk_stacked(params, probe, spec), label_NB, pairs, spec)
    return total / settings.steps, [sums / settings.steps for sums in usage], before, after


def _rows_of_clients(server: Mapping[str, Tensor], clients: Sequence[int]) -> Params:
    """Return the model with only the participants' personal gates."""
    return {
        name: value[list(clients)] if name.startswith("gate.") and value.ndim == 3 else value
        for name, value in server.items()
    }


def _judge(
    stacked: Mapping[str, Tensor], h_NBH: Tensor, label_NB: Tensor, pairs: Sequence[Pairs],
    spec: ModelSpec,
) -> list[Tensor]:
    """Return for every layer loss and accuracy (P, 2) with one expert as the layer's only one."""
    judged = []
    for layer, pair in enumerate(pairs[:-1]):
        lone, rows = alone(pairs, layer)
        params = {
            name: stacked[name] if number == layer else stacked[name][rows[number]]
            for number in range(spec.n_layers) for name in layer_names(number)
        }
        logit_PBC, _ = run_layers(params, h_NBH.index_select(0, pair.client), lone, spec)
        judged.append(_loss_and_accuracy(logit_PBC, label_NB[pair.client]))
    # An expert alone in the last layer has its output for logits.
    last = pairs[-1]
    h_NBH, _ = run_layers(stacked, h_NBH, pairs[:-1], spec)
    _, logit_PBC = run_experts(stacked, spec.n_layers - 1, h_NBH.index_select(0, last.client))
    return [*judged, _loss_and_accuracy(logit_PBC, label_NB[last.client])]


def _loss_and_accuracy(logit_KBC: Tensor, label_KB: Tensor) -> Tensor:
    """Return mean cross entropy and share of right answers of every batch, (K, 2)."""
    # Reductions over an axis that is not the last are several times faster for few classes.
    logit_KCB = logit_KBC.transpose(1, 2).contiguous()
    loss_KB = F.cross_entropy(logit_KCB, label_KB, reduction="none")
    right_KB = logit_KCB.gather(1, label_KB[:, None])[:, 0] == logit_KCB.amax(dim=1)
    return torch.stack([loss_KB.mean(dim=1), right_KB.float().mean(dim=1)], dim=1)


@dataclass(frozen=True)
class Update:
    """What one client has after training, and what it saw; as in `Training`.

    Attributes
    ----------
    params : dict of str to Tensor
        As from `take`, trained.
    loss : Tensor
        float32, no axes: mean loss over the training steps.
    usage, before, after : list of Tensor
        For every layer float32, shape (S,) and (S, 2), a row for each expert held.
    """

    params: Params
    loss: Tensor
    usage: list[Tensor]
    before: list[Tensor]
    after: list[Tensor]


def train_plain(
    server: Mapping[str, Tensor], data: Images, clients: Sequence[int],
    held: Sequence[Sequence[int]], spec: ModelSpec, settings: LocalSettings,
    seed: int, round_: int,
) -> Training:
    """Train one participant after the other; parameters as for `train_batched`."""
    pairs, rows = pairs_of(held, spec, data.image.device), _rows_of_clients(server, clients)
    trunk = trunk_names(server)
    return join(clients, pairs, [
        train_client(take(rows, pairs, number, trunk), data, client, spec, settings, seed, round_)
        for number, client in enumerate(clients)
    ])


def join(clients: Sequence[int], pairs: list[Pairs], updates: Sequence[Update]) -> Training:
    """Put the updates of participants together; `pairs` numbers them as `clients` does."""
    first = updates[0].params
    params = {
        name: (torch.stack if name in trunk_names(first) else torch.cat)(
            [update.params[name] for update in updates])
        for name in first
    }
    # Per client a list of layers; wanted is per layer a tensor of all clients.
    usage, before, after = (
        [torch.cat(layer) for layer in zip(*lists, strict=True)]
        for lists in zip(*((u.usage, u.before, u.after) for u in updates), strict=True)
    )
    loss = torch.stack([update.loss for update in updates])
    return Training(tuple(clients), pairs, params, loss, usage, before, after)


def take(
    server: Mapping[str, Tensor], pairs: Sequence[Pairs], client: int, trunk: Sequence[str]
) -> Params:
    """Return a copy of what one client holds: the trunk, and its rows of every layer."""
    params = {name: server[name].clone() for name in trunk}
    for layer, pair in enumerate(pairs):
        experts = pair.expert[pair.client == client]
        for name in layer_names(layer):
            value = server[name]
            own = value[client] if name.startswith("gate.") and value.ndim == 3 else value
            params[name] = own[experts]
    return params


def train_client(
    sent: Mapping[str, Tensor], data: Images, client: int, spec: ModelSpec,
    settings: LocalSettings, seed: int, round_: int,
) -> Update:
    """Train one client.

    Parameters
    ----------
    sent : mapping of str to Tensor
        What it was sent, as from `take`.
    data : Images
        Training images; only the client's own are read.
    client : int
        Its number.
    spec, settings, seed, round_
        As for `train_batched`.
    """
    all_steps, all_probes = _chosen_images(data, [client], seed, round_, settings)
    steps, probes = all_steps[0], all_probes[0]
    params = {name: value.clone().requires_grad_() for name, value in sent.items()}
    device = data.image.device
    total = torch.zeros((), device=device)
    usage = [torch.zeros(len(sent[f"gate.{k}.weight"]), device=device)
             for k in range(spec.n_layers)]
    for chosen in steps:
        logit_BC, weights = forward(params, data.image[chosen], spec)
        loss = F.cross_entropy(logit_BC, data.label[chosen])
        slopes = torch.autograd.grad(loss, list(params.values()), materialize_grads=True)
        with torch.no_grad():
            for value, slope, start in zip(params.values(), slopes, sent.values(), strict=True):
                if settings.prox:
                    slope = slope + settings.prox * (value - start)
                value.sub_(slope, alpha=settings.learning_rate)
        total = total + loss.detach()
        usage = [u + w.detach().mean(dim=0) for u, w in zip(usage, weights, strict=True)]
    trained = {name: value.detach() for name, value in params.items()}
    return Update(trained, total / settings.steps, [sums / settings.steps for sums in usage],
                  _judge_one(sent, data, probes, spec), _judge_one(trained, data, probes, spec))


@torch.no_grad()
def _judge_one(
    params: Mapping[str, Tensor], data: Images, probes: Tensor, spec: ModelSpec
) -> list[Tensor]:
    """Return what `_judge` returns, for one client."""
    image, label = data.image[probes], data.label[probes]
    sizes = [len(params[f"gate.{k}.weight"]) for k in range(spec.n_layers)]
    judged = []
    for layer, size in enumerate(sizes):
        rows = []
        for row in range(size):
            held = [torch.ones(1, s, dtype=torch.bool, device=image.device) for s in sizes]
            held[layer] = torch.arange(size, device=image.device)[None] == row
            logit_BC, _ = forward(params, image, spec, held)
            rows.append(_loss_and_accuracy(logit_BC[None], label[None]))
        judged.append(torch.cat(rows))
    return judged
