"""The client: trains the experts it was sent, and says how they suit its data."""

from __future__ import annotations

import time

import numpy as np
import torch
import torch.nn.functional as F
from flwr.app import Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp

import alignsolve as al
from aligned_moe.data import client_data
from aligned_moe.model import MoE
from fedloop.flower.messages import CONFIG, METRICS, read_task, reply
from fedloop.privacy import protect_reports

app = ClientApp()


@app.query()
def introduce(message: Message, context: Context) -> Message:
    """Say which client this node is: Flower's own numbers are random."""
    record = MetricRecord({"partition-id": int(context.node_config["partition-id"])})
    return Message(RecordDict({METRICS: record}), reply_to=message)


@app.train()
def train(message: Message, context: Context) -> Message:
    """Train the parameters that were sent, and report on every expert among them."""
    begun, config = time.perf_counter(), message.content[CONFIG]
    arrays, experts, number = read_task(message)
    client = int(context.node_config["partition-id"])
    image, label = client_data(client, int(context.node_config["num-partitions"]))

    model = MoE(experts)
    model.load_state_dict({name: torch.from_numpy(value) for name, value in arrays.items()})
    before = judge(model, image, label)
    images = descend(model, image, label, config, seed=1000 * number + client)
    after, usage = judge(model, image, label), gate_usage(model, image)

    reports = {
        expert: al.ExpertReport(samples=images, gate_usage=usage[at], loss_before=before[at][0],
                                loss=after[at][0], accuracy=after[at][1])
        for at, expert in enumerate(model.held)
    }
    noise = float(config["noise-multiplier"])
    reports = protect_reports(reports, float(config["loss-bound"]), noise, np.random.default_rng())
    trained = {name: value.numpy() for name, value in model.state_dict().items()}
    return reply(message, trained, images, time.perf_counter() - begun, reports)


def descend(
    model: MoE, image: torch.Tensor, label: torch.Tensor, config: dict, seed: int
) -> int:
    """Make steps of gradient descent; return the number of images they used."""
    draw = torch.Generator().manual_seed(seed)
    optimiser = torch.optim.SGD(model.parameters(), lr=float(config["learning-rate"]))
    images = 0
    for _ in range(int(config["local-steps"])):
        batch = torch.randperm(len(label), generator=draw)[:int(config["batch-size"])]
        optimiser.zero_grad()
        F.cross_entropy(model(image[batch]), label[batch]).backward()
        optimiser.step()
        images += len(batch)
    return images


@torch.no_grad()
def judge(model: MoE, image: torch.Tensor, label: torch.Tensor) -> list[tuple[float, float]]:
    """Return loss and accuracy of every held expert on its own."""
    logits = [model.alone(expert, image) for expert in model.held]
    return [(F.cross_entropy(one, label).item(), (one.argmax(1) == label).float().mean().item())
            for one in logits]


@torch.no_grad()
def gate_usage(model: MoE, image: torch.Tensor) -> list[float]:
    """Return the share of the images that the gate sends to every held expert."""
    return model.shares(model.body(image)).mean(dim=0).tolist()
