"""From batches of images to features."""

from collections.abc import Callable, Iterable

import torch
from jaxtyping import Float
from torch import Tensor

from upreid.runtime.console import progress


@torch.inference_mode()
def extract(
    encode: Callable[[Tensor], Tensor],
    batches: Iterable[Tensor],
    *,
    total: int,
    device: torch.device,
    flip: bool = False,
    quiet: bool = False,
) -> Float[Tensor, "images dim"]:
    """Encode every batch of images [batch, 3, height, width].

    Features come back in single precision on the CPU, not scaled to unit length.

    `flip` averages the features of an image and of its mirror image.
    """
    features: list[Tensor] = []
    with progress("features", total, "images", quiet=quiet) as meter:
        for batch in batches:
            images = batch.to(device, non_blocking=True)
            encoded = encode(images)
            if flip:
                encoded = (encoded + encode(images.flip(3))) / 2
            features.append(encoded.float().cpu())
            meter.advance(len(images))
    return torch.cat(features)
