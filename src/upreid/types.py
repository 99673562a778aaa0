"""What travels between the parts: batches of originals, views, and how pixels become input."""

from dataclasses import dataclass, replace
from typing import Literal

import torch
from jaxtyping import Int64, UInt8
from torch import Tensor

Neck = Literal["after", "before"]
"""Side of the BNNeck from which features are taken."""


@dataclass(frozen=True, kw_only=True)
class Preprocess:
    """How an un-augmented image becomes network input: resize, scale to [0, 1], normalise."""

    height: int
    width: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    interpolation: str = "bilinear"
    """Or bicubic, both antialiased, or bilinear-aliased, as trackers shrink crops."""

    @property
    def decoded_for(self) -> tuple[int, int] | None:
        """Height and width for which decoding may shrink a large picture; None where aliasing is wanted."""
        return None if self.interpolation == "bilinear-aliased" else (self.height, self.width)


@dataclass(frozen=True, kw_only=True)
class ImageBatch:
    """Decoded originals of different sizes, each in the top left corner of a common canvas; the rest is zero."""

    pixels: UInt8[Tensor, "batch 3 height width"]
    """RGB."""
    extents: Int64[Tensor, "batch 2"]
    """Height and width of the picture inside its canvas (smaller than the file's where decoding shrank it)."""
    file_sizes: Int64[Tensor, "batch 2"]
    """Height and width of the file: crop boxes are drawn in these."""
    indices: Int64[Tensor, " batch"]
    """Position of each image in its source: random numbers belong to (seed, epoch, index)."""
    epoch: int
    skipped: tuple[tuple[int, str], ...] = ()
    """Unreadable files met while making this batch: index, and a sentence with name and reason."""
    mates: int = 0
    """Number of images at the end that are mates of those before: other crops of the same tracklets, in the same order."""
    tracklets: Int64[Tensor, " batch"] | None = None
    """Number of each image's tracklet, where a view asks for it."""

    def to(self, device: torch.device) -> "ImageBatch":
        """Move the pixels; the small integers stay on the host, where boxes are drawn."""
        return replace(self, pixels=self.pixels.to(device, non_blocking=True))

    def pin_memory(self) -> "ImageBatch":
        """What torch's loader calls, so that `to` need not wait; it would pass over a class without this method."""
        return replace(self, pixels=self.pixels.pin_memory())


Views = dict[str, Tensor]
"""What one training step looks at, by the names that the method gave: normalised images [batch, 3, height, width], patches
[batch, patches, 3, height, width], or labels [batch]. All have the same first axis."""
