"""Random draws: what happens to each image. They are made on the host, from uniform numbers per image and view.

All functions are vectorised over images and follow torchvision's `get_params` (0.21 to 0.29) step by step, so that the
distributions are the same; only the source of randomness differs (`upreid.runtime.seed`).
"""

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from functools import partial
from typing import Any, TypeVar

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from upreid.data.augment.presets import Augmentation
from upreid.runtime.seed import uniforms

NUM_ATTEMPTS = 10
"""Number of boxes that torchvision tries before it gives up."""

NUM_BOX_NUMBERS = 4 * NUM_ATTEMPTS

Numbers = Callable[[str, int], Float[np.ndarray, "images count"]]
"""A function of (purpose, numbers per image) that gives numbers in [0, 1) which belong to each image."""

Draws = TypeVar("Draws")


@dataclass(frozen=True, kw_only=True)
class Boxes:
    """One rectangle per image, in pixels; empty where `height` is 0."""

    top: Int[np.ndarray, " images"]
    left: Int[np.ndarray, " images"]
    height: Int[np.ndarray, " images"]
    width: Int[np.ndarray, " images"]


@dataclass(frozen=True, kw_only=True)
class Jitter:
    """Brightness, contrast, saturation (factors) and hue (a turn), and the order in which they are applied."""

    is_on: Bool[np.ndarray, " images"]
    amounts: Float[np.ndarray, "images 4"]
    order: Int[np.ndarray, "images 4"]


@dataclass(frozen=True, kw_only=True)
class Appearance:
    """Everything but the geometry of a view."""

    jitter: Jitter | None
    is_grey: Bool[np.ndarray, " images"]
    sigma: Float[np.ndarray, " images"]
    """Standard deviation of the blur in pixels; 0 where there is none."""
    erased: Boxes | None


def part(draws: Draws, images: slice) -> Draws:
    """Return the same dataclass for some of its images: every array in it is cut."""
    return _cut(draws, images)


def image_numbers(seed: int, epoch: int, indices: Int[np.ndarray, " images"], view: str) -> Numbers:
    """Return a source of numbers that belong to (seed, epoch, image, view)."""
    return lambda purpose, count: uniforms(seed, epoch, indices, purpose=f"{view}-{purpose}", count=count)


def patch_numbers(numbers: Numbers, num_patches: int) -> Numbers:
    """Give each patch of each image numbers of its own; patches of an image follow one another."""
    return lambda purpose, count: numbers(purpose, num_patches * count).reshape(-1, count)


def draw_flips(numbers: Numbers, probability: float) -> Bool[np.ndarray, " images"]:
    """Draw which images are mirrored left to right."""
    return numbers("flip", 1)[:, 0] < probability


def draw_appearance(numbers: Numbers, augmentation: Augmentation, height: int, width: int) -> Appearance:
    """Draw colour, blur and erasing for views of `height` x `width`."""
    what = augmentation
    is_blurred, sigma = numbers("blur", 2).T
    sigma = between(sigma, what.blur_sigma) * (is_blurred < what.blur_probability)
    return Appearance(
        jitter=draw_jitter(numbers, what) if what.jitter_probability > 0 else None,
        is_grey=numbers("grey", 1)[:, 0] < what.grey_probability,
        sigma=sigma,
        erased=draw_erasing(numbers, what, height, width) if what.erase_probability > 0 else None,
    )


def draw_jitter(numbers: Numbers, what: Augmentation) -> Jitter:
    """Draw as `ColorJitter.get_params` does: four uniform amounts, in a uniformly random order."""
    drawn = numbers("jitter", 9)
    strengths = np.array([what.brightness, what.contrast, what.saturation, what.hue])
    amounts = (2 * drawn[:, 1:5] - 1) * strengths + np.array([1.0, 1.0, 1.0, 0.0])
    return Jitter(is_on=drawn[:, 0] < what.jitter_probability, amounts=amounts, order=drawn[:, 5:].argsort(axis=1))


def draw_crops(numbers: Numbers, what: Augmentation, sizes: Int[np.ndarray, "images 2"]) -> Boxes:
    """Draw as `RandomResizedCrop.get_params` does; `sizes` (height, width) and the boxes are in the file's own pixels.

    The first of ten attempts that fits is taken, otherwise the largest centred box of an allowed ratio.
    """
    height, width = sizes[:, :1], sizes[:, 1:]
    area, ratio, top, left = _four(numbers("crop", NUM_BOX_NUMBERS))
    kept = height * width * between(area, what.crop_area)
    ratio = log_between(ratio, what.crop_ratio)
    box_width, box_height = np.rint(np.sqrt(kept * ratio)), np.rint(np.sqrt(kept / ratio))
    fits = (box_width > 0) & (box_width <= width) & (box_height > 0) & (box_height <= height)
    drawn = _first(fits, box_height, box_width, top, left, height, width)
    return _choose(np.asarray(fits.any(axis=1)), drawn, centre_crops(sizes, what.crop_ratio))


