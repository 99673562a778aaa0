"""Read a checkpoint: its encoder under timm's names, which backbone that is, and how its images were normalised."""

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import timm
import torch
from timm.data.constants import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from torch import Tensor

from upreid.errors import DataError
from upreid.models.foreign.naming import EncoderTensors, find_encoder
from upreid.models.foreign.opening import first_few, open_tensors

RESNETS = (
    "resnet50", "resnet101", "resnet152", "resnet18", "resnet34", "resnet26", "resnet50d", "resnet101d",
    "wide_resnet50_2", "wide_resnet101_2", "resnext50_32x4d", "resnext101_32x8d",
)  # fmt: skip
VITS = (
    "vit_small_patch16_224", "vit_base_patch16_224", "vit_tiny_patch16_224", "vit_large_patch16_224",
    "vit_small_patch8_224", "vit_base_patch8_224", "vit_small_patch32_224", "vit_base_patch32_224",
    "deit_small_distilled_patch16_224", "deit_base_distilled_patch16_224", "deit_tiny_distilled_patch16_224",
    "vit_small_patch14_dinov2", "vit_base_patch14_dinov2", "vit_large_patch14_dinov2",
    "vit_small_patch14_reg4_dinov2", "vit_base_patch14_reg4_dinov2", "vit_large_patch14_reg4_dinov2",
)  # fmt: skip

UNCOUNTED = "num_batches_tracked"
"""End of the names of BatchNorm's step counters, which are no weights, and which files before torch 0.4.1 do not have."""

ALIKE = 0.5
"""Least likeness at which the nearest backbone is of any help; below it the file holds something else."""

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


@dataclass(frozen=True, kw_only=True)
class Foreign:
    """The encoder of somebody else's checkpoint."""

    backbone: str
    """Name that timm has for the backbone, told from the shapes."""
    tensors: dict[str, Tensor]
    """Tensors by timm's names; heads are still among them, and position embeddings are of the size of its training."""
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    source: str
    """Kind of training and role that the file seems to come from."""
    sentences: list[str]
    """Sentences for the log on what was decided, and why."""


def read_checkpoint(path: Path) -> Foreign:
    """Read the encoder of LUPerson, LUPerson-NL, MoCo, DINO, TransReID-SSL, torchvision or timm files, and their kin.

    Nothing in the file is executed. Raises DataError where the file cannot be read so, or holds no backbone that can be
    told.
    """
    encoder = find_encoder(path, open_tensors(path))
    backbone = tell_backbone(path, encoder.tensors)
    refuse_other_heads(path, encoder, backbone)
    source, statistics, reason = trained_with(path.name, encoder)
    sentences = [f"{path.name} holds a {backbone} ({source})"]
    if encoder.num_beside:
        taken = f"{encoder.role} was taken" if encoder.role else "the encoder was taken"
        beside = first_few(list(encoder.beside))
        sentences.append(f"{taken}; {encoder.num_beside} tensors beside it were left: {beside}")
    sentences.append(
        f"mean {statistics.mean} and std {statistics.std} are {statistics.owner}'s, because {reason}; --input.mean and "
        f"--input.std overrule them"
    )
    return Foreign(
        backbone=backbone,
        tensors=encoder.tensors,
        mean=statistics.mean,
        std=statistics.std,
        source=source,
        sentences=sentences,
    )


def tell_backbone(path: Path, tensors: dict[str, Tensor]) -> str:
    """Return timm's name of the backbone whose tensors are most like these.

    Likeness is |A and B| / |A or B| over pairs of name and shape, so a deeper ResNet, which holds all of a shallower
    one, is told apart. Position embeddings do not count: their shape is that of an input size. Raises DataError
    where nothing is half alike.
    """
    candidates = VITS if "patch_embed.proj.weight" in tensors else RESNETS
    shapes = frozenset((name, tuple(tensor.shape)) for name, tensor in tensors.items() if counts(name))
    likeness = {name: len(shapes & own) / len(shapes | own) for name in candidates for own in [shapes_of(name)]}
    best = max(likeness, key=lambda name: likeness[name])  # among equals the first
    if likeness[best] < ALIKE:
        raise DataError(
            f"{path} holds the tensors of no backbone that upreid can tell from shapes (the nearest, {best}, shares "
            f"{likeness[best]:.0%}); known: {first_few(list(candidates))}"
        )
    return best


@cache
def shapes_of(name: str) -> frozenset[tuple[str, tuple[int, ...]]]:
    """Return the names and shapes of a timm model, which is made without memory or random numbers."""
    with torch.device("meta"):
        model = timm.create_model(name, num_classes=0)
    return frozenset((key, tuple(tensor.shape)) for key, tensor in model.state_dict().items() if counts(key))


def counts(name: str) -> bool:
    """Return whether a tensor tells one backbone from another."""
    return name != "pos_embed" and not name.endswith(UNCOUNTED)


def refuse_other_heads(path: Path, encoder: EncoderTensors, backbone: str) -> None:
    """Refuse the small ViT of MoCo v3, which has 12 attention heads where timm's has 6; no shape shows the difference.

    https://github.com/facebookresearch/moco-v3/blob/main/vits.py
    """
    if encoder.role in ("base_encoder", "momentum_encoder") and backbone.startswith("vit_small"):
        raise DataError(
            f"{path} holds MoCo v3's small ViT, whose 12 attention heads no model of timm's has (its vit_small has "
            f"6); give its ViT-Base or ResNet-50"
        )


def trained_with(file_name: str, encoder: EncoderTensors) -> tuple[str, Statistics, str]:
    """Return what the file seems to be, the statistics of its images, and why (a reading where the name says nothing)."""
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
