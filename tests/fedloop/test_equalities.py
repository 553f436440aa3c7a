"""The whole loop at its two ends: one client and one expert, and everybody with everything."""

import pytest
import torch
from torch import nn

from fedloop.client import draw_batches
from fedloop.config import build_config
from fedloop.model import EXPERT_PARTS, init_params
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
        self.n = len(params["gate.0.weight"])
        self.trunk, self.gate = nn.Linear(64, 16), nn.Linear(16, self.n, bias=False)
        self.inner = nn.ModuleList(nn.Linear(16, 8) for _ in range(self.n))
        self.outer = nn.ModuleList(nn.Linear(8, 10) for _ in range(self.n))
        with torch.no_grad():
            for value, wanted in zip(self.parameters(), self.flat(params), strict=True):
                value.copy_(wanted)

    @staticmethod
    def flat(params):
        w_in, b_in, w_out, b_out = (params[f"experts.0.{part}"] for part in EXPERT_PARTS)
        inner = [part[e] for e in range(len(w_in)) for part in (w_in, b_in)]
        outer = [part[e] for e in range(len(w_in)) for part in (w_out, b_out)]
        return [params["trunk.linear.weight"], params["trunk.linear.bias"],
                params["gate.0.weight"], *inner, *outer]

    def forward(self, image):
        h = self.trunk(image.flatten(1)).relu()
        outputs = [b(a(h).relu()) for a, b in zip(self.inner, self.outer, strict=True)]
        if self.n == 1:
            return outputs[0]
        return (self.gate(h).softmax(1)[:, :, None] * torch.stack(outputs, 1)).sum(1)


def trained(model, world, client, round_):
    """Let a client train a model as `torch.optim.SGD` does."""
    data, local = world.partition.train, world.config.local
    optimiser = torch.optim.SGD(model.parameters(), lr=local.learning_rate)
    seed = world.config.seed
    for chosen in draw_batches(seed, round_, client, data.size(client), local):
        optimiser.zero_grad()
        chosen = chosen + int(data.first[client])
        nn.functional.cross_entropy(model(data.image[chosen]), data.label[chosen]).backward()
        optimiser.step()
    return model


def test_one_client_with_one_expert_is_ordinary_training_to_the_last_bit():
    chosen = config(clients=1, experts=1, local={"batched": False})
    world, state = train(chosen)
    model = DenseMoE(init_params(world.spec, chosen.seed))
    for round_ in range(1, ROUNDS + 1):
        trained(model, world, 0, round_)
    for value, found in zip(model.parameters(), DenseMoE.flat(state.model), strict=True):
        assert torch.equal(value, found)


@pytest.mark.parametrize("batched", [False, True])
def test_all_experts_everywhere_are_fedavg_of_the_dense_model(batched):
    chosen = config(clients=5, experts=4, local={"batched": batched})
    world = build_world(chosen)
    params = DenseMoE.flat(init_params(world.spec, chosen.seed))
    model = DenseMoE(init_params(world.spec, chosen.seed))
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
