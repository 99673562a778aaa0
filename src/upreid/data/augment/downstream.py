"""Augmentation of labelled crops: pad and crop, mirror, erase (Bag of Tricks, https://arxiv.org/abs/1903.07071).

On images that are resized and normalised already, so padding and erasing write the mean colour.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from upreid.runtime.seed import uniforms

ERASE_AREA, ERASE_LOG_ASPECT = (0.02, 0.4), float(np.log(10.0 / 3.0))


@dataclass(frozen=True, kw_only=True)
class DownstreamAugment:
    """Random numbers belong to (seed, step, slot in the batch): an image drawn twice comes out as two."""

    seed: int
    pad: int
    flip_probability: float
    erase_probability: float

    def __call__(
        self, images: Float[Tensor, "batch 3 height width"], step: int
    ) -> Float[Tensor, "batch 3 height width"]:
        """Return augmented copies."""
        batch, _, height, width = images.shape
        drawn = uniforms(self.seed, step, np.arange(batch), purpose="downstream", count=8)
        padded = F.pad(images, [self.pad] * 4)
        top = torch.from_numpy((drawn[:, 0] * (2 * self.pad + 1)).astype(np.int64))
        left = torch.from_numpy((drawn[:, 1] * (2 * self.pad + 1)).astype(np.int64))
        rows = top[:, None] + torch.arange(height)  # [batch, height]
        columns = left[:, None] + torch.arange(width)  # [batch, width]
        is_mirrored = torch.from_numpy(drawn[:, 2] < self.flip_probability)
        columns = torch.where(is_mirrored[:, None], columns.flip(1), columns)
        device = images.device
        picked = torch.arange(batch)[:, None, None], rows[:, :, None], columns[:, None, :]
        cropped = padded.permute(0, 2, 3, 1)[tuple(part.to(device) for part in picked)].permute(0, 3, 1, 2)
        return cropped.masked_fill(self.erased(drawn[:, 3:], height, width).to(device), 0.0).contiguous()

    def erased(self, drawn: NDArray[np.float64], height: int, width: int) -> Tensor:
        """Which pixels are erased: [batch, 1, height, width]. A rectangle that would not fit is cut to size."""
        area = (ERASE_AREA[0] + drawn[:, 1] * (ERASE_AREA[1] - ERASE_AREA[0])) * height * width
        aspect = np.exp((2 * drawn[:, 2] - 1) * ERASE_LOG_ASPECT)
        tall = np.minimum(np.round(np.sqrt(area * aspect)), height - 1)
        wide = np.minimum(np.round(np.sqrt(area / aspect)), width - 1)
        top, left = np.floor(drawn[:, 3] * (height - tall + 1)), np.floor(drawn[:, 4] * (width - wide + 1))
        y, x = np.arange(height)[None], np.arange(width)[None]
        in_rows = (y >= top[:, None]) & (y < (top + tall)[:, None])
        in_columns = (x >= left[:, None]) & (x < (left + wide)[:, None])
        chosen = drawn[:, 0] < self.erase_probability
        return torch.from_numpy((in_rows[:, :, None] & in_columns[:, None, :] & chosen[:, None, None])[:, None])
