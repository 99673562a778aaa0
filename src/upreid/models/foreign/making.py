"""Make an encoder of somebody else's checkpoint: the backbone, and its fine-tuned head where we have that head."""

from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from upreid.errors import UpreidError
from upreid.models.backbone import create_backbone
from upreid.models.encoder import Encoder
from upreid.models.foreign.fitting import counts, is_finite, load_into, reshaped
from upreid.models.foreign.opening import first_few
from upreid.models.foreign.reading import Foreign
from upreid.models.header import EncoderHeader
from upreid.models.heads import create_head
from upreid.models.settings import HeadSettings

CAMERA_WEIGHT = 3.0
"""Weight of TransReID's camera embedding in its configurations; no tensor shows it."""


def make_encoder(foreign: Foreign, path: Path, *, height: int, width: int) -> tuple[Encoder, list[str]]:
    """Make the encoder of a checkpoint for inputs of a size, in evaluation mode; return it with sentences on what was found.

    Raises DataError where the backbone is not whole. A head that does not fit is left, and that is said.
    """
    backbone = create_backbone(
        foreign.backbone,
        height=height,
        width=width,
        last_stride=foreign.last_stride,
        patch_stride=foreign.patch_stride,
        attention_heads=foreign.attention_heads,
    )
    sentences = load_into(backbone, foreign, path)
    header = EncoderHeader(
        backbone=foreign.backbone,
        channels=None,
        last_stride=foreign.last_stride,
        patch_stride=foreign.patch_stride,
        attention_heads=foreign.attention_heads,
        height=height,
        width=width,
        mean=foreign.mean,
        std=foreign.std,
        interpolation=foreign.interpolation,
        init=f"converted from {path.name} ({foreign.source})",
    )
    encoder = Encoder(backbone, header)
    if foreign.head:
        encoder, sentence = with_head(encoder, foreign)
        sentences.append(sentence)
    return encoder.eval(), sentences


def with_head(encoder: Encoder, foreign: Foreign) -> tuple[Encoder, str]:
    """Put the head of the checkpoint on an encoder; where it is none of ours, leave it and say so."""
    tensors, settings = foreign.head, head_settings(foreign.head)
    try:
        head = create_head(encoder.backbone, settings)
    except UpreidError as error:
        return encoder, f"its head was left: {error}"
    own = {name: tensor for name, tensor in head.state_dict().items() if counts(name)}
    given = {name: reshaped(tensor, own.get(name)) for name, tensor in tensors.items() if counts(name)}
    strange = [
        name for name in own if name not in given or given[name].shape != own[name].shape or not is_finite(given[name])
    ]
    strange += [name for name in given if name not in own]
    if strange:
        return (
            encoder,
            f"its head was left, because {len(strange)} tensors of it are none of ours ({first_few(strange)})",
        )
    with torch.no_grad():
        for name, tensor in own.items():
            tensor.copy_(given[name])
    what = f"its head comes with it: {settings.name}, {len(own)} tensors, features {foreign.neck} the neck"
    if settings.cameras:
        what += f", {len(settings.cameras)} cameras (numbered from 1, weight {CAMERA_WEIGHT:g} as in TransReID's configurations)"
    return Encoder(encoder.backbone, replace(encoder.header, head=settings, neck=foreign.neck), head), what


def head_settings(tensors: dict[str, Tensor]) -> HeadSettings:
    """Return the settings of the head that has these tensors."""
    names = tensors.keys()
    pool = "gem" if any(name.endswith("pool.power") for name in names) else "avg"
    extra_bn = any(name.startswith("extra_bn.") for name in names)
    if any(name.startswith("branches.") for name in names):
        first = tensors.get("embeds.0.reduce.weight")
        return HeadSettings(name="mgn", pool=pool, extra_bn=extra_bn, embed_dim=256 if first is None else len(first))
    if "camera_embedding" in names or "necks.0.weight" in names:
        cameras = tuple(range(1, 1 + len(tensors.get("camera_embedding", ()))))
        weight, jigsaw = (CAMERA_WEIGHT if cameras else 0.0), any(name.startswith("local.") for name in names)
        return HeadSettings(
            name="transreid", cameras=cameras, camera_weight=weight, jigsaw=jigsaw, published_jigsaw=jigsaw
        )
    return HeadSettings(name="bnneck", pool=pool, extra_bn=extra_bn)
