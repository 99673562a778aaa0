"""Augmentation of labelled crops: pad and crop, mirror, erase (Bag of Tricks, https://arxiv.org/abs/1903.07071).

It works on batches that are resized and normalised already, so padding and erasing write the mean colour. Public code of
Bag of Tricks pads with black instead, before normalisation: ours spares a second pass over the pixels (reading).
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from upreid.data.augment.parameters import Numbers, draw_erasing, draw_flips, image_numbers
from upreid.data.augment.photometric import erase
from upreid.data.augment.presets import Augmentation


@dataclass(frozen=True, kw_only=True)
class DownstreamAugment:
    """Random numbers belong to (seed, step, slot in the batch).

    To the slot and not to the image, because sampling P people with K images repeats an image where a person has few: its
    copies must differ, or the hardest positive would be at distance 0.
    """

    seed: int
    pad: int
    """Pixels on every side; the input size is then cropped at a random place."""
    flip_probability: float
    erase_probability: float

    def __call__(
        self, images: Float[Tensor, "batch 3 height width"], step: int
    ) -> Float[Tensor, "batch 3 height width"]:
        """Return augmented copies, on the device of `images`."""
        batch, _, height, width = images.shape
        numbers = image_numbers(self.seed, step, np.arange(batch), "downstream")
        moved = self.shift(images, numbers)
        is_mirrored = torch.from_numpy(draw_flips(numbers, self.flip_probability)).to(images.device)
        copies = torch.where(is_mirrored[:, None, None, None], moved.flip(3), moved)
        erase(copies, draw_erasing(numbers, self.erasing, height, width))
        return copies

    def shift(
        self, images: Float[Tensor, "batch 3 height width"], numbers: Numbers
    ) -> Float[Tensor, "batch 3 height width"]:
        """Pad, then cut the old size out; every place is equally likely."""
        batch, _, height, width = images.shape
        places = (numbers("shift", 2) * (2 * self.pad + 1)).astype(np.int64)  # [batch, 2]
        top, left = torch.from_numpy(places).to(images.device).T
        padded = F.pad(images, [self.pad] * 4)
        windows = padded.unfold(2, height, 1).unfold(3, width, 1)  # [batch, 3, places, places, height, width]
        return windows[torch.arange(batch, device=images.device), :, top, left]

    @property
    def erasing(self) -> Augmentation:
        """Bag of Tricks' rectangle: smaller than that of pre-training."""
        return Augmentation(
            erase_probability=self.erase_probability, erase_area=(0.02, 0.4), erase_ratio=(0.3, 1 / 0.3)
        )
