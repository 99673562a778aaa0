"""Write the weights of an encoder for another program where its network computes the same, and refuse it elsewhere."""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save, save_file
from torch import Tensor

from upreid.errors import InputError
from upreid.models.encoder import Encoder, plain
from upreid.runtime.files import write_aside

RESNETS = re.compile(r"(resnet(18|34|50|101|152)|wide_resnet(50|101)_2|resnext(50_32x4d|101_32x8d))(\.\w+)?")
FASTREID = re.compile(r"fastreid_(resnet(18|34|50|101)(_ibn)?(_se)?|resnest(50|101))(_nl)?")
BOT = re.compile(r"bot_resnet50")
TRANSREID_VITS = re.compile(
    r"vit_base_patch16_224|deit_base_patch16_224|vit_small_patch16_transreid|vit_small_patch16_224"
)
OSNETS = re.compile(r"osnet_(x1_0|x0_75|x0_5|x0_25|ibn_x1_0|ain_x1_0)")
OURS = re.compile(r"(bot_|fastreid_|pass_|solider_|osnet_)\w+|\w+(_ibn_[ab]|_ics|_mae|_mocov3|_transreid)")
"""Networks that upreid registers with timm, and that timm alone does not have."""
WAY_OUT = "the ways out for this encoder are upreid export (ONNX) and upreid convert --to folder"
SAME_SIZE = ("x1_0", "x0_75", "x0_5", "x0_25")


def refuse(target: str, encoder: Encoder, reason: str) -> None:
    """Raise the error for an encoder that a program cannot hold."""
    raise InputError(f"{encoder.header.backbone} would be wrong in {target}, because {reason}; {WAY_OUT}")


@dataclass(frozen=True, kw_only=True)
class Target:
    """What a program can hold, and how it names tensors."""

    backbones: re.Pattern[str] | None
    """Networks that compute the same there; None for any of timm's."""
    last_strides: tuple[int, ...]
    """Strides of a ResNet's last stage that its network has."""
    heads: tuple[str, ...]
    """Heads that it can hold."""
    names: Callable[[Encoder], dict[str, Any]]
    """What is saved."""
    overlapping: bool = False
    """Whether its patches may overlap."""


def flat(encoder: Encoder) -> dict[str, Any]:
    """Return the tensors of the backbone by timm's names, which are torchvision's for ResNets."""
    return {name: plain(tensor) for name, tensor in encoder.backbone.state_dict().items()}


def fast_reid(encoder: Encoder) -> dict[str, Any]:
    """Return what fast-reid saves: its normalisation is inside, for pixels from 0 to 255."""
    header = encoder.header
    model = {f"backbone.{name}": tensor for name, tensor in flat(encoder).items()}
    for name, values in (("pixel_mean", header.mean), ("pixel_std", header.std)):
        model[name] = 255.0 * torch.tensor(values).view(1, 3, 1, 1)
    model |= neck(encoder, "neck.", "heads.bottleneck.0.")
    if encoder.head is not None and "pool.power" in (own := encoder.head.state_dict()):  # pyright: ignore
        model["heads.pool_layer.p"] = plain(own["pool.power"])
    return {"model": model}


def torchreid(encoder: Encoder) -> dict[str, Any]:
    """Return what torchreid saves; its loader leaves out the classifier."""
    return {"state_dict": flat(encoder)}


def transreid(encoder: Encoder) -> dict[str, Any]:
    """Return what TransReID saves: with the jigsaw branch the last block and norm are its `b1`, and stand in the base too."""
    body = flat(encoder)
    tensors: dict[str, Any] = {f"base.{name}": tensor for name, tensor in body.items()}
    tensors |= neck(encoder, "neck.", "bottleneck.") | neck(encoder, "necks.0.", "bottleneck.")
    for part in range(1, 5):
        tensors |= neck(encoder, f"necks.{part}.", f"bottleneck_{part}.")
    settings = encoder.header.head
    if settings is not None and settings.cameras:
        tensors |= neck(encoder, "camera_embedding", "base.sie_embed")
    if settings is not None and settings.jigsaw:
        last = max(int(name.split(".")[1]) for name in body if name.startswith("blocks."))
        for name, tensor in body.items():
            if name.startswith(f"blocks.{last}."):
                tensors[name.replace(f"blocks.{last}.", "b1.0.", 1)] = tensor
            elif name.startswith("norm."):
                tensors[name.replace("norm.", "b1.1.", 1)] = tensor
        tensors |= neck(encoder, "local.", "b2.")
    return tensors


def neck(encoder: Encoder, ours: str, theirs: str) -> dict[str, Tensor]:
    """Return the tensors of the head whose names begin so, by their other names."""
    if encoder.head is None:
        return {}
    own = encoder.head.state_dict()  # pyright: ignore[reportAttributeAccessIssue]
    return {theirs + name.removeprefix(ours): plain(tensor) for name, tensor in own.items() if name.startswith(ours)}


