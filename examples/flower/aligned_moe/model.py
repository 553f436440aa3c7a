"""The model: any PyTorch module does whose parameters' names tell the expert they belong to."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

N_EXPERTS = 8
N_PIXELS, N_CLASSES, WIDTH = 64, 10, 64

#: Finds the expert's number in names such as ``experts.3.0.weight``.
EXPERT_NAME = r"^experts\.(\d+)\."


class MoE(nn.Module):
    """A shared body and gate, and the experts that are held.

    Parameters
    ----------
    held : iterable of int
        The experts' numbers; a client's model has only those it was sent.
    """

    def __init__(self, held: Iterable[int] = range(N_EXPERTS)) -> None:
        super().__init__()
        self.held = sorted(held)
        self.body = nn.Sequential(nn.Linear(N_PIXELS, WIDTH), nn.ReLU())
        self.gate = nn.Linear(WIDTH, N_EXPERTS, bias=False)
        self.experts = nn.ModuleDict({
            str(number): nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.ReLU(),
                                       nn.Linear(WIDTH, N_CLASSES))
            for number in self.held
        })

    def shares(self, hidden: Tensor) -> Tensor:
        """Return how much each held expert counts for each image: (images, experts held)."""
        return self.gate(hidden)[:, self.held].softmax(dim=1)

    def forward(self, image: Tensor) -> Tensor:
        """Return logits (images, classes) for images (images, pixels)."""
        hidden = self.body(image)
        outputs = torch.stack([expert(hidden) for expert in self.experts.values()], dim=2)
        return (outputs * self.shares(hidden)[:, None, :]).sum(dim=2)

    def alone(self, expert: int, image: Tensor) -> Tensor:
        """Return the logits of one expert on its own."""
        return self.experts[str(expert)](self.body(image))
