"""The whole loop at its two ends: one client and one expert, and everybody with everything."""

import copy

import pytest
import torch
from torch import nn

from fedloop.config import build_config
from fedloop.local.batches import draw_batches
from fedloop.train import build_world, train

ROUNDS = 3


def config(**groups):
    return build_config({
        "seed": 3, "rounds": ROUNDS, "local": {"steps": 3, "batch_size": 16, **groups["local"]},
        "partition": {"kind": "iid", "clients": groups["clients"]},
        "model": {"experts": groups["experts"], "top_k": groups["experts"], "width": 16,
                  "expert_width": 8},
        "fleet": {"tiers": ["hospital"]},  # room for four experts
        "server": {"weighting": "samples"},
    })


class DenseMoE(nn.Module):
    """The model of `fedloop` as PyTorch's users would write it; all experts see every image."""

    def __init__(self, params):
        super().__init__()
        self.n = len(params["layers.0.router.weight"])
        self.trunk, self.gate = nn.Linear(64, 16), nn.Linear(16, self.n, bias=False)
        self.inner = nn.ModuleList(nn.Linear(16, 8) for _ in range(self.n))
        self.outer = nn.ModuleList(nn.Linear(8, 10) for _ in range(self.n))
        with torch.no_grad():
            for value, wanted in zip(self.parameters(), self.flat(params), strict=True):
                value.copy_(wanted)

    @staticmethod
    def flat(params):
        w_in, b_in, w_out, b_out = (
            params[f"layers.0.experts.{part}"] for part in
            ("in_weight", "in_bias", "out_weight", "out_bias"))
        inner = [part for e in range(len(w_in)) for part in (w_in[e].T, b_in[e])]
        outer = [part for e in range(len(w_in)) for part in (w_out[e].T, b_out[e])]
        return [params["trunk.linear.weight"].T, params["trunk.linear.bias"],
                params["layers.0.router.weight"], *inner, *outer]

    def forward(self, image):
        h = self.trunk(image.flatten(1)).relu()
        outputs = [b(a(h).relu()) for a, b in zip(self.inner, self.outer, strict=True)]
        if self.n == 1:
            return outputs[0]
        return (self.gate(h).softmax(1)[:, :, None] * torch.stack(outputs, 1)).sum(1)


def trained(model, world, client, round_):
    """Let a client train a model with PyTorch's own optimisers."""
    data, local = world.partition.train, world.config.local
    optimiser = torch.optim.SGD(model.parameters(), local.learning_rate, local.momentum) \
        if local.optimiser == "sgd" else torch.optim.AdamW(
            model.parameters(), local.learning_rate, weight_decay=local.weight_decay)
    seed = world.config.seed
    for chosen in draw_batches(seed, round_, client, data.size(client), local):
        optimiser.zero_grad()
        chosen = chosen + int(data.first[client])
        nn.functional.cross_entropy(model(data.input[chosen]), data.target[chosen]).backward()
        if local.clip:
            nn.utils.clip_grad_norm_(model.parameters(), local.clip)
        optimiser.step()
    return model


@pytest.mark.parametrize("local", [
    {}, {"momentum": 0.8, "clip": 0.5},
    {"optimiser": "adamw", "weight_decay": 0.1, "learning_rate": 0.01},
], ids=["sgd", "momentum and clipping", "adamw"])
def test_one_client_with_all_experts_is_ordinary_training(local):
    chosen = config(clients=1, experts=4, local={"batched": False, **local})
    world, state = train(chosen)
    module, dense = copy.deepcopy(world.spec.module), DenseMoE(world.spec.initial())
    for model in (module, dense):
        for round_ in range(1, ROUNDS + 1):
            trained(model, world, 0, round_)
    for name, value in module.named_parameters():
        torch.testing.assert_close(state.model[name], value.detach())
    for value, found in zip(dense.parameters(), DenseMoE.flat(state.model), strict=True):
        torch.testing.assert_close(value.detach(), found, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("batched", [False, True])
def test_all_experts_everywhere_are_fedavg_of_the_dense_model(batched):
    chosen = config(clients=5, experts=4, local={"batched": batched})
    world = build_world(chosen)
    params = DenseMoE.flat(world.spec.initial())
    model = DenseMoE(world.spec.initial())
    share = world.partition.train.first
    share = (share[1:] - share[:-1]) / share[-1]
    for round_ in range(1, ROUNDS + 1):
        updates = []
        for client in range(5):
            with torch.no_grad():
                for value, start in zip(model.parameters(), params, strict=True):
                    value.copy_(start)
            trained(model, world, client, round_)
            updates.append([value.detach().clone() for value in model.parameters()])
        params = [sum(s * part for s, part in zip(share, parts, strict=True))
                  for parts in zip(*updates, strict=True)]
    _, state = train(chosen)
    assert all(len(held) == 4 for record in state.records for held in record["held"].values())
    for value, found in zip(params, DenseMoE.flat(state.model), strict=True):
        torch.testing.assert_close(found, value.float(), rtol=1e-4, atol=1e-5)
