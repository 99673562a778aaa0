"""Mean and standard deviation of the images that a checkpoint was trained with, told by its names where it does not hold them."""

import re
from dataclasses import dataclass

from timm.data.constants import (
    IMAGENET_DEFAULT_MEAN,
    IMAGENET_DEFAULT_STD,
    IMAGENET_INCEPTION_MEAN,
    IMAGENET_INCEPTION_STD,
    OPENAI_CLIP_MEAN,
    OPENAI_CLIP_STD,
)  # fmt: skip

LUPERSON_NL_NAME = re.compile(r"^lupws|lup(erson)?nl|lup.*(?<![a-z])nl(?![a-z])")
"""Names such as `lupws_r50.pth` and `luperson-nl_r50.pth`, but not `lup_unlabelled.pth`."""
MOCO_RELEASE = re.compile(r"^moco_v[12]_\d+ep_pretrain")
"""Names such as `moco_v2_800ep_pretrain.pth.tar`, of facebookresearch/moco, which trained on ImageNet."""


@dataclass(frozen=True, kw_only=True)
class Statistics:
    """Mean and standard deviation of pixels scaled to [0, 1], in the order RGB."""

    owner: str
    mean: tuple[float, float, float]
    std: tuple[float, float, float]


LUPERSON = Statistics(owner="LUPerson", mean=(0.3525, 0.3106, 0.3140), std=(0.2660, 0.2522, 0.2505))
LUPERSON_NL = Statistics(owner="LUPerson-NL", mean=(0.3452, 0.3070, 0.3114), std=(0.2633, 0.2500, 0.2480))
IMAGENET = Statistics(owner="ImageNet", mean=IMAGENET_DEFAULT_MEAN, std=IMAGENET_DEFAULT_STD)
HALF = Statistics(owner="the ViTs of TransReID", mean=IMAGENET_INCEPTION_MEAN, std=IMAGENET_INCEPTION_STD)
CLIP = Statistics(owner="CLIP", mean=OPENAI_CLIP_MEAN, std=OPENAI_CLIP_STD)


def trained_with(file_name: str, role: str, beside: list[str], *, is_vit: bool) -> tuple[str, Statistics, str]:
    """Return what a plain file seems to be, the statistics of its images, and why (a reading where the name says nothing)."""
    name = file_name.lower()
    checkpoint = f" training checkpoint, {role}" if role else ", released"
    if is_vit:
        source = f"ViT, {role or 'plain file'}"
        return source, IMAGENET, "DINO, DeiT and TransReID-SSL train ViTs with them (timm's augreg ViTs with 0.5)"
    if MOCO_RELEASE.search(name):
        return "MoCo on ImageNet, released", IMAGENET, "the file is named as MoCo's releases for ImageNet are"
    if LUPERSON_NL_NAME.search(name):
        return f"LUPerson-NL{checkpoint}", LUPERSON_NL, "the file's name says so"
    if "lup" in name:
        return f"LUPerson{checkpoint}", LUPERSON, "the file's name says so"
    if any(tensor.partition(".")[0] == "prototypes" for tensor in beside):
        return (
            f"LUPerson-NL{checkpoint}",
            LUPERSON_NL,
            "prototypes beside the encoder are those of its pre-training, PNL",
        )
    if role.startswith("encoder_"):
        return f"LUPerson / MoCo{checkpoint}", LUPERSON, "the names are MoCo's, and nothing says which images it saw"
    return f"ResNet, {role or 'plain file'}", IMAGENET, "nothing says that it was trained with others"
