"""From batches of images to features."""

from collections.abc import Callable, Iterable

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from upreid.runtime.console import progress

Encode = Callable[[Tensor, Tensor], Tensor]
"""From images [batch, 3, height, width] and the camera of each [batch] to features [batch, dim]."""


@torch.inference_mode()
def extract(
    encode: Encode,
    batches: Iterable[Tensor],
    cameras: Int64[Tensor, " images"],
    *,
    device: torch.device,
    flip: bool = False,
    quiet: bool = False,
) -> Float[Tensor, "images dim"]:
    """Encode every batch of images [batch, 3, height, width]; `cameras` are those of all images, in the same order.

    Features come back in single precision on the CPU, not scaled to unit length; without batches there is no dim.

    `flip` averages the features of an image and of its mirror image.
    """
    features: list[Tensor] = []
    with progress("features", len(cameras), "images", quiet=quiet) as meter:
        for batch in batches:
            images, seen = batch.to(device, non_blocking=True), cameras[meter.done : meter.done + len(batch)]
            encoded = encode(images, seen)
            if flip:
                encoded = (encoded + encode(images.flip(3), seen)) / 2
            features.append(encoded.float().cpu())
            meter.advance(len(images))
    return torch.cat(features) if features else torch.zeros(0, 0)
