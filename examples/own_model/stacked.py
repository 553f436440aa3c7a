"""The model of `separate.py` with all experts of a layer in one tensor: the same curve."""

import separate
import torch
import torch.nn.functional as F
from separate import N_EXPERTS, TOP_K
from torch import nn

import fedloop
from fedloop.config import build_config


class Experts(nn.Module):
    """Weights and biases with the experts along the first axis."""

    def __init__(self, separate_ones):
        super().__init__()
        self.weight = nn.Parameter(torch.stack([one.weight.detach() for one in separate_ones]))
        self.bias = nn.Parameter(torch.stack([one.bias.detach() for one in separate_ones]))

    def forward(self, h):
        rows = zip(self.weight, self.bias, strict=True)
        return torch.stack([F.linear(h, weight, bias) for weight, bias in rows], 1)


class MoE(nn.Module):
    def __init__(self, other):
        super().__init__()
        self.router, self.experts = other.router, Experts(other.experts)

    def forward(self, h):
        best = self.router(h).topk(TOP_K)
        weight = torch.zeros(len(h), N_EXPERTS).scatter(1, best.indices, best.values.softmax(1))
        return h + (weight[:, :, None] * self.experts(h).relu()).sum(1)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        other = separate.Net()
        self.body, self.head = other.body, other.head
        self.first, self.second = MoE(other.first), MoE(other.second)

    def forward(self, image):
        return self.head(self.second(self.first(self.body(image.flatten(1)).relu())))


def main(rounds=20):
    torch.manual_seed(0)
    config = build_config({"rounds": rounds, "partition": {"clients": 8, "kind": "iid"},
                           "fleet": {"tiers": ["laptop"]}})
    return fedloop.run_training(config, Net(), separate.data())[1].records


if __name__ == "__main__":
    for record in main():
        print(record["round"], f"{record['accuracy']:.3f}")
