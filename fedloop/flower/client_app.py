"""fedloop's client on Flower: a node that holds one client's images.

Messages tell it the run's settings. Its images are those that fedloop would deal out to this
client, so that both engines play the same experiment.
"""

from __future__ import annotations

import json
from functools import lru_cache

import torch

from fedloop.config import build_config
from fedloop.flower.client import Task, Update, client_app
from fedloop.local.executors import train_participants
from fedloop.privacy import protect
from fedloop.strategies import expert_reports
from fedloop.world import World, build_world

#: Key of the settings, in a message's configuration.
SETTINGS = "settings"

#: Key of the mean loss over the training steps, in a reply.
TRAIN_LOSS = "train-loss"


@lru_cache(maxsize=2)
def world_of(settings: str) -> World:
    """Return the world of settings as JSON; a process builds it once."""
    return build_world(build_config(json.loads(settings)))


def train(task: Task) -> Update:
    """Train what was sent on the client's own images."""
    world = world_of(str(task.config[SETTINGS]))
    spec, config = world.spec, world.config
    torch.set_num_threads(config.threads)
    seen = protect(train_participants(
        spec, world.task, spec.layout.joined(task.state, spec.initial()),
        world.partition.train, [task.client], [task.experts], config.local, config.seed,
        task.round, batched=False), config.privacy, config.seed, task.round)
    images = config.local.steps * config.local.batch_size
    trained = {name: value if name in spec.layout.layer_of else value[0]
               for name, value in seen.params.items()}
    [reports] = expert_reports(seen, images, spec.n_experts)
    return Update(spec.layout.pieces(trained, task.experts), images, reports,
                  {TRAIN_LOSS: float(seen.loss)})


app = client_app(train)
