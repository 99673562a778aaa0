"""Mean and standard deviation that a checkpoint was trained with: no file says, so its name and its tensors must."""

import re
from dataclasses import dataclass

from timm.data.constants import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD

from upreid.models.foreign.naming import EncoderTensors

LUPERSON_NL_NAME = re.compile(r"^lupws|lup(erson)?nl|lup.*(?<![a-z])nl(?![a-z])")
"""`lupws_r50.pth`, `luperson-nl_r50.pth`, but not `lup_unlabelled.pth`."""
MOCO_RELEASE = re.compile(r"^moco_v[12]_\d+ep_pretrain")
"""`moco_v2_800ep_pretrain.pth.tar` of facebookresearch/moco, trained on ImageNet."""


@dataclass(frozen=True, kw_only=True)
class Statistics:
    """Of pixels scaled to [0, 1], in the order RGB."""

    owner: str
    mean: tuple[float, float, float]
    std: tuple[float, float, float]


LUPERSON = Statistics(owner="LUPerson", mean=(0.3525, 0.3106, 0.3140), std=(0.2660, 0.2522, 0.2505))
LUPERSON_NL = Statistics(owner="LUPerson-NL", mean=(0.3452, 0.3070, 0.3114), std=(0.2633, 0.2500, 0.2480))
IMAGENET = Statistics(owner="ImageNet", mean=IMAGENET_DEFAULT_MEAN, std=IMAGENET_DEFAULT_STD)


def trained_with(file_name: str, encoder: EncoderTensors) -> tuple[str, Statistics, str]:
    """Return what the file seems to be, its statistics, and why (a reading, where the name is silent)."""
    name = file_name.lower()
    checkpoint = f" training checkpoint, {encoder.role}" if encoder.role else ", released"
    if "patch_embed.proj.weight" in encoder.tensors:
        source = f"ViT, {encoder.role or 'plain file'}"
        return source, IMAGENET, "DINO, DeiT and TransReID-SSL train ViTs with them (timm's augreg ViTs with 0.5)"
    if MOCO_RELEASE.search(name):
        return "MoCo on ImageNet, released", IMAGENET, "the file is named as MoCo's releases for ImageNet are"
    if LUPERSON_NL_NAME.search(name):
        return f"LUPerson-NL{checkpoint}", LUPERSON_NL, "the file's name says so"
    if "lup" in name:
        return f"LUPerson{checkpoint}", LUPERSON, "the file's name says so"
    if "prototypes" in encoder.beside:
        return (
            f"LUPerson-NL{checkpoint}",
            LUPERSON_NL,
            "prototypes beside the encoder are those of its pre-training, PNL",
        )
    if encoder.role.startswith("encoder_"):
        return f"LUPerson / MoCo{checkpoint}", LUPERSON, "the names are MoCo's, and nothing says which images it saw"
    return f"ResNet, {encoder.role or 'plain file'}", IMAGENET, "nothing says that it was trained with others"
