"""TransReID: a ViT with an optional camera embedding and an optional jigsaw branch (https://arxiv.org/abs/2102.04378).

With both options off it is the BNNeck on a ViT.
"""

from copy import deepcopy

import torch
from jaxtyping import Float, Int64
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from upreid.errors import InputError
from upreid.models.backbone import num_features
from upreid.models.heads.parts import Parts, neck
from upreid.models.settings import HeadSettings

GROUPS, SHIFT = 4, 5
"""Number of groups of patches of the jigsaw, and length of the cyclic shift before it."""
SHUFFLE = 2
"""Number of stretches of the sequence that the jigsaw interleaves, so that every group spans the body."""


class TransReID(nn.Module):
    """Head with the class token as its part, and four parts more with the jigsaw branch, a copy of the last block."""

    def __init__(self, backbone: nn.Module, settings: HeadSettings) -> None:
        super().__init__()
        vit = require_vit(backbone)
        dim, num_parts = num_features(backbone), 1 + (GROUPS if settings.jigsaw else 0)
        self.cameras, self.camera_weight = settings.cameras, settings.camera_weight
        if self.camera_weight:
            self.camera_embedding = nn.Parameter(torch.empty(len(self.cameras), 1, dim))
            nn.init.trunc_normal_(self.camera_embedding, std=0.02)
        self.published = settings.published_jigsaw
        self.local = nn.Sequential(deepcopy(vit.blocks[-1]), deepcopy(vit.norm)) if settings.jigsaw else None
        self.necks = nn.ModuleList(neck(dim) for _ in range(num_parts))
        shares = (0.5, *[0.5 / GROUPS] * GROUPS) if settings.jigsaw else (1.0,)
        self.part_dims, self.identity_weights = (dim,) * num_parts, shares
        self.triplets = tuple(((part,), share) for part, share in enumerate(shares))
        self.feature_weights = (1.0, *[1.0 / GROUPS] * (num_parts - 1))

    def forward(
        self,
        backbone: nn.Module,
        images: Float[Tensor, "batch 3 height width"],
        cameras: Int64[Tensor, " batch"] | None = None,
    ) -> Parts:
        """Return the features of the class token and of the groups; `cameras` are ids as in the records."""
        vit = require_vit(backbone)
        tokens = vit._pos_embed(vit.patch_embed(images))
        if self.camera_weight:
            tokens = tokens + self.camera_weight * self.camera_embedding[self.camera_places(cameras)]
        tokens = vit.norm_pre(tokens)
        for block in list(vit.blocks)[:-1]:
            tokens = block(tokens)
        before = [vit.norm(vit.blocks[-1](tokens))[:, 0]]
        if self.local is not None:
            patches = tokens[:, vit.num_prefix_tokens :]
            groups = published_jigsaw(patches) if self.published else jigsaw(patches)
            before += [self.local(torch.cat([tokens[:, :1], group], dim=1))[:, 0] for group in groups]
        return Parts(tuple(before), tuple(norm(part) for norm, part in zip(self.necks, before, strict=True)))

    def camera_places(self, cameras: Int64[Tensor, " batch"] | None) -> Int64[Tensor, " batch"]:
        """Return the rows of the camera embedding; raise InputError for cameras that training did not see."""
        if cameras is None:
            raise InputError("this encoder embeds cameras, and none are given; pass the camera of each image")
        known = {camera: place for place, camera in enumerate(self.cameras)}
        strangers = sorted(set(cameras.tolist()) - set(known))
        if strangers:
            raise InputError(
                f"this encoder embeds cameras {list(self.cameras)} and was given {strangers[:5]}; across data sets use an "
                f"encoder trained with --head.camera-weight 0"
            )
        return torch.tensor([known[camera] for camera in cameras.tolist()], device=self.camera_embedding.device)

    def body(self) -> list[nn.Module]:
        """Return the copied block."""
        return [] if self.local is None else [self.local]


def jigsaw(patches: Float[Tensor, "batch patches dim"]) -> list[Float[Tensor, "batch group dim"]]:
    """Shift and shuffle the patches, then cut them into equal groups; the patches that are left over are dropped."""
    count = patches.shape[1] // (GROUPS * SHUFFLE) * GROUPS * SHUFFLE
    if count == 0:
        raise InputError(
            f"the jigsaw branch needs {GROUPS * SHUFFLE} patches or more, and images give {patches.shape[1]}"
        )
    shifted = patches.roll(-SHIFT, dims=1)[:, :count]
    return list(shifted.unflatten(1, (SHUFFLE, -1)).transpose(1, 2).flatten(1, 2).chunk(GROUPS, dim=1))


def published_jigsaw(patches: Float[Tensor, "batch patches dim"]) -> list[Float[Tensor, "batch group dim"]]:
    """Do what `jigsaw` does, exactly as TransReID's code, for weights that were trained with it.

    It counts the class token in the shift, repeats the last patch but one where their number is odd, and leaves out what does
    not fill a group only after the shuffle.
    """
    length = patches.shape[1] // GROUPS
    if length == 0:
        raise InputError(f"the jigsaw branch needs {GROUPS} patches or more, and images give {patches.shape[1]}")
    shifted = patches.roll(1 - SHIFT, dims=1)
    if shifted.shape[1] % SHUFFLE:
        shifted = torch.cat([shifted, shifted[:, -2:-1]], dim=1)
    shuffled = shifted.unflatten(1, (SHUFFLE, -1)).transpose(1, 2).flatten(1, 2)
    return list(shuffled[:, : GROUPS * length].split(length, dim=1))


def require_vit(backbone: nn.Module) -> VisionTransformer:
    """Return the backbone if it is a ViT with a class token; raise InputError where it is not."""
    if not isinstance(backbone, VisionTransformer) or backbone.cls_token is None or backbone.global_pool != "token":
        raise InputError(
            f"--head.name transreid is for ViTs with a class token, and this backbone is a {type(backbone).__name__}"
        )
    return backbone
