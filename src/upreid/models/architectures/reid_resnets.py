"""ResNets as re-ID code bases have them, which differ from torchvision's in ways that weights do or do not show.

- `resnet50_ibn_a`: half of the channels of a block's first norm are normalised per image (IBN-Net, 1807.09441; CION).
- `resnet50_ibn_b`: the stem, and the sums that end the first two stages, are normalised per image (IBN-Net).
- `se_resnet50_ibn_a`: IBN-a with squeeze and excitation (arXiv 1709.01507), whose two linear layers have no biases.
- `bot_resnet50`: the stem has no ReLU, as in Bag of Tricks (arXiv 1903.07071) and in TransReID's ResNet; no weight shows it.
- `fastreid_resnet50`, `..._ibn`, `..._se`, `..._nl`: the stem's pooling has no padding and rounds up, which no weight shows
  either, with IBN-a, squeeze and excitation, and non-local blocks (arXiv 1711.07971; in fast-reid they have one inner channel).
- `fastreid_resnest50`, `..._nl`: ResNeSt (arXiv 2004.08955), timm's `resnest50d`, with non-local blocks.
"""

from functools import partial
from itertools import product
from typing import Any, Literal

import torch
from jaxtyping import Float
from timm.models.resnest import ResNestBottleneck
from timm.models.resnet import BasicBlock, Bottleneck, ResNet
from torch import Tensor, nn
from torch.nn import functional as F

from upreid.models.architectures.registry import register

STAGES = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}
"""Number of blocks of each stage, by depth."""
NON_LOCAL = {50: (0, 2, 3, 0), 101: (0, 2, 9, 0), 152: (0, 4, 12, 0)}
"""Number of non-local blocks of each stage, which follow its last blocks."""
SPLIT_NON_LOCAL = (0, 2, 3, 0)
SPLIT_STEM = {50: 32, 101: 64}
"""Width of the stem of a ResNeSt, by depth."""
SPLIT: dict[str, Any] = {
    "stem_type": "deep",
    "avg_down": True,
    "base_width": 64,
    "cardinality": 1,
    "block_args": {"radix": 2, "avd": True, "avd_first": False},
}


