"""Local patches on an aligned grid: position m is the same part of the picture in every version."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from upreid.errors import InputError

Patches = Float[Tensor, "batch patches 3 patch_height patch_width"]


@dataclass(frozen=True, kw_only=True)
class PatchGrid:
    """`rows` x `columns` patches that tile the input: 4 x 2 of 64 x 64 in 256 x 128, or stripes with one column."""

    rows: int
    columns: int

    @property
    def num_patches(self) -> int:
        """Patches per image."""
        return self.rows * self.columns

    def patch_size(self, height: int, width: int, what: str = "an input") -> tuple[int, int]:
        """Height and width of a patch of `what`; raises `InputError` where the grid does not divide it."""
        if self.rows < 1 or self.columns < 1 or height % self.rows or width % self.columns:
            raise InputError(
                f"a patch grid of {self.rows} x {self.columns} does not divide {what} of {height} x {width}; "
                "use rows that divide the height and columns that divide the width"
            )
        return height // self.rows, width // self.columns

    def cut(self, images: Float[Tensor, "batch 3 height width"]) -> Patches:
        """Cut each image, row by row from the top left."""
        batch, channels, height, width = images.shape
        patch_height, patch_width = self.patch_size(height, width)
        tiles = images.view(batch, channels, self.rows, patch_height, self.columns, patch_width)
        return tiles.permute(0, 2, 4, 1, 3, 5).reshape(batch, -1, channels, patch_height, patch_width)
