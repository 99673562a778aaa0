"""Copy foreign tensors into a backbone, and say how many there were."""

from math import isqrt
from pathlib import Path

import torch
from jaxtyping import Float
from timm.layers.pos_embed import resample_abs_pos_embed
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from upreid.errors import InputError
from upreid.models.foreign.likeness import UNCOUNTED
from upreid.models.foreign.opening import first_few
from upreid.models.foreign.reading import Foreign

ENOUGH = 0.95
"""Share of a backbone that must come from the file (a reading: below it the rest is noise, and looks like low mAP)."""

INDISPENSABLE = ("conv1.weight", "patch_embed.proj.weight", "pos_embed")
"""A hundredth of a backbone, and all of its features: without the first layer the others see noise."""


def load_into(backbone: nn.Module, foreign: Foreign, path: Path) -> list[str]:
    """Copy what matches in name and shape; return what matched, and what did not, as sentences.

    A ViT's position embedding is resampled to the backbone's grid. Raises InputError, and changes nothing, where under
    95 % of the backbone's tensors, or of their elements, match, or its first layer does not. Weights and batch
    normalisation's statistics count; `num_batches_tracked` does not, and stays.
    """
    own = {name: tensor for name, tensor in backbone.state_dict().items() if not name.endswith(UNCOUNTED)}
    given = {name: tensor for name, tensor in foreign.tensors.items() if not name.endswith(UNCOUNTED)}
    resampled = fit_positions(backbone, given)
    matched = [name for name in own if name in given and given[name].shape == own[name].shape]
    report = [count(own, matched, foreign.backbone), differences(own, given)]
    lost = [name for name in INDISPENSABLE if name in own and name not in matched]
    if share(own, matched) < ENOUGH:
        raise InputError(
            f"{path}: {'; '.join(report)}; {ENOUGH:.0%} of both are needed: give the checkpoint of a {foreign.backbone}"
        )
    if lost:
        raise InputError(
            f"{path}: {lost[0]} is missing or of a shape that does not fit, and without it the other layers are of no "
            f"use; {'; '.join(report)}; give the checkpoint of a plain {foreign.backbone}"
        )
    with torch.no_grad():
        for name in matched:
            own[name].copy_(given[name])
    return [*report, *resampled]


def share(own: dict[str, Tensor], matched: list[str]) -> float:
    """Share of tensors, or of elements, that match: the smaller of the two."""
    elements = sum(own[name].numel() for name in matched) / sum(tensor.numel() for tensor in own.values())
    return min(len(matched) / len(own), elements)


def count(own: dict[str, Tensor], matched: list[str], name: str) -> str:
    """Say how much matched."""
    elements, of = sum(own[key].numel() for key in matched), sum(tensor.numel() for tensor in own.values())
    return f"{len(matched)} of {len(own)} tensors of {name} matched ({elements:,} of {of:,} elements)"


def differences(own: dict[str, Tensor], given: dict[str, Tensor]) -> str:
    """Say what did not match, by number and first names."""
    reshaped = [
        f"{name} {tuple(given[name].shape)} for {tuple(tensor.shape)}"
        for name, tensor in own.items()
        if name in given and given[name].shape != tensor.shape
    ]
    kinds = {
        "missing": [name for name in own if name not in given],
        "unexpected": [name for name in given if name not in own],
        "of another shape": reshaped,
    }
    return "; ".join(
        f"{len(names)} {kind}" + (f" ({first_few(names)})" if names else "") for kind, names in kinds.items()
    )


def fit_positions(backbone: nn.Module, given: dict[str, Tensor]) -> list[str]:
    """Resample a position embedding to the backbone's grid, in place; say from what to what."""
    if not isinstance(backbone, VisionTransformer) or "pos_embed" not in given or given["pos_embed"].ndim != 3:
        return []
    given["pos_embed"], old = resample(
        given["pos_embed"],
        grid=backbone.patch_embed.grid_size,  # pyright: ignore[reportArgumentType]
        num_prefix=0 if backbone.no_embed_class else backbone.num_prefix_tokens,
    )
    new = backbone.patch_embed.grid_size
    return [] if old in (None, new) else [f"position embedding resampled from {old[0]}x{old[1]} to {new[0]}x{new[1]}"]


def resample(
    positions: Float[Tensor, "1 tokens dim"], *, grid: tuple[int, int], num_prefix: int
) -> tuple[Float[Tensor, "1 new_tokens dim"], tuple[int, int] | None]:
    """Return the embedding for a grid (height, width) and the grid it came with; as it was where that cannot be told.

    The first `num_prefix` tokens are no patches (class, registers), and stay.
    """
    old = old_grid(positions.shape[1] - num_prefix)
    if old is None or old == grid:
        return positions, old
    return resample_abs_pos_embed(positions, list(grid), list(old), num_prefix_tokens=num_prefix), old


def old_grid(num_patches: int) -> tuple[int, int] | None:
    """Tell height and width from their product: square, or two or three times as high as wide, as people are."""
    for ratio in (1, 2, 3):
        width = isqrt(max(num_patches, 0) // ratio)
        if width and ratio * width * width == num_patches:
            return ratio * width, width
    return None