class IBN(nn.Module):
    """Instance normalisation of the first half of the channels, batch normalisation of the rest."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.num_instance = channels // 2
        self.IN = nn.InstanceNorm2d(self.num_instance, affine=True)
        self.BN = nn.BatchNorm2d(channels - self.num_instance)

    def forward(
        self, maps: Float[Tensor, "batch channels height width"]
    ) -> Float[Tensor, "batch channels height width"]:
        """Normalise both halves."""
        first, rest = maps[:, : self.num_instance], maps[:, self.num_instance :]
        return torch.cat([self.IN(first.contiguous()), self.BN(rest.contiguous())], dim=1)


class Squeeze(nn.Module):
    """Squeeze and excitation: each channel is weighted by what two linear layers make of the means of all channels."""

    def __init__(self, channels: int, reduction: int = 16) -> None:
        super().__init__()
        inner = channels // reduction
        self.fc = nn.Sequential(
            nn.Linear(channels, inner, bias=False), nn.ReLU(), nn.Linear(inner, channels, bias=False), nn.Sigmoid()
        )

    def forward(
        self, maps: Float[Tensor, "batch channels height width"]
    ) -> Float[Tensor, "batch channels height width"]:
        """Weight the channels."""
        return maps * self.fc(maps.mean(dim=(2, 3)))[:, :, None, None]


class NonLocal(nn.Module):
    """Non-local block: each place adds a mean over all places, weighted by the product of two embeddings."""

    def __init__(self, channels: int, inner: int = 1) -> None:
        super().__init__()
        self.g = nn.Conv2d(channels, inner, 1)
        self.theta = nn.Conv2d(channels, inner, 1)
        self.phi = nn.Conv2d(channels, inner, 1)
        self.W = nn.Sequential(nn.Conv2d(inner, channels, 1), nn.BatchNorm2d(channels))
        nn.init.zeros_(self.W[1].weight)  # pyright: ignore[reportArgumentType] - a block begins as the identity

    def forward(
        self, maps: Float[Tensor, "batch channels height width"]
    ) -> Float[Tensor, "batch channels height width"]:
        """Add to each place what it attends to."""
        values = self.g(maps).flatten(2)  # [batch, inner, places]
        affinity = self.theta(maps).flatten(2).transpose(1, 2) @ self.phi(maps).flatten(2)  # [batch, places, places]
        attended = (affinity / affinity.shape[-1]) @ values.transpose(1, 2)
        return maps + self.W(attended.transpose(1, 2).unflatten(2, maps.shape[2:]))


class ReidResNet(ResNet):
    """A ResNet of timm's with what one of the code bases changed."""

    def __init__(
        self,
        *,
        depth: int,
        ibn: Literal["a", "b"] | None = None,
        squeeze: bool = False,
        non_local: bool = False,
        split: bool = False,
        **options: Any,
    ) -> None:
        block: Any = ResNestBottleneck if split else Bottleneck if depth >= 50 else BasicBlock
        if split:
            options = SPLIT | {"stem_width": SPLIT_STEM[depth]} | options
        super().__init__(block=block, layers=STAGES[depth], num_classes=0, **options)
        stages: list[Any] = [self.layer1, self.layer2, self.layer3, self.layer4]
        if ibn == "a":
            for each in (each for stage in stages[:3] for each in stage):
                each.bn1 = IBN(each.bn1.num_features)
        if ibn == "b":
            self.bn1 = nn.InstanceNorm2d(self.bn1.num_features, affine=True)
            last = "3" if depth >= 50 else "2"
            for each in (stage[-1] for stage in stages[:2]):
                each.IN = nn.InstanceNorm2d(getattr(each, f"bn{last}").num_features, affine=True)
                setattr(each, f"act{last}", nn.Identity())  # the ReLU comes after the norm of the sum
        if squeeze:
            for each in (each for stage in stages for each in stage):
                each.se = Squeeze((each.bn3 if depth >= 50 else each.bn2).num_features)
        counts = (SPLIT_NON_LOCAL if split else NON_LOCAL[depth]) if non_local else (0,) * 4
        for number, (stage, count) in enumerate(zip(stages, counts, strict=True), start=1):
            if count:
                channels = stage[-1].conv3.out_channels
                setattr(self, f"NL_{number}", nn.ModuleList(NonLocal(channels) for _ in range(count)))

    def forward_features(
        self, x: Float[Tensor, "batch 3 height width"]
    ) -> Float[Tensor, "batch channels rows columns"]:
        """Return the last feature map."""
        maps = self.maxpool(self.act1(self.bn1(self.conv1(x))))
        for number in range(1, 5):
            stage = getattr(self, f"layer{number}")
            non_local = getattr(self, f"NL_{number}", ())
            for place, block in enumerate(stage, start=len(non_local) - len(stage)):
                maps = block(maps)
                if hasattr(block, "IN"):
                    maps = F.relu(block.IN(maps))
                if place >= 0:
                    maps = non_local[place](maps)
        return maps


def without_stem_relu(**options: Any) -> ReidResNet:
    """Make a ResNet whose stem has no ReLU."""
    net = ReidResNet(**options)
    net.act1 = nn.Identity()
    return net


def with_ceiling_pool(**options: Any) -> ReidResNet:
    """Make a ResNet whose stem pools without padding and rounds up."""
    net = ReidResNet(**options)
    net.maxpool = nn.MaxPool2d(kernel_size=3, stride=2, ceil_mode=True)
    return net


for _depth in STAGES:
    register(f"resnet{_depth}_ibn_a", partial(ReidResNet, depth=_depth, ibn="a"))
    register(f"resnet{_depth}_ibn_b", partial(ReidResNet, depth=_depth, ibn="b"))
    register(f"bot_resnet{_depth}", partial(without_stem_relu, depth=_depth))
    if _depth in NON_LOCAL:
        register(f"se_resnet{_depth}_ibn_a", partial(ReidResNet, depth=_depth, ibn="a", squeeze=True))
    for _ibn, _squeeze, _non_local in product((None, "a"), (False, True), (False, True)):
        if _depth in NON_LOCAL or not _non_local:
            _suffix = ("_ibn" if _ibn else "") + ("_se" if _squeeze else "") + ("_nl" if _non_local else "")
            _options = {"depth": _depth, "ibn": _ibn, "squeeze": _squeeze, "non_local": _non_local}
            register(f"fastreid_resnet{_depth}{_suffix}", partial(with_ceiling_pool, **_options))
for _depth, _non_local in product(SPLIT_STEM, (False, True)):
    _suffix = "_nl" if _non_local else ""
    register(f"fastreid_resnest{_depth}{_suffix}", partial(ReidResNet, depth=_depth, non_local=_non_local, split=True))
