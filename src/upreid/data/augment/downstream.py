"""Augmentation of labelled crops: pad and crop, mirror, erase (Bag of Tricks, https://arxiv.org/abs/1903.07071).

It works on batches that are resized and normalised already. What padding and erasing write is a colour in that scale: 0 is
the mean colour, as where erasing comes after normalisation; black is what becomes of 0 where it comes before (public code of
Bag of Tricks pads with black, LUPerson's fine-tuning also erases to black).
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from upreid.data.augment.parameters import Numbers, draw_erasing, draw_flips, image_numbers, send
from upreid.data.augment.photometric import erase
from upreid.data.augment.presets import Augmentation


@dataclass(frozen=True, kw_only=True)
class DownstreamAugment:
    """Pad and crop, mirror and erase; random numbers belong to (seed, step, slot in the batch).

    They belong to the slot and not to the image, because sampling P people with K images repeats an image where a person has
    few: its copies must differ, or the hardest positive would be at distance 0.
    """

    seed: int
    pad: int
    """Padding in pixels on every side; the input size is then cropped at a random place."""
    flip_probability: float
    erase_probability: float
    pad_colour: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """Colour of the padding, normalised as the images are; 0 is the mean colour."""
    erase_colour: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """Colour of what is erased, likewise."""

    def __call__(
        self, images: Float[Tensor, "batch 3 height width"], step: int, first: int = 0
    ) -> Float[Tensor, "batch 3 height width"]:
        """Return augmented copies, on the device of `images`; their slots in the batch begin at `first`."""
        batch, _, height, width = images.shape
        numbers = image_numbers(self.seed, step, np.arange(first, first + batch), "downstream")
        moved = self.shift(images, numbers)
        is_mirrored = send(draw_flips(numbers, self.flip_probability), images.device)
        copies = torch.where(is_mirrored[:, None, None, None], moved.flip(3), moved)
        paint = plane(self.erase_colour, images)
        copies -= paint  # what is erased to 0 here is erased to the colour
        erase(copies, draw_erasing(numbers, self.erasing, height, width))
        return copies.add_(paint)

    def shift(
        self, images: Float[Tensor, "batch 3 height width"], numbers: Numbers
    ) -> Float[Tensor, "batch 3 height width"]:
        """Pad, then cut the old size out; every place is equally likely."""
        batch, _, height, width = images.shape
        places = (numbers("shift", 2) * (2 * self.pad + 1)).astype(np.int64)  # [batch, 2]
        top, left = send(places, images.device).T
        paint = plane(self.pad_colour, images)
        padded = F.pad(images - paint, [self.pad] * 4).add_(paint)
        windows = padded.unfold(2, height, 1).unfold(3, width, 1)  # [batch, 3, places, places, height, width]
        return windows[torch.arange(batch, device=images.device), :, top, left]

    @property
    def erasing(self) -> Augmentation:
        """Erasing as in Bag of Tricks: smaller rectangles than in pre-training."""
        return Augmentation(
            erase_probability=self.erase_probability, erase_area=(0.02, 0.4), erase_ratio=(0.3, 1 / 0.3)
        )


def plane(colour: tuple[float, float, float], like: Tensor) -> Float[Tensor, "3 1 1"]:
    """Return a colour that broadcasts over images."""
    return torch.tensor(colour, dtype=like.dtype).to(like.device, non_blocking=True)[:, None, None]


def black(mean: tuple[float, float, float], std: tuple[float, float, float]) -> tuple[float, float, float]:
    """Return black in the scale of normalised images."""
    red, green, blue = (-m / s for m, s in zip(mean, std, strict=True))
    return red, green, blue
