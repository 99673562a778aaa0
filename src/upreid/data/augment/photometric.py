"""Colour jitter, grey, blur, normalisation and erasing: pixel values change, places do not.

Jitter has its own amounts and order for each image; its formulas are torchvision's, on values from 0 to 255.
"""

from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from upreid.data.augment.geometry import blur
from upreid.data.augment.parameters import Appearance, Boxes, Jitter, send
from upreid.types import Preprocess

LUMA = (0.299, 0.587, 0.114)
"""ITU-R 601-2, as Pillow's mode L."""

WHITE = 255.0
BRIGHTNESS, CONTRAST, SATURATION, HUE = range(4)
"""Columns of `Jitter.amounts`, and what `Jitter.order` counts."""

Images = Float[Tensor, "batch 3 height width"]
PerImage = Float[Tensor, "batch 1 1 1"]


def apply_appearance(images: Images, appearance: Appearance, preprocess: Preprocess) -> Images:
    """Jitter, grey, blur, normalise, erase; works in place on values from 0 to 255."""
    if appearance.jitter is not None:
        jitter(images, appearance.jitter)
    make_grey(images, appearance.is_grey)
    blurred = rows_where(appearance.sigma > 0, images.device)
    if len(blurred):
        soft = blur(images.index_select(0, blurred), appearance.sigma[appearance.sigma > 0])
        images.index_copy_(0, blurred, soft)
    normalise(images, preprocess.mean, preprocess.std)
    if appearance.erased is not None:
        erase(images, appearance.erased)  # after normalising: erased means the mean colour
    return images


def without_blur(appearance: Appearance) -> Appearance:
    """Leave the blur out, for images that were blurred while they were resized."""
    return replace(appearance, sigma=np.zeros_like(appearance.sigma))


def jitter(images: Images, draws: Jitter) -> None:
    """Apply brightness, contrast, saturation and hue in each image's own order, in place."""
    for step in draws.order.T:  # the first step of every image, the second, ...
        factor = np.where(draws.is_on, draws.amounts[np.arange(len(step)), step], 1.0)
        factor[step == HUE] = 1.0
        to_mean = _per_image((1 - factor) * (step == CONTRAST), images.device)
        to_grey = _per_image((1 - factor) * (step == SATURATION), images.device)
        blend(images, _per_image(factor, images.device), to_mean=to_mean, to_grey=to_grey)
        turns = draws.is_on & (step == HUE) & (draws.amounts[:, HUE] != 0)
        rows = rows_where(turns, images.device)
        if len(rows):
            turn = _per_image(draws.amounts[turns, HUE], images.device)
            images.index_copy_(0, rows, hue(images.index_select(0, rows), turn))


def blend(images: Images, factor: PerImage, *, to_mean: PerImage, to_grey: PerImage) -> None:
    """Apply brightness, contrast or saturation by one formula: mix with black, the mean luma, or the grey image; in place.

    With `rest = 1 - factor`: contrast has `to_mean = rest`, saturation `to_grey = rest`, the others are 0.
    """
    grey = luma(images)
    mixed_in = to_mean * grey.mean(dim=(1, 2, 3), keepdim=True) + to_grey * grey
    images.mul_(factor).add_(mixed_in).clamp_(0, WHITE)


def hue(images: Images, turn: PerImage) -> Images:
    """Turn each image's colours by a part of the colour circle; lightest and darkest channel of each pixel keep their values.

    A channel of a colour with hue h (sixths of the circle) is `top - span * clamp(min(k, 4 - k), 0, 1)` with
    `k = (offset + h) mod 6` and offsets 5, 3, 1 for red, green, blue.
    """
    red, green, blue = images.split(1, dim=1)
    top, bottom = images.amax(dim=1, keepdim=True), images.amin(dim=1, keepdim=True)
    span = top - bottom
    is_red = (top == red).float()
    is_green = (top == green).float().mul_(1 - is_red)  # products are several times as fast as torch.where
    sixth = is_red * (green - blue) + is_green * (blue - red) + (1 - is_red - is_green) * (red - green)
    sixth.div_(span.clamp(min=1e-6)).add_(is_green, alpha=2).add_(1 - is_red - is_green, alpha=4)
    offsets = send(np.array([5.0, 3.0, 1.0]), images.device)[:, None, None]
    place = (offsets + (sixth + 6 * turn)).div_(6)
    place.sub_(place.floor()).mul_(6)  # several times as fast as remainder_(6)
    return torch.minimum(place, 4 - place).clamp_(0, 1).mul_(-span).add_(top)


def luma(images: Images) -> Float[Tensor, "batch 1 height width"]:
    """Compute the brightness as the eye weighs it."""
    red, green, blue = images.split(1, dim=1)
    return (red * LUMA[0]).add_(green, alpha=LUMA[1]).add_(blue, alpha=LUMA[2])


def make_grey(images: Images, is_grey: Bool[np.ndarray, " batch"]) -> None:
    """Replace some of the images by their luma, in place."""
    rows = rows_where(is_grey, images.device)
    if len(rows):
        images.index_copy_(0, rows, luma(images.index_select(0, rows)).expand(-1, 3, -1, -1))


def normalise(images: Images, mean: tuple[float, float, float], std: tuple[float, float, float]) -> Images:
    """Scale values from 0-255 to `(x / 255 - mean) / std`, in place."""
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
    """Return the positions of the images that a condition holds for."""
    return send(np.flatnonzero(condition), device)


def _per_image(values: Float[np.ndarray, " batch"], device: torch.device) -> PerImage:
    return send(values, device)[:, None, None, None]


def _is_between(
    size: int, start: np.ndarray, length: np.ndarray, device: torch.device
) -> Float[Tensor, "batch {size}"]:
    """Return 1 inside of a range and 0 outside."""
    places = np.arange(size)
    inside = (places >= start[:, None]) & (places < (start + length)[:, None])
    return send(inside.astype(np.float32), device)
