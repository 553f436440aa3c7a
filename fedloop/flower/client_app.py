"""fedloop's client on Flower: a node that holds one client's images.

The query that asks a node for its client also tells it the run's settings; it
keeps them in its context. Its images are those that fedloop would deal out to this
client, so that both engines play the same experiment.
"""

from __future__ import annotations

import json
import time
from functools import lru_cache

import torch
from flwr.app import ConfigRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp

import alignsolve as al
from fedloop.config import build_config
from fedloop.flower.client import node_number, outgoing, receive
from fedloop.flower.messages import METRICS, reply
from fedloop.flower.nodes import CLIENT
from fedloop.flower.pieces import params_of, pieces_of
from fedloop.local.client import Training
from fedloop.local.executors import train_one
from fedloop.privacy import protect
from fedloop.world import World, build_world

#: Key of the settings, in the query and in a node's context.
SETTINGS = "settings"

#: Key of the mean loss over the training steps, in a reply.
TRAIN_LOSS = "train-loss"

app = ClientApp()


@lru_cache(maxsize=2)
def world_of(settings: str) -> World:
    """Return the world of settings as JSON; a process builds it once."""
    return build_world(build_config(json.loads(settings)))


@app.query()
def introduce(message: Message, context: Context) -> Message:
    """Say which client this is, and keep the run's settings."""
    context.state[SETTINGS] = ConfigRecord(dict(message.content.config_records[SETTINGS]))
    record = MetricRecord({CLIENT: node_number(context, CLIENT)})
    return Message(RecordDict({METRICS: record}), reply_to=message)


@app.train()
def train(message: Message, context: Context) -> Message:
    """Train what was sent on the client's own images."""
    begun = time.perf_counter()
    world = world_of(str(context.state.config_records[SETTINGS][SETTINGS]))
    config = world.config
    torch.set_num_threads(config.threads)
    pieces, asked = receive(message, context, None)
    client, experts, number = node_number(context, CLIENT), asked.experts, asked.round
    sent = {name: value.to(config.device)
            for name, value in params_of(world.spec, pieces, experts).items()}
    training = train_one(
        world.spec, world.task, sent, world.partition.train, client, experts, config.local,
        config.seed, number)
    seen = protect(training, config.privacy, config.seed, number)
    images = config.local.steps * config.local.batch_size
    trained = pieces_of(world.spec, {
        name: value if name in world.spec.layout.layer_of else value[0]
        for name, value in training.params.items()}, experts)
    return reply(
        message, outgoing(message, context, pieces, trained), images,
        time.perf_counter() - begun, measures(seen, experts, images),
        {TRAIN_LOSS: float(seen.loss)},
    )


def measures(seen: Training, experts: list[int], images: int) -> dict[int, al.ExpertReport]:
    """Return what a client saw of its experts, ascending through all layers."""
    usage, before, after = (torch.cat(rows) for rows in (seen.usage, seen.before, seen.after))
    return {
        expert: al.ExpertReport(
            samples=images, gate_usage=float(usage[row]), loss_before=float(before[row, 0]),
            loss=float(after[row, 0]), accuracy=float(after[row, 1]))
        for row, expert in enumerate(sorted(experts))
    }
