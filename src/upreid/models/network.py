"""The network that contrastive pre-training trains: one backbone, a head for images, and a head for patches."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from upreid.models.backbone import feature_map, features_and_map
from upreid.models.batchnorm import GroupedBatchNorm, regrouped, untracked
from upreid.models.regions import regions_of_boxes, regions_of_grid


class Projector(nn.Sequential):
    """Projection head of two linear layers (MoCo v2, arXiv 2003.04297) whose output is scaled to unit length."""

    def __init__(self, in_features: int, hidden: int, out_features: int) -> None:
        super().__init__(nn.Linear(in_features, hidden), nn.ReLU(inplace=True), nn.Linear(hidden, out_features))

    def forward(self, features: Float[Tensor, "*batch features"]) -> Float[Tensor, "*batch dim"]:
        """Project features to unit vectors, in single precision or better also under autocast."""
        embedded = super().forward(features)
        exact = embedded if embedded.dtype.itemsize >= 4 else embedded.float()
        return F.normalize(exact, dim=-1)


class Network(nn.Module):
    """One backbone for images and patches, and a head for each; without a patch head it takes no patches.

    With `regions` = (rows, columns) patches are regions of the backbone's last feature map: each picture that is given as a
    patch is then encoded whole, and has rows x columns embeddings.
    """

    def __init__(
        self,
        backbone: nn.Module,
        image_head: Projector,
        patch_head: Projector | None,
        regions: tuple[int, int] | None = None,
    ) -> None:
        super().__init__()
        self.backbone, self.image_head, self.patch_head, self.regions = backbone, image_head, patch_head, regions
        self.map_of = feature_map  # or a compiled one; kept here, since copies of the backbone go out as encoders
        self.both_of = features_and_map

    def forward(
        self,
        images: Float[Tensor, "batch 3 height width"] | None,
        patches: Float[Tensor, "images patches 3 patch_height patch_width"] | None,
        patch_groups: int | None = None,
        boxes: Float[Tensor, "batch 4"] | None = None,
        third: Float[Tensor, "batch 3 height width"] | None = None,
    ) -> tuple[Float[Tensor, "rows dim"] | None, Float[Tensor, "images parts dim"] | None]:
        """Embed images, patches, or both, each in a forward of its own.

        BatchNorm groups are contiguous parts of the images. Patches are normalised by statistics of patches, which
        never enter the running statistics: those belong to whole images, and the exported encoder uses them. `patch_groups` is
        the number of BatchNorm groups of the patches where it is not that of the images. With `boxes` the patches are regions of
        the images' own maps, on a grid in the box of each image, and need no forward of their own. Embeddings of `third`, another
        view of the images, stand behind those of the images.
        """
        image_embedding = patch_embedding = None
        if images is not None:
            features, maps = self.image_features(images, with_maps=boxes is not None)
            image_embedding = self.image_head(features)
            if boxes is not None:
                assert self.patch_head is not None
                assert self.regions is not None
                patch_embedding = self.patch_head(regions_of_boxes(maps, boxes, *self.regions))
        if third is not None:
            assert image_embedding is not None
            image_embedding = torch.cat([image_embedding, self.image_head(self.image_features(third)[0])])
        if patches is not None:
            assert self.patch_head is not None
            with regrouped(self.backbone, patch_groups):
                patch_embedding = self.patch_head(self.patch_features(patches))
        return image_embedding, patch_embedding

    def image_features(self, images: Float[Tensor, "batch 3 height width"], *, with_maps: bool = False) -> Any:
        """Return the features of images, and the maps that they come from where asked for, else None."""
        groups = interleaved_groups(self.backbone)
        pictures = interleave(images[:, None], groups)
        features, maps = self.both_of(self.backbone, pictures) if with_maps else (self.backbone(pictures), None)
        return [None if rows is None else deinterleave(rows, groups, 1)[:, 0] for rows in (features, maps)]

    def patch_features(
        self, patches: Float[Tensor, "images patches 3 patch_height patch_width"]
    ) -> Float[Tensor, "images parts features"]:
        """Return the input of the patch head: the features of patches, or of regions; BatchNorm is that of `forward`."""
        groups = interleaved_groups(self.backbone)
        with untracked(self.backbone):
            tiles = interleave(patches, groups)
            if self.regions is None:
                if groups == 1:  # small maps: BatchNorm's backward along rows of 2 pixels is 3 times as slow on CPUs
                    tiles = tiles.contiguous(memory_format=torch.channels_last)
                return deinterleave(self.backbone(tiles), groups, patches.shape[1])
            # Not for whole pictures: their maps are larger, and with 4 channels torch 2.15 crashed (cause not found).
            maps = self.map_of(self.backbone, tiles)
        features = regions_of_grid(maps, *self.regions)
        return deinterleave(features, groups, patches.shape[1]).transpose(2, 3).flatten(1, 2)


def groups_of(backbone: nn.Module) -> int:
    """Return the number of BatchNorm groups of the backbone."""
    return next((norm.groups for norm in backbone.modules() if isinstance(norm, GroupedBatchNorm)), 1)


def interleaved_groups(backbone: nn.Module) -> int:
    """Return the number of BatchNorm groups that the backbone's inputs must be interleaved for; 1 where they need not be."""
    norms = (norm for norm in backbone.modules() if isinstance(norm, GroupedBatchNorm))
    return next((norm.groups for norm in norms if norm.interleaved), 1)


def interleave(
    tiles: Float[Tensor, "images patches 3 height width"], groups: int
) -> Float[Tensor, "tiles 3 height width"]:
    """Lay out patches so that patch i belongs to BatchNorm group i % groups; a group is a contiguous part of the images."""
    return tiles.unflatten(0, (groups, -1)).permute(1, 2, 0, 3, 4, 5).flatten(0, 2)


def deinterleave(rows: Float[Tensor, "tiles ..."], groups: int, patches: int) -> Float[Tensor, "images patches ..."]:
    """Invert `interleave`: put the outputs back in the order of the images."""
    return rows.unflatten(0, (-1, patches, groups)).movedim(2, 0).flatten(0, 1)
