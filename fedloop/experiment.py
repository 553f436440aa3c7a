"""The round loop, to be read from top to bottom.

sample participants -> plan -> send -> train -> report -> aggregate -> evaluate
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

import alignsolve as al
from alignsolve.aligner.checks import COUNT
from alignsolve.io.files import write_text
from fedloop.checkpoint import NAME, writing
from fedloop.config import Config, config_json
from fedloop.errors import ConfigError
from fedloop.evaluation import judge_clients
from fedloop.fleet import Luck, Times, draw_luck, round_times
from fedloop.local.client import Training
from fedloop.local.executors import train_participants
from fedloop.metrics import balance, worst_decile
from fedloop.models.expert_model import ExpertModel
from fedloop.privacy import protect
from fedloop.saving import Saving, contents, json_line, restore
from fedloop.server.aggregation import aggregate, sound_updates
from fedloop.server.delivery import collect, deliver
from fedloop.server.features import update_features
from fedloop.server.optimisers import server_step
from fedloop.server.router import ClosedFormRouter, client_weights, closed_form_router, example_sums
from fedloop.strategies import known_fitness, make_reports
from fedloop.tasks.base import Task
from fedloop.world import Record, State, World, build_world, start

#: Trains the clients that are asked: (world, state, clients, experts by client, round) ->
#: those that answered, in order; None where nobody did.
Trainer = Callable[[World, State, list[int], dict[int, list[int]], int], Training | None]

#: Rounds before the last one from which a client's experts are chosen to serve it, where all
#: clients take part in each.
RECENT = 5

#: Least fitness, as a share of the best of the layer, of an expert that serves a client.
LEAST = 0.3


def run_training(
    config: Config, model: nn.Module | None = None, data: Any = None,
    folder: Path | None = None, *, task: Task | None = None,
    on_round: Callable[[Record], None] | None = None, stop_after: int | None = None,
    trainer: Trainer | None = None,
) -> tuple[World, State]:
    """Run, or resume, a federated training.

    Parameters
    ----------
    config : Config
        Settings.
    model : nn.Module, optional
        A module with experts, trained from the parameters that it has; None builds the one
        that the settings name.
    data : optional
        `fedloop.tasks.readers.Dataset` of images, `fedloop.tasks.text.Text`, a dataset
        partitioned by flwr-datasets, or what `task` deals out; None loads what the settings
        name.
    folder : Path, optional
        Where ``config.json``, ``partition.json``, ``rounds.jsonl`` and
        ``checkpoint.safetensors`` go. If it holds a checkpoint of the same
        settings, the run goes on from there, and ends in the same bits as one
        that was never interrupted. Ctrl-C leaves the checkpoint of the last whole
        round. None keeps everything in memory.
    task : Task, optional
        A user's own, as `fedloop.tasks.base.Task`.
    on_round : callable, optional
        Called with the record of every round.
    stop_after : int, optional
        Last round to play now; 0 plays none, and only prepares the folder.
    trainer : callable, optional
        Has clients train elsewhere; None trains them in this process.

    Returns
    -------
    world, state : World, State
        `state.records` has one record per round.

    Raises
    ------
    ConfigError, DataError
        If settings or data are wrong, or `stop_after` is no round.
    CheckpointError
        If the folder holds a checkpoint that is damaged or of other settings, or
        another run is writing it.

    Examples
    --------
    Two rounds of handwritten digits:

    >>> import fedloop
    >>> from fedloop.config import Config
    >>> world, state = fedloop.run_training(Config(rounds=2))
    >>> [record["round"] for record in state.records]
    [1, 2]
    """
    if stop_after is not None and (fault := COUNT.fault("stop_after", stop_after)):
        raise ConfigError(f"{fault}, or None")
    torch.set_num_threads(config.threads)
    world = build_world(config, data, model, task)
    state = start(world)
    last = config.rounds if stop_after is None else min(config.rounds, stop_after)
    with nullcontext() if folder is None else writing(folder):
        if folder is not None:
            _open(world, state, folder)
        with Saving(folder, config.checkpoint_every) as saving:
            while len(state.records) < last:
                record = play_round(world, state, trainer or train_here)
                saving.take(record, lambda: contents(world, state), record["round"] == last)
                if on_round is not None:
                    on_round(record)
    return world, state


def _open(world: World, state: State, folder: Path) -> None:
    """Go on from a folder's checkpoint, if there is one, and write what stands beside it."""
    if (folder / NAME).exists():
        restore(world, state, folder)
    write_text(folder / "config.json", [config_json(world.config)])
    write_text(folder / "partition.json", [json.dumps(world.partition.manifest, indent=1), "\n"])
    # Later lines belong to rounds to be played again.
    write_text(folder / "rounds.jsonl", map(json_line, state.records))


