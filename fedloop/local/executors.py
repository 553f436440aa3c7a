"""Who runs the definition of `fedloop.local.client`: one client at a time, or many at once.

`one_by_one` is the reference, as a device would do it. `together` trains all clients of a
round in one program, by `torch.vmap` over their parameters, and gives the same numbers
within rounding. On Flower every node runs `one_by_one` for its client.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from fedloop.config import LocalSettings
from fedloop.errors import ConfigError
from fedloop.local.batches import positions
from fedloop.local.client import Clients, Runner, Training, join, train_clients
from fedloop.local.optimisers import learning_rate
from fedloop.local.pairs import Pairs, pairs_of
from fedloop.models.expert_model import Allowed, ExpertModel
from fedloop.models.layout import Params
from fedloop.tasks.base import Examples, Task

#: Clients trained together: so many that their parameters stay in a processor's cache.
TOGETHER = 64


@dataclass(frozen=True)
class Alone:
    """Runs a model for one client: N is 1."""

    model: ExpertModel

    def run(
        self, params: Mapping[str, Tensor], batch: Tensor, allowed: Allowed
    ) -> tuple[Tensor, list[Tensor], Tensor]:
        """Do what `Runner.run` says."""
        rows = None if allowed is None else [one[0] for one in allowed]
        output, usage, balance = self.model.run(self._own(params), batch[0], rows)
        return output[None], [shares[None] for shares in usage], balance[None]

    def each(
        self, params: Mapping[str, Tensor], batch: Tensor, masks: Sequence[Tensor]
    ) -> Tensor:
        """Do what `Runner.each` says."""
        own = self._own(params)
        number = max(rows.shape[1] for rows in masks if rows.ndim == 3)
        return torch.stack([
            self.model.run(own, batch[0], [rows[0, k] if rows.ndim == 3 else rows[0]
                                           for rows in masks], observed=False)[0]
            for k in range(number)])[None]

    def _own(self, params: Mapping[str, Tensor]) -> Params:
        return {name: value[0] if value.ndim > self.model.ndim[name] else value
                for name, value in params.items()}


@dataclass(frozen=True)
class Stacked:
    """Runs a model for many clients by `torch.vmap`."""

    model: ExpertModel

    def run(
        self, params: Mapping[str, Tensor], batch: Tensor, allowed: Allowed
    ) -> tuple[Tensor, tuple[Tensor, ...], Tensor]:
        """Do what `Runner.run` says."""
        return torch.vmap(self.model.run, (self._axes(params), 0, None if allowed is None else 0))(
            params, batch, allowed)

    def each(
        self, params: Mapping[str, Tensor], batch: Tensor, masks: Sequence[Tensor]
    ) -> Tensor:
        """Do what `Runner.each` says.

        What does not depend on masks that differ is computed once.
        """
        axes = [0 if rows.ndim == 3 else None for rows in masks]

        def one(params: Params, batch: Tensor, masks: list[Tensor]) -> Tensor:
            return torch.vmap(lambda rows: self.model.run(params, batch, rows, observed=False)[0],
                              (axes,))(masks)

        return torch.vmap(one, (self._axes(params), 0, 0))(dict(params), batch, list(masks))

    def _axes(self, params: Mapping[str, Tensor]) -> dict[str, int | None]:
        return {name: None if value.ndim == self.model.ndim[name] else 0
                for name, value in params.items()}


def one_by_one(
    model: ExpertModel, task: Task, server: Mapping[str, Tensor], data: Examples,
    clients: Sequence[int], held: Sequence[Sequence[int]], settings: LocalSettings,
    seed: int, round_: int,
) -> Training:
    """Train one participant after the other; parameters as for `together`."""
    parts = [
        _train(Alone(model), task, own_rows(model, server, slice(at, at + 1)), data,
               [client], [experts], settings, seed, round_)
        for at, (client, experts) in enumerate(zip(clients, held, strict=True))
    ]
    return join(parts, pairs_of(model.layout, held, data.input.device))


def together(
    model: ExpertModel, task: Task, server: Mapping[str, Tensor], data: Examples,
    clients: Sequence[int], held: Sequence[Sequence[int]], settings: LocalSettings,
    seed: int, round_: int,
) -> Training:
    """Train all participants at once.

    Parameters
    ----------
    model, task : ExpertModel, Task
        What is trained, and for what.
    server : mapping of str to Tensor
        The whole model. What differs between clients, such as personal routers, has a
        leading axis of these participants, in their order; see `own_rows`.
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

    Returns
    -------
    Training
        The same as `one_by_one` returns, within rounding.

    Raises
    ------
    ConfigError
        If the model cannot be run so.

    Notes
    -----
    Memory grows with participants x (shared parameters + most experts that one holds).
    """
    parts = []
    for first in range(0, len(clients), TOGETHER):
        some = slice(first, first + TOGETHER)
        try:
            parts.append(_train(Stacked(model), task, own_rows(model, server, some), data,
                                clients[some], held[some], settings, seed, round_))
        except RuntimeError as error:
            if model.sliceable or "vmap" not in str(error):
                raise
            raise ConfigError(
                "the model cannot be trained for many clients at once "
                f"({str(error).splitlines()[0]}); set local.batched = false") from error
    return join(parts, pairs_of(model.layout, held, data.input.device))


def own_rows(
    model: ExpertModel, server: Mapping[str, Tensor], rows: Sequence[int] | slice
) -> Params:
    """Return a model of which what differs between clients is cut to some of them."""
    return {name: value[rows] if value.ndim > model.ndim[name] else value
            for name, value in server.items()}


def _train(
    runner: Runner, task: Task, server: Mapping[str, Tensor], data: Examples,
    clients: Sequence[int], held: Sequence[Sequence[int]], settings: LocalSettings,
    seed: int, round_: int,
) -> Training:
    """Send to some clients, train them, and keep what they hold."""
    model: ExpertModel = runner.model  # type: ignore[attr-defined]
    pairs = pairs_of(model.layout, held, data.input.device)
    some = _send(model, server, clients, pairs, *positions(data, clients, seed, round_, settings))
    return train_clients(runner, task, data, some, settings, learning_rate(settings, round_),
                         clients, pairs, model.layout)


def _send(
    model: ExpertModel, server: Mapping[str, Tensor], clients: Sequence[int],
    pairs: Sequence[Pairs], steps: Tensor, probes: Tensor,
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
    return Clients(params, sent, all_valid, steps, probes)
