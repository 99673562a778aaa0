"""Crop, antialiased resize, flip and blur of a whole batch as banded matrices: `rows @ image @ columns`.

The filter is Pillow's: a triangle (or Keys' cubic, for whole pictures), stretched to the output pixel where the picture
shrinks, cut off at the crop box and normalised.
Each image has its own matrices, so one batched product serves a batch of different crops. Only the
rows that a crop touches are read, and output rows come in blocks, because the bands are narrow.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import ceil, gcd

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, Int64, UInt8
from torch import Tensor

from upreid.data.augment.parameters import send

ROWS_PER_BLOCK = 32
"""Number of output rows that are computed from one window of input rows."""

SIGMAS = 3.0
"""The Gaussian is cut off after this many standard deviations."""


@dataclass(frozen=True)
class Kernel:
    """A resampling filter, as a function of the distance from the centre in (stretched) pixels, in [0, `support`]."""

    support: float
    weigh: Callable[[Tensor], Tensor]
    """It may reuse the memory of its argument."""
    overshoots: bool = False
    """Whether it can leave the range of its inputs."""
    stretches: bool = True
    """Whether it is stretched to the output pixel where the picture shrinks (antialiasing)."""


def triangle(distance: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    """Weigh for linear interpolation."""
    return distance.neg_().add_(1).clamp_(min=0)


def cubic(distance: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    """Weigh for Keys' cubic convolution with a = -1/2 (IEEE TASSP 29, 1981), as in Pillow."""
    near = (1.5 * distance - 2.5) * distance * distance + 1.0
    far = ((-0.5 * distance + 2.5) * distance - 4.0) * distance + 2.0
    return torch.where(distance < 1, near, torch.where(distance < 2, far, torch.zeros_like(distance)))


TRIANGLE, CUBIC = Kernel(1.0, triangle), Kernel(2.0, cubic, overshoots=True)
KERNELS = {"bilinear": TRIANGLE, "bicubic": CUBIC, "bilinear-aliased": Kernel(1.0, triangle, stretches=False)}


@dataclass(frozen=True, kw_only=True)
class Span:
    """The part of one image axis that becomes the output axis, in (fractional) pixels; optionally blurred afterwards."""

    start: Float[np.ndarray, " images"]
    length: Float[np.ndarray, " images"]
    is_flipped: Bool[np.ndarray, " images"] | None = None
    sigma: Float[np.ndarray, " images"] | None = None


@dataclass(frozen=True, kw_only=True)
class Bands:
    """A band matrix per image and block of outputs: output = weights @ input[first : first + taps]."""

    first: Int[np.ndarray, "images blocks"]
    weights: Float[Tensor, "images blocks outputs taps"]


def resample(
    pixels: UInt8[Tensor, "batch 3 canvas_height canvas_width"] | Float[Tensor, "batch 3 canvas_height canvas_width"],
    vertical: Span,
    horizontal: Span,
    height: int,
    width: int,
    kernel: Kernel = TRIANGLE,
) -> Float[Tensor, "batch 3 {height} {width}"]:
    """Crop, resize, flip and blur each image by itself; values keep their scale."""
    batch, channels, canvas_height, canvas_width = pixels.shape
    columns = dense(horizontal, width, canvas_width, pixels.device, kernel)
    rows = banded(vertical, height, canvas_height, pixels.device, kernel)
    taps = rows.weights.shape[-1]

    top = rows.first.min(axis=1, keepdims=True)  # [batch, 1]
    depth = int((rows.first - top).max()) + taps
    planes = np.arange(channels)[None, None, :] * canvas_height
    strip = _take(pixels, _runs(top, depth, canvas_height)[:, :, None] + planes).float()
    strip = torch.bmm(strip.view(batch, -1, canvas_width), columns)  # [batch, depth * 3, width]
    if kernel.overshoots:
        strip.clamp_(0, 255)  # as Pillow, which keeps bytes between the two passes
    strip = strip.view(batch, depth, channels * width)  # channels side by side: one product serves all three
    windows = _take(strip, _runs(rows.first - top, taps, depth)).view(-1, taps, channels * width)
    views = torch.bmm(rows.weights.flatten(0, 1), windows).view(batch, height, channels, width)
    views = views.transpose(1, 2).contiguous()
    return views.clamp_(0, 255) if kernel.overshoots else views


def resize_whole(
    pixels: UInt8[Tensor, "batch 3 canvas_height canvas_width"],
    extents: Int64[Tensor, "batch 2"],
    height: int,
    width: int,
    interpolation: str = "bilinear",
) -> Float[Tensor, "batch 3 {height} {width}"]:
    """Resize whole pictures, without augmentation; values from 0 to 255. `interpolation`: a name of `KERNELS`."""
    if pixels.shape[2:] == (height, width) and bool((extents == extents.new_tensor([height, width])).all()):
        return pixels.float()
    lengths = extents.numpy().astype(np.float64)
    nothing = np.zeros(len(lengths))
    vertical = Span(start=nothing, length=lengths[:, 0])
    horizontal = Span(start=nothing, length=lengths[:, 1])
    return resample(pixels, vertical, horizontal, height, width, KERNELS[interpolation])


def blur(
    images: Float[Tensor, "batch 3 height width"], sigma: Float[np.ndarray, " batch"]
) -> Float[Tensor, "batch 3 height width"]:
    """Gaussian blur with a standard deviation (pixels) per image; edges are replicated."""
    height, width = images.shape[2:]
    start = np.zeros(len(sigma))
    vertical = Span(start=start, length=start + height, sigma=sigma)
    horizontal = Span(start=start, length=start + width, sigma=sigma)
    return resample(images, vertical, horizontal, height, width)


