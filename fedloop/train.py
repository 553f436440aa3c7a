"""The round loop, to be read from top to bottom.

sample participants -> plan -> send -> train -> report -> aggregate -> evaluate
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

import alignsolve as al
from alignsolve.io.files import append_text, atomic_write
from fedloop.checkpoint import load_checkpoint, save_checkpoint
from fedloop.client import Training, train_batched, train_plain
from fedloop.config import Config, config_json
from fedloop.data import load_dataset, pooled, split
from fedloop.errors import CheckpointError, ConfigError
from fedloop.fleet import Device, Luck, Times, draw_fleet, draw_luck, round_times
from fedloop.metrics import balance, client_accuracy, worst_decile
from fedloop.model import ModelSpec, Params, init_params, layer_names, trunk_names
from fedloop.partition import Partition, deal
from fedloop.privacy import protect
from fedloop.readers import Dataset
from fedloop.server import add_momentum, aggregate, sound_updates
from fedloop.strategies import build_aligner, make_reports

#: What a round is remembered by: numbers, texts and lists, ready for JSON.
Record = dict[str, Any]

#: Trains the clients that are asked: (world, state, clients, experts by client, round) ->
#: those that answered, in order; None where nobody did.
Trainer = Callable[["World", "State", list[int], dict[int, list[int]], int], Training | None]

#: Bytes of a float32.
FLOAT_BYTES = 4


@dataclass(frozen=True)
class World:
    """What does not change during a run."""

    config: Config
    spec: ModelSpec
    partition: Partition
    fleet: list[Device]
    trunk_bytes: int
    expert_bytes: list[int]


@dataclass
class State:
    """What does: everything that a checkpoint holds.

    Attributes
    ----------
    model, velocity : dict of str to Tensor
        The server's parameters, and their running updates.
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
    aligner: al.Aligner
    holders: np.ndarray
    held: np.ndarray
    records: list[Record]


def train(
    config: Config, folder: Path | None = None, *, data: Dataset | None = None,
    on_round: Callable[[Record], None] | None = None, stop_after: int | None = None,
    trainer: Trainer | None = None,
) -> tuple[World, State]:
    """Run, or resume, a federated training.

    Parameters
    ----------
    config : Config
        Settings.
    folder : Path, optional
        Where ``config.json``, ``partition.json``, ``rounds.jsonl`` and
        ``checkpoint.safetensors`` go. If it holds a checkpoint of the same
        settings, the run goes on from there, and ends in the same bits as one
        that was never interrupted. None keeps everything in memory.
    data : Dataset, optional
        Images; None loads what the settings name, by `load_data`.
    on_round : callable, optional
        Called with the record of every round.
    stop_after : int, optional
        Last round to play now.
    trainer : callable, optional
        Has clients train elsewhere; None trains them in this process.

    Returns
    -------
    world, state : World, State
        `state.records` has one record per round.

    Raises
    ------
    ConfigError, DataError
        If settings or data are wrong.
    CheckpointError
        If the folder holds a checkpoint that is damaged or of other settings.
    """
    torch.set_num_threads(config.threads)
    world = build_world(config, data)
    state = start(world)
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        if (folder / "checkpoint.safetensors").exists():
            restore(world, state, folder)
        _write(folder / "config.json", config_json(config))
        _write(folder / "partition.json", json.dumps(world.partition.manifest, indent=1) + "\n")
        _write_records(folder, state.records)
    last = min(config.rounds, stop_after or config.rounds)
    while len(state.records) < last:
        record = play_round(world, state, trainer or train_here)
        if folder is not None:
            append_text(folder / "rounds.jsonl", json.dumps(record) + "\n")
            if record["round"] % config.checkpoint_every == 0 or record["round"] == last:
                save(world, state, folder)
        if on_round is not None:
            on_round(record)
    return world, state


def train_here(
    world: World, state: State, clients: list[int], held: dict[int, list[int]], number: int
) -> Training:
    """Train clients in this process."""
    config = world.config
    method = train_batched if config.local.batched else train_plain
    training = method(
        state.model, world.partition.train, clients, [held[client] for client in clients],
        world.spec, config.local, config.seed, number,
    )
    return protect(training, config.privacy, config.seed, number)


