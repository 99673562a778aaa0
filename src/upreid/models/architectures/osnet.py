"""OSNet: blocks with streams of several depths, mixed by a gate that all share (Zhou et al., arXiv 1905.00953, 1910.06827).

The names of the layers are those of the published weights, so that these load without a table. The feature is that of the layer
`fc`, as published models are tested: pooling, a linear layer of 512, BatchNorm and ReLU.
"""

from functools import partial
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from upreid.models.architectures.registry import register

WIDTHS = {
    "x1_0": (64, 256, 384, 512),
    "x0_75": (48, 192, 288, 384),
    "x0_5": (32, 128, 192, 256),
    "x0_25": (16, 64, 96, 128),
}
"""Number of channels of the stem and of the three stages."""
FEATURES = 512
"""Number of features."""
STREAMS = ("conv2a", "conv2b", "conv2c", "conv2d")
"""Names of the streams of a block, from one layer to four."""
AIN = ((True, True), (False, True), (True, False))
"""Blocks of OSNet-AIN's stages that normalise per image inside the residual."""


class ConvNorm(nn.Module):
    """Convolution, normalisation and perhaps ReLU."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        size: int = 1,
        *,
        stride: int = 1,
        norm: type[nn.Module] | None,
        relu: bool = True,
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, size, stride=stride, padding=size // 2, bias=False)
        if norm is not None:
            self.bn = norm(outputs, affine=True)
        self.has_norm, self.has_relu = norm is not None, relu

    def forward(self, maps: Float[Tensor, "batch _ _ _"]) -> Float[Tensor, "batch _ _ _"]:
        """Return the new maps."""
        maps = self.conv(maps)
        maps = self.bn(maps) if self.has_norm else maps
        return F.relu(maps) if self.has_relu else maps


class LightConv(nn.Module):
    """A 1x1 convolution and a 3x3 convolution per channel, with one norm."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 1, bias=False)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False)
        self.bn = nn.BatchNorm2d(channels)

    def forward(self, maps: Float[Tensor, "batch channels _ _"]) -> Float[Tensor, "batch channels _ _"]:
        """Return the new maps."""
        return F.relu(self.bn(self.conv2(self.conv1(maps))))


class Stream(nn.Module):
    """A stream of OSNet-AIN, which keeps its layers under a name of its own."""

    def __init__(self, channels: int, depth: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(*[LightConv(channels) for _ in range(depth)])

    def forward(self, maps: Float[Tensor, "batch channels _ _"]) -> Float[Tensor, "batch channels _ _"]:
        """Return the maps of the last layer."""
        return self.layers(maps)


class Gate(nn.Module):
    """Weight of each channel, from its mean over all places."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.fc1 = nn.Conv2d(channels, channels // 16, 1)
        self.fc2 = nn.Conv2d(channels // 16, channels, 1)

    def forward(self, maps: Float[Tensor, "batch channels _ _"]) -> Float[Tensor, "batch channels _ _"]:
        """Return the weighted maps."""
        mean = maps.mean(dim=(2, 3), keepdim=True)
        return maps * torch.sigmoid(self.fc2(F.relu(self.fc1(mean))))


class Block(nn.Module):
    """Four streams between two 1x1 convolutions, beside a shortcut.

    `after`: instance normalisation after the sum (OSNet-IBN). `inside`: in place of the norm before the sum (OSNet-AIN, whose
    streams have other names).
    """

    def __init__(self, inputs: int, outputs: int, *, after: bool = False, inside: bool | None = None) -> None:
        super().__init__()
        middle = outputs // 4
        self.conv1 = ConvNorm(inputs, middle, norm=nn.BatchNorm2d)
        if inside is None:
            self.conv2a = LightConv(middle)
            for depth, name in enumerate(STREAMS[1:], start=2):
                setattr(self, name, nn.Sequential(*[LightConv(middle) for _ in range(depth)]))
            self.streams = STREAMS
        else:
            self.conv2 = nn.ModuleList(Stream(middle, depth) for depth in (1, 2, 3, 4))
            self.streams = ()
        self.gate = Gate(middle)
        self.conv3 = ConvNorm(middle, outputs, norm=None if inside else nn.BatchNorm2d, relu=False)
        self.downsample = ConvNorm(inputs, outputs, norm=nn.BatchNorm2d, relu=False) if inputs != outputs else None
        self.after, self.inside = after, bool(inside)
        if after or inside:
            self.IN = nn.InstanceNorm2d(outputs, affine=True)

    def forward(self, maps: Float[Tensor, "batch _ height width"]) -> Float[Tensor, "batch _ height width"]:
        """Return the new maps."""
        first = self.conv1(maps)
        streams = [getattr(self, name) for name in self.streams] or self.conv2
        mixed = torch.stack([self.gate(stream(first)) for stream in streams]).sum(dim=0)
        new = self.conv3(mixed)
        new = self.IN(new) if self.inside else new
        new = new + (maps if self.downsample is None else self.downsample(maps))
        return F.relu(self.IN(new) if self.after else new)


class OSNet(nn.Module):
    """The whole network. `kind` is plain, ibn (norms per image after the first stage's blocks) or ain."""

    def __init__(self, *, channels: tuple[int, ...], kind: str = "plain") -> None:
        super().__init__()
        stem, *widths = channels
        norm = nn.BatchNorm2d if kind == "plain" else nn.InstanceNorm2d
        self.conv1 = ConvNorm(3, stem, 7, stride=2, norm=norm)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        inputs = stem
        for number, outputs in enumerate(widths):
            after = kind == "ibn" and number == 0
            inside = AIN[number] if kind == "ain" else (None, None)
            blocks: list[nn.Module] = [
                Block(inputs, outputs, after=after, inside=inside[0]),
                Block(outputs, outputs, after=after, inside=inside[1]),
            ]
            halve = nn.Sequential(ConvNorm(outputs, outputs, norm=nn.BatchNorm2d), nn.AvgPool2d(2, stride=2))
            if number < 2 and kind == "ain":
                setattr(self, f"pool{number + 2}", halve)
            elif number < 2:
                blocks.append(halve)
            setattr(self, f"conv{number + 2}", nn.Sequential(*blocks))
            inputs = outputs
        self.conv5 = ConvNorm(inputs, inputs, norm=nn.BatchNorm2d)
        self.fc = nn.Sequential(nn.Linear(inputs, FEATURES), nn.BatchNorm1d(FEATURES), nn.ReLU())
        self.num_features = FEATURES
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward_features(
        self, x: Float[Tensor, "batch 3 height width"]
    ) -> Float[Tensor, "batch channels rows columns"]:
        """Return the last feature map."""
        maps = self.maxpool(self.conv1(x))
        for number in (2, 3, 4):
            maps = getattr(self, f"conv{number}")(maps)
            maps = getattr(self, f"pool{number}", nn.Identity())(maps)
        return self.conv5(maps)

    def forward(self, x: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch 512"]:
        """Return the feature."""
        return self.fc(self.forward_features(x).mean(dim=(2, 3)))


def make(**options: Any) -> OSNet:
    """Make an OSNet, and refuse options for other networks by a TypeError, as every network of timm's does."""
    return OSNet(**options)


for _width, _channels in WIDTHS.items():
    register(f"osnet_{_width}", partial(make, channels=_channels))
    register(f"osnet_ain_{_width}", partial(make, channels=_channels, kind="ain"))
register("osnet_ibn_x1_0", partial(make, channels=WIDTHS["x1_0"], kind="ibn"))
