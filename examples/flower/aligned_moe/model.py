"""The model: any PyTorch module does that `fedloop.ExpertMap` recognises, or is told about."""

import torch
from torch import nn

from fedloop import ExpertMap


class MoE(nn.Module):
    def __init__(self, n_experts=8, width=64, pixels=64, classes=10):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(pixels, width), nn.ReLU())
        self.gate = nn.Linear(width, n_experts, bias=False)
        self.experts = nn.ModuleList(
            nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, classes))
            for _ in range(n_experts))

    def shares(self, image):
        return self.gate(self.body(image)).softmax(dim=1)

    def forward(self, image):
        share, hidden = self.shares(image), self.body(image)
        return sum(share[:, [at]] * expert(hidden) for at, expert in enumerate(self.experts))


torch.manual_seed(0)
MODEL = MoE()
EXPERTS = ExpertMap.of(MODEL)
