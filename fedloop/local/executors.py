"""Train the participants of a round, one client at a time or many at once.

One at a time is the reference, as a device would do it, and what every node of Flower does for
its client. Many at once train in one program, by `torch.vmap` over their parameters, which
gives the same numbers within rounding.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from fedloop.config import LocalSettings
from fedloop.errors import ConfigError
from fedloop.local.batches import positions
from fedloop.local.client import Clients, Training, join, train_clients
from fedloop.local.optimisers import learning_rate
from fedloop.local.pairs import Pairs, pairs_of
from fedloop.local.runners import Alone, Runner
from fedloop.models.expert_model import ExpertModel
from fedloop.tasks.base import Examples, Task

#: Clients trained together: so many that their parameters stay in a processor's cache.
TOGETHER = 64


def train_participants(
    model: ExpertModel, task: Task, server: Mapping[str, Tensor], data: Examples,
    clients: Sequence[int], held: Sequence[Sequence[int]], settings: LocalSettings,
    seed: int, round_: int, batched: bool,
) -> Training:
    """Train all participants.

    Parameters
    ----------
    model, task : ExpertModel, Task
        What is trained, and for what.
    server : mapping of str to Tensor
        The whole model. What differs between clients, such as personal routers, has a
        leading axis of these participants, in their order; see `ExpertModel.own_rows`.
    data : Examples
        Training examples.
    clients : sequence of int
        Participants.
    held : sequence of sequence of int
        For every participant its experts, at least one of every layer.
    settings : LocalSettings
        How to train.
    seed, round_ : int
        With the client's number these decide which examples are drawn.
    batched : bool
        Whether many clients are trained at once.

    Raises
    ------
    ConfigError
        If the model cannot be run for many clients at once.

    Notes
    -----
    Memory grows with participants x (shared parameters + most experts that one holds).
    """
    runner, size = (Runner(model), TOGETHER) if batched else (Alone(model), 1)
    rate, parts = learning_rate(settings, round_), []
    for first in range(0, len(clients), size):
        some = slice(first, first + size)
        sent = _send(model, model.own_rows(server, some), clients[some],
                     pairs_of(model.layout, held[some], data.input.device),
                     *positions(data, clients[some], seed, round_, settings))
        try:
            parts.append(train_clients(runner, task, data, sent, settings, rate))
        except RuntimeError as error:
            if model.sliceable or "vmap" not in str(error):
                raise
            raise ConfigError(
                "the model cannot be trained for many clients at once "
                f"({str(error).splitlines()[0]}); set local.batched = false") from error
    return join(parts, pairs_of(model.layout, held, data.input.device))


def _send(
    model: ExpertModel, server: Mapping[str, Tensor], clients: Sequence[int], pairs: list[Pairs],
    steps: Tensor, probes: Tensor,
) -> Clients:
    """Return clients with copies of what they hold: their rows, or all where these cannot be cut.

    Clients that hold fewer rows than others get their first one again, which is not valid.
    """
    n = len(clients)
    sent = {name: value for name, value in server.items() if name not in model.layout.layer_of}
    params = {name: value.expand(n, *value.shape[value.ndim - model.ndim[name]:]).clone()
              for name, value in sent.items()}
    all_valid = []
    for layer, pair in enumerate(pairs):
        size = pair.n_slots if model.sliceable else model.n_experts
        place = pair.slot if model.sliceable else pair.expert
        valid = torch.zeros((n, size), dtype=torch.bool, device=steps.device)
        valid[pair.client, place] = True
        rows = torch.arange(size, device=steps.device).expand(n, -1)
        if model.sliceable:
            first = pair.expert[pair.slot == 0]
            rows = first[:, None].expand(n, size).clone()
            rows[pair.client, place] = pair.expert
        all_valid.append(valid)
        for name in model.layout.of_layer(layer):
            value = server[name]
            if value.ndim > model.ndim[name]:  # every client has its own
                value = value[torch.arange(n, device=rows.device)[:, None], rows]
            else:
                value = value[rows]
            params[name] = sent[name] = value
    return Clients(tuple(clients), pairs, params, sent, all_valid, steps, probes)
