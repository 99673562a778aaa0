"""Grey, colour jitter, normalisation and erasing: pixel values change, places do not."""

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from upreid.data.augment.parameters import Boxes
from upreid.data.augment.transfer import send

LUMA = (0.299, 0.587, 0.114)
"""ITU-R 601-2, as Pillow's mode L."""

Images = Float[Tensor, "batch 3 height width"]


def luma(images: Images) -> Float[Tensor, "batch 1 height width"]:
    """Brightness as the eye weighs it."""
    red, green, blue = images.split(1, dim=1)
    return (red * LUMA[0]).add_(green, alpha=LUMA[1]).add_(blue, alpha=LUMA[2])


def make_grey(images: Images, is_grey: Bool[np.ndarray, " batch"]) -> None:
    """Replace some of the images by their luma, in place."""
    rows = rows_where(is_grey, images.device)
    if len(rows):
        images.index_copy_(0, rows, luma(images.index_select(0, rows)).expand(-1, 3, -1, -1))


def normalise(images: Images, mean: tuple[float, float, float], std: tuple[float, float, float]) -> Images:
    """From 0-255 to `(x / 255 - mean) / std`, in place."""
    scale = send(1 / (255 * np.array(std)), images.device)
    shift = send(-np.array(mean) / np.array(std), images.device)
    return images.mul_(scale[:, None, None]).add_(shift[:, None, None])


def erase(images: Images, boxes: Boxes) -> None:
    """Set a box of each image to 0, in place; after normalisation this is the mean colour."""
    height, width = images.shape[2:]
    rows = _is_between(height, boxes.top, boxes.height, images.device)
    columns = _is_between(width, boxes.left, boxes.width, images.device)
    images.mul_(1 - rows[:, None, :, None] * columns[:, None, None, :])  # several times as fast as masked_fill_


def rows_where(condition: Bool[np.ndarray, " batch"], device: torch.device) -> Tensor:
    """Positions of the images that a condition holds for."""
    return send(np.flatnonzero(condition), device)


def _is_between(
    size: int, start: np.ndarray, length: np.ndarray, device: torch.device
) -> Float[Tensor, "batch {size}"]:
    """1 inside, 0 outside."""
    places = np.arange(size)
    inside = (places >= start[:, None]) & (places < (start + length)[:, None])
    return send(inside.astype(np.float32), device)
