"""A classifier of images: a trunk that all clients train, then MoE layers.

    image -> trunk -> h_BH -> MoE layer, ..., MoE layer -> logit_BC

Layers before the last add their mixture to their input; the last one's mixture is the
logits, so nothing but the trunk is common to all clients and experts have to do the work.
"""

from __future__ import annotations

from torch import Generator, Tensor, nn

from fedloop.config import ModelSettings
from fedloop.models.moe import Linear, MoELayer, uniform

#: Channels of the two convolutions of the trunk ``cnn``, and of the stages of ``resnet``.
CHANNELS, STAGES = (8, 16), (16, 32)

#: Groups of channels that `nn.GroupNorm` takes together.
GROUPS = 4


def conv(inputs: int, outputs: int, stride: int, generator: Generator) -> nn.Conv2d:
    """Return a 3 x 3 convolution with padding 1."""
    found = nn.Conv2d(inputs, outputs, 3, stride, padding=1, device="meta")
    drawn = (uniform(*value.shape, fan_in=9 * inputs, generator=generator)
             for value in found.parameters())
    found.weight, found.bias = map(nn.Parameter, drawn)
    return found


class ResidualBlock(nn.Module):
    """Halve the image, then add what another convolution finds; normalised by groups [1]_.

    References
    ----------
    .. [1] Y. Wu, K. He, "Group Normalization", ECCV 2018, arXiv:1803.08494. It needs no
       statistics of batches, which clients with different data would not share.
    """

    def __init__(self, inputs: int, outputs: int, generator: Generator) -> None:
        super().__init__()
        self.down = conv(inputs, outputs, 2, generator)
        self.norm = nn.GroupNorm(GROUPS, outputs)
        self.inner = conv(outputs, outputs, 1, generator)
        self.inner_norm = nn.GroupNorm(GROUPS, outputs)

    def forward(self, image: Tensor) -> Tensor:
        """Return images of half the height and width."""
        h = self.norm(self.down(image)).relu()
        found: Tensor = h + self.inner_norm(self.inner(h)).relu()
        return found


class Trunk(nn.Module):
    """What stands before the MoE layers: ``mlp``, ``cnn`` or ``resnet``, then a linear layer."""

    def __init__(
        self, image_shape: tuple[int, int, int], settings: ModelSettings, generator: Generator
    ) -> None:
        super().__init__()
        channels, height, width = image_shape
        self.stages = nn.ModuleList()
        shapes = {"mlp": (), "cnn": CHANNELS, "resnet": STAGES}[settings.trunk]
        for outputs in shapes:
            self.stages.append(
                conv(channels, outputs, 2, generator) if settings.trunk == "cnn"
                else ResidualBlock(channels, outputs, generator))
            channels, height, width = outputs, (height + 1) // 2, (width + 1) // 2
        self.linear = Linear(channels * height * width, settings.width, generator)
        self.norm = nn.LayerNorm(settings.width) if settings.norm == "layer" else nn.Identity()

    def forward(self, image: Tensor) -> Tensor:
        """Return h_BH."""
        for stage in self.stages:
            image = stage(image).relu()
        h_BH: Tensor = self.norm(self.linear(image.flatten(1))).relu()
        return h_BH


class Classifier(nn.Module):
    """Trunk and MoE layers.

    Parameters
    ----------
    image_shape : tuple of int
        Channels, height and width of an image, in pixels.
    n_classes : int
        C.
    settings : ModelSettings
        Sizes.
    generator : Generator
        Draws the parameters; the same on every machine.
    """

    def __init__(
        self, image_shape: tuple[int, int, int], n_classes: int, settings: ModelSettings,
        generator: Generator,
    ) -> None:
        super().__init__()
        self.trunk = Trunk(image_shape, settings, generator)
        last = settings.layers - 1
        self.layers = nn.ModuleList(
            MoELayer(settings.width, settings.experts, settings.expert_width,
                     n_classes if number == last else settings.width, settings.top_k, generator)
            for number in range(settings.layers))

    def forward(self, image: Tensor) -> Tensor:
        """Return logit_BC of images (B, channels, height, width)."""
        h_BH = self.trunk(image)
        *inner, last = self.layers
        for layer in inner:
            h_BH = h_BH + layer(h_BH)
        logit_BC: Tensor = last(h_BH)
        return logit_BC
