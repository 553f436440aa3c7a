"""The client: trains the experts it was sent, and says how they suit its data."""

import numpy as np
import torch
import torch.nn.functional as F

import alignsolve as al
from aligned_moe.data import client_data
from aligned_moe.model import EXPERTS, MODEL
from fedloop.flower.client import Update, client_app, losses_alone
from fedloop.privacy import protect_reports


def train(task):
    config, (image, label) = task.config, client_data(task.client, task.n_clients)
    model = EXPERTS.sub_model(MODEL, task.experts)
    model.load_state_dict(task.state)
    before = losses_alone(model, task.experts, lambda: F.cross_entropy(model(image), label).item())
    optimiser = torch.optim.SGD(model.parameters(), lr=config["learning-rate"])
    draw, images = torch.Generator().manual_seed(1000 * task.round + task.client), 0
    for _ in range(config["local-steps"]):
        batch = torch.randperm(len(label), generator=draw)[:config["batch-size"]]
        optimiser.zero_grad()
        F.cross_entropy(model(image[batch]), label[batch]).backward()
        optimiser.step()
        images += len(batch)
    usage = dict(zip(before, model.shares(image).mean(dim=0).tolist(), strict=True))
    reports = {expert: al.ExpertReport(samples=images, loss_before=loss, gate_usage=usage[expert])
               for expert, loss in before.items()}
    return Update(model.state_dict(), images, protect_reports(
        reports, config["loss-bound"], config["noise-multiplier"], np.random.default_rng()))


app = client_app(train, EXPERTS)