def play_round(world: World, state: State, trainer: Trainer = train_here) -> Record:
    """Play one round and return its record."""
    config, spec, number = world.config, world.spec, len(state.records) + 1
    clients = sample_participants(config, number)
    plan = state.aligner.plan(clients, deadline_s=config.fleet.deadline_s)
    held = {client: plan.experts_of(client).tolist() for client in clients}
    luck = draw_luck(config.seed, number, config.partition.clients, config.fleet)
    down, up, times = simulate(world, plan, held, luck)

    # A client without an expert in every layer has no model to train.
    asked = [client for client in clients if has_every_layer(held[client], spec)]
    failed = [client for client in asked if luck[client].fails]
    deadline = config.fleet.deadline_s
    late = [client for client in asked if client not in failed
            and deadline is not None and times[client].total > deadline]
    finishing = [client for client in asked if client not in failed and client not in late]

    accepted, training = np.zeros(0, np.bool_), None
    if finishing:
        training = trainer(world, state, finishing, held, number)
    answered = list(training.clients) if training is not None else []
    failed = sorted({*failed, *finishing} - {*answered})
    finishing = answered
    if training is not None:
        _corrupt(training, [luck[client].corrupts for client in finishing])
        accepted = sound_updates(training).cpu().numpy()
        images = config.local.steps * config.local.batch_size
        reports = make_reports(training, plan, accepted, images, times, down, up, spec)
        state.aligner.observe(plan, reports)
        update_model(world, state, training, accepted)
    else:
        state.aligner.observe(plan, [])
    state.held[clients] = False
    for client, experts in held.items():
        state.held[client, experts] = True

    refused = [c for c, good in zip(finishing, accepted, strict=True) if not good]
    waited = [times[client].total for client in finishing]
    if late or failed:  # the server knows only at the deadline that somebody will not answer
        waited.append(deadline or max(times[client].total for client in asked))
    record = {
        "round": number,
        **evaluate(world, state),
        "loss": float(training.loss.mean()) if training is not None else None,
        "load_cv": balance(state.holders),
        "holders": state.holders.tolist(),
        "down_bytes": sum(down.values()),
        "up_bytes": sum(up[client] for client in finishing),
        "client_bytes": {str(client): [down[client], up[client] if client in finishing else 0]
                         for client in clients},
        "seconds": max(waited, default=0.0),
        "finished": int(accepted.sum()),
        "late": late, "failed": failed, "refused": refused,
        "idle": [client for client in clients if client not in asked],
        "relaxed": [str(relaxation) for relaxation in plan.relaxations],
        "held": {str(client): experts for client, experts in held.items()},
    }
    state.records.append(record)
    return record


def sample_participants(config: Config, number: int) -> list[int]:
    """Return the clients of a round, ascending; the same for every strategy."""
    everybody = np.arange(config.partition.clients)
    if config.participants is None:
        return everybody.tolist()
    rng = np.random.default_rng((config.seed, number, 6))
    return sorted(rng.choice(everybody, config.participants, replace=False).tolist())