def centre_crops(sizes: Int[np.ndarray, "images 2"], ratio: tuple[float, float]) -> Boxes:
    """Return the largest centred box whose width / height lies in `ratio`; at least one pixel of each axis."""
    height, width = sizes.astype(np.float64).T
    box_width = np.clip(np.rint(height * ratio[1]), 1, width)
    box_height = np.clip(np.rint(width / ratio[0]), 1, height)
    return _boxes((height - box_height) // 2, (width - box_width) // 2, box_height, box_width)


def draw_erasing(numbers: Numbers, what: Augmentation, height: int, width: int) -> Boxes:
    """Draw as `RandomErasing.get_params` does: smaller than the view in both axes; nothing if ten attempts fail."""
    drawn = numbers("erase", 1 + NUM_BOX_NUMBERS)
    area, ratio, top, left = _four(drawn[:, 1:])
    erased = height * width * between(area, what.erase_area)
    ratio = log_between(ratio, what.erase_ratio)
    box_height, box_width = np.rint(np.sqrt(erased * ratio)), np.rint(np.sqrt(erased / ratio))
    fits = (box_height < height) & (box_width < width)
    boxes = _first(fits, box_height, box_width, top, left, height, width)
    is_erased = fits.any(axis=1) & (drawn[:, 0] < what.erase_probability)
    nothing = np.zeros(len(drawn))
    return _choose(is_erased, boxes, _boxes(nothing, nothing, nothing, nothing))


def send(values: np.ndarray, device: torch.device) -> Tensor:
    """Copy to the device without waiting for it, as float32 where there are fractions: not every device knows float64."""
    if values.dtype == np.float64:
        values = values.astype(np.float32)
    tensor = torch.from_numpy(np.ascontiguousarray(values))
    if device.type == "cuda":
        tensor = tensor.pin_memory()  # a large copy from ordinary memory would wait for what the GPU is doing
    return tensor.to(device, non_blocking=True)


def between(numbers: Float[np.ndarray, "..."], bounds: tuple[float, float]) -> Float[np.ndarray, "..."]:
    """Scale uniform numbers from [0, 1) to lie between two bounds."""
    return bounds[0] + (bounds[1] - bounds[0]) * numbers


def log_between(numbers: Float[np.ndarray, "..."], bounds: tuple[float, float]) -> Float[np.ndarray, "..."]:
    """Make the numbers log-uniform: a ratio and its inverse are equally likely where the bounds are inverse to each other."""
    return np.exp(between(numbers, (np.log(bounds[0]), np.log(bounds[1]))))


def _four(numbers: Float[np.ndarray, "images 40"]) -> Float[np.ndarray, "4 images 10"]:
    """Split the numbers into area, ratio, top and left of each attempt."""
    return numbers.reshape(len(numbers), NUM_ATTEMPTS, 4).transpose(2, 0, 1)


def _first(fits, box_height, box_width, top, left, height, width) -> Boxes:
    """Take the first attempt that fits, with its corner uniform over all places; the first of all where none does."""
    top = np.floor(top * (height - box_height + 1))
    left = np.floor(left * (width - box_width + 1))
    chosen = fits.argmax(axis=1)[:, None]
    take = partial(np.take_along_axis, indices=chosen, axis=1)
    return _boxes(*(take(values)[:, 0] for values in (top, left, box_height, box_width)))


def _choose(where: Bool[np.ndarray, " images"], yes: Boxes, no: Boxes) -> Boxes:
    return _boxes(
        np.where(where, yes.top, no.top),
        np.where(where, yes.left, no.left),
        np.where(where, yes.height, no.height),
        np.where(where, yes.width, no.width),
    )


def _boxes(top, left, height, width) -> Boxes:
    return Boxes(
        top=top.astype(np.int64),
        left=left.astype(np.int64),
        height=height.astype(np.int64),
        width=width.astype(np.int64),
    )


def _cut(value: Any, images: slice) -> Any:
    if value is None:  # a step that is off
        return None
    if isinstance(value, np.ndarray):
        return value[images]
    return replace(value, **{field.name: _cut(getattr(value, field.name), images) for field in fields(value)})
