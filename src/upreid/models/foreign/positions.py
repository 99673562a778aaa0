"""Position embeddings: the grid that they were trained for, told from their number, and their resampling to another."""

from dataclasses import dataclass
from math import isqrt

from jaxtyping import Float
from timm.layers.pos_embed import resample_abs_pos_embed
from torch import Tensor

SIZES = ((256, 128), (384, 128), (224, 224), (256, 256), (384, 192), (224, 112), (288, 144), (384, 384))
"""Input sizes for which grids of overlapping patches are looked for."""


@dataclass(frozen=True, kw_only=True)
class PositionGrid:
    """A grid of patches, and the input that it was cut from."""

    rows: int
    columns: int
    height: int
    width: int
    stride: int


def tell_grid(num_patches: int, patch: int, stride: int | None = None) -> PositionGrid | None:
    """Return the grid of so many patches: a square, or two or three times as high as wide, or one of overlapping patches."""
    grid = old_grid(num_patches) if stride in (None, patch) else None
    if grid is not None:
        return PositionGrid(rows=grid[0], columns=grid[1], height=grid[0] * patch, width=grid[1] * patch, stride=patch)
    for height, width in SIZES:
        for step in [stride] if stride else range(patch - 1, patch // 2 - 1, -1):
            rows, columns = (height - patch) // step + 1, (width - patch) // step + 1
            if rows * columns == num_patches:
                return PositionGrid(rows=rows, columns=columns, height=height, width=width, stride=step)
    return None


def old_grid(num_patches: int) -> tuple[int, int] | None:
    """Return the grid of so many patches: a square, or two or three times as high as wide; None where it is neither."""
    for ratio in (1, 2, 3):
        width = isqrt(max(num_patches, 0) // ratio)
        if width and ratio * width * width == num_patches:
            return ratio * width, width
    return None


def resample(
    positions: Float[Tensor, "1 tokens dim"], *, old: tuple[int, int], new: tuple[int, int], num_prefix: int
) -> Float[Tensor, "1 new_tokens dim"]:
    """Return the embedding for another grid (height, width); the first `num_prefix` tokens, no patches, stay."""
    return resample_abs_pos_embed(positions, list(new), list(old), num_prefix_tokens=num_prefix)


def no_grid(num_patches: int, num_prefix: int) -> str:
    """Return the reason why a position embedding cannot be placed on a grid."""
    has = f"its position embedding has {num_patches + num_prefix} places"
    if (grid := old_grid(num_patches + num_prefix)) is not None:
        return f"{has}, a grid of {grid[0]}x{grid[1]}, and none for the class token: it is another kind of ViT"
    return (
        f"{has}, {num_patches} of them for patches, which is no grid that upreid can tell (square, or two or three times as "
        "high as wide); give a checkpoint trained at such a size, or --patch-stride"
    )