def has_every_layer(experts: Iterable[int], spec: ModelSpec) -> bool:
    """Return whether experts, numbered through all layers, include one of every layer."""
    return len({expert // spec.n_experts for expert in experts}) == spec.n_layers


def simulate(
    world: World, plan: al.Plan, held: dict[int, list[int]], luck: list[Luck]
) -> tuple[dict[int, int], dict[int, int], dict[int, Times]]:
    """Return bytes down, bytes up and times of every participant, if nothing goes wrong.

    Notes
    -----
    Down: the trunk, and those experts, with their rows of a shared gate, of which
    the client lacks the server's version (`alignsolve.Plan.downloads_of`). Every
    accepted update makes new versions of the trunk and of its experts, and of a
    client that did not answer the server cannot know what it still has; so
    whatever is trained in every round is sent in every round. Up: all that was
    trained. Personal gates never move.
    """
    config = world.config
    images = config.local.steps * config.local.batch_size
    down, up, times = {}, {}, {}
    for client, experts in held.items():
        down[client] = world.trunk_bytes + sum(
            world.expert_bytes[expert] for expert in plan.downloads_of(client).tolist())
        up[client] = world.trunk_bytes + sum(world.expert_bytes[expert] for expert in experts)
        times[client] = round_times(world.fleet[client], luck[client], down[client], up[client],
                                    images * len(experts))
    return down, up, times


def _corrupt(training: Training, corrupts: list[bool]) -> None:
    """Put a NaN into the updates of some clients."""
    training.params["trunk.linear.bias"][torch.tensor(corrupts), 0] = torch.nan


def update_model(world: World, state: State, training: Training, accepted: np.ndarray) -> None:
    """Average what was accepted into the server's model, and count its holders."""
    config, spec = world.config, world.spec
    good = torch.from_numpy(accepted).to(training.loss.device)
    samples = [world.partition.train.size(client) for client in training.clients]
    new = aggregate(state.model, training, good, samples, config.server.weighting)
    if config.server.momentum:
        new, state.velocity = add_momentum(
            state.model, new, state.velocity, config.server.momentum)
    state.model = new
    for layer, pair in enumerate(training.pairs):
        finished = layer * spec.n_experts + pair.expert[good[pair.client]]
        np.add.at(state.holders, finished.cpu().numpy(), 1)


def evaluate(world: World, state: State) -> Record:
    """Return accuracies on held-out images: with the experts that clients hold, and with all.

    A client that has never held any is judged with all.
    """
    held = np.where(state.held.any(axis=1, keepdims=True), state.held, True)
    own, every = client_accuracy(state.model, world.partition.test, world.spec, held, None)
    return {
        "accuracy": float(own.mean()), "worst_decile": worst_decile(own),
        "accuracy_all": float(every.mean()), "worst_decile_all": worst_decile(every),
    }


# -- beginning, saving, going on ---------------------------------------------------------


def load_data(config: Config) -> Dataset:
    """Load the images that the settings name, averaged over squares of pixels where asked."""
    data = load_dataset(config.data.name, config.data.dir)
    return Dataset(pooled(data.image, config.data.pool), data.label, data.name, data.sha256)


def build_world(config: Config, data: Dataset | None = None) -> World:
    """Deal out the data, and draw the devices.

    Raises
    ------
    ConfigError, DataError
        If settings or data are wrong, or there is no such device.
    """
    device = _device(config.device)
    data = load_data(config) if data is None else data
    chosen = split(data, config.data.test_fraction, config.data.limit, config.seed)
    partition = deal(data, *chosen, config.partition, config.seed).to(device)
    channels, height, width = data.image.shape[1:]
    model = config.model
    spec = ModelSpec((channels, height, width), data.n_classes, model.experts, model.layers,
                     model.trunk, model.width, model.expert_width, model.top_k)
    params = init_params(spec, config.seed)
    shared = model.gate == "shared"
    per_layer = [
        sum(params[name][0].numel() for name in layer_names(layer)
            if shared or not name.startswith("gate."))
        for layer in range(spec.n_layers)
    ]
    return World(
        config, spec, partition,
        draw_fleet(config.partition.clients, config.fleet, config.seed),
        FLOAT_BYTES * sum(params[name].numel() for name in trunk_names(params)),
        [FLOAT_BYTES * numbers for numbers in per_layer for _ in range(spec.n_experts)],
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
    model = init_params(spec, config.seed)
    if config.model.gate == "personal":
        for layer in range(spec.n_layers):
            gate = model[f"gate.{layer}.weight"]
            model[f"gate.{layer}.weight"] = gate.expand(config.partition.clients, -1, -1).clone()
    model = {name: value.to(config.device) for name, value in model.items()}
    shape = (config.partition.clients, spec.total_experts)
    return State(
        model, {}, build_aligner(config, spec, world.expert_bytes, world.fleet),
        np.zeros(spec.total_experts, np.int64), np.zeros(shape, np.bool_),
        [],
    )


def save(world: World, state: State, folder: Path) -> None:
    """Write a checkpoint, replacing the last one in one step."""
    save_checkpoint(folder / "checkpoint.safetensors", {
        "config": _identity(world.config),
        "model": {name: value.cpu().numpy() for name, value in state.model.items()},
        "velocity": {name: value.cpu().numpy() for name, value in state.velocity.items()},
        "aligner": state.aligner.state_dict(),
        "holders": state.holders, "held": state.held, "records": state.records,
    })


def restore(world: World, state: State, folder: Path) -> None:
    """Put a folder's checkpoint into a state.

    Raises
    ------
    CheckpointError
        If it is damaged or of a run with other settings.
    """
    path = folder / "checkpoint.safetensors"
    saved = load_checkpoint(path)
    mine, theirs = _identity(world.config), saved["config"]
    if mine != theirs:
        name = next(key for key in {**mine, **theirs} if mine.get(key) != theirs.get(key))
        raise CheckpointError(f"{path}: made with another {name}: {theirs.get(name)}, not "
                              f"{mine.get(name)}; choose another folder, or remove this one")
    device = world.config.device
    state.model = {name: torch.from_numpy(value).to(device)
                   for name, value in saved["model"].items()}
    state.velocity = {name: torch.from_numpy(value).to(device)
                      for name, value in saved["velocity"].items()}
    state.aligner.load_state_dict(saved["aligner"])
    state.holders, state.held = saved["holders"], saved["held"]
    state.records = saved["records"]


def _identity(config: Config) -> dict[str, Any]:
    """Return the settings that a run's numbers depend on."""
    ignored = {"rounds", "checkpoint_every", "targets", "device"}
    found: dict[str, Any] = config.model_dump(mode="json", exclude=ignored)
    found["data"].pop("dir")
    return found


def _write(path: Path, text: str) -> None:
    with atomic_write(path) as stream:
        stream.write(text.encode())


def _write_records(folder: Path, records: list[Record]) -> None:
    """Write the rounds of the checkpoint: later lines belong to rounds to be played again."""
    _write(folder / "rounds.jsonl", "".join(json.dumps(record) + "\n" for record in records))