def train_here(
    world: World, state: State, clients: list[int], held: dict[int, list[int]], number: int
) -> Training:
    """Train clients in this process."""
    config = world.config
    sent, rounded = world.spec.own_rows(state.model, clients), config.payload != "native"
    if rounded:
        sent = deliver(world.spec, sent, state.received, clients, held)
    training = train_participants(
        world.spec, world.task, sent, world.partition.train, clients,
        [held[client] for client in clients], config.local, config.seed, number,
        config.local.batched)
    if rounded:
        training = collect(world.spec, state.model, state.received, state.lost, training)
    return protect(training, config.privacy, config.seed, number)


def play_round(world: World, state: State, trainer: Trainer = train_here) -> Record:
    """Play one round and return its record."""
    config, spec, number = world.config, world.spec, len(state.records) + 1
    clients = sample_participants(config, number)
    plan = state.aligner.plan(clients, deadline_s=config.fleet.deadline_s,
                              fitness=known_fitness(config, spec, clients))
    held = {client: plan.experts_of(client).tolist() for client in clients}
    luck = draw_luck(config.seed, number, config.partition.clients, config.fleet)
    times = simulate(world, plan, held, luck)

    # A client without an expert in every layer has no model to train.
    asked = [client for client in clients if has_every_layer(held[client], spec)]
    failed = [client for client in asked if luck[client].fails]
    deadline = config.fleet.deadline_s
    late = [client for client in asked if client not in failed
            and deadline is not None and times[client].total > deadline]
    finishing = [client for client in asked if client not in failed and client not in late]

    training = trainer(world, state, finishing, held, number) if finishing else None
    answered = list(training.clients) if training is not None else []
    failed = sorted({*failed, *finishing} - {*answered})
    finishing, accepted = answered, np.zeros(0, np.bool_)
    if training is not None:
        _corrupt(world, training, [luck[client].corrupts for client in finishing])
        accepted = take_in(world, state, plan, training, times)
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
        "loss": mean_loss(training, accepted),
        "load_cv": balance(state.holders),
        "holders": state.holders.tolist(),
        "down_bytes": sum(one.down_bytes for one in times.values()),
        "up_bytes": sum(times[client].up_bytes for client in finishing),
        "client_bytes": {str(client): [one.down_bytes, one.up_bytes * (client in finishing)]
                         for client, one in times.items()},
        "seconds": max(waited, default=0.0),
        "finished": int(accepted.sum()),
        "late": late, "failed": failed, "refused": refused,
        "idle": [client for client in clients if client not in asked],
        "relaxed": [str(relaxation) for relaxation in plan.relaxations],
        "held": {str(client): experts for client, experts in held.items()},
    }
    state.records.append(record)
    record |= evaluate(world, state)
    return record


def sample_participants(config: Config, number: int) -> list[int]:
    """Return the clients of a round, ascending; the same for every strategy."""
    everybody = np.arange(config.partition.clients)
    if config.participants is None:
        return everybody.tolist()
    rng = np.random.default_rng((config.seed, number, 6))
    return sorted(rng.choice(everybody, config.participants, replace=False).tolist())


