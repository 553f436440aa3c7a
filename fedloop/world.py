"""The beginning of a run: data dealt out, model built, devices drawn."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import nn

import alignsolve as al
from alignsolve.aligner.checks import AMOUNT
from fedloop.config import Config
from fedloop.errors import ConfigError
from fedloop.fleet import Device, draw_fleet
from fedloop.models.build import build_model
from fedloop.models.expert_model import ExpertModel
from fedloop.models.layout import Params
from fedloop.payload import number_bytes
from fedloop.server.router import ExampleSums, example_sums
from fedloop.strategies import build_aligner
from fedloop.tasks.base import Partition, Task
from fedloop.tasks.choose import task_of

#: What a round is remembered by: numbers, texts and lists, ready for JSON.
Record = dict[str, Any]


@dataclass(frozen=True)
class World:
    """What does not change during a run."""

    config: Config
    task: Task
    spec: ExpertModel
    partition: Partition
    fleet: list[Device]
    trunk_bytes: int
    expert_bytes: list[int]

    @cached_property
    def image_sums(self) -> ExampleSums | None:
        """Return the sums that images are routed by, the same in every round; of text None."""
        data = self.partition.train
        if not data.input.is_floating_point():
            return None
        return example_sums(self.spec, {}, data, self.config.seed)


@dataclass
class State:
    """What does: everything that a checkpoint holds.

    Attributes
    ----------
    model : dict of str to Tensor
        The server's parameters, experts along the first axis; personal routers have one
        of clients before it.
    velocity, square : dict of str to Tensor
        Running updates of the server's optimiser, and their squares.
    received, lost : dict of int to dict of str to Tensor
        Where the payload is rounded: what every client has of its last message, and what
        rounding took of its replies, of clients that took part; see `fedloop.server.delivery`.
    aligner : al.Aligner
        Fitness, load and capacity.
    holders : ndarray
        int64, shape (experts,): finished holders of each expert so far.
    held : ndarray
        bool, shape (clients, experts): every client's last placement.
    records : list of dict
        Every round so far.
    """

    model: Params
    velocity: Params
    square: Params
    received: dict[int, Params]
    lost: dict[int, Params]
    aligner: al.Aligner
    holders: np.ndarray
    held: np.ndarray
    records: list[Record]


def load_data(config: Config) -> Any:
    """Load the data that the settings name."""
    return task_of(config, None).load(config)


def build_world(
    config: Config, data: Any = None, model: nn.Module | None = None, task: Task | None = None
) -> World:
    """Deal out the data, build the model, and draw the devices.

    Parameters
    ----------
    config : Config
        Settings.
    data : optional
        What the task deals out; None loads what the settings name.
    model : nn.Module, optional
        A user's own, in place of the one that the settings name; its parameters are those
        that training starts from.
    task : Task, optional
        A user's own; None takes the one that the data are for.

    Raises
    ------
    ConfigError, DataError
        If settings or data are wrong, or there is no such device.
    """
    device = _device(config.device)
    task = task_of(config, data) if task is None else task
    partition = task.deal(task.load(config) if data is None else data, config).to(device)
    spec = build_model(config.model, tuple(partition.train.input.shape[1:]), partition.n_classes,
                       config.seed, model)
    spec.module.to(device)
    params = spec.initial()
    travels = {name: value for name, value in params.items()
               if config.model.gate == "shared" or name not in spec.layout.scorers}
    expert_bytes = [
        sum(number_bytes(travels[name], config.payload, 1)
            for name in spec.layout.of_layer(layer) if name in travels)
        for layer in range(spec.n_layers)]
    fleet = draw_fleet(config.partition.clients, config.fleet, config.seed)
    if config.strategy == "everything":
        fleet = [replace(device, slots=spec.n_experts, memory_mb=AMOUNT.high) for device in fleet]
    return World(
        config, task, spec, partition, fleet,
        sum(number_bytes(params[name], config.payload) for name in spec.layout.shared(params)),
        [size for size in expert_bytes for _ in range(spec.n_experts)],
    )


def _device(name: str) -> torch.device:
    """Return a device of torch, after trying it."""
    try:
        return torch.empty(0, device=name).device
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(f"device: torch cannot use {name!r} here ({reason}); choose cpu, or cuda "
                          "with a build of torch for it") from None


def start(world: World) -> State:
    """Return the state before the first round."""
    config, spec = world.config, world.spec
    model = spec.initial()
    if config.model.gate == "personal":
        for name in spec.layout.scorers & model.keys():
            value = model[name]
            model[name] = value.expand(config.partition.clients, *value.shape).clone()
    shape = (config.partition.clients, spec.total_experts)
    return State(
        model, {}, {}, {}, {},
        build_aligner(config, spec, world.expert_bytes, world.fleet),
        np.zeros(spec.total_experts, np.int64), np.zeros(shape, np.bool_), [],
    )
