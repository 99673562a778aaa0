"""Where in a picture a backbone responds: the length of its feature map's vectors, as light over the picture."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from upreid.models.backbone import as_map
from upreid.runtime.pages import picture_uri
from upreid.types import Preprocess

SMALL = (80, 160)
"""Width and height within which pictures stand in a report."""
DARKEST = 0.25
"""Brightness that is left where the backbone responds least."""


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A picture in a page, and what it shows in words."""

    uri: str
    words: str
    """Description for who cannot see it."""
    caption: str


def picture(pixels: Float[Tensor, "3 height width"], preprocess: Preprocess, words: str, caption: str = "") -> Picture:
    """Turn network input back into a picture; its caption is the description where no other is given."""
    mean, std = (torch.tensor(values)[:, None, None] for values in (preprocess.mean, preprocess.std))
    shown = (255 * (pixels.cpu().float() * std + mean)).clamp(0, 255).round().byte()
    uri = picture_uri(Image.fromarray(shown.permute(1, 2, 0).numpy()), largest=SMALL)
    return Picture(uri=uri, words=words, caption=caption or words)


@torch.no_grad()
def activations(
    backbone: nn.Module, images: Float[Tensor, "images 3 height width"], preprocess: Preprocess, caption: str
) -> list[Picture]:
    """Return each picture, bright where the last feature map of the backbone is long and dark where it is short.

    There are none where the backbone has no such map.
    """
    height, width = images.shape[2:]
    maps = as_map(backbone, backbone.eval().forward_features(images), height, width)  # pyright: ignore[reportCallIssue]
    if maps is None:
        return []
    lengths = maps.float().norm(dim=1)  # [images, rows, columns]
    low, high = lengths.amin(dim=(1, 2), keepdim=True), lengths.amax(dim=(1, 2), keepdim=True)
    light = (lengths - low) / (high - low).clamp(min=1e-12)
    over = F.interpolate(light[:, None], size=(height, width), mode="bilinear", align_corners=False)
    mean, std = (images.new_tensor(values)[:, None, None] for values in (preprocess.mean, preprocess.std))
    lit = ((images * std + mean) * (DARKEST + (1 - DARKEST) * over) - mean) / std
    return [
        picture(one, preprocess, f"{caption}: {brightest(map_)}", caption) for one, map_ in zip(lit, light, strict=True)
    ]


def brightest(light: Float[Tensor, "rows columns"]) -> str:
    """Say in words where a map is strongest."""
    rows, columns = light.shape
    row, column = divmod(int(light.argmax()), columns)
    return f"strongest in row {row + 1} of {rows} from the top, column {column + 1} of {columns} from the left"
