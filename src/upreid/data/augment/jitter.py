"""Colour jitter with its own amounts and order for each image; torchvision's formulas on values from 0 to 255."""

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from upreid.data.augment.parameters import Jitter
from upreid.data.augment.photometric import Images, luma, rows_where
from upreid.data.augment.transfer import send

WHITE = 255.0

BRIGHTNESS, CONTRAST, SATURATION, HUE = range(4)
"""Columns of `Jitter.amounts`, and what `Jitter.order` counts."""

PerImage = Float[Tensor, "batch 1 1 1"]


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
    """Brightness, contrast and saturation in one formula: mix with black, the mean luma, or the grey image; in place.

    With `rest = 1 - factor`: contrast has `to_mean = rest`, saturation `to_grey = rest`, the others are 0.
    """
    grey = luma(images)
    mixed_in = to_mean * grey.mean(dim=(1, 2, 3), keepdim=True) + to_grey * grey
    images.mul_(factor).add_(mixed_in).clamp_(0, WHITE)


def hue(images: Images, turn: PerImage) -> Images:
    """Turn the colour circle by a part of it; lightest and darkest channel of each pixel keep their values.

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


def _per_image(values: Float[np.ndarray, " batch"], device: torch.device) -> PerImage:
    return send(values, device)[:, None, None, None]
