"""fedloop's rounds on Flower's nodes: `fedloop.experiment` plans, averages and evaluates.

Only training moves to the nodes. The same code as in process decides, simulates
devices, counts bytes, averages and keeps checkpoints, so both engines make the
same plans, and the same curve within rounding.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from logging import WARNING
from pathlib import Path

import torch
from flwr.app import Message, MessageType
from flwr.common import log
from flwr.serverapp import Grid

from fedloop.config import Config, config_json
from fedloop.errors import ConfigError
from fedloop.flower import messages
from fedloop.flower.client_app import SETTINGS, TRAIN_LOSS
from fedloop.flower.messages import MalformedReplyError, Parameters
from fedloop.flower.nodes import Nodes, exchange
from fedloop.flower.receivers import Receivers
from fedloop.local.client import SEEN, Training, join
from fedloop.local.pairs import pairs_of
from fedloop.models.expert_model import ExpertModel
from fedloop.models.layout import part_of
from fedloop.train import train
from fedloop.world import Record, State, World

#: Seconds that nodes have to connect at the beginning.
PATIENCE = 120.0


class FlowerClients:
    """Has clients train on Flower nodes; a `fedloop.experiment.Trainer`.

    Parameters
    ----------
    grid : Grid
        Flower's connection to the nodes.
    config : Config
        The run's settings; they are told to the nodes.
    timeout : float
        Seconds to wait for the clients of a round.

    Attributes
    ----------
    sent_bytes, received_bytes : list of int
        Bytes of parameters that each round moved, with their headers.
    """

    def __init__(self, grid: Grid, config: Config, timeout: float) -> None:
        check_settings(config)
        self._grid = grid
        self._timeout = timeout
        self._nodes = Nodes(timeout=min(timeout, PATIENCE))
        self._settings = {SETTINGS: config_json(config)}
        self._receivers = Receivers(config.payload)
        self._n_clients = config.partition.clients
        self._started = False
        self.sent_bytes: list[int] = []
        self.received_bytes: list[int] = []

    def __call__(
        self, world: World, state: State, clients: list[int], held: dict[int, list[int]],
        number: int,
    ) -> Training | None:
        """Train the clients whose nodes are connected; return what came back sound."""
        node_of, spec = self._find(), world.spec
        model = spec.layout.pieces(state.model)
        contents = {
            client: self._receivers.task(client, part_of(model, held[client]), self._settings,
                                         held[client], number)
            for client in clients if client in node_of}
        replies = exchange(self._grid, {
            client: Message(content, node_of[client], MessageType.TRAIN, ttl=self._timeout)
            for client, content in contents.items()
        }, self._timeout, lambda client, reason: log(
            WARNING, "round %s: client %s: %s", number, client, reason))
        self.sent_bytes.append(sum(map(messages.payload, contents.values())))
        updates, received = {}, 0
        for client, message in replies.items():
            try:
                with messages.refusing():
                    received += messages.payload(message.content)
                    trained = self._receivers.trained(client, message, model)
                    updates[client] = _update(
                        message, spec, client, number, trained, held[client])
            except MalformedReplyError as error:
                log(WARNING, "round %s: client %s: %s", number, client, error)
        self.received_bytes.append(received)
        self._receivers.settle(updates)
        if not updates:
            return None
        answered = sorted(updates)
        pairs = pairs_of(spec.layout, [held[client] for client in answered])
        return join([updates[client] for client in answered], pairs)

    def _find(self) -> dict[int, int]:
        """Return the nodes; wait for all of them the first time."""
        if self._started:
            return self._nodes.find(self._grid)
        self._started = True
        return self._nodes.wait(self._grid, self._n_clients, PATIENCE)


def check_settings(config: Config) -> None:
    """Raise `ConfigError` if Flower cannot play a configuration."""
    if config.model.gate == "personal":
        raise ConfigError("model.gate is personal; on Flower such gates would stay on the nodes, "
                          "where fedloop cannot judge them: take gate = shared")


def _update(
    message: Message, spec: ExpertModel, client: int, number: int, trained: Parameters,
    held: list[int],
) -> Training:
    """Return what a client has and saw.

    Raises
    ------
    MalformedReplyError
        If the reply is not what `fedloop.flower.client_app` sends.
    """
    params = spec.layout.joined(trained, spec.initial(), held)
    report = messages.read_report(message, client, number, len(held))
    loss = message.content.metric_records[messages.METRICS].get(TRAIN_LOSS)
    if sorted(report.experts) != sorted(held):
        raise MalformedReplyError("the metrics are not of the experts it was sent")
    if not isinstance(loss, float):
        raise MalformedReplyError(f"{TRAIN_LOSS} is missing or not one number")
    # Rows are sorted through all layers, and so are those of every layer.
    rows = [[getattr(report.experts[expert], name) for name in SEEN] for expert in sorted(held)]
    if any(value is None or not math.isfinite(value) for row in rows for value in row):
        raise MalformedReplyError("a measure is missing or not finite")
    pairs = pairs_of(spec.layout, [held])
    seen = torch.split(torch.tensor(rows, dtype=torch.float32),
                       [len(pair.expert) for pair in pairs])
    stacked = {name: value if name in spec.layout.layer_of else value[None]
               for name, value in params.items()}
    return Training((client,), pairs, {name: stacked[name] for name in spec.ndim},
                    torch.tensor([loss]), list(seen))


def train_on(
    grid: Grid, config: Config, folder: Path | None = None, *, timeout: float,
    on_round: Callable[[Record], None] | None = None,
) -> tuple[World, State, FlowerClients]:
    """Run, or resume, a training on Flower's nodes; as `fedloop.train.train` does in process.

    Parameters
    ----------
    grid : Grid
        Flower's connection to the nodes.
    config, folder, on_round
        As for `fedloop.train.train`. The nodes load their images themselves.
    timeout : float
        Seconds to wait for the clients of a round.
    """
    clients = FlowerClients(grid, config, timeout)
    world, state = train(config, folder, on_round=on_round, trainer=clients)
    return world, state, clients
