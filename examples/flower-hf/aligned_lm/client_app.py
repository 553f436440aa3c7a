"""The client: a model with the experts it holds, trained on one domain of text."""

import torch

import alignsolve as al
from aligned_lm import model
from fedloop.flower import trainable
from fedloop.flower.client import Update, client_app, losses_alone


def train(task):
    config = task.config
    whole, experts = model.of(config)
    part = experts.sub_model(whole, task.experts)
    part.load_state_dict(task.state, strict=False)
    own = model.windows(config["model"])[task.client % model.DOMAINS][8:]
    probe = own[8 * task.round % len(own):][:8]
    before = losses_alone(part, task.experts, lambda: part(probe, labels=probe).loss.item())
    moved = [value for value in part.parameters() if value.requires_grad]
    optimiser = torch.optim.AdamW(moved, lr=config["learning-rate"])
    draw = torch.Generator().manual_seed(1000 * task.round + task.client)
    for _ in range(config["local-steps"]):
        batch = own[torch.randint(len(own), (config["batch-size"],), generator=draw)]
        optimiser.zero_grad()
        part(batch, labels=batch, output_router_logits=True).loss.backward()
        torch.nn.utils.clip_grad_norm_(moved, 1.0)
        optimiser.step()
    samples = config["local-steps"] * config["batch-size"]
    return Update(trainable(part), samples, {
        expert: al.ExpertReport(samples=samples, loss_before=loss)
        for expert, loss in before.items()})


app = client_app(train, lambda config: model.of(config)[1])
