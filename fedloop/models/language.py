"""A language model of bytes: causal attention and MoE layers over 256 symbols.

byte_BT -> embedding -> block, ..., block -> logit of the next byte, (B, T, 256)
"""

from __future__ import annotations

import math

import torch
from torch import Generator, Tensor, nn

from fedloop.config import ModelSettings
from fedloop.models.moe import Linear, MoELayer, uniform

#: Symbols: all bytes.
SYMBOLS = 256

#: Heads of attention.
HEADS = 4


class Attention(nn.Module):
    """Causal attention of `HEADS` heads [1]_.

    References
    ----------
    .. [1] A. Vaswani et al., "Attention Is All You Need", NeurIPS 2017, arXiv:1706.03762.
    """

    def __init__(self, width: int, generator: Generator) -> None:
        super().__init__()
        self.ask = Linear(width, 3 * width, generator)
        self.answer = Linear(width, width, generator)

    def forward(self, h_BTH: Tensor) -> Tensor:
        """Return what every byte learns from those before it and itself, (B, T, H)."""
        query, key, value = self.ask(h_BTH).unflatten(-1, (3 * HEADS, -1)).transpose(-2, -3).chunk(
            3, dim=-3)
        score = query @ key.mT / math.sqrt(query.shape[-1])
        later = torch.ones(score.shape[-2:], dtype=torch.bool, device=score.device).triu(1)
        weight = score.masked_fill(later, -math.inf).softmax(dim=-1)
        found: Tensor = self.answer((weight @ value).transpose(-2, -3).flatten(-2))
        return found


class Block(nn.Module):
    """Attention and a MoE layer, each normalised before and added."""

    def __init__(self, settings: ModelSettings, generator: Generator) -> None:
        super().__init__()
        width = settings.width
        self.before_attention, self.before_experts = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = Attention(width, generator)
        self.moe = MoELayer(width, settings.experts, settings.expert_width, width, settings.top_k,
                            generator)

    def forward(self, h_BTH: Tensor) -> Tensor:
        """Return h_BTH."""
        h_BTH = h_BTH + self.attention(self.before_attention(h_BTH))
        mix = self.moe(self.before_experts(h_BTH).flatten(0, 1))
        found: Tensor = h_BTH + mix.view_as(h_BTH)
        return found


class ByteModel(nn.Module):
    """Predicts every byte of a window from those before it.

    Parameters
    ----------
    window : int
        T, most bytes of a window.
    settings : ModelSettings
        Sizes.
    generator : Generator
        Draws the parameters.
    """

    def __init__(self, window: int, settings: ModelSettings, generator: Generator) -> None:
        super().__init__()
        width = settings.width
        self.symbol = nn.Parameter(uniform(SYMBOLS, width, fan_in=width, generator=generator))
        self.place = nn.Parameter(uniform(window, width, fan_in=width, generator=generator))
        self.layers = nn.ModuleList(Block(settings, generator) for _ in range(settings.layers))
        self.norm = nn.LayerNorm(width)
        self.head = Linear(width, SYMBOLS, generator)

    def forward(self, byte_BT: Tensor) -> Tensor:
        """Return logits of the next byte, (B, T, 256), of bytes as int64, (B, T)."""
        h_BTH = nn.functional.embedding(byte_BT, self.symbol) + self.place[:byte_BT.shape[-1]]
        for layer in self.layers:
            h_BTH = layer(h_BTH)
        logit: Tensor = self.head(self.norm(h_BTH))
        return logit
