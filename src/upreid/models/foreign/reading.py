"""From a checkpoint file to tensors under timm's names, with what is known of them."""

from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from upreid.errors import InputError
from upreid.models.foreign.likeness import tell_backbone
from upreid.models.foreign.naming import Found, find_encoder
from upreid.models.foreign.normalisation import trained_with
from upreid.models.foreign.opening import first_few, open_tensors


@dataclass(frozen=True, kw_only=True)
class Foreign:
    """The encoder of somebody else's checkpoint."""

    backbone: str
    """timm's name, told from the shapes."""
    tensors: dict[str, Tensor]
    """Under timm's names; still with heads, and with position embeddings of the size it was trained at."""
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    source: str
    """What the file seems to be."""
    sentences: list[str]
    """What was decided, and why: for the log."""


def read_checkpoint(path: Path) -> Foreign:
    """Read the encoder of LUPerson, LUPerson-NL, MoCo, DINO, TransReID-SSL, torchvision or timm files, and their kin.

    Never unpickles objects. Raises InputError, in one line, where the file cannot be read so, or holds no backbone that
    can be told.
    """
    found = find_encoder(path, open_tensors(path))
    backbone = tell_backbone(path, found.tensors)
    refuse_other_heads(path, found, backbone)
    source, statistics, reason = trained_with(path.name, found)
    sentences = [f"{path.name} holds a {backbone} ({source})"]
    if found.num_beside:
        taken = f"{found.role} was taken" if found.role else "the encoder was taken"
        beside = first_few(list(found.beside), count=6)
        sentences.append(f"{taken}; {found.num_beside} tensors beside it were left: {beside}")
    sentences.append(
        f"mean {statistics.mean} and std {statistics.std} are {statistics.owner}'s, because {reason}; --input.mean and "
        f"--input.std overrule them"
    )
    return Foreign(
        backbone=backbone,
        tensors=found.tensors,
        mean=statistics.mean,
        std=statistics.std,
        source=source,
        sentences=sentences,
    )


def refuse_other_heads(path: Path, found: Found, backbone: str) -> None:
    """Refuse MoCo v3's small ViT: 12 attention heads where timm's has 6, which no shape shows.

    https://github.com/facebookresearch/moco-v3/blob/main/vits.py
    """
    if found.role in ("base_encoder", "momentum_encoder") and backbone.startswith("vit_small"):
        raise InputError(
            f"{path} holds MoCo v3's small ViT, whose 12 attention heads no model of timm's has (its vit_small has "
            f"6); give its ViT-Base or ResNet-50"
        )