def _runs(first: Int[np.ndarray, "batch blocks"], count: int, limit: int) -> Int[np.ndarray, "batch taken"]:
    """Return the numbers of `count` rows from each of `first` on; beyond `limit` the last row, whose weight is 0."""
    return np.minimum(first[:, :, None] + np.arange(count), limit - 1).reshape(len(first), -1)


def _take(
    images: UInt8[Tensor, "batch ... width"] | Float[Tensor, "batch ... width"],
    rows: Int[np.ndarray, "batch ..."],
) -> UInt8[Tensor, "taken width"] | Float[Tensor, "taken width"]:
    """Copy rows of each image, one below the other."""
    per_image = images[0, ..., 0].numel()
    index = rows.reshape(len(rows), -1) + np.arange(len(rows))[:, None] * per_image
    return images.reshape(-1, images.shape[-1]).index_select(0, send(index.ravel(), images.device))


def dense(
    span: Span, size: int, limit: int, device: torch.device, kernel: Kernel = TRIANGLE
) -> Float[Tensor, "images {limit} {size}"]:
    """Return one matrix per image, from all `limit` inputs to `size` outputs."""
    return _bands(span, size, limit, device, kernel, block=size, is_dense=True).weights[:, 0].transpose(1, 2)


def banded(span: Span, size: int, limit: int, device: torch.device, kernel: Kernel = TRIANGLE) -> Bands:
    """Return matrices that read only what a block of outputs needs."""
    return _bands(span, size, limit, device, kernel, block=gcd(size, ROWS_PER_BLOCK), is_dense=False)


def _bands(
    span: Span, size: int, limit: int, device: torch.device, kernel: Kernel, *, block: int, is_dense: bool
) -> Bands:
    """Compute the weights of the filter at each output, each block with a margin for the blur, then blurred."""
    radius = 0 if span.sigma is None else ceil(SIGMAS * float(span.sigma.max()))
    outputs = np.arange(0, size, block)[:, None] + np.arange(-radius, block + radius)
    outputs = np.clip(outputs, 0, size - 1)  # the blur repeats the edges
    scale = span.length / size
    stretch = (np.maximum(scale, 1.0) if kernel.stretches else np.ones_like(scale))[:, None, None]
    reach = kernel.support * stretch
    centres = span.start[:, None, None] + (_flip(outputs, span, size) + 0.5) * scale[:, None, None]
    low = np.floor(span.start + 1e-6).astype(np.int64)[:, None]
    high = np.ceil(span.start + span.length - 1e-6).astype(np.int64)[:, None]
    if is_dense:
        first, taps = np.zeros((len(low), len(outputs)), dtype=np.int64), limit
    else:
        first = np.maximum(np.floor(centres.min(axis=2) - reach[..., 0] - 0.5).astype(np.int64), low)
        last = np.minimum(np.ceil(centres.max(axis=2) + reach[..., 0] + 0.5).astype(np.int64), high)
        taps = min(int((last - first).max()), limit)
    weights = _weights(centres - first[:, :, None], stretch, low - first, high - first, taps, device, kernel)
    if radius > 0 and span.sigma is not None:
        weights = torch.matmul(_gaussian(span.sigma, radius, block, device)[:, None], weights)
    return Bands(first=first, weights=weights)


def _flip(outputs: Int[np.ndarray, "blocks outputs"], span: Span, size: int) -> Int[np.ndarray, "#n blocks outputs"]:
    if span.is_flipped is None:
        return outputs[None]
    return np.where(span.is_flipped[:, None, None], size - 1 - outputs, outputs)


def _weights(
    centres: Float[np.ndarray, "images blocks outputs"],
    stretch: Float[np.ndarray, "images 1 1"],
    low: Int[np.ndarray, "images blocks"],
    high: Int[np.ndarray, "images blocks"],
    taps: int,
    device: torch.device,
    kernel: Kernel,
) -> Float[Tensor, "images blocks outputs taps"]:
    """Evaluate the kernel, `stretch` times as wide, around each centre; 0 outside [low, high), with sum 1."""
    inputs = torch.arange(taps, device=device)
    is_inside = (inputs >= send(low, device)[..., None]) & (inputs < send(high, device)[..., None])
    distance = inputs.float() - send(centres - 0.5, device)[..., None]
    distance = distance.abs_().mul_(send(1 / stretch[..., None], device))
    weights = kernel.weigh(distance).mul_(is_inside[:, :, None].float())
    return weights.div_(weights.sum(dim=-1, keepdim=True))


def _gaussian(
    sigma: Float[np.ndarray, " images"], radius: int, outputs: int, device: torch.device
) -> Float[Tensor, "images {outputs} inputs"]:
    """Return a band matrix per image that blurs `outputs + 2 * radius` values into `outputs`; the identity for sigma 0."""
    distance, sigma = np.arange(-radius, radius + 1), np.maximum(sigma, 1e-3)[:, None]
    kernel = np.exp(-0.5 * (distance / sigma) ** 2)
    kernel *= np.abs(distance) <= np.ceil(SIGMAS * sigma)  # the cut is the image's own, not the batch's
    kernel = send(kernel / kernel.sum(axis=1, keepdims=True), device)
    inputs = outputs + 2 * radius
    matrix = torch.zeros(len(sigma), outputs, inputs, device=device)
    diagonals = matrix.as_strided((len(sigma), outputs, 2 * radius + 1), (outputs * inputs, inputs + 1, 1))
    diagonals.copy_(kernel[:, None])
    return matrix
