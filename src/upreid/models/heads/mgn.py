"""MGN: three branches look at the whole body, at halves and at thirds (Wang et al., https://arxiv.org/abs/1804.01438).

The arrangement is that of LUPerson's fine-tuning (fast-reid fork of 2020-10). The branches share the backbone up to the first
block of its third stage, and each has the rest to itself, with a last stride of 1 in all three (MGN's own global branch has 2).
Each of the eight parts has generalised mean pooling, a reduction to 256 features, and a BatchNorm neck.
"""

from copy import deepcopy

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from upreid.errors import InputError
from upreid.models.backbone import num_features, require_resnet
from upreid.models.heads.parts import POOLS, Parts, extra_norm, neck
from upreid.models.settings import HeadSettings

STRIPES = (1, 2, 3)
"""Number of horizontal stripes of each branch."""
ORDER = ((0, None), (1, None), (2, None), (1, 0), (1, 1), (2, 0), (2, 1), (2, 2))
"""Parts as (branch, stripe), in the order of the retrieval feature; None is the whole map."""
TOGETHER = ((0,), (1,), (2,), (3, 4), (5, 6, 7))
"""Parts that one triplet loss compares: each whole map by itself, the halves together, the thirds together."""


class Embed(nn.Module):
    """Pooling of a map, and a linear layer that reduces its width."""

    def __init__(self, features: int, embed_dim: int, pool: str) -> None:
        super().__init__()
        self.pool = POOLS[pool]()
        self.reduce = nn.Linear(features, embed_dim, bias=False)
        nn.init.kaiming_normal_(self.reduce.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, maps: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch dim"]:
        """Return the embedding of each map."""
        return self.reduce(self.pool(maps))


class MGN(nn.Module):
    """Head of eight parts on a ResNet, whose own last stages are the first branch; `branches` are copies of them."""

    def __init__(self, backbone: nn.Module, settings: HeadSettings) -> None:
        super().__init__()
        require_resnet(backbone, type(backbone).__name__, "--head.name mgn", "say --head.name bnneck")
        dim, embed_dim = num_features(backbone), settings.embed_dim
        self.branches = nn.ModuleList(deepcopy(own_branch(backbone)) for _ in STRIPES[1:])
        self.extra_bn = nn.ModuleList(extra_norm(dim, wanted=settings.extra_bn) for _ in STRIPES)
        self.embeds = nn.ModuleList(Embed(dim, embed_dim, settings.pool) for _ in ORDER)
        self.necks = nn.ModuleList(neck(embed_dim) for _ in ORDER)
        self.part_dims = (embed_dim,) * len(ORDER)
        self.identity_weights = (1.0 / len(ORDER),) * len(ORDER)
        self.triplets = tuple((parts, 1.0 / len(TOGETHER)) for parts in TOGETHER)
        self.feature_weights = (1.0,) * len(ORDER)

    def forward(
        self,
        backbone: nn.Module,
        images: Float[Tensor, "batch 3 height width"],
        cameras: Int64[Tensor, " batch"] | None = None,
    ) -> Parts:
        """Return the features of the eight parts; `cameras` do not matter."""
        del cameras
        shared = trunk(backbone, images)
        branches = [own_branch(backbone), *self.branches]
        maps = [norm(branch(shared)) for branch, norm in zip(branches, self.extra_bn, strict=True)]
        if maps[0].shape[2] < max(STRIPES):
            raise InputError(
                f"MGN cuts feature maps into thirds, and images {images.shape[2]} pixels high give {maps[0].shape[2]} rows; "
                f"use --input.height {images.shape[2] * max(STRIPES) // maps[0].shape[2]} or more"
            )
        stripes = [torch.tensor_split(one, count, dim=2) for one, count in zip(maps, STRIPES, strict=True)]
        regions = [maps[branch] if stripe is None else stripes[branch][stripe] for branch, stripe in ORDER]
        before = tuple(embed(region) for embed, region in zip(self.embeds, regions, strict=True))
        return Parts(before, tuple(norm(part) for norm, part in zip(self.necks, before, strict=True)))

    def body(self) -> list[nn.Module]:
        """Return the copied branches."""
        return [self.branches]


def trunk(backbone: nn.Module, images: Float[Tensor, "batch 3 height width"]) -> Tensor:
    """Return the maps that all branches share, which end with the first block of the third stage."""
    net = require_resnet(backbone, type(backbone).__name__, "MGN", "another head")
    maps = net.maxpool(net.act1(net.bn1(net.conv1(images))))
    return net.layer3[0](net.layer2(net.layer1(maps)))


def own_branch(backbone: nn.Module) -> nn.Sequential:
    """Return the rest of the backbone, from the second block of the third stage on."""
    net = require_resnet(backbone, type(backbone).__name__, "MGN", "another head")
    return nn.Sequential(*list(net.layer3)[1:], net.layer4)
