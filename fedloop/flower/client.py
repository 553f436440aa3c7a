"""What a node needs beside its own training: `client_app`.

It says which client the node is, unpacks what comes, measures the time, and packs what is
sent back, with what rounding took kept in the node's context. Needs PyTorch and Flower, and
of alignsolve nothing that needs more than numpy.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from flwr.app import ConfigRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from torch import Tensor, nn

import alignsolve as al
from fedloop.errors import EngineError
from fedloop.expert_map import ExpertMap
from fedloop.flower.messages import ARRAYS, CONFIG, METRICS, Parameters, record_of, reply, state_of
from fedloop.flower.nodes import CLIENT
from fedloop.flower.receivers import BASED_ON, VERSION
from fedloop.payload import Packed, changes, pack_differences

#: In a node's context: what it has, which version that is, and what rounding took.
HAS, OWN, LOST = "payload-arrays", "payload-version", "payload-lost"

#: Where a node's configuration says how many clients there are.
CLIENTS = "num-partitions"


@dataclass(frozen=True)
class Task:
    """What a client is asked.

    Attributes
    ----------
    state : dict of str to Tensor
        Parameters: of a map as `ExpertMap.take` cuts them, for a model with these experts
        only; else by their names.
    experts : list of int
        The client's experts.
    round : int
        Rounds count from 1.
    client, n_clients : int
        Which client this is, of how many; from the node's ``partition-id`` and
        ``num-partitions``, 0 where that is missing.
    config : mapping
        Settings of the user's own.
    """

    state: Parameters
    experts: list[int]
    round: int
    client: int
    n_clients: int
    config: Mapping[str, Any]


@dataclass(frozen=True)
class Update:
    """What a client answers.

    Attributes
    ----------
    state : mapping of str to Tensor
        The parameters of the task, trained; further ones are left out.
    examples : int
        Examples that it trained on.
    experts : mapping of int to ExpertReport
        What it saw of its experts. A measure must be given for all or none.
    figures : mapping of str to float
        Further numbers, such as a loss.
    """

    state: Mapping[str, Tensor]
    examples: int
    experts: Mapping[int, al.ExpertReport]
    figures: Mapping[str, float] = field(default_factory=dict)


def client_app(
    train: Callable[[Task], Update],
    experts: ExpertMap | Callable[[Mapping[str, Any]], ExpertMap] | None = None,
    evaluate: Callable[[Task], tuple[int, Mapping[str, float]]] | None = None,
) -> ClientApp:
    """Return a Flower app of a client for `fedloop.flower.AlignedStrategy`.

    Parameters
    ----------
    train : callable
        Trains.
    experts : ExpertMap or callable, optional
        The map that the server has, or what returns it for the settings; None where it has
        a rule.
    evaluate : callable, optional
        Returns a number of examples, and figures to be averaged.
    """
    app = ClientApp()

    def map_of(message: Message) -> ExpertMap | None:
        return experts(message.content[CONFIG]) if callable(experts) else experts

    @app.query()
    def introduce(message: Message, context: Context) -> Message:
        record = MetricRecord({CLIENT: node_number(context, CLIENT)})
        return Message(RecordDict({METRICS: record}), reply_to=message)

    @app.train()
    def on_train(message: Message, context: Context) -> Message:
        begun, map = time.perf_counter(), map_of(message)
        pieces, task = receive(message, context, map)
        update = train(task)
        state = {name: update.state[name].detach() for name in task.state}
        trained = state if map is None else map.split(state, task.experts)
        return reply(message, outgoing(message, context, pieces, trained), update.examples,
                     time.perf_counter() - begun, update.experts, update.figures)

    if evaluate is not None:
        @app.evaluate()
        def on_evaluate(message: Message, context: Context) -> Message:
            begun = time.perf_counter()
            examples, figures = evaluate(receive(message, context, map_of(message))[1])
            return reply(message, {}, examples, time.perf_counter() - begun, {}, figures)

    return app


def receive(
    message: Message, context: Context, map: ExpertMap | None
) -> tuple[Parameters, Task]:
    """Return what a message brings, in pieces and as a task.

    Raises
    ------
    EngineError
        If it brings differences to a version that the node does not have. The server then
        sends everything with its next message.
    """
    config = dict(message.content.config_records[CONFIG])
    pieces = state_of(message.content.array_records[ARRAYS])
    if VERSION in config:
        has: Parameters = {}
        if config[BASED_ON]:
            kept = context.state.config_records.get(OWN, {}).get(VERSION)
            if kept != config[BASED_ON]:
                raise EngineError(f"the node has version {kept} of the parameters, and was sent "
                                  f"differences to {config[BASED_ON]}")
            has = state_of(context.state.array_records[HAS])
        pieces = {name: has[name] + value if name in has and value.is_floating_point() else value
                  for name, value in pieces.items()}
        context.state[OWN] = ConfigRecord({VERSION: config[VERSION]})
        context.state[HAS] = record_of(pieces)
    experts = [int(expert) for expert in config["experts"]]
    return pieces, Task(
        pieces if map is None else map.join(pieces, experts), experts,
        int(config["server-round"]), node_number(context, CLIENT),
        int(context.node_config.get(CLIENTS, 0)), config)


def node_number(context: Context, name: str) -> int:
    """Return a whole number of a node's configuration, such as which client it is.

    Raises
    ------
    EngineError
        If it has none.
    """
    value = context.node_config.get(name)
    if not isinstance(value, int):
        raise EngineError(f"the node's configuration has no whole number {name}; start it with "
                          f"--node-config '{CLIENT}=0 {CLIENTS}=3', or 1, 2, ... of as many as "
                          "there are")
    return value


def outgoing(
    message: Message, context: Context, pieces: Parameters, trained: Parameters
) -> Mapping[str, Tensor | Packed]:
    """Return what is sent back: what was trained, or the change, with what rounding took kept."""
    if VERSION not in message.content[CONFIG]:
        return trained
    lost = state_of(context.state.array_records[LOST]) if LOST in context.state else {}
    packed = pack_differences(changes(trained, pieces), lost)
    context.state[LOST] = record_of(lost)
    return packed


@torch.no_grad()
def losses_alone(
    model: nn.Module, experts: Iterable[int], loss: Callable[[], float],
    map: ExpertMap | None = None,
) -> dict[int, float]:
    """Return a loss with every expert as the only one of its layer, by expert.

    Parameters
    ----------
    model : nn.Module
        A model with these experts only, as from `ExpertMap.sub_model`.
    experts : iterable of int
        Their numbers in the whole model.
    loss : callable
        Runs the model and returns a loss, such as the mean over some examples.
    map : ExpertMap, optional
        Of this model, for one that `ExpertMap.of` does not know.

    Notes
    -----
    The model is in the mode of evaluation meanwhile: nothing is dropped out.
    """
    map = ExpertMap.of(model) if map is None else map
    found, modes = {}, {part: part.training for part in model.modules()}
    model.eval()
    try:
        for layer in map.layers:
            others = [at for at in range(map.n_experts) if at not in layer.columns]
            for at in layer.columns:
                with map.mask(model, [*others, at]):
                    found[at] = loss()
    finally:
        for part, mode in modes.items():
            part.training = mode
    return {expert: found[at] for at, expert in enumerate(sorted(experts))}