TARGETS = {
    "timm": Target(backbones=None, last_strides=(2,), heads=(), names=flat),
    "torchvision": Target(backbones=RESNETS, last_strides=(2,), heads=(), names=flat),
    "fast-reid": Target(backbones=FASTREID, last_strides=(1, 2), heads=("bnneck",), names=fast_reid),
    "torchreid": Target(
        backbones=re.compile(rf"resnet(18|34|50|101|152)(\.\w+)?|{OSNETS.pattern}"), last_strides=(2,), heads=(), names=torchreid
    ),
    "transreid": Target(
        backbones=re.compile(rf"({TRANSREID_VITS.pattern})(\.\w+)?|{BOT.pattern}"), last_strides=(1, 2),
        heads=("bnneck", "transreid"), names=transreid, overlapping=True,
    ),
}  # fmt: skip


def check(target: str, encoder: Encoder) -> None:
    """Raise InputError, with the reason, where a program's network computes something else than the encoder."""
    rule = TARGETS["timm" if target == "reid" else target]
    header = encoder.header
    is_osnet = target == "reid" and header.backbone.removeprefix("osnet_") in SAME_SIZE
    if rule.backbones is not None and not rule.backbones.fullmatch(header.backbone):
        reason = f"{target} has no network that computes the same"
        if target == "fast-reid" and RESNETS.fullmatch(header.backbone):
            reason = "fast-reid's ResNets pool their stem without padding, so the same weights give other features"
        if target == "transreid" and RESNETS.fullmatch(header.backbone):
            reason = "TransReID's ResNet has no ReLU in its stem, so the same weights give other features"
        refuse(target, encoder, reason)
    if rule.backbones is None and OURS.fullmatch(header.backbone) and not is_osnet:
        refuse(target, encoder, f"timm does not have it, and {target} cannot make it")
    if header.channels is not None:
        refuse(target, encoder, f"its base width is {header.channels}, and {target}'s is 64")
    if header.last_stride is not None and header.last_stride not in rule.last_strides:
        refuse(
            target,
            encoder,
            f"the stride of its last stage is {header.last_stride}, where {target}'s is 2, and no loader would notice",
        )
    if header.patch_stride is not None and not rule.overlapping:
        refuse(target, encoder, f"its patches overlap (one every {header.patch_stride} pixels)")
    if header.attention_heads is not None:
        refuse(target, encoder, f"it has {header.attention_heads} attention heads, which no weight shows")
    head = header.head
    if head is not None and head.name not in rule.heads:
        refuse(target, encoder, f"{target} has no head like its {head.name} (upreid convert --without-head leaves it)")
    if head is not None and head.extra_bn:
        refuse(target, encoder, "its head has an extra BatchNorm")
    if head is not None and head.jigsaw and not head.published_jigsaw:
        refuse(target, encoder, "its jigsaw shifts patches by one more than TransReID's code")


def write_for(target: str, encoder: Encoder, out: Path) -> None:
    """Write an encoder for a program: a checkpoint of torch.save, a safetensors file by its suffix, or Roboflow's folder."""
    check(target, encoder)
    if target == "reid":
        write_reid(encoder, out)
        return
    content = TARGETS[target].names(encoder)
    if out.suffix == ".safetensors":
        if not all(isinstance(tensor, Tensor) for tensor in content.values()):
            raise InputError(f"{out}: {target} loads checkpoints of torch.save; give a name that ends in .pth")
        with write_aside(out) as aside:
            aside.write_bytes(save(content))
        return
    with write_aside(out) as aside:
        torch.save(content, aside)


def write_reid(encoder: Encoder, out: Path) -> None:
    """Write the folder that Roboflow's `reid` loads: its configuration, and the weights, all of which must match."""
    header = encoder.header
    vit = "pos_embed" in encoder.backbone.state_dict()
    if vit and (header.height, header.width) != (224, 224):
        refuse(
            "reid", encoder, f"its positions are those of {header.height}x{header.width}, and reid makes it for 224x224"
        )
    if out.exists() and not (out / "reid_config.json").is_file() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"{out} exists and holds something else; give the name of a new folder")
    name = header.backbone if header.backbone.startswith("osnet_") else f"timm:{header.backbone}"
    preprocessing = {
        "input_size": [header.height, header.width],
        "mean": list(header.mean),
        "std": list(header.std),
        "interpolation": header.interpolation.removesuffix("-aliased"),
        "to_rgb": True,
        "resize_mode": "stretch",
    }
    out.mkdir(parents=True, exist_ok=True)
    with write_aside(out / "weights.safetensors") as aside:
        save_file(flat(encoder), aside)
    with write_aside(out / "reid_config.json") as aside:
        aside.write_text(json.dumps({"architecture": name, "preprocessing": preprocessing}, indent=2) + "\n")
