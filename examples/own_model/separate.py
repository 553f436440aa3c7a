"""Train a mixture of experts of your own, with a module for each expert."""

import numpy as np
import torch
from torch import nn

import fedloop
from fedloop.config import build_config
from fedloop.tasks.readers import Dataset

N_EXPERTS, WIDTH, TOP_K = 4, 16, 2


class MoE(nn.Module):
    """Experts and the router beside them, known by these two names."""

    def __init__(self):
        super().__init__()
        self.router = nn.Linear(WIDTH, N_EXPERTS, bias=False)
        self.experts = nn.ModuleList(nn.Linear(WIDTH, WIDTH) for _ in range(N_EXPERTS))

    def forward(self, h):
        best = self.router(h).topk(TOP_K)
        weight = torch.zeros(len(h), N_EXPERTS).scatter(1, best.indices, best.values.softmax(1))
        outputs = torch.stack([expert(h).relu() for expert in self.experts], 1)
        return h + (weight[:, :, None] * outputs).sum(1)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Linear(64, WIDTH)
        self.first, self.second = MoE(), MoE()
        self.head = nn.Linear(WIDTH, 4)

    def forward(self, image):
        return self.head(self.second(self.first(self.body(image.flatten(1)).relu())))


def data():
    """Blobs in one of four corners: the label says which."""
    rng = np.random.default_rng(0)
    image, label = rng.random((800, 1, 8, 8), np.float32), rng.integers(4, size=800)
    for picture, corner in zip(image[:, 0], label, strict=True):
        row, column = 4 * (corner // 2), 4 * (corner % 2)
        picture[row:row + 4, column:column + 4] += 0.5
    return Dataset(image, label, "corners", {})


def main(rounds=20):
    torch.manual_seed(0)
    config = build_config({"rounds": rounds, "partition": {"clients": 8, "kind": "iid"},
                           "fleet": {"tiers": ["laptop"]}})
    return fedloop.run_training(config, Net(), data())[1].records


if __name__ == "__main__":
    for record in main():
        print(record["round"], f"{record['accuracy']:.3f}")
