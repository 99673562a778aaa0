"""Published weights that timm knows by a tag, such as `resnet50.a1_in1k`."""

import timm
from timm.models import get_pretrained_cfg
from torch import nn

from upreid.errors import InputError, nearest
from upreid.models.backbone import create_backbone, nearest_model


def from_tag(
    tag: str, *, height: int, width: int
) -> tuple[nn.Module, tuple[float, float, float], tuple[float, float, float], list[str]]:
    """Make a timm model with its published weights; return it, their mean and std, and sentences for the log.

    The file comes from the Hugging Face cache, or from the network. A ViT's position embedding is resampled to
    `height` x `width`. Raises InputError, in one line, for unknown tags, and where the file cannot be had.
    """
    full = full_tag(tag)
    try:
        backbone = create_backbone(full, height=height, width=width, pretrained=True)
    except InputError as error:  # size or weights do not fit; torch's reasons have several lines
        raise InputError(" ".join(str(error).split())[:400]) from error
    except Exception as error:  # hub, network, disk and timm each raise their own kinds
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        raise InputError(
            f"timm cannot load {full} ({reason}); connect to the network, put its file into the Hugging Face cache "
            f"(HF_HOME), or give a checkpoint file"
        ) from error
    mean, std = (triple(backbone.pretrained_cfg[key]) for key in ("mean", "std"))  # pyright: ignore
    sentences = [] if full == tag else [f"{tag} without a tag is {full} in timm {timm.__version__}"]
    sentences.append(f"mean {mean} and std {std} are those of {full}; --input.mean and --input.std overrule them")
    return backbone, mean, std, sentences


def full_tag(tag: str) -> str:
    """Complete a bare model name by timm's default tag; raise InputError for a model without weights."""
    name, _, version = tag.partition(".")
    if not timm.is_model(name):
        raise InputError(f"unknown backbone '{name}'{nearest_model(name)}")
    known = [full for full in timm.list_pretrained(f"{name}*") if full.partition(".")[0] == name]
    if not known:
        raise InputError(f"timm has no weights for {name}; give a checkpoint file, or a name of timm.list_pretrained()")
    full = tag if version else f"{name}.{getattr(get_pretrained_cfg(name), 'tag', '')}".removesuffix(".")
    if full not in known:
        raise InputError(f"timm has no weights '{full}'{nearest(full, known)}")
    return full


def triple(values: tuple[float, ...]) -> tuple[float, float, float]:
    """Return three numbers, one for each channel."""
    red, green, blue = map(float, values)
    return red, green, blue