def has_every_layer(experts: Iterable[int], spec: ExpertModel) -> bool:
    """Return whether experts, numbered through all layers, include one of every layer."""
    return len({expert // spec.n_experts for expert in experts}) == spec.n_layers


def simulate(
    world: World, plan: al.Plan, held: dict[int, list[int]], luck: list[Luck]
) -> dict[int, Times]:
    """Return times of every participant, and the bytes that it moves, if nothing goes wrong.

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

    def moved(experts: list[int]) -> int:
        return world.trunk_bytes + sum(world.expert_bytes[expert] for expert in experts)

    return {client: round_times(
        world.fleet[client], luck[client], moved(plan.downloads_of(client).tolist()),
        moved(experts), images * len(experts)) for client, experts in held.items()}


def _corrupt(world: World, training: Training, corrupts: list[bool]) -> None:
    """Put NaN into what some clients send of what all share."""
    name = world.spec.layout.shared(training.params)[0]
    training.params[name][torch.tensor(corrupts)] = torch.nan


def take_in(
    world: World, state: State, plan: al.Plan, training: Training, times: dict[int, Times]
) -> np.ndarray:
    """Decide once who counts, for the aligner and the average alike: bool, shape (N,).

    A client does whose numbers are finite and whose report the aligner takes.
    """
    sound = sound_updates(training, world.spec.layout).cpu().numpy()
    images = world.config.local.steps * world.config.local.batch_size
    reports = make_reports(training, plan, sound, images, times, world.spec)
    if world.config.alignment.shared_evidence:
        features = update_features(state.model, training, world.spec.layout, sound, state.aligner,
                                   world.config.seed)
        reports = [replace(report, features=features.get(int(report.client)))
                   for report in reports]
    refused = {refusal.client for refusal in state.aligner.observe(plan, reports).refused}
    accepted: np.ndarray = sound & [client not in refused for client in training.clients]
    update_model(world, state, training, accepted)
    return accepted


def mean_loss(training: Training | None, accepted: np.ndarray) -> float | None:
    """Return the mean training loss of the clients that count; None where nobody does."""
    if training is None or not accepted.any():
        return None
    return float(training.loss.cpu().numpy()[accepted].mean(dtype=np.float64))


def update_model(world: World, state: State, training: Training, accepted: np.ndarray) -> None:
    """Average what was accepted into the server's model, and count its holders."""
    config, spec = world.config, world.spec
    good = torch.from_numpy(accepted).to(training.loss.device)
    samples = [world.partition.train.size(client) for client in training.clients]
    new = aggregate(state.model, training, spec.layout, good, samples, config.server.weighting)
    personal = frozenset(name for name, value in new.items() if value.ndim > spec.ndim[name])
    state.model, state.velocity, state.square = server_step(
        state.model, new, state.velocity, state.square, config.server,
        dict.fromkeys(spec.layout.layer_of, 1), personal)
    for layer, pair in enumerate(training.pairs):
        finished = layer * spec.n_experts + pair.expert[good[pair.client]]
        np.add.at(state.holders, finished.cpu().numpy(), 1)


def evaluate(world: World, state: State) -> Record:
    """Return figures of held-out examples: as clients are served, and with all experts.

    `accuracy` is that of the experts that a client is served with, `accuracy_held` of those
    that its last plan gave it, finished or not. A client that no plan gave any of a layer is judged
    with all of that layer in `accuracy_held`, and where `alignment.serve` is ``held``; else
    one that trained none of a layer is served with the best of that layer for all clients, as
    many as it has room for.
    """
    n_layers, n_experts = world.spec.n_layers, world.spec.n_experts
    layers = state.held.reshape(len(state.held), n_layers, n_experts)
    held = np.where(layers.any(axis=2, keepdims=True), layers, True).reshape(state.held.shape)
    served = held
    if world.config.alignment.serve == "best":
        served = best_experts(world, state)
    # Our own models can be judged for all clients at once, whoever trains them.
    batched = world.spec.sliceable or world.config.local.batched
    (own, last), (loss, _) = judge_clients(
        world.spec, world.task, state.model, world.partition.test, served, held, batched=batched)
    spec = world.spec
    if world.config.server.router == "closed-form" and world.config.model.gate == "shared":
        spec = replace(spec, router=global_router(world, state, served))
    (every,), (loss_all,) = judge_clients(
        spec, world.task, state.model, world.partition.test, None, batched=batched)
    return {
        "accuracy": float(own.mean()), "worst_decile": worst_decile(own),
        "accuracy_held": float(last.mean()), "worst_decile_held": worst_decile(last),
        "accuracy_all": float(every.mean()), "worst_decile_all": worst_decile(every),
        **world.task.metrics(loss, loss_all),
    }


def global_router(world: World, state: State, served: np.ndarray) -> ClosedFormRouter:
    """Return a router of all experts from what clients are served with and their data's sums."""
    fitness = state.aligner.fitness(range(len(served)))
    weights = client_weights(fitness, served, world.spec.n_layers)
    sums = world.image_sums or example_sums(world.spec, state.model, world.partition.train,
                                            world.config.seed)
    return closed_form_router(sums, weights)


def best_experts(world: World, state: State) -> np.ndarray:
    """Return with which experts clients are served: bool, shape (clients, experts).

    Of every layer those that are best by its own reports, as many as the client has room for, among
    those that it trained (`trained_lately`): it is not served with what it only tries out, nor
    with what is not known to suit it now. Those below `LEAST` of the best are left out even
    where there is room: routers send them examples that the others would get right.
    """
    spec = world.spec
    layers = trained_lately(world, state).reshape(-1, spec.n_layers, spec.n_experts)
    layers = np.where(layers.any(axis=2, keepdims=True), layers, True)
    fitness = state.aligner.fitness(range(len(layers))).reshape(layers.shape)
    fitness = np.where(layers, fitness, -np.inf)
    rank = np.argsort(np.argsort(-fitness, axis=2, kind="stable"), axis=2)
    slots = np.array([device.slots for device in world.fleet])[:, None, None]
    enough = fitness >= LEAST * fitness.max(axis=2, keepdims=True)
    served: np.ndarray = (rank == 0) | ((rank < slots) & enough)
    return served.reshape(len(served), spec.total_experts)


def trained_lately(world: World, state: State) -> np.ndarray:
    """Return which experts clients trained of late: bool, shape (clients, experts).

    In the last round and in about `RECENT` before it in which the client took part; of a client
    of which no update was accepted in them, those of its last one that was.
    """
    config = world.config
    trained = np.zeros((config.partition.clients, world.spec.total_experts), np.bool_)
    since = RECENT * config.partition.clients // (config.participants or config.partition.clients)
    for ago, record in enumerate(reversed(state.records)):
        has_some = np.asarray(trained.any(axis=1))
        if ago > since and has_some.all():
            break
        missed = {*record["late"], *record["failed"], *record["refused"], *record["idle"]}
        for name, experts in record["held"].items():
            client = int(name)
            if client not in missed and (ago <= since or not has_some[client]):
                trained[client, experts] = True
    return trained
